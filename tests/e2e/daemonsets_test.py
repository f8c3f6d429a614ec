#!/usr/bin/python3
"""DaemonSets on three nodes as seen through kubectl: one Pod on each node where it may be, updates in place and by
surge, history and undo, what failed, adoption, and two sets that want the same Pods."""
import cluster
from cluster import BUSYBOX, is_ready

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"]
SETS = "/apis/apps/v1/namespaces/{ns}/daemonsets"
PODS = "/api/v1/namespaces/{ns}/pods"
HISTORY = "/apis/apps/v1/namespaces/{ns}/controllerrevisions"
NODES = {"node-1", "node-2", "node-3"}


def daemon_set(name, version="1", pod_spec=None, strategy=None, **spec):
    labels = {"app": name}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": labels}, **({"updateStrategy": strategy} if strategy else {}), **spec,
        "template": {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1, **(pod_spec or {}), "containers": [
            {"name": "c", "image": BUSYBOX, "command": SLEEP, "env": [{"name": "VERSION", "value": version}]}]}}}}


def alive(items, name="d"):
    return [p for p in items.values() if "deletionTimestamp" not in p["metadata"] and p["metadata"]["labels"].get("app") == name]


def version(pod):
    return pod["spec"]["containers"][0]["env"][0]["value"]


