"""A real sampan-master for tests of one daemon: what the test writes, what it waits for, and who asked for what.

It runs on loopback for one test, with a certificate authority that the test brings. What it has of Pods, Nodes,
Events and Leases is followed by watches, so that waiting is on changes. Where a test needs what no master does
(a Node of nonsense), a `LyingProxy` stands before it and changes what is read."""
import copy
import http.client
import http.server
import json
import pathlib
import shutil
import ssl
import sys
import threading
import time
import urllib.parse

import master_process

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripts/lib"))
import api_client  # noqa: E402
import system  # noqa: E402

FOLLOWED = {"pods": "/api/v1/pods", "nodes": "/api/v1/nodes", "events": "/api/v1/events",
            "leases": "/apis/coordination.k8s.io/v1/leases"}
AUDIT_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: ["system:node:n1"]
  verbs: [create, delete]
- level: None
"""


class MasterApi:
    def __init__(self, directory, authority, tokens=()):
        """`authority` holds ca.crt and ca.key; `tokens` are lines token,user,uid of people."""
        self.data = pathlib.Path(directory) / "master"
        pki = self.data / "pki"
        pki.mkdir(parents=True, mode=0o700)
        for name in ("ca.crt", "ca.key"):
            shutil.copy(pathlib.Path(authority) / name, pki / name)
        (self.data / "tokens").write_text("".join(line + "\n" for line in tokens))
        (self.data / "audit.yaml").write_text(AUDIT_POLICY)
        self.log = open(self.data / "log", "ab")
        self.master = master_process.Master(
            self.data, self.log, "--token-auth-file", self.data / "tokens", "--audit-policy-file", self.data / "audit.yaml",
            "--audit-log-path", self.data / "audit.log")
        self.client = api_client.Api(self.master.kubeconfig)
        self.server = self.client.server
        self.changed = threading.Condition(threading.RLock())
        self.objects = {}   # (plural, ns, name) -> object
        self.stopping = False
        threads = [threading.Thread(target=self._follow, args=kind, daemon=True) for kind in FOLLOWED.items()]
        for thread in threads:
            thread.start()
        # Pods are admitted once their namespace is furnished.
        for path in ("serviceaccounts", "configmaps"):
            self.client.until(f"/api/v1/namespaces/default/{path}", lambda items: {"default", "kube-root-ca.crt"} & items.keys(), 20)

    def stop(self):
        self.stopping = True
        self.master.stop()
        self.log.close()

    def _follow(self, plural, path):
        while not self.stopping:
            try:
                listed = self.client.get(path)
                with self.changed:
                    for key in [key for key in self.objects if key[0] == plural]:
                        del self.objects[key]
                    for item in listed["items"]:
                        self._keep(plural, item)
                    self.changed.notify_all()
                for kind, item in self.client.watch(path, listed["metadata"]["resourceVersion"], time.monotonic() + 600):
                    with self.changed:
                        if kind == "DELETED":
                            self.objects.pop(self._key(plural, item), None)
                        elif kind in ("ADDED", "MODIFIED"):
                            self._keep(plural, item)
                        self.changed.notify_all()
            except (OSError, ValueError, http.client.HTTPException, system.Failure, TimeoutError):
                if not self.stopping and self.master.process.poll() is not None:
                    return   # the test fails by what it waits for

    @staticmethod
    def _key(plural, obj):
        return plural, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]

    def _keep(self, plural, obj):
        known = self.objects.get(self._key(plural, obj))
        if known is None or int(known["metadata"]["resourceVersion"]) < int(obj["metadata"]["resourceVersion"]) \
                or known["metadata"]["uid"] != obj["metadata"]["uid"]:
            self.objects[self._key(plural, obj)] = obj

    @staticmethod
    def path(plural, ns, name=""):
        base = "/apis/rbac.authorization.k8s.io/v1" if plural.startswith("cluster") else \
            "/apis/coordination.k8s.io/v1" if plural == "leases" else "/api/v1"
        return base + (f"/namespaces/{ns}" if ns else "") + f"/{plural}" + (f"/{name}" if name else "")

    def call(self, method, path, body=None, content_type="application/json"):
        status, answer = self.client.request(method, path, body, content_type)
        if status >= 300:
            raise AssertionError(f"{method} {path}: {status}: {answer}")
        return answer

    # -- for the test

    def put(self, plural, ns, obj):
        """Makes it, or what is there like it."""
        obj = copy.deepcopy(obj)
        name = obj["metadata"]["name"]
        status, answer = self.client.request("POST", self.path(plural, ns), obj)
        if status == 409:
            obj["metadata"]["resourceVersion"] = self.call("GET", self.path(plural, ns, name))["metadata"]["resourceVersion"]
            status, answer = self.client.request("PUT", self.path(plural, ns, name), obj)
        if status >= 300:
            raise AssertionError(f"{plural} {name}: {status}: {answer}")
        if plural in FOLLOWED:
            with self.changed:
                self._keep(plural, answer)
        return answer

    def drop(self, plural, ns, name):
        """Without a grace, whatever its node thinks of that."""
        self.call("DELETE", self.path(plural, ns, name), {"gracePeriodSeconds": 0})
        self.until(f"{name} is gone", lambda: self.get(plural, name, ns) is None)

    def terminate(self, name, grace=30, ns="default"):
        """With the least grace that leaves the end to the kubelet."""
        self.call("DELETE", self.path("pods", ns, name), {"gracePeriodSeconds": max(grace, 1)})

    def allow(self, user, part):
        """He may read a part of Nodes: proxy, metrics, stats."""
        name = f"{user.replace(':', '-')}-{part}"
        self.put("clusterroles", "", {"metadata": {"name": name},
                                      "rules": [{"apiGroups": [""], "resources": [f"nodes/{part}"], "verbs": ["get"]}]})
        self.put("clusterrolebindings", "", {
            "metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]})

    def get(self, plural, name, ns="default"):
        with self.changed:
            return self.objects.get((plural, ns, name))

    def all(self, plural):
        with self.changed:
            return [o for (p, _, _), o in self.objects.items() if p == plural]

    def asked(self, verb, resource):
        """What the node asked for: names, in the order of the answers."""
        text = (self.data / "audit.log").read_text() if (self.data / "audit.log").exists() else ""
        found = [json.loads(line) for line in text.splitlines()]
        return [e["objectRef"].get("name", "") for e in found
                if e["verb"] == verb and e.get("objectRef", {}).get("resource") == resource]

    def until(self, what, test, seconds=20):
        """Waits on changes, never by polling; `test` returns something true."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while True:
                found = test()
                if found:
                    return found
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{what}: not within {seconds} s: "
                                         f"{json.dumps([o.get('status') for o in self.all('pods')])[:3000]}")
                self.changed.wait(left)


