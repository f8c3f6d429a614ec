#!/usr/bin/python3
"""checkpoint and restore through the real criu, on a kernel that its version knows: memory, files, limits
and namespaces come back, under another name too; what can't be saved is told with criu's own words."""
import json
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import bundle
import cases

MIB = 1 << 20
# Always of one length and never cut: CRIU refuses a file that was open and has another size now.
COUNT = "i=0; while true; do i=$((i + 1)); printf '%08d\\n' $i 1<>/tmp/count; usleep 20000; done"


def refusal():
    """Why criu can't work here; None if it can."""
    if not shutil.which("criu"):
        return "criu (criu)"
    done = subprocess.run(["criu", "check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return None if done.returncode == 0 else f"a kernel that criu knows: {done.stdout.strip().splitlines()[-1]}"


@unittest.skipIf(refusal(), refusal())
class Checkpoint(unittest.TestCase):
    def setUp(self):
        self.box = bundle.Bundle()
        self.box.linux["cgroupsPath"] = "/sampan-criu/box"
        self.image = self.box.dir / "image"

    def tearDown(self):
        self.box.close()
        parent = pathlib.Path("/sys/fs/cgroup/sampan-criu")
        self.assertEqual([p.name for p in parent.glob("*/")], [])
        parent.rmdir()
        self.assertNotIn(str(self.box.dir), pathlib.Path("/proc/self/mountinfo").read_text())

    def count(self, id="box"):
        return int(self.box.oci("exec", id, "cat", "/tmp/count", check=False).stdout or 0)

    def counted_beyond(self, number, id="box"):
        for _ in range(600):
            now = self.count(id)
            if now > number:
                return now
            time.sleep(0.05)
        self.fail(f"still {now}")

    def start(self, script=COUNT, out=subprocess.DEVNULL):
        """With stdio that is the container's own: a file of the host can't be saved."""
        bundle_path = self.write(["sh", "-c", script])
        subprocess.run([bundle.OCI, "--root", self.box.root, "run", "-d", "--bundle", bundle_path, "box"],
                       stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True)
        return self.counted_beyond(0)

    def save(self, *words, check=True):
        return self.box.oci("checkpoint", "--image-path", self.image, *words, "box", check=check)

    def restore(self, *words, id="box", check=True):
        return self.box.oci("restore", "-d", "--bundle", self.box.path, "--image-path", self.image, *words, id, check=check)

    def test_it_goes_on_where_it_was(self):
        self.box.linux["resources"] = {"memory": {"limit": 64 * MIB}, "pids": {"limit": 20}}
        self.start()
        before = self.counted_beyond(10)
        self.save()
        self.assertEqual(self.box.oci("state", "box", check=False).returncode, 1)
        self.assertFalse(pathlib.Path("/sys/fs/cgroup/sampan-criu/box").exists())
        pid_file = self.box.dir / "pid"
        self.restore("--pid-file", pid_file)
        state = json.loads(self.box.oci("state", "box").stdout)
        self.assertEqual((state["status"], state["pid"]), ("running", int(pid_file.read_text())))
        self.assertGreaterEqual(self.counted_beyond(before), before)
        self.assertEqual(pathlib.Path(f"/proc/{state['pid']}/cgroup").read_text(), "0::/sampan-criu/box\n")
        self.assertEqual(pathlib.Path("/sys/fs/cgroup/sampan-criu/box/memory.max").read_text(), f"{64 * MIB}\n")
        self.assertIn(state["pid"], json.loads(self.box.oci("ps", "-f", "json", "box").stdout))
        self.assertEqual(self.box.oci("exec", "box", "hostname").stdout, "sampan\n")
        # Twice from one image: the file that it writes to is in the container, not in the image.
        self.box.oci("delete", "--force", "box")
        self.restore()
        self.box.oci("kill", "box", "KILL")

    def test_under_another_name_with_the_first_still_there(self):
        self.start()
        self.save("--leave-running", "--work-path", self.box.dir / "work")
        self.assertTrue((self.box.dir / "work/dump.log").exists())
        self.counted_beyond(self.count())
        self.box.linux["cgroupsPath"] = "/sampan-criu/twin"
        (self.box.path / "config.json").write_text(json.dumps(self.box.config))
        self.restore(id="twin")
        self.assertIn("twin", self.box.oci("list", "-q").stdout.split())
        self.assertEqual(pathlib.Path(f"/proc/{self.box.pid('twin')}/cgroup").read_text(), "0::/sampan-criu/twin\n")
        self.assertNotEqual(self.box.pid("twin"), self.box.pid("box"))

    def test_binds_and_masks_are_the_hosts(self):
        shared = self.box.dir / "shared"
        shared.mkdir()
        (self.box.dir / "file").write_text("of the host\n")
        self.box.config["mounts"] += [
            {"destination": "/shared", "type": "bind", "source": str(shared), "options": ["bind"]},
            {"destination": "/etc/file", "type": "bind", "source": str(self.box.dir / "file"), "options": ["bind", "ro"]}]
        self.start()
        self.save()
        (shared / "late").write_text("made meanwhile\n")
        self.restore()
        self.assertEqual(self.box.oci("exec", "box", "cat", "/shared/late", "/etc/file").stdout, "made meanwhile\nof the host\n")
        self.assertEqual(self.box.oci("exec", "box", "stat", "-c", "%t:%T", "/proc/keys").stdout, "1:3\n")
        self.assertNotEqual(self.box.oci("exec", "box", "touch", "/etc/file", check=False).returncode, 0)

    def test_pre_dumps_are_parents(self):
        self.start()
        self.image = self.box.dir / "first"
        self.save("--pre-dump")
        self.counted_beyond(self.count())
        self.image = self.box.dir / "second"
        self.save("--parent-path", "../first")
        self.assertTrue((self.image / "parent").exists())
        self.restore()
        self.counted_beyond(self.count())
        self.assertEqual(self.save("--parent-path", "/first", check=False).returncode, 1)

    def test_the_foreground_stays_and_cleans_up(self):
        self.start(f"{COUNT.replace('true', '[ ! -e /stop ]')}; exit 7")
        self.save()
        stayed = subprocess.Popen([bundle.OCI, "--root", self.box.root, "restore", "--bundle", self.box.path,
                                   "--image-path", self.image, "box"], stdin=subprocess.DEVNULL)
        for _ in range(600):
            if self.box.oci("exec", "box", "touch", "/stop", check=False).returncode == 0:
                break
            time.sleep(0.05)
        self.assertEqual(stayed.wait(timeout=60), 7)
        self.assertEqual(self.box.oci("list", "-q").stdout, "")

    def test_what_is_refused(self):
        self.box.oci("create", "--bundle", self.write(["sleep", "1000"]), "box")
        self.assertIn("cannot be checkpointed in created state", self.save(check=False).stderr)
        self.box.oci("delete", "--force", "box")
        self.start()
        self.assertIn("manage-cgroups-mode", self.save("--manage-cgroups-mode", "hard", check=False).stderr)
        self.assertIn("--empty-ns", self.save("--empty-ns", "pid", check=False).stderr)
        done = self.restore(id="other", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertFalse((self.box.root / "other").exists())
        # A file of the host that is open in the container: criu says so, and it runs on.
        self.box.oci("delete", "--force", "box")
        with open(self.box.dir / "log", "w") as log:
            self.start(out=log)
        done = self.save(check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"criu failed: errno .*Error \(.*dump.log")
        self.counted_beyond(self.count())

    def write(self, args):
        self.box.config["process"]["args"] = args
        (self.box.path / "config.json").write_text(json.dumps(self.box.config))
        return self.box.path


if __name__ == "__main__":
    cases.main()
