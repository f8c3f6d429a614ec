"""A cluster of its own for each end-to-end test, through scripts/cluster; kubectl as users run it.

Waits are on events (watches, kubectl wait, pidfds) and bounded. A case that fails prints what the
cluster looked like. Down must leave nothing: that is checked after every script.
"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
sys.path[1:1] = [str(cases.SOURCE / "scripts"), str(cases.SOURCE / "scripts/lib")]
import images
from system import cgroup_hierarchies
from throwaway_cluster import Cluster

os.environ.setdefault("SAMPAN_BIN_DIR", str(cases.BIN))


BUSYBOX = "test/busybox:1"

# A client for `python3 -c`: address, port, seconds. One connection after the other, until SIGTERM at most; says
# "answered" once, and at the end how many were and the longest time without an answer after the first.
ASK = r"""
import signal, socket, sys, time
address, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
begin = last = time.monotonic()
worst = answered = 0
while not ended and time.monotonic() < begin + seconds:
    try:
        with socket.create_connection((address, port), timeout=0.1) as connection:
            connection.settimeout(0.1)
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            if b"200 OK" not in connection.recv(4096):
                continue
    except OSError:
        continue
    now = time.monotonic()
    worst, last, answered = max(worst, now - last) if answered else 0, now, answered + 1
    if answered == 1:
        print("answered", flush=True)
print(answered, max(worst, time.monotonic() - last))
"""


def missing_capability():
    """What this machine lacks for a cluster, or None."""
    if os.geteuid() != 0:
        return "root"
    done = subprocess.run(["unshare", "--net", "--mount", "true"], stderr=subprocess.PIPE)
    if done.returncode != 0:
        return "network and mount namespaces (unshare: " + done.stderr.decode().strip() + ")"
    done = subprocess.run(["unshare", "--net", "nft", "add", "table", "ip", "probe"],
                          stderr=subprocess.PIPE)
    if done.returncode != 0:
        return "nftables (nft: " + done.stderr.decode().strip() + ")"
    if not cgroup_hierarchies():
        return "a cgroup file system"
    return None


CAPABILITIES = {"CAP_SYS_RESOURCE": 24}  # by number, capabilities(7)


def has_capability(name):
    """Whether what a cluster's daemons run as has it."""
    line = next(line for line in open("/proc/self/status") if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> CAPABILITIES[name] & 1)


def pod(name, *command, labels=None, image=BUSYBOX, **spec):
    """A Pod of one busybox container `c`; `container` in spec adds to it."""
    container = {"name": "c", "image": image, **spec.pop("container", {})}
    if command:
        container["command"] = list(command)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec}}


