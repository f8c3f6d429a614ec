#!/usr/bin/python3
"""cp, stats, top, pause, restart policies, logs in all their forms, privileged and init."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
import container_fixture
from container_fixture import ContainerCase

container_fixture.enter_own_network()


class More(ContainerCase):
    def sleeper(self, name="box", *flags):
        self.out("run", "-d", "--name", name, *flags, "busybox", "sleep", "1000")

    def wait_for(self, condition, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "did not happen")
            time.sleep(0.02)

    def test_cp(self):
        self.sleeper()
        here = self.folder / "cp"
        (here / "tree/sub").mkdir(parents=True)
        (here / "tree/file").write_text("one\n")
        (here / "tree/sub/run.sh").write_text("#!/bin/sh\n")
        (here / "tree/sub/run.sh").chmod(0o755)
        (here / "tree/link").symlink_to("file")
        os.utime(here / "tree/file", (1e9, 1e9))
        self.out("cp", here / "tree", "box:/srv")          # is not there: becomes /srv
        self.out("cp", here / "tree", "box:/srv")          # is there: /srv/tree
        self.out("cp", f"{here}/tree/.", "box:/tmp")       # its content
        out = self.out("exec", "box", "sh", "-c", "cd /; cat srv/file srv/tree/file tmp/file; readlink srv/link; stat -c '%a %u %Y' srv/sub/run.sh srv/file")
        self.assertEqual(out.splitlines()[:4], ["one", "one", "one", "file"])
        self.assertEqual(out.splitlines()[5], "644 0 1000000000")
        self.assertTrue(out.splitlines()[4].startswith("755 0 "))
        self.out("cp", "box:/srv", here / "back")
        self.assertEqual(sorted(p.name for p in (here / "back").iterdir()), ["file", "link", "sub", "tree"])
        self.out("cp", "box:/srv/file", here / "renamed")
        self.assertEqual((here / "renamed").read_text(), "one\n")
        with open(here / "out.tar", "wb") as to:
            self.sampan("cp", "box:/srv/sub", "-", check=True, capture_output=False, stdout=to, text=False)
        self.assertEqual(tarfile.open(here / "out.tar").getnames(), ["sub", "sub/run.sh"])
        with open(here / "out.tar", "rb") as tar:
            self.out("cp", "-", "box:/var", stdin=tar)
        self.assertEqual(self.out("exec", "box", "ls", "/var/sub"), "run.sh\n")
        # Links of the container lead below its own root, whoever made them.
        self.out("exec", "box", "ln", "-s", "/etc", "/www/away")
        (here / "owned").write_text("x")
        self.out("cp", here / "owned", "box:/www/away/owned-by-test")
        self.assertFalse(os.path.exists("/etc/owned-by-test"))
        self.assertEqual(self.out("exec", "box", "cat", "/etc/owned-by-test"), "x")
        self.out("exec", "box", "ln", "-s", "../../../../../../../../etc/hostname", "/leak")
        self.out("cp", "box:/leak", here / "leak")
        self.assertTrue((here / "leak").is_symlink(), "a link is copied as a link")
        # The same without a process that holds the root.
        self.out("stop", "-t", "0", "box")
        self.out("cp", here / "owned", "box:/late")
        self.out("cp", "box:/late", here / "late")
        self.assertEqual((here / "late").read_text(), "x")
        self.out("start", "box")
        self.assertEqual(self.out("exec", "box", "cat", "/late"), "x")
        for words, text in [(["box:/nosuch", here / "x"], "ENOENT"), ([here / "nosuch", "box:/"], "ENOENT"), ([here / "owned", "box:/no/dir/x"], "ENOENT"),
                            ([here / "owned", here / "x"], "one end is a container"), ([here / "tree", "box:/etc/hostname"], "replace a file"),
                            (["nobody:/x", here / "x"], "no such container")]:
            done = self.sampan("cp", *words)
            self.assertEqual(done.returncode, 125)
            self.assertIn(text, done.stderr)

    def test_stats_and_top(self):
        self.sleeper("box", "-m", "64m")
        rows = self.out("stats", "--no-stream").splitlines()
        self.assertRegex(rows[0], r"^ID +NAME +CPU % +MEM USAGE / LIMIT +MEM % +NET IO +PIDS +CPU TIME +AVG CPU %$")
        self.assertRegex(rows[1], r"^[0-9a-f]{12} +box +[\d.]+% +[\d.]+ .?B / 67.1 MB +[\d.]+% +.* +1 ")
        one = json.loads(self.out("stats", "--no-stream", "--format", "json", "box"))[0]
        self.assertEqual((one["Name"], one["PIDs"]), ("box", "1"))
        self.out("exec", "-d", "box", "sleep", "77")
        rows = self.out("top", "box").splitlines()
        self.assertRegex(rows[0], r"^USER +PID +PPID +%CPU +ELAPSED +TTY +TIME +COMMAND$")
        self.assertRegex(rows[1], r"^root +1 +0 .* sleep 1000$")
        self.assertRegex(rows[2], r"^root +\d+ +0 .* sleep 77$")
        self.assertEqual(len(rows), 3)
        self.assertEqual(self.sampan("stats", "--no-stream", "nobody").returncode, 125)

    def test_pause(self):
        self.sleeper()
        self.out("pause", "box")
        self.assertIn("(Paused)", self.out("ps"))
        self.assertEqual(self.sampan("exec", "box", "true").returncode, 125)
        self.assertEqual(self.sampan("pause", "box").returncode, 125)
        self.out("unpause", "box")
        self.assertEqual(self.out("exec", "box", "echo", "on"), "on\n")
        self.out("pause", "box")
        self.out("stop", "-t", "0", "box")
        self.assertEqual(self.inspect("box")["State"]["Status"], "exited")

    def test_restart_policies(self):
        self.out("run", "-d", "--name", "again", "--restart", "on-failure:2", "-v", f"{self.folder}:/count", "busybox", "sh", "-c", "echo x >> /count/times; exit 3")
        def over():
            seen = self.inspect("again")
            return seen["State"]["Status"] == "exited" and seen["RestartCount"] == 2
        self.wait_for(over)
        self.assertEqual((self.folder / "times").read_text(), "x\n" * 3)
        self.out("run", "-d", "--name", "always", "--restart", "always", "busybox", "sleep", "1000")
        first = self.inspect("always")["State"]["Pid"]
        os.kill(first, 9)
        self.wait_for(lambda: self.inspect("always")["State"]["Running"] and self.inspect("always")["State"]["Pid"] != first)
        self.out("stop", "-t", "0", "always")
        self.assertEqual(self.inspect("always")["State"]["Status"], "exited")
        self.assertEqual(self.inspect("always")["RestartCount"], 1)

    def test_logs(self):
        self.sampan("run", "--name", "talk", "busybox", "sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done; printf unfinished")
        done = self.sampan("logs", "talk")
        self.assertEqual((done.stdout, done.stderr), ("line 1\nline 2\nline 3\nline 4\nline 5\nunfinished", ""))
        self.sampan("run", "--name", "cry", "busybox", "sh", "-c", "echo bad >&2")
        done = self.sampan("logs", "cry")
        self.assertEqual((done.stdout, done.stderr), ("", "bad\n"))
        self.assertEqual(self.out("logs", "-n", "2", "talk"), "line 5\nunfinished")
        self.assertEqual(self.out("logs", "--tail", "0", "talk"), "")
        self.assertRegex(self.out("logs", "-t", "--tail", "1", "talk"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z unfinished$")
        self.assertEqual(self.out("logs", "--since", "1h", "--until", "30m", "talk"), "")
        self.assertEqual(self.out("logs", "--since", "1h", "talk").count("\n"), 5)
        self.assertEqual(self.sampan("logs", "--tail", "x", "talk").returncode, 125)
        # Lines that the log holds in pieces come out whole.
        self.sampan("run", "--name", "long", "busybox", "sh", "-c", "yes x | tr -d '\\n' | head -c 50000; echo; echo last")
        self.assertEqual(self.out("logs", "long"), "x" * 50000 + "\nlast\n")
        self.assertEqual(self.out("logs", "--tail", "2", "long"), "x" * 50000 + "\nlast\n")

    def test_a_log_is_bounded(self):
        """10 MiB, and as much before it; who reads it sees no seam."""
        lines = lambda first, last: "".join(f"{n}\n" for n in range(first, last + 1))
        # 19 MB in the log: it changes files once, under the follower's eyes.
        self.out("run", "-d", "--name", "short", "busybox", "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; seq 1 400000")
        follower = self.start("logs", "-f", "short", stdout=subprocess.PIPE, text=True)
        self.out("exec", "short", "touch", "/go")
        self.assertTrue(follower.communicate(timeout=60)[0] == lines(1, 400000))
        self.assertTrue(self.out("logs", "short") == lines(1, 400000))
        self.assertTrue(self.out("logs", "--tail", "350000", "short") == lines(50001, 400000))
        self.assertEqual(self.out("logs", "--tail", "2", "short"), lines(399999, 400000))
        # 33 MB: the oldest went.
        self.out("run", "--name", "long", "busybox", "seq", "1", "700000", stdout=subprocess.DEVNULL, capture_output=False, text=None)
        log = pathlib.Path(self.inspect("long")["LogPath"])
        self.assertEqual(sorted(path.name for path in log.parent.glob("log*")), ["log", "log.1"])
        for path in (log, log.with_name("log.1")):
            self.assertLessEqual(path.stat().st_size, 10 << 20)
        left = self.out("logs", "long")
        self.assertTrue(left == lines(int(left.split("\n", 1)[0]), 700000))
        self.assertGreater(len(left), 7 * 200000)

    def test_another_user_is_told(self):
        """Containers are root's: an empty list would say that there are none."""
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            program = shutil.copy(self.command()[0], directory)
            for words in (["ps"], ["ps", "-aq"], ["stats", "--no-stream"], ["rm", "-f", "--all"], ["logs", "some"]):
                done = subprocess.run([program, *words], env=self.env, capture_output=True, text=True, timeout=60, cwd="/",
                                      user=65534, group=65534, extra_groups=[])
                self.assertEqual((done.returncode, done.stdout), (125, ""), words)
                self.assertIn("they are root's: run it as root", done.stderr)

    def test_privileged_init_and_inherited(self):
        out = self.out("run", "--rm", "--privileged", "busybox", "sh", "-c", "grep CapEff /proc/self/status; mount -t tmpfs x /tmp && echo mounted; ls /dev/null")
        self.assertIn("mounted", out)
        self.assertNotEqual(self.sampan("run", "--rm", "busybox", "mount", "-t", "tmpfs", "x", "/tmp").returncode, 0)
        done = self.sampan("run", "--rm", "--init", "busybox", "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline; kill -9 $$")
        self.assertEqual((done.returncode, done.stdout.split()[0]), (137, "/dev/init"))
        self.assertEqual(self.sampan("run", "--rm", "--init", "busybox", "nosuch").returncode, 127)
        # It collects orphans.
        self.assertEqual(self.out("run", "--rm", "--init", "busybox", "sh", "-c", "(true & ) ; (sleep 0.1 & ); sleep 0.3; ps -o stat | grep -c Z || true").strip(), "0")
        self.assertEqual(self.out("run", "--rm", "--entrypoint", "", "busybox", "echo", "plain"), "plain\n")
        self.assertEqual(self.out("run", "--rm", "--entrypoint", "echo", "busybox", "-n", "x"), "x")
        self.assertEqual(self.out("run", "--rm", "--ulimit", "nofile=99:100", "busybox", "sh", "-c", "ulimit -n"), "99\n")
        self.assertEqual(self.out("run", "--rm", "--sysctl", "net.ipv4.ip_unprivileged_port_start=77", "busybox", "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"), "77\n")
        self.assertIn("size=1024k", self.out("run", "--rm", "--shm-size", "1m", "busybox", "grep", "/dev/shm", "/proc/mounts"))

    def test_inspect(self):
        self.sleeper("box", "--label", "a=b", "-e", "X=1", "-v", f"{self.folder}:/mnt:ro")
        seen = self.inspect("box")
        self.assertEqual(seen["Config"]["Labels"], {"a": "b"})
        self.assertIn("X=1", seen["Config"]["Env"])
        self.assertEqual(seen["Mounts"], [{"Type": "bind", "Source": str(self.folder), "Destination": "/mnt", "RW": False}])
        self.assertEqual(self.out("inspect", "-f", "{{.State.Status}} {{.State.Running}}", "box"), "running true\n")
        self.assertEqual(self.out("ps", "-q", "--filter", "label=a=b").strip(), seen["Id"][:12])
        self.assertEqual(self.out("ps", "-q", "--filter", "label=a=c"), "")
        self.assertEqual(self.sampan("inspect", "nobody").returncode, 125)


if __name__ == "__main__":
    cases.main()
