#!/usr/bin/python3
"""The kubelet's own API as people use it: Prometheus and metrics-server scrape it with the token of a
ServiceAccount and the rights of a ClusterRole; nobody else gets in."""
import json

import cluster
from cluster import pod


class NodeApi(cluster.ClusterTest):
    def token_of(self, name, *roles):
        self.kubectl("create", "serviceaccount", name)
        for role in roles:
            self.kubectl("create", "clusterrolebinding", f"{self.ns}-{name}-{role}".replace(":", "-"), f"--clusterrole={role}",
                         f"--serviceaccount={self.ns}:{name}", namespace=None)
            self.addCleanup(self.kubectl, "delete", "clusterrolebinding", f"{self.ns}-{name}-{role}".replace(":", "-"), namespace=None, check=False)
        return self.kubectl("create", "token", name).stdout.strip()

    def ask(self, path, token=None):
        address = self.jsonpath("{.status.addresses[?(@.type=='InternalIP')].address}", "node", "node-1")
        words = ["curl", "-sk", "--max-time", "20", "-w", "\n%{http_code}"] + (["-H", "@-"] if token else [])
        done = self.inside(*words, f"https://{address}:10250{path}", input=f"Authorization: Bearer {token}\n" if token else None)
        body, _, code = done.stdout.rpartition("\n")
        return int(code), body

    def test_what_metrics_server_and_prometheus_read(self):
        # metrics-server's own ClusterRole: nodes/metrics alone (since 0.6).
        self.kubectl("create", "clusterrole", f"{self.ns}-scraper", "--verb=get", "--resource=nodes/metrics", namespace=None)
        self.addCleanup(self.kubectl, "delete", "clusterrole", f"{self.ns}-scraper", namespace=None, check=False)
        token = self.token_of("scraper", f"{self.ns}-scraper")
        self.apply(pod("busy", "sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 1000"))
        self.wait("condition=Ready", "pod/busy")
        labels = f'container="c",namespace="{self.ns}",pod="busy"'
        code, text = self.ask("/metrics/resource", token)
        self.assertEqual(code, 200, text)
        for name in ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_start_time_seconds"):
            lines = [line for line in text.splitlines() if line.startswith(f"{name}{{{labels}}} ")]
            self.assertEqual(len(lines), 1, name)
            self.assertGreater(float(lines[0].split("} ")[1].split()[0]), 0)
        for name in ("node_cpu_usage_seconds_total", "node_memory_working_set_bytes", "pod_cpu_usage_seconds_total",
                     "pod_memory_working_set_bytes", "scrape_error"):
            self.assertIn(f"\n{name}", "\n" + text)
        code, text = self.ask("/metrics/cadvisor", token)
        self.assertEqual(code, 200)
        self.assertIn(f'namespace="{self.ns}",pod="busy"', text)
        self.assertEqual(self.ask("/metrics/probes", token)[0], 200)
        self.assertEqual(self.ask("/metrics", token)[0], 200)
        for path in ("/stats/summary", "/pods", "/configz", f"/containerLogs/{self.ns}/busy/c", f"/exec/{self.ns}/busy/c?command=id"):
            self.assertEqual(self.ask(path, token)[0], 403, path)

    def test_kubelet_api_admin_and_strangers(self):
        admin = self.token_of("admin", "system:kubelet-api-admin")
        for path in ("/metrics", "/stats/summary", "/pods", "/configz", "/healthz"):
            self.assertEqual(self.ask(path, admin)[0], 200, path)
        summary = json.loads(self.ask("/stats/summary", admin)[1])
        self.assertEqual(summary["node"]["nodeName"], "node-1")
        poor = self.token_of("poor")
        code, text = self.ask("/metrics", poor)
        self.assertEqual((code, text), (403, f"Forbidden (user=system:serviceaccount:{self.ns}:poor, verb=get, resource=nodes, "
                                             "subresource(s)=[metrics])"))
        for token in (None, "garbage", admin[:-3]):
            self.assertEqual(self.ask("/metrics", token), (401, "Unauthorized"))

    def test_through_the_api_server(self):
        raw = lambda path: self.kubectl("get", "--raw", path, namespace=None).stdout
        self.assertEqual(raw("/api/v1/nodes/node-1/proxy/healthz"), "ok")
        self.assertIn("node_cpu_usage_seconds_total", raw("/api/v1/nodes/node-1/proxy/metrics/resource"))
        self.assertEqual(json.loads(raw("/api/v1/nodes/node-1/proxy/stats/summary"))["node"]["nodeName"], "node-1")

    def test_logs_of_what_cannot_be_pulled(self):
        self.apply(pod("absent", image="192.0.2.1:1/no/such:1"))
        self.until_pod("absent", lambda p: (p["status"].get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {}).get(
            "reason") == "ImagePullBackOff")
        done = self.kubectl("logs", "absent", check=False)
        self.assertIn('container "c" in pod "absent" is waiting to start: trying and failing to pull image', done.stderr)


if __name__ == "__main__":
    cluster.main()
