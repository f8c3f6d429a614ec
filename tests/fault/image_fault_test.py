#!/usr/bin/python3
"""`sampan image load` and `pull` killed with SIGKILL at, and failing in, their k-th call that changes
something, for every k: the store shows the image whole or not at all, and the next one succeeds."""
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "root"))
import cases
from image_fixture import BIN, Image, ImageCase, Store, tar_of
from image_faults_test import Faulty
from image_store_test import oci_layout

CHANGES = "mkdir,mkdirat,rename,renameat,renameat2,symlink,symlinkat,link,linkat,unlink,unlinkat,write,pwrite64,fsync,fdatasync,syncfs,ftruncate,fchmod,fchown,utimensat"


class Faults(ImageCase):
    def setUp(self):
        super().setUp()
        if not shutil.which("strace"):
            self.skipTest("strace")
        self.image = Image([{"d": None, "d/low": b"1", "both": b"low"}, {"both": b"high", "link": ("link", "both")}])

    def check(self, store, name):
        """Whole or absent."""
        images = store.images() if store.root.exists() else {}
        self.assertLessEqual(set(images), {name})
        for diff_id, files in zip(self.image.diff_ids, (("both", "d/low"), ("both",))):
            layer = store.root / "layers" / diff_id[7:]
            if layer.exists() or images:
                for file in files:
                    self.assertTrue((layer / "fs" / file).exists(), f"{layer} is seen and not whole")
        if images:
            self.assertEqual(images[name]["digest"], self.image.digest)
        return bool(images)

    def every_call(self, how, name, *words):
        store = Store(self.folder / "store")
        faults = 0
        for k in range(1, 600):
            done = subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={CHANGES}", "-e", f"inject={CHANGES}:{how}:when={k}",
                                   BIN / "sampan", "image", words[0], "--image-root", store.root, *words[1:]],
                                  capture_output=True, text=True, timeout=120, check=False)
            with self.subTest(k=k):
                self.assertNotIn(done.returncode, (-6, -11, 134, 139), done.stderr)
                there = self.check(store, name)
                if done.returncode == 0:
                    self.assertTrue(there)
            faults += done.returncode != 0
            if done.returncode == 0 and k > faults + 25:   # what cleans up may fail without harm
                break
            if there:
                shutil.rmtree(store.root)                  # else it goes on in what was left
        else:
            self.fail("it has no end")
        self.assertGreater(faults, 20)
        store.ok(words[0], *words[1:])
        self.assertTrue(self.check(store, name))
        store.ok("gc")
        self.assertEqual(list((store.root / "tmp").iterdir()), [])

    def test_load(self):
        archive = self.folder / "image.tar"
        archive.write_bytes(tar_of(oci_layout(self.image, {"io.containerd.image.name": "docker.io/demo/k:1"})))
        for how in ("signal=KILL", "error=ENOSPC", "error=EIO"):
            with self.subTest(how):
                shutil.rmtree(self.folder / "store", ignore_errors=True)
                self.every_call(how, "docker.io/demo/k:1", "load", archive)

    def test_pull(self):
        registry = Faulty(self.image)
        self.addCleanup(registry.stop)
        for how in ("signal=KILL", "error=ENOSPC"):
            with self.subTest(how):
                shutil.rmtree(self.folder / "store", ignore_errors=True)
                self.every_call(how, f"{registry.host}/app:v1", "pull", f"{registry.host}/app:v1")


if __name__ == "__main__":
    cases.main()
