#!/usr/bin/python3
"""Custom resources whose versions a webhook converts: v1 says spec.size, v2 spec.dimensions.size."""
import base64
import json

import cluster
from backend import Authority, Backend
from throwaway_cluster import MASTER_IP

PORT, GROUP = 9445, "sizes.example.com"
# Converts boxes between v1 and v2; what it was asked stands on its standard output. The annotation
# "break" says how the next answer is wrong.
SERVER = r"""
def admit(request):
    box = request["object"]
    colour = f"seen-in-{box['apiVersion'].split('/')[1]}-with-{box['spec'].get('size')}"
    patch = json.dumps([{"op": "add", "path": "/spec/colour", "value": colour}]).encode()
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
        "uid": request["uid"], "allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(patch).decode()}}
def convert(box, version):
    spec = box["spec"]
    size = spec.pop("size", None) if "size" in spec else spec.pop("dimensions", {}).get("size")
    if size is not None:
        if version.endswith("/v1"): spec["size"] = size
        else: spec["dimensions"] = {"size": size}
    box["apiVersion"] = version
    labels = box["metadata"].setdefault("labels", {})
    labels["converted-to"] = version.split("/")[1]
    box["metadata"]["finalizers"] = ["example.com/not-mine"]
    return box
class Handler(JsonHandler):
    def do_POST(self):
        review = json.loads(self.body())
        request = review["request"]
        if review["kind"] == "AdmissionReview": return self.answer(admit(request))
        version, boxes = request["desiredAPIVersion"], request["objects"]
        print(json.dumps([version.split("/")[1], [b["metadata"]["name"] for b in boxes]]), flush=True)
        broken = {b["metadata"].get("annotations", {}).get("break") for b in boxes}
        response = {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": [convert(b, version) for b in boxes]}
        if "fails" in broken: response["result"] = {"status": "Failure", "message": "no such size"}
        if "uid" in broken: response["uid"] = "another"
        if "count" in broken: response["convertedObjects"].pop()
        for box in response["convertedObjects"]:
            if "version" in broken: box["apiVersion"] = "sizes.example.com/v9"
            if "name" in broken: box["metadata"]["name"] = "other"
        self.answer({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response})
"""


def version(name, size, **more):
    spec = {"type": "object", "properties": {**size, "colour": {"type": "string"}}}
    return {"name": name, "served": True, "storage": False, **more,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": {
                "type": "object", "properties": {"phase": {"type": "string"}}}}}},
            "subresources": {"status": {}},
            "additionalPrinterColumns": [{"name": f"Size-{name}", "type": "integer",
                                          "jsonPath": ".spec.size" if name == "v1" else ".spec.dimensions.size"}]}


def definition(ca, **webhook):
    number = {"size": {"type": "integer", "maximum": 100}}
    inner = {"dimensions": {"type": "object", "properties": number}, "shape": {"type": "string", "default": "cube"}}
    config = {"url": f"https://{MASTER_IP}:{PORT}/convert", "caBundle": base64.b64encode(ca).decode()}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"boxes.{GROUP}"},
            "spec": {"group": GROUP, "scope": "Namespaced", "names": {"plural": "boxes", "singular": "box", "kind": "Box"},
                     "versions": [version("v1", number, storage=True), version("v2", inner)],
                     "conversion": {"strategy": "Webhook", "webhook": {
                         "conversionReviewVersions": ["v1"], "clientConfig": config, **webhook}}}}


def box(name, api="v1", annotations=None, **spec):
    return {"apiVersion": f"{GROUP}/{api}", "kind": "Box", "metadata": {"name": name, **({"annotations": annotations} if annotations else {})}, "spec": spec}


