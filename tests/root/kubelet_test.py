#!/usr/bin/python3
"""A real sampan-kubelet with real sampan-pods against a real sampan-master, in a network namespace of
its own: lives of Pods, and what a killed kubelet finds again."""
import json
import os
import pathlib
import shutil
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import cases
import master_api

if os.geteuid() != 0:
    print("skip: root")
    sys.exit(77)
if not shutil.which("busybox"):
    print("skip: busybox (busybox-static)")
    sys.exit(77)
if os.environ.get("KUBELET_TEST_NETNS") != "1":
    os.environ["KUBELET_TEST_NETNS"] = "1"
    os.execvp("unshare", ["unshare", "--net", "--", sys.executable, *sys.argv])
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

import images  # noqa: E402

BIN = cases.BIN
IMAGE = "example.test/busybox:1"
TOKENS = ("a-listers-token,lister,1", "scraper,system:serviceaccount:monitoring:scraper,2")
SLEEP = ["sh", "-c", "trap 'exit 5' TERM; echo started; while true; do sleep 1000 & wait $!; done"]


def make_credentials(directory):
    """A CA and one certificate for both ends: (kubeconfig fields, files)."""
    run = lambda *a: subprocess.run(a, check=True, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
        "-out", "ca.crt", "-subj", "/CN=test-ca", "-days", "2", "-addext", "basicConstraints=critical,CA:TRUE")
    for name, subject in (("node", "/O=system:nodes/CN=system:node:n1"), ("admin", "/O=system:masters/CN=admin"),
                          ("user", "/O=people/CN=somebody")):
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
            "-out", f"{name}.csr", "-subj", subject)
        (directory / "ext").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=clientAuth,serverAuth\n")
        run("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.crt", "-days", "2", "-extfile", "ext")


class KubeletTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="kubelet-test-", dir="/tmp"))
        make_credentials(cls.dir)
        archive = cls.dir / "image.tar"
        archive.write_bytes(images.docker_archive(IMAGE, images.busybox_layer({}), {"Cmd": ["sh"]}))
        subprocess.run([BIN / "sampan", "image", "load", "--image-root", cls.dir / "images", archive], check=True,
                       stdout=subprocess.DEVNULL)
        cls.cgroup = f"/sampan-kubelet-test-{os.getpid()}"

    @classmethod
    def tearDownClass(cls):
        for mount in pathlib.Path("/sys/fs/cgroup").glob("*" + cls.cgroup):
            for path in sorted(mount.rglob("*"), reverse=True):
                if path.is_dir():
                    path.rmdir()
            mount.rmdir()
        shutil.rmtree(cls.dir)

    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="node-", dir=self.dir))
        self.process = None
        self.api = master_api.MasterApi(self.root, self.dir, TOKENS)
        self.bridge = f"kt{os.getpid() % 100000}b{len(list(self.dir.glob('node-*'))) % 100}"[:15]
        self.make_node(f"10.99.{len(list(self.dir.glob('node-*'))) % 200}.0/24")
        self.speak_to(self.api.server)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.start()

    def make_node(self, cidr):
        self.api.put("nodes", "", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
                                   "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}})

    def speak_to(self, server):
        (self.root / "kubeconfig").write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": server, "certificate-authority": str(self.dir / "ca.crt")}}],
            "users": [{"name": "u", "user": {"client-certificate": str(self.dir / "node.crt"),
                                             "client-key": str(self.dir / "node.key")}}]}))

    def tearDown(self):
        try:
            self.end_pods()
        finally:
            self.api.stop()

    def end_pods(self):
        for pod in self.api.all("pods"):
            self.api.terminate(pod["metadata"]["name"], 0)
        if self.process.poll() is not None:
            self.start()
        try:
            self.api.until("all Pods are gone", lambda: not self.api.all("pods"))
            deadline = time.monotonic() + 5   # logs go after the object
            while any((self.root / "root/pods").iterdir()) and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            self.kill(signal.SIGTERM)
            if sys.exc_info()[0] or any(e for _, e in getattr(self._outcome, "errors", []) if e):
                print((self.root / "log").read_text()[-6000:], file=sys.stderr)
        left = [p for p in (self.root / "run").glob("*.sock")]
        self.assertEqual(left, [], "sampan-pods are left")
        self.assertEqual(list((self.root / "root/pods").iterdir()), [], "Pod directories are left")
        self.assertNotIn(str(self.root), pathlib.Path("/proc/self/mounts").read_text(), "mounts are left")
        subprocess.run(["ip", "link", "del", self.bridge], check=True)

    def start(self, *more, images_at=None):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = f"\0kubelet-test-{os.getpid()}-{time.monotonic_ns()}"
        notify.bind(path)
        notify.settimeout(20)
        with open(self.root / "log", "ab") as log:
            self.process = subprocess.Popen(
                [BIN / "sampan-kubelet", "--kubeconfig", self.root / "kubeconfig", "--node-name", "n1", "--node-ip", "127.0.0.1",
                 "--listen", f"127.0.0.1:{self.port}", "--root-dir", self.root / "root", "--run-dir", self.root / "run",
                 "--image-root", images_at or self.dir / "images", "--cgroup-parent", self.cgroup, "--bridge", self.bridge,
                 "--log-level", "debug", "--pod-max-pids", "200", *more],
                env={**os.environ, "NOTIFY_SOCKET": "@" + path[1:]}, stdout=log, stderr=log)
        self.assertEqual(notify.recv(100), b"READY=1")
        notify.close()

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        code = self.process.wait(10)
        self.assertEqual(code, 0 if number == signal.SIGTERM else -number)

    def pod(self, name, *containers, **spec):
        """containers: dicts of a container, or argument lists for one called c, c1, …"""
        made = []
        for i, c in enumerate(containers):
            c = dict(c) if isinstance(c, dict) else {"command": list(c)}
            made.append({"name": "c" + (str(i) if i else ""), "image": IMAGE, "imagePullPolicy": "IfNotPresent", **c})
        spec = {"nodeName": "n1", "restartPolicy": "Always", "terminationGracePeriodSeconds": 5,
                "enableServiceLinks": False, **spec, "containers": made}
        return self.api.put("pods", "default", {"apiVersion": "v1", "kind": "Pod",
                                                "metadata": {"name": name, "labels": {"app": name}}, "spec": spec})

    def until_pod(self, name, test, seconds=20):
        def check():
            pod = self.api.get("pods", name)
            return pod if pod and test(pod.get("status") or {}) else None
        return self.api.until(f"pod {name}", check, seconds)

    def ready(self, name):
        return self.until_pod(name, lambda s: any(c["type"] == "Ready" and c["status"] == "True" for c in s.get("conditions", [])))

    def pid_of(self, name):
        """The container's first process: the child of its sampan-pod."""
        uid = self.api.get("pods", name)["metadata"]["uid"]
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if uid in (path / "cgroup").read_text() and (path / "cmdline").read_bytes().startswith(b"sh\0"):
                    return int(path.name)
            except OSError:
                pass
        self.fail("no process of " + name)

    def get(self, path, who="admin", token=None):
        credentials = ["--cert", self.dir / f"{who}.crt", "--key", self.dir / f"{who}.key"] if who else []
        if token:
            credentials += ["-H", f"Authorization: Bearer {token}"]
        done = subprocess.run(["curl", "-s", "-w", "\n%{http_code}", "--cacert", self.dir / "ca.crt", *credentials,
                               f"https://127.0.0.1:{self.port}{path}"], stdout=subprocess.PIPE, text=True, timeout=20)
        body, _, code = done.stdout.rpartition("\n")
        return int(code), body

    def log_of(self, name, container="c"):
        return self.get(f"/containerLogs/default/{name}/{container}")[1]

    # ---- lives -----------------------------------------------------------------------------

    def test_a_life(self):
        self.pod("one", SLEEP, SLEEP)
        pod = self.ready("one")
        status = pod["status"]
        self.assertEqual(status["phase"], "Running")
        self.assertRegex(status["podIP"], r"^10\.99\.\d+\.\d+$")
        self.assertEqual(status["qosClass"], "BestEffort")
        self.assertRegex(status["containerStatuses"][0]["imageID"], "sha256:[0-9a-f]{64}")
        self.assertRegex(status["containerStatuses"][0]["containerID"], r"^sampan://.+/c\.0$")
        ready = next(c for c in status["conditions"] if c["type"] == "Ready")
        self.assertEqual(set(ready), {"type", "status", "observedGeneration", "lastTransitionTime"}, "nothing is left of why it was not ready")
        self.assertEqual(self.log_of("one"), "started\n")
        # Before its trap is set, the first process of a container ignores what asks it to end.
        self.api.until("both have set their traps", lambda: self.log_of("one", "c1") == "started\n")
        self.api.terminate("one")
        self.api.until("gone", lambda: self.api.get("pods", "one") is None)
        # Events travel beside the status, in no order with it.
        self.api.until("the events of a life", lambda: {"Pulled", "Created", "Started", "Killing"} <= {
            e["reason"] for e in self.api.all("events")})

    def test_a_crashing_container_backs_off(self):
        self.pod("crash", ["sh", "-c", "echo last words > /dev/termination-log; exit 3"])
        pod = self.until_pod("crash", lambda s: s.get("containerStatuses") and
                             s["containerStatuses"][0]["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff")
        c = pod["status"]["containerStatuses"][0]
        self.assertEqual(c["restartCount"], 1)
        self.assertEqual(c["lastState"]["terminated"]["exitCode"], 3)
        self.assertEqual(c["lastState"]["terminated"]["message"], "last words\n")
        self.assertEqual(pod["status"]["phase"], "Running")

    def test_never_and_init_containers(self):
        self.pod("job", {"command": ["cat", "/work/x"], "volumeMounts": [{"name": "w", "mountPath": "/work"}]}, restartPolicy="Never",
                 initContainers=[{"name": "i", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", "echo from-init > /work/x"],
                                  "volumeMounts": [{"name": "w", "mountPath": "/work"}]}],
                 volumes=[{"name": "w", "emptyDir": {}}])
        self.until_pod("job", lambda s: s.get("phase") == "Succeeded")
        self.assertEqual(self.log_of("job"), "from-init\n")

    def test_volumes_and_environment(self):
        self.api.put("configmaps", "default", {"metadata": {"name": "cfg"}, "data": {"color": "blue", "deep": "x"}})
        self.api.put("secrets", "default", {"metadata": {"name": "key"}, "data": {"token": "czNjcjN0"}})
        script = ("cat /cfg/color /sec/token /pod/labels /all/d/n; echo; echo $COLOR $MY_IP; id -G; stat -c %a /mem; "
                  "cat /sub/f; cat /etc/resolv.conf; grep -c $MY_IP /etc/hosts; hostname; : > /tmp/done; exec sleep 1000")
        host = self.root / "host"
        host.mkdir()
        (host / "f").write_text("host-file\n")
        self.pod("vol", {
            "command": ["sh", "-c", script], "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/done"]}, "periodSeconds": 1},
            "env": [{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "color"}}},
                    {"name": "MY_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "volumeMounts": [{"name": "cfg", "mountPath": "/cfg"}, {"name": "sec", "mountPath": "/sec"}, {"name": "pod", "mountPath": "/pod"},
                             {"name": "all", "mountPath": "/all"}, {"name": "mem", "mountPath": "/mem"},
                             {"name": "host", "mountPath": "/sub", "subPath": "."}]},
            securityContext={"fsGroup": 2000}, volumes=[
                {"name": "cfg", "configMap": {"name": "cfg"}}, {"name": "sec", "secret": {"secretName": "key"}},
                {"name": "pod", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {"name": "all", "projected": {"sources": [
                    {"downwardAPI": {"items": [{"path": "d/n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                    {"serviceAccountToken": {"path": "token"}}]}},
                {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                {"name": "host", "hostPath": {"path": str(host), "type": "Directory"}}])
        pod = self.ready("vol")
        ip = pod["status"]["podIP"]
        lines = self.log_of("vol").splitlines()
        self.assertEqual(lines[0], 'blues3cr3tapp="vol"vol')
        self.assertEqual(lines[1], f"blue {ip}")
        self.assertIn("2000", lines[2].split())
        self.assertEqual(lines[3], "3777")
        self.assertEqual(lines[4], "host-file")
        self.assertEqual(lines[5:], ["search default.svc.cluster.local svc.cluster.local cluster.local" + self.host_searches(),
                                     "nameserver 10.96.0.10", "options ndots:5", "1", "vol"])
        # A change of the ConfigMap reaches the running container.
        volume = self.root / "root/pods" / pod["metadata"]["uid"] / "volumes/cfg"
        self.api.put("configmaps", "default", {"metadata": {"name": "cfg"}, "data": {"color": "red"}})
        deadline = time.monotonic() + 10
        while (volume / "color").read_text() != "red" or (volume / "deep").exists():
            self.assertLess(time.monotonic(), deadline, "the volume was not updated")
            time.sleep(0.02)

    def test_volumes_inside_read_only_volumes(self):
        """The account's token below a Secret, a file of the Pod in a ConfigMap, and what a manifest names in any order."""
        self.api.put("configmaps", "default", {"metadata": {"name": "etc"}, "data": {"color": "blue"}})
        self.api.put("secrets", "default", {"metadata": {"name": "key"}, "data": {"password": "czNjcjN0"}})
        script = ("cat /var/run/secrets/password /var/run/secrets/kubernetes.io/serviceaccount/token /etc/color; grep -c nested /etc/hosts; "
                  "cat /etc/deep/er/color /empty/in/color; test -w /etc/scratch && echo writable; touch /etc/x 2>/dev/null || echo read-only; "
                  ": > /tmp/done; exec sleep 1000")
        self.pod("nested", {
            "command": ["sh", "-c", script], "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/done"]}, "periodSeconds": 1},
            "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}, {"name": "cfg", "mountPath": "/etc/deep/er/"},
                             {"name": "scratch", "mountPath": "/etc/scratch"}, {"name": "cfg", "mountPath": "/etc/"}, {"name": "key", "mountPath": "/var/run/secrets"},
                             {"name": "empty", "mountPath": "/empty", "readOnly": True}, {"name": "cfg", "mountPath": "/empty/in"}]},
            volumes=[{"name": "cfg", "configMap": {"name": "etc"}}, {"name": "key", "secret": {"secretName": "key"}},
                     {"name": "scratch", "emptyDir": {}}, {"name": "empty", "emptyDir": {}},
                     {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}])
        pod = self.ready("nested")
        self.assertRegex(self.log_of("nested"), r"^s3cr3teyJ[\w-]+\.[\w-]+\.[\w-]+blue1\nbluebluewritable\nread-only\n$")
        # New contents of the outer volume leave the inner mounts where they are.
        self.api.put("configmaps", "default", {"metadata": {"name": "etc"}, "data": {"color": "red", "more": "x"}})
        volume = self.root / "root/pods" / pod["metadata"]["uid"] / "volumes/cfg"
        deadline = time.monotonic() + 10
        while (volume / "color").read_text() != "red":
            self.assertLess(time.monotonic(), deadline, "the volume was not updated")
            time.sleep(0.02)
        pid = self.pid_of_container("nested")
        self.assertEqual(pathlib.Path(f"/proc/{pid}/root/etc/deep/er/color").read_text(), "red")
        self.assertIn("nested", pathlib.Path(f"/proc/{pid}/root/etc/hosts").read_text())

    def pid_of_container(self, name):
        uid = self.api.get("pods", name)["metadata"]["uid"]
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if f"{uid}/c.0" in (path / "cgroup").read_text():
                    return int(path.name)
            except OSError:
                pass
        self.fail("no process of " + name)

    def test_tokens_are_for_who_runs_there(self):
        script = "stat -c '%a %u %g' $(readlink -f /t/token); cat /t/token && : > /tmp/done; exec sleep 1000"
        for name, context, expected in (("plain", {}, "644 0 0"), ("user", {"runAsUser": 1000}, "600 1000 0"),
                                        ("group", {"fsGroup": 2000}, "640 0 2000"), ("both", {"runAsUser": 1000, "fsGroup": 2000}, "640 1000 2000")):
            self.pod(name, {"command": ["sh", "-c", script], "volumeMounts": [{"name": "t", "mountPath": "/t"}],
                            "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/done"]}, "periodSeconds": 1}},
                     securityContext=context, volumes=[{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}])
            self.ready(name)
            self.assertEqual(self.log_of(name).splitlines()[0], expected, name)

    def test_a_last_line_without_a_line_break(self):
        self.pod("log", ["sh", "-c", "echo one; printf two; exit 3"], restartPolicy="Never")
        self.pod("message", {"command": ["sh", "-c", "echo one; printf two; exit 3"], "terminationMessagePolicy": "FallbackToLogsOnError"}, restartPolicy="Never")
        for name in ("log", "message"):
            self.until_pod(name, lambda s: s.get("phase") == "Failed")
        self.assertEqual(self.log_of("log"), "one\ntwo")
        state = self.api.get("pods", "message")["status"]["containerStatuses"][0]["state"]["terminated"]
        self.assertEqual(state["message"], "one\ntwo")

    def test_the_nodes_range_changes(self):
        """A Pod whose address nobody can reach any more gets one of the new range."""
        self.pod("moved", SLEEP)
        old = self.ready("moved")["status"]
        self.kill()
        self.api.drop("nodes", "", "n1")   # a Node keeps its range for life
        self.make_node("10.98.0.0/24")
        self.start()
        pod = self.until_pod("moved", lambda s: s.get("podIP", "").startswith("10.98.0.") and s["containerStatuses"][0]["ready"])
        self.assertNotEqual(pod["status"]["podIP"], old["podIP"])
        self.assertEqual(pod["status"]["podIPs"], [{"ip": pod["status"]["podIP"]}])
        self.assertEqual(pod["status"]["containerStatuses"][0]["restartCount"], 1)
        # At rest: nothing is patched any more.
        version = self.until_pod("moved", lambda s: any(c["type"] == "Ready" and c["status"] == "True" for c in s["conditions"]))["metadata"]["resourceVersion"]
        time.sleep(1)   # what an endless loop needs to show itself hundreds of times
        self.assertEqual(self.api.get("pods", "moved")["metadata"]["resourceVersion"], version)

    def test_unused_images_go_when_the_disk_is_full(self):
        store = self.root / "images"
        archive = self.root / "image.tar"
        for name in ("example.test/used:1", "example.test/unused:1"):
            archive.write_bytes(images.docker_archive(name, images.busybox_layer({}), {"Cmd": ["sh"], "Labels": {"name": name}}))
            subprocess.run([BIN / "sampan", "image", "load", "--image-root", store, archive], check=True, stdout=subprocess.DEVNULL)
        names = lambda: {i["name"] for i in json.loads(subprocess.run([BIN / "sampan", "image", "list", "--json", "--image-root", store],
                                                                      stdout=subprocess.PIPE, check=True).stdout)}
        self.kill()
        self.start("--image-gc-high-threshold", "100", images_at=store)
        self.pod("user", {"command": SLEEP, "image": "example.test/used:1"})
        self.ready("user")
        self.assertEqual(len(names()), 2)
        self.kill()
        self.start("--image-gc-high-threshold", "1", "--image-gc-low-threshold", "0", "--minimum-image-ttl-seconds", "0", images_at=store)
        deadline = time.monotonic() + 20
        while names() != {"example.test/used:1"}:
            self.assertLess(time.monotonic(), deadline, names())
            time.sleep(0.05)
        self.api.until("an Event that it was not enough", lambda: any(e["reason"] == "FreeDiskSpaceFailed" for e in self.api.all("events")))
        os.kill(self.pid_of("user"), 0)

    @staticmethod
    def host_searches():
        searches = []
        for line in pathlib.Path("/etc/resolv.conf").read_text().splitlines():
            words = line.split()
            if words[:1] in (["search"], ["domain"]):
                searches = words[1:]
        return "".join(" " + s for s in searches)

    def test_what_is_missing_is_said(self):
        self.pod("late", {"command": ["cat", "/cfg/a"], "volumeMounts": [{"name": "v", "mountPath": "/cfg"}]}, restartPolicy="Never",
                 volumes=[{"name": "v", "configMap": {"name": "nope"}}])
        self.pod("env", {"command": ["sleep", "1000"], "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k"}}}]})
        self.pod("pull", {"image": "127.0.0.1:1/none:1", "command": ["x"]})
        self.pod("exec", {"command": ["/no/such/program"]})
        self.api.until("FailedMount", lambda: [e for e in self.api.all("events") if e["reason"] == "FailedMount" and
                       'MountVolume.SetUp failed for volume "v" : configmap "nope" not found' in e["message"]])
        pod = self.until_pod("env", lambda s: s.get("containerStatuses") and s["containerStatuses"][0]["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError")
        self.assertEqual(pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"], 'secret "no" not found')
        self.until_pod("pull", lambda s: s.get("containerStatuses") and s["containerStatuses"][0]["state"].get("waiting", {}).get("reason") == "ErrImagePull")
        self.until_pod("pull", lambda s: s["containerStatuses"][0]["state"].get("waiting", {}).get("reason") == "ImagePullBackOff")
        pod = self.until_pod("exec", lambda s: s.get("containerStatuses") and s["containerStatuses"][0].get("lastState", {}).get("terminated"))
        self.assertEqual(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"], "StartError")
        # What was missing comes: the Pod goes on without being asked.
        self.api.put("configmaps", "default", {"metadata": {"name": "nope"}, "data": {"a": "here\n"}})
        self.until_pod("late", lambda s: s.get("phase") == "Succeeded")
        self.assertEqual(self.log_of("late"), "here\n")

    def test_probes_and_hooks(self):
        web = "mkdir -p /www; echo ok > /www/x; exec httpd -f -p 8080 -h /www"
        self.pod("probed", {"command": ["sh", "-c", web],
                            "lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "echo post > /www/post"]}},
                                          "preStop": {"exec": {"command": ["sh", "-c", "echo bye > /keep/bye"]}}},
                            "volumeMounts": [{"name": "keep", "mountPath": "/keep"}],
                            "startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1},
                            "livenessProbe": {"exec": {"command": ["test", "-e", "/www/x"]}, "periodSeconds": 1, "failureThreshold": 1}},
                 volumes=[{"name": "keep", "hostPath": {"path": str(self.root / "keep"), "type": "DirectoryOrCreate"}}])
        self.api.until("unready is said", lambda: [e for e in self.api.all("events") if e["reason"] == "Unhealthy" and
                       e["message"] == "Readiness probe failed: HTTP probe failed with statuscode: 404"])
        www = pathlib.Path(f"/proc/{self.first_pid('probed')}/root/www")
        self.assertEqual((www / "post").read_text(), "post\n")
        (www / "ready").write_text("yes")
        self.ready("probed")
        (www / "x").unlink()
        self.until_pod("probed", lambda s: s["containerStatuses"][0]["restartCount"] == 1)
        self.assertEqual((self.root / "keep/bye").read_text(), "bye\n")
        self.assertTrue([e for e in self.api.all("events") if e["message"] == "Container c failed liveness probe, will be restarted"])

    def first_pid(self, name):
        uid = self.api.get("pods", name)["metadata"]["uid"]
        for path in sorted(pathlib.Path("/proc").glob("[0-9]*"), key=lambda p: int(p.name)):
            try:
                if uid in (path / "cgroup").read_text() and b"sampan-pod" not in (path / "cmdline").read_bytes():
                    return int(path.name)
            except OSError:
                pass
        self.fail("no process of " + name)

    def test_grace_ends_with_a_kill(self):
        self.pod("stubborn", ["sh", "-c", "trap '' TERM; while true; do sleep 1000 & wait $!; done"])
        self.ready("stubborn")
        began = time.monotonic()
        self.api.terminate("stubborn", 1)
        self.api.until("gone", lambda: self.api.get("pods", "stubborn") is None)
        self.assertGreater(time.monotonic() - began, 0.9)
        self.assertLess(time.monotonic() - began, 5)

    def test_a_pod_that_never_came_up_goes_at_once(self):
        self.pod("stuck", {"command": ["x"], "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                 volumes=[{"name": "v", "secret": {"secretName": "never"}}])
        self.api.until("three failures", lambda: [e for e in self.api.all("events") if e["reason"] == "FailedMount" and e["count"] >= 3])
        began = time.monotonic()
        self.api.terminate("stuck")
        self.api.until("gone", lambda: self.api.get("pods", "stuck") is None)
        self.assertLess(time.monotonic() - began, 1.5)
        # Its address is given back when its link is gone, a moment later.
        while "sampan_kubelet_pod_addresses_used 0" not in self.get("/metrics")[1].splitlines():
            self.assertLess(time.monotonic() - began, 5, "the address was not given back")

    def test_without_its_record_a_pod_is_started_anew(self):
        self.pod("lost", SLEEP)
        uid = self.ready("lost")["metadata"]["uid"]
        self.kill()
        (self.root / "run/records" / f"{uid}.json").write_text("{half")
        self.start()
        self.until_pod("lost", lambda s: s["containerStatuses"][0]["restartCount"] == 1 and s["containerStatuses"][0]["ready"])

    # ---- kill -9 -----------------------------------------------------------------------------

    def test_pods_do_not_notice_a_restart(self):
        self.pod("steady", SLEEP)
        before, pid = self.ready("steady"), self.pid_of("steady")
        for number in (signal.SIGKILL, signal.SIGTERM):
            self.kill(number)
            os.kill(pid, 0)
            self.start()
            self.pod("after" + str(int(number)), SLEEP)
            self.ready("after" + str(int(number)))     # the new kubelet works, and gives another address
            after = self.api.get("pods", "steady")
            self.assertEqual(self.pid_of("steady"), pid)
            self.assertEqual(after["status"]["containerStatuses"], before["status"]["containerStatuses"])
            self.assertEqual(after["status"]["podIP"], before["status"]["podIP"])
        self.assertEqual(len({p["status"]["podIP"] for p in self.api.all("pods")}), 3)

    def test_what_happened_in_between_is_picked_up(self):
        for name in ("exits", "goes", "deleted", "crashed"):
            self.pod(name, SLEEP)
        for name in ("exits", "goes", "deleted", "crashed"):
            self.ready(name)
        pid = self.pid_of("exits")
        uid = self.api.get("pods", "crashed")["metadata"]["uid"]
        self.kill()
        fd = os.pidfd_open(pid)
        ended = select.poll()
        ended.register(fd, select.POLLIN)
        for _ in range(600):  # before its trap is set, the first process of a container ignores it
            signal.pidfd_send_signal(fd, signal.SIGTERM)
            if ended.poll(50):
                break
        else:
            self.fail("the container does not end")
        holder = [p for p in pathlib.Path("/proc").glob("[0-9]*") if self.is_holder(p, uid)]
        self.assertEqual(len(holder), 1)
        os.kill(int(holder[0].name), signal.SIGKILL)
        self.api.drop("pods", "default", "goes")
        self.api.terminate("deleted")
        self.start()
        pod = self.until_pod("exits", lambda s: s["containerStatuses"][0]["restartCount"] == 1 and s["containerStatuses"][0]["ready"])
        self.assertEqual(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 5)
        self.api.until("deleted is gone", lambda: self.api.get("pods", "deleted") is None)
        pod = self.until_pod("crashed", lambda s: s["containerStatuses"][0]["restartCount"] == 1 and s["containerStatuses"][0]["ready"])
        self.assertEqual(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 137)
        self.assertIn("deleted", self.api.asked("delete", "pods"))
        self.assertNotIn("goes", self.api.asked("delete", "pods"))

    @staticmethod
    def is_holder(path, uid):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return words[0].endswith(b"sampan-pod") and uid.encode() in words

    def test_killed_at_any_moment_of_a_start(self):
        # The kubelet dies somewhere in the middle of six starts; every Pod comes up, once.
        for i, delay in enumerate((0.002, 0.006, 0.012, 0.02, 0.03, 0.05)):
            self.pod(f"p{i}", SLEEP)
            time.sleep(delay)   # the moment, not a wait
            self.kill()
            self.start()
        for i in range(6):
            pod = self.ready(f"p{i}")
            self.assertEqual(pod["status"]["containerStatuses"][0]["restartCount"], 0, f"p{i}")
        self.assertEqual(len({p["status"]["podIP"] for p in self.api.all("pods")}), 6)

    def test_killed_while_pre_stop_hooks_run(self):
        """Again and again, while 35 Pods are deleted whose hooks are execs: nothing of them stays (tearDown looks)."""
        hook = {"preStop": {"exec": {"command": ["sh", "-c", "sleep 2"]}}}
        count = 35
        for i in range(count):
            self.pod(f"p{i}", {"command": SLEEP, "lifecycle": hook}, terminationGracePeriodSeconds=4)
        for i in range(count):
            self.until_pod(f"p{i}", lambda s: any(c["type"] == "Ready" and c["status"] == "True" for c in s.get("conditions", [])), 90)
        for i in range(count):
            self.api.terminate(f"p{i}", 4)
        for delay in (0.3, 0.1, 0.5, 1.0, 0.2):
            time.sleep(delay)   # the moment, not a wait
            self.kill()
            self.start()
        self.api.until("all Pods are gone", lambda: not self.api.all("pods"), 60)

    def test_what_cant_be_written_down_is_not_begun(self):
        """An intent that a killed kubelet could not find again: the Pod waits, and says why."""
        records = self.root / "run/records"
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", records], check=True)
        try:
            (records / "full.new").write_bytes(b"x" * 16384)
            self.pod("waits", SLEEP)
            self.api.until("an Event", lambda: any(e["reason"] == "FailedCreatePodSandBox" and "No space left" in e["message"] for e in self.api.all("events")))
            self.assertEqual(list((self.root / "run").glob("*.sock")), [], "a sandbox without a record")
            (records / "full.new").unlink()
            self.ready("waits")
            self.api.terminate("waits", 0)
            self.api.until("gone", lambda: self.api.get("pods", "waits") is None)
        finally:
            subprocess.run(["umount", "-l", records], check=True)

    # ---- server and node -----------------------------------------------------------------------

    def test_who_may_ask(self):
        with urllib.request.urlopen("http://127.0.0.1:10248/healthz", timeout=5) as answer:
            self.assertEqual(answer.read(), b"ok")
        self.assertEqual(self.get("/healthz", None), (401, "Unauthorized"))
        self.assertEqual(self.get("/healthz"), (200, "ok"))
        self.assertEqual(self.get("/pods", None)[0], 401)
        self.assertEqual(self.get("/pods", None, token="unknown")[0], 401)
        self.assertEqual(self.get("/pods", "user"),
                         (403, "Forbidden (user=somebody, verb=get, resource=nodes, subresource(s)=[pods proxy])"))
        self.api.allow("lister", "proxy")
        self.assertEqual(self.get("/pods", None, token="a-listers-token")[0], 200)
        self.assertEqual(self.get("/metrics", None, token="a-listers-token")[0], 403)
        self.assertEqual(self.get("/pods", None, token="a-listers-token")[0], 200)
        self.assertEqual(self.get("/pods", None, token="unknown as well")[0], 401)
        reviews, deadline = lambda: len(self.api.asked("create", "tokenreviews")), time.monotonic() + 10
        while reviews() < 3:   # the log is written beside the answers, in their order
            self.assertLess(time.monotonic(), deadline, "tokens are not reviewed")
            time.sleep(0.02)
        self.assertEqual(reviews(), 3, "a known token is reviewed again")
        self.assertEqual(json.loads(self.get("/configz")[1])["kubeletconfig"]["kind"], "KubeletConfiguration")
        self.assertEqual(json.loads(self.get("/pods")[1])["kind"], "PodList")
        self.assertIn("kubelet_running_pods", self.get("/metrics")[1])
        node = self.api.until("node is ready", lambda: next((n for n in self.api.all("nodes") if any(
            c["type"] == "Ready" and c["status"] == "True" for c in n.get("status", {}).get("conditions", []))), None))
        self.assertEqual(node["metadata"]["labels"]["kubernetes.io/hostname"], "n1")
        self.assertEqual(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"], self.port)
        lease = self.api.until("lease", lambda: self.api.get("leases", "n1", "kube-node-lease"))
        self.assertEqual(lease["spec"]["holderIdentity"], "n1")

    def test_bodies_of_strangers_are_not_kept(self):
        """Any Pod reaches this port: what it sends without a name costs nothing."""
        def resident():
            text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
            return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Rss:")) * 1024
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        before, peak, open_ones = resident(), 0, []
        for _ in range(40):
            s = context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=2))
            open_ones.append(s)
            try:
                s.sendall(b"POST /exec/default/p/c HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 60_000)
                for _ in range(20):
                    s.sendall(b"x" * 100_000)
            except OSError:
                pass
            peak = max(peak, resident())
        self.assertLess(peak - before, 24 << 20)
        self.assertEqual(self.get("/pods")[0], 200)
        for s in open_ones:
            s.close()
        deadline = time.monotonic() + 20
        while resident() - before > 8 << 20 and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertLess(resident() - before, 8 << 20)


    def test_what_prometheus_and_metrics_server_read(self):
        for part in ("metrics", "stats"):
            self.api.allow("system:serviceaccount:monitoring:scraper", part)
        self.pod("busy", {"command": ["sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 1000"],
                          "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
                          "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}})
        self.ready("busy")
        scrape = lambda path: self.get(path, None, token="scraper")

        def series(path, name):
            code, text = scrape(path)
            self.assertEqual(code, 200, path)
            self.assertNotIn("\n\n", text)
            return [line for line in text.splitlines() if line.startswith(name + "{") or line.startswith(name + " ")]
        labels = 'container="c",namespace="default",pod="busy"'
        for name in ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_start_time_seconds"):
            found = series("/metrics/resource", name)
            self.assertEqual(len(found), 1, name)
            self.assertIn(labels, found[0])
            self.assertGreater(float(found[0].split("} ")[1].split()[0]), 0, found[0])
        for name in ("pod_cpu_usage_seconds_total", "pod_memory_working_set_bytes", "node_cpu_usage_seconds_total",
                     "node_memory_working_set_bytes", "scrape_error", "resource_scrape_error"):
            self.assertEqual(len(series("/metrics/resource", name)), 1, name)
        usage = [line for line in series("/metrics/cadvisor", "container_cpu_usage_seconds_total") if 'pod="busy"' in line]
        self.assertEqual(len(usage), 2)   # the Pod's and the container's
        for name in ("container_memory_rss", "container_network_receive_bytes_total", "container_cpu_cfs_throttled_periods_total",
                     "container_spec_memory_limit_bytes", "machine_memory_bytes"):
            self.assertTrue(series("/metrics/cadvisor", name), name)
        self.assertTrue(series("/metrics/probes", "prober_probe_total"))
        self.assertTrue(series("/metrics", "kubelet_running_pods"))
        self.assertTrue(series("/metrics", "process_resident_memory_bytes"))
        code, text = scrape("/stats/summary")
        self.assertEqual(code, 200)
        summary = json.loads(text)
        self.assertEqual(summary["node"]["nodeName"], "n1")
        pod = summary["pods"][0]
        self.assertEqual(pod["podRef"]["name"], "busy")
        self.assertGreater(pod["containers"][0]["memory"]["workingSetBytes"], 0)
        self.assertIn("rootfs", pod["containers"][0])
        self.assertIn("network", pod)
        brief = json.loads(scrape("/stats/summary?only_cpu_and_memory=true")[1])
        self.assertNotIn("network", brief["pods"][0])
        self.assertEqual(scrape("/pods")[0], 403)
        self.assertEqual(scrape("/exec/default/busy/c?command=id")[0], 403)

    def test_logs_of_what_cannot_be_pulled(self):
        self.pod("absent", {"image": "127.0.0.1:1/no/such:1"})
        self.until_pod("absent", lambda s: s.get("containerStatuses", [{}])[0].get("state", {}).get("waiting", {}).get("reason")
                       == "ImagePullBackOff")
        code, text = self.get("/containerLogs/default/absent/c")
        self.assertEqual(code, 400)
        self.assertEqual(json.loads(text)["message"],
                         'container "c" in pod "absent" is waiting to start: trying and failing to pull image')

    def test_a_pod_cidr_without_room_is_said(self):
        ready = lambda: next((c for n in self.api.all("nodes") for c in n.get("status", {}).get("conditions", [])
                              if c["type"] == "Ready"), {})
        self.api.until("node is ready", lambda: ready().get("status") == "True")
        # No master takes such a Node: somebody between the two tells of it.
        told = {}
        proxy = master_api.LyingProxy(self.api.server, master_api.client_context(self.dir, "node"), "Node",
                                      lambda node: node.setdefault("spec", {}).update(told))
        self.addCleanup(proxy.stop)
        self.speak_to(proxy.server)
        for cidr in ("10.99.250.0/31", "10.99.250.0/32", "10.99.250.0/33", "fd00::/64", "garbage", "0.0.0.0/0"):
            self.kill(signal.SIGTERM)
            told.update(podCIDR=cidr, podCIDRs=[cidr])
            self.start()
            self.api.until(f"{cidr} is told", lambda: ready().get("status") == "False" and cidr.split("/")[0] in ready().get("message", ""))
            self.assertIsNone(self.process.poll(), f"{cidr} ended the kubelet")
        told.clear()   # mended without a restart
        self.api.call("PATCH", "/api/v1/nodes/n1", {"metadata": {"labels": {"mended": "yes"}}}, "application/merge-patch+json")
        self.api.until("node is ready again", lambda: ready().get("status") == "True")

    def test_a_hostile_author_sends_what_a_probe_sends(self):
        # The server writes down what reaches it: one GET, whatever the Pod's author writes into the path.
        catch = ("cat > /answer <<'X'\n"
                 "while IFS= read -r line; do printf '%s\\n' \"$line\" >> /seen; [ ${#line} = 1 ] && break; done\n"
                 "printf 'HTTP/1.0 200 OK\\r\\n\\r\\nok'\n"
                 "X\n"
                 "while true; do nc -l -p 8080 -e sh /answer; done")
        self.pod("hostile", {"command": ["sh", "-c", catch], "readinessProbe": {
            "httpGet": {"path": "/x HTTP/1.1\r\nHost: a\r\n\r\nDELETE /api/v1/nodes/n1 HTTP/1.1\r\nX: y", "port": 8080,
                        "httpHeaders": [{"name": "X-Fine", "value": "v"}]}, "periodSeconds": 1}})
        self.ready("hostile")
        seen = pathlib.Path(f"/proc/{self.first_pid('hostile')}/root/seen").read_text()   # line breaks as \n
        first = seen.split("\n")[0]
        self.assertEqual(first, "GET /x%20HTTP/1.1%0D%0AHost:%20a%0D%0A%0D%0ADELETE%20/api/v1/nodes/n1%20HTTP/1.1%0D%0AX:%20y HTTP/1.1")
        self.assertFalse([line for line in seen.split("\n") if line.startswith("DELETE")])
        self.assertIn("User-Agent: kube-probe/1.36", seen)
        self.pod("header", {"command": ["sh", "-c", catch], "readinessProbe": {
            "httpGet": {"path": "/", "port": 8080, "httpHeaders": [{"name": "X", "value": "1\r\nX-Forged: 2"}]}, "periodSeconds": 1}})
        self.api.until("the header is refused", lambda: [e for e in self.api.all("events") if e["involvedObject"]["name"] == "header" and
                                                         "invalid header field value" in e["message"]])


if __name__ == "__main__":
    unittest.main(verbosity=2)
