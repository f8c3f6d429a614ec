#!/usr/bin/python3
"""A master that is killed again and again: what serves goes on serving, and what changes in between
reaches every node within one of its short lives."""
import json
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

    def test_changes_arrive_while_masters_live_for_a_moment(self):
        """Masters that live 0.3 s of each second or so: what changes in one life is known within the next two."""
        self.apply(deployment("1", 1), SERVICE)
        self.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        ip = self.jsonpath("{.spec.clusterIP}", "service", "web")
        took, port = [], 80
        for _ in range(6):
            port += 1
            # As soon as the proxy has the port, the endpoint answers.
            script = f"until busybox wget -qO- http://{ip}:{port}/; do busybox usleep 20000; done"
            asking = subprocess.Popen([sys.executable, str(cluster.cases.SOURCE / "scripts/cluster"), "exec", self.cluster.name, "--",
                                       "sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(asking.wait)
            self.addCleanup(asking.kill)
            changed = None
            for life in range(30):
                self.cluster.kill("master")
                died = time.monotonic()
                time.sleep(0.7)
                self.cluster.start("master")
                if life == 5:  # as many have been before as let a wait grow
                    self.kubectl("patch", "service", "web", "--type=json", "-p",
                                 json.dumps([{"op": "replace", "path": "/spec/ports/0/port", "value": port}]))
                    changed = time.monotonic()
                    lived = f"{changed - died:.1f} s between deaths"
                try:
                    asking.wait(0.3)
                    break
                except subprocess.TimeoutExpired:
                    pass
            self.assertEqual(asking.poll(), 0, f"nobody has heard of it in {life - 5} lives of the master, {lived}")
            took.append((time.monotonic() - changed, life - 5))
        print("known after", ", ".join(f"{seconds:.1f} s ({lives} lives)" for seconds, lives in took))
        # Lives, not seconds: how long a start takes is the machine's.
        self.assertLessEqual(max(lives for _, lives in took), 2)


if __name__ == "__main__":
    cluster.main()
