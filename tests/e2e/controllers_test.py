#!/usr/bin/python3
"""Controllers as seen through kubectl: ReplicationController, ReplicaSet, Deployment, garbage
collection by owner, namespaces."""
import json

import cluster
from cluster import BUSYBOX, is_ready, pod

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"]
PODS = "/api/v1/namespaces/{ns}/pods"


def template(labels, env="1"):
    return {"metadata": {"labels": labels}, "spec": {
        "terminationGracePeriodSeconds": 1, "containers": [
            {"name": "c", "image": BUSYBOX, "command": SLEEP,
             "env": [{"name": "VERSION", "value": env}]}]}}


def controller(name, replicas, labels=None):
    labels = labels or {"app": name}
    return {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": labels, "template": template(labels)}}


def deployment(name, replicas=3, env="1", **strategy):
    labels = {"app": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                     "template": template(labels, env), **strategy}}


class Controllers(cluster.ClusterTest):
    def settled(self, count, selector="", seconds=60):
        """Exactly `count` Pods, all Ready, none ending."""
        def good(items):
            return len(items) == count and all(
                is_ready(p) and "deletionTimestamp" not in p["metadata"] for p in items.values())
        path = PODS + (f"?labelSelector={selector}" if selector else "")
        return self.until(path, good, seconds, f"{count} Pods of {selector or 'the namespace'}")

    def test_adopts_releases_and_removes_the_surplus(self):
        orphan = pod("orphan", *SLEEP, labels={"app": "rc"})
        self.apply(orphan)
        self.wait("condition=Ready", "pod/orphan")
        self.apply(controller("rc", 3))
        pods = self.settled(3, "app%3Drc")
        self.assertIn("orphan", pods, "a Pod that matches was not adopted")
        owner = self.get("pod", "orphan")["metadata"]["ownerReferences"][0]
        self.assertEqual((owner["kind"], owner["name"], owner["controller"]),
                         ("ReplicationController", "rc", True))
        # Its label taken away: released, and replaced.
        self.kubectl("label", "pod", "orphan", "app-")
        pods = self.settled(3, "app%3Drc")
        self.assertNotIn("orphan", pods)
        self.until(PODS, lambda items: not items["orphan"]["metadata"].get("ownerReferences"), 15)
        # It comes back: one too many, one goes.
        self.kubectl("label", "pod", "orphan", "app=rc")
        self.settled(3, "app%3Drc")

    def test_scale_subresource_and_status(self):
        self.apply(controller("rc", 1))
        self.settled(1)
        self.kubectl("scale", "rc", "rc", "--current-replicas=1", "--replicas=4")
        self.settled(4)
        done = self.kubectl("scale", "rc", "rc", "--current-replicas=9", "--replicas=1", check=False)
        self.assertIn("Expected replicas to be 9, was 4", done.stderr)
        self.until("/api/v1/namespaces/{ns}/replicationcontrollers", lambda items:
                   items["rc"]["status"].get("readyReplicas") == 4
                   and items["rc"]["status"]["observedGeneration"] == items["rc"]["metadata"]["generation"])
        scale = json.loads(self.kubectl(
            "get", "--raw", f"/api/v1/namespaces/{self.ns}/replicationcontrollers/rc/scale").stdout)
        self.assertEqual((scale["kind"], scale["spec"]["replicas"], scale["status"]["replicas"],
                          scale["status"]["selector"]), ("Scale", 4, 4, "app=rc"))
        self.kubectl("scale", "rc", "rc", "--replicas=0")
        self.until(PODS, lambda items: not items)

    def test_rollout_history_and_undo(self):
        self.apply(deployment("d"))
        self.kubectl("rollout", "status", "deployment/d", "--timeout=60s")
        first = set(self.settled(3))
        self.apply(deployment("d", env="2"))
        self.kubectl("rollout", "status", "deployment/d", "--timeout=60s")
        second = set(self.settled(3))
        self.assertFalse(first & second)
        self.assertEqual(self.exec(sorted(second)[0], "sh", "-c", "echo $VERSION").stdout, "2\n")
        self.kubectl("rollout", "undo", "deployment/d")
        self.kubectl("rollout", "status", "deployment/d", "--timeout=60s")
        third = self.settled(3)
        self.assertEqual(self.exec(sorted(third)[0], "sh", "-c", "echo $VERSION").stdout, "1\n")
        sets = self.get("replicasets")["items"]
        self.assertEqual(len(sets), 2, "undo did not go back to the first ReplicaSet")
        self.assertEqual(sorted(s["spec"]["replicas"] for s in sets), [0, 3])
        history = self.kubectl("rollout", "history", "deployment/d").stdout
        self.assertRegex(history, r"(?m)^2\b[\s\S]*^3\b")

    def test_a_rollout_that_cannot_work_keeps_the_old_pods(self):
        bad = deployment("d", env="2", strategy={"type": "RollingUpdate", "rollingUpdate": {
            "maxSurge": 1, "maxUnavailable": 0}}, progressDeadlineSeconds=5)
        good = json.loads(json.dumps(bad))
        good["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "1"
        self.apply(good)
        self.kubectl("rollout", "status", "deployment/d", "--timeout=60s")
        before = set(self.settled(3))
        bad["spec"]["template"]["spec"]["containers"][0]["image"] = "test/absent:1"
        bad["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Never"
        self.apply(bad)
        done = self.kubectl("rollout", "status", "deployment/d", "--timeout=60s", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("exceeded its progress deadline", done.stderr + done.stdout)
        ready = {name for name, p in self.until(PODS, lambda items: True).items() if is_ready(p)}
        self.assertEqual(ready, before)
        self.kubectl("annotate", "deployment", "d", "sampan.io/rollback-on-deadline=true")
        image = good["spec"]["template"]["spec"]["containers"][0]["image"]
        self.wait(f"jsonpath={{.spec.template.spec.containers[0].image}}={image}", "deployment/d")
        self.wait("condition=Progressing", "deployment/d")
        self.assertEqual(set(self.settled(3)), before, "those that served still do")
        self.assertIn('Rolled back deployment "d" to revision 1', self.kubectl("get", "events").stdout)

    def test_recreate(self):
        self.apply(deployment("d", 2, strategy={"type": "Recreate"}))
        first = set(self.settled(2))
        self.apply(deployment("d", 2, env="2", strategy={"type": "Recreate"}))
        self.kubectl("rollout", "status", "deployment/d", "--timeout=60s")
        self.assertFalse(first & set(self.settled(2)))

    def test_deleting_the_owner_deletes_the_owned(self):
        self.apply(deployment("d", 2))
        self.settled(2)
        self.kubectl("delete", "deployment", "d")
        self.until(PODS, lambda items: not items)
        self.until("/apis/apps/v1/namespaces/{ns}/replicasets", lambda items: not items)

    def test_orphans_stay(self):
        self.apply(controller("rc", 2))
        self.settled(2)
        self.kubectl("delete", "rc", "rc", "--cascade=orphan")
        pods = self.until(PODS, lambda items: len(items) == 2 and not any(
            p["metadata"].get("ownerReferences") for p in items.values()), 20)
        self.assertFalse([p for p in pods.values() if "deletionTimestamp" in p["metadata"]])

    def test_a_replication_controller_orphans_by_default(self):
        self.apply(controller("rc", 2))
        self.settled(2)
        # kubectl always says a policy; the API's own default is that of v1.
        self.kubectl("delete", "--raw", f"/api/v1/namespaces/{self.ns}/replicationcontrollers/rc")
        self.until("/api/v1/namespaces/{ns}/replicationcontrollers", lambda items: not items, 20)
        pods = self.until(PODS, lambda items: len(items) == 2 and not any(
            p["metadata"].get("ownerReferences") for p in items.values()), 20)
        self.assertFalse([p for p in pods.values() if "deletionTimestamp" in p["metadata"]])

    def owned_by(self, kind, name, version="v1", **more):
        uid = self.jsonpath("{.metadata.uid}", kind, name)
        return [{"apiVersion": version, "kind": kind, "name": name, "uid": uid, **more}]

    def test_what_is_owned_goes_whatever_its_kind(self):
        self.kubectl("create", "configmap", "owner")
        owners = self.owned_by("ConfigMap", "owner")
        objects = {
            "rbac.authorization.k8s.io/v1 Role roles": {"rules": []},
            "networking.k8s.io/v1 NetworkPolicy networkpolicies": {"spec": {"podSelector": {}}},
            "networking.k8s.io/v1 Ingress ingresses": {"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}},
            "v1 PersistentVolumeClaim persistentvolumeclaims": {"spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
            "batch/v1 Job jobs": {"spec": {"suspend": True, "template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "c", "image": BUSYBOX}]}}}},
            "policy/v1 PodDisruptionBudget poddisruptionbudgets": {"spec": {"minAvailable": 1}}}
        for key, body in objects.items():
            version, kind, _ = key.split()
            # Not by self.apply(): of some of these kinds the server warns that nothing acts on them yet.
            done = self.kubectl("apply", "-f", "-", check=False, input={
                "apiVersion": version, "kind": kind, "metadata": {"name": "owned", "ownerReferences": owners}, **body})
            self.assertEqual(done.returncode, 0, done.stderr)
        paths = [f"/{'api' if '/' not in key.split()[0] else 'apis'}/{key.split()[0]}/namespaces/{{ns}}/{key.split()[2]}" for key in objects]
        for path in paths:
            self.until(path, lambda items: "owned" in items, 15)
        self.kubectl("delete", "configmap", "owner")
        for path in paths:
            self.until(path, lambda items: "owned" not in items, 15)

    def test_a_circle_of_owners_holds_up_no_deletion(self):
        for name in ("a", "b"):
            self.kubectl("create", "configmap", name)
        for name, owner in (("a", "b"), ("b", "a")):
            self.kubectl("patch", "configmap", name, "--type=merge", "-p", json.dumps(
                {"metadata": {"ownerReferences": self.owned_by("ConfigMap", owner, blockOwnerDeletion=True)}}))
        self.apply({**pod("p", *SLEEP), "metadata": {"name": "p", "ownerReferences": self.owned_by("ConfigMap", "a", blockOwnerDeletion=True)}})
        self.kubectl("delete", "configmap", "a", "--cascade=foreground", "--wait=false")
        self.until("/api/v1/namespaces/{ns}/configmaps", lambda items: not {"a", "b"} & set(items), 20)
        self.until(PODS, lambda items: not items, 20)

    def test_foreground_waits_for_the_owned(self):
        self.apply(controller("rc", 2))
        self.settled(2)
        self.kubectl("delete", "rc", "rc", "--cascade=foreground")
        self.assertEqual(self.get("pods")["items"], [])

    def test_a_namespace_goes_with_everything_in_it(self):
        self.kubectl("create", "namespace", "going", namespace=None)
        self.kubectl("create", "configmap", "c", namespace="going")
        self.kubectl("apply", "-f", "-", input=controller("rc", 2), namespace="going")
        self.until("/api/v1/namespaces/going/pods", lambda items: sum(map(is_ready, items.values())) == 2)
        self.kubectl("delete", "namespace", "going", namespace=None)
        done = self.kubectl("get", "namespace", "going", namespace=None, check=False)
        self.assertIn("not found", done.stderr)
        done = self.kubectl("create", "configmap", "late", namespace="going", check=False)
        self.assertIn("not found", done.stderr)

    def test_pods_of_a_namespace_go_before_what_guards_them(self):
        self.kubectl("create", "namespace", "guarded", namespace=None)
        self.kubectl("create", "configmap", "guard", namespace="guarded")
        held = pod("held", *SLEEP)
        held["metadata"]["finalizers"] = ["example.com/held"]
        self.kubectl("apply", "-f", "-", input=held, namespace="guarded")
        self.kubectl("delete", "namespace", "guarded", "--wait=false", namespace=None)

        def said(namespace):
            return {c["type"]: (c["status"], c["reason"], c["message"])
                    for c in namespace["status"].get("conditions", [])}
        says = said(self.until("/api/v1/namespaces", lambda items: said(items["guarded"]).get(
            "NamespaceFinalizersRemaining", ("",))[0] == "True", 20)["guarded"])
        self.assertEqual(says["NamespaceFinalizersRemaining"],
                         ("True", "SomeFinalizersRemain", "Some content in the namespace has finalizers "
                          "remaining: example.com/held in 1 resource instances"))
        self.assertEqual(says["NamespaceContentRemaining"],
                         ("True", "SomeResourcesRemain",
                          "Some resources are remaining: pods. has 1 resource instances"))
        self.assertEqual(says["NamespaceDeletionContentFailure"][:2], ("False", "ContentDeleted"))
        self.kubectl("get", "configmap", "guard", namespace="guarded")
        self.kubectl("patch", "pod", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}',
                     namespace="guarded")
        self.kubectl("wait", "--for=delete", "namespace/guarded", "--timeout=20s", namespace=None)

    def test_a_deleted_pod_of_a_node_out_of_service_goes(self):
        self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "off"}})
        try:
            self.kubectl("taint", "node", "off", "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
                         namespace=None)
            there = pod("there", *SLEEP)
            there["spec"]["nodeName"] = "off"
            there["spec"]["tolerations"] = [{"operator": "Exists"}]
            self.apply(there)
            # Nobody on that node ends it; a finalizer lets us see how it ended.
            self.kubectl("patch", "pod", "there", "--type=merge", "-p",
                         '{"metadata":{"finalizers":["example.com/seen"]}}')
            self.kubectl("delete", "pod", "there", "--wait=false")
            self.until(PODS, lambda items: items["there"]["status"]["phase"] == "Failed", 20)
            self.kubectl("patch", "pod", "there", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
            self.kubectl("wait", "--for=delete", "pod/there", "--timeout=20s")
        finally:
            self.kubectl("delete", "node", "off", "--ignore-not-found", namespace=None)

    def test_every_namespace_gets_an_account(self):
        self.until("/api/v1/namespaces/{ns}/serviceaccounts", lambda items: "default" in items, 15)
        self.until("/api/v1/namespaces/{ns}/configmaps", lambda items: "kube-root-ca.crt" in items, 15)


if __name__ == "__main__":
    cluster.main()
