#!/usr/bin/python3
"""Controllers and scheduler at work: replicas that become Pods on a real node and on hollow ones, a deleted Pod's
replacement, a dead node's Pods elsewhere, Pods scheduled in a second, and what a large cluster costs while nothing
happens. Hollow nodes (hollow_nodes.cc) ask of the master what node agents ask, and run nothing.

  tests/bench/controllers.py [--nodes 100,1000,5000] [--large PODS]     (5,000 nodes need some ten minutes)

Prints the figures; nothing here has a pass mark except that everything must happen.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import cases
import cluster as shared
import images
from master_process import Master

CLUSTER_CIDR = "10.128.0.0/9"   # a /24 for each of 5,000 nodes
RC = "/api/v1/namespaces/default/replicationcontrollers"
PODS = "/api/v1/namespaces/default/pods"
sys.path.insert(0, str(cases.SOURCE / "scripts/lib"))
from api_client import Api


def controller(name, replicas, image, command=None, **spec):
    container = {"name": "c", "image": image, "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}}}
    if command:
        container["command"] = command
    return {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"app": name}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec}}}}


def send(api, method, path, body=None, content_type="application/json"):
    status, answer = api.request(method, path, body, content_type, timeout=120)
    if status >= 300:
        raise RuntimeError(f"{method} {path}: {status}: {answer}")
    return answer


def writes(api):
    """Requests that change something, so far."""
    page = api.request("GET", "/metrics")[1]
    return sum(int(float(value)) for value in re.findall(
        r'^apiserver_request_total\{[^}]*verb="(?:POST|PUT|PATCH|DELETE|APPLY)"[^}]*\} (\S+)$', page, re.M))


def ready_count(api, name):
    return api.get(f"{RC}/{name}").get("status", {}).get("readyReplicas", 0)


def scaled(api, name, replicas, seconds=600):
    """Until all replicas are ready, by the controller's own status: its seconds."""
    version = api.get(RC)["metadata"]["resourceVersion"]
    began = time.monotonic()
    watch = api.watch(f"{RC}?fieldSelector=metadata.name%3D{name}", version, began + seconds)
    send(api, "PATCH", f"{RC}/{name}", {"spec": {"replicas": replicas}}, content_type="application/merge-patch+json")
    for _, item in watch:
        status = item.get("status", {})
        if status.get("readyReplicas", 0) == replicas and status.get("replicas", 0) == replicas:
            watch.close()
            return time.monotonic() - began
    raise RuntimeError(f"{name}: not {replicas} in {seconds} s")


