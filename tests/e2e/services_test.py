#!/usr/bin/python3
"""Services on one node: cluster IPs from Pods and from the node, DNS names, endpoints that follow,
hairpin, UDP, session affinity, headless, and rules that survive the proxy."""
import collections

import cluster
from cluster import BUSYBOX, pod

SERVE = ["sh", "-c", "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www"]


def web(replicas, name="web", labels=None):
    labels = labels or {"app": name}
    return {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": labels, "template": {
                "metadata": {"labels": labels}, "spec": {
                    "terminationGracePeriodSeconds": 1, "containers": [{
                        "name": "c", "image": BUSYBOX, "command": SERVE,
                        "ports": [{"containerPort": 8080, "name": "http"}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": "http"},
                                           "periodSeconds": 1}}]}}}}


def service(name="web", selector=None, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": selector or {"app": "web"},
                     "ports": [{"port": 80, "targetPort": "http", "name": "http"}], **spec}}


CLIENT = pod("client", "sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done")


class Services(cluster.ClusterTest):
    def endpoints(self, count, name="web", seconds=60):
        def good(items):
            return name in items and sum(len(s.get("addresses") or [])
                                         for s in items[name].get("subsets") or []) == count
        self.until("/api/v1/namespaces/{ns}/endpoints", good, seconds, f"{count} endpoints of {name}")

    def answers(self, url, times, from_pod="client"):
        """Counter of the answers; a failed request counts as FAILED."""
        wget = "wget" if from_pod else "busybox wget"
        script = (f"i=0; while [ $i -lt {times} ]; do timeout 5 {wget} -qO- {url} || echo FAILED; "
                  "i=$((i+1)); done")
        if from_pod:
            out = self.exec(from_pod, "sh", "-c", script).stdout
        else:
            out = self.inside("busybox", "sh", "-c", script).stdout
        return collections.Counter(out.split())

    def ready(self, replicas=3, **spec):
        self.apply(web(replicas), service(**spec), CLIENT)
        self.wait("condition=Ready", "pod/client")
        self.endpoints(replicas)
        # The rules follow the endpoints within the same loop: the first answer is the event.
        ip = self.jsonpath("{.spec.clusterIP}", "service", "web")
        return ip

    def test_cluster_ip_spreads_from_pods_and_from_the_node(self):
        ip = self.ready()
        pods = {item["metadata"]["name"] for item in self.get("pods", "-l", "app=web")["items"]}
        for where in ("client", None):
            counts = self.answers(f"http://{ip}/", 60, where)
            self.assertEqual(set(counts), pods, counts)
            self.assertEqual(sum(counts.values()), 60)
            self.assertGreaterEqual(min(counts.values()), 6, counts)  # 20 expected each

    def test_dns_names(self):
        ip = self.ready()
        for name in ("web", f"web.{self.ns}", f"web.{self.ns}.svc", f"web.{self.ns}.svc.cluster.local"):
            self.assertEqual(sum(v for k, v in self.answers(f"http://{name}/", 5).items()
                                 if k.startswith("web-")), 5, name)
            self.assertIn(ip, self.exec("client", "nslookup",
                                        f"web.{self.ns}.svc.cluster.local").stdout)
        self.assertIn("kubernetes.default.svc.cluster.local", self.exec(
            "client", "nslookup", "kubernetes.default.svc.cluster.local").stdout)
        resolv = self.exec("client", "cat", "/etc/resolv.conf").stdout
        self.assertIn("nameserver 10.96.0.10", resolv)
        self.assertIn(f"search {self.ns}.svc.cluster.local svc.cluster.local cluster.local", resolv)
        missing = self.exec("client", "nslookup", f"none.{self.ns}.svc.cluster.local", check=False)
        self.assertIn("NXDOMAIN", missing.stdout + missing.stderr)

    def test_dns_from_the_node(self):
        self.ready()
        counts = self.answers(f"http://web.{self.ns}.svc.cluster.local/", 6, None)
        self.assertNotIn("FAILED", counts)

    def test_scale_moves_the_endpoints(self):
        ip = self.ready()
        for replicas in (5, 2):
            self.kubectl("scale", "rc", "web", f"--replicas={replicas}")
            self.endpoints(replicas)
            counts = self.answers(f"http://{ip}/", 20 * replicas)
            pods = {item["metadata"]["name"] for item in self.get("pods", "-l", "app=web")["items"]
                    if "deletionTimestamp" not in item["metadata"]}
            self.assertEqual(set(counts), pods)

    def test_a_killed_pod_is_replaced(self):
        self.ready()
        victim = self.get("pods", "-l", "app=web")["items"][0]["metadata"]["name"]
        self.kubectl("delete", "pod", victim, "--wait=false")
        self.until("/api/v1/namespaces/{ns}/pods?labelSelector=app%3Dweb", lambda items:
                   victim not in items and sum(cluster.is_ready(p) for p in items.values()) == 3)
        self.endpoints(3)

    def test_a_pod_reaches_itself_through_its_service(self):
        ip = self.ready(replicas=1)
        name = self.get("pods", "-l", "app=web")["items"][0]["metadata"]["name"]
        self.assertEqual(self.answers(f"http://{ip}/", 5, name), {name: 5})

    def test_no_endpoints_is_refused_at_once(self):
        self.apply(service("empty", {"app": "none"}), CLIENT)
        self.wait("condition=Ready", "pod/client")
        ip = self.jsonpath("{.spec.clusterIP}", "service", "empty")
        done = self.exec("client", "timeout", "5", "wget", "-qO-", f"http://{ip}/", check=False)
        self.assertIn("refused", done.stderr)

    def test_session_affinity(self):
        ip = self.ready(sessionAffinity="ClientIP")
        counts = self.answers(f"http://{ip}/", 20)
        self.assertEqual(len(counts), 1, counts)
        self.assertNotIn("FAILED", counts)

    def test_headless_names_every_pod(self):
        self.apply(web(3), service("headless", clusterIP="None"), CLIENT)
        self.wait("condition=Ready", "pod/client")
        self.endpoints(3, "headless")
        out = self.exec("client", "nslookup", f"headless.{self.ns}.svc.cluster.local").stdout
        for item in self.get("pods", "-l", "app=web")["items"]:
            self.assertIn(item["status"]["podIP"], out)

    def test_udp_and_endpoints_that_go(self):
        for name in ("one", "two"):
            self.apply(pod(name, "udp", "serve", "5353", name, labels={"app": "udp"}))
        self.apply(CLIENT, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "udp"},
                            "spec": {"selector": {"app": "udp"}, "ports": [
                                {"port": 53, "targetPort": 5353, "protocol": "UDP"}]}})
        self.wait("condition=Ready", "pod/one", "pod/two", "pod/client")
        self.endpoints(2, "udp")
        ip = self.jsonpath("{.spec.clusterIP}", "service", "udp")
        loop = f"for i in $(seq 30); do udp ask {ip} 53 || echo FAILED; done"
        self.assertEqual(set(self.exec("client", "sh", "-c", loop).stdout.split()), {"one", "two"})
        # The connections to the Pod that went are forgotten with it: nothing is sent there any more.
        self.kubectl("delete", "pod", "one")
        self.endpoints(1, "udp")
        self.assertEqual(set(self.exec("client", "sh", "-c", loop).stdout.split()), {"two"})

    def test_node_port(self):
        self.ready(type="NodePort")
        port = self.jsonpath("{.spec.ports[0].nodePort}", "service", "web")
        counts = self.answers(f"http://192.0.2.11:{port}/", 12)
        self.assertNotIn("FAILED", counts)
        counts = self.answers(f"http://192.0.2.11:{port}/", 12, None)
        self.assertNotIn("FAILED", counts)

    def test_host_port(self):
        self.apply(CLIENT, cluster.pod("behind", *SERVE, container={"ports": [{"containerPort": 8080, "hostPort": 8088}]}))
        self.wait("condition=Ready", "pod/behind", "pod/client")
        url = "http://192.0.2.11:8088/"
        fetch = ("curl", "-s", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--max-time", "30", url)
        self.assertEqual(self.inside(*fetch).stdout, "behind\n")
        self.assertEqual(self.exec("client", "timeout", "5", "wget", "-qO-", url).stdout, "behind\n")
        self.assertEqual(self.exec("behind", "timeout", "5", "wget", "-qO-", url).stdout, "behind\n")
        self.kubectl("delete", "pod", "behind")
        self.assertNotEqual(self.inside("curl", "-s", "--max-time", "5", url, check=False).returncode, 0)

    def test_services_work_while_the_proxy_is_gone(self):
        ip = self.ready()
        self.cluster.kill("proxy")
        try:
            self.assertNotIn("FAILED", self.answers(f"http://{ip}/", 20))
        finally:
            self.cluster.start("proxy")
        # What changed meanwhile is picked up, and nothing else was flushed.
        self.kubectl("scale", "rc", "web", "--replicas=1")
        self.endpoints(1)
        counts = self.answers(f"http://{ip}/", 10)
        self.assertEqual(len(counts), 1, counts)

    def test_the_api_from_a_pod(self):
        self.apply(CLIENT)
        self.wait("condition=Ready", "pod/client")
        # busybox's TLS knows no ECDSA; that somebody answers, and only there, is the network's part.
        self.exec("client", "sh", "-c", "timeout 5 nc kubernetes.default 443 < /dev/null")
        done = self.exec("client", "sh", "-c", "timeout 5 nc kubernetes.default 444 < /dev/null", check=False)
        self.assertNotEqual(done.returncode, 0)


if __name__ == "__main__":
    cluster.main()