class ClusterTest(unittest.TestCase):
    nodes = 1
    load = ("busybox",)   # archives: "busybox", or paths
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        lacking = missing_capability()
        if lacking:
            raise unittest.SkipTest(lacking)
        stem = pathlib.Path(sys.argv[0]).stem.removesuffix("_test").replace("_", "-")
        # The checkout is part of the name, so that two of them can be tested side by side.
        digest = hashlib.sha256(str(cases.SOURCE).encode()).digest()
        checkout = "".join(chr(ord("a") + byte % 26) for byte in digest[:4])
        cls.cluster = Cluster(f"e2e-{stem[:15].strip('-')}-{checkout}")
        cls.cluster.down()  # of an earlier run of this very script that was killed
        cls.addClassCleanup(cls.take_down)
        cls.up_seconds = cls.cluster.up(cls.nodes, cases.BIN)
        for archive in cls.load:
            cls.cluster.load(images.busybox() if archive == "busybox" else archive)
        cls.api = cls.cluster.api
        cls.namespaces = 0

    @classmethod
    def take_down(cls):
        cls.cluster.down()
        left = cls.cluster.leftovers()
        if left:
            raise AssertionError("left over after down:\n" + "\n".join(left))

    def setUp(self):
        type(self).namespaces += 1
        self.ns = f"t{self.namespaces}-" + self._testMethodName.removeprefix("test_")[:40].replace(
            "_", "-").strip("-")
        self.kubectl("create", "namespace", self.ns, namespace=None)

    def tearDown(self):
        outcome = self._outcome.result
        if any(test is self for test, _ in outcome.failures + outcome.errors):
            print(self.diagnosis())
        self.kubectl("delete", "namespace", self.ns, "--wait=false", namespace=None, check=False)

    def diagnosis(self):
        lines = [f"---- cluster {self.cluster.name} after {self.id()}"]
        for words in (["get", "pods,services,endpoints", "-A", "-o", "wide"],
                      ["get", "events", "-n", self.ns]):
            lines.append(self.kubectl(*words, namespace=None, check=False).stdout)
        for daemon in self.cluster.daemons():
            text = self.cluster.log_path(daemon).read_text(errors="replace").splitlines()
            lines += [f"---- {daemon} {'runs' if self.cluster.pid(daemon) else 'IS DEAD'}"] + text[-25:]
        return "\n".join(lines)

    # -- kubectl

    def kubectl_words(self, words, namespace=""):
        base = ["kubectl", f"--kubeconfig={self.cluster.kubeconfig}",
                f"--cache-dir={self.cluster.state}/kubectl-cache"]
        if namespace is not None:
            base.append(f"--namespace={namespace or self.ns}")
        return base + [str(word) for word in words]

    def kubectl(self, *words, input=None, check=True, namespace="", timeout=120, warnings=()):
        """kubectl in this case's namespace. Fails the case on a non-zero exit or a warning, unless it is one of
        those that `warnings` asks for: then on their absence."""
        if isinstance(input, (dict, list)):
            input = json.dumps(input)
        done = subprocess.run(self.kubectl_words(words, namespace), input=input, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if check:
            self.assertEqual(done.returncode, 0,
                             f"kubectl {' '.join(map(str, words))}: {done.stderr or done.stdout}")
            said = [line for line in done.stderr.splitlines() if "Warning" in line]
            self.assertEqual(sorted(said), sorted(f"Warning: {text}" for text in warnings))
        return done

    def kubectl_popen(self, *words, **options):
        process = subprocess.Popen(self.kubectl_words(words), text=True, **options)

        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        self.addCleanup(end)
        return process

    def apply(self, *objects, warnings=()):
        self.kubectl("apply", "-f", "-", warnings=warnings, input={"apiVersion": "v1", "kind": "List",
                                                                   "items": list(objects)})

    def get(self, *words):
        return json.loads(self.kubectl("get", *words, "-o", "json").stdout)

    def jsonpath(self, path, *words):
        return self.kubectl("get", *words, "-o", f"jsonpath={path}").stdout

    def wait(self, condition, *what, seconds=60):
        self.kubectl("wait", f"--for={condition}", f"--timeout={seconds}s", *what,
                     timeout=seconds + 10)

    def exec(self, pod_name, *command, check=True, input=None):
        words = ["exec"] + (["-i"] if input is not None else []) + [pod_name, "--", *command]
        return self.kubectl(*words, check=check, input=input)

    # -- events

    def until(self, path, good, seconds=60, what=None):
        """Watches a collection (a path of the API; {ns} is this case's) until good(items) is true;
        returns the items by name."""
        path = path.replace("{ns}", self.ns)
        try:
            return self.api.until(path, good, seconds)
        except TimeoutError as error:
            self.fail(f"{what or 'watch ' + path}: not in {seconds} s; last seen: " + json.dumps(
                {name: item.get("status", {}) for name, item in error.args[1].items()})[:3000])

    def until_pod(self, name, good, seconds=60, what=None):
        path = f"/api/v1/namespaces/{{ns}}/pods?fieldSelector=metadata.name%3D{name}"
        return self.until(path, lambda items: name in items and good(items[name]), seconds, what)[name]

    def until_event(self, reason, subject, seconds=60, text=""):
        """The Event about an object, by its reason and a part of its message."""
        def found(items):
            return [event for event in items.values() if event.get("reason") == reason and text in event.get("message", "")
                    and event.get("involvedObject", {}).get("name") == subject]
        items = self.until("/api/v1/namespaces/{ns}/events", found, seconds,
                           f"Event {reason} of {subject}")
        return found(items)[-1]

    # -- inside the cluster

    def inside(self, *command, node=None, check=True, input=None, timeout=120):
        """Runs a command in a node's network namespace, with the cluster's DNS."""
        words = [sys.executable, str(cases.SOURCE / "scripts/cluster"), "exec"]
        if node:
            words += ["--node", node]
        done = subprocess.run(words + [self.cluster.name, "--"] + [str(word) for word in command],
                              input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout)
        if check:
            self.assertEqual(done.returncode, 0, f"{command}: {done.stderr or done.stdout}")
        return done


def restarts(pod_object, container="c"):
    for status in pod_object.get("status", {}).get("containerStatuses", []):
        if status["name"] == container:
            return status["restartCount"]
    return 0


def is_ready(pod_object):
    return any(c["type"] == "Ready" and c["status"] == "True"
               for c in pod_object.get("status", {}).get("conditions", []))


main = cases.main
