#!/usr/bin/python3
"""`sampan image pull` against a real registry, Debian's docker-registry on loopback: what is
pushed is what arrives, with and without TLS and passwords; each failure says what and why."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
from image_fixture import (ARCH, OCI_INDEX, Image, Pusher, Registry, RegistryCase, digest_of, index_of,
                           make_certificate)

LAYERS = [{"bin": None, "bin/sh": b"#!", "etc": None, "etc/old": b"1", "etc/motd": b"low"},
          {"etc": None, "etc/.wh.old": b"", "etc/motd": b"high", "new": b"n" * 300_000}]

SECRET_HASH = "$2b$04$Ddmdzg9b1wO4XClgVYaafe992.9Lde6woBQTlbyrkj3qiNXRRJaEG"  # bcrypt of "secret"

def rebuilt(image):
    manifest = json.loads(image.manifest)
    manifest["config"].update(digest=digest_of(image.config), size=len(image.config))
    image.manifest = json.dumps(manifest).encode()
    image.digest = digest_of(image.manifest)
    image.blobs = {digest_of(data): data for data in [image.config, *image.layers]}
    return image


class Pull(RegistryCase):
    def test_every_form_arrives_as_it_was_pushed(self):
        for name, image in {"a/gzip": Image(LAYERS, "gzip"), "a/zstd": Image(LAYERS, "zstd"),
                            "a/plain": Image(LAYERS, "plain"), "b/docker": Image(LAYERS, "gzip", docker=True)}.items():
            self.pusher.image(name, "v1", image)
            code, out = self.store.pull(f"{self.registry.host}/{name}:v1")
            full = f"{self.registry.host}/{name}:v1"
            assert (code, out) == (0, {"name": full, "digest": image.digest}), (code, out)
            found = self.store.images()[full]
            assert found["digest"] == image.digest and found["cmd"] == ["sh"] and found["env"] == ["A=b"], found
            assert found["configDigest"] == digest_of(image.config)
            assert [layer.split("/")[-2] for layer in found["layers"]] == [d[7:] for d in image.diff_ids]
            assert self.store.read(full, "etc/motd") == b"high"
            assert self.store.read(full, "new") == b"n" * 300_000
        # One content, four packings: the layers are unpacked once.
        assert len(list((self.store.root / "layers").iterdir())) == 2
        assert not list((self.store.root / "tmp").glob("[!l]*")), "something is left in tmp/"
        code, out = self.store.pull(f"{self.registry.host}/a/gzip@{Image(LAYERS, 'gzip').digest}")
        assert code == 0 and out["digest"] == Image(LAYERS, "gzip").digest, out

    def test_of_an_index_this_machines_platform(self):
        ours, other = Image([{"who": b"ours"}]), Image([{"who": b"other"}], architecture="s390x")
        for image, tag in ((ours, "x1"), (other, "x2")):
            self.pusher.image("multi", tag, image)
        index = index_of([(other, "s390x"), (ours, ARCH)])
        self.pusher.manifest("multi", "v1", index, OCI_INDEX)
        code, out = self.store.pull(f"{self.registry.host}/multi:v1")
        assert code == 0 and out["digest"] == ours.digest, out
        assert self.store.read(f"{self.registry.host}/multi:v1", "who") == b"ours"
        code, out = self.store.pull(f"{self.registry.host}/multi@{digest_of(index)}")
        assert code == 0 and out["digest"] == ours.digest, out
        self.pusher.manifest("multi", "none", index_of([(other, "s390x")]), OCI_INDEX)
        code, out = self.store.pull(f"{self.registry.host}/multi:none")
        assert code == 1 and out["error"] == "not-found" and "only linux/s390x" in out["message"], out

    def test_a_moved_tag_is_seen_and_only_news_is_fetched(self):
        first, second = Image([LAYERS[0]]), Image([LAYERS[0], {"v": b"2"}])
        self.pusher.image("app", "latest", first)
        self.store.pull(f"{self.registry.host}/app")
        self.pusher.image("app", "latest", second)
        # The shared layer is gone from the registry: a second pull must not need it.
        self.registry.blob_file(digest_of(first.layers[0])).unlink()
        code, out = self.store.pull(f"{self.registry.host}/app")
        assert code == 0 and out["digest"] == second.digest, out

    def test_what_is_missing_is_said(self):
        image = Image(LAYERS)
        self.pusher.image("app", "v1", image)
        code, out = self.store.pull(f"{self.registry.host}/app:v2")
        assert code == 1 and out["kind"] == "not-found" and "MANIFEST_UNKNOWN" in out["message"], out
        assert f"{self.registry.host}/app:v2" in out["message"] and "check the name and the tag" in out["message"], out
        code, out = self.store.pull(f"{self.registry.host}/nobody/nothing")
        assert code == 1 and out["kind"] == "not-found", out
        code, out = self.store.pull(f"{self.registry.host}/app@sha256:{'0' * 64}")
        assert code == 1 and out["kind"] == "not-found", out
        self.registry.blob_file(digest_of(image.layers[1])).unlink()
        code, out = self.store.pull(f"{self.registry.host}/app:v1")
        assert code == 1 and out["kind"] == "not-found" and digest_of(image.layers[1]) in out["message"], out
        assert self.store.images() == {}, "a part of an image is listed"
        code, out = self.store.pull("not//a name")
        assert code == 2 and out["kind"] == "invalid", out

    def test_damage_is_found(self):
        image = Image(LAYERS)
        self.pusher.image("app", "v1", image)
        file = self.registry.blob_file(digest_of(image.layers[1]))
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        code, out = self.store.pull(f"{self.registry.host}/app:v1")
        assert code == 1 and out["kind"] == "corrupt" and digest_of(image.layers[1]) in out["message"], out
        assert self.store.images() == {}
        file.write_bytes(image.layers[1])
        code, out = self.store.pull(f"{self.registry.host}/app:v1")
        assert code == 0, out
        # A right digest over a wrong diff id: the config lies about the layer.
        liar = Image([LAYERS[0], {"other": b"x"}])
        liar.config = liar.config.replace(liar.diff_ids[1][7:].encode(), b"1" * 64)
        liar = rebuilt(liar)
        self.pusher.image("liar", "v1", liar)
        code, out = self.store.pull(f"{self.registry.host}/liar:v1")
        assert code == 1 and out["kind"] == "corrupt" and "config says" in out["message"], out
        assert list(self.store.images()) == [f"{self.registry.host}/app:v1"]

    def test_tls_and_passwords(self):
        ca, crt, key = make_certificate(self.folder)
        (self.folder / "htpasswd").write_text(f"alice:{SECRET_HASH}\n")
        registry = self.start(Registry(self.folder / "private", tls=(crt, key), htpasswd=self.folder / "htpasswd"))
        settings = self.folder / "registries.json"

        def pull(entry, words=()):
            settings.write_text(json.dumps({"registries": {registry.host: entry}}))
            return self.store.pull("--registries", settings, *words, f"{registry.host}/private/app:v1")

        image = Image(LAYERS)
        Pusher(registry.url, "alice", "secret", ca).image("private/app", "v1", image)
        (self.folder / "password").write_text("secret\n")
        code, out = pull({"caFile": str(ca), "username": "alice", "passwordFile": str(self.folder / "password")})
        assert code == 0 and out["digest"] == image.digest, out
        code, out = pull({"insecure": True, "username": "alice", "password": "secret"})
        assert code == 0, out
        code, out = pull({"caFile": str(ca)})
        assert code == 1 and out["kind"] == "denied" and "HTTP 401" in out["message"] and "username" in out["message"], out
        code, out = pull({"caFile": str(ca), "username": "alice", "password": "wrong"})
        assert code == 1 and out["kind"] == "denied" and "this login" in out["message"], out
        # Who reads a Pod's events need not be one who may read its Secret.
        assert "alice" not in out["message"] and "wrong" not in out["message"], "a login is printed"
        code, out = pull({"username": "alice", "password": "secret"})
        assert code == 1 and out["kind"] == "denied" and "caFile" in out["message"], out
        code, out = pull({"caFile": str(self.folder / "nothing"), "username": "alice", "password": "secret"})
        assert code == 2 and "nothing" in out["message"], out
        code, out = pull({"plainHTTP": True})
        assert code == 1, out
        docker = self.folder / "config.json"
        docker.write_text(json.dumps({"auths": {registry.host: {"auth": "YWxpY2U6c2VjcmV0"}}}))
        code, out = pull({"caFile": str(ca)}, words=("--docker-config", docker))
        assert code == 0, out
        code, out = pull({"cafile": str(ca)})
        assert code == 2 and "cafile: unknown" in out["message"], out
        code, out = self.store.pull("--registries", self.folder / "absent.json", "x")
        assert code == 1 and "absent.json" in out["message"], out

    def test_mirrors_come_first_and_fall_back(self):
        image = Image(LAYERS)
        self.pusher.image("library/app", "v1", image)
        settings = self.folder / "registries.json"
        dead = "127.0.0.1:1"
        settings.write_text(json.dumps({"registries": {"registry.invalid": {"mirrors": [dead, self.registry.host]}}}))
        code, out = self.store.pull("--registries", settings, "registry.invalid/library/app:v1")
        assert code == 0 and out == {"name": "registry.invalid/library/app:v1", "digest": image.digest}, out
        settings.write_text(json.dumps({"registries": {"registry.invalid": {"mirrors": [dead], "mirrorsOnly": True}}}))
        code, out = self.store.pull("--registries", settings, "registry.invalid/library/app:v1")
        assert code == 1 and out["error"] == "connection-refused" and out["kind"] == "unavailable", out
        assert "check that the registry runs" in out["message"], out


if __name__ == "__main__":
    cases.main()
