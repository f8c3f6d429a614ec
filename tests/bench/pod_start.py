#!/usr/bin/python3
"""Pod create -> Running through the API's watch, one after another with the image present; a killed
container's way back; memory of the daemons and per Pod. On a throwaway one-node cluster.

Prints the figures and, with --json FILE, writes them; tests/bench/report.py puts them into
docs/benchmarks.md. Nothing here has a pass mark except that everything must happen.
"""
import argparse
import json
import pathlib
import signal
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import cases
import cluster as shared
import images


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(round(share * (len(ordered) - 1))))]


def pss_kib(pid):
    """Proportional set size: shared pages count for their share."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/smaps_rollup has no Pss line")


def manifest(name):
    return shared.pod(name, "sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done")


def running(item):
    """When Running was published with a started container."""
    statuses = item.get("status", {}).get("containerStatuses") or []
    return item["status"].get("phase") == "Running" and statuses and \
        statuses[0].get("state", {}).get("running")


def create_to_running(api, name):
    path = "/api/v1/namespaces/default/pods"
    version = api.get(path)["metadata"]["resourceVersion"]
    watch = api.watch(f"{path}?fieldSelector=metadata.name%3D{name}", version, time.monotonic() + 60)
    # The watch is open before the Pod is made: its first line cannot be missed.
    connection = api.connect()
    connection.connect()
    began = time.monotonic()
    connection.request("POST", path, json.dumps(manifest(name)), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 201:
        raise RuntimeError(f"create {name}: {answer.status}")
    for _, item in watch:
        if running(item):
            watch.close()
            return (time.monotonic() - began) * 1000
    raise RuntimeError(f"{name} did not run")


def killed_to_running(cluster, name):
    """SIGKILL to the container's first process until the API says it runs again."""
    item = cluster.api.get(f"/api/v1/namespaces/default/pods/{name}")
    uid, version = item["metadata"]["uid"], item["metadata"]["resourceVersion"]
    pids = [pid for pid, _, command in cluster.processes() if command.startswith("sh -c")
            and uid in pathlib.Path(f"/proc/{pid}/cgroup").read_text()]
    import os
    began = time.monotonic()
    os.kill(min(pids), signal.SIGKILL)
    for _, item in cluster.api.watch(f"/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3D{name}",
                                     version, time.monotonic() + 60):
        if running(item) and item["status"]["containerStatuses"][0]["restartCount"] == 1:
            return (time.monotonic() - began) * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=20)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    lacking = shared.missing_capability()
    if lacking:
        print(f"skip: {lacking}")
        sys.exit(77)

    cluster = shared.Cluster("bench-pod-start")
    cluster.down()
    try:
        up = cluster.up(1, cases.BIN)
        cluster.load(images.busybox())
        create_to_running(cluster.api, "warm-up")
        pids = {kind: cluster.pid(kind) for kind in ("master", "kubelet", "proxy")}
        empty = {kind: pss_kib(pid) for kind, pid in pids.items()}
        times = [create_to_running(cluster.api, f"p{i}") for i in range(args.pods)]
        holders = [pss_kib(pid) for pid, _, command in cluster.processes()
                   if "sampan-pod" in command.split(" ")[0]]
        daemons = {kind: pss_kib(pid) for kind, pid in pids.items()}
        back = [killed_to_running(cluster, f"p{i}") for i in range(min(10, args.pods))]
        figures = {
            "machine": cases.machine(), "build": cases.BIN.parent.name, "up_s": round(up, 2),
            "pods": args.pods,
            "create_running_ms": {"p50": percentile(times, .5), "p99": percentile(times, .99),
                                  "min": min(times), "max": max(times)},
            "killed_running_ms": {"p50": percentile(back, .5), "max": max(back)},
            "pss_mib": {kind: kib / 1024 for kind, kib in daemons.items()},
            "pss_empty_mib": {kind: kib / 1024 for kind, kib in empty.items()},
            "per_pod_mib": statistics.mean(holders) / 1024 if holders else None,
        }
    finally:
        cluster.down()

    c, k = figures["create_running_ms"], figures["killed_running_ms"]
    total = sum(figures["pss_mib"].values())
    print(f"{figures['machine']}, {figures['build']} build")
    print(f"cluster up, one node Ready: {figures['up_s']} s")
    print(f"Pod create -> Running, {args.pods} in sequence, image present: p50 {c['p50']:.0f} ms, "
          f"p99 {c['p99']:.0f} ms (min {c['min']:.0f}, max {c['max']:.0f})")
    print(f"container killed -> Running again: p50 {k['p50']:.0f} ms, max {k['max']:.0f} ms")
    print("memory (PSS) with these Pods: " + ", ".join(
        f"{kind} {mib:.1f} MiB" for kind, mib in figures["pss_mib"].items()) +
        f", together {total:.1f} MiB; sampan-pod {figures['per_pod_mib']:.2f} MiB per Pod")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
