#!/usr/bin/python3
"""`sampan run` and its family against real containers, as people use them, in a network namespace
that leads nowhere."""
import json
import pathlib
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
import container_fixture
from container_fixture import ContainerCase

container_fixture.enter_own_network()


class Run(ContainerCase):
    def test_output_and_exit_codes(self):
        done = self.sampan("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (7, "out\n", "err\n"))
        self.assertEqual(self.out("ps", "-aq"), "")
        for words, code, text in [(["run", "--rm", "busybox", "nosuch"], 127, "nosuch"), (["run", "--rm", "busybox", "/etc"], 126, "/etc"),
                                  (["run", "--nosuch", "busybox"], 125, "--nosuch"), (["run", "-m", "much", "busybox"], 125, "much"),
                                  (["run", "--pull", "never", "absent"], 125, "absent"), (["run"], 125, "IMAGE"),
                                  (["exec", "nobody", "true"], 125, "nobody"),
                                  (["rm", "nobody"], 1, "no such container"), (["stop", "nobody"], 125, "no such container")]:
            with self.subTest(words):
                done = self.sampan(*words)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(text, done.stderr)
        self.assertEqual(self.out("ps", "-aq"), "")

    def test_nothing_of_a_long_output_is_lost(self):
        # More than all pipes hold, to a reader that is late.
        process = self.start("run", "--rm", "busybox", "sh", "-c", "yes 0123456789abcdef | head -c 8000000; echo end", stdout=subprocess.PIPE)
        self.assertEqual(process.stdout.read(1), b"0")
        rest = process.stdout.read()
        self.assertEqual(len(rest), 8_000_000 - 1 + 4)
        self.assertTrue(rest.endswith(b"end\n"))
        self.assertEqual(process.wait(), 0)

    def test_standard_input(self):
        self.assertEqual(self.out("run", "--rm", "-i", "busybox", "cat", input="word\n"), "word\n")
        self.assertEqual(self.out("run", "--rm", "busybox", "cat", input="word\n"), "")
        path = self.folder / "input"
        path.write_text("x" * 1_000_000)
        with open(path, encoding="ascii") as file:
            self.assertEqual(self.out("run", "--rm", "-i", "busybox", "wc", "-c", stdin=file).strip(), "1000000")

    def test_who_waits_meets_the_end_while_it_is_settled(self):
        for i in range(25):
            self.out("run", "-d", "--name", f"brief{i}", "busybox", "sh", "-c", "read -t 0.0%d; exit 4" % (i % 5))
            self.assertEqual(self.out("wait", f"brief{i}"), "4\n")
        self.out("rm", *(f"brief{i}" for i in range(25)))

    def test_background_ps_logs_exec_stop_rm(self):
        container = self.out("run", "-d", "--name", "server", "busybox", "sh", "-c", "trap 'echo bye; exit 3' TERM; echo started; while true; do sleep 1000 & wait $!; done").strip()
        self.assertRegex(container, "^[0-9a-f]{64}$")
        lines = self.out("ps").splitlines()
        self.assertRegex(lines[0], r"^CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES$")
        self.assertRegex(lines[1], rf"^{container[:12]} +docker.io/library/busybox:latest +sh -c .* Up .* server$")
        self.assertEqual(self.out("ps", "--format", "{{.ID}} {{.Names}}"), f"{container[:12]} server\n")
        self.assertEqual(json.loads(self.out("ps", "--format", "json"))[0]["State"], "running")
        self.wait_for(lambda: self.out("logs", "server") == "started\n")
        self.assertEqual(self.out("exec", "-e", "A=b", "-w", "/etc", "server", "sh", "-c", "echo $A $FROM $PWD"), "b image /etc\n")
        self.assertEqual(self.sampan("exec", "server", "sh", "-c", "exit 9").returncode, 9)
        self.assertEqual(self.sampan("exec", "server", "nosuch").returncode, 127)
        self.assertEqual(self.out("exec", "-i", container[:6], "cat", input="in\n"), "in\n")
        self.assertEqual(self.sampan("rm", "server").returncode, 2)
        follower = self.start("logs", "-f", "--tail", "1", "server", stdout=subprocess.PIPE, text=True)
        self.assertEqual(follower.stdout.readline(), "started\n")
        self.assertEqual(self.out("stop", "server"), "server\n")
        self.assertEqual(follower.stdout.read(), "bye\n")
        self.assertEqual(follower.wait(), 0)
        self.assertEqual(self.out("ps"), lines[0][:0] + self.out("ps", "--filter", "name=nobody"))
        state = self.inspect("server")["State"]
        self.assertEqual((state["Status"], state["ExitCode"]), ("exited", 3))
        self.assertEqual(self.out("wait", "server"), "3\n")
        self.assertIn("Exited (3)", self.out("ps", "-a"))
        # What it wrote is there when it starts again.
        self.assertEqual(self.out("start", "server"), "server\n")
        self.assertEqual(self.out("exec", "server", "sh", "-c", "echo kept > /kept"), "")
        self.out("restart", "-t", "5", "server")
        self.assertEqual(self.out("exec", "server", "cat", "/kept"), "kept\n")
        self.assertEqual(self.out("rm", "-f", "server"), "server\n")
        self.assertEqual(self.out("ps", "-aq"), "")

    def wait_for(self, condition, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "did not happen")
            select.select([], [], [], 0.02)

    def test_removed_though_nobody_watches(self):
        self.out("run", "-d", "--rm", "--name", "brief", "busybox", "true")
        self.wait_for(lambda: self.out("ps", "-aq") == "")
        self.out("run", "-d", "--name", "stays", "busybox", "sh", "-c", "exit 4")
        self.wait_for(lambda: "Exited (4)" in self.out("ps", "-a"))
        # No process of it stays either.
        self.wait_for(lambda: not list((self.folder / "run").glob("*.sock")))
        self.assertEqual(self.inspect("stays")["State"]["ExitCode"], 4)

    def test_the_container_outlives_the_command(self):
        for flags in ([], ["--rm"]):
            with self.subTest(flags):
                process = self.start("run", *flags, "--name", "orphan", "busybox", "sh", "-c", "echo up; exec sleep 1000", stdout=subprocess.PIPE, text=True)
                self.assertEqual(process.stdout.readline(), "up\n")
                process.kill()
                process.wait()
                self.assertEqual(self.inspect("orphan")["State"]["Status"], "running")
                self.out("kill", "orphan")
                if flags:
                    self.wait_for(lambda: self.out("ps", "-aq") == "")
                else:
                    self.wait_for(lambda: self.inspect("orphan")["State"]["ExitCode"] == 137)
                    self.wait_for(lambda: not list((self.folder / "run").glob("*.sock")))
                    self.out("rm", "orphan")

    def test_signals_are_passed_on(self):
        process = self.start("run", "--rm", "busybox", "sh", "-c", "trap 'echo got; exit 5' INT; echo up; while true; do sleep 1000 & wait $!; done", stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "up\n")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.stdout.read(), "got\n")
        self.assertEqual(process.wait(), 5)

    def test_names(self):
        self.out("run", "--name", "one", "busybox", "true")
        done = self.sampan("run", "--name", "one", "busybox", "true")
        self.assertEqual(done.returncode, 125)
        self.assertIn("the name is in use", done.stderr)
        self.assertEqual(self.sampan("run", "--name", "a/b", "busybox", "true").returncode, 125)
        self.out("rm", "one")
        self.out("run", "--rm", "--name", "one", "busybox", "true")

    def test_limits_and_looks_from_inside(self):
        out = self.out("run", "--rm", "--hostname", "box", "-e", "X=1", "--env-file", self.env_file(), "-u", "web", "-w", "/www", "--read-only", "--tmpfs", "/scratch",
                       "busybox", "sh", "-c", "hostname; echo $X $Y $FROM; id -u; pwd; touch /no 2>/dev/null || echo sealed; touch /scratch/yes && echo scratch; grep CapEff /proc/self/status")
        self.assertEqual(out.splitlines(), ["box", "1 file image", "1000", "/www", "sealed", "scratch", "CapEff:\t0000000000000000"])
        limits = self.inspect(self.out("create", "-m", "64m", "--cpus", "0.5", "--pids-limit", "33", "busybox").strip())["HostConfig"]
        self.assertEqual((limits["Memory"], limits["PidsLimit"]), (64 << 20, 33))
        self.assertEqual(limits["Resources"]["cpu"], {"quota": 50000, "period": 100000})
        done = self.sampan("run", "--name", "fat", "-m", "16m", "busybox", "sh", "-c", "a=x; while true; do a=$a$a; done")
        self.assertEqual(done.returncode, 137)
        self.assertTrue(self.inspect("fat")["State"]["OOMKilled"])
        caps = lambda *flags: int(self.out("run", "--rm", *flags, "busybox", "sh", "-c", "grep CapEff /proc/self/status").split()[1], 16)
        self.assertEqual(caps("--cap-drop", "ALL"), 0)
        self.assertEqual(caps("--cap-drop", "ALL", "--cap-add", "net_admin"), 1 << 12)
        self.assertEqual(caps() & 1 << 12, 0)

    def env_file(self):
        path = self.folder / "env"
        path.write_text("# comment\nY=file\nX=overridden\n")
        return path

    def test_volumes(self):
        shared = self.folder / "shared"
        shared.mkdir(exist_ok=True)
        (shared / "file").write_text("host\n")
        self.assertEqual(self.out("run", "--rm", "-v", f"{shared}:/mnt", "busybox", "sh", "-c", "cat /mnt/file; echo new > /mnt/made"), "host\n")
        self.assertEqual((shared / "made").read_text(), "new\n")
        done = self.sampan("run", "--rm", "-v", f"{shared}:/mnt:ro", "busybox", "sh", "-c", "echo x > /mnt/no")
        self.assertNotEqual(done.returncode, 0)
        self.assertFalse((shared / "no").exists())
        self.assertEqual(self.sampan("run", "--rm", "-v", "/no/such:/mnt", "busybox", "true").returncode, 125)
        self.out("run", "--rm", "-v", "data:/data", "busybox", "sh", "-c", "echo kept > /data/x")
        self.assertEqual(self.out("run", "--rm", "-v", "data:/data", "busybox", "cat", "/data/x"), "kept\n")


if __name__ == "__main__":
    cases.main()
