#!/usr/bin/python3
"""Voluntary disruptions: PodDisruptionBudgets, the eviction API, kubectl drain and uncordon on two nodes."""
import time

import cluster
from cluster import is_ready
from controllers_test import PODS, SLEEP, deployment


class Drain(cluster.ClusterTest):
    nodes = 2

    def budget(self, **spec):
        self.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
                    "spec": {"selector": {"matchLabels": {"app": "d"}}, **spec}})

    def status(self, good, seconds=30):
        path = "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets"
        return self.until(path, lambda items: "b" in items and good(items["b"].get("status", {})), seconds)["b"]["status"]

    def evict(self, name):
        path = f"/api/v1/namespaces/{self.ns}/pods/{name}/eviction"
        return self.kubectl("create", "--raw", path, "-f", "-", check=False, input={
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": self.ns}})

    def tearDown(self):
        for node in self.get("nodes")["items"]:
            self.kubectl("uncordon", node["metadata"]["name"], check=False)
        super().tearDown()

    def test_a_budget_counts_and_refuses(self):
        self.budget(maxUnavailable=1)
        self.status(lambda s: s.get("observedGeneration") == 1 and s["disruptionsAllowed"] == 0 and s["expectedPods"] == 0)
        self.until_event("NoPods", "b")
        self.apply(deployment("d", 2))
        status = self.status(lambda s: s["disruptionsAllowed"] == 1)
        self.assertEqual((status["currentHealthy"], status["desiredHealthy"], status["expectedPods"]), (2, 1, 2))
        self.assertEqual([(c["status"], c["reason"]) for c in status["conditions"]], [("True", "SufficientPods")])
        first, second = sorted(self.until(PODS, lambda items: len(items) == 2 and all(map(is_ready, items.values()))))
        # Nowhere to go for the replacement: else it may be ready before kubectl has started again.
        nodes = [node["metadata"]["name"] for node in self.get("nodes")["items"]]
        self.kubectl("cordon", *nodes)
        self.assertEqual(self.evict(first).returncode, 0)
        refused = self.evict(second)
        self.assertIn("Cannot evict pod as it would violate the pod's disruption budget", refused.stderr)
        # The evicted one is replaced; then the next may go.
        self.kubectl("uncordon", *nodes)
        self.status(lambda s: s["disruptionsAllowed"] == 1 and s["currentHealthy"] == 2)
        self.assertEqual(self.evict(second).returncode, 0)

    def test_drain_keeps_the_budget(self):
        self.apply(deployment("d", 4))
        self.budget(minAvailable=3)
        self.status(lambda s: s.get("disruptionsAllowed") == 1)
        pods = self.until(PODS, lambda items: len(items) == 4 and all(map(is_ready, items.values())))
        node = sorted(p["spec"]["nodeName"] for p in pods.values())[0]
        began = self.api.get(PODS.format(ns=self.ns))["metadata"]["resourceVersion"]
        self.kubectl("drain", node, "--ignore-daemonsets", "--timeout=90s", "--pod-selector=app=d", namespace=None, timeout=120)
        left = self.until(PODS, lambda items: len(items) == 4 and all(
            is_ready(p) and p["spec"]["nodeName"] != node and "deletionTimestamp" not in p["metadata"] for p in items.values()))
        self.assertEqual(len(left), 4)
        # From a known state on: a watch that begins while Pods go sees the state's parts one after the other.
        healthy, fewest = set(pods), 4
        for kind, one in self.api.watch(PODS.format(ns=self.ns), began, time.monotonic() + 60):
            counts = kind != "DELETED" and is_ready(one) and "deletionTimestamp" not in one["metadata"]
            (healthy.add if counts else healthy.discard)(one["metadata"]["name"])
            fewest = min(fewest, len(healthy))
            if healthy == set(left):
                break
        self.assertGreaterEqual(fewest, 3, "fewer Pods were left than the budget promises")
        self.assertTrue(self.get("node", node)["spec"].get("unschedulable"))

    def test_unmanaged_pods_are_told(self):
        self.apply({**cluster.pod("lonely", *SLEEP, labels={"app": "d"})})
        self.budget(maxUnavailable=1)
        self.until_event("UnmanagedPods", "b")


if __name__ == "__main__":
    cluster.main()