class Conversion(cluster.ClusterTest):
    load = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority()
        cls.addClassCleanup(cls.authority.cleanup)
        cls.backend = Backend(cls.cluster.netns, SERVER, PORT, cls.authority.sign(f"IP:{MASTER_IP}"))
        cls.addClassCleanup(cls.backend.kill)

    def setUp(self):
        super().setUp()
        self.define(definition(self.authority.ca))
        self.wait("condition=Established", f"crd/boxes.{GROUP}")
        self.path = f"/apis/{GROUP}/{{}}/namespaces/{self.ns}/boxes"

    def tearDown(self):
        super().tearDown()
        self.kubectl("delete", "crd", f"boxes.{GROUP}", "--timeout=60s", namespace=None)

    def define(self, crd):
        self.kubectl("apply", "-f", "-", input=crd, namespace=None)

    def make(self, *boxes):
        for each in boxes:
            self.kubectl("create", "-f", "-", input=each)

    def read(self, version, name):
        status, body = self.api.request("GET", self.path.format(version) + "/" + name)
        self.assertEqual(status, 200, body)
        return body

    def asked(self):
        """What the webhook was asked since the last call: [version, names] each. A marker ends it."""
        self.make(box("marker", api="v2", dimensions={"size": 1}))
        out = []
        while True:
            line = json.loads(self.backend.process.stdout.readline())
            if "marker" in line[1]:
                break
            out.append(line)
        if line[0] == "v1":  # kubectl's answer shows it in v2 again
            json.loads(self.backend.process.stdout.readline())
        self.kubectl("delete", f"boxes.v1.{GROUP}", "marker")
        return out

    def test_served_in_both_versions(self):
        self.make(box("a", size=3), box("b", api="v2", dimensions={"size": 4}, colour="red"))
        self.assertEqual(self.read("v2", "a")["spec"], {"dimensions": {"size": 3}, "shape": "cube"})
        stored = self.read("v1", "b")
        self.assertEqual(stored["spec"], {"size": 4, "colour": "red"})
        self.assertEqual(stored["metadata"]["labels"], {"converted-to": "v1"})
        self.assertNotIn("finalizers", stored["metadata"])  # only labels and annotations are the webhook's
        self.assertEqual(self.read("v2", "b")["metadata"]["resourceVersion"], stored["metadata"]["resourceVersion"])
        self.assertRegex(self.kubectl("get", f"boxes.v2.{GROUP}").stdout, r"NAME +SIZE-V2\na +3\nb +4\n")
        self.assertRegex(self.kubectl("get", f"boxes.v1.{GROUP}").stdout, r"NAME +SIZE-V1\na +3\nb +4\n")
        self.assertEqual(self.api.get(self.path.format("v2"))["items"][0]["apiVersion"], f"{GROUP}/v2")

    def test_a_list_is_one_review_and_each_change_one_conversion(self):
        self.make(*(box(f"n{i}", size=i) for i in range(4)))
        self.asked()
        items = self.api.get(self.path.format("v2"))["items"]
        self.assertEqual([i["spec"]["dimensions"]["size"] for i in items], [0, 1, 2, 3])
        for _ in range(3):
            self.api.get(self.path.format("v2"))
            self.read("v2", "n1")
        self.kubectl("patch", f"boxes.v1.{GROUP}", "n1", "--type=merge", "-p", '{"spec":{"size":9}}')
        self.api.get(self.path.format("v2"))
        self.api.get(self.path.format("v2"))
        self.assertEqual(self.asked(), [["v2", ["n0", "n1", "n2", "n3"]], ["v2", ["n1"]]])

    def test_writes_in_the_other_version(self):
        self.make(box("a", size=3))
        self.kubectl("patch", f"boxes.v2.{GROUP}", "a", "--type=merge", "-p", '{"spec":{"dimensions":{"size":5}}}')
        self.kubectl("patch", f"boxes.v2.{GROUP}", "a", "--type=json", "-p", '[{"op":"add","path":"/spec/colour","value":"blue"}]')
        self.assertEqual(self.read("v1", "a")["spec"], {"size": 5, "colour": "blue"})
        self.kubectl("replace", "-f", "-", input=box("a", api="v2", dimensions={"size": 6}))
        self.assertEqual((self.read("v1", "a")["spec"], self.read("v1", "a")["metadata"]["generation"]), ({"size": 6}, 4))
        self.kubectl("patch", f"boxes.v2.{GROUP}", "a", "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Done"}}')
        self.assertEqual(self.read("v1", "a")["status"], {"phase": "Done"})
        for version, bad in (("v2", '{"spec":{"dimensions":{"size":101}}}'), ("v1", '{"spec":{"size":101}}')):
            done = self.kubectl("patch", f"boxes.{version}.{GROUP}", "a", "--type=merge", "-p", bad, check=False)
            self.assertIn("should be less than or equal to 100", done.stderr)
        before = self.read("v2", "a")["metadata"]["resourceVersion"]
        self.assertIn("no change", self.kubectl("patch", f"boxes.v2.{GROUP}", "a", "--type=merge", "-p", '{"spec":{"shape":"cube"}}').stdout)
        self.assertEqual(self.read("v2", "a")["metadata"]["resourceVersion"], before)  # nothing changed

    def test_server_side_apply(self):
        def apply(manager, **spec):
            return self.kubectl("apply", "--server-side", f"--field-manager={manager}", "-f", "-", input=box("a", api="v2", **spec), check=False)
        self.assertEqual(apply("one", dimensions={"size": 3}, colour="red").returncode, 0)
        self.assertEqual(self.read("v1", "a")["spec"]["size"], 3)
        done = apply("two", dimensions={"size": 4})
        self.assertIn('conflict with "one"', done.stderr)
        self.assertEqual(apply("one", dimensions={"size": 7}).returncode, 0)  # gives the colour up
        self.assertEqual(self.read("v1", "a")["spec"], {"size": 7})

    def test_watch(self):
        self.make(box("a", size=1))
        seen = self.api.get(self.path.format("v2"))

        def sizes(items):
            return {name: item["spec"]["dimensions"]["size"] for name, item in items.items()}
        self.assertEqual(sizes({i["metadata"]["name"]: i for i in seen["items"]}), {"a": 1})
        connection = self.api.connect()
        self.addCleanup(connection.close)
        connection.request("GET", self.path.format("v2") + "?watch=1&resourceVersion=" + seen["metadata"]["resourceVersion"])
        response = connection.getresponse()
        self.make(box("b", size=2))
        self.kubectl("patch", f"boxes.v1.{GROUP}", "a", "--type=merge", "-p", '{"spec":{"size":8}}')
        self.kubectl("delete", f"boxes.v1.{GROUP}", "b")
        events = [json.loads(response.readline()) for _ in range(3)]
        self.assertEqual([(e["type"], e["object"]["apiVersion"], e["object"]["metadata"]["name"], e["object"]["spec"]["dimensions"]["size"]) for e in events],
                         [("ADDED", f"{GROUP}/v2", "b", 2), ("MODIFIED", f"{GROUP}/v2", "a", 8), ("DELETED", f"{GROUP}/v2", "b", 2)])
        versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
        self.assertEqual(versions, sorted(set(versions)))

    def test_an_admission_webhook_for_the_other_version(self):
        config = {"url": f"https://{MASTER_IP}:{PORT}/admit", "caBundle": base64.b64encode(self.authority.ca).decode()}
        self.kubectl("create", "-f", "-", namespace=None, input={
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": "boxes"},
            "webhooks": [{"name": "boxes.hook.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": config,
                          "rules": [{"apiGroups": [GROUP], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["boxes"]}]}]})
        self.addCleanup(self.kubectl, "delete", "mutatingwebhookconfiguration", "boxes", namespace=None)
        self.make(box("a", api="v2", dimensions={"size": 4}), box("b", size=5))
        self.assertEqual(self.read("v1", "a")["spec"], {"size": 4, "colour": "seen-in-v1-with-4"})
        self.assertEqual(self.read("v2", "a")["spec"], {"dimensions": {"size": 4}, "colour": "seen-in-v1-with-4", "shape": "cube"})
        self.assertEqual(self.read("v1", "b")["spec"], {"size": 5, "colour": "seen-in-v1-with-5"})

    def test_a_new_storage_version(self):
        self.make(box("old", size=1))
        crd = definition(self.authority.ca)
        crd["spec"]["versions"][0]["storage"], crd["spec"]["versions"][1]["storage"] = False, True
        self.define(crd)
        self.until(self.path.format("v2"), lambda items: items["old"]["spec"].get("dimensions") == {"size": 1})
        self.assertEqual(self.read("v1", "old")["spec"], {"size": 1})
        self.kubectl("patch", f"boxes.v1.{GROUP}", "old", "--type=merge", "-p", '{"spec":{"size":2}}')
        self.make(box("new", size=3))
        self.cluster.restart("master")
        self.assertEqual([i["spec"].get("size") for i in self.api.get(self.path.format("v1"))["items"]], [3, 2])
        self.assertEqual([i["spec"].get("dimensions") for i in self.api.get(self.path.format("v2"))["items"]], [{"size": 3}, {"size": 2}])

    def test_failures_in_kubernetes_words(self):
        text = f"conversion webhook for {GROUP}/v1, Kind=Box "
        self.make(*(box(word, size=1, annotations={"break": word}) for word in ("fails", "uid", "count", "version", "name")))
        for name, message in (("fails", "failed: no such size"), ("uid", 'failed: expected response.uid="'), ("count", "returned 0 objects, expected 1"),
                              ("version", f"returned invalid converted object at index 0: invalid groupVersion (expected {GROUP}/v2, received {GROUP}/v9)"),
                              ("name", "returned invalid converted object at index 0: must have the same name: name != other")):
            status, body = self.api.request("GET", self.path.format("v2") + "/" + name)
            self.assertEqual((status, body["kind"]), (500, "Status"))
            self.assertIn(text + message, body["message"])
        self.assertEqual(self.api.request("GET", self.path.format("v2"))[0], 500)
        self.assertEqual(len(self.api.get(self.path.format("v1"))["items"]), 5)  # stored in it: nobody is asked
        status, body = self.api.request("POST", self.path.format("v2"), box("x", api="v2", annotations={"break": "fails"}, dimensions={"size": 1}))
        self.assertEqual((status, f"{GROUP}/v2, Kind=Box failed: no such size" in body["message"]), (500, True))
        self.assertEqual(self.api.request("GET", self.path.format("v1") + "/x")[0], 404)
        self.kubectl("delete", f"boxes.v1.{GROUP}", "--all")  # and in it they go

    def test_what_is_refused(self):
        crd = definition(self.authority.ca)
        for change, words in (({"conversionReviewVersions": ["v2"]}, "must include at least one of v1, v1beta1"),
                              ({"clientConfig": {"url": "http://x/"}}, "'https' is the only allowed URL scheme"),
                              ({"clientConfig": None}, "required when strategy is set to Webhook")):
            bad = json.loads(json.dumps(crd))
            bad["spec"]["conversion"]["webhook"].update(change)
            done = self.kubectl("apply", "-f", "-", input=bad, namespace=None, check=False)
            self.assertIn(words, done.stderr)
        service = {"service": {"namespace": "default", "name": "c"}}
        crd["spec"]["conversion"]["webhook"]["clientConfig"] = service
        self.define(crd)
        made = json.loads(self.kubectl("get", "crd", f"boxes.{GROUP}", "-o", "json", namespace=None).stdout)
        self.assertEqual(made["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["port"], 443)


if __name__ == "__main__":
    cluster.main()
