#!/usr/bin/python3
"""Debian's containerd with its runc shim on sampan-oci: tasks from `ctr`, what they report, and that a
task outlives the daemon. In network and mount namespaces of its own, with directories of its own."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
import engines

engines.enter_own_namespaces(("containerd", "containerd"), ("busybox", "busybox-static"))

import images  # noqa: E402

engines.show_hierarchies_alone()
IMAGE = "localhost/busybox:1"
NAMESPACE = f"sampan-{os.getpid()}"  # also the cgroup's name
PURE_V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
CONFIG = """version = 2
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{dir}/containerd.sock"
[debug]
  level = "warn"
"""


class Containerd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="containerd-"))
        (cls.dir / "config.toml").write_text(CONFIG.format(dir=cls.dir))
        (cls.dir / "image.tar").write_bytes(images.docker_archive(
            IMAGE, images.busybox_layer({}), {"Cmd": ["sh"], "Env": ["PATH=/bin"]}))
        cls.start_daemon()
        cls.run_ctr("image", "import", cls.dir / "image.tar")

    @classmethod
    def start_daemon(cls):
        cls.daemon = subprocess.Popen(["containerd", "--config", str(cls.dir / "config.toml")], stdin=subprocess.DEVNULL,
                                      stdout=open(cls.dir / "log", "a"), stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while cls.run_ctr("version", check=False).returncode != 0:
            if time.monotonic() > deadline or cls.daemon.poll() is not None:
                raise RuntimeError("containerd does not start: " + (cls.dir / "log").read_text()[-2000:])
            time.sleep(0.1)

    @classmethod
    def stop_daemon(cls, how=signal.SIGTERM):
        cls.daemon.send_signal(how)
        cls.daemon.wait(timeout=60)

    @classmethod
    def tearDownClass(cls):
        cls.stop_daemon()
        shutil.rmtree(cls.dir)
        for mount in [pathlib.Path("/sys/fs/cgroup"), *pathlib.Path("/sys/fs/cgroup").glob("*")]:
            if (mount / NAMESPACE).is_dir():
                (mount / NAMESPACE).rmdir()

    @classmethod
    def run_ctr(cls, *words, check=True):
        with open(cls.dir / "out", "w+") as out, open(cls.dir / "err", "w+") as err:
            done = subprocess.run(["ctr", "--address", f"{cls.dir}/containerd.sock", "--namespace", NAMESPACE, *map(str, words)],
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=120)
            out.seek(0), err.seek(0)
            done.stdout, done.stderr = out.read(), err.read()
        if check and done.returncode != 0:
            raise AssertionError(f"ctr {' '.join(map(str, words))}: {done.returncode}: {done.stderr}")
        return done

    def ctr(self, *words, **options):
        return self.run_ctr(*words, **options)

    def start(self, *options, id="box", command=("sleep", "1000"), check=True):
        return self.ctr("run", "--runtime", "io.containerd.runc.v2", "--runc-binary", cases.BIN / "sampan-oci",
                        "--snapshotter", "overlayfs", *options, IMAGE, id, *command, check=check)

    def once(self, script, *options, check=True):
        return self.start("--rm", *options, command=("sh", "-c", script), check=check)

    def tearDown(self):
        for line in self.ctr("task", "ls").stdout.splitlines()[1:]:
            self.ctr("task", "rm", "--force", line.split()[0], check=False)
        for line in self.ctr("container", "ls", "--quiet").stdout.split():
            self.ctr("container", "rm", line)

    def status(self, id="box"):
        return {line.split()[0]: line.split()[2] for line in self.ctr("task", "ls").stdout.splitlines()[1:]}.get(id)

    def wait_for(self, what, ready, seconds=60):
        deadline = time.monotonic() + seconds
        while not ready():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.05)

    def test_output_and_exit_codes(self):
        self.assertEqual(self.once("echo hello").stdout, "hello\n")
        self.assertEqual(self.once("exit 5", check=False).returncode, 5)
        failed = self.start("--rm", command=["nosuchprogram"], check=False)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("executable file not found in $PATH", failed.stderr)
        self.assertEqual(self.ctr("container", "ls", "--quiet").stdout, "")

    def test_a_tasks_life(self):
        self.start("-d", "--memory-limit", 64 << 20)
        self.assertEqual(self.status(), "RUNNING")
        self.assertEqual(self.ctr("task", "exec", "--exec-id", "e", "box", "echo", "inside").stdout, "inside\n")
        self.assertEqual(self.ctr("task", "exec", "--exec-id", "f", "box", "sh", "-c", "exit 3", check=False).returncode, 3)
        self.assertEqual(len(self.ctr("task", "ps", "box").stdout.splitlines()), 2)
        metrics = dict(line.split(None, 1) for line in self.ctr("task", "metrics", "box").stdout.splitlines() if len(line.split()) == 2)
        limit = "memory.usage_limit" if "memory.usage_limit" in metrics else "memory.limit_in_bytes"
        self.assertEqual(int(metrics[limit]), 64 << 20)
        self.assertGreater(int(metrics["pids.current"]), 0)
        self.ctr("task", "pause", "box")
        self.assertEqual(self.status(), "PAUSED")
        self.ctr("task", "resume", "box")
        self.assertEqual(self.status(), "RUNNING")
        self.ctr("task", "kill", "--signal", "SIGKILL", "box")
        self.wait_for("stopped", lambda: self.status() == "STOPPED")
        self.ctr("task", "rm", "box")
        self.assertIsNone(self.status())

    def test_signals_are_the_programs_to_handle(self):
        self.start("-d", command=("sh", "-c", "trap 'exit 9' TERM; while true; do sleep 1000 & wait $!; done"))
        self.wait_for("a child", lambda: len(self.ctr("task", "ps", "box").stdout.splitlines()) == 3)
        self.ctr("task", "kill", "--signal", "SIGTERM", "box")
        self.wait_for("stopped", lambda: self.status() == "STOPPED")
        self.assertIn("exit code 9", self.ctr("task", "rm", "box", check=False).stderr)

    def test_restrictions(self):
        out = self.once("grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; mount -t tmpfs t /tmp; touch /x",
                        "--read-only", "--seccomp", check=False)
        self.assertEqual(out.stdout, "NoNewPrivs:\t1\nSeccomp:\t2\n")
        self.assertIn("permission denied", out.stderr)
        self.assertIn("Read-only file system", out.stderr)

    def test_mounts_and_host_network(self):
        (self.dir / "shared").mkdir()
        (self.dir / "shared/file").write_text("shared\n")
        out = self.once("cat /mnt/file; readlink /proc/self/ns/net", "--net-host", "--mount",
                        f"type=bind,src={self.dir}/shared,dst=/mnt,options=rbind:ro").stdout.split()
        self.assertEqual(out, ["shared", os.readlink("/proc/self/ns/net")])

    def test_tasks_outlive_the_daemon(self):
        self.start("-d")
        self.stop_daemon(signal.SIGKILL)
        self.start_daemon()
        self.assertEqual(self.status(), "RUNNING")
        self.assertEqual(self.ctr("task", "exec", "--exec-id", "e", "box", "echo", "again").stdout, "again\n")

    def test_ten_at_once(self):
        processes = [subprocess.Popen(
            ["ctr", "--address", f"{self.dir}/containerd.sock", "--namespace", NAMESPACE, "run", "--rm", "--runtime", "io.containerd.runc.v2",
             "--runc-binary", str(cases.BIN / "sampan-oci"), IMAGE, f"many-{n}", "sh", "-c", f"exit {n}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for n in range(10)]
        self.assertEqual([p.wait(timeout=120) for p in processes], list(range(10)))


if __name__ == "__main__":
    cases.main()
