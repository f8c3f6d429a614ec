#!/usr/bin/python3
"""`sampan image load`, `save`, `rm`, `gc`: every archive form, broken archives, what gc keeps, and
a store that is whole after kill -9 at any moment."""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tarfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
from image_fixture import BIN, Image, ImageCase, Store, digest_of, index_of, pack, tar_of

LAYERS = [{"bin": None, "bin/sh": b"#!", "both": b"low"}, {"both": b"high"}]


def docker_archive(image, tags, gaps=False):
    """As docker save wrote it before 25; with `gaps` the second layer is a link to the first."""
    config = digest_of(image.config)[7:] + ".json"
    files, names = {}, []
    for i, tar in enumerate(image.tars):
        name = f"layer{i}/layer.tar"
        names.append(name)
        files[f"layer{i}"] = None
        files[name] = ("link", "../layer0/layer.tar") if gaps and i else tar
    files[config] = image.config
    files["manifest.json"] = json.dumps([{"Config": config, "RepoTags": tags, "Layers": names}]).encode()
    return tar_of(files)


def oci_layout(image, annotations, index=None):
    entry = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest), "annotations": annotations}
    blobs = {**image.blobs, image.digest: image.manifest}
    if index:
        entry.update(mediaType="application/vnd.oci.image.index.v1+json", digest=digest_of(index), size=len(index))
        blobs[digest_of(index)] = index
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
             "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
             "blobs": None, "blobs/sha256": None}
    return {**files, **{"blobs/sha256/" + digest[7:]: data for digest, data in blobs.items()}}


