#!/usr/bin/python3
"""The demo's story: a ReplicationController behind a Service under real requests, a kill, scaling,
a rolling update, a volume that survives, each with the numbers it measured.

Stands on scripts/cluster and kubectl alone. Every step checks what it claims and the story stops
with exit code 1 at the first claim that does not hold. tests/e2e/demo_test.py drives the same steps.
"""
import collections
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
from system import Failure
from throwaway_cluster import SOURCE, Cluster

EXAMPLES = SOURCE / "examples"
IMAGES = SOURCE / "build/images"


class Broken(Exception):
    """A claim of the story that did not hold."""


def claim(condition, text):
    if not condition:
        raise Broken(text)


# ---- images -----------------------------------------------------------------------------------

def make_images():
    """Archives of demo/nginx:1 and :2, from Debian's nginx; made once, then kept."""
    archives = []
    for version in ("1", "2"):
        archives.append(IMAGES / f"demo-nginx-{version}.tar")
        if archives[-1].exists():
            continue
        done = subprocess.run([SOURCE / "scripts/image-from-debian", "--name", f"demo/nginx:{version}",
                               "--preset", "nginx", "--page", f"version {version}",
                               "--out", archives[-1]],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        claim(done.returncode == 0, f"scripts/image-from-debian: {done.stdout[-2000:]}")
    return archives


# ---- the client, run inside the cluster's network -----------------------------------------------

def client(host, port, count):
    """Requests one after another, each on a connection of its own and with its name looked up
    anew, `count` times or until SIGTERM; prints {answer: times} and the failures with their causes."""
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    answers, failures = collections.Counter(), collections.Counter()
    slowest, done = 0.0, 0
    print("ready", flush=True)
    while not stopped and (not count or done < count):
        done += 1
        began = time.monotonic()
        try:
            with socket.create_connection((host, port), timeout=5) as connection:
                connection.sendall(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                data = b""
                while chunk := connection.recv(65536):
                    data += chunk
            head, _, body = data.partition(b"\r\n\r\n")
            if head.split(b" ", 2)[1:2] == [b"200"]:
                answers[body.decode().strip()] += 1
            else:
                failures[head.decode(errors="replace").split("\r\n")[0] or "empty answer"] += 1
        except OSError as error:
            failures[f"{type(error).__name__}: {error}"] += 1
        slowest = max(slowest, time.monotonic() - began)
    print(json.dumps({"answers": answers, "failures": failures, "slowest": slowest}), flush=True)


class Counts:
    def __init__(self, text):
        found = json.loads(text)
        # An answer is "<name of the Pod> version <of its image>".
        self.answers, self.versions = collections.Counter(), collections.Counter()
        for answer, times in found["answers"].items():
            name, _, version = answer.partition(" ")
            self.answers[name] += times
            self.versions[version] += times
        self.failures, self.slowest = found["failures"], found["slowest"]

    @property
    def total(self):
        return sum(self.answers.values()) + self.failed

    @property
    def failed(self):
        return sum(self.failures.values())


class Load:
    """The client, running until it is asked for its counts."""

    def __init__(self, cluster, host, port=80, count=0):
        self.process = cluster.popen([sys.executable, __file__, "client", host, port, count],
                                     stdout=subprocess.PIPE, text=True)
        claim(self.process.stdout.readline().strip() == "ready", "the client did not start")

    def finish(self, stop=True):
        if stop:
            self.process.send_signal(signal.SIGTERM)
        # Not communicate(): it would miss what readline() took into its buffer. One line fits the pipe.
        self.process.wait(timeout=120)
        output = self.process.stdout.read()
        claim(self.process.returncode == 0, f"the client ended with {self.process.returncode}")
        return Counts(output.strip().splitlines()[-1])


# ---- the story ----------------------------------------------------------------------------------

class Story:
    """The steps, each returning what it measured. `say` gets one line at a time."""

    def __init__(self, cluster, say=lambda line: print(line, flush=True), namespace="default"):
        self.cluster, self.say, self.namespace = cluster, say, namespace

    def kubectl(self, *words, input=None):
        done = subprocess.run(
            ["kubectl", f"--kubeconfig={self.cluster.kubeconfig}", f"--namespace={self.namespace}",
             f"--cache-dir={self.cluster.state}/kubectl-cache", *map(str, words)],
            input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        claim(done.returncode == 0, f"kubectl {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def until(self, resource, good, what, seconds=60):
        """Watches a collection of the namespace until good({name: object})."""
        group = "/apis/apps/v1" if resource.startswith("deployments") else "/api/v1"
        path = f"{group}/namespaces/{self.namespace}/{resource}"
        try:
            return self.cluster.api.until(path, good, seconds)
        except TimeoutError:
            raise Broken(f"{what}: not in {seconds} s") from None

    def pods(self, app, count, seconds=60):
        """Waits until exactly `count` Pods of the app are there, Ready, none on its way out, and the
        Service's endpoints are those; returns the names."""
        def good(items):
            return len(items) == count and all(
                any(c["type"] == "Ready" and c["status"] == "True"
                    for c in item.get("status", {}).get("conditions", []))
                and "deletionTimestamp" not in item["metadata"] for item in items.values())
        names = set(self.until(f"pods?labelSelector=app%3D{app}", good, f"{count} Pods of {app} Ready",
                               seconds))
        service = {"web": "backend-service"}.get(app, app)
        self.until("endpoints", lambda items: service in items and sum(
            len(s.get("addresses") or []) for s in items[service].get("subsets") or []) == count,
            f"{count} endpoints of {service}", seconds)
        return names

    def show(self, counts, names):
        for name in sorted(names | set(counts.answers)):
            times = counts.answers.get(name, 0)
            self.say(f"     {name:32} {times:5}  {'#' * (times * 40 // max(1, counts.total))}")

    def spread(self, host, names, count=300):
        counts = Load(self.cluster, host, count=count).finish(stop=False)
        self.say(f"   {counts.total} requests to http://{host}/: {counts.failed} failed, "
                 f"slowest {counts.slowest * 1000:.0f} ms")
        self.show(counts, names)
        claim(counts.failed == 0, f"requests to {host} failed: {counts.failures}")
        claim(set(counts.answers) == names, f"{sorted(counts.answers)} answered, not {sorted(names)}")
        fair = counts.total / len(names)
        claim(min(counts.answers.values()) > fair / 2 and max(counts.answers.values()) < fair * 2,
              f"the Service is not balanced: {counts.answers}")
        return counts

    def replicas(self):
        began = time.monotonic()
        self.kubectl("apply", "-f", EXAMPLES / "02-replicationcontroller.yaml",
                     "-f", EXAMPLES / "03-service.yaml")
        names = self.pods("web", 3)
        self.say(f"   3 Pods Ready behind backend-service after {time.monotonic() - began:.1f} s")
        return names

    def service(self, names):
        ip = self.kubectl("get", "service", "backend-service", "-o", "jsonpath={.spec.clusterIP}")
        by_ip = self.spread(ip, names)
        by_name = self.spread(f"backend-service.{self.namespace}.svc.cluster.local", names)
        # And as Pods see it: short names, through their /etc/resolv.conf.
        pod = sorted(names)[0]
        out = self.kubectl("exec", pod, "--", "sh", "-c",
                           "for name in backend-service backend-service." + self.namespace + "; do "
                           "for i in 1 2 3 4 5 6 7 8 9 10; do "
                           "timeout 5 wget -qO- http://$name/ || echo FAILED; done; done")
        answers = collections.Counter(line.split()[0] for line in out.splitlines())
        self.say(f"   20 requests from Pod {pod} to backend-service and backend-service."
                 f"{self.namespace}: {answers['FAILED']} failed")
        claim(answers["FAILED"] == 0 and sum(answers.values()) == 20, f"from a Pod: {answers}")
        return by_ip, by_name

    def replacement(self, names):
        load = Load(self.cluster, f"backend-service.{self.namespace}.svc.cluster.local")
        victim, began = sorted(names)[0], time.monotonic()
        self.kubectl("delete", "pod", victim, "--wait=false")
        self.until("pods?labelSelector=app%3Dweb", lambda items: sum(
            any(c["type"] == "Ready" and c["status"] == "True"
                for c in item.get("status", {}).get("conditions", []))
            and "deletionTimestamp" not in item["metadata"] for item in items.values()) == 3,
            "a replacement")
        seconds = time.monotonic() - began
        after = self.pods("web", 3)
        counts = load.finish()
        new = after - names
        self.say(f"   killed {victim}; {', '.join(new)} was Ready in its place after {seconds:.1f} s")
        self.say(f"   {counts.total} requests went on meanwhile: {counts.failed} failed")
        claim(victim not in after and len(new) == 1, f"{names} became {after}")
        claim(counts.failed == 0, f"requests failed during the replacement: {counts.failures}")
        return after, counts

    def scale(self, replicas):
        began = time.monotonic()
        self.kubectl("scale", "rc", "web", f"--replicas={replicas}")
        names = self.pods("web", replicas)
        self.say(f"   {replicas} Pods after {time.monotonic() - began:.1f} s")
        self.spread(f"backend-service.{self.namespace}.svc.cluster.local", names, 200)
        return names

    def rolling_update(self):
        self.kubectl("apply", "-f", EXAMPLES / "04-deployment.yaml")
        before = self.pods("shop", 3)
        load = Load(self.cluster, f"shop.{self.namespace}.svc.cluster.local")
        began = time.monotonic()
        self.kubectl("set", "image", "deployment/shop", "nginx=demo/nginx:2")
        self.kubectl("rollout", "status", "deployment/shop", "--timeout=120s")
        after = self.pods("shop", 3)
        seconds = time.monotonic() - began
        counts = load.finish()
        versions = counts.versions
        self.say(f"   demo/nginx:1 -> demo/nginx:2 in {seconds:.1f} s, {counts.total} requests meanwhile: "
                 f"{versions['version 1']} answered by version 1, {versions['version 2']} by version 2, "
                 f"{counts.failed} failed")
        claim(counts.failed == 0, f"requests failed during the update: {counts.failures}")
        claim(not before & after, "an old Pod is still there")
        claim(versions["version 1"] > 0 and versions["version 2"] > 0, f"not both versions answered: {versions}")
        check = Load(self.cluster, f"shop.{self.namespace}.svc.cluster.local", count=30).finish(stop=False)
        claim(check.versions == {"version 2": 30}, f"after the update: {check.versions} {check.failures}")
        return counts

    def volume(self):
        self.kubectl("apply", "-f", EXAMPLES / "06-volumes.yaml")
        self.kubectl("wait", "--for=condition=Ready", "pod/volumes", "--timeout=60s")
        self.kubectl("exec", "volumes", "-c", "writer", "--", "sh", "-c",
                     "echo 'written before the restart' > /data/note")
        began = time.monotonic()
        subprocess.run(["kubectl", f"--kubeconfig={self.cluster.kubeconfig}",
                        f"--namespace={self.namespace}", "exec", "volumes", "-c", "writer", "--",
                        "sh", "-c", "kill 1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        def restarted(items):
            return any(s["name"] == "writer" and s["restartCount"] == 1 and s["ready"]
                       for s in items.get("volumes", {}).get("status", {}).get("containerStatuses", []))
        self.until("pods", restarted, "the restart of container writer")
        seconds = time.monotonic() - began
        note = self.kubectl("exec", "volumes", "-c", "writer", "--", "cat", "/data/note").strip()
        self.say(f"   container writer ended and ran again after {seconds:.1f} s; /data/note: {note!r}")
        claim(note == "written before the restart", f"the volume lost its data: {note!r}")
        return seconds

    def rest_of_the_examples(self):
        for path in sorted(EXAMPLES.glob("*.yaml")):
            if path.name[:2] not in ("02", "03", "04", "06"):  # these run, and not as they began
                self.kubectl("apply", "-f", path)
        def fine(item):
            if any(owner["kind"] == "Job" for owner in item["metadata"].get("ownerReferences", [])):
                return True  # they come and go
            return any(c["type"] == "Ready" and c["status"] == "True" for c in item.get("status", {}).get("conditions", []))
        self.until("pods", lambda items: items and all(map(fine, items.values())), "every Pod of the examples Ready")
        self.kubectl("wait", "--for=condition=Complete", "job/parts", "--timeout=60s")
        for line in self.kubectl("get", "pods,services", "-o", "wide").splitlines():
            self.say("   " + line)


def up():
    cluster = Cluster("demo")
    began = time.monotonic()
    if cluster.leftovers():
        print("== An earlier demo cluster is there: removing it", flush=True)
        cluster.down()

    print("== Images demo/nginx:1 and demo/nginx:2 from Debian's nginx-light", flush=True)
    step = time.monotonic()
    archives = make_images()
    print(f"   {', '.join(f'{a.name} {a.stat().st_size >> 20} MiB' for a in archives)} "
          f"({time.monotonic() - step:.1f} s)", flush=True)

    print("== A one-node cluster in network namespaces of its own", flush=True)
    bin_dir = pathlib.Path(os.environ.get("SAMPAN_BIN_DIR", SOURCE / "build/release/bin"))
    try:
        seconds = cluster.up(1, bin_dir)
    except BaseException:
        cluster.down()
        raise
    print(f"   Ready in {seconds:.1f} s", flush=True)
    step = time.monotonic()
    for archive in archives:
        cluster.load(archive)
    print(f"   both images loaded in {time.monotonic() - step:.1f} s", flush=True)

    story = Story(cluster)
    print("== A ReplicationController of 3 Pods behind a Service: examples/02 and 03", flush=True)
    names = story.replicas()
    print("== Requests to its cluster IP and to its DNS name, each on a new connection", flush=True)
    story.service(names)
    print("== One Pod killed while requests go on", flush=True)
    names, _ = story.replacement(names)
    print("== Scaled to 5 and back to 2", flush=True)
    story.scale(5)
    story.scale(2)
    print("== A rolling update of a Deployment while requests go on: examples/04", flush=True)
    story.rolling_update()
    print("== Data in a volume survives a container's restart: examples/06", flush=True)
    story.volume()
    print("== The other examples", flush=True)
    story.rest_of_the_examples()
    print(f"""== Done in {time.monotonic() - began:.0f} s; the cluster goes on. Try next:
   export KUBECONFIG={cluster.kubeconfig}
   kubectl get pods -A
   kubectl logs deployment/shop; kubectl exec -it hello -- sh
   kubectl set image deployment/shop nginx=demo/nginx:1; kubectl rollout status deployment/shop
   scripts/cluster exec demo -- curl -s http://backend-service.default.svc.cluster.local/
   scripts/demo --down""", flush=True)


def down():
    cluster = Cluster("demo")
    before = collections.Counter(line.split()[0] for line in cluster.leftovers())
    cluster.down()
    after = collections.Counter(line.split()[0] for line in cluster.leftovers())
    for kind, plural in (("process", "processes"), ("mount", "mounts"), ("netns", "network namespaces"),
                         ("link", "links"), ("cgroup", "cgroups"), ("nft", "nftables tables"),
                         ("directory", "directories")):
        print(f"   {plural}: {before[kind]} removed, left: {after[kind] or 'none'}")
    if after:
        sys.exit("demo: not everything is gone:\n" + "\n".join(cluster.leftovers()))


if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["client"]:
            client(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        elif sys.argv[1:] == ["up"]:
            up()
        elif sys.argv[1:] == ["down"]:
            down()
        else:
            sys.exit("usage: scripts/demo [--down]")
    except (Broken, Failure) as error:
        sys.exit(f"demo: {error}\nThe cluster, if it started, is left for a look: scripts/cluster "
                 "logs demo kubelet; scripts/demo --down removes it.")
    except KeyboardInterrupt:
        sys.exit(130)
