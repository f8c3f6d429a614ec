#!/usr/bin/python3
"""What criu is told, and what becomes of its answers: checkpoint and restore with a criu of the test's
own, which writes down what it was asked and answers as the test wants. With the real one, where a kernel
is that it knows: tests/vm/checkpoint_test.py."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import bundle
import cases

CGROUP = f"/sampan-criu-{os.getpid()}"
DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK = 1, 2, 4, 6, 9
CRIU = r'''#!/usr/bin/python3
import json, os, pathlib, socket, subprocess, sys
here = pathlib.Path(__file__).parent
assert sys.argv[1:] == ["swrk", "3"], sys.argv
peer = socket.socket(fileno=3)

def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at

def fields(data):
    out, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        out.setdefault(key >> 3, []).append(value)
    return out

def number(field, value):
    out = b""
    for part in (field << 3, value):
        while part > 127:
            out, part = out + bytes([part & 127 | 128]), part >> 7
        out += bytes([part])
    return out

def inner(field, data):
    return bytes([field << 3 | 2, len(data)]) + data

def notify(script, pid=0):
    peer.send(number(1, 6) + number(2, 1) + inner(5, inner(1, script.encode()) + number(2, pid)))
    answer = fields(peer.recv(65536))
    assert answer == {1: [6], 3: [1]}, answer

request = fields(peer.recv(65536))
kind = request[1][0]
options = {k: [v.decode() if isinstance(v, bytes) and v.isascii() and v.decode().isprintable() else
               [x.decode() if isinstance(x, bytes) else x for xs in fields(v).values() for x in xs] if isinstance(v, bytes) else v
               for v in vs] for k, vs in fields(request.get(2, [b""])[0]).items()}
told = {"kind": kind, "options": options, "inherited": sorted(os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                                                              if n not in "0123" and os.path.exists(f"/proc/self/fd/{n}"))}
(here / f"told-{kind}").write_text(json.dumps(told))
mode = (here / "mode").read_text()
if kind == 9:
    peer.send(number(1, 9) + number(2, 1) + inner(8, number(1, int(mode != "old")) + number(2, int(mode != "old"))))
    sys.exit()
log = {1: "dump.log", 2: "restore.log", 4: "dump.log"}[kind]
work = f"/proc/{os.getppid()}/fd/{options[17][0]}/{log}"
if mode == "fails":
    open(work, "w").write("(00.1) Warn  (criu/x.c:1): no matter\n(00.2) Error (criu/y.c:7): the moon is full\n")
    peer.send(number(1, kind) + number(2, 0) + number(7, 22))
    sys.exit(1)
if mode == "dies":
    sys.exit(3)
if kind == 2:
    notify("setup-namespaces", os.getpid())
    child = subprocess.Popen(["/bin/busybox", "sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    notify("post-restore", child.pid)
    peer.send(number(1, 2) + number(2, 1) + inner(4, number(1, child.pid)))
    child.returncode = 0
else:
    notify("post-dump")
    peer.send(number(1, kind) + number(2, 1))
'''


@unittest.skipUnless(os.geteuid() == 0, "root")
@unittest.skipUnless(os.path.exists("/bin/busybox"), "busybox-static")
class Checkpoint(unittest.TestCase):
    def setUp(self):
        self.box = bundle.Bundle()
        self.criu = self.box.dir / "criu"
        self.criu.write_text(CRIU)
        self.criu.chmod(0o755)
        self.mode("works")
        self.box.options = ("--criu", self.criu)
        self.box.linux["cgroupsPath"] = f"{CGROUP}/box"
        self.image = self.box.dir / "image"

    def tearDown(self):
        self.box.close()
        for parent in pathlib.Path("/sys/fs/cgroup").glob(f"*{CGROUP}"):
            self.assertEqual(list(parent.glob("*/")), [])
            parent.rmdir()

    def mode(self, text):
        (self.box.dir / "mode").write_text(text)

    def told(self, kind):
        return json.loads((self.box.dir / f"told-{kind}").read_text())

    def save(self, *words, **more):
        return self.box.oci("checkpoint", "--image-path", self.image, *words, "box", **more)

    def restore(self, *words, **more):
        return self.box.oci("restore", "-d", "--bundle", self.box.path, "--image-path", self.image, *words, "box", **more)

    def status(self):
        return json.loads(self.box.oci("state", "box").stdout)["status"]

    def test_without_criu(self):
        self.box.run("-d")
        self.criu.unlink()
        done = self.save(check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("criu is not installed", done.stderr)
        self.assertEqual(self.status(), "running")
        done = self.box.oci("restore", "-d", "--bundle", self.box.path, "--image-path", self.image, "other", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertFalse((self.box.root / "other").exists())

    def test_what_criu_is_told_to_save(self):
        net = pathlib.Path(f"/proc/{os.getpid()}/ns/net")
        for ns in self.box.linux["namespaces"]:
            if ns["type"] == "network":
                ns["path"] = str(net)
        self.box.config["annotations"] = {"org.criu.config": "/etc/criu/mine.conf"}
        self.box.config["mounts"].append({"destination": "/data", "type": "bind", "source": str(self.box.dir), "options": ["rbind"]})
        self.box.run("-d")
        pid = self.box.pid()
        self.save("--work-path", self.box.dir / "work", "--tcp-established", "--file-locks", "--manage-cgroups-mode", "full",
                  "--empty-ns", "network", "--page-server", "[::1]:27")
        told = self.told(DUMP)
        options = {int(k): v for k, v in told["options"].items()}
        self.assertEqual((options[2], options[5], options[8], options[34], options[38]), ([pid], [1], [1], [4], [0x40000000]))
        self.assertEqual((options[10], options[51], options[11]), (["dump.log"], ["/etc/criu/mine.conf"], [["::1", 27]]))
        self.assertNotIn(3, options)
        mounts = dict(options[23])
        self.assertEqual((mounts["/data"], mounts["/proc/keys"]), ("/data", "/dev/null"))
        self.assertEqual(options[37], [f"net[{net.stat().st_ino}]:extRootNetNS"])
        # The container's own null, not the host's, which criu could not find again.
        self.assertEqual(json.loads((self.image / "descriptors.json").read_text())[0], "/dev/null")
        # It is gone: criu ended its processes, we the rest.
        self.assertEqual(self.box.oci("list", "-q").stdout, "")

    def test_a_failure_carries_criu_s_words_and_changes_nothing(self):
        self.box.run("-d")
        self.mode("fails")
        self.assertRegex(self.save(check=False).stderr, r"criu failed: errno 22: Error \(criu/y.c:7\): the moon is full.*dump.log")
        self.mode("dies")
        self.assertIn("ended without an answer", self.save(check=False).stderr)
        self.assertEqual(self.status(), "running")
        self.box.oci("delete", "--force", "box")
        self.image.joinpath("descriptors.json").write_text("[]")
        self.mode("fails")
        self.assertIn("the moon is full", self.restore(check=False).stderr)
        self.assertEqual(self.box.oci("list", "-q").stdout, "")

    def test_leave_running_and_pre_dump(self):
        self.box.run("-d")
        self.save("--leave-running")
        self.assertEqual(self.told(DUMP)["options"]["3"], [1])
        self.save("--pre-dump")
        self.assertEqual(self.told(PRE_DUMP)["options"]["15"], [1])
        self.assertEqual(self.status(), "running")
        self.mode("old")
        self.assertIn("lacks memory tracking", self.save("--pre-dump", check=False).stderr)
        self.assertIn("lacks lazy pages", self.save("--lazy-pages", check=False).stderr)
        for words, text in ((("--manage-cgroups-mode", "hard"), "--manage-cgroups-mode"), (("--empty-ns", "pid"), "--empty-ns"),
                            (("--page-server", "here"), "--page-server"), (("--parent-path", "/x"), "--parent-path")):
            self.assertIn(text, self.save(*words, check=False).stderr)

    def test_restore(self):
        for ns in self.box.linux["namespaces"]:
            if ns["type"] == "network":
                ns["path"] = "/proc/self/ns/net"
        self.box.config["mounts"].append({"destination": "/data", "type": "bind", "source": str(self.box.dir), "options": ["bind"]})
        self.box.run("-d")
        self.box.oci("delete", "--force", "box")
        self.image.mkdir()
        (self.image / "descriptors.json").write_text(json.dumps(["/dev/null", "pipe:[77]", "/dev/null"]))
        (self.box.path / "rootfs/data").rmdir()
        self.restore("--pid-file", self.box.dir / "pid")
        options = {int(k): v for k, v in self.told(RESTORE)["options"].items()}
        self.assertEqual((options[13], options[26], options[10]), ([str(self.box.path / "rootfs")], [1], ["restore.log"]))
        self.assertIn(["pipe:[77]", 1], options[27])
        self.assertIn(["extRootNetNS", 4], options[27])
        self.assertIn(os.readlink("/proc/self/ns/net"), self.told(RESTORE)["inherited"])
        self.assertEqual(dict(options[23])["/data"], str(self.box.dir))
        self.assertTrue((self.box.path / "rootfs/data").is_dir())
        state = json.loads(self.box.oci("state", "box").stdout)
        self.assertEqual((state["status"], state["pid"]), ("running", int((self.box.dir / "pid").read_text())))
        self.assertIn(f"{CGROUP}/box", pathlib.Path(f"/proc/{state['pid']}/cgroup").read_text())
        self.assertEqual(json.loads(self.box.oci("ps", "-f", "json", "box").stdout), [state["pid"]])
        self.box.oci("delete", "--force", "box")
        self.assertFalse(os.path.exists(f"/proc/{state['pid']}/root"))

    def test_kill_9_while_criu_works(self):
        """What a restore leaves when it is killed is found again: no mount of the host's, no cgroup."""
        self.box.run("-d")
        self.box.oci("delete", "--force", "box")
        self.image.mkdir()
        (self.image / "descriptors.json").write_text("[]")
        before = pathlib.Path("/proc/self/mountinfo").read_text().count(str(self.box.dir))
        here, there = self.box.dir / "here", self.box.dir / "there"
        os.mkfifo(here), os.mkfifo(there)
        self.criu.write_text(CRIU.replace('notify("setup-namespaces", os.getpid())',
                                          f'open("{here}", "w").write("x"); open("{there}").read(); notify("setup-namespaces", os.getpid())'))
        restoring = subprocess.Popen([bundle.OCI, "--root", self.box.root, "--criu", self.criu, "restore", "-d", "--bundle", self.box.path,
                                      "--image-path", self.image, "box"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertEqual(here.read_text(), "x")
        restoring.kill()
        restoring.wait()
        there.write_text("go on")  # to find nobody there
        self.box.oci("delete", "--force", "box")
        self.assertEqual(self.box.oci("list", "-q").stdout, "")
        self.assertEqual(pathlib.Path("/proc/self/mountinfo").read_text().count(str(self.box.dir)), before)


if __name__ == "__main__":
    cases.main()