class LyingProxy:
    """Plain HTTP before a master, in the name of the certificate that it holds: what is read of one kind passes
    `lie`, which may change it; all else goes through as it is."""

    def __init__(self, server, context, kind, lie):
        proxy = self
        self.context, self.kind, self.lie = context, kind, lie
        self.host = server.removeprefix("https://")

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do(self):
                try:
                    proxy.forward(self)
                except OSError:   # either end is gone
                    self.close_connection = True
            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, address):
                if not isinstance(sys.exc_info()[1], OSError):   # a killed client is no error here
                    super().handle_error(request, address)
        self.listener = Server(("127.0.0.1", 0), Handler)
        self.server = f"http://127.0.0.1:{self.listener.server_port}"
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()

    def stop(self):
        self.listener.shutdown()
        self.listener.server_close()

    def changed(self, text):
        obj = json.loads(text)
        for one in obj["items"] if "items" in obj else [obj.get("object", obj)]:
            if one.get("kind", self.kind) == self.kind:
                self.lie(one)
        return json.dumps(obj).encode()

    def forward(self, h):
        length = int(h.headers.get("Content-Length") or 0)
        body = h.rfile.read(length) if length else None
        about = f"/{self.kind.lower()}s" in urllib.parse.urlsplit(h.path).path
        upstream = http.client.HTTPSConnection(self.host, context=self.context)
        try:
            upstream.request(h.command, h.path, body, {k: v for k, v in h.headers.items()
                                                       if k.lower() not in ("host", "content-length", "accept-encoding")})
            answer = upstream.getresponse()
            h.send_response(answer.status)
            h.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            if "watch=1" in h.path and answer.status == 200:
                h.send_header("Transfer-Encoding", "chunked")
                h.end_headers()
                while line := answer.readline():
                    line = self.changed(line) + b"\n" if about else line
                    h.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                    h.wfile.flush()
                h.wfile.write(b"0\r\n\r\n")
            else:
                data = answer.read()
                if about and answer.status < 300 and data:
                    data = self.changed(data)
                h.send_header("Content-Length", str(len(data)))
                h.end_headers()
                h.wfile.write(data)
        finally:
            upstream.close()


def client_context(directory, name):
    """The TLS of who holds name.crt and name.key."""
    context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    context.load_cert_chain(directory / f"{name}.crt", directory / f"{name}.key")
    return context
