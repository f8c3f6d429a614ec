#!/usr/bin/python3
"""Debian's buildah on sampan-oci: commands in a working container, and an image built from a
Containerfile. In network and mount namespaces of its own, with a storage of its own."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
import engines

engines.enter_own_namespaces(("buildah", "buildah"), ("busybox", "busybox-static"))
engines.show_hierarchies_alone()

RUN = ["--runtime", str(cases.BIN / "sampan-oci"), "--isolation", "oci", "--network", "none"]
CONTAINERFILE = """FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox --install /bin && id -u > /who"]
USER 7:8
RUN ["/bin/sh", "-c", "id -u; id -g; touch /tmp-file || echo refused"]
CMD ["cat", "/who"]
"""


class Buildah(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="buildah-"))
        shutil.copy("/bin/busybox", self.dir)
        self.before = set(self.cgroups())

    def tearDown(self):
        self.buildah("rm", "--all", check=False)
        self.buildah("rmi", "--all", "--force", check=False)
        subprocess.run(["umount", "-R", self.dir / "storage"], capture_output=True)  # what vfs leaves, if at all
        shutil.rmtree(self.dir)
        self.assertEqual(set(self.cgroups()) - self.before, set())

    def cgroups(self):
        return [p for p in pathlib.Path("/sys/fs/cgroup").rglob("buildah-*") if p.is_dir()]

    def buildah(self, *words, check=True):
        done = subprocess.run(["buildah", "--root", self.dir / "storage", "--runroot", self.dir / "run", "--storage-driver", "vfs", *words],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, cwd=self.dir,
                              env=dict(os.environ, XDG_RUNTIME_DIR=str(self.dir), TMPDIR=str(self.dir)))
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def working_container(self):
        name = self.buildah("from", "scratch").stdout.strip()
        root = pathlib.Path(self.buildah("mount", name).stdout.strip())
        (root / "bin").mkdir()
        shutil.copy("/bin/busybox", root / "bin/sh")
        return name, root

    def test_run(self):
        name, root = self.working_container()
        done = self.buildah("run", *RUN, name, "/bin/sh", "-c", "echo from-inside > /made; echo out; echo err >&2; exit 3", check=False)
        self.assertEqual((done.returncode, done.stdout), (3, "out\n"))
        self.assertIn("err\n", done.stderr)
        self.assertEqual((root / "made").read_text(), "from-inside\n")
        self.assertIn("no-such", self.buildah("run", *RUN, name, "no-such", check=False).stderr)

    def test_run_with_a_volume_and_a_user(self):
        name, _ = self.working_container()
        (self.dir / "volume").mkdir()
        (self.dir / "volume/file").write_text("of the host\n")
        script = "read line < /v/file; echo $line; echo x > /v/file || echo read-only"
        done = self.buildah("run", *RUN, "--user", "7:8", "--volume", f"{self.dir}/volume:/v:ro", name, "/bin/sh", "-c", script)
        self.assertEqual(done.stdout, "of the host\nread-only\n")

    def test_build(self):
        (self.dir / "Containerfile").write_text(CONTAINERFILE)
        done = self.buildah("bud", *RUN, "--layers", "--tag", "localhost/built:1", "--file", "Containerfile", ".")
        self.assertIn("7\n8\nrefused\n", done.stdout)
        name = self.buildah("from", "--pull-never", "localhost/built:1").stdout.strip()
        self.assertEqual(self.buildah("run", *RUN, name, "/bin/cat", "/who").stdout, "0\n")


if __name__ == "__main__":
    cases.main()
