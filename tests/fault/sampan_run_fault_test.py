#!/usr/bin/python3
"""`sampan run` killed with SIGKILL at, and failing in, each of the calls that change something: `rm -f`
always finds and removes what is left. The kernel counts the calls (strace's inject)."""
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
import container_fixture
from container_fixture import ContainerCase

if not shutil.which("strace"):
    print("skip: strace")
    sys.exit(77)
container_fixture.enter_own_network()

CHANGES = "mkdir,mkdirat,rename,symlink,unlink,unlinkat,rmdir,ftruncate,sendmsg,sendto,clone,vfork,clone3"


class Faults(ContainerCase):
    def injected(self, how, *words):
        return subprocess.run(["strace", "-qq", "-o", "/dev/null", "-e", f"trace={CHANGES}", "-e", f"inject={CHANGES}:{how}", *self.command(*words)],
                              env=self.env, capture_output=True, text=True, timeout=120, check=False)

    def each(self, how, *words):
        """Runs with the fault at call 1, 2, …; ends when a run has fewer calls than that."""
        for k in range(1, 400):
            done = self.injected(f"{how}:when={k}", *words)
            yield k, done
        self.fail("it has no end")

    def nothing_left(self):
        self.sampan("rm", "-f", "victim")
        self.tearDown()
        self.assertEqual(list((self.folder / "root/names").glob("[!.]*")), [])
        rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("9000", rules)

    def test_killed_at_every_call_of_run(self):
        killed = 0
        for k, done in self.each("signal=KILL", "run", "-d", "--name", "victim", "-p", "9000:80", "busybox", "sleep", "1000"):
            with self.subTest(k=k):
                self.nothing_left()
            if done.returncode == 0:
                break
            killed += 1
        self.assertGreater(killed, 15)

    def test_every_call_of_run_fails(self):
        failed = 0
        for k, done in self.each("error=ENOSPC", "run", "--rm", "--name", "victim", "-p", "9000:80", "busybox", "true"):
            with self.subTest(k=k):
                self.assertNotIn(done.returncode, (-6, 134), done.stderr)
                if done.returncode not in (0, 125):
                    self.fail(f"exit code {done.returncode}: {done.stderr}")
                self.nothing_left()
            failed += done.returncode != 0
            if done.returncode == 0 and k > failed + 12:
                break
        self.assertGreater(failed, 10)

    def test_killed_at_every_call_of_rm(self):
        for k in range(1, 400):
            self.out("run", "-d", "--name", "victim", "-p", "9000:80", "busybox", "sleep", "1000")
            done = self.injected(f"signal=KILL:when={k}", "rm", "-f", "victim")
            with self.subTest(k=k):
                self.nothing_left()
            if done.returncode == 0:
                self.assertGreater(k, 5)
                return
        self.fail("it has no end")


if __name__ == "__main__":
    cases.main()
