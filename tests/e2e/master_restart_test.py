#!/usr/bin/python3
"""A master that is killed again and again: what serves goes on serving, and what changes in between
reaches every node within one of its short lives."""
import subprocess
import sys
import time

import cluster
from cluster import BUSYBOX

# Ends gracefully: an endpoint that was taken away is asked for a moment longer by whoever still knows it.
SERVE = ["sh", "-c", "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www"]
KILLS, SECONDS = 24, 40


def deployment(version, replicas=4):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
            "terminationGracePeriodSeconds": 10, "containers": [{
                "name": "c", "image": BUSYBOX, "command": SERVE, "env": [{"name": "VERSION", "value": version}],
                "ports": [{"containerPort": 8080, "name": "http"}],
                "lifecycle": {"preStop": {"exec": {"command": ["sleep", "8"]}}},
                "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}}]}}}}


SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
           "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}

# One connection a request, ten or so a second, until its input ends; says how many, and each failure.
CLIENT = """
import http.client, select, sys, time
asked = 0
while not select.select([sys.stdin], [], [], 0.1)[0]:
    asked += 1
    try:
        connection = http.client.HTTPConnection(sys.argv[1], 80, timeout=5)
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            print("FAILED", answer.status, flush=True)
        connection.close()
    except OSError as error:
        print("FAILED", time.strftime("%H:%M:%S"), error, flush=True)
print("asked", asked)
"""


class MasterRestart(cluster.ClusterTest):
    def test_a_rolling_update_under_kills_fails_no_request(self):
        self.apply(deployment("1"), SERVICE)
        self.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        ip = self.jsonpath("{.spec.clusterIP}", "service", "web")
        client = subprocess.Popen([sys.executable, str(cluster.cases.SOURCE / "scripts/cluster"), "exec", self.cluster.name,
                                   "--", sys.executable, "-c", CLIENT, ip],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            self.apply(deployment("2"))
            began = time.monotonic()
            for number in range(KILLS):
                self.cluster.kill("master")
                self.cluster.start("master")
                # The life of a master: what is left of its share of the time.
                time.sleep(max(0, began + SECONDS / KILLS * (number + 1) - time.monotonic()))
            self.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        finally:
            said, _ = client.communicate("\n", timeout=30)
        self.assertNotIn("FAILED", said)
        self.assertRegex(said, r"asked \d\d\d")
        pods = self.get("pods", "-l", "app=web")["items"]
        versions = {p["spec"]["containers"][0]["env"][0]["value"] for p in pods if "deletionTimestamp" not in p["metadata"]}
        self.assertEqual(versions, {"2"})

    def test_a_change_reaches_the_node_within_the_longest_wait(self):
        """A Service changes after its master was killed ten times in a row, each time within a moment."""
        self.apply(deployment("1", 1), SERVICE)
        self.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        ip = self.jsonpath("{.spec.clusterIP}", "service", "web")
        for _ in range(10):
            self.cluster.kill("master")
            self.cluster.start("master")
        self.kubectl("patch", "service", "web", "--type=json", "-p",
                     '[{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]')
        limit = time.monotonic() + 8  # the informers' longest wait is 5 s and a quarter of it
        script = f"busybox wget -qO- http://{ip}:81/"
        while self.inside("sh", "-c", script, check=False).returncode:
            self.assertLess(time.monotonic(), limit, "the proxy has not heard of it")


if __name__ == "__main__":
    cluster.main()
