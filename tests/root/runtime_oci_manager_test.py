#!/usr/bin/python3
"""sampan-oci below a service manager: sockets that it hands on, and the word that a container is ready."""
import os
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cases
import oci_bundle


class Manager(oci_bundle.Bundle):
    def test_sockets_are_handed_on(self):
        """LISTEN_FDS and LISTEN_FDNAMES, where LISTEN_PID says that they are ours; beside fds that a caller adds."""
        (self.dir / "one").write_text("one\n")
        (self.dir / "two").write_text("two\n")
        self.config["process"]["args"] = ["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; cat <&3; cat <&4"]
        self.write()

        def run(words, more=""):
            line = (f"LISTEN_FDS=1 LISTEN_FDNAMES=web {words} exec {oci_bundle.OCI} --root {self.root} run {more} "
                    f"--bundle {self.dir}/b box 3<{self.dir}/one 4<{self.dir}/two")
            return subprocess.run(["sh", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60).stdout

        self.assertEqual(run("LISTEN_PID=$$"), "1 1 web\none\n")
        self.assertEqual(run("LISTEN_PID=$$", "--preserve-fds 1"), "1 1 web\none\ntwo\n")
        self.assertEqual(run("LISTEN_PID=1"), "\n")

    def test_ready_is_passed_on(self):
        """NOTIFY_SOCKET: what the container says reaches who started us, with the process to watch."""
        self.config["process"]["args"] = ["sh", "-c", "echo $NOTIFY_SOCKET > /told; stat -c %F $NOTIFY_SOCKET >> /told; sleep 1000"]
        self.write()
        inside = self.root / "box/notify/notify.sock"
        environment = {**os.environ, "NOTIFY_SOCKET": str(self.dir / "manager")}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as container:
            manager.bind(environment["NOTIFY_SOCKET"])
            manager.settimeout(30)

            def run(*words):
                with open(self.dir / "errors", "w") as errors:
                    return subprocess.Popen([oci_bundle.OCI, "--root", str(self.root), *words], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=errors, env=environment)

            def heard():
                text, fds, _, _ = socket.recv_fds(manager, 4096, 1)
                for fd in fds:
                    os.close(fd)
                return text.decode()

            def until(condition):
                deadline = time.monotonic() + 30
                while not condition():
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.01)

            def say(text):
                until(inside.exists)
                container.sendto(text, str(inside))

            def running():
                try:
                    return self.state()["status"] == "running"
                except (AssertionError, ValueError):
                    return False

            detached = run("run", "-d", "--bundle", str(self.dir / "b"), "box")
            say(b"STATUS=loading\n")
            self.assertIsNone(detached.poll())
            say(b"STATUS=done\nREADY=1\n")
            self.assertEqual([heard() for _ in range(3)], ["READY=1\n", f"MAINPID={self.state()['pid']}\n", "BARRIER=1"])
            self.assertEqual(detached.wait(30), 0)
            until(lambda: (self.rootfs / "told").exists() and len((self.rootfs / "told").read_text().splitlines()) == 2)
            self.assertEqual((self.rootfs / "told").read_text(), "/run/notify/notify.sock\nsocket\n")
            self.run_oci("delete", "--force", "box")

            self.assertEqual(run("create", "--bundle", str(self.dir / "b"), "box").wait(30), 0)
            starting = run("start", "box")
            say(b"READY=1")
            self.assertEqual([heard() for _ in range(3)], ["READY=1\n", f"MAINPID={self.state()['pid']}\n", "BARRIER=1"])
            self.assertEqual(starting.wait(30), 0)
            self.run_oci("delete", "--force", "box")

            # In the foreground we are who is watched, and go on.
            staying = run("run", "--bundle", str(self.dir / "b"), "box")
            say(b"READY=1")
            self.assertEqual([heard() for _ in range(3)], ["READY=1\n", f"MAINPID={staying.pid}\n", "BARRIER=1"])
            self.assertIsNone(staying.poll())
            until(running)
            self.run_oci("kill", "box", "KILL")
            self.assertEqual(staying.wait(30), 137)

            # One that ends without a word holds nobody.
            self.config["process"]["args"] = ["true"]
            self.write()
            self.assertEqual(run("run", "-d", "--bundle", str(self.dir / "b"), "box").wait(30), 0)
            self.run_oci("delete", "box")


if __name__ == "__main__":
    cases.main()
