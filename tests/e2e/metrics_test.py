#!/usr/bin/python3
"""metrics.k8s.io without a metrics server: kubectl top, and an autoscaler that follows what Pods really use."""
import json
import re
import time

import cluster
from cluster import BUSYBOX, pod

ROOT = "/apis/metrics.k8s.io/v1beta1"
HPAS = "/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers"
BURN = ["sh", "-c", "while :; do :; done"]


def burner(cpu):
    return {"name": "c", "image": BUSYBOX, "command": BURN, "resources": {"limits": {"cpu": cpu}, "requests": {"cpu": "50m"}}}


class Metrics(cluster.ClusterTest):
    def raw(self, path):
        return json.loads(self.kubectl("get", "--raw", ROOT + path).stdout)

    def milli(self, text):
        number, unit = re.fullmatch(r"(\d+)(n|m|)", text).groups()
        return int(number) * {"n": 1e-6, "m": 1, "": 1000}[unit]

    def test_top_shows_what_pods_and_nodes_use(self):
        busy = pod("busy", labels={"app": "busy"})
        busy["spec"]["containers"] = [burner("200m"), {"name": "idle", "image": BUSYBOX, "command": ["sleep", "100000"]}]
        self.apply(busy, pod("quiet", "sleep", "100000", labels={"app": "quiet"}))
        self.wait("condition=Ready", "pod/busy", "pod/quiet")
        # A container that has run for less than a second is not told yet.
        listed = self.until_told("busy", "quiet")
        used = {c["name"]: c["usage"] for c in listed["busy"]["containers"]}
        self.assertGreater(self.milli(used["c"]["cpu"]), 60)
        self.assertLess(self.milli(used["c"]["cpu"]), 350)
        self.assertLess(self.milli(used["idle"]["cpu"]), 20)
        self.assertRegex(used["idle"]["memory"], r"^\d+Ki$")
        self.assertEqual(listed["busy"]["metadata"]["labels"], {"app": "busy"})
        rows = [line.split() for line in self.kubectl("top", "pod", "--containers", "--no-headers").stdout.splitlines()]
        self.assertEqual({(r[0], r[1]) for r in rows}, {("busy", "c"), ("busy", "idle"), ("quiet", "c")})
        top = self.kubectl("top", "pod", "-l", "app=busy").stdout.splitlines()
        self.assertRegex(top[0], r"^NAME\s+CPU\(cores\)\s+MEMORY\(bytes\)")
        self.assertRegex(top[1], r"^busy\s+\d+m\s+\d+Mi")
        self.assertEqual(len(top), 2)
        self.assertRegex(self.kubectl("top", "node").stdout, r"(?m)^\S+\s+\d+m\s+\d+%\s+\d+Mi\s+\d+%")
        self.assertRegex(self.kubectl("get", "podmetrics", "busy").stdout, r"NAME\s+CPU\s+MEMORY\s+WINDOW\nbusy\s+\S+\s+\d+Ki\s+\S+s")
        one = self.raw(f"/namespaces/{self.ns}/pods/busy")
        self.assertEqual((one["kind"], one["apiVersion"]), ("PodMetrics", "metrics.k8s.io/v1beta1"))
        missing = self.kubectl("get", "--raw", ROOT + f"/namespaces/{self.ns}/pods/none", check=False)
        self.assertIn("not found", missing.stderr)
        self.assertIn("delete is not supported on resources", self.kubectl("delete", "--raw", ROOT + "/nodes/x", check=False).stderr)
        # Who may view a namespace may see what it uses; who has no role may not.
        self.kubectl("create", "serviceaccount", "viewer")
        who = f"--as=system:serviceaccount:{self.ns}:viewer"
        self.assertIn("forbidden", self.kubectl("top", "pod", who, check=False).stderr)
        self.kubectl("create", "rolebinding", "viewer", "--clusterrole=view", f"--serviceaccount={self.ns}:viewer")
        self.assertIn("busy", self.kubectl("top", "pod", who).stdout)

    def until_told(self, *names):
        for _ in range(30):  # nothing to watch: what is used is told when it is asked for
            told = {item["metadata"]["name"]: item for item in self.raw(f"/namespaces/{self.ns}/pods")["items"]}
            if all(name in told for name in names):
                return told
            time.sleep(1)
        self.fail(f"the use of {names} is not told; only of {sorted(told)}")

    def test_an_autoscaler_follows_what_pods_really_use(self):
        self.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "work"}, "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "work"}}, "template": {
                "metadata": {"labels": {"app": "work"}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [burner("150m")]}}}})
        self.kubectl("autoscale", "deployment", "work", "--min=1", "--max=2", "--cpu-percent=50")
        found = self.until(HPAS, lambda items: items.get("work", {}).get("status", {}).get("desiredReplicas") == 2, 120, "two are wanted")
        self.assertGreater(found["work"]["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"], 50)


if __name__ == "__main__":
    cluster.main()
