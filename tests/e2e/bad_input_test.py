#!/usr/bin/python3
"""Bad input gets the Status object and code that people know from Kubernetes, through kubectl and
through plain HTTP; nothing crashes and nothing is half-written."""
import json
import ssl
import subprocess
import urllib.error
import urllib.request

import cluster
from cluster import pod

PODS = "/api/v1/namespaces/{ns}/pods"


class BadInput(cluster.ClusterTest):
    load = ()

    def post(self, body, path=PODS, method="POST", content_type="application/json"):
        status, answer = self.api.request(method, path.replace("{ns}", self.ns), body, content_type)
        if status >= 400:
            self.assertEqual((answer["kind"], answer["apiVersion"], answer["status"], answer["code"]),
                             ("Status", "v1", "Failure", status), answer)
        return status, answer

    def tearDown(self):
        self.assertIsNotNone(self.cluster.pid("master"), "the master died")
        self.assertEqual(self.get("pods")["items"], [], "something was written")
        super().tearDown()

    def assertCause(self, answer, field, reason=None):
        causes = answer.get("details", {}).get("causes", [])
        self.assertTrue(any(c["field"] == field and (reason is None or c["reason"] == reason)
                            for c in causes), f"no cause {reason} at {field}: {causes}")

    def test_not_json(self):
        for body in (b"{", b"", b"[1, 2]", b"\xff\xfe", b'{"apiVersion":"v1","kind":"Pod"} x'):
            status, answer = self.post(body)
            self.assertEqual((status, answer["reason"]), (400, "BadRequest"), body)

    def test_wrong_type_of_a_field(self):
        bad = pod("typed", "true")
        bad["spec"]["containers"][0]["ports"] = [{"containerPort": "eighty"}]
        status, answer = self.post(bad)
        self.assertEqual(status, 400)
        self.assertIn("containerPort", answer["message"])
        bad = pod("typed", "true")
        bad["spec"]["containers"] = "none"
        self.assertEqual(self.post(bad)[0], 400)

    def test_wrong_kind_for_the_path(self):
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}
        self.assertEqual(self.post(service)[0], 400)

    def test_unknown_field_through_kubectl(self):
        bad = pod("unknown", "true")
        bad["spec"]["contaners"] = []
        done = self.kubectl("apply", "-f", "-", input=bad, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('unknown field "spec.contaners"', done.stderr)
        status, answer = self.post(bad, PODS + "?fieldValidation=Strict")
        self.assertEqual(status, 400)
        self.assertIn('unknown field "spec.contaners"', answer["message"])

    def test_missing_fields(self):
        bad = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "empty"}, "spec": {}}
        status, answer = self.post(bad)
        self.assertEqual((status, answer["reason"]), (422, "Invalid"))
        self.assertCause(answer, "spec.containers", "FieldValueRequired")
        done = self.kubectl("apply", "--validate=false", "-f", "-", input=bad, check=False)
        self.assertIn("spec.containers: Required value", done.stderr)

    def test_bad_names(self):
        for name, why in (("Upper", "lowercase RFC 1123"), ("a" * 254, "must be no more than 253"),
                          ("-x", "lowercase RFC 1123")):
            status, answer = self.post(pod(name, "true"))
            self.assertEqual(status, 422, name)
            self.assertCause(answer, "metadata.name", "FieldValueInvalid")
            self.assertIn(why, answer["message"])
        status, answer = self.post({"apiVersion": "v1", "kind": "Pod", "metadata": {},
                                    "spec": {"containers": [{"name": "c", "image": "x"}]}})
        self.assertEqual(status, 422)
        self.assertIn("name or generateName is required", answer["message"])

    def test_several_causes_at_once(self):
        bad = pod("many", "true", restartPolicy="Sometimes")
        bad["spec"]["containers"] = [{"name": "Bad_Name", "image": ""}, {"name": "b", "image": "x"},
                                     {"name": "b", "image": "x"}]
        status, answer = self.post(bad)
        self.assertEqual(status, 422)
        self.assertCause(answer, "spec.restartPolicy", "FieldValueNotSupported")
        self.assertCause(answer, "spec.containers[0].name", "FieldValueInvalid")
        self.assertCause(answer, "spec.containers[0].image", "FieldValueRequired")
        self.assertCause(answer, "spec.containers[2].name", "FieldValueDuplicate")

    def test_conflicts(self):
        path = "/api/v1/namespaces/{ns}/configmaps"
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
        status, first = self.post(made, path)
        self.assertEqual(status, 201)
        status, answer = self.post(made, path)
        self.assertEqual((status, answer["reason"]), (409, "AlreadyExists"))
        self.assertEqual(answer["message"], 'configmaps "c" already exists')
        self.assertEqual(self.post(dict(first, data={"a": "2"}), path + "/c", "PUT")[0], 200)
        status, answer = self.post(dict(first, data={"a": "3"}), path + "/c", "PUT")
        self.assertEqual((status, answer["reason"]), (409, "Conflict"))
        self.assertIn("the object has been modified", answer["message"])
        self.assertEqual(self.get("configmap", "c")["data"], {"a": "2"})

    def test_immutable_field(self):
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
                   "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}
        path = "/api/v1/namespaces/{ns}/services"
        status, made = self.post(service, path)
        self.assertEqual(status, 201)
        made["spec"]["clusterIP"] = made["spec"]["clusterIPs"][0] = "10.96.200.200"
        status, answer = self.post(made, path + "/s", "PUT")
        self.assertEqual(status, 422)
        self.assertIn("may not change once set", answer["message"])

    def test_body_over_3_mib(self):
        big = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"},
                          "data": {"a": "x" * (3 << 20)}}).encode()
        status, answer = self.post(big, "/api/v1/namespaces/{ns}/configmaps")
        self.assertEqual((status, answer["reason"]), (413, "RequestEntityTooLarge"))

    def test_unknown_paths_methods_and_media_types(self):
        self.assertEqual(self.api.request("GET", "/api/v1/nonsense")[0], 404)
        self.assertEqual(self.api.request("GET", f"/api/v1/namespaces/{self.ns}/pods/none")[0], 404)
        self.assertEqual(self.api.request("DELETE", "/api/v1/namespaces/default/status")[0] // 100, 4)
        self.assertEqual(self.post(b"<pod/>", content_type="application/xml")[0], 415)
        status, answer = self.post(b"{}", PODS + "/none", "PATCH", "application/merge-patch+json")
        self.assertEqual(status, 404, answer)

    def test_watch_of_a_future_or_bad_version(self):
        path = f"/api/v1/namespaces/{self.ns}/pods"
        status, _ = self.api.request("GET", f"{path}?resourceVersion=nonsense")
        self.assertIn(status, (400, 422))
        self.assertEqual(self.api.request("GET", f"{path}?labelSelector=a%3D%3D%3Db")[0], 400)
        self.assertEqual(self.api.request("GET", f"{path}?fieldSelector=spec.color%3Dred")[0], 400)

    def test_delete_with_a_wrong_uid(self):
        self.kubectl("create", "configmap", "mine")
        status, answer = self.post({"kind": "DeleteOptions", "apiVersion": "v1",
                                    "preconditions": {"uid": "not-it"}},
                                   "/api/v1/namespaces/{ns}/configmaps/mine", "DELETE")
        self.assertEqual(status, 409, answer)
        self.kubectl("get", "configmap", "mine")

    def test_nobody_gets_in_without_a_certificate(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for path, expected in (("/readyz", 200), ("/livez", 200), ("/api/v1/secrets", (401, 403)),
                               ("/api/v1/namespaces/default/pods", (401, 403))):
            try:
                with urllib.request.urlopen(self.api.server + path, context=context, timeout=10) as answer:
                    code = answer.status
            except urllib.error.HTTPError as error:
                code = error.code
                error.close()
            self.assertIn(code, expected if isinstance(expected, tuple) else (expected,), path)

    def test_raw_garbage_on_the_port(self):
        port = self.api.server.rsplit(":", 1)[1]
        done = subprocess.run(["curl", "-sk", "--max-time", "5", f"http://127.0.0.1:{port}/"],
                              stdout=subprocess.PIPE)
        self.assertIsNotNone(self.cluster.pid("master"), f"plain HTTP ended the master: {done}")
        self.kubectl("get", "nodes", namespace=None)

    def test_kubectl_raw(self):
        done = self.kubectl("get", "--raw", "/api/v1/namespaces/none/pods/x", check=False)
        self.assertIn("NotFound", done.stderr)
        done = self.kubectl("create", "--raw", f"/api/v1/namespaces/{self.ns}/pods", "-f", "-",
                            input={"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "X_"}},
                            check=False)
        self.assertIn("Invalid value", done.stderr)


if __name__ == "__main__":
    cluster.main()
