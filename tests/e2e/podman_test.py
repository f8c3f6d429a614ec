#!/usr/bin/python3
"""Debian's podman on sampan-oci: what people do with containers and pods, and exit codes, beside runc
where a behaviour is a matter of taste. In network and mount namespaces of its own, with a storage of
its own; with systemd's cgroups where systemd runs, with cgroupfs elsewhere."""
import json
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
import engines

engines.enter_own_namespaces(("podman", "podman"), ("conmon", "conmon"), ("busybox", "busybox-static"), ("runc", "runc"))

import images  # noqa: E402

engines.show_hierarchies_alone()
SYSTEMD = os.path.isdir("/run/systemd/system")
PURE_V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
IMAGE = "localhost/busybox:1"
PARENT = f"sampan_podman_{os.getpid()}"
PARENT = f"{PARENT}.slice" if SYSTEMD else f"/{PARENT}"
CONFIG = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[network]
network_backend = "netavark"
[engine]
infra_image = ""
"""
SLEEP = "trap 'exit 5' TERM; echo started; while true; do sleep 1000 & wait $!; done"


class Podman(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="podman-"))
        (cls.dir / "containers.conf").write_text(CONFIG)
        (cls.dir / "image.tar").write_bytes(images.docker_archive(
            IMAGE, images.busybox_layer({}), {"Cmd": ["sh"], "Env": ["PATH=/bin"]}))
        cls.environment = dict(os.environ, CONTAINERS_CONF=str(cls.dir / "containers.conf"))
        cls.cgroups_before = {p.name for p in pathlib.Path("/sys/fs/cgroup").glob("*/*/")}
        cls.run_podman("load", "-i", cls.dir / "image.tar")

    @classmethod
    def tearDownClass(cls):
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            if str(cls.dir) in (mount := line.split()[4]):
                subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(cls.dir)
        if SYSTEMD:
            return
        # `play kube` has no option for its parent and takes podman's own.
        for mount in pathlib.Path("/sys/fs/cgroup").glob("*"):
            for name in {PARENT[1:], "libpod_parent"} - cls.cgroups_before:
                for path in sorted((mount / name).rglob("*/"), reverse=True):
                    path.rmdir()
                if (mount / name).exists():
                    (mount / name).rmdir()

    @classmethod
    def command(cls, *words, runtime=None):
        words = [str(word) for word in words]
        if words[0] in ("run", "create") and "--pod" not in words:
            words[1:1] = ["--cgroup-parent", PARENT]
        return ["podman", "--root", f"{cls.dir}/root", "--runroot", f"{cls.dir}/run", "--tmpdir", f"{cls.dir}/tmp",
                "--storage-driver", "overlay", "--events-backend", "file",
                "--cgroup-manager", "systemd" if SYSTEMD else "cgroupfs", "--runtime", runtime or str(cases.BIN / "sampan-oci"), *words]

    @classmethod
    def run_podman(cls, *words, check=True, runtime=None):
        # Files, not pipes: conmon outlives the command and would hold them.
        with open(cls.dir / "out", "w+") as out, open(cls.dir / "err", "w+") as err:
            done = subprocess.run(cls.command(*words, runtime=runtime), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                  env=cls.environment, timeout=180)
            out.seek(0), err.seek(0)
            done.stdout, done.stderr = out.read(), err.read()
        if check and done.returncode != 0:
            raise AssertionError(f"podman {' '.join(map(str, words))}: {done.returncode}: {done.stderr}")
        return done

    def podman(self, *words, **options):
        return self.run_podman(*words, **options)

    def tearDown(self):
        self.podman("pod", "rm", "--all", "--force", "--time", "0")
        self.podman("rm", "--all", "--force", "--time", "0")

    def box(self, *options, command=("sh", "-c", SLEEP), name="box"):
        self.podman("run", "-d", "--name", name, "--network", "none", *options, IMAGE, *command)

    def once(self, *options, script="true", **more):
        return self.podman("run", "--rm", "--network", "none", *options, IMAGE, "sh", "-c", script, **more)

    def wait_for(self, what, ready, seconds=60):
        deadline = time.monotonic() + seconds
        while not (value := ready()):
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.1)
        return value

    def test_output_and_exit_codes_are_the_programs(self):
        done = self.once(script="echo out; echo err >&2; exit 7", check=False)
        self.assertEqual((done.returncode, done.stdout), (7, "out\n"))
        self.assertIn("err\n", done.stderr)
        for command in (["nosuchprogram"], ["/etc"], ["sh", "-c", "kill -9 $$"]):
            ours, theirs = (self.podman("run", "--rm", "--network", "none", IMAGE, *command, check=False, runtime=runtime).returncode
                            for runtime in (None, "runc"))
            self.assertEqual(ours, theirs, command)

    def test_limits_and_stats(self):
        self.box("-m", "64m", "--pids-limit", "50", "--cpus", "0.5")
        files = ("memory.max", "pids.max", "cpu.max") if PURE_V2 else \
            ("memory/memory.limit_in_bytes", "pids/pids.max", "cpu/cpu.cfs_quota_us")
        values = self.podman("exec", "box", "cat", *(f"/sys/fs/cgroup/{f}" for f in files)).stdout.split()
        self.assertEqual(values, [str(64 << 20), "50", "50000", *(["100000"] if PURE_V2 else [])])
        stats = json.loads(self.podman("stats", "--no-stream", "--format", "json").stdout)[0]
        self.assertEqual(stats["name"], "box")
        self.assertIn("67.11MB", stats["mem_usage"])
        self.assertGreaterEqual(int(stats["pids"]), 2)
        if SYSTEMD:
            cgroup = pathlib.Path(f"/proc/{self.inspect('{{.State.Pid}}')}/cgroup").read_text()
            self.assertRegex(cgroup, rf"^0::/{PARENT}/libpod-[0-9a-f]+\.scope")

    def inspect(self, template, name="box"):
        return self.podman("inspect", "--format", template, name).stdout.strip()

    def test_update_pause_and_top(self):
        self.box("-m", "64m")
        self.podman("pause", "box")
        self.assertEqual(self.inspect("{{.State.Status}}"), "paused")
        self.podman("unpause", "box")
        self.assertEqual(self.inspect("{{.State.Status}}"), "running")
        self.assertIn("sleep 1000", self.podman("top", "box").stdout)
        self.podman("update", "-m", "48m", "box")
        file = "memory.max" if PURE_V2 else "memory/memory.limit_in_bytes"
        self.assertEqual(self.podman("exec", "box", "cat", f"/sys/fs/cgroup/{file}").stdout.strip(), str(48 << 20))

    def test_stop_start_logs_and_rm(self):
        self.box()
        self.wait_for("started", lambda: "started" in self.podman("logs", "box").stdout)
        self.podman("stop", "-t", "30", "box")
        self.assertEqual((self.inspect("{{.State.ExitCode}}"), self.inspect("{{.State.Status}}")), ("5", "exited"))
        self.podman("start", "box")
        self.wait_for("started twice", lambda: self.podman("logs", "box").stdout.count("started") == 2)
        self.podman("kill", "box")
        self.wait_for("killed", lambda: self.inspect("{{.State.ExitCode}}") == "137")
        self.podman("rm", "box")
        self.assertEqual(self.podman("ps", "-a", "-q").stdout, "")

    def test_identity_and_restrictions(self):
        out = self.once("--read-only", "--user", "1000:1000", "--cap-drop", "all", "--security-opt", "no-new-privileges",
                        script="id; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; touch /x; touch /tmp/x && echo tmp").stdout
        self.assertIn("uid=1000(web) gid=1000(web)", out)
        self.assertEqual(re.findall(r"(CapEff|CapBnd):\s*(\w+)", out), [("CapEff", "0" * 16), ("CapBnd", "0" * 16)])
        self.assertIn("NoNewPrivs:\t1", out)
        self.assertIn("tmp", out)
        self.assertIn("seccomp 2", self.once(script="echo seccomp $(sed -n 's/^Seccomp:\\t//p' /proc/self/status)").stdout)

    def test_volumes_init_devices_and_sysctl(self):
        (self.dir / "volume").mkdir(exist_ok=True)
        (self.dir / "volume/file").write_text("from the host\n")
        volume = ("-v", f"{self.dir}/volume:/mnt")
        self.assertEqual(self.once(*volume, script="cat /mnt/file; echo back > /mnt/new").stdout, "from the host\n")
        self.assertEqual((self.dir / "volume/new").read_text(), "back\n")
        refused = self.once("-v", f"{self.dir}/volume:/mnt:ro", script="echo > /mnt/no", check=False)
        self.assertIn("Read-only file system", refused.stderr)
        self.podman("volume", "create", "named")
        self.once("-v", "named:/data", script="echo kept > /data/f")
        self.assertEqual(self.once("-v", "named:/data", script="cat /data/f").stdout, "kept\n")
        self.podman("volume", "rm", "named")
        self.assertEqual(self.once("--tmpfs", "/scratch:size=1m", script="df -k /scratch | tail -1 | awk '{print $2}'").stdout, "1024\n")
        self.assertEqual(self.once("--shm-size", "2m", script="df -k /dev/shm | tail -1 | awk '{print $2}'").stdout, "2048\n")
        self.assertEqual(self.once("--device", "/dev/kmsg:/dev/log-of-kernel", script="stat -c %t:%T /dev/log-of-kernel").stdout, "1:b\n")
        self.assertEqual(self.once("--sysctl", "net.ipv4.ip_unprivileged_port_start=80",
                                   script="cat /proc/sys/net/ipv4/ip_unprivileged_port_start").stdout, "80\n")
        self.assertEqual(self.once("--hostname", "boat", script="hostname").stdout, "boat\n")
        if os.path.exists("/usr/libexec/podman/catatonit"):
            self.assertEqual(self.once("--init", script="cat /proc/1/comm").stdout, "podman-init\n")

    def test_privileged_and_host_namespaces(self):
        out = self.podman("run", "--rm", "--privileged", "--network", "host", "--pid", "host", "--ipc", "host", "--uts", "host", IMAGE,
                          "sh", "-c", "for n in self/ns/net self/ns/ipc self/ns/uts self/ns/pid; do readlink /proc/$n; done").stdout.split()
        self.assertEqual(out, [os.readlink(f"/proc/self/ns/{n}") for n in ("net", "ipc", "uts", "pid")])

    def test_terminal(self):
        """run -it and exec -it as a person has them: a pty with the size of ours."""
        def session(*words, send, expect):
            pid, fd = pty.fork()
            if pid == 0:
                os.environ.update(self.environment)
                os.execvp("podman", self.command(*words))
            import fcntl, struct, termios
            fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
            text, sent, deadline = "", False, time.monotonic() + 90
            while time.monotonic() < deadline:
                if select.select([fd], [], [], 1)[0]:
                    try:
                        data = os.read(fd, 4096).decode(errors="replace")
                    except OSError:
                        break
                    if not data:
                        break
                    text += data
                if not sent and "#" in text:
                    os.write(fd, send.encode())
                    sent = True
            os.close(fd)
            self.assertRegex(text, expect)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.assertEqual(session("run", "-it", "--rm", "--network", "none", IMAGE, "sh", send="tty; stty size; exit 4\n",
                                 expect=r"(?s)/dev/pts/0.*33 77"), 4)
        self.box()
        self.assertEqual(session("exec", "-it", "box", "sh", send="tty; exit 3\n", expect="/dev/pts/"), 3)

    def test_exec(self):
        self.box("--env", "A=1")
        self.assertEqual(self.podman("exec", "--env", "B=2", "--workdir", "/tmp", "--user", "1000", "box",
                                     "sh", "-c", "echo $A $B $(pwd) $(id -u)").stdout, "1 2 /tmp 1000\n")
        self.assertEqual(self.podman("exec", "box", "sh", "-c", "exit 9", check=False).returncode, 9)
        self.assertEqual(self.podman("exec", "box", "nosuchprogram", check=False).returncode, 127)
        self.podman("exec", "-d", "box", "sh", "-c", "echo done > /tmp/done")
        self.wait_for("detached exec", lambda: self.podman("exec", "box", "cat", "/tmp/done", check=False).stdout == "done\n")

    def test_healthcheck(self):
        self.box("--health-cmd", "test -f /tmp/healthy", "--health-interval", "disable", "--health-retries", "1")
        self.assertNotEqual(self.podman("healthcheck", "run", "box", check=False).returncode, 0)
        self.podman("exec", "box", "touch", "/tmp/healthy")
        self.podman("healthcheck", "run", "box")
        self.assertEqual(self.inspect("{{.State.Healthcheck.Status}}") or self.inspect("{{.State.Health.Status}}"), "healthy")

    @unittest.skipUnless(os.path.exists("/usr/libexec/podman/catatonit"), "catatonit")
    def test_pod_shares_its_network(self):
        self.podman("pod", "create", "--name", "pair", "--network", "none", "--share", "net,ipc,uts", "--cgroup-parent", PARENT)
        self.podman("run", "-d", "--pod", "pair", "--name", "web", IMAGE, "sh", "-c",
                    "mkdir /srv; echo served > /srv/index.html; exec httpd -f -p 127.0.0.1:8080 -h /srv")
        fetch = ("run", "--rm", "--pod", "pair", IMAGE, "wget", "-qO-", "http://127.0.0.1:8080/")
        self.assertEqual(self.wait_for("served", lambda: self.podman(*fetch, check=False).stdout), "served\n")
        self.assertEqual(json.loads(self.podman("pod", "inspect", "pair").stdout)["State"], "Running")
        self.podman("pod", "rm", "--force", "--time", "0", "pair")
        self.assertEqual(self.podman("ps", "-a", "-q").stdout, "")

    @unittest.skipUnless(os.path.exists("/usr/libexec/podman/catatonit"), "catatonit")
    def test_play_kube(self):
        (self.dir / "pod.yaml").write_text(json.dumps({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "played"},
            "spec": {"containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", SLEEP],
                                     "resources": {"limits": {"memory": "64Mi"}}, "env": [{"name": "WHO", "value": "kube"}]}]}}))
        self.podman("play", "kube", "--network", "none", self.dir / "pod.yaml")
        self.assertEqual(self.podman("exec", "played-main", "sh", "-c", "echo $WHO").stdout, "kube\n")
        file = "memory.max" if PURE_V2 else "memory/memory.limit_in_bytes"
        self.assertEqual(self.podman("exec", "played-main", "cat", f"/sys/fs/cgroup/{file}").stdout.strip(), str(64 << 20))
        self.podman("play", "kube", "--down", self.dir / "pod.yaml")


if __name__ == "__main__":
    cases.main()
