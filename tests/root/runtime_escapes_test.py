#!/usr/bin/python3
"""The known escapes of runc, crun and youki against sampan-oci, and against a sampan-oci that was
broken on purpose, on which each of these tests must fail. (CVE-2025-31133 is also youki's
CVE-2025-62161, and CVE-2025-52881 its CVE-2025-62596; crun's CVE-2025-24965 is of a handler that
there is not here.) Then what a container finds of the host: every file descriptor, capability, mount,
cgroup and environment variable, by name."""
import ctypes
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cases
import oci_bundle

RENAME_EXCHANGE = 2
AT_FDCWD = -100


class Exchange(threading.Thread):
    """Exchanges two names as fast as it can, until the block ends."""

    def __init__(self, one, two):
        super().__init__(daemon=True)
        self.names = [str(one).encode(), str(two).encode()]
        self.libc = ctypes.CDLL(None)
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            self.libc.renameat2(AT_FDCWD, self.names[0], AT_FDCWD, self.names[1], RENAME_EXCHANGE)

    def __enter__(self):
        self.start()

    def __exit__(self, *_):
        self.over.set()
        self.join()


class Bundle(oci_bundle.Bundle):
    def outside(self):
        path = self.dir / "outside"
        path.mkdir()
        return path

    def mounts_without(self, *destinations):
        return [m for m in self.config["mounts"] if m["destination"] not in destinations]


