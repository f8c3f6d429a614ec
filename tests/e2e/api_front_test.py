#!/usr/bin/python3
"""The API server's front as real clients meet it, on loopback without a cluster: HTTP/2 and HTTP/1.1 by
curl and kubectl, gzip, audit, health, metrics, and a shutdown that ends what is under way."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases

POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  nonResourceURLs: ["/*"]
- level: Metadata
  omitStages: [RequestReceived]
  resources: [{group: "", resources: [secrets]}]
- level: None
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class ApiFront(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for program in ("curl", "kubectl"):
            if not shutil.which(program):
                raise unittest.SkipTest(f"missing {program}")
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="sampan-front-"))
        (cls.work / "policy.yaml").write_text(POLICY)
        cls.start()

    @classmethod
    def start(cls):
        cls.port = free_port()
        cls.config = cls.work / "data/admin.conf"
        cls.config.unlink(missing_ok=True)
        cls.process = subprocess.Popen(
            [cases.BIN / "sampan-master", "--data-dir", cls.work / "data", "--listen", f"127.0.0.1:{cls.port}",
             "--audit-policy-file", cls.work / "policy.yaml", "--audit-log-path", cls.work / "audit.log"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 60
        while not cls.config.exists() or cls.curl("/readyz").stdout != "ok":
            if cls.process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError("sampan-master did not come up")
            time.sleep(0.05)

    @classmethod
    def stop(cls):
        if cls.process.poll() is None:
            cls.process.terminate()
            try:
                cls.process.wait(30)
            except subprocess.TimeoutExpired:
                cls.process.kill()
                cls.process.wait()

    @classmethod
    def tearDownClass(cls):
        cls.stop()
        shutil.rmtree(cls.work)

    @classmethod
    def curl(cls, path, *arguments):
        pki = cls.work / "data/pki"
        return subprocess.run(["curl", "-sS", "--max-time", "60", "--cacert", pki / "ca.crt", "--cert", pki / "admin.crt",
                               "--key", pki / "admin.key", *arguments, f"https://127.0.0.1:{cls.port}{path}"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def kubectl(self, *arguments, **options):
        done = subprocess.run(["kubectl", "--kubeconfig", self.config, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=120, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def test_curl_speaks_http2_and_http11(self):
        for flag, version in (("--http2", "2"), ("--http1.1", "1.1")):
            done = self.curl("/api/v1/namespaces", flag, "-w", "\n%{http_version} %{http_code}")
            self.assertEqual(done.stdout.splitlines()[-1], f"{version} 200", done.stderr)
            self.assertEqual(json.loads(done.stdout.rsplit("\n", 1)[0])["kind"], "NamespaceList")

    def test_kubectl_speaks_http2(self):
        done = self.kubectl("get", "namespaces", env=dict(os.environ, GODEBUG="http2debug=1", HOME=str(self.work)))
        self.assertIn("kube-system", done.stdout)
        self.assertIn("http2: Transport received SETTINGS", done.stderr)
        self.assertIn("MAX_CONCURRENT_STREAMS=250", done.stderr)

    def test_kubectl_writes_and_watches_over_http2(self):
        watch = subprocess.Popen(["kubectl", "--kubeconfig", self.config, "get", "configmaps", "--watch", "-o", "name",
                                  "--field-selector", "metadata.name=watched"], stdout=subprocess.PIPE, text=True)
        try:
            # The watch is there once it is counted.
            limit = time.monotonic() + 60
            while not any('resource="configmaps"' in line and 'verb="WATCH"' in line and line.endswith(" 1")
                          for line in self.curl("/metrics").stdout.splitlines()
                          if line.startswith("apiserver_longrunning_requests")):
                self.assertLess(time.monotonic(), limit)
            self.kubectl("create", "configmap", "watched", "--from-literal=a=1")
            self.kubectl("patch", "configmap", "watched", "-p", '{"data":{"a":"2"}}')
            self.kubectl("delete", "configmap", "watched")
            self.assertEqual([watch.stdout.readline().strip() for _ in range(3)], ["configmap/watched"] * 3)
        finally:
            watch.terminate()
            watch.wait()
            watch.stdout.close()

    def test_large_lists_are_compressed_when_asked(self):
        for i in range(3):
            body = json.dumps({"metadata": {"name": f"large-{i}", "labels": {"size": "large"}}, "data": {"x": "abcdefghij" * 9000}})
            self.curl("/api/v1/namespaces/default/configmaps", "-H", "Content-Type: application/json", "-d", body)
        path = "/api/v1/namespaces/default/configmaps?labelSelector=size%3Dlarge"
        plain = self.curl(path)
        self.assertGreater(len(plain.stdout), 270_000)
        for flag in ("--http2", "--http1.1"):
            packed = self.curl(path, flag, "--compressed", "-w", "\n%{size_download} %{http_code}", "-D", self.work / "head")
            body, line = packed.stdout.rsplit("\n", 1)
            self.assertEqual(body, plain.stdout)
            size, code = line.split()
            self.assertEqual(code, "200")
            self.assertLess(int(size), 30_000)
            self.assertIn("content-encoding: gzip", (self.work / "head").read_text().lower())
        small = self.curl("/api/v1/namespaces/default", "--compressed", "-D", self.work / "head")
        self.assertEqual(json.loads(small.stdout)["kind"], "Namespace")
        self.assertNotIn("content-encoding", (self.work / "head").read_text().lower())
        # kubectl asks for gzip by itself.
        self.assertEqual(len(json.loads(self.kubectl("get", "configmaps", "-l", "size=large", "-o", "json").stdout)["items"]), 3)

    def test_health_and_metrics(self):
        self.assertIn("[+]etcd ok\n", self.curl("/readyz?verbose").stdout)
        self.assertEqual(self.curl("/livez/ping").stdout, "ok")
        page = self.curl("/metrics").stdout
        for name in ("apiserver_request_total{", "apiserver_request_duration_seconds_bucket{", "apiserver_storage_objects{",
                     "process_resident_memory_bytes "):
            self.assertIn("\n" + name, page)

    def test_the_audit_log_has_what_the_policy_asks(self):
        self.kubectl("create", "secret", "generic", "audited", "--from-literal=a=b")
        events = [json.loads(line) for line in (self.work / "audit.log").read_text().splitlines()]
        made = [e for e in events if e["verb"] == "create" and e["objectRef"]["resource"] == "secrets"]
        self.assertEqual([e["stage"] for e in made], ["ResponseComplete"])
        self.assertEqual(made[0]["level"], "Metadata")
        self.assertEqual(made[0]["user"]["username"], "kubernetes-admin")
        self.assertEqual(made[0]["sourceIPs"], ["127.0.0.1"])
        self.assertTrue(made[0]["userAgent"].startswith("kubectl"))
        self.assertEqual(made[0]["responseStatus"]["code"], 201)
        self.assertNotIn("requestObject", made[0])
        self.assertEqual({e["objectRef"]["resource"] for e in events}, {"secrets"})
        # Who is not known is refused before anything is looked at, and noted all the same.
        done = subprocess.run(["curl", "-s", "--cacert", self.work / "data/pki/ca.crt", "-H", "Authorization: Bearer nonsense", "-o", "/dev/null", "-w", "%{http_code}",
                               f"https://127.0.0.1:{self.port}/api/v1/namespaces/default/secrets/audited"], stdout=subprocess.PIPE, text=True, check=True)
        self.assertEqual(done.stdout, "401")
        last = json.loads((self.work / "audit.log").read_text().splitlines()[-1])
        self.assertEqual((last["responseStatus"]["code"], last["objectRef"]["name"], last["user"].get("username", "")), (401, "audited", ""))

    def test_z_a_watch_ends_cleanly_when_the_server_stops(self):
        watch = subprocess.Popen(["curl", "-sN", "--http2", "--cacert", self.work / "data/pki/ca.crt", "--cert",
                                  self.work / "data/pki/admin.crt", "--key", self.work / "data/pki/admin.key",
                                  f"https://127.0.0.1:{self.port}/api/v1/namespaces?watch=true"], stdout=subprocess.PIPE)
        try:
            self.assertIn(b'"ADDED"', watch.stdout.readline())
            self.process.send_signal(signal.SIGTERM)
            self.assertEqual(self.process.wait(30), 0)
        finally:
            watch.terminate()
            watch.wait()
            watch.stdout.close()
            self.start()


if __name__ == "__main__":
    cases.main()
