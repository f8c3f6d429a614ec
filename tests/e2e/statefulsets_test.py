#!/usr/bin/python3
"""StatefulSets on three nodes as seen through kubectl: names and numbers that stay, order, DNS names, updates with a
partition, history and undo, what failed, and claims as objects of the API."""
import time

import cluster
from cluster import BUSYBOX, is_ready, pod

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"]
SERVE = ["sh", "-c", "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www"]
SETS = "/apis/apps/v1/namespaces/{ns}/statefulsets"
PODS = "/api/v1/namespaces/{ns}/pods"
CLAIMS = "/api/v1/namespaces/{ns}/persistentvolumeclaims"


def stateful_set(name="web", replicas=3, version="1", command=SLEEP, container=None, **spec):
    labels = {"app": name}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": {
        "serviceName": "nginx", "replicas": replicas, "selector": {"matchLabels": labels}, **spec,
        "template": {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [
            {"name": "c", "image": BUSYBOX, "command": command, "env": [{"name": "VERSION", "value": version}], **(container or {})}]}}}}


def headless(**spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "nginx"},
            "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80, "name": "http"}], **spec}}


def version(found):
    return found["spec"]["containers"][0]["env"][0]["value"]


class StatefulSets(cluster.ClusterTest):
    nodes = 3

    def settled(self, names, seconds=60, name="web"):
        def good(items):
            return set(items) == set(names) and all(is_ready(p) and "deletionTimestamp" not in p["metadata"] for p in items.values())
        items = self.until(PODS + f"?labelSelector=app%3D{name}", good, seconds, f"Pods {names}")
        self.until(SETS, lambda sets: all(sets[name]["status"].get(key, 0) == len(names) for key in (
            "replicas", "readyReplicas", "availableReplicas")), seconds, "its status")
        return items

    def names(self, *ordinals):
        return [f"web-{ordinal}" for ordinal in ordinals]

    def resolves(self, name, address, from_pod="client", seconds=30):
        """What DNS says follows the endpoints: asked until it says so."""
        deadline = time.monotonic() + seconds
        while True:
            out = self.exec(from_pod, "nslookup", name, check=False).stdout
            answer = out.partition("Name:")[2]
            if (address in answer) if address else not answer:
                return
            self.assertLess(time.monotonic(), deadline, f"{name} is not {address}: {out}")

    def test_comes_in_order_and_goes_in_reverse(self):
        seen = []

        def watched(items):
            mine = {n: p for n, p in items.items() if n.startswith("web-")}
            for number in range(1, 3):
                if f"web-{number}" in mine and f"web-{number}" not in seen:
                    self.assertTrue(all(is_ready(mine[n]) for n in self.names(*range(number))), "it came before those before it were ready")
            seen.extend(n for n in sorted(mine) if n not in seen)
            return len(mine) == 3 and all(map(is_ready, mine.values()))
        self.apply(headless(), stateful_set())
        self.until(PODS, watched)
        self.assertEqual(seen, self.names(0, 1, 2))
        self.kubectl("rollout", "status", "sts/web", "--timeout=60s")
        for number, found in enumerate(self.settled(self.names(0, 1, 2)).values()):
            labels, spec = found["metadata"]["labels"], found["spec"]
            self.assertEqual((labels["statefulset.kubernetes.io/pod-name"], labels["apps.kubernetes.io/pod-index"], spec["hostname"], spec["subdomain"]),
                             (f"web-{number}", str(number), f"web-{number}", "nginx"))
            status = self.get("sts", "web")["status"]
            self.assertEqual(labels["controller-revision-hash"], status["updateRevision"])
        self.assertEqual(self.exec("web-1", "hostname").stdout, "web-1\n")
        self.until_event("SuccessfulCreate", "web", text="create Pod web-0 in StatefulSet web successful")
        self.kubectl("scale", "sts", "web", "--replicas=1")
        going = []

        def shrinks(items):
            going.extend(n for n, p in sorted(items.items()) if "deletionTimestamp" in p["metadata"] and n not in going)
            self.assertFalse("web-2" in items and "deletionTimestamp" in items.get("web-1", {"metadata": {}})["metadata"], "web-1 goes before web-2 is gone")
            return set(items) == {"web-0"}
        self.until(PODS, shrinks)
        self.assertEqual(going, self.names(2, 1))
        self.until_event("SuccessfulDelete", "web", text="delete Pod web-2 in StatefulSet web successful")
        self.assertRegex(self.kubectl("get", "sts", "web").stdout, r"web\s+1/1")

    def test_names_in_dns(self):
        client = pod("client", *SLEEP)
        self.apply(client, headless(), stateful_set(replicas=2, command=SERVE))
        items = self.settled(self.names(0, 1))
        self.wait("condition=Ready", "pod/client")
        for name, found in items.items():
            self.resolves(f"{name}.nginx.{self.ns}.svc.cluster.local", found["status"]["podIP"])
            self.assertEqual(self.exec("client", "timeout", "5", "wget", "-qO-", f"http://{name}.nginx:8080/").stdout, name + "\n")
        # The name stays, whatever address is behind it.
        self.kubectl("delete", "pod", "web-0")
        new = self.settled(self.names(0, 1))["web-0"]
        self.assertNotEqual(new["metadata"]["uid"], items["web-0"]["metadata"]["uid"])
        self.resolves(f"web-0.nginx.{self.ns}.svc.cluster.local", new["status"]["podIP"])

    def test_names_of_pods_that_are_not_ready(self):
        probe = {"readinessProbe": {"exec": {"command": ["test", "-e", "/ready"]}, "periodSeconds": 1}}
        self.apply(pod("client", *SLEEP), headless(), stateful_set(replicas=2, container=probe))
        found = self.until_pod("web-0", lambda p: p["status"].get("podIP") and p["status"]["phase"] == "Running")
        self.wait("condition=Ready", "pod/client")
        name, address = f"web-0.nginx.{self.ns}.svc.cluster.local", found["status"]["podIP"]
        self.until("/api/v1/namespaces/{ns}/endpoints", lambda items: items.get("nginx", {}).get("subsets"))
        self.resolves(name, None)
        self.kubectl("patch", "service", "nginx", "-p", '{"spec":{"publishNotReadyAddresses":true}}')
        self.resolves(name, address)
        self.assertEqual(len(self.get("pods", "-l", "app=web")["items"]), 1, "web-1 came before web-0 was ready")
        self.exec("web-0", "touch", "/ready")
        self.until_pod("web-1", lambda p: p["status"]["phase"] == "Running")

    def test_rolls_from_the_last_to_the_partition_and_undoes(self):
        self.apply(headless(), stateful_set())
        first = self.settled(self.names(0, 1, 2))
        partition = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
        self.apply(stateful_set(version="2", **partition))
        self.until(PODS, lambda items: len(items) == 3 and all(map(is_ready, items.values())) and version(items["web-2"]) == "2")
        self.assertIn("partitioned roll out complete: 1 new pods have been updated", self.kubectl("rollout", "status", "sts/web", "--timeout=60s").stdout)
        self.kubectl("delete", "pod", "web-1")
        now = self.settled(self.names(0, 1, 2))
        self.assertEqual([version(now[n]) for n in self.names(0, 1, 2)], ["1", "1", "2"], "below the partition a Pod is made as it was")
        status = self.get("sts", "web")["status"]
        self.assertEqual((status["currentReplicas"], status["updatedReplicas"]), (2, 1))
        self.assertNotEqual(status["currentRevision"], status["updateRevision"])
        self.apply(stateful_set(version="2", updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}))
        self.kubectl("rollout", "status", "sts/web", "--timeout=60s")
        now = self.settled(self.names(0, 1, 2))
        self.assertEqual({version(p) for p in now.values()}, {"2"})
        self.assertNotEqual(now["web-0"]["metadata"]["uid"], first["web-0"]["metadata"]["uid"])
        self.until(SETS, lambda s: s["web"]["status"]["currentRevision"] == s["web"]["status"]["updateRevision"])
        self.assertRegex(self.kubectl("rollout", "history", "sts/web").stdout, r"(?m)^1\s[\s\S]*^2\s")
        self.kubectl("rollout", "undo", "sts/web")
        self.kubectl("rollout", "status", "sts/web", "--timeout=60s")
        self.assertEqual({version(p) for p in self.settled(self.names(0, 1, 2)).values()}, {"1"})
        self.assertEqual(sorted(r["revision"] for r in self.get("controllerrevisions")["items"]), [2, 3])

    def test_in_parallel_from_a_number_and_by_hand(self):
        self.apply(stateful_set(replicas=3, podManagementPolicy="Parallel", ordinals={"start": 5}, updateStrategy={"type": "OnDelete"}, command=SERVE,
                                container={"readinessProbe": {"exec": {"command": ["false"]}}}))
        self.until(PODS, lambda items: set(items) == set(self.names(5, 6, 7)), what="all at once, ready or not")
        self.apply(stateful_set(replicas=3, version="2", podManagementPolicy="Parallel", ordinals={"start": 6}, updateStrategy={"type": "OnDelete"}))
        items = self.until(PODS, lambda items: set(items) == set(self.names(6, 7, 8)) and is_ready(items["web-8"]))
        self.assertEqual([version(items[n]) for n in self.names(6, 7, 8)], ["1", "1", "2"])
        self.kubectl("delete", "pod", "web-6", "web-7")
        self.assertEqual({version(p) for p in self.settled(self.names(6, 7, 8)).values()}, {"2"})

    def test_a_failed_pod_is_made_again_and_orphans_are_adopted(self):
        self.apply(stateful_set(replicas=2))
        before = self.settled(self.names(0, 1))
        self.kubectl("patch", "pod", "web-1", "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Failed"}}')
        self.until_pod("web-1", lambda p: p["metadata"]["uid"] != before["web-1"]["metadata"]["uid"])
        before = self.settled(self.names(0, 1))
        self.kubectl("delete", "sts", "web", "--cascade=orphan")
        self.until(PODS, lambda items: not any(p["metadata"].get("ownerReferences") for p in items.values()))
        self.apply(stateful_set(replicas=2))
        after = self.settled(self.names(0, 1))
        self.assertEqual({n: p["metadata"]["uid"] for n, p in after.items()}, {n: p["metadata"]["uid"] for n, p in before.items()})
        self.until(PODS, lambda items: all(p["metadata"].get("ownerReferences") for p in items.values()))
        self.kubectl("delete", "sts", "web", "--timeout=60s")
        self.until(PODS, lambda items: not items)

    def test_a_name_that_is_taken_is_waited_for(self):
        self.apply(pod("web-0", *SLEEP))
        self.apply(stateful_set(replicas=1))
        self.until(SETS, lambda s: s["web"]["status"].get("observedGeneration") == 1)
        self.assertFalse(self.get("pod", "web-0")["metadata"].get("ownerReferences"), "a Pod that does not match was taken")
        self.kubectl("delete", "pod", "web-0")
        self.settled(self.names(0))

    def claim_templates(self):
        return {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}

    def owners(self, items):
        return {name: [o["kind"] for o in c["metadata"].get("ownerReferences", [])] for name, c in items.items()}

    def test_claims(self):
        self.apply(stateful_set(replicas=2, podManagementPolicy="Parallel", **self.claim_templates()))
        items = self.until(CLAIMS, lambda items: set(items) == {"data-web-0", "data-web-1"})
        self.assertEqual({c["metadata"]["labels"]["app"] for c in items.values()}, {"web"})
        self.assertEqual(self.owners(items), {"data-web-0": [], "data-web-1": []})
        found = self.until_pod("web-1", lambda p: True)
        self.assertIn({"name": "data", "persistentVolumeClaim": {"claimName": "data-web-1"}}, found["spec"]["volumes"])
        self.until_event("SuccessfulCreate", "web", text="create Claim data-web-0 Pod web-0 in StatefulSet web success")
        # A claim that is deleted goes when nobody uses it any more, and comes again with its Pod.
        self.settled(self.names(0, 1))
        self.kubectl("delete", "pvc", "data-web-0", "--wait=false")
        self.until(CLAIMS, lambda c: "deletionTimestamp" in c["data-web-0"]["metadata"])
        self.assertIn("kubernetes.io/pvc-protection", self.get("pvc", "data-web-0")["metadata"]["finalizers"])
        self.kubectl("delete", "pod", "web-0")
        self.until(CLAIMS, lambda c: "data-web-0" in c and c["data-web-0"]["metadata"]["uid"] != items["data-web-0"]["metadata"]["uid"])
        self.kubectl("patch", "sts", "web", "-p", '{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Delete","whenScaled":"Delete"}}}')
        self.until(CLAIMS, lambda c: self.owners(c) == {"data-web-0": ["StatefulSet"], "data-web-1": ["StatefulSet"]})
        self.kubectl("scale", "sts", "web", "--replicas=1")
        self.until(CLAIMS, lambda c: set(c) == {"data-web-0"}, what="what is beyond the size goes with its Pod")
        self.kubectl("delete", "sts", "web", "--timeout=60s")
        self.until(CLAIMS, lambda c: not c, what="what is left goes with the set")
        self.until(PODS, lambda items: not items)


if __name__ == "__main__":
    cluster.main()
