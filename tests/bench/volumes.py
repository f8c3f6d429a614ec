#!/usr/bin/python3
"""A claim of the class `local` and its Pod, created together, until the Pod is Ready with its data written to the
volume; against the same Pod with an emptyDir, in turns in one run. On a throwaway one-node cluster.

Prints the figures and, with --json FILE, writes them; tests/bench/report.py puts them into
docs/benchmarks.md. Nothing here has a pass mark except that everything must happen.
"""
import argparse
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import cases
import cluster as shared
import images
from pod_start import percentile

PODS = "/api/v1/namespaces/default/pods"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
BUDGET_MS = 15
STAYS = ("sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done")


def manifest(name, volume):
    """What its init container wrote is on the volume before the Pod is Ready."""
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    writer = {"name": "writer", "image": shared.BUSYBOX, **mounts,
              "command": ["sh", "-c", "echo data > /data/file && sync /data/file"]}
    return shared.pod(name, *STAYS, container=mounts, initContainers=[writer],
                      volumes=[{"name": "data", **volume}])


def claim(name):
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}}}


def is_ready(item):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in item["status"].get("conditions", []))


def post(connection, path, body):
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    if answer.status != 201:
        raise RuntimeError(f"create at {path}: {answer.status}")


def create_to_ready(api, name, objects):
    version = api.get(PODS)["metadata"]["resourceVersion"]
    # The watch is open before the Pod is made: its first line cannot be missed.
    watch = api.watch(f"{PODS}?fieldSelector=metadata.name%3D{name}", version, time.monotonic() + 60)
    connection = api.connect()
    connection.connect()
    began = time.monotonic()
    for path, body in objects:
        post(connection, path, body)
    connection.close()
    for _, item in watch:
        if is_ready(item):
            watch.close()
            return (time.monotonic() - began) * 1000
    raise RuntimeError(f"{name} did not become ready")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=15, help="of each kind")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    lacking = shared.missing_capability()
    if lacking:
        print(f"skip: {lacking}")
        sys.exit(77)

    cluster = shared.Cluster("bench-volumes")
    cluster.down()
    times = {"claim": [], "emptyDir": []}
    try:
        cluster.up(1, cases.BIN)
        cluster.load(images.busybox())
        for i in range(-1, args.pods):  # the first of each warms up
            took = {
                "emptyDir": create_to_ready(cluster.api, f"e{i + 1}", [
                    (PODS, manifest(f"e{i + 1}", {"emptyDir": {}}))]),
                "claim": create_to_ready(cluster.api, f"c{i + 1}", [
                    (CLAIMS, claim(f"c{i + 1}")),
                    (PODS, manifest(f"c{i + 1}", {"persistentVolumeClaim": {"claimName": f"c{i + 1}"}}))])}
            if i >= 0:
                for kind, ms in took.items():
                    times[kind].append(ms)
    finally:
        cluster.down()

    figures = {"machine": cases.machine(), "build": cases.BIN.parent.name, "pods": args.pods,
               **{kind: {"p50": percentile(list_, .5), "p99": percentile(list_, .99)} for kind, list_ in times.items()}}
    figures["more_ms"] = figures["claim"]["p50"] - figures["emptyDir"]["p50"]
    print(f"{figures['machine']}, {figures['build']} build")
    print(f"Pod create -> Ready with data on an emptyDir, {args.pods} in turns with the next: "
          f"p50 {figures['emptyDir']['p50']:.0f} ms, p99 {figures['emptyDir']['p99']:.0f} ms")
    print(f"claim and Pod create -> Ready with data on the claim's volume: "
          f"p50 {figures['claim']['p50']:.0f} ms, p99 {figures['claim']['p99']:.0f} ms: "
          f"{figures['more_ms']:.0f} ms more (budget {BUDGET_MS})")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
