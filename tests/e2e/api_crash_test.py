#!/usr/bin/python3
"""kill -9 of the master in the middle of creates loses nothing that was acknowledged."""
import threading
import time

import cluster

TOTAL, KILL_AFTER, WRITERS = 200, 60, 4


class ApiCrash(cluster.ClusterTest):
    load = ()

    def test_acknowledged_creates_survive(self):
        acknowledged, lock = [], threading.Lock()
        enough, numbers = threading.Event(), iter(range(TOTAL))
        path = f"/api/v1/namespaces/{self.ns}/configmaps"

        def write():
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                try:
                    status, _ = self.api.request("POST", path, {
                        "apiVersion": "v1", "kind": "ConfigMap",
                        "metadata": {"name": f"c{number}"}, "data": {"n": str(number)}}, timeout=10)
                except OSError:
                    continue  # not acknowledged
                except Exception as error:  # http.client: half an answer is no acknowledgement
                    if type(error).__module__ != "http.client":
                        raise
                    continue
                if status == 201:
                    with lock:
                        acknowledged.append(number)
                        if len(acknowledged) >= KILL_AFTER:
                            enough.set()

        writers = [threading.Thread(target=write) for _ in range(WRITERS)]
        for writer in writers:
            writer.start()
        self.assertTrue(enough.wait(60), f"only {len(acknowledged)} creates in a minute")
        self.cluster.kill("master")
        for writer in writers:
            writer.join(60)
        before = len(acknowledged)
        self.assertLess(before, TOTAL, "the kill came too late to mean anything")
        self.cluster.start("master")
        listed = {item["metadata"]["name"]: item["data"].get("n") for item in self.api.get(path)["items"]}
        lost = [number for number in acknowledged if listed.get(f"c{number}") != str(number)]
        self.assertEqual(lost, [], f"{len(lost)} of {before} acknowledged creates are gone")
        print(f"{before} acknowledged before kill -9, {len(listed)} found after, 0 lost")

    def test_versions_go_on_and_watches_resume(self):
        made = self.get("namespace", self.ns)["metadata"]
        self.cluster.kill("master")
        self.cluster.start("master")
        self.assertEqual(self.get("namespace", self.ns)["metadata"]["uid"], made["uid"])
        self.kubectl("create", "configmap", "after")
        after = self.get("configmap", "after")["metadata"]
        self.assertGreater(int(after["resourceVersion"]), int(made["resourceVersion"]))

    def test_the_node_finds_the_new_master(self):
        self.cluster.kill("master")
        killed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.cluster.start("master")
        # Heartbeats live in memory: the Lease may be gone until the kubelet renews it.
        self.until("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", lambda items:
                   "node-1" in items and items["node-1"]["spec"]["renewTime"] > killed, 30)
        self.cluster.wait_nodes_ready()


if __name__ == "__main__":
    cluster.main()
