#!/usr/bin/python3
"""Three nodes: Pods are spread, reach each other and Services across nodes; a lost node's Pods are
replaced; every node answers for itself (logs, exec)."""
import cluster
from cluster import BUSYBOX, pod

SLEEP = ("sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done")
SERVE = ["sh", "-c", "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www"]


class MultiNode(cluster.ClusterTest):
    nodes = 3

    def spread(self, replicas=6):
        self.apply({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "web"},
                    "spec": {"replicas": replicas, "selector": {"app": "web"}, "template": {
                        "metadata": {"labels": {"app": "web"}}, "spec": {
                            "terminationGracePeriodSeconds": 1, "containers": [
                                {"name": "c", "image": BUSYBOX, "command": SERVE}]}}}},
                   {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}})
        items = self.until("/api/v1/namespaces/{ns}/pods?labelSelector=app%3Dweb", lambda items: sum(
            cluster.is_ready(p) for p in items.values()) == replicas)
        self.until("/api/v1/namespaces/{ns}/endpoints", lambda items: "web" in items and sum(
            len(s.get("addresses") or []) for s in items["web"].get("subsets") or []) == replicas)
        return items

    def test_every_node_is_ready_with_its_own_cidr(self):
        nodes = self.get("nodes")["items"]
        self.assertEqual(len(nodes), 3)
        self.assertEqual(len({n["spec"]["podCIDR"] for n in nodes}), 3)

    def test_pods_reach_pods_on_every_node(self):
        pods = self.spread()
        self.assertEqual({p["spec"]["nodeName"] for p in pods.values()}, {"node-1", "node-2", "node-3"})
        for name in pods:
            for other, target in pods.items():
                out = self.exec(name, "timeout", "5", "wget", "-qO-",
                                f"http://{target['status']['podIP']}:8080/").stdout
                self.assertEqual(out.strip(), other, f"{name} to {other}")

    def test_service_from_every_node_and_pod(self):
        pods = self.spread()
        ip = self.jsonpath("{.spec.clusterIP}", "service", "web")
        loop = "for i in $(seq 60); do timeout 5 {0}wget -qO- http://{1}/ || echo FAILED; done"
        for node in self.cluster.nodes:
            out = self.inside("busybox", "sh", "-c", loop.format("busybox ", ip), node=node).stdout
            self.assertEqual(set(out.split()), set(pods), f"from {node}")
        for name in list(pods)[:3]:
            out = self.exec(name, "sh", "-c", loop.format("", f"web.{self.ns}")).stdout
            self.assertEqual(set(out.split()), set(pods), f"from Pod {name}")

    def test_traffic_stays_on_the_node_where_it_may(self):
        pods = self.spread()
        ip = self.jsonpath("{.spec.clusterIP}", "service", "web")
        self.kubectl("patch", "service", "web", "-p", '{"spec":{"trafficDistribution":"PreferSameNode"}}')
        loop = f"for i in $(seq 20); do timeout 5 busybox wget -qO- http://{ip}/ || echo FAILED; done"
        for node in self.cluster.nodes:
            own = {name for name, p in pods.items() if p["spec"]["nodeName"] == node}
            for _ in range(20):  # until this node's proxy has heard
                answered = set(self.inside("sh", "-c", loop, node=node).stdout.split())
                if answered <= own:
                    break
            self.assertEqual(answered, own, f"from {node}")

    def test_logs_and_exec_of_every_node(self):
        for number in (1, 2, 3):
            self.apply(pod(f"on-{number}", "sh", "-c", f"echo from {number}; exec sleep 1000",
                           nodeSelector={"kubernetes.io/hostname": f"node-{number}"}))
        self.wait("condition=Ready", "pod/on-1", "pod/on-2", "pod/on-3")
        for number in (1, 2, 3):
            self.assertEqual(self.jsonpath("{.spec.nodeName}", "pod", f"on-{number}"), f"node-{number}")
            self.assertEqual(self.kubectl("logs", f"on-{number}").stdout, f"from {number}\n")
            self.assertEqual(self.exec(f"on-{number}", "hostname").stdout, f"on-{number}\n")

    def test_taints_and_cordon(self):
        self.kubectl("taint", "node", "node-1", "closed=yes:NoSchedule", namespace=None)
        self.kubectl("cordon", "node-2", namespace=None)
        try:
            self.assertEqual({p["spec"]["nodeName"] for p in self.spread(4).values()}, {"node-3"})
            self.apply(pod("tolerant", *SLEEP, tolerations=[{"key": "closed", "operator": "Exists"}],
                           nodeSelector={"kubernetes.io/hostname": "node-1"}))
            self.wait("condition=Ready", "pod/tolerant")
        finally:
            self.kubectl("taint", "node", "node-1", "closed-", namespace=None)
            self.kubectl("uncordon", "node-2", namespace=None)


class LostNode(cluster.ClusterTest):
    nodes = 2

    def test_a_silent_node_becomes_not_ready(self):
        self.cluster.kill("node-2/kubelet")
        try:
            self.until("/api/v1/nodes", lambda items: any(
                c["type"] == "Ready" and c["status"] == "Unknown"
                for c in items["node-2"]["status"]["conditions"]), 90)
            taints = {t["key"] for t in self.get("node", "node-2")["spec"].get("taints", [])}
            self.assertIn("node.kubernetes.io/unreachable", taints)
        finally:
            self.cluster.start("node-2/kubelet")
        self.cluster.wait_nodes_ready()


if __name__ == "__main__":
    cluster.main()