@unittest.skipUnless(os.geteuid() == 0, "root")
@unittest.skipUnless(os.path.exists("/bin/busybox"), "busybox-static")
class Escapes(Bundle):
    def test_cve_2019_5736_own_program_is_not_writable(self):
        before = pathlib.Path(oci_bundle.OCI).read_bytes()
        # exec of /proc/self/exe inside would run this runtime; a second process holds its file.
        (self.rootfs / "bin/evil").symlink_to("/proc/self/exe")
        script = ("while :; do for p in /proc/[0-9]*; do"
                  " case $(readlink $p/exe) in *sampan-oci*) (echo x > $p/exe) 2>/dev/null; esac; done; done")
        self.start("sh", "-c", script)
        for _ in range(20):
            self.run_oci("exec", "box", "/bin/evil", "--help", check=False)
        self.assertEqual(pathlib.Path(oci_bundle.OCI).read_bytes(), before)
        # What /proc/PID/exe of a running sampan-oci leads to is on a read-only mount.
        child = subprocess.Popen([oci_bundle.OCI, "--root", str(self.root), "exec", "box", "sleep", "100"],
                                 stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 20
            while "sleep 100" not in " ".join(self.cmdlines()) and time.monotonic() < deadline:
                pass
            with self.assertRaises(OSError) as refused:
                os.open(f"/proc/{child.pid}/exe", os.O_WRONLY)
            self.assertIn(refused.exception.errno, (30, 26))
            self.assertTrue(os.statvfs(f"/proc/{child.pid}/exe").f_flag & os.ST_RDONLY)
        finally:
            child.kill()
            child.wait()

    def test_cve_2024_21626_cwd_must_be_inside(self):
        for fd in range(3, 12):
            self.config["process"]["cwd"] = f"/proc/self/fd/{fd}"
            done = self.script("pwd; ls", check=False)
            self.assertNotEqual(done.returncode, 0, f"fd {fd}: {done.stdout}")

    def test_cve_2023_27561_proc_over_a_link(self):
        (self.rootfs / "elsewhere").mkdir()
        (self.rootfs / "proc").rmdir()
        (self.rootfs / "proc").symlink_to("elsewhere")
        done = self.script("true", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("symbolic link", done.stderr)

    def test_cve_2021_30465_mount_targets_stay_inside(self):
        outside = self.dir / "outside"
        outside.mkdir()
        (self.rootfs / "link").symlink_to(outside)
        (self.rootfs / "up").symlink_to("../../../../../../" + str(outside))
        for at in ("/link", "/up", "/link/deep", "/../../etc/x"):
            self.config["mounts"].append({"destination": at, "type": "tmpfs", "source": "tmpfs"})
        self.script("true")
        self.assertEqual(list(outside.iterdir()), [])
        self.assertTrue((self.rootfs / str(outside)[1:]).is_dir())
        self.assertFalse(pathlib.Path("/etc/x").exists())

    def test_cve_2025_31133_null_of_the_image_is_not_used(self):
        # /dev from the image, with a "null" that is a link to what must be kept from it.
        self.config["mounts"] = [m for m in self.config["mounts"] if m["destination"] not in
                                 ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")]
        (self.rootfs / "dev/null").symlink_to("/proc/sysrq-trigger")
        out = self.script("ls -l /dev/null; cat /proc/keys; stat -c %t:%T /proc/keys").stdout
        self.assertIn("1:3", out)
        self.assertTrue(out.splitlines()[0].startswith("c"), out)

    def test_cve_2025_52881_writes_to_proc_reach_proc_only(self):
        # A file over /proc/sys/net/… must not take the place of the sysctl.
        fake = self.dir / "fake"
        fake.write_text("")
        self.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
        self.config["mounts"].append({"destination": "/proc/sys/net/ipv4/ip_forward", "type": "bind",
                                      "source": str(fake), "options": ["bind"]})
        done = self.script("true", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("sysctl", done.stderr)
        self.assertEqual(fake.read_text(), "")

    def test_cve_2022_29162_no_inheritable_capabilities(self):
        self.start("sleep", "1000")
        out = self.run_oci("exec", "--cap", "CAP_SYS_ADMIN", "box", "cat", "/proc/self/status").stdout
        self.assertIn("CapInh:\t0000000000000000", out)

    def cmdlines(self):
        out = []
        for pid in json.loads(self.run_oci("ps", "-f", "json", "box").stdout):
            try:
                out.append(pathlib.Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
            except OSError:
                pass
        return out

    def test_cve_2019_16884_a_volume_over_proc(self):
        # An image that declares /proc a volume: what is written to /proc (labels, scores) must not
        # end in the volume, and the masks must not be laid over a decoy while the real one shows.
        fake = self.outside()
        for name in ("self/attr", "sys", "irq", "bus", "fs"):
            (fake / name).mkdir(parents=True)
        for name in ("self/attr/exec", "self/oom_score_adj", "kcore", "keys", "timer_list"):
            (fake / name).write_text("")
        self.config["process"]["oomScoreAdj"] = 500
        self.config["mounts"].append({"destination": "/proc", "type": "bind", "source": str(fake),
                                      "options": ["rbind", "rw"]})
        done = self.script("true", check=False)
        self.assertEqual((done.returncode, (fake / "self/oom_score_adj").read_text()), (1, ""))
        self.assertIn("procfs", done.stderr)

    def test_cve_2019_19921_racing_the_mount_of_proc(self):
        # Whoever wins, procfs is never mounted where the link leads.
        (self.rootfs / "decoy").mkdir()
        (self.rootfs / "link").symlink_to("decoy")
        self.config["process"]["args"] = ["sh", "-c", "test -e /decoy/self && echo decoyed"]
        self.write()
        with Exchange(self.rootfs / "proc", self.rootfs / "link"):
            for _ in range(60):
                done = self.run_oci("run", "--bundle", self.dir / "b", "box", check=False)
                self.assertEqual(done.stdout, "")
                self.assertIn(done.returncode, (0, 1))
                if done.stderr:
                    self.assertRegex(done.stderr, "symbolic link|procfs")

    def test_cve_2023_25809_cgroups_are_not_writable(self):
        for own_namespace in (True, False):
            self.config["linux"]["namespaces"] = [n for n in self.config["linux"]["namespaces"] if n["type"] != "cgroup"]
            if own_namespace:
                self.config["linux"]["namespaces"].append({"type": "cgroup"})
            (self.rootfs / "bin/mkdir").unlink(missing_ok=True)
            (self.rootfs / "bin/mkdir").symlink_to("busybox")
            out = self.script("for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/evil && echo made $d; done", check=False)
            self.assertNotIn("made", out.stdout)
            self.assertIn("Read-only file system", out.stderr)

    def test_cve_2024_45310_racing_a_shared_volume(self):
        outside = self.outside()
        volume = self.dir / "volume"
        (volume / "dir").mkdir(parents=True)
        (volume / "link").symlink_to(outside)
        self.config["mounts"] += [
            {"destination": "/volume", "type": "bind", "source": str(volume), "options": ["rbind", "rw"]},
            {"destination": "/volume/dir/deep/er", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/volume/dir/file", "type": "bind", "source": "/etc/hostname", "options": ["bind", "ro"]}]
        self.config["process"]["args"] = ["true"]
        self.write()
        with Exchange(volume / "dir", volume / "link"):
            for _ in range(60):
                self.run_oci("run", "--bundle", self.dir / "b", "box", check=False)
                self.assertEqual(list(outside.iterdir()), [])

    def test_cve_2025_52565_console_over_a_link(self):
        outside = self.outside()
        (outside / "file").write_text("")
        self.config["mounts"] = self.mounts_without("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
        (self.rootfs / "dev/console").symlink_to(outside / "file")
        (self.rootfs / "dev/pts").symlink_to(outside)
        self.config["process"]["terminal"] = True
        # Followed inside the root, or refused; never bound over the host's file.
        out = self.script("test -c /dev/console && echo console").stdout
        self.assertIn("console", out)
        self.assertEqual(os.listdir(outside), ["file"])

    def test_cve_2025_54867_sys_over_a_link(self):
        (self.rootfs / "elsewhere").mkdir()
        (self.rootfs / "sys").rmdir()
        (self.rootfs / "sys").symlink_to("elsewhere")
        done = self.script("true", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("symbolic link", done.stderr)

    def test_cve_2025_52881_a_label_goes_to_proc_only(self):
        # The same for a file below /proc/self: whatever is laid over it is not written to.
        fake = self.dir / "fake"
        fake.write_text("")
        self.config["process"]["oomScoreAdj"] = 500
        self.config["mounts"].append({"destination": "/proc/self/oom_score_adj", "type": "bind",
                                      "source": str(fake), "options": ["bind"]})
        done = self.script("true", check=False)
        self.assertEqual((done.returncode, fake.read_text()), (1, ""))

    def test_cve_2026_30892_exec_user(self):
        self.start("sleep", "1000")
        self.assertIn("uid=1 gid=0", self.run_oci("exec", "--user", "1", "box", "id").stdout)
        self.assertIn("uid=1 gid=2", self.run_oci("exec", "--user", "1:2", "box", "id").stdout)

    def test_cve_2026_47766_dev_over_a_link(self):
        outside = self.outside()
        self.config["mounts"] = self.mounts_without("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
        (self.rootfs / "dev").rmdir()
        (self.rootfs / "dev").symlink_to(outside)
        self.script("true", check=False)
        self.assertEqual(list(outside.iterdir()), [])

    def test_fds_of_the_caller_stay_out(self):
        # As CVE-2024-21626 and CVE-2016-9962: a descriptor of the host reaches the program.
        with open("/etc/hostname") as extra:
            os.set_inheritable(extra.fileno(), True)
            out = self.script("ls -l /proc/self/fd", close_fds=False).stdout
        self.assertNotIn("hostname", out)


@unittest.skipUnless(os.geteuid() == 0, "root")
@unittest.skipUnless((cases.BIN / "sampan-oci-broken").exists(), "sampan-oci-broken: not built with this preset")
class BrokenBuild(unittest.TestCase):
    """On a broken build every test of an escape must fail, by an assertion and not by accident."""

    def test_every_escape_is_noticed(self):
        tests = [(Escapes, name) for name in sorted(dir(Escapes)) if name.startswith(("test_cve_", "test_fds_of"))]
        self.assertGreater(len(tests), 15)
        sound, oci_bundle.OCI = oci_bundle.OCI, str(cases.BIN / "sampan-oci-broken")
        try:
            for kind, name in tests:
                with self.subTest(name):
                    result = unittest.TextTestRunner(stream=io.StringIO()).run(kind(name))
                    self.assertEqual(result.errors, [])
                    self.assertEqual(len(result.failures), 1, "passes although the runtime is broken")
        finally:
            oci_bundle.OCI = sound


@unittest.skipUnless(os.geteuid() == 0, "root")
@unittest.skipUnless(os.path.exists("/bin/busybox"), "busybox-static")
class Inventory(Bundle):
    """All that a program finds, by name: what is not in these lists must not be there."""
    CAPABILITIES = 0xa80425fb  # chown dac_override fowner fsetid kill setgid setuid setpcap
    #                            net_bind_service net_raw sys_chroot mknod audit_write setfcap
    MOUNTS = {"/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup",
              "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/proc/acpi", "/proc/asound",
              "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
              "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"}
    WRITABLE = {"/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"}
    SCRIPT = ("for f in /proc/self/fd/*; do echo fd $f; done; cat /proc/self/status; echo; cat /proc/self/cgroup;"
              "echo; cat /proc/self/mountinfo; echo; cat /proc/self/environ | tr '\\0' '\\n'; echo; pwd; umask;"
              "ls /dev; cat /proc/net/dev")

    def check(self, text):
        fds = set(re.findall(r"^fd /proc/self/fd/(\d+)$", text, re.M))
        # 3 is the directory that the shell reads for its `*`.
        self.assertLessEqual(fds, {"0", "1", "2", "3"})
        for name, value in (("CapInh", 0), ("CapPrm", self.CAPABILITIES), ("CapEff", self.CAPABILITIES),
                            ("CapBnd", self.CAPABILITIES), ("CapAmb", 0)):
            self.assertEqual(int(re.search(rf"^{name}:\t(\w+)$", text, re.M)[1], 16), value, name)
        self.assertIn("NoNewPrivs:\t1", text)
        cgroups, mounts, rest = text.split("\n\n")[-4:-1]
        # From inside its namespace the container is at the root of each hierarchy.
        for line in cgroups.splitlines():
            self.assertEqual(line.split(":")[2], "/", line)
        hierarchies = {line.split(":")[1] or "unified" for line in cgroups.splitlines()}
        for line in mounts.splitlines():
            head, tail = line.split(" - ")
            _, _, _, root, at, options = head.split()[:6]
            below = at.removeprefix("/sys/fs/cgroup/")
            if below != at:
                self.assertIn(below, hierarchies)
                self.assertEqual(root, "/")
            else:
                self.assertIn(at, self.MOUNTS)
            self.assertEqual(options.split(",")[0], "rw" if at in self.WRITABLE else "ro", line)
            self.assertNotIn("shared:", head)
        self.assertEqual(set(rest.split()), {"KEY=value", "PATH=/bin", "HOME=/", "PWD=/", "SHLVL=1"})  # two are the shell's
        tail = text.split("\n\n")[-1].split("\n")
        self.assertEqual(tail[:2], ["/", "0022"])
        self.assertEqual(set(tail[2:tail.index("Inter-|   Receive                                                |  Transmit")]),
                         {"core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
                          "stdout", "tty", "urandom", "zero"})
        self.assertEqual([line.split(":")[0].strip() for line in tail if ":" in line], ["lo"])

    def test_of_the_first_process_and_of_exec(self):
        for name in ("tr", "umask", "cat", "ls"):
            if not (self.rootfs / "bin" / name).is_symlink():
                (self.rootfs / "bin" / name).symlink_to("busybox")
        self.config["process"].update(env=["PATH=/bin", "KEY=value"], noNewPrivileges=True)
        namespaces = self.config["linux"]["namespaces"]
        if {"type": "cgroup"} not in namespaces:
            namespaces.append({"type": "cgroup"})
        os.environ["SAMPAN_SECRET"] = "host"
        self.addCleanup(os.environ.pop, "SAMPAN_SECRET")
        with open("/etc/hostname") as extra:
            os.set_inheritable(extra.fileno(), True)
            self.check(self.script(self.SCRIPT, close_fds=False).stdout)
            self.start("sleep", "1000")
            self.check(self.run_oci("exec", "box", "sh", "-c", self.SCRIPT, close_fds=False).stdout)


if __name__ == "__main__":
    cases.main()