def pss_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Hollow:
    def __init__(self, kubeconfig, count, per_node=110):
        self.process = subprocess.Popen([cases.BIN / "hollow_nodes", kubeconfig, str(count), str(per_node)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the hollow nodes did not become ready")

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(60)


def real_node():
    cluster = shared.Cluster("bench-controllers")
    cluster.down()
    try:
        cluster.up(1, cases.BIN)
        cluster.load(images.busybox())
        api = cluster.api
        loop = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"]
        send(api, "POST", RC, controller("web", 1, shared.BUSYBOX, loop))
        scaled(api, "web", 1)
        scaled(api, "web", 0)
        before = writes(api)
        seconds = scaled(api, "web", 30)
        print(f"RC 0 -> 30 Pods Ready on one node: {seconds:.2f} s, {(writes(api) - before) / 30:.1f} API writes per Pod")
        times = []
        for _ in range(5):
            items = api.get(PODS)
            name = next(p["metadata"]["name"] for p in items["items"] if "deletionTimestamp" not in p["metadata"])
            known = {p["metadata"]["name"] for p in items["items"]}
            began = time.monotonic()
            watch = api.watch(PODS, items["metadata"]["resourceVersion"], began + 60)
            send(api, "DELETE", f"{PODS}/{name}")
            for _, item in watch:
                if item["metadata"]["name"] not in known and any(
                        c["type"] == "Ready" and c["status"] == "True" for c in item.get("status", {}).get("conditions", [])):
                    times.append((time.monotonic() - began) * 1000)
                    break
            watch.close()
        print(f"deleted Pod -> its replacement Ready: p50 {sorted(times)[2]:.0f} ms, most {max(times):.0f} ms")
    finally:
        cluster.down()


class HollowCluster:
    """A master of its own with hollow nodes."""

    def __init__(self, nodes, per_node=110):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sampan-hollow-"))
        self.log = open(self.dir / "log", "w+")
        self.master = Master(self.dir / "d", self.log, "--cluster-cidr", CLUSTER_CIDR, start_seconds=60)
        self.api = Api(self.master.kubeconfig)
        began = time.monotonic()
        self.hollow = Hollow(self.master.kubeconfig, nodes, per_node)
        self.up_seconds = time.monotonic() - began
        self.pid = self.master.process.pid

    def stop(self):
        self.hollow.stop()
        self.master.stop()
        self.log.seek(0)
        said = self.log.read()
        self.log.close()
        shutil.rmtree(self.dir)
        if said:
            print(said[-2000:], file=sys.stderr)


def replicas_on_hollow_nodes():
    cluster = HollowCluster(100)
    try:
        api = cluster.api
        send(api, "POST", RC, controller("many", 0, "none"))
        before, cpu = writes(api), cpu_seconds(cluster.pid)
        seconds = scaled(api, "many", 10_000)
        print(f"RC 0 -> 10,000 Pods Ready on 100 hollow nodes: {seconds:.1f} s, {10_000 / seconds:.0f} Pods/s, "
              f"{(writes(api) - before) / 10_000:.1f} API writes and {(cpu_seconds(cluster.pid) - cpu) / 10:.2f} ms of the master's CPU per Pod")
        # What a dead node had is made elsewhere as soon as it is held for dead.
        moving = controller("moving", 0, "none", tolerations=[
            {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
            for taint in ("unreachable", "not-ready")])
        send(api, "POST", RC, moving)
        scaled(api, "moving", 300)
        items = api.get(PODS + "?labelSelector=app%3Dmoving")
        by_node = {}
        for pod in items["items"]:
            by_node.setdefault(pod["spec"]["nodeName"], []).append(pod["metadata"]["name"])
        victim = max(by_node, key=lambda node: len(by_node[node]))
        began = time.monotonic()
        nodes = api.watch(f"/api/v1/nodes?fieldSelector=metadata.name%3D{victim}", api.get("/api/v1/nodes?limit=1")["metadata"]["resourceVersion"], began + 120)
        cluster.hollow.say(f"kill {victim}")
        for _, node in nodes:
            if any(c["type"] == "Ready" and c["status"] == "Unknown" for c in node["status"]["conditions"]):
                break
        nodes.close()
        noticed = time.monotonic() - began
        version = api.get(PODS + "?limit=1")["metadata"]["resourceVersion"]
        while ready_count(api, "moving") < 300 or any(
                p["spec"].get("nodeName") == victim and "deletionTimestamp" not in p["metadata"] for p in api.get(PODS + "?labelSelector=app%3Dmoving")["items"]):
            if time.monotonic() - began > 180:
                raise RuntimeError("the dead node's Pods are not elsewhere")
            for _ in api.watch(PODS + "?labelSelector=app%3Dmoving", version, time.monotonic() + 1):
                break
        print(f"a dead node: noticed after {noticed:.1f} s, its {len(by_node[victim])} Pods Ready elsewhere {time.monotonic() - began - noticed:.2f} s later")
    finally:
        cluster.stop()


SPREAD = {"topologySpreadConstraints": [{"maxSkew": 5, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
                                         "labelSelector": {"matchLabels": {"app": "spread"}}}]}
AFFINITY = {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": {
    "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "affinity"}}}}]}}}


def scheduled(nodes, pods):
    cluster = HollowCluster(nodes, max(110, 3 * pods // nodes + 50))   # room for all three
    try:
        api = cluster.api
        cpu = cpu_seconds(cluster.pid)
        time.sleep(10)   # what nothing costs is measured over a time in which nothing is asked for
        idle = (cpu_seconds(cluster.pid) - cpu) / 10
        print(f"{nodes} hollow nodes: all Ready in {cluster.up_seconds:.1f} s; idle {idle * 100:.1f} % of a core, PSS {pss_mib(cluster.pid):.0f} MiB")
        for name, spec in (("plain", {}), ("affinity", AFFINITY), ("spread", SPREAD)):
            send(api, "POST", RC, controller(name, 0, "none", **spec))
            seconds = scaled(api, name, pods)
            print(f"  {pods} Pods, {name}: {pods / seconds:.0f} created, scheduled and Ready per second")
    finally:
        cluster.stop()


def large(nodes, pods):
    cluster = HollowCluster(nodes)
    try:
        api = cluster.api
        done, step = 0, 30_000
        while done < pods:
            size = min(step, pods - done)
            send(api, "POST", RC, controller(f"large-{done}", 0, "none"))
            seconds = scaled(api, f"large-{done}", size, 1800)
            done += size
            print(f"{nodes} hollow nodes, {done} Pods: the last {size} at {size / seconds:.0f}/s; PSS {pss_mib(cluster.pid):.0f} MiB", flush=True)
        cpu = cpu_seconds(cluster.pid)
        time.sleep(20)
        print(f"  idle {(cpu_seconds(cluster.pid) - cpu) / 20 * 100:.1f} % of a core")
    finally:
        cluster.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="100,1000", help="sizes for the scheduler's figures")
    parser.add_argument("--pods", type=int, default=5000, help="Pods in each of them")
    parser.add_argument("--large", type=int, default=0, help="Pods on 5,000 hollow nodes at the end")
    parser.add_argument("--skip-real", action="store_true", help="no containers")
    args = parser.parse_args()
    subprocess.run(["ninja", "-C", cases.BIN.parent, "hollow_nodes"], check=True, stdout=subprocess.DEVNULL)
    print(cases.machine())
    if not args.skip_real:
        lacking = shared.missing_capability()
        if lacking:
            print(f"skip: {lacking}")
            sys.exit(77)
        real_node()
    replicas_on_hollow_nodes()
    for nodes in [int(text) for text in args.nodes.split(",") if text]:
        scheduled(nodes, args.pods)
    if args.large:
        large(5000, args.large)


if __name__ == "__main__":
    main()