class DaemonSets(cluster.ClusterTest):
    nodes = 3

    def settled(self, name="d", nodes=NODES, seconds=60):
        """One Pod, Ready, on each of these nodes, none besides, and a status that says so."""
        def good(items):
            return len(items) == len(alive(items, name)) == len(nodes) and {p["spec"].get("nodeName") for p in alive(items, name)} == set(nodes) \
                and all(map(is_ready, items.values()))
        items = self.until(PODS + f"?labelSelector=app%3D{name}", good, seconds, f"a Pod of {name} on {sorted(nodes)}")
        self.until(SETS, lambda sets: all(sets[name]["status"].get(key, 0) == len(nodes) for key in (
            "desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable", "updatedNumberScheduled"))
            and sets[name]["status"]["observedGeneration"] == sets[name]["metadata"]["generation"], seconds, f"status of {name}")
        return items

    def rollout(self, *words, **options):
        return self.kubectl("rollout", *words, **options).stdout

    def test_one_on_each_node_with_what_daemons_tolerate(self):
        self.apply(daemon_set("d"))
        self.rollout("status", "ds/d", "--timeout=60s")
        for pod in self.settled().values():
            spec, labels = pod["spec"], pod["metadata"]["labels"]
            self.assertEqual(spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"], {
                "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [spec["nodeName"]]}]}]})
            self.assertLessEqual({("node.kubernetes.io/" + key, effect) for key, effect in (
                ("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule"), ("memory-pressure", "NoSchedule"),
                ("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule"))}, {(t["key"], t["effect"]) for t in spec["tolerations"]})
            self.assertEqual(labels["pod-template-generation"], "1")
            self.assertIn("controller-revision-hash", labels)
        self.until_event("SuccessfulCreate", "d", text="Created pod: d-")
        self.assertRegex(self.kubectl("get", "ds", "d").stdout, r"(?m)^d\s+3\s+3\s+3\s+3\s+3\s")

    def test_follows_labels_and_taints_of_nodes(self):
        self.apply(daemon_set("d", pod_spec={"nodeSelector": {"disk": "ssd"}}))
        self.settled(nodes=())
        try:
            self.kubectl("label", "node", "node-2", "node-3", "disk=ssd", namespace=None)
            self.settled(nodes={"node-2", "node-3"})
            self.kubectl("taint", "node", "node-2", "closed=yes:NoSchedule", namespace=None)
            self.until(SETS, lambda s: s["d"]["status"]["numberMisscheduled"] == 1 and s["d"]["status"]["desiredNumberScheduled"] == 1)
            self.assertEqual(len(self.get("pods")["items"]), 2, "what runs stays")
            self.kubectl("taint", "node", "node-2", "closed=yes:NoExecute", namespace=None)
            self.settled(nodes={"node-3"})
            self.kubectl("cordon", "node-1", namespace=None)
            self.kubectl("label", "node", "node-1", "disk=ssd", namespace=None)
            self.settled(nodes={"node-1", "node-3"})
            self.kubectl("label", "node", "node-3", "disk-", namespace=None)
            self.settled(nodes={"node-1"})
        finally:
            self.kubectl("uncordon", "node-1", namespace=None)
            self.kubectl("taint", "node", "node-2", "closed-", namespace=None, check=False)
            self.kubectl("label", "node", "node-1", "node-2", "node-3", "disk-", namespace=None, check=False)

    def test_rolls_undoes_and_keeps_a_short_history(self):
        self.apply(daemon_set("d", revisionHistoryLimit=1))
        first = set(self.settled())
        fewest = 3
        self.apply(daemon_set("d", "2", revisionHistoryLimit=1))

        def watched(items):
            nonlocal fewest
            fewest = min(fewest, sum(is_ready(p) for p in alive(items)))
            return len(alive(items)) == 3 and all(version(p) == "2" and is_ready(p) for p in alive(items))
        self.until(PODS, watched)
        self.assertGreaterEqual(fewest, 2, "more than one was unavailable")
        self.rollout("status", "ds/d", "--timeout=60s")
        self.assertFalse(first & set(self.settled()))
        self.assertRegex(self.rollout("history", "ds/d"), r"(?m)^1\s[\s\S]*^2\s")
        self.assertRegex(self.rollout("history", "ds/d", "--revision=1"), r"VERSION:\s+1")
        self.rollout("undo", "ds/d")
        self.rollout("status", "ds/d", "--timeout=60s")
        self.assertEqual({version(p) for p in self.settled().values()}, {"1"})
        self.assertEqual(sorted(r["revision"] for r in self.get("controllerrevisions")["items"]), [2, 3], "undo makes the old one the newest")
        self.rollout("restart", "ds/d")
        self.rollout("status", "ds/d", "--timeout=60s")
        self.settled()
        self.until(HISTORY, lambda items: sorted(r["revision"] for r in items.values()) == [3, 4])
        self.assertEqual({p["metadata"]["labels"]["pod-template-generation"] for p in self.get("pods")["items"]}, {"4"})

    def test_surges(self):
        surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}
        self.apply(daemon_set("d", strategy=surge))
        self.settled()
        ready = {}

        def watched(items):
            for node in NODES:
                ready[node] = min(ready.get(node, 1), sum(is_ready(p) for p in items.values() if p["spec"].get("nodeName") == node))
            return len(items) == 3 and all(version(p) == "2" and is_ready(p) for p in items.values())
        self.apply(daemon_set("d", "2", strategy=surge))
        self.until(PODS, watched)
        self.assertEqual(ready, dict.fromkeys(NODES, 1), "a node was without a Pod that serves")

    def test_by_hand(self):
        self.apply(daemon_set("d", strategy={"type": "OnDelete"}))
        self.settled()
        self.apply(daemon_set("d", "2", strategy={"type": "OnDelete"}))
        self.until(HISTORY, lambda items: len(items) == 2)
        one = next(p["metadata"]["name"] for p in self.get("pods")["items"] if p["spec"]["nodeName"] == "node-2")
        self.kubectl("delete", "pod", one)
        items = self.until(PODS, lambda items: len(items) == 3 and all(map(is_ready, items.values())) and one not in items)
        self.assertEqual({p["spec"]["nodeName"]: version(p) for p in items.values()}, {"node-1": "1", "node-2": "2", "node-3": "1"})

    def test_a_failed_pod_is_replaced(self):
        self.apply(daemon_set("d"))
        failed = sorted(self.settled())[0]
        self.kubectl("patch", "pod", failed, "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Failed"}}')
        self.until_event("FailedDaemonPod", "d", text="will try to kill it")
        self.until(PODS, lambda items: failed not in items)
        self.settled()

    def test_adopts_orphans_and_two_sets_do_not_fight(self):
        self.apply(daemon_set("d"))
        pods = set(self.settled())
        self.kubectl("delete", "ds", "d", "--cascade=orphan")
        self.until(PODS, lambda items: not any(p["metadata"].get("ownerReferences") for p in items.values()))
        self.until(HISTORY, lambda items: not any(r["metadata"].get("ownerReferences") for r in items.values()))
        self.apply(daemon_set("d"))
        self.assertEqual(set(self.settled()), pods, "Pods that match were not adopted")
        self.assertEqual(len(self.get("controllerrevisions")["items"]), 1, "the revision was not adopted")
        twin = daemon_set("d")
        twin["metadata"]["name"] = "twin"
        self.apply(twin)
        items = self.until(PODS, lambda items: len(items) == 6 and all(map(is_ready, items.values())))
        self.assertLessEqual(pods, set(items))
        self.until(SETS, lambda s: all(s[n]["status"].get("numberReady") == 3 for n in ("d", "twin")))
        self.assertEqual(set(self.until(PODS, lambda items: len(items) == 6)), set(items), "they took each other's Pods away")
        self.kubectl("delete", "ds", "d", "twin", "--timeout=60s")
        self.until(PODS, lambda items: not items)
        self.until(HISTORY, lambda items: not items)

    def test_what_cannot_be_made_makes_no_storm(self):
        self.kubectl("create", "quota", "q", "--hard=pods=0")
        self.apply(daemon_set("d"))
        event = self.until_event("FailedCreate", "d", text="exceeded quota")
        self.assertLess(event.get("count", 1), 40)
        self.kubectl("delete", "quota", "q")
        self.kubectl("annotate", "ds", "d", "looked=again")
        self.settled()


if __name__ == "__main__":
    cluster.main()
