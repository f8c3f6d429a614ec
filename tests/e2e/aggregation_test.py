#!/usr/bin/python3
"""API servers behind APIServices: a stand-in for metrics-server beside the master, kubectl top."""
import base64
import json

import cluster
from backend import Authority, Backend, endpoint_slice

PORT, GROUP, NS = 9444, "metrics.k8s.io", "kube-system"
NAME = f"v1beta1.{GROUP}"
SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
# Shows no certificate of the front proxy's: no service. /echo tells the headers that came.
SERVER = r"""
ROOT = "/apis/metrics.k8s.io/v1beta1"
WATCH = [b'{"type":"ADDED",  "object":{"kind":"NodeMetrics"}}\n', b'{"type":"BOOKMARK","object":{}}\n']
def usage(cpu, memory): return {"cpu": cpu, "memory": memory}
def kind(name, **more): return {"kind": name, "apiVersion": "metrics.k8s.io/v1beta1", **more}
NODES = [kind("NodeMetrics", metadata={"name": "node-1"}, timestamp="2026-01-01T00:00:00Z", window="10s", usage=usage("250m", "512Mi"))]
PODS = [kind("PodMetrics", metadata={"name": "web", "namespace": "default"}, timestamp="2026-01-01T00:00:00Z", window="10s",
             containers=[{"name": "c", "usage": usage("7m", "21Mi")}])]
VERBS = ["get", "list"]
LIST = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1beta1", "resources": [
    {"name": "nodes", "singularName": "", "namespaced": False, "kind": "NodeMetrics", "verbs": VERBS},
    {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": VERBS}]}
TYPE = {"description": "What a node uses.", "type": "object", "properties": {"window": {"description": "How long it was measured.", "type": "string"}},
        "x-kubernetes-group-version-kind": [{"group": "metrics.k8s.io", "version": "v1beta1", "kind": "NodeMetrics"}]}
V2 = {"swagger": "2.0", "info": {"title": "m", "version": "1"}, "definitions": {"io.k8s.metrics.NodeMetrics": TYPE}, "paths": {
    ROOT + "/nodes": {"get": {"responses": {"200": {"description": "OK"}}}}, "/apis/other.example.com/v1/": {"get": {}}}}
V3 = {"openapi": "3.0.0", "info": {"title": "m", "version": "1"}, "components": {"schemas": {"io.k8s.metrics.NodeMetrics": TYPE}},
      "paths": {ROOT + "/nodes": {"get": {"responses": {"200": {"description": "OK"}},
                "x-kubernetes-group-version-kind": {"group": "metrics.k8s.io", "version": "v1beta1", "kind": "NodeMetrics"}}}}}
PAGES = {ROOT: LIST, ROOT + "/nodes": kind("NodeMetricsList", metadata={}, items=NODES), ROOT + "/nodes/node-1": NODES[0],
         ROOT + "/pods": kind("PodMetricsList", metadata={}, items=PODS),
         ROOT + "/namespaces/default/pods": kind("PodMetricsList", metadata={}, items=PODS), "/openapi/v2": V2,
         "/openapi/v3": {"paths": {"apis/metrics.k8s.io/v1beta1": {"serverRelativeURL": "/openapi/v3/apis/metrics.k8s.io/v1beta1?hash=1"}}},
         "/openapi/v3/apis/metrics.k8s.io/v1beta1": V3}
class Handler(JsonHandler):
    def do_POST(self):
        body = self.body()
        if self.headers.get("Upgrade"):
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", self.headers["Upgrade"])
            self.end_headers()
            self.wfile.write(self.rfile.readline().upper())
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        if "watch=true" in query:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for line in WATCH: self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
            return
        if path.endswith("/echo"):
            answer = {"method": self.command, "path": self.path, "body": body.decode(), "headers": [list(h) for h in self.headers.items()]}
        else: answer = PAGES.get(path)
        self.answer(answer or {"kind": "Status", "code": 404}, 200 if answer else 404)
    do_GET = do_PUT = do_POST
"""


