#!/usr/bin/python3
"""Every file of examples/ is applied as its reader would, and its effect checked."""
import pathlib
import re
import shutil
import subprocess

import cluster
import cases
import story
from cluster import is_ready, restarts

EXAMPLES = cases.SOURCE / "examples"


class Examples(cluster.ClusterTest):
    load = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for archive in story.make_images():
            cls.cluster.load(archive)

    def example(self, number):
        path, = EXAMPLES.glob(f"{number:02}-*.yaml")
        self.kubectl("apply", "-f", path)
        return path

    def test_all_examples_are_tested(self):
        numbers = {int(path.name[:2]) for path in EXAMPLES.glob("*.yaml")}
        tested = {int(m[1]) for m in (re.match(r"test_(\d\d)_", name) for name in dir(self)) if m}
        self.assertEqual(numbers, tested)
        for path in EXAMPLES.glob("*.yaml"):
            self.assertTrue(path.read_text().startswith("# "), f"{path.name} does not say what it shows")
            self.assertIn(path.name, (EXAMPLES / "README.md").read_text())

    def test_01_pod(self):
        self.example(1)
        self.wait("condition=Ready", "pod/hello")
        self.assertIn("nginx/", self.exec("hello", "nginx", "-v").stderr)
        ip = self.jsonpath("{.status.podIP}", "pod", "hello")
        self.assertEqual(self.inside("curl", "-s", f"http://{ip}/").stdout, "hello version 1\n")

    def test_02_replicationcontroller(self):
        self.example(2)
        pods = self.until("/api/v1/namespaces/{ns}/pods", lambda items: sum(
            map(is_ready, items.values())) == 3)
        for name, item in pods.items():
            answer = self.inside("curl", "-s", f"http://{item['status']['podIP']}/").stdout
            self.assertEqual(answer, f"{name} version 1\n")

    def test_03_service(self):
        self.example(2)
        self.example(3)
        self.until("/api/v1/namespaces/{ns}/endpoints", lambda items: "backend-service" in items and
                   sum(len(s.get("addresses") or [])
                       for s in items["backend-service"].get("subsets") or []) == 3)
        names = {item["metadata"]["name"] for item in self.get("pods")["items"]}
        answers = {self.inside("curl", "-s", "--max-time", "5",
                               f"http://backend-service.{self.ns}.svc.cluster.local/").stdout.split()[0]
                   for _ in range(30)}
        self.assertEqual(answers, names)

    def test_04_deployment(self):
        self.example(4)
        self.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
        url = f"http://shop.{self.ns}.svc.cluster.local/"
        self.assertIn("version 1", self.inside("curl", "-s", url).stdout)
        self.kubectl("set", "image", "deployment/shop", "nginx=demo/nginx:2")
        self.kubectl("rollout", "status", "deployment/shop", "--timeout=90s")
        self.assertIn("version 2", self.inside("curl", "-s", url).stdout)
        self.kubectl("rollout", "undo", "deployment/shop")
        self.kubectl("rollout", "status", "deployment/shop", "--timeout=90s")
        self.assertIn("version 1", self.inside("curl", "-s", url).stdout)

    def test_05_configmap_secret(self):
        self.example(5)
        self.wait("condition=Ready", "pod/settings")
        out = self.exec("settings", "sh", "-c",
                        "echo $COLOUR $PASSWORD; cat /etc/settings/motd /etc/credentials/password").stdout
        self.assertEqual(out, "blue not-so-secret\nthree planks\nnot-so-secret")
        self.assertIn("-r--------", self.exec("settings", "ls", "-lL", "/etc/credentials").stdout)

    def test_06_volumes(self):
        self.example(6)
        self.wait("condition=Ready", "pod/volumes")
        writer = ("exec", "volumes", "-c", "writer", "--", "sh", "-c")
        self.kubectl(*writer, "echo mine > /data/note; kill 1", check=False)
        self.until_pod("volumes", lambda p: restarts(p, "writer") == 1 and is_ready(p), 30)
        read = self.kubectl("exec", "volumes", "-c", "reader", "--", "cat", "/data/note").stdout
        self.assertEqual(read, "mine\n")
        starts = self.kubectl(*writer, "wc -l < /data/starts").stdout
        self.assertEqual(int(starts), 2)
        self.assertIn("tmpfs", self.kubectl(*writer, "grep ' /scratch ' /proc/mounts").stdout)
        self.assertTrue(self.kubectl(*writer, "ls /certificates").stdout.strip())
        self.assertNotEqual(self.kubectl(*writer, "touch /certificates/x", check=False).returncode, 0)

    def test_07_probes(self):
        self.example(7)
        self.wait("condition=Ready", "pod/probes")
        self.exec("probes", "rm", "/tmp/ready")
        self.until_pod("probes", lambda p: not is_ready(p), 15)
        self.exec("probes", "rm", "/tmp/alive")
        self.until_pod("probes", lambda p: restarts(p, "main") == 1 and is_ready(p), 30)

    def test_08_init_and_hooks(self):
        self.example(8)
        self.wait("condition=Ready", "pod/steps")
        self.assertEqual(self.kubectl("logs", "steps", "-c", "second").stdout, "first\nsecond\n")
        self.assertEqual(self.exec("steps", "cat", "/work/steps").stdout, "first\nsecond\npostStart\n")
        # preStop is seen by what it delays: the Pod is still there, and running, while it runs.
        self.kubectl("delete", "pod", "steps", "--wait=false")
        self.until_event("Killing", "steps")

    def test_09_security(self):
        self.example(9)
        self.wait("condition=Ready", "pod/locked")
        status = self.exec("locked", "cat", "/proc/1/status").stdout
        self.assertRegex(status, r"CapEff:\s+0{16}")
        self.assertRegex(status, r"Seccomp:\s+2")
        self.assertRegex(status, r"NoNewPrivs:\s+1")
        self.assertEqual(self.exec("locked", "id").stdout.strip().split(" groups")[0],
                         "uid=1000 gid=1000")
        self.assertNotEqual(self.exec("locked", "touch", "/here", check=False).returncode, 0)
        self.exec("locked", "touch", "/tmp/here")

    def test_10_resources(self):
        self.example(10)
        self.wait("condition=Ready", "pod/bounded")
        self.assertEqual(self.jsonpath("{.status.qosClass}", "pod", "bounded"), "Burstable")
        uid = self.jsonpath("{.metadata.uid}", "pod", "bounded")
        limits = set()
        for path in self.cluster.cgroups():
            if uid in str(path):
                for name in ("memory.limit_in_bytes", "memory.max"):
                    if (path / name).exists():
                        limits.add((path / name).read_text().strip())
        self.assertIn(str(64 << 20), limits)
        self.exec("bounded", "sh", "-c", "tail /dev/zero", check=False)
        self.assertTrue(self.get("pod", "bounded"))

    def test_11_job(self):
        shared = pathlib.Path("/tmp/sampan-example-job")
        shutil.rmtree(shared, ignore_errors=True)
        self.addCleanup(shutil.rmtree, shared, ignore_errors=True)
        self.example(11)
        self.kubectl("wait", "--for=condition=Complete", "job/parts", "--timeout=120s")
        status = self.get("job", "parts")["status"]
        self.assertEqual((status["completedIndexes"], status["succeeded"], status["failed"]), ("0-4", 5, 1))

    def test_12_daemonset(self):
        self.example(12)
        self.kubectl("rollout", "status", "ds/collector", "--timeout=60s")
        nodes = {n["metadata"]["name"] for n in self.get("nodes")["items"]}
        self.assertEqual({p["spec"]["nodeName"] for p in self.get("pods", "-l", "app=collector")["items"]}, nodes)
        self.kubectl("set", "env", "ds/collector", "GREETING=again")
        self.kubectl("rollout", "status", "ds/collector", "--timeout=60s")
        self.kubectl("rollout", "undo", "ds/collector")
        self.kubectl("rollout", "status", "ds/collector", "--timeout=60s")
        node = sorted(nodes)[0]
        self.kubectl("label", "node", node, "quiet=yes", namespace=None)
        self.addCleanup(self.kubectl, "label", "node", node, "quiet-", namespace=None)
        self.until("/api/v1/namespaces/{ns}/pods?labelSelector=app%3Dcollector", lambda items: not any(
            p["spec"].get("nodeName") == node for p in items.values()))

    def test_13_statefulset(self):
        self.example(13)
        self.kubectl("rollout", "status", "sts/member", "--timeout=90s")
        self.assertEqual(sorted(p["metadata"]["name"] for p in self.get("pods", "-l", "app=member")["items"]), ["member-0", "member-1", "member-2"])
        for name in ("member-2", "member-0"):
            self.assertEqual(self.inside("curl", "-s", "--retry", "10", "--retry-all-errors", "--max-time", "30",
                                         f"http://{name}.member.{self.ns}.svc.cluster.local/").stdout, f"{name} version 1\n")
        self.kubectl("patch", "sts", "member", "-p", '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":1}}}}')
        first = self.jsonpath("{.metadata.uid}", "pod", "member-0")
        self.kubectl("set", "env", "sts/member", "GREETING=again")
        self.kubectl("rollout", "status", "sts/member", "--timeout=90s")
        self.assertEqual(self.jsonpath("{.metadata.uid}", "pod", "member-0"), first)

    def test_14_cronjob(self):
        self.example(14)
        self.kubectl("create", "job", "now", "--from=cronjob/report")
        self.kubectl("wait", "--for=condition=Complete", "job/now", "--timeout=60s")
        self.assertRegex(self.kubectl("logs", "job/now").stdout, r"^the time is \d\d:\d\d\n$")
        self.kubectl("patch", "cronjob", "report", "-p", '{"spec":{"suspend":true}}')
        self.assertTrue(self.get("cronjob", "report")["spec"]["suspend"])

    def test_15_persistent_volume(self):
        self.example(15)
        self.kubectl("wait", "--for=condition=Ready", "pod/notes", "--timeout=60s")
        self.exec("notes", "sh", "-c", "echo remember >> /data/notes")
        self.kubectl("delete", "pod", "notes")
        self.example(15)
        self.kubectl("wait", "--for=condition=Ready", "pod/notes", "--timeout=60s")
        self.assertEqual(self.exec("notes", "cat", "/data/notes").stdout, "remember\n")
        self.assertIn("No space left", self.exec("notes", "sh", "-c", "cat /dev/zero > /data/full", check=False).stderr)

    def test_16_load_balancer(self):
        self.example(16)
        self.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
        address = "{.status.loadBalancer.ingress[0].ip}"
        self.wait(f"jsonpath={address}=192.0.2.11", "service/shop")
        ask = ("curl", "-s", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", "--max-time", "30")
        pods = {p["metadata"]["name"] for p in self.get("pods", "-l", "app=shop")["items"]}
        self.assertIn(self.inside(*ask, "http://192.0.2.11/").stdout.split()[0], pods)
        self.kubectl("create", "configmap", "sampan-address-pools", "--from-literal=default=192.0.2.150-192.0.2.160", namespace="kube-system")
        self.addCleanup(self.kubectl, "delete", "configmap", "sampan-address-pools", namespace="kube-system")
        self.wait(f"jsonpath={address}=192.0.2.150", "service/shop")
        self.kubectl("annotate", "service", "shop", "metallb.io/loadBalancerIPs=192.0.2.155")
        self.wait(f"jsonpath={address}=192.0.2.155", "service/shop")
        self.assertIn('Assigned IP ["192.0.2.155"]', self.kubectl("describe", "service", "shop").stdout)
        self.assertIn(self.inside(*ask, "http://192.0.2.155/").stdout.split()[0], pods)

    def test_17_autoscaler(self):
        self.example(17)
        self.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
        load = self.cluster.popen(["timeout", "120", "sh", "-c", f"while :; do curl -s http://shop.{self.ns}.svc.cluster.local/; done"],
                                  stdout=subprocess.DEVNULL)
        self.addCleanup(load.kill)
        hpas = "/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers"
        self.until(hpas, lambda items: items["shop"].get("status", {}).get("desiredReplicas", 0) > 1, 90)
        self.assertRegex(self.kubectl("get", "hpa", "shop").stdout, r"cpu: \d+%/80%")
        load.terminate()
        load.wait()
        self.until(hpas, lambda items: items["shop"]["status"]["desiredReplicas"] == 1, 120)

    def test_18_disruption_budget(self):
        self.example(18)
        self.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
        self.wait("jsonpath={.status.disruptionsAllowed}=1", "pdb/shop")
        # With one node the evicted Pods have nowhere to go: the first goes, the second is refused.
        node, = (n["metadata"]["name"] for n in self.get("nodes")["items"])
        self.addCleanup(self.kubectl, "uncordon", node, namespace=None)
        done = self.kubectl("drain", node, "--ignore-daemonsets", "--timeout=5s", "--pod-selector=app=shop",
                            namespace=None, check=False)
        self.assertIn("Cannot evict pod as it would violate the pod's disruption budget", done.stderr)
        self.assertEqual(sum(map(is_ready, self.get("pods", "-l", "app=shop")["items"])), 2)

    def test_19_network_policy(self):
        self.example(19)
        self.wait("condition=Ready", "pod/store", "pod/client", "pod/other")
        ip = self.jsonpath("{.status.podIP}", "pod", "store")
        said = []

        def reaches(name):
            done = self.exec(name, "busybox", "timeout", "1", "busybox", "wget", "-qO-", f"http://{ip}/", check=False)
            said.append(done.stdout + done.stderr)
            return done.returncode == 0
        self.assertTrue(any(not reaches("other") for _ in range(10)))
        self.assertTrue(reaches("client"), said)
        self.kubectl("label", "pod", "other", "role=client")
        self.assertTrue(any(reaches("other") for _ in range(10)))
        self.kubectl("label", "pod", "client", "role-")
        self.assertTrue(any(not reaches("client") for _ in range(10)))


if __name__ == "__main__":
    cluster.main()
