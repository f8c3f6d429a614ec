"""What the image tests share: images made in memory, a registry client that pushes them, Debian's
docker-registry on loopback, and the `sampan image` command against a store of its own."""
import base64
import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tarfile
import tempfile
import unittest
import urllib.request

from cases import BIN

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files):
    """files: {name: bytes | ("link", target) | ("hard", target) | None for a directory}"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.mtime = 1600000000
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            elif isinstance(data, tuple):
                info.type = tarfile.SYMTYPE if data[0] == "link" else tarfile.LNKTYPE
                info.linkname = data[1]
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def pack(data, how):
    if how == "gzip":
        return gzip.compress(data, mtime=0)
    if how == "zstd":
        return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout
    return data


class Image:
    """Layers as dicts of files, or whole tars; bytes and digests of everything a registry would hold."""

    def __init__(self, layers, packing="gzip", docker=False, architecture=ARCH, config=None):
        self.tars = [tar_of(layer) if isinstance(layer, dict) else layer for layer in layers]
        self.diff_ids = [digest_of(tar) for tar in self.tars]
        self.layers = [pack(tar, packing) for tar in self.tars]
        self.config = json.dumps({"architecture": architecture, "os": "linux",
                                  "config": config or {"Cmd": ["sh"], "Env": ["A=b"]},
                                  "rootfs": {"type": "layers", "diff_ids": self.diff_ids}}).encode()
        layer_type = ("application/vnd.docker.image.rootfs.diff.tar.gzip" if docker else
                      "application/vnd.oci.image.layer.v1.tar" + ("" if packing == "plain" else "+" + packing))
        self.media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": self.media_type,
            "config": self._item("application/vnd.docker.container.image.v1+json" if docker else
                                 "application/vnd.oci.image.config.v1+json", self.config),
            "layers": [self._item(layer_type, layer) for layer in self.layers]}).encode()
        self.digest = digest_of(self.manifest)
        self.blobs = {digest_of(data): data for data in [self.config, *self.layers]}

    @staticmethod
    def _item(media_type, data):
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def index_of(images):
    """images: [(Image, architecture)] -> bytes of an OCI index"""
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest),
         "platform": {"os": "linux", "architecture": architecture}} for image, architecture in images]}).encode()


class Pusher:
    """Pushes over the distribution protocol, with this test's own HTTP."""

    def __init__(self, url, user=None, password=None, ca=None):
        self.url = url
        self.headers = {}
        if user:
            self.headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        handlers = [urllib.request.ProxyHandler({})]
        if ca:
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca)))
        self.opener = urllib.request.build_opener(*handlers)

    def call(self, method, url, data=None, **headers):
        request = urllib.request.Request(url if url.startswith("http") else self.url + url, data=data, method=method,
                                         headers={**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}})
        with self.opener.open(request, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()

    def blob(self, repository, data):
        _, headers, _ = self.call("POST", f"/v2/{repository}/blobs/uploads/", data=b"")
        where = headers["Location"]
        where += ("&" if "?" in where else "?") + "digest=" + digest_of(data)
        self.call("PUT", where, data=data, Content_Type="application/octet-stream")

    def manifest(self, repository, reference, data, media_type):
        self.call("PUT", f"/v2/{repository}/manifests/{reference}", data=data, Content_Type=media_type)

    def image(self, repository, tag, image):
        for data in image.blobs.values():
            self.blob(repository, data)
        self.manifest(repository, tag, image.manifest, image.media_type)


class Registry:
    """Debian's docker-registry on a free port of 127.0.0.1, with its files below `folder`; or, with
    netns=(path, "ADDRESS:PORT"), there."""

    def __init__(self, folder, tls=None, htpasswd=None, netns=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=bool(netns))
        self.netns = netns
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.host = netns[1] if netns else f"127.0.0.1:{self.port}"
        self.url = ("https://" if tls else "http://") + self.host
        config = {"version": 0.1, "log": {"accesslog": {"disabled": True}, "level": "warn"},
                  "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}, "delete": {"enabled": True}},
                  "http": {"addr": self.host, "secret": "test"}}
        if tls:
            config["http"]["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
        if htpasswd:
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(htpasswd)}}
        (self.folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        self.log = open(self.folder / "log", "wb")
        # REGISTRY_* of the caller's environment would override the file.
        inside = ["nsenter", f"--net={netns[0]}"] if netns else []
        self.process = subprocess.Popen([*inside, "docker-registry", "serve", str(self.folder / "config.yml")],
                                        stdout=self.log, stderr=self.log, env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"})
        self._wait()

    def _wait(self):
        while self.process.poll() is None:  # the end of the process is the bound
            try:
                if not self.netns:
                    socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                elif subprocess.run(["nsenter", f"--net={self.netns[0]}", "curl", "-s", "-o", "/dev/null", self.url],
                                    check=False).returncode != 0:
                    raise ConnectionRefusedError
                return
            except ConnectionRefusedError:
                try:
                    self.process.wait(0.02)
                except subprocess.TimeoutExpired:
                    pass
        raise AssertionError("docker-registry ended: " + (self.folder / "log").read_text()[-2000:])

    def blob_file(self, digest):
        hexa = digest[7:]
        return self.folder / "data/docker/registry/v2/blobs/sha256" / hexa[:2] / hexa / "data"

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


class Store:
    def __init__(self, root):
        self.root = pathlib.Path(root)

    def run(self, command, *words, env=None, **options):
        return subprocess.run([str(BIN / "sampan"), "image", command, "--image-root", str(self.root), *map(str, words)],
                              capture_output=True, text=True, timeout=120, check=False,
                              env={"PATH": os.environ["PATH"], **(env or {})}, **options)

    def ok(self, command, *words, **options):
        done = self.run(command, *words, **options)
        assert done.returncode == 0, f"sampan image {command} {words}: {done.returncode}: {done.stderr}"
        return done.stdout

    def pull(self, *words, **options):
        """(exit code, the one JSON object)"""
        done = self.run("pull", "--json", *words, **options)
        lines = done.stdout.splitlines()
        assert len(lines) == 1, f"stdout is not one line: {done.stdout!r} {done.stderr!r}"
        return done.returncode, json.loads(lines[0])

    def images(self):
        return {image["name"]: image for image in json.loads(self.ok("list", "--json"))}

    def read(self, name, path):
        """From the highest layer that has it."""
        for layer in reversed(self.images()[name]["layers"]):
            file = pathlib.Path(layer) / path
            if file.exists():
                return file.read_bytes()
        return None


def make_certificate(folder, host="127.0.0.1"):
    """A CA and a server certificate: (ca, certificate, key)"""
    folder = pathlib.Path(folder)
    ca, ca_key, crt, key, csr, ext = (folder / name for name in ("ca.pem", "ca.key", "tls.pem", "tls.key", "tls.csr", "ext"))

    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *ec, "-keyout", ca_key, "-out", ca, "-days", 2, "-subj", "/CN=test-ca")
    openssl("req", *ec, "-keyout", key, "-out", csr, "-subj", f"/CN={host}")
    ext.write_text(f"subjectAltName=IP:{host}\n")
    openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", 2, "-extfile", ext, "-out", crt)
    return ca, crt, key


class ImageCase(unittest.TestCase):
    """A fresh folder and an empty store in it."""

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="images-test-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.store = Store(self.folder / "store")


class RegistryCase(ImageCase):
    """The same with a registry."""

    def setUp(self):
        super().setUp()
        if not shutil.which("docker-registry"):
            self.skipTest("docker-registry (apt package) is not installed")
        self.registry = self.start(Registry(self.folder / "registry"))
        self.pusher = Pusher(self.registry.url)

    def start(self, registry):
        self.addCleanup(registry.stop)
        return registry
