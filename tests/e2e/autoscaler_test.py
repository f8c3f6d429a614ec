#!/usr/bin/python3
"""HorizontalPodAutoscalers as seen through kubectl: a stand-in for metrics-server says what Pods use."""
import base64
import json
import pathlib
import tempfile

import cluster
from backend import Authority, Backend, endpoint_slice
from cluster import BUSYBOX

PORT, GROUP, NS = 9445, "metrics.k8s.io", "kube-system"
HPAS = "/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers"
PODS = "/api/v1/namespaces/{ns}/pods"
# Tells of every Pod that the file names what the file says; measured long after any Pod became ready.
SERVER = r"""
import json, os
def told(ns):
    with open(os.environ["SAMPAN_USAGE"]) as file: usage = json.load(file)
    return {"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": [
        {"metadata": {"name": name, "namespace": ns}, "timestamp": "2040-01-01T00:00:00Z", "window": "15s",
         "containers": [{"name": "c", "usage": {"cpu": cpu, "memory": "1Mi"}}]} for name, cpu in usage.items()]}
LIST = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1beta1", "resources": [
    {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}]}
class Handler(JsonHandler):
    def do_GET(self):
        path = self.path.partition("?")[0].split("/")
        if self.path.partition("?")[0] == "/apis/metrics.k8s.io/v1beta1": return self.answer(LIST, 200)
        if len(path) == 7 and path[4] == "namespaces" and path[6] == "pods": return self.answer(told(path[5]), 200)
        self.answer({"kind": "Status", "code": 404}, 404)
"""


def deployment(name, replicas):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "c", "image": BUSYBOX, "command": ["sleep", "100000"], "resources": {"requests": {"cpu": "20m"}}}]}}}}


def autoscaler(name, least, most, **behavior):
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}, "minReplicas": least, "maxReplicas": most,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        **({"behavior": behavior} if behavior else {})}}


def condition(item, kind):
    return next((c for c in item.get("status", {}).get("conditions", []) if c["type"] == kind), {})


class Autoscalers(cluster.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority()
        cls.addClassCleanup(cls.authority.cleanup)
        folder = tempfile.TemporaryDirectory(prefix="sampan-usage-")
        cls.addClassCleanup(folder.cleanup)
        cls.usage = pathlib.Path(folder.name) / "usage.json"
        cls.tell({})
        told = cls.api.until(f"/api/v1/namespaces/{NS}/configmaps", lambda items: "extension-apiserver-authentication" in items, 30)
        front = cls.authority.path / "front-proxy-ca.crt"
        front.write_text(told["extension-apiserver-authentication"]["data"]["requestheader-client-ca-file"])
        backend = Backend(cls.cluster.netns, f'import os; os.environ["SAMPAN_USAGE"] = {str(cls.usage)!r}\n' + SERVER, PORT,
                          cls.authority.sign(f"DNS:metrics.{NS}.svc"), front)
        cls.addClassCleanup(lambda: backend.process.stdout.closed or backend.kill())

    @classmethod
    def tell(cls, usage):
        fresh = cls.usage.with_suffix(".new")
        fresh.write_text(json.dumps(usage))
        fresh.rename(cls.usage)

    def until_says(self, name, kind, status, reason, seconds=60):
        def says(items):
            found = condition(items.get(name, {}), kind)
            return found.get("status") == status and found.get("reason") == reason
        return self.until(HPAS, says, seconds, f"{kind}={status}/{reason}")[name]

    def running(self, app, count, seconds=90):
        def good(items):
            mine = [p for p in items.values() if p["metadata"]["labels"].get("app") == app and "deletionTimestamp" not in p["metadata"]]
            return len(mine) == count and all(p["status"].get("phase") == "Running" for p in mine)
        items = self.until(PODS, good, seconds, f"{count} Pods of {app}")
        return [n for n, p in items.items() if p["metadata"]["labels"].get("app") == app and "deletionTimestamp" not in p["metadata"]]

    def test_follows_the_load_and_back(self):
        # A metrics server takes the built-in one's place. Nobody stands behind its Service yet: said, and
        # nothing is changed.
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics", "namespace": NS},
                   "spec": {"ports": [{"port": 443, "targetPort": PORT}]}}
        api_service = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": f"v1beta1.{GROUP}"},
                       "spec": {"group": GROUP, "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                                "caBundle": base64.b64encode(self.authority.ca).decode(), "service": {"name": "metrics", "namespace": NS}}}
        for each in (service, api_service):
            self.kubectl("apply", "-f", "-", input=each, namespace=None)
        self.apply(deployment("web", 1), autoscaler("web", 1, 4, scaleDown={"stabilizationWindowSeconds": 0}))
        names = self.running("web", 1)
        found = self.until_says("web", "ScalingActive", "False", "FailedGetResourceMetric")
        self.assertIn("unable to fetch metrics from resource metrics API", condition(found, "ScalingActive")["message"])
        self.until_event("FailedGetResourceMetric", "web", text="failed to get cpu utilization")
        self.kubectl("apply", "-f", "-", input=endpoint_slice("metrics", PORT, namespace=NS), namespace=None)
        self.tell({name: "60m" for name in names})  # six times the target of one Pod
        found = self.until(HPAS, lambda items: items["web"]["status"].get("desiredReplicas") == 4, 90, "four are wanted")["web"]
        self.assertIn("lastScaleTime", found["status"])
        self.until_event("SuccessfulRescale", "web", text="New size: 4; reason: cpu resource utilization (percentage of request) above target")
        self.tell({name: "60m" for name in self.running("web", 4)})
        found = self.until(HPAS, lambda items: items["web"]["status"].get("currentReplicas") == 4, 60, "it sees four")["web"]
        self.assertEqual(condition(found, "ScalingLimited").get("reason"), "TooManyReplicas")
        self.assertEqual(found["status"]["currentMetrics"][0]["resource"]["current"], {"averageUtilization": 300, "averageValue": "60m"})
        self.assertRegex(self.kubectl("get", "hpa", "web").stdout, r"web\s+Deployment/web\s+cpu: 300%/50%\s+1\s+4\s+4")
        self.tell({name: "1m" for name in self.running("web", 4)})
        self.running("web", 1)
        self.until_event("SuccessfulRescale", "web", text="New size: 1; reason: All metrics below target")

    def test_bounds_need_no_metrics(self):
        self.apply(deployment("few", 1))
        self.kubectl("autoscale", "deployment", "few", "--min=2", "--max=3", "--cpu-percent=50")
        self.running("few", 2)
        self.until_event("SuccessfulRescale", "few", text="New size: 2; reason: Current number of replicas below Spec.MinReplicas")
        self.kubectl("scale", "deployment", "few", "--replicas=5")
        self.running("few", 3)

    def test_what_is_not_there_is_said(self):
        self.apply(autoscaler("nobody", 1, 3))
        found = self.until_says("nobody", "AbleToScale", "False", "FailedGetScale")
        self.assertIn('deployments.apps "nobody" not found', condition(found, "AbleToScale")["message"])
        strange = autoscaler("strange", 1, 3)
        strange["spec"]["metrics"] = [{"type": "Object", "object": {
            "describedObject": {"apiVersion": "example.com/v1", "kind": "Nothing", "name": "x"}, "metric": {"name": "m"},
            "target": {"type": "Value", "value": "1"}}}]
        self.apply(deployment("strange", 1), strange)
        found = self.until_says("strange", "ScalingActive", "False", "FailedGetObjectMetric")
        self.assertIn('no matches for kind "Nothing" in group "example.com"', condition(found, "ScalingActive")["message"])


if __name__ == "__main__":
    cluster.main()