class Aggregation(cluster.ClusterTest):
    load = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority()
        cls.addClassCleanup(cls.authority.cleanup)
        cls.key_file = cls.authority.sign(f"DNS:metrics.{NS}.svc")

        def has_map(items):
            return "extension-apiserver-authentication" in items
        told = cls.api.until(f"/api/v1/namespaces/{NS}/configmaps", has_map, 30)["extension-apiserver-authentication"]["data"]
        cls.told = told
        cls.front_ca = cls.authority.path / "front-proxy-ca.crt"
        cls.front_ca.write_text(told["requestheader-client-ca-file"])

    def start_backend(self):
        backend = Backend(self.cluster.netns, SERVER, PORT, self.key_file, self.front_ca)
        self.addCleanup(lambda: backend.process.stdout.closed or backend.kill())
        return backend

    def make(self, *objects):
        for each in objects:
            self.kubectl("apply", "-f", "-", input=each, namespace=None)
            namespace = each["metadata"].get("namespace")
            self.addCleanup(self.kubectl, "delete", each["kind"].lower(), each["metadata"]["name"], "--ignore-not-found",
                            *([f"--namespace={namespace}"] if namespace else []), namespace=None)

    def service(self):
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics", "namespace": NS},
                "spec": {"ports": [{"port": 443, "targetPort": PORT}]}}

    def api_service(self, **spec):
        return {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": NAME},
                "spec": {"group": GROUP, "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                         "caBundle": base64.b64encode(self.authority.ca).decode(), "service": {"name": "metrics", "namespace": NS}, **spec}}

    def serve(self, **spec):
        backend = self.start_backend()
        self.make(self.service(), endpoint_slice("metrics", PORT, namespace=NS), self.api_service(**spec))
        self.until_condition("True", "Passed")
        return backend

    def until_condition(self, status, reason):
        def says(items):
            conditions = items.get(NAME, {}).get("status", {}).get("conditions", [])
            return any((c["status"], c["reason"]) == (status, reason) for c in conditions)
        condition = self.until(SERVICES, says)[NAME]["status"]["conditions"][0]
        self.assertEqual(condition["type"], "Available")
        return condition["message"]

    def ask(self, path, method="GET", body=None, **headers):
        connection = self.api.connect()
        self.addCleanup(connection.close)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()

    def echo(self, **headers):
        status, body = self.ask(f"/apis/{GROUP}/v1beta1/echo", **headers)
        self.assertEqual(status, 200, body)
        return json.loads(body)

    def test_kubectl_top(self):
        self.serve()
        self.assertRegex(self.kubectl("top", "nodes", namespace=None).stdout, r"node-1 +250m +\d+% +512Mi +\d+%")
        self.assertRegex(self.kubectl("top", "pods", namespace="default").stdout, r"web +7m +21Mi")
        self.assertRegex(self.kubectl("get", "apiservices", NAME, namespace=None).stdout, rf"{NS}/metrics +True")
        self.assertEqual(self.kubectl("get", f"nodes.v1beta1.{GROUP}", "-o", "name", namespace=None).stdout, f"nodemetrics.{GROUP}/node-1\n")

    def test_discovery_and_openapi(self):
        self.serve(groupPriorityMinimum=17790)
        groups = [group["name"] for group in self.api.get("/apis")["groups"]]
        self.assertEqual(groups[groups.index("apps") + 1], GROUP)  # 17800, 17790, 17750
        self.assertEqual(self.api.get(f"/apis/{GROUP}")["preferredVersion"]["groupVersion"], f"{GROUP}/v1beta1")
        self.assertEqual({r["name"] for r in self.api.get(f"/apis/{GROUP}/v1beta1")["resources"]}, {"nodes", "pods"})
        aggregated = json.loads(self.ask("/apis", Accept="application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")[1])
        ours = next(g for g in aggregated["items"] if g["metadata"]["name"] == GROUP)["versions"][0]
        self.assertEqual((ours["freshness"], [(r["resource"], r["scope"], r["responseKind"]["kind"]) for r in ours["resources"]]),
                         ("Current", [("nodes", "Cluster", "NodeMetrics"), ("pods", "Namespaced", "PodMetrics")]))
        self.assertIn("nodes ", self.kubectl("api-resources", f"--api-group={GROUP}", namespace=None).stdout)
        url = self.api.get("/openapi/v3")["paths"][f"apis/{GROUP}/v1beta1"]["serverRelativeURL"]
        self.assertIn("io.k8s.metrics.NodeMetrics", self.api.get(url)["components"]["schemas"])
        self.assertIn("How long it was measured.", self.kubectl("explain", "nodes.window", f"--api-version={GROUP}/v1beta1", namespace=None).stdout)
        merged = self.api.get("/openapi/v2")
        self.assertIn("io.k8s.metrics.NodeMetrics", merged["definitions"])
        self.assertIn(f"/apis/{GROUP}/v1beta1/nodes", merged["paths"])
        self.assertNotIn("/apis/other.example.com/v1/", merged["paths"])
        self.assertIn("/api/v1/pods", merged["paths"])

    def test_who_asks(self):
        self.serve()
        echoed = self.echo(X_Remote_User="root", X_Remote_Group="system:masters", X_Remote_Extra_Scopes="all", X_Other="kept")
        headers = [(name.lower(), value) for name, value in echoed["headers"]]
        self.assertEqual([v for n, v in headers if n == "x-remote-user"], ["kubernetes-admin"])
        self.assertEqual(sorted(v for n, v in headers if n == "x-remote-group"), ["system:authenticated", "system:masters"])
        self.assertFalse([n for n, _ in headers if n.startswith("x-remote-extra") or n == "authorization"])
        self.assertIn(("x-other", "kept"), headers)
        body = json.dumps({"a": 1})
        status, answer = self.ask(f"/apis/{GROUP}/v1beta1/namespaces/{self.ns}/things/x/echo?b=%2F", "PUT", body, Content_Type="application/json")
        self.assertEqual((status, json.loads(answer)["method"], json.loads(answer)["body"]), (200, "PUT", body))
        self.assertTrue(json.loads(answer)["path"].endswith("/things/x/echo?b=%2F"))
        # The front decides first, and impersonation ends there.
        status, answer = self.ask(f"/apis/{GROUP}/v1beta1/nodes", Impersonate_User="jane")
        self.assertEqual(status, 403)
        self.assertIn(f'User \\"jane\\" cannot list resource \\"nodes\\" in API group \\"{GROUP}\\" at the cluster scope', answer.decode())
        headers = dict(self.echo(Impersonate_User="jane", Impersonate_Group="system:masters", Impersonate_Extra_Team="a b")["headers"])
        self.assertEqual((headers["X-Remote-User"], headers["X-Remote-Extra-team"]), ("jane", "a b"))
        self.assertFalse([name for name in headers if name.lower().startswith("impersonate")])

    def test_streams(self):
        self.serve()
        status, body = self.ask(f"/apis/{GROUP}/v1beta1/nodes?watch=true")
        self.assertEqual((status, body), (200, b'{"type":"ADDED",  "object":{"kind":"NodeMetrics"}}\n{"type":"BOOKMARK","object":{}}\n'))
        connection = self.api.connect()
        self.addCleanup(connection.close)
        connection.connect()
        connection.sock.sendall(f"POST /apis/{GROUP}/v1beta1/nodes/node-1/proxy HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                                "Upgrade: shout\r\nContent-Length: 0\r\n\r\nhello\n".encode())
        stream = connection.sock.makefile("rb")
        self.assertIn(b"101", stream.readline())
        while stream.readline() not in (b"\r\n", b""):
            pass
        self.assertEqual(stream.readline(), b"HELLO\n")

    def test_conditions(self):
        self.make(self.api_service())
        self.assertEqual(self.until_condition("False", "ServiceNotFound"), f'service/metrics in "{NS}" is not present')
        self.assertEqual(self.ask(f"/apis/{GROUP}/v1beta1/nodes"), (503, b"service unavailable\n"))
        gauge = f'aggregator_unavailable_apiservice{{name="{NAME}"}} '.encode()
        self.assertIn(gauge + b"1\n", self.ask("/metrics")[1])
        wrong = self.service()
        wrong["spec"]["ports"][0]["port"] = 444
        self.make(wrong)
        self.until_condition("False", "ServicePortError")
        self.make(self.service())
        self.assertEqual(self.until_condition("False", "EndpointsNotFound"), f'cannot find endpointslices for service/metrics in "{NS}"')
        self.make(endpoint_slice("metrics", PORT, ready=False, namespace=NS))
        self.until_condition("False", "MissingEndpoints")
        self.make(endpoint_slice("metrics", PORT, namespace=NS))
        self.assertIn("failing or missing response from https://", self.until_condition("False", "FailedDiscoveryCheck"))
        backend = self.start_backend()
        self.until_condition("True", "Passed")
        self.assertIn(gauge + b"0\n", self.ask("/metrics")[1])
        stranger = Authority()
        self.addCleanup(stranger.cleanup)
        self.make(self.api_service(caBundle=base64.b64encode(stranger.ca).decode()))
        self.assertIn("certificate", self.until_condition("False", "FailedDiscoveryCheck"))
        insecure = self.api_service(insecureSkipTLSVerify=True)
        del insecure["spec"]["caBundle"]
        self.make(insecure)
        self.until_condition("True", "Passed")
        self.kubectl("delete", "apiservice", NAME, namespace=None)
        status, told = self.ask(f"/apis/{GROUP}/v1beta1/nodes")  # the built-in one has its place again
        self.assertEqual((status, json.loads(told)["kind"]), (200, "NodeMetricsList"))
        backend.kill()

    def test_a_dead_one_holds_up_nobody(self):
        backend = self.serve()
        backend.kill()
        self.assertEqual(self.ask(f"/apis/{GROUP}/v1beta1/nodes")[0], 503)  # which is noticed
        self.until_condition("False", "FailedDiscoveryCheck")
        self.kubectl("create", "namespace", "goes", namespace=None)
        self.kubectl("create", "configmap", "a", namespace="goes")
        self.kubectl("delete", "namespace", "goes", "--timeout=60s", namespace=None)
        self.kubectl("create", "deployment", "d", "--image=none", "--replicas=0")
        self.kubectl("delete", "deployment", "d", "--cascade=foreground", "--timeout=60s")
        self.start_backend()
        self.until_condition("True", "Passed")
        self.kubectl("top", "nodes", namespace=None)

    def test_whom_servers_shall_trust(self):
        self.assertEqual(json.loads(self.told["requestheader-allowed-names"]), ["front-proxy-client"])
        self.assertEqual([json.loads(self.told[f"requestheader-{key}"]) for key in
                          ("username-headers", "group-headers", "uid-headers", "extra-headers-prefix")],
                         [["X-Remote-User"], ["X-Remote-Group"], ["X-Remote-Uid"], ["X-Remote-Extra-"]])
        self.assertEqual(self.told["client-ca-file"], (self.cluster.data / "master/pki/ca.crt").read_text())
        role = self.kubectl("get", "role", "extension-apiserver-authentication-reader", "-o", "json", namespace=NS).stdout
        self.assertIn("extension-apiserver-authentication", role)
        self.kubectl("delete", "configmap", "extension-apiserver-authentication", namespace=NS)
        self.until(f"/api/v1/namespaces/{NS}/configmaps", lambda items: "extension-apiserver-authentication" in items)

    def test_what_is_refused(self):
        for spec, text in (({"group": "other.io"}, "metadata.name: Invalid value"),
                           ({"insecureSkipTLSVerify": True}, "may not be true if caBundle is present"),
                           ({"service": None}, "local APIServices may not have a caBundle"),
                           ({"groupPriorityMinimum": 0}, "must be positive and less than 20000")):
            done = self.kubectl("create", "--validate=false", "-f", "-", input=self.api_service(**spec), namespace=None, check=False)
            self.assertIn(text, done.stderr)


if __name__ == "__main__":
    cluster.main()
