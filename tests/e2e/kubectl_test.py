#!/usr/bin/python3
"""kubectl's own commands against the API server: discovery, tables, apply, edit-like patches, label,
describe, wait, explain; no warning that is ours (the shared module fails on one)."""
import json
import subprocess

import cluster
from cluster import pod


class Kubectl(cluster.ClusterTest):
    def test_discovery(self):
        lines = self.kubectl("api-resources", "--no-headers").stdout.splitlines()
        names = {line.split()[0] for line in lines}
        for name in ("pods", "replicationcontrollers", "replicasets", "deployments", "services",
                     "endpoints", "endpointslices", "nodes", "namespaces", "configmaps", "secrets",
                     "serviceaccounts", "events", "leases"):
            self.assertIn(name, names)
        versions = self.kubectl("api-versions").stdout.split()
        for version in ("v1", "apps/v1", "coordination.k8s.io/v1", "discovery.k8s.io/v1"):
            self.assertIn(version, versions)
        version = json.loads(self.kubectl("version", "-o", "json").stdout)
        self.assertIn("gitVersion", version["serverVersion"])

    def test_tables(self):
        self.apply(pod("one", "sleep", "1000", labels={"a": "b"}))
        self.wait("condition=Ready", "pod/one")
        lines = self.kubectl("get", "pods").stdout.splitlines()
        self.assertEqual(lines[0].split(), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"])
        self.assertEqual(lines[1].split()[:4], ["one", "1/1", "Running", "0"])
        wide = self.kubectl("get", "pods", "-o", "wide", "--show-labels").stdout
        self.assertIn("node-1", wide)
        self.assertIn("a=b", wide)
        node = self.kubectl("get", "nodes").stdout.splitlines()
        self.assertEqual(node[0].split(), ["NAME", "STATUS", "ROLES", "AGE", "VERSION"])
        self.assertEqual(node[1].split()[:2], ["node-1", "Ready"])
        services = self.kubectl("get", "services", "-n", "default", namespace=None).stdout
        self.assertIn("10.96.0.1", services)

    def test_apply_three_ways(self):
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"},
                "data": {"a": "1", "b": "2"}}
        self.assertIn("created", self.kubectl("apply", "-f", "-", input=made).stdout)
        self.assertIn("unchanged", self.kubectl("apply", "-f", "-", input=made).stdout)
        self.kubectl("patch", "configmap", "c", "-p", '{"data":{"theirs":"3"}}')
        del made["data"]["b"]
        self.assertIn("configured", self.kubectl("apply", "-f", "-", input=made).stdout)
        self.assertEqual(self.get("configmap", "c")["data"], {"a": "1", "theirs": "3"})

    def test_server_side_apply(self):
        def config(**data):
            return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ssa"}, "data": data}

        def apply(*flags, check=True, **data):
            return self.kubectl("apply", "--server-side", *flags, "-f", "-", input=config(**data), check=check)
        self.assertIn("serverside-applied", apply(a="1", b="2").stdout)
        apply("--field-manager=other", c="3")
        done = apply("--field-manager=other", a="9", c="3", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('conflict with "kubectl": .data.a', done.stderr)
        apply("--field-manager=other", "--force-conflicts", a="9", c="3")
        apply(b="2")
        self.assertEqual(self.get("configmap", "ssa")["data"], {"a": "9", "b": "2", "c": "3"})
        # From client-side to server-side: kubectl takes its own fields over.
        self.kubectl("apply", "-f", "-", input={**config(x="1", y="1"), "metadata": {"name": "moved"}})
        self.kubectl("apply", "--server-side", "-f", "-", input={**config(x="2"), "metadata": {"name": "moved"}})
        self.assertEqual(self.get("configmap", "moved")["data"], {"x": "2"})

    def test_patches(self):
        self.apply(pod("p", "sleep", "1000"))
        self.kubectl("patch", "pod", "p", "--type=json", "-p",
                     '[{"op":"add","path":"/metadata/labels","value":{"x":"y"}}]')
        self.kubectl("patch", "pod", "p", "--type=merge", "-p", '{"metadata":{"labels":{"z":"1"}}}')
        self.kubectl("patch", "pod", "p", "-p", '{"spec":{"containers":[{"name":"c","image":"test/busybox:1"}]}}')
        self.assertEqual(self.get("pod", "p")["metadata"]["labels"], {"x": "y", "z": "1"})
        done = self.kubectl("patch", "pod", "p", "--type=json", "-p",
                            '[{"op":"test","path":"/metadata/name","value":"no"}]', check=False)
        self.assertNotEqual(done.returncode, 0)
        done = self.kubectl("patch", "pod", "p", "-p", '{"spec":{"nodeName":"other"}}', check=False)
        self.assertNotEqual(done.returncode, 0)

    def test_strategic_merge_by_name(self):
        two = pod("two", "sleep", "1000")
        two["spec"]["containers"].append({"name": "d", "image": cluster.BUSYBOX, "command": ["sleep", "9"]})
        template = {"metadata": {"labels": {"app": "x"}}, "spec": two["spec"]}
        self.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"},
                    "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}},
                             "template": template}})
        self.kubectl("set", "image", "deployment/x", "d=test/other:2")
        self.kubectl("set", "env", "deployment/x", "-c", "c", "A=1")
        got = self.get("deployment", "x")["spec"]["template"]["spec"]["containers"]
        self.assertEqual({c["name"]: c["image"] for c in got},
                         {"c": cluster.BUSYBOX, "d": "test/other:2"})
        self.assertEqual([c for c in got if c["name"] == "c"][0]["env"], [{"name": "A", "value": "1"}])

    def test_labels_and_selectors(self):
        for name, tier in (("a", "front"), ("b", "back"), ("c", "back")):
            self.kubectl("create", "configmap", name)
            self.kubectl("label", "configmap", name, f"tier={tier}")
        self.kubectl("annotate", "configmap", "a", "note=hello there")

        def names(*words):
            return self.kubectl("get", "configmaps", "-o", "name", *words).stdout.split()
        self.assertEqual(names("-l", "tier=back"), ["configmap/b", "configmap/c"])
        self.assertEqual(names("-l", "tier in (front),tier"), ["configmap/a"])
        self.assertEqual(names("--field-selector", "metadata.name=b"), ["configmap/b"])
        self.assertEqual(self.kubectl("label", "configmap", "a", "tier=x", check=False).returncode, 1)
        self.kubectl("delete", "configmaps", "-l", "tier=back")
        self.assertNotIn("configmap/b", names())

    def test_describe(self):
        self.apply(pod("told", "sleep", "1000"))
        self.wait("condition=Ready", "pod/told")
        text = self.kubectl("describe", "pod", "told").stdout
        for word in ("Node:", "node-1", "Container ID:", "Started", "Scheduled", "Pulled"):
            self.assertIn(word, text)
        text = self.kubectl("describe", "node", "node-1", namespace=None).stdout
        for word in ("InternalIP", "Allocatable", "Kernel Version", "PodCIDR"):
            self.assertIn(word, text)

    def test_create_commands(self):
        self.kubectl("create", "deployment", "d", f"--image={cluster.BUSYBOX}", "--replicas=1", "--",
                     "sleep", "1000")
        self.kubectl("rollout", "status", "deployment/d", "--timeout=60s")
        self.kubectl("expose", "deployment", "d", "--port=80")
        self.assertRegex(self.jsonpath("{.spec.clusterIP}", "service", "d"), r"^10\.96\.")
        self.kubectl("create", "secret", "generic", "s", "--from-literal=a=b")
        self.kubectl("create", "serviceaccount", "robot")
        self.kubectl("run", "quick", f"--image={cluster.BUSYBOX}", "--restart=Never", "--command", "--",
                     "echo", "quick")
        self.wait("jsonpath={.status.phase}=Succeeded", "pod/quick", seconds=30)
        self.assertEqual(self.kubectl("logs", "quick").stdout, "quick\n")

    def test_run_attached(self):
        done = self.kubectl("run", "attached", f"--image={cluster.BUSYBOX}", "--restart=Never", "-i",
                            "--rm", "--command", "--", "sh", "-c", "read line; echo got $line",
                            input="a line\n", timeout=60)
        self.assertIn("got a line", done.stdout)

    def test_wait_for_deletion_and_watch(self):
        self.apply(pod("brief", "sleep", "1000"))
        self.wait("condition=Ready", "pod/brief")
        watch = self.kubectl_popen("get", "pods", "--watch-only", "-o", "name", stdout=subprocess.PIPE)
        waiter = self.kubectl_popen("wait", "--for=delete", "pod/brief", "--timeout=60s",
                                    stdout=subprocess.PIPE)
        self.kubectl("delete", "pod", "brief", "--wait=false")
        self.assertEqual(waiter.wait(60), 0)
        self.assertEqual(watch.stdout.readline().strip(), "pod/brief")

    def test_explain(self):
        self.assertIn("restartPolicy", self.kubectl("explain", "pod.spec").stdout)

    def test_diff_and_replace(self):
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
        self.apply(made)
        made["data"]["a"] = "2"
        done = self.kubectl("diff", "-f", "-", input=made, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn('+  a: "2"', done.stdout)
        self.kubectl("replace", "-f", "-", input=made)
        self.assertEqual(self.get("configmap", "c")["data"], {"a": "2"})
        self.kubectl("delete", "configmap", "c", "--dry-run=server")
        self.kubectl("get", "configmap", "c")

    def test_dry_run_writes_nothing(self):
        out = self.kubectl("apply", "--dry-run=server", "-f", "-", input=pod("dry", "true"))
        self.assertIn("dry run", out.stdout)
        self.assertIn("not found", self.kubectl("get", "pod", "dry", check=False).stderr)

    def test_top_level_health(self):
        self.assertEqual(self.kubectl("get", "--raw", "/readyz").stdout, "ok")
        self.assertIn("Kubernetes control plane", self.kubectl("cluster-info", namespace=None).stdout)


if __name__ == "__main__":
    cluster.main()
