"""What the tests of sampan-oci share: a bundle with a busybox, a state directory and a parent cgroup of
the test's own, and a look at what is left when it ends."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import cases

OCI = str(cases.BIN / "sampan-oci")
# What containerd and podman give.
CAPABILITIES = [f"CAP_{name}" for name in (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT").split()]
CGROUP = f"/sampan-oci-test-{os.getpid()}"


def cgroups():
    return sorted(str(p) for p in pathlib.Path("/sys/fs/cgroup").glob(f"*{CGROUP}/*/"))


@unittest.skipUnless(os.geteuid() == 0, "root")
@unittest.skipUnless(os.path.exists("/bin/busybox"), "busybox-static")
class Bundle(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sampan-oci-"))
        self.root = self.dir / "state"
        rootfs = self.rootfs = self.dir / "b/rootfs"
        for name in ("bin", "proc", "sys", "dev", "tmp", "etc"):
            (rootfs / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", rootfs / "bin/busybox")
        for name in ("sh", "true", "ls", "cat", "id", "sleep", "echo", "readlink", "mount", "pwd",
                     "chmod", "stat", "mknod", "mkdir", "touch", "head", "tty", "hostname", "grep"):
            (rootfs / "bin" / name).symlink_to("busybox")
        self.run_oci("spec", "--bundle", self.dir / "b")
        self.config = json.loads((self.dir / "b/config.json").read_text())
        process = self.config["process"]
        process.update(terminal=False, noNewPrivileges=False)
        process["capabilities"] = {kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")}
        self.config["root"]["readonly"] = False
        self.config["linux"]["cgroupsPath"] = f"{CGROUP}/box"

    def tearDown(self):
        for name in os.listdir(self.root) if self.root.exists() else []:
            if not name.startswith("."):
                self.run_oci("delete", "--force", name, check=False)
        left = cgroups()
        for parent in pathlib.Path("/sys/fs/cgroup").glob(f"*{CGROUP}"):
            parent.rmdir()
        shutil.rmtree(self.dir)
        self.assertEqual(left, [])

    def run_oci(self, *words, check=True, **more):
        done = subprocess.run([OCI, "--root", str(self.root), *map(str, words)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **more)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def write(self):
        (self.dir / "b/config.json").write_text(json.dumps(self.config))

    def quiet(self, *words):
        """For what leaves a container behind: it would hold a pipe of ours open."""
        with open(self.dir / "errors", "w+") as errors:
            done = subprocess.run([OCI, "--root", str(self.root), *map(str, words)], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=errors, timeout=60)
            self.assertEqual(done.returncode, 0, (self.dir / "errors").read_text())

    def script(self, text, check=True, **more):
        self.config["process"]["args"] = ["sh", "-c", text]
        self.write()
        return self.run_oci("run", "--bundle", self.dir / "b", "box", check=check, **more)

    def start(self, *args):
        self.config["process"]["args"] = list(args)
        self.write()
        self.quiet("run", "-d", "--bundle", self.dir / "b", "box")

    def in_user_namespace(self, host=200000, size=65536):
        linux = self.config["linux"]
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": host, "size": size}]

    def state(self):
        return json.loads(self.run_oci("state", "box").stdout)
