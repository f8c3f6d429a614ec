#!/usr/bin/python3
"""`sampan image pull` against a registry that misbehaves on purpose: broken connections, lies,
tokens, redirects. What can be resumed is; what is wrong ends in an error, never in an image."""
import base64
import http.server
import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
from image_fixture import BIN, Image, ImageCase, Store, digest_of

BIG = random.Random(3).randbytes(3_000_000)


class Faulty:
    """Serves one image as app:v1. Faults are attributes that tests set; requests are recorded."""

    def __init__(self, image):
        self.image = image
        self.requests = []              # (method and path, headers)
        self.sent = 0                   # bytes of blobs
        self.cut_after = []             # for each blob request: hang up after so many bytes
        self.no_ranges = False
        self.refuse = []                # statuses for the next blob requests
        self.refuse_manifests = []      # (status, headers) for the next manifest requests
        self.token = None               # ask for this bearer token
        self.token_answer = None
        self.redirect_to = None         # another Faulty that has the blobs
        self.hold = None                # an Event: a blob stops half way until it is set
        self.halfway = threading.Event()
        self.replace = {}               # digest -> other bytes
        self.manifest_headers = {}
        faulty = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                faulty.requests.append((self.path, dict(self.headers)))
                faulty.answer(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # clients that hang up are the point
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        if self.hold:
            self.hold.set()
        self.server.shutdown()
        self.server.server_close()

    @staticmethod
    def reply(handler, status, body=b"", headers=()):
        handler.send_response(status)
        for name, value in dict(headers).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def answer(self, handler):
        path = handler.path
        if path.startswith("/token"):
            return self.reply(handler, 200, json.dumps(self.token_answer or {"token": self.token}).encode())
        if self.token and handler.headers.get("Authorization") != f"Bearer {self.token}":
            return self.reply(handler, 401, b"", {"WWW-Authenticate":
                              f'Bearer realm="http://{self.host}/token",service="the service",scope="repository:app:pull"'})
        if self.refuse_manifests and "/manifests/" in path:
            status, headers = self.refuse_manifests.pop(0)
            return self.reply(handler, status, b"", headers)
        if path in ("/v2/app/manifests/v1", f"/v2/app/manifests/{self.image.digest}"):
            return self.reply(handler, 200, self.replace.get("manifest", self.image.manifest),
                              {"Content-Type": self.image.media_type, **self.manifest_headers})
        found = re.fullmatch(r"/v2/app/blobs/(sha256:\w+)", path)
        data = found and self.image.blobs.get(found[1])
        if data is None:
            return self.reply(handler, 404)
        if self.redirect_to and data != self.image.config:
            return self.reply(handler, 307, b"", {"Location": f"http://{self.redirect_to.host}{path}"})
        data = self.replace.get(found[1], data)
        if self.refuse and data != self.image.config:
            refusal = self.refuse.pop(0)
            return self.reply(handler, *((refusal[0], b"", refusal[1]) if isinstance(refusal, tuple) else (refusal,)))
        begin = 0
        asked = handler.headers.get("Range")
        if asked and not self.no_ranges:
            begin = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if begin >= len(data):
                return self.reply(handler, 416)
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        else:
            handler.send_response(200)
        part = data[begin:]
        handler.send_header("Content-Length", str(len(part)))
        handler.end_headers()
        if len(data) < 1000:
            handler.wfile.write(part)
            return None
        if self.cut_after:
            part = part[: self.cut_after.pop(0)]
            handler.close_connection = True
        if self.hold:
            handler.wfile.write(part[: len(part) // 2])
            self.sent += len(part) // 2
            self.halfway.set()
            self.hold.wait()
            return None
        try:
            handler.wfile.write(part)
            self.sent += len(part)
        except OSError:
            handler.close_connection = True
        return None


class Faults(ImageCase):
    def setUp(self):
        super().setUp()
        self.image = Image([{"big": BIG}], "plain")
        self.registry = self.start(self.image)

    def start(self, image):
        registry = Faulty(image)
        self.addCleanup(registry.stop)
        return registry

    def pull(self, *words, **options):
        return self.store.pull(*words, f"{self.registry.host}/app:v1", **options)

    def pulled(self, *words):
        code, out = self.pull(*words)
        self.assertEqual((code, out.get("digest")), (0, self.image.digest), out)
        self.assertEqual(self.store.read(f"{self.registry.host}/app:v1", "big"), BIG)

    def refused(self, kind, pattern, *words):
        code, out = self.pull(*words)
        self.assertEqual((code, out.get("kind")), (1, kind), out)
        self.assertRegex(out["message"], pattern)
        self.assertEqual(self.store.images(), {})

    def test_a_cut_connection_is_resumed(self):
        self.registry.cut_after = [1_000_000, 500_000, 100]
        self.pulled()
        ranges = [headers["Range"] for _, headers in self.registry.requests if "Range" in headers]
        self.assertEqual(ranges, ["bytes=1000000-", "bytes=1500000-", "bytes=1500100-"])
        self.assertLess(self.registry.sent, len(self.image.layers[0]) + 1000)

    def test_without_ranges_it_starts_over(self):
        self.registry.no_ranges = True
        self.registry.cut_after = [1_000_000]
        self.pulled()

    def test_a_registry_in_trouble_is_asked_again_but_not_for_ever(self):
        self.registry.refuse = [503, 500, 429]
        self.pulled()
        self.registry.refuse = [502] * 50
        self.image = self.registry.image = Image([{"big": BIG, "x": b"y"}], "plain")
        code, out = self.pull()
        self.assertEqual((code, out["kind"]), (1, "unavailable"), out)
        self.assertIn("HTTP 502", out["message"])
        self.assertEqual(len(self.registry.refuse), 45)

    def test_a_busy_registry_says_when_to_come_back(self):
        self.registry.refuse = [(429, {"Retry-After": "1"}), (503, {"Retry-After": "nonsense"})]
        self.registry.refuse_manifests = [(503, {}), (429, {"Retry-After": "0"})]
        began = time.monotonic()
        self.pulled()
        self.assertGreaterEqual(time.monotonic() - began, 1, "it was asked again before it wanted to be")
        self.assertEqual((self.registry.refuse, self.registry.refuse_manifests), ([], []))

    def test_kill_minus_9_in_the_middle_then_again(self):
        self.registry.hold = threading.Event()
        process = subprocess.Popen([BIN / "sampan", "image", "pull", "--image-root", self.store.root, f"{self.registry.host}/app:v1"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertTrue(self.registry.halfway.wait(30))
        # Half is on its way: killed once some of it is on disk.
        part = self.store.root / "tmp" / ("download-" + digest_of(self.image.layers[0])[7:])
        until = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size > 0):
            self.assertLess(time.monotonic(), until, "nothing arrived")
            self.assertIsNone(process.poll())
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.registry.hold.set()
        self.registry.hold = None
        self.assertEqual(self.store.images(), {})
        self.assertEqual(list((self.store.root / "layers").iterdir()), [])
        kept = part.stat().st_size
        self.pulled()
        self.assertIn(f"bytes={kept}-", [headers.get("Range") for _, headers in self.registry.requests])
        self.assertFalse(part.exists())

    def test_a_damaged_part_of_an_earlier_pull_is_not_trusted(self):
        part = self.store.root / "tmp" / ("download-" + digest_of(self.image.layers[0])[7:])
        part.parent.mkdir(parents=True)
        part.write_bytes(b"\0" * 1000)
        self.pulled()

    def test_lies_are_found(self):
        layer = digest_of(self.image.layers[0])
        good = self.image.layers[0]
        for what, data, pattern in (("changed", good[:-1] + b"\1", "the registry sent sha256:"), ("longer", good + b"x", "longer than"),
                                    ("shorter", good[:-10], "bytes of the manifest")):
            with self.subTest(what):
                self.registry.replace = {layer: data}
                self.refused("corrupt", pattern)
        # An earlier pull kept more than the registry now has.
        part = self.store.root / "tmp" / ("download-" + layer[7:])
        part.write_bytes(good[:-5])
        self.registry.replace = {layer: good[:-10]}
        self.refused("corrupt", "bytes of the manifest")
        self.registry.replace = {"manifest": self.image.manifest + b" "}
        self.registry.manifest_headers = {"Docker-Content-Digest": self.image.digest}
        self.refused("corrupt", "the registry announced")
        code, out = self.store.pull(f"{self.registry.host}/app@{self.image.digest}")
        self.assertEqual((code, out["kind"]), (1, "corrupt"), out)
        self.registry.replace = {digest_of(self.image.config): self.image.config.replace(b"sh", b"hs")}
        self.registry.manifest_headers = {}
        self.store = Store(self.folder / "without-the-config")
        self.refused("corrupt", "the registry sent sha256:")
        for bad in (b"", b"{", b"[]", b"null", b"{}" * 10, b'{"schemaVersion":1}', b"[" * 10_000, b"x" * 5_000_000, b"\xff\xfe"):
            with self.subTest(bad[:20]):
                self.registry.replace = {"manifest": bad}
                code, out = self.pull()
                self.assertIn((code, out["kind"]), ((2, "invalid"), (1, "unsupported"), (1, "exhausted")), out)

    def test_bearer_tokens(self):
        self.registry.token = "first"
        self.pulled()
        asked = [path for path, _ in self.registry.requests if path.startswith("/token")]
        self.assertEqual(asked, ["/token?scope=repository%3Aapp%3Apull&service=the%20service"])
        self.registry.requests.clear()
        settings = self.folder / "registries.json"
        settings.write_text(json.dumps({"registries": {self.registry.host: {"plainHTTP": True, "username": "u", "password": "p:q"}}}))
        self.pulled("--registries", settings)
        token = [headers for path, headers in self.registry.requests if path.startswith("/token")]
        self.assertEqual(token[0]["Authorization"], "Basic " + base64.b64encode(b"u:p:q").decode())
        self.registry.token_answer = {"token": "wrong"}
        self.assertEqual(self.pull()[1]["kind"], "denied")
        self.registry.token_answer = {"access_token": "first"}
        self.pulled()
        self.registry.token_answer = {"token": "a\r\nX-Injected: 1"}
        self.assertEqual(self.pull()[1]["kind"], "denied")

    def test_a_token_does_not_follow_a_redirect(self):
        storage = self.start(self.image)
        self.registry.token = "secret-token"
        # Another host by name: the same address would be the same host to curl.
        self.registry.redirect_to = storage
        storage.host = storage.host.replace("127.0.0.1", "localhost")
        self.pulled()
        self.assertTrue(storage.requests)
        for _, headers in storage.requests:
            self.assertNotIn("Authorization", headers)

    def test_redirects_in_a_circle_end(self):
        self.registry.redirect_to = self.registry
        code, out = self.pull()
        self.assertEqual((code, out["kind"]), (2, "invalid"), out)
        self.assertIn("circle", out["message"])

    def test_nobody_listens(self):
        code, out = self.store.pull("127.0.0.1:1/app:v1")
        self.assertEqual((code, out["error"], out["kind"]), (1, "connection-refused", "unavailable"), out)
        self.assertRegex(out["message"], r"pull image 127\.0\.0\.1:1/app:v1: GET http://127\.0\.0\.1:1/v2/app/manifests/v1: "
                                         r".*\(ECONNREFUSED\): check that the registry runs")

    def test_a_full_disk(self):
        (self.folder / "disk").mkdir()
        script = f"""mount -t tmpfs -o size=2m none {self.folder}/disk || exit 99
            {BIN}/sampan image pull --json --image-root {self.folder}/disk/s {self.registry.host}/app:v1
            ls {self.folder}/disk/s/tmp | grep -v ^lock-"""
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
        self.assertNotEqual(done.returncode, 99, done.stderr)
        lines = done.stdout.splitlines()
        out = json.loads(lines[0])
        self.assertEqual((out["error"], out["kind"], lines[1:]), ("disk-full", "exhausted", []), out)
        self.assertRegex(out["message"], "ENOSPC.*sampan image gc")

    def test_two_pulls_at_once_download_once(self):
        running = [subprocess.Popen([BIN / "sampan", "image", "pull", "--quiet", "--image-root", self.store.root, f"{self.registry.host}/app:v1"],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
        for process in running:
            _, errors = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, errors)
        self.assertLess(self.registry.sent, len(self.image.layers[0]) + 1000)


if __name__ == "__main__":
    cases.main()
