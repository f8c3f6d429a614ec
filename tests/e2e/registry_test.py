#!/usr/bin/python3
"""Pods whose image no node has: pulled from a real registry, Debian's docker-registry, that runs in
the cluster's own namespace."""
import json
import pathlib
import shutil
import tempfile

import cluster
import images
from cluster import pod
from image_fixture import Image, Pusher, Registry

ADDRESS = "192.0.2.1:5000"  # the master's, inside the cluster's namespaces


class Pull(cluster.ClusterTest):
    load = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sampan-e2e-registry-"))
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.image = Image([images.busybox_layer({"etc/from": "the registry"})],
                          config={"Cmd": ["sleep", "1000"], "Env": ["PATH=/bin"]})
        # Pushed over loopback, served inside: the same files.
        outside = Registry(folder / "registry")
        try:
            Pusher(outside.url).image("team/app", "v1", cls.image)
        finally:
            outside.stop()
        inside = Registry(folder / "registry", netns=(f"/run/netns/{cls.cluster.netns}", ADDRESS))
        cls.addClassCleanup(inside.stop)
        (cls.cluster.data / "registries.json").write_text(
            json.dumps({"registries": {ADDRESS: {"plainHTTP": True}}}))

    def test_by_tag_then_present(self):
        self.apply(pod("first", image=f"{ADDRESS}/team/app:v1"))
        self.wait("condition=Ready", "pod/first")
        status = self.get("pod", "first")["status"]["containerStatuses"][0]
        self.assertIn(self.image.digest, status["imageID"])
        self.assertEqual(self.exec("first", "cat", "/etc/from").stdout, "the registry")
        self.until_event("Pulling", "first")
        self.assertIn(f"{ADDRESS}/team/app:v1", self.until_event("Pulled", "first")["message"])
        self.apply(pod("second", image=f"{ADDRESS}/team/app:v1", container={"imagePullPolicy": "IfNotPresent"}))
        self.wait("condition=Ready", "pod/second")
        self.assertIn("already present", self.until_event("Pulled", "second")["message"])

    def test_by_digest(self):
        self.apply(pod("pinned", image=f"{ADDRESS}/team/app@{self.image.digest}"))
        self.wait("condition=Ready", "pod/pinned")

    def test_a_missing_digest_is_said(self):
        name = f"{ADDRESS}/team/app@sha256:{'0' * 64}"
        self.apply(pod("missing", image=name))
        self.until_event("Failed", "missing", text=name)


if __name__ == "__main__":
    cluster.main()
