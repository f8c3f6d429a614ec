#!/usr/bin/python3
"""sampan-oci on real bundles: its life cycle, its command line, hooks, and what it refuses."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cases
import oci_bundle


class Oci(oci_bundle.Bundle):
    def test_life(self):
        self.config["process"]["args"] = ["sleep", "1000"]
        self.write()
        pid_file = self.dir / "pid"
        self.quiet("create", "--bundle", self.dir / "b", "--pid-file", pid_file, "box")
        state = json.loads(self.run_oci("state", "box").stdout)
        self.assertEqual((state["status"], state["pid"]), ("created", int(pid_file.read_text())))
        self.assertEqual(self.run_oci("create", "--bundle", self.dir / "b", "box", check=False).returncode, 1)
        self.run_oci("start", "box")
        self.assertEqual(self.run_oci("start", "box", check=False).returncode, 1)
        self.assertIn("running", self.run_oci("list").stdout)
        self.assertEqual(json.loads(self.run_oci("ps", "-f", "json", "box").stdout), [state["pid"]])
        done = self.run_oci("exec", "--env", "A=b", "box", "sh", "-c", "echo $A; exit 9", check=False)
        self.assertEqual((done.returncode, done.stdout), (9, "b\n"))
        self.assertEqual(self.run_oci("exec", "box", "nothing", check=False).returncode, 255)
        self.run_oci("pause", "box")
        self.assertEqual(json.loads(self.run_oci("state", "box").stdout)["status"], "paused")
        self.run_oci("resume", "box")
        self.run_oci("update", "--pids-limit", "7", "box")
        self.assertEqual(self.run_oci("delete", "box", check=False).returncode, 1)
        self.run_oci("kill", "box", "KILL")
        self.assertEqual(json.loads(self.run_oci("state", "box").stdout)["status"], "stopped")
        self.run_oci("delete", "box")
        self.assertEqual(self.run_oci("state", "box", check=False).returncode, 1)
        self.run_oci("delete", "--force", "box")

    def test_exit_codes(self):
        self.assertEqual(self.script("exit 3", check=False).returncode, 3)
        self.assertEqual(self.script("no-such", check=False).returncode, 127)
        self.config["process"]["args"] = ["no-such"]
        self.write()
        done = self.run_oci("run", "--bundle", self.dir / "b", "box", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn('exec: "no-such": executable file not found in $PATH', done.stderr)
        (self.rootfs / "bin/odd").write_text("#!/no/such/interpreter\n")
        (self.rootfs / "bin/odd").chmod(0o755)
        self.config["process"]["args"] = ["odd", "argument"]
        self.write()
        done = self.run_oci("run", "--bundle", self.dir / "b", "box", check=False)
        self.assertIn("exec odd: no such file or directory (ENOENT): its interpreter", done.stderr)

    def test_wrong_fields_are_told_by_name(self):
        self.config["process"]["cwd"] = "relative"
        last = len(self.config["linux"]["namespaces"])  # on pure cgroup v2 there is one more
        self.config["linux"]["namespaces"].append({"type": "moon"})
        self.config["linux"]["intelRdt"] = {"closID": "x"}
        done = self.script("true", check=False)
        self.assertEqual(done.returncode, 1)
        for field in ("process.cwd:", f"linux.namespaces[{last}].type:", "linux.intelRdt:"):
            self.assertIn(field, done.stderr)
        self.assertFalse((self.root / "box").exists())

    def test_command_line_of_the_field(self):
        """What callers of runc rely on beyond the life cycle."""
        self.assertEqual(json.loads(self.run_oci("features").stdout)["ociVersionMax"], "1.3.0")
        version = self.run_oci("--version").stdout.splitlines()
        self.assertRegex(version[0], r"^sampan-oci version \d+\.\d+\.\d+$")
        self.assertEqual(version[2], "spec: 1.3.0")
        for command in "create start run state kill delete exec list ps pause resume update events spec features".split():
            self.assertIn(f"sampan-oci {command} - ", self.run_oci(command, "--help").stdout)
        self.start("sleep", "1000")
        event = json.loads(self.run_oci("events", "--stats", "box").stdout)
        self.assertEqual((event["type"], event["id"]), ("stats", "box"))
        self.assertGreater(event["data"]["memory"]["usage"]["usage"], 0)
        self.assertEqual(event["data"]["pids"]["current"], 1)
        events = subprocess.Popen([oci_bundle.OCI, "--root", str(self.root), "events", "--interval", "10ms", "box"],
                                  stdout=subprocess.PIPE, text=True)
        self.assertEqual(json.loads(events.stdout.readline())["type"], "stats")
        done = self.run_oci("exec", "--cgroup", "..", "box", "true", check=False)
        self.assertEqual((done.returncode, ".. is not a sub cgroup path" in done.stderr), (255, True))
        self.assertIn("unknown controller", self.run_oci("exec", "--cgroup", "moon:/", "box", "true", check=False).stderr)
        self.assertEqual(self.run_oci("exec", "--env", "A=1", "--env", "A=2", "--env", "HOME=", "box", "sh", "-c",
                                      "echo $A $HOME").stdout, "2 /\n")
        self.assertEqual(json.loads(self.run_oci("list", "-f", "json").stdout)[0]["owner"], "root")
        self.assertIn("criu is not installed", self.run_oci("--criu", "/none", "checkpoint", "--image-path", self.dir / "image", "box", check=False).stderr)
        self.run_oci("delete", "--force", "box")
        self.assertEqual(events.wait(10), 0)
        events.stdout.close()

    def test_inherited_cpu_affinity_is_reset(self):
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            self.skipTest("a second CPU")
        show = "grep Cpus_allowed_list /proc/self/status"
        whole = self.script(show).stdout
        narrow = {"preexec_fn": lambda: os.sched_setaffinity(0, cpus[:1])}
        self.assertEqual(self.script(show, **narrow).stdout, whole)
        self.start("sleep", "1000")
        self.assertEqual(self.run_oci("exec", "box", "sh", "-c", show, **narrow).stdout, whole)

    def test_exec_cap_is_ambient_where_it_is_inheritable(self):
        self.config["process"]["capabilities"]["inheritable"] = ["CAP_KILL"]
        self.start("sleep", "1000")
        ambient = lambda name: int(self.run_oci("exec", "--user", "7", "--cap", name, "box", "sh", "-c",
                                                "grep CapAmb /proc/self/status").stdout.split()[1], 16)
        self.assertEqual((ambient("CAP_KILL"), ambient("CAP_CHOWN")), (1 << 5, 0))

    def test_debug_log(self):
        log = self.dir / "log"
        self.config["process"]["args"] = ["true"]
        self.write()
        words = ("run", "--bundle", self.dir / "b", "box")
        self.assertEqual(self.run_oci("--debug", "--log", log, "--log-format", "json", *words).stderr, "")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        self.assertEqual({line["level"] for line in lines}, {"debug"})
        said = [line["msg"] for line in lines]
        for action in ("pivot-root", "exec true"):
            self.assertIn(action, said)
        self.assertTrue(any(line.startswith("container box is process ") for line in said), said)
        log.unlink()
        self.run_oci("--log", log, *words)
        self.assertEqual(log.read_text(), "")
        self.assertIn('level=debug msg="pivot-root"\n', self.run_oci("--log-level", "debug", *words).stderr)
        self.config["process"]["args"] = ["nothing"]
        self.write()
        self.run_oci("--debug", "--log", log, *words, check=False)
        last = log.read_text().splitlines()[-1]
        self.assertIn("level=error", last)
        self.assertIn("executable file not found", last)
        self.assertEqual(self.run_oci("--log-level", "loud", *words, check=False).returncode, 2)
        done = self.run_oci("--log", self.dir / "none/log", *words, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("open --log", done.stderr)

    def test_home_is_of_the_containers_passwd(self):
        (self.rootfs / "etc/passwd").write_text("root:x:0:0::/root:\nann:x:7:7:Ann:/home/ann:/bin/sh\n")
        self.config["process"]["user"] = {"uid": 7, "gid": 7}
        self.assertEqual(self.script("echo $HOME").stdout, "/home/ann\n")
        self.config["process"]["env"] += ["HOME=/other", "HOME="]  # the last word counts, and is none
        self.assertEqual(self.script("echo $HOME").stdout, "/home/ann\n")
        self.config["process"]["env"].append("HOME=/mine")
        self.assertEqual(self.script("echo $HOME").stdout, "/mine\n")

    def test_home_is_of_a_passwd_that_is_a_link(self):
        """Of the image's; never what one of /proc's links reaches, or what is no file."""
        (self.rootfs / "data").mkdir()
        (self.rootfs / "data/accounts").write_text("root:x:0:0::/of-the-image:\n")
        for target, home in (("../data/accounts", "/of-the-image"), ("/data/accounts", "/of-the-image"), ("/data/none", "/"),
                             ("/data", "/"), ("passwd", "/"), ("/data/pipe", "/"), ("/proc/self/fd/0", "/")):
            (self.rootfs / "etc/passwd").unlink(missing_ok=True)
            (self.rootfs / "etc/passwd").symlink_to(target)
            if target == "/data/pipe":
                os.mkfifo(self.rootfs / "data/pipe")
            self.assertEqual(self.script("echo $HOME").stdout, home + "\n", target)
        self.start("sleep", "1000")
        (self.rootfs / "etc/passwd").unlink()
        (self.rootfs / "etc/passwd").symlink_to("../data/accounts")
        self.assertEqual(self.run_oci("exec", "box", "sh", "-c", "echo $HOME").stdout, "/of-the-image\n")

    def test_hooks_of_the_runtime_start_in_the_bundle(self):
        """Whatever the caller's directory is; the container's own in its root; after the bundle went, in /."""
        names = ("prestart", "createRuntime", "poststart", "poststop")
        self.config["hooks"] = {name: [{"path": "/bin/sh", "args": ["sh", "-c", f"pwd > {self.dir}/{name}"]}] for name in names}
        self.config["hooks"]["startContainer"] = [{"path": "/bin/sh", "args": ["sh", "-c", "pwd > /inside"]}]
        self.config["process"]["args"] = ["true"]
        self.write()
        self.run_oci("run", "--bundle", "b", "box", cwd=self.dir)
        for name in names:
            self.assertEqual((self.dir / name).read_text().strip(), str(self.dir / "b"), name)
        self.assertEqual((self.rootfs / "inside").read_text(), "/\n")
        self.start("sleep", "1000")
        (self.dir / "b").rename(self.dir / "moved")
        self.run_oci("delete", "--force", "box")
        self.assertEqual((self.dir / "poststop").read_text(), "/\n")
        (self.dir / "moved").rename(self.dir / "b")

    def test_the_place_of_what_is_no_json(self):
        (self.dir / "b/config.json").write_text('{"ociVersion": "1.0.2",\n  "root": {"path": "a" "b"}}')
        done = self.run_oci("run", "--bundle", self.dir / "b", "box", check=False)
        self.assertIn(f"{self.dir}/b/config.json: line 2, column 24: ", done.stderr)
        (self.dir / "process.json").write_text("{\n\n]")
        self.config["process"]["args"] = ["sleep", "1000"]
        self.start("sleep", "1000")
        done = self.run_oci("exec", "--process", self.dir / "process.json", "box", check=False)
        self.assertIn("process.json: line 3, column 1: ", done.stderr)
        done = self.run_oci("update", "-r", self.dir / "process.json", "box", check=False)
        self.assertIn("process.json: line 3, column 1: ", done.stderr)

    def test_a_failing_poststop_hook_is_a_warning(self):
        mark = self.dir / "mark"
        self.config["hooks"] = {"poststop": [{"path": "/bin/false"}, {"path": "/bin/sh", "args": ["sh", "-c", f"echo ran > {mark}"]}]}
        done = self.script("exit 4", check=False)
        self.assertEqual(done.returncode, 4)
        self.assertIn("warning: error running poststop hook", done.stderr)
        self.assertEqual(mark.read_text(), "ran\n")

    def test_exec_in_a_paused_container_waits_for_resume(self):
        self.start("sleep", "1000")
        self.run_oci("pause", "box")
        self.assertIn("paused", self.run_oci("exec", "box", "true", check=False).stderr)
        waiting = subprocess.Popen([oci_bundle.OCI, "--root", str(self.root), "exec", "--ignore-paused", "box", "echo", "thawed"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.run_oci("resume", "box")
        self.assertEqual(waiting.communicate(timeout=30)[0], "thawed\n")

    def test_created_without_a_process(self):
        del self.config["process"]
        self.write()
        self.quiet("create", "--bundle", self.dir / "b", "box")
        done = self.run_oci("start", "box", check=False)
        self.assertIn("process is not set", done.stderr)
        self.run_oci("delete", "--force", "box")

    def test_process_attributes(self):
        self.config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5}
        self.config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
        self.config["linux"]["personality"] = {"domain": "LINUX32"}
        self.config["linux"]["memoryPolicy"] = {"mode": "MPOL_PREFERRED", "nodes": "0"}
        self.start("sleep", "1000")
        pid = json.loads(self.run_oci("state", "box").stdout)["pid"]
        self.assertEqual(os.sched_getscheduler(pid), os.SCHED_BATCH)
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, pid), 5)
        self.assertIn("idle", subprocess.run(["ionice", "-p", str(pid)], capture_output=True, text=True).stdout)
        self.assertEqual(pathlib.Path(f"/proc/{pid}/personality").read_text().strip(), "00000008")
        self.assertIn("prefer", pathlib.Path(f"/proc/{pid}/numa_maps").read_text())
        process = {"args": ["sh", "-c", "grep Cpus_allowed_list /proc/self/status"], "cwd": "/",
                   "execCPUAffinity": {"initial": "0", "final": "0"}, "env": ["PATH=/bin"]}
        (self.dir / "process.json").write_text(json.dumps(process))
        done = self.run_oci("exec", "--process", self.dir / "process.json", "box")
        self.assertEqual(done.stdout.split()[-1], "0")

    def test_hooks_run_in_order_and_a_failing_one_ends_the_launch(self):
        record = self.dir / "record"
        (self.rootfs / "hook").write_text("#!/bin/sh\necho inside-$1 >> /record\ncat > /state-$1\n")
        (self.rootfs / "hook").chmod(0o755)
        hook = self.dir / "hook"
        hook.write_text(f"#!/bin/sh\necho $1 >> {record}\ncat > {self.dir}/state-$1\n")
        hook.chmod(0o755)
        self.config["hooks"] = {
            name: [{"path": str(hook), "args": ["hook", name]}]
            for name in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")}
        self.config["hooks"]["startContainer"] = [{"path": "/hook", "args": ["hook", "startContainer"]}]
        self.config["process"]["args"] = ["true"]
        self.write()
        self.run_oci("run", "--bundle", self.dir / "b", "box")
        self.assertEqual(record.read_text().split(),
                         ["prestart", "createRuntime", "createContainer", "poststart", "poststop"])
        self.assertEqual((self.rootfs / "record").read_text(), "inside-startContainer\n")
        for path in (self.dir / "state-createRuntime", self.rootfs / "state-startContainer"):
            self.assertEqual(json.loads(path.read_text())["id"], "box")
        # The same through create and start: nobody waits for the hooks of `start` any more.
        self.quiet("create", "--bundle", self.dir / "b", "box")
        self.quiet("start", "box")
        self.config["hooks"]["createRuntime"].append({"path": "/bin/false"})
        self.run_oci("delete", "--force", "box")
        self.write()
        done = self.run_oci("run", "--bundle", self.dir / "b", "box", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("error running createRuntime hook #1: /bin/false: exit code 1", done.stderr)

    def test_a_hook_has_the_name_that_it_is_given(self):
        """Docker's hook is its own binary, which looks at argv[0]; what a failing hook says is in the error."""
        self.config["hooks"] = {"createRuntime": [{"path": "/usr/bin/busybox", "args": ["false", "ignored"]}]}
        self.config["process"]["args"] = ["true"]
        self.write()
        self.assertEqual(self.run_oci("run", "--bundle", self.dir / "b", "box", check=False).returncode, 1)
        self.config["hooks"] = {"createRuntime": [{"path": "/usr/bin/busybox", "args": ["true"]}],
                                "poststart": [{"path": "/usr/bin/busybox", "args": ["sh", "-c", "sleep 1000 >/dev/null & echo $! > " + f"{self.dir}/left"]}]}
        self.write()
        self.run_oci("run", "--bundle", self.dir / "b", "box")  # does not wait for what holds a hook's stderr
        os.kill(int((self.dir / "left").read_text()), signal.SIGKILL)
        self.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo because >&2; exit 3"]}]}
        self.write()
        done = self.run_oci("run", "--bundle", self.dir / "b", "box", check=False)
        self.assertIn("error running createRuntime hook #0: /bin/sh: exit code 3: because", done.stderr)

    def test_hooks_are_told_where_they_are(self):
        """The state on stdin, the working directory of createContainer, the environment of startContainer."""
        (self.rootfs / "hook").write_text("#!/bin/sh\ncat > $1; echo $HOME $KEY > $1-env\n")
        (self.rootfs / "hook").chmod(0o755)
        sh = lambda text: [{"path": "/bin/sh", "args": ["sh", "-c", text]}]
        self.config["hooks"] = {"prestart": sh(f"cat > {self.dir}/outside"),
                                "createContainer": sh("cat > before; pwd > cwd"),
                                "startContainer": [{"path": "/hook", "args": ["hook", "/inside"]}],
                                "poststart": sh("true")}  # `start` waits for the program, and so for the hook
        self.config["process"].update(args=["sleep", "1000"], env=["PATH=/bin", "KEY=value"])
        self.write()
        self.quiet("create", "--bundle", self.dir / "b", "box")
        self.quiet("start", "box")
        pid = self.state()["pid"]
        for path, seen in ((self.dir / "outside", pid), (self.rootfs / "before", 1), (self.rootfs / "inside", 1)):
            state = json.loads(path.read_text())
            self.assertEqual((state["status"], state["pid"]), ("created", seen), path)
        self.assertEqual((self.rootfs / "cwd").read_text().strip(), str(self.rootfs))
        self.assertEqual((self.rootfs / "inside-env").read_text(), "/ value\n")

    def test_poststart_hooks_come_after_the_program(self):
        """As late as the program is: it waits for a startContainer hook."""
        (self.rootfs / "hook").write_text("#!/bin/sh\nsleep 0.5\n")
        (self.rootfs / "hook").chmod(0o755)
        mark = self.dir / "mark"
        self.config["hooks"] = {"startContainer": [{"path": "/hook"}], "poststart": [
            {"path": "/bin/sh", "args": ["sh", "-c", f"cat /proc/$(grep -o '\"pid\":[0-9]*' | cut -d: -f2)/comm > {mark}"]}]}
        self.config["process"]["args"] = ["sleep", "1000"]
        self.write()
        self.quiet("create", "--bundle", self.dir / "b", "box")
        self.quiet("start", "box")
        self.assertEqual(mark.read_text(), "sleep\n")

    def test_a_cgroup_in_use_is_refused(self):
        self.start("sleep", "1000")
        done = self.run_oci("run", "--bundle", self.dir / "b", "two", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("container's cgroup is not empty", done.stderr)
        self.assertEqual(self.state()["status"], "running")
        self.run_oci("delete", "--force", "box")
        # A frozen one, that somebody left behind: nothing would ever run in it.
        freezers = [p for p in map(pathlib.Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/freezer"))
                    if (p / "cgroup.procs").exists()]
        directory = pathlib.Path(f"{freezers[0]}{oci_bundle.CGROUP}/box")
        directory.mkdir(parents=True)
        freeze, frozen, thawed = (("freezer.state", "FROZEN", "THAWED") if (directory / "freezer.state").exists()
                                  else ("cgroup.freeze", "1", "0"))
        (directory / freeze).write_text(frozen)
        done = self.run_oci("create", "--bundle", self.dir / "b", "box", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("container's cgroup unexpectedly frozen", done.stderr)
        self.assertFalse((self.root / "box").exists())
        (directory / freeze).write_text(thawed)
        directory.rmdir()

    def test_console_socket_gets_the_terminal(self):
        self.config["process"].update(terminal=True, args=["sh", "-c", "tty; read a; echo got $a; sleep 100"])
        self.write()
        path = str(self.dir / "console.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            self.quiet("run", "-d", "--console-socket", path, "--bundle", self.dir / "b", "box")
            connection, _ = listener.accept()
            with connection:
                _, fds, _, _ = socket.recv_fds(connection, 1, 1)
        os.write(fds[0], b"word\n")
        out = b""
        while b"got word" not in out:
            out += os.read(fds[0], 1000)
        self.assertIn(b"/dev/pts/0", out)
        os.close(fds[0])


if __name__ == "__main__":
    cases.main()