class Load(ImageCase):
    def write(self, data, name="image.tar"):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def test_docker_archives(self):
        image = Image(LAYERS)
        first = self.store.ok("load", self.write(docker_archive(image, ["demo/a:1", "demo/a:latest"])))
        self.assertEqual([line.split()[0] for line in first.splitlines()], ["docker.io/demo/a:1", "docker.io/demo/a:latest"])
        self.assertEqual(self.store.read("docker.io/demo/a:1", "both"), b"high")
        # The digest is made of the content: the same again, from a compressed archive, is the same.
        again = self.store.ok("load", self.write(pack(docker_archive(image, ["demo/a:1"]), "gzip")), "--name", "other:2")
        self.assertEqual(again.split()[1], first.split()[1])
        one = Image([LAYERS[0], LAYERS[0]])
        self.store.ok("load", self.write(docker_archive(one, ["demo/linked:1"], gaps=True)))
        self.assertEqual(len(self.store.images()["docker.io/demo/linked:1"]["layers"]), 2)

    def test_oci_layouts(self):
        image = Image(LAYERS, "zstd")
        files = oci_layout(image, {"io.containerd.image.name": "docker.io/demo/oci:1"})
        self.assertEqual(self.store.ok("load", self.write(tar_of(files))), f"docker.io/demo/oci:1 {image.digest}\n")
        for name, data in files.items():
            path = self.folder / "layout" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if data is not None:
                path.write_bytes(data)
        other = Store(self.folder / "other")
        self.assertEqual(other.ok("import-layout", self.folder / "layout", "--name", "x:1"),
                         f"docker.io/library/x:1 {image.digest}\n")
        foreign = Image([{"x": b"y"}], architecture="s390x")
        nested = oci_layout(image, {"org.opencontainers.image.ref.name": "demo/nested:1"},
                            index_of([(foreign, "s390x"), (image, os.uname().machine.replace("x86_64", "amd64").replace("aarch64", "arm64"))]))
        self.assertEqual(self.store.ok("load", self.write(tar_of(nested))), f"docker.io/demo/nested:1 {image.digest}\n")
        with open(self.write(tar_of(files)), "rb") as data:
            self.store.ok("load", "-", "--name", "from/stdin:1", stdin=data)

    def test_what_is_saved_loads_with_the_same_digest(self):
        one, two = Image(LAYERS), Image([LAYERS[0]], "plain")
        self.store.ok("load", self.write(tar_of(oci_layout(one, {"io.containerd.image.name": "docker.io/a/one:1"}))))
        self.store.ok("load", self.write(docker_archive(two, ["a/two:1"])))
        self.store.ok("save", "a/one:1", "a/two:1", "--out", self.folder / "saved.tar")
        other = Store(self.folder / "other")
        other.ok("load", self.folder / "saved.tar")
        strip = lambda images: {name: (image["digest"], image["sizeBytes"]) for name, image in images.items()}
        self.assertEqual(strip(other.images()), strip(self.store.images()))
        with tarfile.open(self.folder / "saved.tar") as tar:
            docker = json.load(tar.extractfile("manifest.json"))
        self.assertEqual([item["RepoTags"] for item in docker], [["docker.io/a/one:1"], ["docker.io/a/two:1"]])
        done = self.store.run("save", "a/three:1", "--out", self.folder / "none.tar")
        self.assertEqual(done.returncode, 1)
        self.assertFalse((self.folder / "none.tar").exists())

    def test_saved_as_a_layout_and_to_a_pipe(self):
        image = Image(LAYERS, "zstd")
        self.store.ok("load", self.write(tar_of(oci_layout(image, {"io.containerd.image.name": "docker.io/a/one:1"}))))
        self.store.ok("save", "a/one:1", "--format", "oci-dir", "-o", self.folder / "layout")
        index = json.loads((self.folder / "layout/index.json").read_text())
        self.assertEqual(index["manifests"][0]["digest"], image.digest)
        self.assertEqual(json.loads((self.folder / "layout/oci-layout").read_text()), {"imageLayoutVersion": "1.0.0"})
        for blob in (self.folder / "layout/blobs/sha256").iterdir():
            self.assertEqual(digest_of(blob.read_bytes()), "sha256:" + blob.name)
        other = Store(self.folder / "other")
        self.assertEqual(other.ok("load", self.folder / "layout").split()[1], image.digest)
        self.assertEqual(self.store.run("save", "a/one:1", "--format", "oci-dir", "-o", self.folder / "layout").returncode, 1, "never over another")
        with open(self.folder / "pipe.tar", "wb") as out:
            subprocess.run([BIN / "sampan", "image", "save", "--image-root", self.store.root, "a/one:1", "-o", "-"], check=True, stdout=out)
        self.assertEqual(Store(self.folder / "third").ok("load", self.folder / "pipe.tar").split()[1], image.digest)

    def test_tag_and_history(self):
        image = Image(LAYERS)
        config = {**json.loads(image.config), "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "ADD files /"}, {"created_by": "CMD sh", "empty_layer": True}]}
        image.config = json.dumps(config).encode()
        self.store.ok("load", self.write(docker_archive(image, ["demo/a:1"])))
        digest = self.store.images()["docker.io/demo/a:1"]["digest"]
        self.assertEqual(self.store.ok("tag", "demo/a:1", "mine:2"), f"docker.io/library/mine:2 {digest}\n")
        self.store.ok("rm", "demo/a:1")
        self.store.ok("gc")
        self.assertEqual(self.store.read("docker.io/library/mine:2", "both"), b"high", "the other name keeps it")
        lines = self.store.ok("history", "mine:2").splitlines()
        self.assertRegex(lines[0], "^CREATED +CREATED BY +COMMENT")
        self.assertIn("CMD sh", lines[1])
        self.assertIn("ADD files /", lines[2])
        self.assertEqual(json.loads(self.store.ok("history", "--json", digest))[0]["created_by"], "ADD files /")
        self.assertEqual(self.store.run("tag", "nosuch", "x").returncode, 1)
        self.assertEqual(self.store.run("tag", "mine:2", f"x@{digest}").returncode, 2)

    def test_broken_archives_are_refused_and_leave_nothing(self):
        image = Image(LAYERS)
        good = docker_archive(image, ["demo/a:1"])
        layout = oci_layout(image, {"io.containerd.image.name": "docker.io/demo/a:1"})
        layer = "blobs/sha256/" + digest_of(image.layers[0])[7:]
        broken = {
            "cut": (good[: len(good) // 2], 1, "Truncated|no file|damaged|manifest"),
            "no archive": (b"MZ not a tar" * 100, 1, "archive"),
            "empty": (b"", 2, "neither index.json nor manifest.json"),
            "no manifest": (tar_of({"x": b"y"}), 2, "neither index.json nor manifest.json"),
            "bad json": (tar_of({"manifest.json": b"{"}), 2, "manifest.json"),
            "not a list": (tar_of({"manifest.json": b"{}"}), 2, "no list of images"),
            "absent layer": (tar_of({**layout, layer: None}), 1, layer),
            "changed layer": (tar_of({**layout, layer: b"other"}), 1, "the content is sha256:"),
            "no name": (docker_archive(image, None), 2, "pass --name"),
            "bad name": (docker_archive(image, ["Bad Name"]), 2, "Bad Name"),
            "deep json": (tar_of({"manifest.json": b"[" * 100_000}), 2, "manifest.json"),
            "layer escapes": (docker_archive(Image([{"../../../../etc/owned": b"x"}]), ["demo/e:1"]), 2, "leads out of the layer"),
        }
        for what, (data, code, words) in broken.items():
            with self.subTest(what):
                done = self.store.run("load", self.write(data))
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertRegex(done.stderr, words)
                self.assertRegex(done.stderr, r"^sampan: .*\n$", "one line on stderr")
                self.assertEqual(self.store.images(), {})
                left = [path.name for path in (self.store.root / "tmp").iterdir() if not path.name.startswith("lock-")]
                self.assertEqual(left, [])
        done = self.store.run("load", self.folder / "nowhere.tar")
        self.assertEqual(done.returncode, 1)
        self.assertIn("ENOENT", done.stderr)

    def test_gc_keeps_what_is_needed(self):
        old, new = Image([LAYERS[0], {"v": b"1"}]), Image([LAYERS[0], {"v": b"2"}])
        self.store.ok("load", self.write(docker_archive(old, ["demo/a:1"])))
        self.store.ok("load", self.write(docker_archive(new, ["demo/a:2"])))
        digest = self.store.images()["docker.io/demo/a:1"]["digest"]
        layers = lambda: {path.name for path in (self.store.root / "layers").iterdir()}
        self.assertEqual(self.store.ok("gc").splitlines(), ["0 B freed"])
        self.store.ok("rm", "demo/a:1")
        # 1. a pin
        (self.store.root / "pins/some-container").write_text(digest + "\n")
        self.assertEqual(self.store.ok("gc").splitlines(), ["0 B freed"])
        (self.store.root / "pins/some-container").unlink()
        # 2. a mounted overlay, in another mount namespace
        lower = self.store.root / "layers" / old.diff_ids[1][7:] / "fs"
        (self.folder / "m").mkdir()
        holder = subprocess.Popen(["unshare", "-m", "sh", "-c", f"mount -t overlay none -o lowerdir={lower}:{self.folder}/m {self.folder}/m && echo ready && cat"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.stdin.close)
        self.assertEqual(holder.stdout.readline(), "ready\n")
        self.store.ok("gc")
        self.assertEqual(layers(), {diff_id[7:] for diff_id in old.diff_ids + new.diff_ids})
        holder.stdin.close()
        holder.wait()
        # 3. nothing holds it any more; what the other image shares stays
        self.assertIn("would remove", self.store.ok("gc", "--dry-run"))
        self.store.ok("gc")
        self.assertEqual(layers(), {diff_id[7:] for diff_id in new.diff_ids})
        self.assertEqual(self.store.read("docker.io/demo/a:2", "v"), b"2")
        self.store.ok("rm", "demo/a:2")
        self.store.ok("gc")
        self.assertEqual((layers(), list((self.store.root / "blobs/sha256").iterdir())), (set(), []))
        self.assertEqual(self.store.run("rm", "demo/a:2").returncode, 1)

    def test_a_full_disk_is_an_error_that_leaves_no_half_image(self):
        big = Image([{"big": random.Random(1).randbytes(6_000_000)}], "plain")
        archive = self.write(docker_archive(big, ["demo/big:1"]))
        (self.folder / "disk").mkdir()
        # 6 MB do not fit 4; they fit 10, but not a second time, unpacked.
        for size in ("4m", "10m"):
            script = f"""mount -t tmpfs -o size={size} none {self.folder}/disk || exit 99
                {BIN}/sampan image load --image-root {self.folder}/disk/store {archive}; echo "exit $?"
                {BIN}/sampan image list --json --image-root {self.folder}/disk/store
                ls {self.folder}/disk/store/tmp | grep -v ^lock-; ls {self.folder}/disk/store/layers"""
            done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
            self.assertNotEqual(done.returncode, 99, done.stderr)
            self.assertEqual(done.stdout.splitlines(), ["exit 1", "[]"], done.stderr)
            self.assertIn("ENOSPC", done.stderr)
            self.assertIn("sampan image gc", done.stderr)

    def test_killed_at_any_moment_the_store_is_whole(self):
        rng = random.Random(7)
        layers = [{f"d{i}/f{j}": rng.randbytes(3000) for j in range(60)} for i in range(4)]
        image = Image(layers, "gzip")
        archive = self.write(tar_of(oci_layout(image, {"io.containerd.image.name": "docker.io/demo/k:1"})))
        began = time.monotonic()
        Store(self.folder / "measure").ok("load", archive)
        whole = time.monotonic() - began
        killed = finished = 0
        for i in range(40):
            if i % 8 == 0:
                store = Store(self.folder / f"store{i}")  # others go on in what the killed ones left
            process = subprocess.Popen([BIN / "sampan", "image", "load", "--image-root", store.root, archive],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                process.wait(whole * (i + 0.5) / 40)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            process.stderr.read()
            process.stderr.close()
            process.wait()
            killed += process.returncode == -signal.SIGKILL
            finished += process.returncode == 0
            for name, found in (store.images() if store.root.exists() else {}).items():
                self.assertEqual((name, found["digest"]), ("docker.io/demo/k:1", image.digest))
            for diff_id in image.diff_ids:
                layer = store.root / "layers" / diff_id[7:]
                if layer.exists():
                    self.assertEqual(len(list(layer.glob("fs/*/*"))), 60, "a visible layer is not whole")
        self.assertGreater(killed, 10)
        store.ok("load", archive)
        for i, layer in enumerate(layers):
            for name, data in layer.items():
                self.assertEqual(store.read("docker.io/demo/k:1", name), data)
        store.ok("gc")
        self.assertEqual(list((store.root / "tmp").iterdir()), [])

    def test_many_loaders_at_once(self):
        archives = []
        for i in range(4):
            image = Image([LAYERS[0], {"shared": b"s" * 100_000}, {"own": str(i).encode()}])
            archives.append(self.write(docker_archive(image, [f"demo/p{i}:1"]), f"{i}.tar"))
        running = [subprocess.Popen([BIN / "sampan", "image", "load", "--image-root", self.store.root, archive],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for archive in archives * 2]
        for process in running:
            _, errors = process.communicate()
            self.assertEqual(process.returncode, 0, errors)
        self.assertEqual(len(self.store.images()), 4)
        self.assertEqual(len(list((self.store.root / "layers").iterdir())), 6)


if __name__ == "__main__":
    cases.main()
