#!/usr/bin/python3
"""Debian's Docker on sampan-oci, as its default runtime: what people do with containers, exit codes,
limits, health checks, and that containers outlive the daemon. In network and mount namespaces of its
own, without any network of Docker's making."""
import json
import os
import pathlib
import pty
import select
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

engines.enter_own_namespaces(("dockerd", "docker.io"), ("busybox", "busybox-static"))

import images  # noqa: E402

engines.show_hierarchies_alone()
DOCKER = "/usr/bin/docker"
IMAGE = "localhost/busybox:1"
PARENT = f"sampan_docker_{os.getpid()}"
PURE_V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
SLEEP = "trap 'exit 5' TERM; echo started; while true; do sleep 1000 & wait $!; done"


class Docker(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="docker-"))
        (cls.dir / "config.json").write_text("{}")
        (cls.dir / "image.tar").write_bytes(images.docker_archive(
            IMAGE, images.busybox_layer({}), {"Cmd": ["sh"], "Env": ["PATH=/bin"]}))
        cls.environment = {**os.environ, "DOCKER_HOST": f"unix://{cls.dir}/docker.sock", "DOCKER_CONFIG": str(cls.dir)}
        cls.cgroups_before = {str(p) for p in pathlib.Path("/sys/fs/cgroup").glob("*/*/")} | {str(p) for p in pathlib.Path("/sys/fs/cgroup").glob("*/")}
        cls.start_daemon()
        cls.run_docker("load", "-i", cls.dir / "image.tar")

    @classmethod
    def start_daemon(cls):
        cls.daemon = subprocess.Popen(
            ["dockerd", "--config-file", f"{cls.dir}/config.json", "--data-root", f"{cls.dir}/root", "--exec-root", f"{cls.dir}/run",
             "--pidfile", f"{cls.dir}/pid", "--host", f"unix://{cls.dir}/docker.sock", "--bridge=none", "--iptables=false", "--ip6tables=false",
             "--ip-forward=false", "--storage-driver", "overlay2", "--live-restore", "--cgroup-parent", f"/{PARENT}",
             "--exec-opt", "native.cgroupdriver=cgroupfs", "--add-runtime", f"sampan={cases.BIN}/sampan-oci", "--default-runtime", "sampan",
             "--log-level", "warn"],
            stdin=subprocess.DEVNULL, stdout=open(cls.dir / "log", "a"), stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(cls.dir)})
        deadline = time.monotonic() + 60
        while cls.run_docker("info", check=False).returncode != 0:
            if time.monotonic() > deadline or cls.daemon.poll() is not None:
                raise RuntimeError("dockerd does not start: " + (cls.dir / "log").read_text()[-2000:])
            time.sleep(0.1)

    @classmethod
    def stop_daemon(cls):
        cls.daemon.send_signal(signal.SIGTERM)
        cls.daemon.wait(timeout=60)

    @classmethod
    def tearDownClass(cls):
        cls.stop_daemon()
        for line in reversed(pathlib.Path("/proc/self/mountinfo").read_text().splitlines()):
            if str(cls.dir) in (mount := line.split()[4]):
                subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(cls.dir)
        for mount in [pathlib.Path("/sys/fs/cgroup"), *pathlib.Path("/sys/fs/cgroup").glob("*")]:
            for name in (PARENT, "docker"):
                if (mount / name).is_dir() and str(mount / name) not in cls.cgroups_before:
                    for path in sorted((mount / name).rglob("*/"), reverse=True):
                        path.rmdir()
                    (mount / name).rmdir()

    @classmethod
    def run_docker(cls, *words, check=True, input=None):
        done = subprocess.run([DOCKER, *map(str, words)], env=cls.environment, input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        if check and done.returncode != 0:
            raise AssertionError(f"docker {' '.join(map(str, words))}: {done.returncode}: {done.stderr}")
        return done

    def docker(self, *words, **options):
        return self.run_docker(*words, **options)

    def once(self, script, *options, **more):
        return self.docker("run", "--rm", "--network=none", *options, IMAGE, "sh", "-c", script, **more)

    def start(self, name, *options, script=SLEEP):
        self.docker("run", "-d", "--network=none", "--name", name, *options, IMAGE, "sh", "-c", script)
        return name

    def inspect(self, name):
        return json.loads(self.docker("inspect", name).stdout)[0]

    def wait_for(self, what, ready, seconds=60):
        deadline = time.monotonic() + seconds
        while not ready():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.05)

    def tearDown(self):
        names = self.docker("ps", "-aq").stdout.split()
        if names:
            self.docker("rm", "-f", "-v", *names)

    def test_output_input_and_exit_codes(self):
        self.assertEqual(self.once("echo hello; echo oops >&2").stdout, "hello\n")
        self.assertEqual(self.once("exit 5", check=False).returncode, 5)
        self.assertEqual(self.once("cat", "-i", input="through\n").stdout, "through\n")
        done = self.docker("run", "--rm", "--network=none", IMAGE, "nosuchprogram", check=False)
        self.assertEqual(done.returncode, 127)
        self.assertIn("executable file not found in $PATH", done.stderr)
        self.assertEqual(self.docker("run", "--rm", "--network=none", IMAGE, "/etc", check=False).returncode, 126)
        self.assertEqual(self.docker("ps", "-aq").stdout, "")

    def test_process_options(self):
        out = self.once("id -u; id -g; pwd; echo $A; hostname; cat /proc/1/comm",
                        "--init", "-u", "1000:1000", "-w", "/tmp", "-e", "A=b", "-h", "boat").stdout.split()
        self.assertEqual(out, ["1000", "1000", "/tmp", "b", "boat", "docker-init"])

    def test_a_terminal(self):
        master, slave = pty.openpty()
        process = subprocess.Popen([DOCKER, "run", "-it", "--rm", "--network=none", IMAGE, "sh", "-c", "test -t 0 && stty size && echo done"],
                                   env=self.environment, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        out = b""
        while select.select([master], [], [], 60)[0]:
            try:
                out += os.read(master, 4096)
            except OSError:
                break
            if b"done" in out:
                break
        self.assertEqual(process.wait(timeout=60), 0)
        os.close(master)
        self.assertIn(b"done", out)

    def test_a_containers_life(self):
        name = self.start("life")
        state = self.inspect(name)
        self.assertEqual((state["State"]["Status"], state["HostConfig"]["Runtime"]), ("running", "sampan"))
        self.assertEqual(self.docker("exec", name, "echo", "inside").stdout, "inside\n")
        self.assertEqual(self.docker("exec", name, "sh", "-c", "exit 3", check=False).returncode, 3)
        self.assertEqual(self.docker("exec", "-e", "A=b", "-w", "/bin", "-u", "7", name, "sh", "-c", "echo $A; pwd; id -u").stdout.split(), ["b", "/bin", "7"])
        self.assertIn("sleep 1000", self.docker("top", name).stdout)
        self.docker("pause", name)
        self.assertEqual(self.inspect(name)["State"]["Status"], "paused")
        self.docker("unpause", name)
        self.docker("cp", "/etc/hostname", f"{name}:/copied")
        self.assertEqual(self.docker("exec", name, "cat", "/copied").stdout, pathlib.Path("/etc/hostname").read_text())
        self.assertIn("started", self.docker("logs", name).stdout)
        self.docker("stop", name)
        self.assertEqual(self.inspect(name)["State"]["ExitCode"], 5)
        self.docker("start", name)
        self.docker("kill", "-s", "KILL", name)
        self.assertEqual(self.docker("wait", name).stdout, "137\n")
        self.docker("rm", name)

    def test_limits_are_in_the_cgroup_and_change(self):
        name = self.start("limits", "-m", "64m", "--pids-limit", "50", "--cpus", "0.5")
        files = {"memory.max": "67108864", "pids.max": "50", "cpu.max": "50000 100000"} if PURE_V2 else {
            "memory/memory.limit_in_bytes": "67108864", "pids/pids.max": "50", "cpu/cpu.cfs_quota_us": "50000"}
        for file, value in files.items():
            self.assertEqual(self.docker("exec", name, "cat", f"/sys/fs/cgroup/{file}").stdout.strip(), value, file)
        stats = json.loads(self.docker("stats", "--no-stream", "--format", "{{json .}}", name).stdout)
        self.assertTrue(stats["MemUsage"].endswith("64MiB"), stats)
        self.docker("update", "-m", "96m", "--memory-swap", "192m", name)
        memory = "memory.max" if PURE_V2 else "memory/memory.limit_in_bytes"
        self.assertEqual(self.docker("exec", name, "cat", f"/sys/fs/cgroup/{memory}").stdout.strip(), str(96 << 20))

    def test_restrictions_and_privileges(self):
        out = self.once("grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status; touch /x; touch /t/x && echo tmp",
                        "--read-only", "--tmpfs", "/t", "--cap-drop=ALL", "--cap-add=CHOWN", "--security-opt", "no-new-privileges", check=False)
        self.assertEqual(out.stdout, "CapEff:\t0000000000000001\nNoNewPrivs:\t1\nSeccomp:\t2\ntmp\n")
        self.assertIn("Read-only file system", out.stderr)
        self.assertEqual(self.once("ls /proc/acpi 2>/dev/null | wc -l; cat /proc/timer_list 2>/dev/null | wc -l").stdout.split(), ["0", "0"])
        out = self.once("grep Seccomp: /proc/self/status; test -c /dev/fuse -o -c /dev/kmsg && echo devices", "--privileged").stdout
        self.assertEqual(out, "Seccomp:\t0\ndevices\n")
        self.assertEqual(self.once("test -c /dev/box && echo there", "--device", "/dev/zero:/dev/box:r").stdout, "there\n")

    def test_volumes_and_namespaces(self):
        (self.dir / "shared").mkdir()
        (self.dir / "shared/file").write_text("shared\n")
        self.assertEqual(self.once("cat /mnt/file; echo x > /mnt/file", "-v", f"{self.dir}/shared:/mnt:ro", check=False).stdout, "shared\n")
        self.once("echo kept > /data/file", "-v", "named:/data")
        self.assertEqual(self.once("cat /data/file", "-v", "named:/data").stdout, "kept\n")
        self.docker("volume", "rm", "named")
        name = self.start("first")
        inode = self.docker("exec", name, "readlink", "/proc/self/ns/net").stdout
        shared = self.docker("run", "--rm", "--network", f"container:{name}", "--pid", f"container:{name}", IMAGE, "sh", "-c", "readlink /proc/self/ns/net; ps | grep -c 'sleep 100[0]'").stdout
        self.assertEqual(shared, inode + "2\n")
        self.assertEqual(self.docker("run", "--rm", "--network=host", IMAGE, "readlink", "/proc/self/ns/net").stdout.strip(), os.readlink("/proc/self/ns/net"))

    def test_health_restart_and_events(self):
        name = self.start("healthy", "--health-cmd", "test -e /ok", "--health-interval", "200ms", "--health-retries", "1")
        self.wait_for("unhealthy", lambda: self.inspect(name)["State"]["Health"]["Status"] == "unhealthy")
        self.docker("exec", name, "touch", "/ok")
        self.wait_for("healthy", lambda: self.inspect(name)["State"]["Health"]["Status"] == "healthy")
        again = self.start("again", "--restart", "on-failure:2", script="exit 1")
        self.wait_for("two restarts", lambda: self.inspect(again)["RestartCount"] == 2 and self.inspect(again)["State"]["Status"] == "exited")
        self.assertEqual(self.inspect(again)["State"]["ExitCode"], 1)

    def test_containers_outlive_the_daemon(self):
        name = self.start("outlives")
        pid = self.inspect(name)["State"]["Pid"]
        self.stop_daemon()
        self.start_daemon()
        state = self.inspect(name)["State"]
        self.assertEqual((state["Status"], state["Pid"]), ("running", pid))
        self.assertEqual(self.docker("exec", name, "echo", "again").stdout, "again\n")


if __name__ == "__main__":
    cases.main()
