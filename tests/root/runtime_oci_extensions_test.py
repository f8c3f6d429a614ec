#!/usr/bin/python3
"""sampan-oci: what crun has beyond the specification and its users ask for: annotations, options, mounts."""
import base64
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cases
import oci_bundle


class Extensions(oci_bundle.Bundle):
    def test_what_hooks_print_goes_to_files(self):
        """run.oci.hooks.stdout and .stderr: appended to, by hooks of both sides, also once `create` is gone."""
        names = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
        self.config["hooks"] = {name: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {name}; echo {name} >&2"]}] for name in names}
        self.config["annotations"] = {f"run.oci.hooks.{s}": str(self.dir / s) for s in ("stdout", "stderr")}
        self.config["process"]["args"] = ["true"]
        self.write()
        self.run_oci("run", "--bundle", self.dir / "b", "box")
        self.quiet("create", "--bundle", self.dir / "b", "box")
        self.quiet("start", "box")
        self.run_oci("delete", "--force", "box")
        for stream in ("stdout", "stderr"):
            self.assertEqual((self.dir / stream).read_text().split(), [*names, *names])
        self.config["annotations"]["run.oci.hooks.stdout"] = str(self.dir / "none/x")
        self.write()
        done = self.run_oci("run", "--bundle", self.dir / "b", "box", check=False)
        self.assertIn("annotations[run.oci.hooks.stdout]", done.stderr)
        self.assertFalse((self.root / "box").exists())

    def test_kept_groups(self):
        """run.oci.keep_original_groups, as podman's --group-add keep-groups asks for it; for exec as well."""
        self.config["process"]["user"] = {"uid": 7, "gid": 8, "additionalGids": [9]}
        asked = ["setpriv", "--groups", "3,5", "--", oci_bundle.OCI, "--root", str(self.root)]
        self.config["process"]["args"] = ["id", "-G"]
        self.write()
        run = lambda *words: subprocess.run([*asked, *words], capture_output=True, text=True, timeout=60, check=True).stdout.split()
        self.assertEqual(run("run", "--bundle", str(self.dir / "b"), "box"), ["8", "9"])
        self.config["annotations"] = {"run.oci.keep_original_groups": "1"}
        self.write()
        self.assertEqual(run("run", "--bundle", str(self.dir / "b"), "box"), ["8", "3", "5"])
        self.start("sleep", "1000")
        self.assertEqual(run("exec", "box", "id", "-G"), ["8", "3", "5"])

    def test_a_pidfd_for_who_asks_by_annotation(self):
        with socket.socket(socket.AF_UNIX) as receiver:
            receiver.bind(str(self.dir / "pidfds"))
            receiver.listen()
            self.config["annotations"] = {"run.oci.pidfd_receiver": str(self.dir / "pidfds")}
            self.start("sleep", "1000")
            connection, _ = receiver.accept()
            with connection:
                _, fds, _, _ = socket.recv_fds(connection, 64, 1)
        with open(f"/proc/self/fdinfo/{fds[0]}") as info:
            self.assertIn(f"Pid:\t{self.state()['pid']}\n", info.read())
        os.close(fds[0])

    def test_filters_by_annotation(self):
        # The number of the call; mkdir or mkdirat of x86-64: EOPNOTSUPP; all else: allowed.
        refuse = b"".join(struct.pack("HBBI", *line) for line in (
            (0x20, 0, 0, 0), (0x15, 1, 0, 83), (0x15, 0, 1, 258), (0x06, 0, 0, 0x50000 | 95), (0x06, 0, 0, 0x7fff0000)))
        self.config["annotations"] = {"run.oci.seccomp_bpf_data": base64.b64encode(refuse).decode()}
        if os.uname().machine == "x86_64":
            done = self.script("mkdir /x; grep Seccomp: /proc/self/status", check=False)
            self.assertIn("Operation not supported", done.stderr)
            self.assertIn("Seccomp:\t2", done.stdout)
        self.config["annotations"] = {}
        self.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"}]}
        self.script("true")
        self.config["annotations"] = {"run.oci.seccomp_fail_unknown_syscall": "1"}
        self.assertIn("unknown system call 'no_such_call'", self.script("true", check=False).stderr)

    def test_several_containers_by_a_regular_expression(self):
        for name in ("web-1", "web-2", "db"):
            self.config["linux"]["cgroupsPath"] = f"{oci_bundle.CGROUP}/{name}"
            self.config["process"]["args"] = ["sleep", "1000"]
            self.write()
            self.quiet("run", "-d", "--bundle", self.dir / "b", name)
        self.run_oci("kill", "--regex", "^web-[0-9]$", "KILL")
        self.run_oci("delete", "--regex", "^web-[0-9]$")
        self.assertEqual(self.run_oci("list", "-q").stdout.split(), ["db"])
        done = self.run_oci("delete", "--regex", "d")  # runs: said, and not refused
        self.assertIn("warning: delete container db", done.stderr)
        self.assertIn("is not a regular expression", self.run_oci("delete", "--regex", "(", check=False).stderr)
        self.run_oci("delete", "--regex", "--force", ".")
        self.assertEqual(self.run_oci("list", "-q").stdout, "")

    def test_a_config_of_another_name(self):
        self.config["process"]["args"] = ["echo", "other"]
        (self.dir / "other.json").write_text(json.dumps(self.config))
        self.assertEqual(self.run_oci("run", "--bundle", "b", "--config", "other.json", "box", cwd=self.dir).stdout, "other\n")

    def test_a_user_namespace_without_maps(self):
        """The ids of the process are ours; everybody else is of our name's ranges in /etc/subuid, if there are any."""
        self.config["linux"]["namespaces"].append({"type": "user"})
        for mount in self.config["mounts"]:  # no group 5 in there
            mount["options"] = [option for option in mount.get("options", []) if option != "gid=5"]
        show = "cat /proc/self/uid_map; echo; cat /proc/self/gid_map; id -u"
        with self.ranges("", ""):
            self.assertEqual(self.script(show).stdout.split(), ["0", "0", "1", "0", "0", "1", "0"])
        with self.ranges("someone:1:1\nroot:300000:1000\nroot:1:1\n", "root:400000:50"):
            self.assertEqual(self.script(show).stdout.split(),
                             ["0", "0", "1", "1", "300000", "1000", "0", "0", "1", "1", "400000", "50", "0"])
            self.config["process"]["user"] = {"uid": 7, "gid": 0}
            self.assertEqual(self.script(show).stdout.split(),
                             ["0", "300000", "7", "7", "0", "1", "8", "300007", "993", "0", "0", "1", "1", "400000", "50", "7"])

    def ranges(self, uids, gids):
        """/etc/subuid and /etc/subgid of the programs that we start: in a mount namespace, so that the host's stay."""
        case = self

        class Ranges:
            def __enter__(self):
                self.before = oci_bundle.OCI
                for name, text in (("subuid", uids), ("subgid", gids)):
                    (case.dir / name).write_text(text)
                program = case.dir / "with-ranges"
                program.write_text(f"#!/bin/sh\nexport p={self.before} d={case.dir}\n"
                                   "exec unshare --mount --propagation slave sh -c 'touch /etc/subuid /etc/subgid; "
                                   "mount --bind $d/subuid /etc/subuid && mount --bind $d/subgid /etc/subgid && exec $p \"$@\"' sh \"$@\"\n")
                program.chmod(0o755)
                oci_bundle.OCI = str(program)

            def __exit__(self, *_):
                oci_bundle.OCI = self.before
        return Ranges()

    def test_links_as_mounts(self):
        files = self.dir / "files"
        files.mkdir()
        (files / "real").write_text("real\n")
        (files / "link").symlink_to("real")
        (files / "lost").symlink_to("/nowhere")
        (self.rootfs / "there").symlink_to("target")
        (self.rootfs / "target").write_text("target\n")
        (self.rootfs / "new").mkdir()
        (self.rootfs / "new").chmod(0o777)

        def mount(destination, source, *options):
            self.config["mounts"] = [m for m in self.config["mounts"] if not m["destination"].startswith("/there") and not m["destination"].startswith("/new")]
            self.config["mounts"].append({"destination": destination, "type": "bind", "source": str(files / source), "options": ["bind", *options]})

        for user in (False, True):
            if user:
                self.in_user_namespace()
            # Made anew: the link's text, not what it says in the host; again is fine, another text is not.
            for _ in range(2):
                mount("/new/place", "lost", "copy-symlink")
                self.assertEqual(self.script("readlink /new/place").stdout, "/nowhere\n")
            mount("/new/place", "link", "copy-symlink")
            self.assertIn("no link of the same text", self.script("true", check=False).stderr)
            (self.rootfs / "new/place").unlink()
            mount("/new/place", "real", "copy-symlink")  # no link: bound
            self.assertEqual(self.script("cat /new/place").stdout, "real\n")
            (self.rootfs / "new/place").unlink()
            # The link itself, where there is nothing that it names.
            mount("/new/place", "lost", "src-nofollow")
            self.assertEqual(self.script("readlink /new/place").stdout, "/nowhere\n")
            (self.rootfs / "new/place").unlink()
            # Over the link itself; what it names stays as it was.
            mount("/there", "real")
            self.assertEqual(self.script("cat /there /target").stdout, "real\nreal\n")
            mount("/there", "real", "dest-nofollow")
            self.assertEqual(self.script("cat /there /target").stdout, "real\ntarget\n")
            mount("/there-not", "real", "dest-nofollow")
            self.assertIn("ENOENT", self.script("true", check=False).stderr)
        mount("/there", "real", "copy-symlink", "dest-nofollow")
        self.assertIn("can't be given beside", self.script("true", check=False).stderr)
        mount("/there", "real", "dest-nofollow")
        self.config["mounts"][-1]["destination"] = "/proc/self"  # never a link of the kernel's
        self.assertNotEqual(self.script("true", check=False).returncode, 0)

    def test_nodes_of_a_user_namespace_do_nothing_but_read_and_write(self):
        self.in_user_namespace()
        (self.rootfs / "tmp").chmod(0o777)
        seen = {}
        for line in self.script("cat /proc/self/mountinfo").stdout.splitlines():
            words = line.split()
            seen[words[4]] = words
        for name in ("null", "zero", "full", "random", "urandom", "tty"):
            words = seen[f"/dev/{name}"]
            self.assertTrue({"nosuid", "noexec"} <= set(words[5].split(",")), words)
            self.assertEqual(words[6], "-", "of no peer")
        self.assertEqual(self.script("echo x > /dev/null; head -c 3 /dev/zero | cat > /tmp/z; stat -c %s /tmp/z").stdout, "3\n")

    def test_a_mount_over_the_root(self):
        other = self.dir / "other"
        (self.rootfs / "bin").rename(self.dir / "bin")
        self.rootfs.rename(other)
        (self.dir / "bin").rename(other / "bin")
        self.rootfs.mkdir()
        self.config["mounts"].insert(0, {"destination": "/", "type": "bind", "source": str(other), "options": ["bind", "rw"]})
        self.assertEqual(self.script("echo here > /mark; ls /proc/1/status /dev/null").stdout.split(), ["/dev/null", "/proc/1/status"])
        self.assertEqual((other / "mark").read_text(), "here\n")
        # One after /proc hides it; the next one is what masks are laid over.
        proc = next(m for m in self.config["mounts"] if m["destination"] == "/proc")
        self.config["mounts"] = [proc, *self.config["mounts"]]
        self.assertEqual(self.script("ls /proc/1/status; cat /proc/kcore | head -c 1").stdout, "/proc/1/status\n")
        self.config["mounts"].append({"destination": ".", "type": "tmpfs", "source": "tmpfs"})
        self.assertIn("not found", self.script("true", check=False).stderr)  # an empty root has no program


if __name__ == "__main__":
    cases.main()
