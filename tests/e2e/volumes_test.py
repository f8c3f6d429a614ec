#!/usr/bin/python3
"""Volumes that outlive Pods, on two nodes: a claim of the default class is made where its Pod goes, holds no more than
its size, survives the Pod and the kubelet, keeps the Pod on its node, and takes its data along when it goes."""
import pathlib
import signal

import cluster
from cluster import is_ready, pod

SLEEP = ("sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done")
PODS = "/api/v1/namespaces/{ns}/pods"
CLAIMS = "/api/v1/namespaces/{ns}/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"


def claim(name, size="16Mi", **spec):
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}}


def user(name, claim_name, **spec):
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    return pod(name, *SLEEP, container=mount, volumes=[
        {"name": "data", "persistentVolumeClaim": {"claimName": claim_name}}], **spec)


class Volumes(cluster.ClusterTest):
    nodes = 2

    def bound(self, name):
        found = self.until(CLAIMS, lambda all: all[name]["status"]["phase"] == "Bound", 30, f"{name} is bound")[name]
        return self.get("pv", found["spec"]["volumeName"])

    def place(self, volume):
        """Where a volume's data lies on this machine."""
        return pathlib.Path(volume["spec"]["local"]["path"])

    def test_a_stateful_set_keeps_its_data(self):
        labels = {"app": "db"}
        self.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
            "serviceName": "db", "replicas": 2, "selector": {"matchLabels": labels},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim("")["spec"]}],
            "template": {"metadata": {"labels": labels}, "spec": user("", "")["spec"] | {"volumes": []}}}})
        self.kubectl("rollout", "status", "sts/db", "--timeout=60s")
        nodes = {}
        for name in ("db-0", "db-1"):
            self.exec(name, "sh", "-c", f"echo of {name} > /data/file")
            nodes[name] = self.get("pod", name)["spec"]["nodeName"]
        self.kubectl("delete", "pod", "db-0", "db-1")
        self.kubectl("rollout", "status", "sts/db", "--timeout=60s")
        for name, node in nodes.items():
            self.until_pod(name, is_ready, 30)
            self.assertEqual(self.get("pod", name)["spec"]["nodeName"], node, "its data is there")
            self.assertEqual(self.exec(name, "cat", "/data/file").stdout, f"of {name}\n")
        places = [self.place(self.bound(f"data-{name}")) for name in nodes]
        self.assertTrue(all(place.exists() for place in places))
        self.kubectl("delete", "sts", "db")
        self.until(CLAIMS, lambda all: not all, 60, "the claims are gone")
        self.until(VOLUMES, lambda all: not any(v["spec"]["claimRef"]["namespace"] == self.ns for v in all.values()), 60,
                   "the volumes are gone")
        self.assertFalse(any(place.exists() for place in places), "their data is still there")

    def test_data_survives_the_kubelet(self):
        self.apply(claim("data"))
        self.until_event("WaitForFirstConsumer", "data", text="waiting for first consumer to be created before binding")
        self.apply(user("writer", "data"))
        self.until_pod("writer", is_ready, 60)
        self.exec("writer", "sh", "-c", "echo before > /data/file")
        node = self.get("pod", "writer")["spec"]["nodeName"]
        daemon = f"{node}/kubelet"
        self.cluster.kill(daemon, signal.SIGKILL)
        self.cluster.start(daemon)
        self.assertEqual(self.exec("writer", "cat", "/data/file").stdout, "before\n")
        # What the first kubelet mounted, the second one does not see: the data must be the same all the same.
        self.apply(user("reader", "data", nodeName=node))
        self.until_pod("reader", is_ready, 60)
        self.assertEqual(self.exec("reader", "cat", "/data/file").stdout, "before\n")
        self.exec("reader", "sh", "-c", "echo after > /data/file")
        self.assertEqual(self.exec("writer", "cat", "/data/file").stdout, "after\n")

    def test_a_full_volume_and_a_claim_in_use(self):
        self.apply(claim("small", "8Mi"), user("filler", "small"))
        self.until_pod("filler", is_ready, 60)
        full = self.exec("filler", "sh", "-c", "cat /dev/zero > /data/file", check=False)
        self.assertIn("No space left on device", full.stderr)
        self.kubectl("delete", "pvc", "small", "--wait=false")
        self.until(CLAIMS, lambda all: "deletionTimestamp" in all["small"]["metadata"], 10, "it is on its way out")
        self.assertEqual(self.exec("filler", "sh", "-c", "rm /data/file; echo here > /data/x; cat /data/x").stdout, "here\n")
        self.kubectl("delete", "pod", "filler")
        self.until(CLAIMS, lambda all: not all, 30, "nobody uses it any more")

    def test_what_a_user_made(self):
        place = pathlib.Path(f"/tmp/sampan-volumes-test-{self.ns}")
        place.mkdir()
        self.addCleanup(lambda: (self.kubectl("delete", "pv", f"made-{self.ns}", "--wait=false", namespace=None, check=False),
                                 [f.unlink() for f in place.iterdir()], place.rmdir()))
        self.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"made-{self.ns}"}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "by-hand",
            "hostPath": {"path": str(place)}}}, claim("mine", "1Gi", storageClassName="by-hand"))
        self.assertEqual(self.bound("mine")["metadata"]["name"], f"made-{self.ns}")
        reads = user("reads", "mine")
        reads["spec"]["volumes"][0]["persistentVolumeClaim"]["readOnly"] = True
        self.apply(user("writes", "mine"), reads)
        for name in ("writes", "reads"):
            self.until_pod(name, is_ready, 60)
        self.exec("writes", "sh", "-c", "echo kept > /data/file")
        self.assertIn("Read-only", self.exec("reads", "touch", "/data/other", check=False).stderr)
        self.kubectl("delete", "pod", "writes", "reads")
        self.kubectl("delete", "pvc", "mine")
        self.until(VOLUMES, lambda all: all[f"made-{self.ns}"]["status"]["phase"] == "Released", 30, "it is released")
        self.assertEqual((place / "file").read_text(), "kept\n")

    def test_a_claim_grows(self):
        self.apply(claim("grows"), user("first", "grows"))
        self.until_pod("first", is_ready, 60)
        self.exec("first", "sh", "-c", "echo before > /data/file")
        self.kubectl("patch", "pvc", "grows", "-p", '{"spec":{"resources":{"requests":{"storage":"64Mi"}}}}')
        if not cluster.has_capability("CAP_SYS_RESOURCE"):  # then it has to wait until no Pod uses it
            self.until(CLAIMS, lambda all: "FileSystemResizePending" in [
                c["type"] for c in all["grows"]["status"].get("conditions", [])], 30, "its file system waits")
            self.kubectl("delete", "pod", "first")
            self.apply(user("second", "grows"))
            self.until_pod("second", is_ready, 60)
        done = self.until(CLAIMS, lambda all: all["grows"]["status"]["capacity"]["storage"] == "64Mi", 90,
                          "it has grown")["grows"]
        self.assertNotIn("conditions", done["status"])
        self.assertEqual(done["status"]["allocatedResources"], {"storage": "64Mi"})
        self.assertEqual(self.bound("grows")["spec"]["capacity"], {"storage": "64Mi"})
        self.until_event("FileSystemResizeSuccessful", "grows", text="MountVolume.NodeExpandVolume succeeded")
        name = "first" if cluster.has_capability("CAP_SYS_RESOURCE") else "second"
        self.exec(name, "sh", "-c", "head -c 40000000 /dev/zero > /data/large")
        self.assertEqual(self.exec(name, "cat", "/data/file").stdout, "before\n")
        less = self.kubectl("patch", "pvc", "grows", "-p", '{"spec":{"resources":{"requests":{"storage":"32Mi"}}}}',
                            check=False)
        self.assertIn("field can not be less than status.capacity", less.stderr)

    def test_a_block_volume_is_a_device(self):
        def uses(name):
            made = pod(name, *SLEEP, container={"volumeDevices": [{"name": "data", "devicePath": "/dev/data"}]}, volumes=[
                {"name": "data", "persistentVolumeClaim": {"claimName": "raw"}}])
            self.apply(made)
            self.until_pod(name, is_ready, 60)
        self.apply(claim("raw", "4Mi", volumeMode="Block"))
        uses("first")
        self.exec("first", "sh", "-c", "echo on the device > /dev/data; sync")
        size = self.exec("first", "sh", "-c", "wc -c < /dev/data").stdout
        self.assertEqual(int(size), 4 << 20)
        image = self.place(self.bound("raw")) / "image"
        attached = [d for d in pathlib.Path("/sys/block").glob("loop*/loop/backing_file")
                    if d.read_text().strip() == str(image)]
        self.assertEqual(len(attached), 1)
        self.kubectl("delete", "pod", "first")
        self.assertFalse(attached[0].exists(), "nobody uses it any more")
        uses("second")
        self.assertEqual(self.exec("second", "head", "-n", "1", "/dev/data").stdout, "on the device\n")
        self.apply(user("mounts", "raw"))
        self.until_event("FailedMount", "mounts", text="has volumeMode Block, but is specified in volumeMounts")

    def test_a_node_that_is_not_its_own(self):
        place = pathlib.Path(f"/tmp/sampan-volumes-test-{self.ns}")
        place.mkdir()
        self.addCleanup(lambda: (self.kubectl("delete", "pv", f"far-{self.ns}", "--wait=false", namespace=None, check=False),
                                 place.rmdir()))
        self.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"far-{self.ns}"}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "by-hand",
            "local": {"path": str(place)}, "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": ["elsewhere"]}]}]}}}},
            claim("far", "1Gi", storageClassName="by-hand"))
        self.bound("far")
        self.apply(user("near", "far", nodeName=self.cluster.nodes[0]))
        self.until_event("FailedMount", "near", text=f'MountVolume.NodeAffinity check failed for volume "far-{self.ns}"')

    def test_what_is_not_there(self):
        self.apply(user("waits", "later"))
        self.until_event("FailedScheduling", "waits", text='persistentvolumeclaim "later" not found')
        self.apply(claim("later"))
        self.until_pod("waits", is_ready, 60)

    def test_ephemeral_volumes_go_with_their_pod(self):
        mount = {"volumeMounts": [{"name": "scratch", "mountPath": "/data"}]}
        self.apply(pod("brief", *SLEEP, container=mount, securityContext={"fsGroup": 2000}, volumes=[
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": claim("")["spec"]}}}]))
        self.until_pod("brief", is_ready, 60)
        self.assertEqual(self.exec("brief", "stat", "-c", "%g %a", "/data").stdout, "2000 2777\n")
        self.bound("brief-scratch")
        self.kubectl("delete", "pod", "brief")
        self.until(CLAIMS, lambda all: not all, 60, "its claim is gone")


if __name__ == "__main__":
    cluster.main()
