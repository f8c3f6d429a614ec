#!/usr/bin/python3
"""A day of a cluster of three nodes in one story: a Deployment behind a load balancer's address follows its load, a
StatefulSet with claims is rolled by partition, a DaemonSet, an Indexed Job that fails on the way and a CronJob run beside
it; a node dies in the middle, comes back, and another is drained under a budget."""
import json
import subprocess
import time

import cluster
from cluster import BUSYBOX, is_ready

ADDRESS = "192.0.2.150"
SERVE = ["sh", "-c", "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www"]
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"]
PODS = "/api/v1/namespaces/{ns}/pods"
# A lost node's Pods leave after this many seconds.
LEAVE = [{"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
         for key in ("not-ready", "unreachable")]


def template(app, command, **spec):
    container = {"name": "c", "image": BUSYBOX, "command": command, **spec.pop("container", {})}
    return {"metadata": {"labels": {"app": app}},
            "spec": {"terminationGracePeriodSeconds": 1, "tolerations": LEAVE, "containers": [container], **spec}}


def of_kind(kind, name, api="apps/v1", **spec):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}


def selecting(app):
    return {"matchLabels": {"app": app}}


class ThreeNodes(cluster.ClusterTest):
    nodes = 3

    def pods(self, app, good, seconds=60, what=None):
        return self.until(f"{PODS}?labelSelector=app%3D{app}", good, seconds, what)

    def ready(self, app, count, seconds=60, elsewhere=None):
        """Exactly `count` Pods of an app, all Ready and none ending, none on the node `elsewhere`."""
        return self.pods(app, lambda items: len(items) == count and all(
            is_ready(p) and "deletionTimestamp" not in p["metadata"] and p["spec"]["nodeName"] != elsewhere
            for p in items.values()), seconds, f"{count} Pods of {app} ready")

    def test_story(self):
        self.kubectl("create", "configmap", "sampan-address-pools", f"--from-literal=default={ADDRESS}/32", namespace="kube-system")
        self.apply(
            of_kind("Deployment", "web", replicas=2, selector=selecting("web"), template=template(
                "web", SERVE, container={
                    "resources": {"requests": {"cpu": "5m"}},
                    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}},
                topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                                            "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selecting("web")}])),
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
             "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}},
            of_kind("HorizontalPodAutoscaler", "web", "autoscaling/v2", minReplicas=2, maxReplicas=5,
                    scaleTargetRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                    metrics=[{"type": "Resource", "resource": {
                        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}],
                    behavior={"scaleDown": {"stabilizationWindowSeconds": 10}}),
            of_kind("PodDisruptionBudget", "web", "policy/v1", minAvailable=1, selector=selecting("web")),
            of_kind("DaemonSet", "agent", selector=selecting("agent"), template=template("agent", SLEEP)),
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
             "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 80}]}},
            of_kind("StatefulSet", "db", serviceName="db", replicas=3, selector=selecting("db"),
                    template=template("db", ["sh", "-c", "hostname >> /data/starts; exec sleep 100000"], container={
                        "env": [{"name": "VERSION", "value": "1"}],
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
                        affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                            {"topologyKey": "kubernetes.io/hostname", "labelSelector": selecting("db")}]}}),
                    volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {
                        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}}]),
            of_kind("Job", "parts", "batch/v1", completions=4, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=2,
                    template=template("parts", ["sh", "-c", "[ $JOB_COMPLETION_INDEX != 2 ] || [ $ATTEMPT != 0 ]"], container={
                        "env": [{"name": "ATTEMPT", "valueFrom": {"fieldRef": {
                            "fieldPath": "metadata.annotations['batch.kubernetes.io/job-index-failure-count']"}}}]},
                        restartPolicy="Never")),
            of_kind("CronJob", "tick", "batch/v1", schedule="* * * * *", successfulJobsHistoryLimit=1, jobTemplate={
                "spec": {"template": template("tick", ["true"], restartPolicy="Never")}}))
        self.ready("web", 2)
        self.ready("db", 3)
        agents = self.ready("agent", 3)
        self.assertEqual({p["spec"]["nodeName"] for p in agents.values()}, {"node-1", "node-2", "node-3"})

        # Load from outside the cluster: more Pods, and from now on nobody goes without an answer for long.
        asking = [self.cluster.popen(["python3", "-c", cluster.ASK, ADDRESS, 80, 900], node="master", stdout=subprocess.PIPE, text=True)
                  for _ in range(3)]
        for process in asking:
            self.addCleanup(process.kill)
        self.pods("web", lambda items: sum(map(is_ready, items.values())) >= 4, 120, "more Pods under load")

        # A roll by partition: only the last ordinal is of the new template.
        self.kubectl("patch", "sts", "db", "-p", json.dumps({"spec": {
            "updateStrategy": {"rollingUpdate": {"partition": 2}},
            "template": {"spec": {"containers": [{"name": "c", "env": [{"name": "VERSION", "value": "2"}]}]}}}}))

        def versions(items):
            return {n: p["spec"]["containers"][0]["env"][0]["value"] for n, p in items.items() if is_ready(p)}
        db = self.pods("db", lambda items: versions(items) == {"db-0": "1", "db-1": "1", "db-2": "2"}, 60)

        # A node dies in the middle of it all: the one of db-1.
        lost = db["db-1"]["spec"]["nodeName"]
        for daemon in ("kubelet", "proxy"):
            self.cluster.kill(f"{lost}/{daemon}")
        died = time.monotonic()
        self.ready_elsewhere("web", lost, 120)
        print(f"# Pods of a dead node were replaced and ready after {time.monotonic() - died:.1f} s")
        self.until("/apis/batch/v1/namespaces/{ns}/jobs", lambda items: any(
            c["type"] == "Complete" and c["status"] == "True" for c in items["parts"]["status"].get("conditions", [])), 90)
        status = self.get("job", "parts")["status"]
        self.assertEqual((status["completedIndexes"], status["succeeded"], status["failed"]), ("0-3", 4, 1))
        self.until("/apis/batch/v1/namespaces/{ns}/jobs", lambda items: any(
            name.startswith("tick-") and item["status"].get("succeeded") for name, item in items.items()), 90)

        # It comes back: so does the Pod that has its data there, with what it wrote before.
        for daemon in ("kubelet", "proxy"):
            self.cluster.start(f"{lost}/{daemon}")
        self.cluster.wait_nodes_ready()
        db = self.ready("db", 3, 90)
        self.assertEqual(db["db-1"]["spec"]["nodeName"], lost)
        self.assertEqual(set(self.exec("db-1", "cat", "/data/starts").stdout.split()), {"db-1"})
        self.assertGreaterEqual(len(self.exec("db-1", "cat", "/data/starts").stdout.split()), 2)
        self.ready("agent", 3)

        # Another is emptied under the budget while the load goes on.
        self.kubectl("drain", "node-1", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s",
                     "--pod-selector=app=web", namespace=None, timeout=120)
        self.ready_elsewhere("web", "node-1", 60)
        self.kubectl("uncordon", "node-1", namespace=None)

        # The load ends: few Pods again. Whoever asked was never long without an answer but when the node died, which
        # no one but the address's next bearer could mend.
        for process in asking:
            process.terminate()
        for process in asking:
            answered, worst = process.communicate(timeout=30)[0].split()[-2:]
            print(f"# a client: {answered} answers, at most {float(worst):.1f} s without one")
            self.assertGreater(int(answered), 1000)
            self.assertLess(float(worst), 60)
        self.ready("web", 2, 120)

    def ready_elsewhere(self, app, node, seconds):
        """At least two Pods are Ready, and none that is on the node counts any more."""
        self.pods(app, lambda items: all(p["spec"].get("nodeName") != node or "deletionTimestamp" in p["metadata"]
                                         for p in items.values()) and
                  sum(is_ready(p) and p["spec"]["nodeName"] != node for p in items.values()) >= 2, seconds)


if __name__ == "__main__":
    cluster.main()
