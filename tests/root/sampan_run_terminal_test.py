#!/usr/bin/python3
"""`sampan run -it` and `exec -it` on a real terminal: raw mode, size and its changes, Ctrl-C, the keys
that let go; attach."""
import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
import container_fixture
from container_fixture import ContainerCase

container_fixture.enter_own_network()


class Terminal:
    def __init__(self, command, env, rows=33, columns=77):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(command, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.seen = ""

    def expect(self, pattern, seconds=30):
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            ready = select.select([self.master], [], [], max(0, end - time.monotonic()))[0]
            assert ready, f"{pattern!r} did not come: {self.seen!r}"
            self.seen += os.read(self.master, 65536).decode(errors="replace")
        self.seen = self.seen[found.end():]
        return found

    def type(self, text):
        os.write(self.master, text.encode())

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def wait(self):
        code = self.process.wait(30)
        self.after = termios.tcgetattr(self.slave)
        return code

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class Terminals(ContainerCase):
    def terminal(self, *words, **size):
        terminal = Terminal(self.command(*words), {**self.env, "TERM": "vt100"}, **size)
        self.addCleanup(terminal.close)
        return terminal

    def test_run(self):
        terminal = self.terminal("run", "-it", "--rm", "busybox", "sh")
        terminal.expect(r"/tmp # ")
        terminal.type("stty size; tty; echo $TERM\r")
        terminal.expect(r"33 77\r\n/dev/pts/0\r\nxterm\r\n")
        terminal.resize(20, 50)
        terminal.type("sleep 0.1; stty size\r")
        terminal.expect(r"20 50\r\n")
        # Ctrl-C reaches what runs in there, not us.
        terminal.type("sh -c 'trap \"echo ca\"\"ught; exit\" INT; echo rea\"\"dy; while :; do sleep 1; done'\r")
        terminal.expect(r"ready\r\n")
        terminal.type("\x03")
        terminal.expect(r"caught\r\n")
        terminal.expect(r"/tmp # ")
        terminal.type("exit 6\r")
        self.assertEqual(terminal.wait(), 6)
        self.assertEqual(terminal.after, terminal.before, "the terminal is given back as it was")

    def test_let_go_and_attach_again(self):
        terminal = self.terminal("run", "-it", "--name", "kept", "busybox", "sh")
        terminal.expect(r"/tmp # ")
        terminal.type("x=remembered\r")
        terminal.expect(r"/tmp # ")
        terminal.type("\x10\x11")
        self.assertEqual(terminal.wait(), 0)
        self.assertEqual(self.inspect("kept")["State"]["Status"], "running")
        again = self.terminal("attach", "kept")
        again.type("echo is $x\r")
        again.expect("is remembered")
        again.type("exit 4\r")
        self.assertEqual(again.wait(), 4)
        self.assertEqual(self.out("wait", "kept"), "4\n")

    def test_half_of_the_keys_is_typing(self):
        terminal = self.terminal("run", "-it", "--detach-keys", "x,y", "--name", "typed", "busybox", "sh", "-c", "echo up; exec cat")
        terminal.expect("up")
        terminal.type("xz xxq\r")
        terminal.expect(r"xz xxq\r\nxz xxq\r\n")
        terminal.type("xy")
        self.assertEqual(terminal.wait(), 0)
        self.assertEqual(self.inspect("typed")["State"]["Status"], "running")

    def test_exec(self):
        self.out("run", "-d", "--name", "box", "busybox", "sleep", "1000")
        terminal = self.terminal("exec", "-it", "box", "sh", rows=40, columns=120)
        terminal.expect(r"/tmp # ")
        terminal.type("stty size; tty\r")
        terminal.expect(r"40 120\r\n/dev/pts/\d+\r\n")
        terminal.resize(10, 11)
        terminal.type("sleep 0.1; stty size\r")
        terminal.expect(r"10 11\r\n")
        terminal.type("exit 5\r")
        self.assertEqual(terminal.wait(), 5)
        self.assertEqual(terminal.after, terminal.before)

    def test_without_a_terminal_of_ours(self):
        done = self.sampan("run", "-t", "--rm", "busybox", "tty")
        self.assertEqual((done.returncode, done.stdout), (0, "/dev/pts/0\n"))


if __name__ == "__main__":
    cases.main()
