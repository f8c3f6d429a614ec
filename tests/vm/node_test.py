#!/usr/bin/python3
"""A node as people install it: scripts/install, the units started by systemd, a Pod that outlives its
kubelet, and where its cgroup is. One story; the cases build on each other."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import cases
import images

IMAGE = "localhost/busybox:1"
UNITS = ("sampan-pods", "sampan-master", "sampan-kubelet", "sampan-proxy")
PODS = pathlib.Path("/sys/fs/cgroup/sampan.slice/sampan-pods.service")
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "boat", "labels": {"app": "boat"}},
       "spec": {"containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "Never",
                                "command": ["sh", "-c", "mkdir -p /srv; echo boat > /srv/index.html; exec httpd -f -p 8080 -h /srv"],
                                "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}}]}}

SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "boats"},
           "spec": {"selector": {"app": "boat"}, "ports": [{"port": 80, "targetPort": 8080}]}}


def run(*words, check=True, **options):
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}: exit {done.returncode}: {done.stdout}")
    return done.stdout


def show(unit, name):
    return run("systemctl", "show", "--value", f"--property={name}", unit).strip()


class Node(unittest.TestCase):
    failed = None

    @classmethod
    def setUpClass(cls):
        # An address to be a node with; what is sent to it or through it goes nowhere.
        for words in (("link", "add", "anchor", "type", "dummy"), ("address", "add", "10.77.0.1/24", "dev", "anchor"),
                      ("link", "set", "anchor", "up"), ("route", "add", "default", "via", "10.77.0.254")):
            run("ip", *words)
        archive = pathlib.Path("/tmp/image.tar")
        archive.write_bytes(images.docker_archive(IMAGE, images.busybox_layer({}), {"Cmd": ["sh"], "Env": ["PATH=/bin"]}))
        run(cases.SOURCE / "scripts/install", env=dict(os.environ, SAMPAN_BIN_DIR=str(cases.BIN)))
        run("/usr/local/bin/sampan", "image", "load", "--image-root", "/var/lib/sampan/images", archive)
        os.environ["KUBECONFIG"] = "/var/lib/sampan/master/admin.conf"

    def setUp(self):
        if Node.failed:
            self.skipTest(f"after {Node.failed}")

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            Node.failed = self.id().rsplit(".", 1)[1]
            for words in (("journalctl", "--no-pager", "-n", "60", *[f"-u{u}" for u in UNITS]), ("ip", "address"),
                          ("kubectl", "get", "pods", "-o", "wide")):
                print(f"--- {' '.join(words)}\n{run(*words, check=False)}")

    def wait_for(self, what, ready, seconds=120):
        deadline = time.monotonic() + seconds
        while not (value := ready()):
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.2)
        return value

    def pod(self, *words):
        return run("kubectl", "get", "pod", "boat", "-o", f"jsonpath={words[0]}", check=False).strip()

    def main_process(self):
        """Of the container: its pid, by its cgroup's leaf."""
        for procs in PODS.rglob("cgroup.procs"):
            for pid in procs.read_text().split():
                if pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"httpd\0"):
                    return int(pid), procs.parent
        return None

    def test_1_units_start(self):
        run("systemd-analyze", "verify", *(f"/usr/local/lib/systemd/system/{u}.service" for u in UNITS))
        run("systemctl", "enable", "--now", *UNITS)
        for unit in UNITS:
            self.assertEqual(show(unit, "ActiveState"), "active", unit)
            self.assertEqual(run("systemctl", "is-enabled", unit).strip(), "enabled")
        self.wait_for("a Ready node", lambda: "True" in run(
            "kubectl", "get", "nodes", "-o", "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}", check=False))

    def test_2_a_pod_runs_below_the_delegated_cgroup(self):
        run("kubectl", "apply", "-f", "-", input=json.dumps(POD))
        run("kubectl", "wait", "--for=condition=Ready", "--timeout=120s", "pod/boat")
        pid, cgroup = self.wait_for("the container's process", self.main_process)
        self.assertEqual((cgroup / "memory.max").read_text().strip(), str(64 << 20))
        self.assertEqual((cgroup / "cpu.max").read_text().strip(), "50000 100000")
        self.assertEqual(cgroup.parent.parent, PODS)
        self.assertEqual(show("sampan-pods", "Delegate"), "yes")
        self.assertEqual(show("sampan-pods", "ControlGroup"), "/sampan.slice/sampan-pods.service")
        self.assertFalse((PODS / "cgroup.procs").read_text().strip(), "a divided cgroup holds a process")

    def test_3_restarts_of_the_kubelet_keep_the_pod(self):
        pid, _ = self.main_process()
        started = self.pod("{.status.containerStatuses[0].state.running.startedAt}")
        run("systemctl", "restart", "sampan-kubelet")
        self.assertEqual(self.main_process()[0], pid)
        main = show("sampan-kubelet", "MainPID")
        os.kill(int(main), signal.SIGKILL)
        self.wait_for("a new kubelet", lambda: show("sampan-kubelet", "ActiveState") == "active" and show("sampan-kubelet", "MainPID") not in ("0", main))
        self.assertEqual(self.main_process()[0], pid)
        run("systemctl", "stop", "sampan-kubelet")
        self.assertEqual(self.main_process()[0], pid)
        run("systemctl", "start", "sampan-kubelet")
        self.wait_for("a Ready Pod", lambda: "True" in self.pod("{.status.conditions[?(@.type=='Ready')].status}"))
        self.assertEqual(self.main_process()[0], pid)
        self.assertEqual((self.pod("{.status.containerStatuses[0].restartCount}"),
                          self.pod("{.status.containerStatuses[0].state.running.startedAt}")), ("0", started))

    def test_4_systemd_leaves_the_pods_cgroup_alone(self):
        pid, cgroup = self.main_process()
        run("systemctl", "daemon-reload")
        run("systemctl", "set-property", "--runtime", "sampan.slice", "MemoryHigh=1G")
        self.assertEqual(self.main_process(), (pid, cgroup))
        self.assertEqual((cgroup / "memory.max").read_text().strip(), str(64 << 20))
        self.assertEqual((PODS.parent / "memory.high").read_text().strip(), str(1 << 30))

    def test_5_a_service_is_reached_from_the_host(self):
        run("kubectl", "apply", "-f", "-", input=json.dumps(SERVICE))
        address = run("kubectl", "get", "service", "boats", "-o", "jsonpath={.spec.clusterIP}").strip()

        def answer():
            try:
                with urllib.request.urlopen(f"http://{address}/", timeout=5) as response:
                    return response.read()
            except OSError:  # until the proxy knows of it
                return None
        self.assertEqual(self.wait_for(f"an answer of {address}", answer), b"boat\n")

    def test_6_exec_and_delete(self):
        self.assertEqual(run("kubectl", "exec", "boat", "--", "cat", "/srv/index.html"), "boat\n")
        pid, cgroup = self.main_process()
        run("kubectl", "delete", "pod", "boat", "--timeout=120s")
        self.wait_for("no cgroup of the Pod", lambda: not cgroup.parent.exists())
        self.assertFalse(pathlib.Path(f"/proc/{pid}").exists())

    def test_7_uninstall(self):
        installed = [pathlib.Path("/usr/local/bin/sampan-kubelet"), pathlib.Path("/usr/local/lib/systemd/system/sampan-pods.service")]
        refused = subprocess.run([cases.SOURCE / "scripts/install", "--uninstall"], capture_output=True, text=True, timeout=60)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("sampan-pods", refused.stderr)
        run("systemctl", "disable", "--now", *UNITS)
        run(cases.SOURCE / "scripts/install", "--uninstall")
        self.assertEqual([p for p in installed if p.exists()], [])
        self.assertTrue(pathlib.Path("/var/lib/sampan/master").exists())
        self.assertIn("not-found", run("systemctl", "show", "--value", "--property=LoadState", "sampan-pods"))


if __name__ == "__main__":
    cases.main()
