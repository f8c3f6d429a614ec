#!/usr/bin/python3
"""The scheduler on three nodes: room is made by preemption, Pods are spread over zones and kept apart, what fits nowhere
says why and is tried again when that helps; gated Pods and those of other schedulers wait."""
import cluster
from cluster import pod

SLEEP = ("sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done")
EVERY = ("node-1", "node-2", "node-3")


def condition(item, kind):
    return next((c for c in item["status"].get("conditions") or [] if c["type"] == kind), {})


class Scheduler(cluster.ClusterTest):
    nodes = 3

    def setUp(self):
        super().setUp()
        for name, value, policy in (("low", 10, "PreemptLowerPriority"), ("high", 1000, "PreemptLowerPriority"),
                                    ("never", 2000, "Never")):
            self.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": value,
                        "metadata": {"name": self.priority(name)}, "preemptionPolicy": policy})

    def tearDown(self):
        super().tearDown()
        # The next case finds the nodes empty.
        self.kubectl("delete", "pods", "--all", "--grace-period=1", check=False)

    def priority(self, name):
        return f"{name}-{self.ns}"[:60].strip("-")

    def free_milli(self):
        """What the emptiest node offers, less what always runs."""
        texts = [n["status"]["allocatable"]["cpu"] for n in self.get("nodes")["items"]]
        return min(int(t[:-1]) if t.endswith("m") else 1000 * int(t) for t in texts)

    def sized(self, name, milli, **spec):
        return pod(name, *SLEEP, container={"resources": {"requests": {"cpu": f"{milli}m"}}}, **spec)

    def placed(self, name):
        return self.until_pod(name, lambda p: p["spec"].get("nodeName"))["spec"]["nodeName"]

    def refused(self, name):
        item = self.until_pod(name, lambda p: condition(p, "PodScheduled").get("status") == "False")
        return condition(item, "PodScheduled")

    def test_preemption_makes_room(self):
        most = self.free_milli() * 6 // 10
        victims = []
        for node in EVERY:
            victim = self.sized(f"on-{node}", most, nodeSelector={"kubernetes.io/hostname": node},
                                priorityClassName=self.priority("low"))
            # Its end can be looked at; it holds no place once it has ended.
            victim["metadata"]["finalizers"] = ["example.com/look"]
            victims.append(victim)
        self.apply(*victims)
        self.wait("condition=Ready", *(f"pod/on-{node}" for node in EVERY))
        equal = self.sized("equal", most, priorityClassName=self.priority("low"))
        self.apply(equal)
        self.assertEqual(self.refused("equal")["message"],
                         "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: "
                         "3 No preemption victims found for incoming pod.")
        self.apply(self.sized("polite", most, priorityClassName=self.priority("never")))
        self.assertEqual(self.refused("polite")["message"],
                         "0/3 nodes are available: 3 Insufficient cpu. preemption: not eligible due to "
                         "preemptionPolicy=Never.")
        self.kubectl("delete", "pod", "polite", "equal")

        self.apply(self.sized("urgent", most, priorityClassName=self.priority("high")))
        self.wait("condition=Ready", "pod/urgent")
        node = self.placed("urgent")
        uid = self.jsonpath("{.metadata.uid}", "pod", "urgent")
        self.until_event("Preempted", f"on-{node}", text=f"Preempted by pod {uid} on node {node}")
        gone = self.get("pod", f"on-{node}")
        self.assertTrue(gone["metadata"].get("deletionTimestamp"))
        target = condition(gone, "DisruptionTarget")
        self.assertEqual((target["status"], target["reason"], target["message"]),
                         ("True", "PreemptionByScheduler",
                          "default-scheduler: preempting to accommodate a higher priority pod"))
        for other in set(EVERY) - {node}:
            self.assertFalse(self.get("pod", f"on-{other}")["metadata"].get("deletionTimestamp"))
        for name in EVERY:
            self.kubectl("patch", "pod", f"on-{name}", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')

    def test_spread_over_zones(self):
        for node, zone in zip(EVERY, "xyy"):
            self.kubectl("label", "node", node, f"test/zone={zone}", namespace=None)
        try:
            constraint = {"maxSkew": 1, "topologyKey": "test/zone", "whenUnsatisfiable": "DoNotSchedule",
                          "labelSelector": {"matchLabels": {"app": "even"}}}
            self.apply(*(pod(f"p{i}", *SLEEP, labels={"app": "even"}, topologySpreadConstraints=[constraint])
                         for i in range(6)))
            nodes = [self.placed(f"p{i}") for i in range(6)]
            self.assertEqual(sum(n == "node-1" for n in nodes), 3, nodes)
            # Zone x can't take its turn: the next but one waits until it can.
            self.kubectl("cordon", "node-1", namespace=None)
            self.apply(*(pod(f"q{i}", *SLEEP, labels={"app": "even"}, topologySpreadConstraints=[constraint])
                         for i in range(2)))
            items = self.until("/api/v1/namespaces/{ns}/pods", lambda items: sum(
                condition(p, "PodScheduled").get("reason") == "Unschedulable" for p in items.values()) == 1)
            waiting = next(p for p in items.values() if condition(p, "PodScheduled").get("status") == "False")
            self.assertEqual(condition(waiting, "PodScheduled")["message"].split(" preemption: ")[0],
                             "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match pod "
                             "topology spread constraints.")
            self.kubectl("uncordon", "node-1", namespace=None)
            self.assertEqual(self.placed(waiting["metadata"]["name"]), "node-1")
        finally:
            self.kubectl("uncordon", "node-1", namespace=None)
            for node in EVERY:
                self.kubectl("label", "node", node, "test/zone-", namespace=None)

    def test_apart_and_near(self):
        def terms(kind, app):
            return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "kubernetes.io/hostname"}]}}
        self.apply(*(pod(f"one-{i}", *SLEEP, labels={"app": "one"}, affinity=terms("podAntiAffinity", "one"))
                     for i in range(3)))
        self.assertEqual({self.placed(f"one-{i}") for i in range(3)}, set(EVERY))
        self.apply(pod("fourth", *SLEEP, labels={"app": "one"}, affinity=terms("podAntiAffinity", "one")))
        self.assertEqual(self.refused("fourth")["message"],
                         "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. preemption: 0/3 "
                         "nodes are available: 3 No preemption victims found for incoming pod.")
        self.apply(pod("near", *SLEEP, affinity=terms("podAffinity", "late")))
        self.assertEqual(self.refused("near")["message"],
                         "0/3 nodes are available: 3 node(s) didn't match pod affinity rules. preemption: 0/3 nodes "
                         "are available: 3 Preemption is not helpful for scheduling.")
        self.apply(pod("late", *SLEEP, labels={"app": "late"}, nodeSelector={"kubernetes.io/hostname": "node-2"}))
        self.assertEqual(self.placed("near"), "node-2")
        free = self.placed("one-1")
        self.kubectl("delete", "pod", "one-1")
        self.assertEqual(self.placed("fourth"), free)

    def test_gated_and_other_schedulers(self):
        self.apply(pod("gated", *SLEEP, schedulingGates=[{"name": "example.com/wait"}]),
                   pod("foreign", *SLEEP, schedulerName="another"), pod("ours", *SLEEP))
        gated = self.refused("gated")
        self.assertEqual((gated["reason"], gated["message"]),
                         ("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"))
        self.wait("condition=Ready", "pod/ours")
        self.assertFalse(condition(self.get("pod", "foreign"), "PodScheduled"))
        self.kubectl("patch", "pod", "gated", "--type=json", "-p",
                     '[{"op":"remove","path":"/spec/schedulingGates"}]')
        self.wait("condition=Ready", "pod/gated")


if __name__ == "__main__":
    cluster.main()
