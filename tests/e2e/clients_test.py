#!/usr/bin/python3
"""Client libraries as people have them: Debian's python3-kubernetes, npm's @kubernetes/client-node,
and a kubectl from before WebSockets and server-side apply (1.20), each through create, patch, watch,
exec and logs."""
import shutil
import subprocess
import threading
import time

import cluster
from cluster import pod

CACHE = cluster.cases.BIN.parent / "clients"


class Clients(cluster.ClusterTest):
    def test_python(self):
        try:
            import kubernetes
            import kubernetes.stream
        except ImportError as error:
            self.skipTest(f"python3-kubernetes ({error})")
        client = kubernetes.config.new_client_from_config(str(self.cluster.kubeconfig))
        core = kubernetes.client.CoreV1Api(client)
        made = core.create_namespaced_pod(self.ns, pod(
            "py", "sh", "-c", "echo hello; mkdir -p /www; echo forwarded > /www/index.html; exec httpd -f -p 8080 -h /www", labels={"app": "py"}))
        self.assertEqual(made.status.phase, "Pending")
        watch = kubernetes.watch.Watch()
        kinds = []
        for event in watch.stream(core.list_namespaced_pod, self.ns, resource_version=made.metadata.resource_version,
                                  timeout_seconds=60):
            kinds.append(event["type"])
            if any(c.type == "Ready" and c.status == "True" for c in event["object"].status.conditions or []):
                watch.stop()
        self.assertIn("MODIFIED", kinds)
        patched = core.patch_namespaced_pod("py", self.ns, {"metadata": {"labels": {"patched": "yes"}}})
        self.assertEqual(patched.metadata.labels, {"app": "py", "patched": "yes"})
        patched = core.patch_namespaced_pod("py", self.ns, [{"op": "remove", "path": "/metadata/labels/patched"}])
        self.assertEqual(patched.metadata.labels, {"app": "py"})
        self.assertEqual(core.read_namespaced_pod_log("py", self.ns), "hello\n")
        ran = kubernetes.stream.stream(core.connect_get_namespaced_pod_exec, "py", self.ns,
                                       command=["sh", "-c", "echo from exec; echo err >&2; exit 3"],
                                       stdout=True, stderr=True, _preload_content=False)
        began = time.monotonic()
        ran.run_forever()  # looks at the socket for each message, and for the end
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual((ran.read_stdout(), ran.read_stderr(), ran.returncode), ("from exec\n", "err\n", 3))
        whole = kubernetes.stream.stream(core.connect_get_namespaced_pod_exec, "py", self.ns, command=["echo", "whole"], stdout=True)
        self.assertEqual(whole, "whole\n")
        forward = kubernetes.stream.portforward(core.connect_get_namespaced_pod_portforward, "py", self.ns, ports="8080")
        web = forward.socket(8080)
        web.settimeout(20)
        web.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := web.recv(4096):
            answer += piece
        self.assertRegex(answer, rb"(?s)^HTTP/1\.[01] 200 OK.*forwarded\n$")
        self.assertIsNone(forward.error(8080))
        with self.assertRaises(kubernetes.client.ApiException) as caught:
            core.read_namespaced_pod("nobody", self.ns)
        self.assertEqual((caught.exception.status, caught.exception.reason), (404, "Not Found"))
        page = core.list_namespaced_config_map(self.ns, limit=1)
        self.assertLessEqual(len(page.items), 1)
        core.delete_namespaced_pod("py", self.ns, grace_period_seconds=0)

    def test_node(self):
        if not shutil.which("node") or not shutil.which("npm"):
            self.skipTest("node and npm")
        CACHE.mkdir(parents=True, exist_ok=True)
        if not (CACHE / "node_modules/@kubernetes/client-node").is_dir():
            done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(CACHE),
                                   "@kubernetes/client-node@1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode != 0:
                self.skipTest("@kubernetes/client-node from the npm registry: " + done.stdout.strip()[-200:])
        script = cluster.cases.SOURCE / "tests/e2e/client_node.mjs"
        module = CACHE / "node_modules/@kubernetes/client-node/dist/index.js"
        done = subprocess.run(["node", str(script), str(self.cluster.kubeconfig), self.ns, cluster.BUSYBOX, str(module)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(done.stdout.count("ok "), 7, done.stdout)

    def old_kubectl(self):
        """Debian's kubectl, unpacked aside: it must not take the place of the one on the PATH."""
        found = CACHE / "kubectl-1.20/usr/bin/kubectl"
        if not found.exists():
            folder = CACHE / "kubectl-1.20"
            folder.mkdir(parents=True, exist_ok=True)
            done = subprocess.run(["apt-get", "download", "kubernetes-client"], cwd=folder,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode != 0:
                self.skipTest("Debian's kubernetes-client: " + done.stdout.strip()[-200:])
            subprocess.run(["dpkg", "-x", str(next(folder.glob("*.deb"))), str(folder)], check=True)
        return found

    def test_kubectl_1_20(self):
        program = self.old_kubectl()

        def old(*words, input=None, check=True):
            done = subprocess.run([str(program), *self.kubectl_words(words)[1:]], input=input, timeout=120,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if check:
                self.assertEqual(done.returncode, 0, f"kubectl 1.20 {' '.join(words)}: {done.stderr or done.stdout}")
            return done
        self.assertIn('"minor": "20"', old("version", "--client", "-o", "json").stdout)
        old("run", "old", f"--image={cluster.BUSYBOX}", "--labels=app=old", "--", "sh", "-c", "echo hello; sleep 1000")
        old("wait", "--for=condition=Ready", "pod/old", "--timeout=60s")
        old("label", "pod", "old", "patched=yes")
        old("patch", "pod", "old", "--type=json", "-p", '[{"op":"remove","path":"/metadata/labels/patched"}]')
        self.assertEqual(old("logs", "old").stdout, "hello\n")
        self.assertEqual(old("exec", "old", "--", "echo", "over SPDY").stdout, "over SPDY\n")
        self.assertEqual(old("exec", "-i", "old", "--", "cat", input="in and out\n").stdout, "in and out\n")
        self.assertEqual(old("exec", "old", "--", "sh", "-c", "exit 3", check=False).returncode, 3)
        self.assertIn("old", old("get", "pods", "-o", "wide").stdout)
        self.assertIn("Containers:", old("describe", "pod", "old").stdout)
        self.assertIn("FIELD", old("explain", "pod.spec.containers").stdout)
        old("create", "configmap", "c", "--from-literal=a=1")
        self.assertEqual(old("get", "configmap", "c", "-o", "jsonpath={.data.a}").stdout, "1")
        old("apply", "-f", "-", input='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d"},"data":{"a":"1"}}')
        old("apply", "--server-side", "-f", "-", input='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"e"},"data":{"a":"1"}}')
        watcher = subprocess.Popen([str(program), *self.kubectl_words(["get", "configmaps", "-w", "-o", "name"])[1:]],
                                   stdout=subprocess.PIPE, text=True)
        timer = threading.Timer(60, watcher.kill)
        timer.start()
        try:
            lines = iter(watcher.stdout.readline, "")
            self.assertIn("configmap/e\n", lines)
            self.kubectl("create", "configmap", "later")
            self.assertIn("configmap/later\n", lines)
        finally:
            timer.cancel()
            watcher.kill()
            watcher.wait()
            watcher.stdout.close()
        old("delete", "pod", "old", "--grace-period=0", "--force")


if __name__ == "__main__":
    cluster.main()
