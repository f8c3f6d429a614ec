#!/usr/bin/python3
"""Custom resources as seen through kubectl: definitions, schemas, versions, owners, deletion."""
import json

import cluster

TABS = "/apis/stable.example.com/v1/namespaces/{ns}/crontabs"


def definition(group="stable.example.com", plural="crontabs", kind="CronTab", **version):
    schema = {"type": "object", "description": "A time table.", "properties": {
        "spec": {"type": "object", "description": "What is wanted.", "required": ["cronSpec"], "properties": {
            "cronSpec": {"type": "string", "description": "When it runs.", "pattern": r"^(\d+|\*)(\s+(\d+|\*)){4}$"},
            "image": {"type": "string", "default": "busybox"},
            "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                      "items": {"type": "object", "required": ["name"], "properties": {
                          "name": {"type": "string"}, "port": {"x-kubernetes-int-or-string": True}}}}}},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"},
                                                    "selector": {"type": "string"}}}}}
    one = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
           "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                                                    "statusReplicasPath": ".status.replicas",
                                                    "labelSelectorPath": ".status.selector"}},
           "additionalPrinterColumns": [
               {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
               {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
               {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
           "selectableFields": [{"jsonPath": ".spec.image"}], **version}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {"group": group, "scope": "Namespaced", "versions": [one],
                     "names": {"plural": plural, "singular": kind.lower(), "kind": kind,
                               "shortNames": [plural[0] + plural[-1] + kind[-1].lower()], "categories": ["all"]}}}


def tab(name, cron="* * * * 5", **spec):
    return {"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name},
            "spec": {"cronSpec": cron, **spec}}


class CustomResources(cluster.ClusterTest):
    load = ()

    def setUp(self):
        super().setUp()
        self.kubectl("apply", "-f", "-", input=definition(), namespace=None)
        self.wait("condition=Established", "crd/crontabs.stable.example.com")

    def tearDown(self):
        super().tearDown()
        self.kubectl("delete", "crd", "--all", "--timeout=60s", namespace=None)

    def test_create_get_explain_edit(self):
        self.apply(tab("a"))
        # The same through every name that discovery gives it.
        for name in ("crontabs", "crontab", "CronTab", "csb", "crontabs.stable.example.com", "crontabs.v1.stable.example.com"):
            self.assertRegex(self.kubectl("get", name).stdout, r"NAME +SPEC +REPLICAS +AGE\na +\* \* \* \* 5 +1 +\d+s")
        self.assertIn("crontab.stable.example.com/a", self.kubectl("get", "all").stdout)
        self.assertIn("When it runs.", self.kubectl("explain", "crontabs.spec.cronSpec").stdout)
        self.assertIn("cronSpec\t<string> -required-", self.kubectl("explain", "crontab.spec").stdout)
        self.assertEqual(self.jsonpath("{.spec.image}", "crontab", "a"), "busybox")
        # apply computes its patch from the last applied manifest.
        self.apply(tab("a", replicas=3, ports=[{"name": "http", "port": 80}]))
        self.apply(tab("a", replicas=4))
        item = self.get("crontab", "a")
        self.assertEqual((item["spec"]["replicas"], "ports" in item["spec"], item["metadata"]["generation"]), (4, False, 3))
        self.assertEqual(self.kubectl("get", "crontabs", "--field-selector", "spec.image=busybox", "-o", "name").stdout,
                         "crontab.stable.example.com/a\n")
        self.kubectl("scale", "crontab", "a", "--replicas=2")
        self.assertEqual(self.jsonpath("{.spec.replicas}", "crontab", "a"), "2")
        self.assertIn("crontabs", self.kubectl("api-resources", "--api-group=stable.example.com").stdout)

    def test_refusals_in_kubernetes_words(self):
        done = self.kubectl("apply", "-f", "-", input=tab("bad", cron="often", replicas=15), check=False)
        self.assertIn('The CronTab "bad" is invalid', done.stderr)
        self.assertIn("spec.cronSpec in body should match", done.stderr)
        self.assertIn("spec.replicas: Invalid value: 15: spec.replicas in body should be less than or equal to 10", done.stderr)
        done = self.kubectl("apply", "-f", "-", input=tab("bad", colour="red"), check=False)
        self.assertIn('strict decoding error: unknown field "spec.colour"', done.stderr)
        done = self.kubectl("apply", "--validate=false", "-f", "-", input=tab("pruned", colour="red"))
        self.assertNotIn("colour", self.get("crontab", "pruned")["spec"])

    def test_cel_rules(self):
        ruled = definition(plural="ruled", kind="Ruled")
        spec = ruled["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["x-kubernetes-validations"] = [
            {"rule": "self.replicas % 2 == 0", "messageExpression": "'%d is odd'.format([self.replicas])"},
            {"rule": "!has(oldSelf.cronSpec) || self.cronSpec == oldSelf.cronSpec", "message": "cronSpec is immutable", "reason": "FieldValueForbidden",
             "fieldPath": ".cronSpec"}]
        wrong = json.loads(json.dumps(ruled))
        wrong["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] = [{"rule": "self.nope > 1"}]
        done = self.kubectl("apply", "-f", "-", input=wrong, namespace=None, check=False)
        self.assertIn("undefined field 'nope'", done.stderr)
        self.kubectl("apply", "-f", "-", input=ruled, namespace=None)
        self.wait("condition=Established", "crd/ruled.stable.example.com")
        done = self.kubectl("apply", "-f", "-", input=dict(tab("a", replicas=3), kind="Ruled"), check=False)
        self.assertIn("spec: Invalid value: 3 is odd", done.stderr)
        self.kubectl("apply", "-f", "-", input=dict(tab("a", replicas=4, cron="* * * * 1"), kind="Ruled"))
        done = self.kubectl("apply", "-f", "-", input=dict(tab("a", replicas=4, cron="* * * * 2"), kind="Ruled"), check=False)
        self.assertIn("spec.cronSpec: Forbidden: cronSpec is immutable", done.stderr)
        self.kubectl("scale", "ruled", "a", "--replicas=6")
        done = self.kubectl("scale", "ruled", "a", "--replicas=7", check=False)
        self.assertIn("7 is odd", done.stderr)

    def test_server_side_apply_by_list_key(self):
        def apply(manager, **spec):
            return self.kubectl("apply", "--server-side", f"--field-manager={manager}", "-f", "-", input=tab("a", **spec))
        apply("one", ports=[{"name": "http", "port": 80}])
        apply("two", ports=[{"name": "dns", "port": "dns"}])
        self.assertEqual(sorted(p["name"] for p in self.get("crontab", "a")["spec"]["ports"]), ["dns", "http"])
        apply("two")
        self.assertEqual([p["name"] for p in self.get("crontab", "a")["spec"]["ports"]], ["http"])

    def test_versions(self):
        both = definition()
        newer = json.loads(json.dumps(both["spec"]["versions"][0]))
        newer.update({"name": "v2", "storage": False})
        newer["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["colour"] = {"type": "string", "default": "red"}
        both["spec"]["versions"].append(newer)
        self.apply(tab("a"))
        self.kubectl("apply", "-f", "-", input=both, namespace=None)
        newer_tabs = TABS.replace("/v1/", "/v2/")
        # A version is served a moment after it is written.
        self.assertTrue(any(self.kubectl("get", "--raw", newer_tabs.format(ns=self.ns), check=False).returncode == 0 for _ in range(200)))
        self.until(newer_tabs, lambda items: items["a"]["spec"].get("colour") == "red")
        self.assertEqual(self.jsonpath("{.apiVersion}", "crontabs.v1.stable.example.com", "a"), "stable.example.com/v1")
        self.assertEqual(self.jsonpath("{.apiVersion}", "crontabs.v2.stable.example.com", "a"), "stable.example.com/v2")

    def test_owners_and_the_collector(self):
        self.apply(tab("owner"))
        uid = self.jsonpath("{.metadata.uid}", "crontab", "owner")
        owned = {"ownerReferences": [{"apiVersion": "stable.example.com/v1", "kind": "CronTab", "name": "owner", "uid": uid}]}
        child = tab("child")
        child["metadata"].update(owned)
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "child", **owned}}
        self.apply(child, config)
        self.kubectl("delete", "crontab", "owner")
        self.kubectl("wait", "--for=delete", "--timeout=60s", "crontab/child", "configmap/child")

    def test_a_namespace_takes_them_along(self):
        self.apply(tab("a"))
        self.kubectl("delete", "namespace", self.ns, "--timeout=60s", namespace=None)
        self.kubectl("create", "namespace", self.ns, namespace=None)
        self.assertEqual(self.get("crontabs")["items"], [])

    def test_deleting_the_definition(self):
        held = tab("held")
        held["metadata"]["finalizers"] = ["example.com/hold"]
        self.apply(tab("a"), held)
        self.kubectl("delete", "crd", "crontabs.stable.example.com", "--wait=false", namespace=None)
        self.until(TABS, lambda items: set(items) == {"held"})
        self.assertIn("InstanceDeletionInProgress", self.kubectl("get", "crd", "crontabs.stable.example.com", "-o", "yaml", namespace=None).stdout)
        self.kubectl("patch", "crontab", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        self.kubectl("wait", "--for=delete", "crd/crontabs.stable.example.com", "--timeout=60s", namespace=None)
        self.assertNotEqual(self.kubectl("get", "crontabs", check=False).returncode, 0)

    def test_api_services(self):
        def available(items):
            return all(c["status"] == "True" for item in items.values() for c in item["status"]["conditions"])
        self.until("/apis/apiregistration.k8s.io/v1/apiservices", lambda items:
                   "v1.stable.example.com" in items and {"v1.", "v1.apps", "v2.autoscaling"} <= set(items) and available(items))

    def test_restart_of_the_master(self):
        self.apply(tab("a", replicas=3))
        before = self.get("crontab", "a")
        self.cluster.restart("master")
        self.assertEqual(self.get("crontab", "a"), before)


if __name__ == "__main__":
    cluster.main()
