#!/usr/bin/python3
"""Pods whose image no node has: pulled from a real registry, Debian's docker-registry, that runs in
the cluster's own namespace."""
import base64
import json
import pathlib
import shutil
import tempfile
import warnings

warnings.filterwarnings("ignore", "'crypt' is deprecated", DeprecationWarning)
import crypt  # noqa: E402

import cluster
import images
from cluster import pod
from image_fixture import Image, Pusher, Registry

PASSWORD = "pa55:with-colon"
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


class PrivatePull(cluster.ClusterTest):
    """The same registry with a password: imagePullSecrets of the Pod and of its account, and who may use
    what another Pod's credentials brought here."""
    load = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sampan-e2e-private-"))
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.image = Image([images.busybox_layer({"etc/from": "the private registry"})],
                          config={"Cmd": ["sleep", "1000"], "Env": ["PATH=/bin"]})
        outside = Registry(folder / "registry")
        try:
            for tag in ("v1", "v2", "v3", "v4", "v5"):
                Pusher(outside.url).image("team/app", tag, cls.image if tag == "v1" else Image(
                    [images.busybox_layer({"etc/from": tag})], config={"Cmd": ["sleep", "1000"], "Env": ["PATH=/bin"]}))
        finally:
            outside.stop()
        (folder / "htpasswd").write_text(f"puller:{crypt.crypt(PASSWORD, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))}\n")
        inside = Registry(folder / "registry", htpasswd=folder / "htpasswd", netns=(f"/run/netns/{cls.cluster.netns}", ADDRESS))
        cls.addClassCleanup(inside.stop)
        (cls.cluster.data / "registries.json").write_text(json.dumps({"registries": {ADDRESS: {"plainHTTP": True}}}))

    def secret(self, name, places, kind="kubernetes.io/dockerconfigjson", user="puller", password=PASSWORD):
        auths = {place: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()} for place in places}
        key, value = (".dockercfg", auths) if kind.endswith("dockercfg") else (".dockerconfigjson", {"auths": auths})
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind,
                    "data": {key: base64.b64encode(json.dumps(value).encode()).decode()}})

    def private(self, name, tag, *secrets, policy="IfNotPresent", **spec):
        made = pod(name, image=f"{ADDRESS}/team/app:{tag}", container={"imagePullPolicy": policy})
        made["spec"].update(spec, **({"imagePullSecrets": [{"name": s} for s in secrets]} if secrets else {}))
        self.apply(made)

    def waits_for_image(self, name):
        return self.until_pod(name, lambda p: (p["status"].get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {}).get(
            "reason") in ("ErrImagePull", "ImagePullBackOff"))

    def test_secrets_of_the_pod(self):
        self.private("without", "v1")
        self.waits_for_image("without")
        self.secret("wrong", [ADDRESS], password="wr0ng-and-secret")
        self.private("refused", "v1", "wrong")
        self.waits_for_image("refused")
        # The wrong one first, the right one under a path; the third is not there.
        self.secret("right", [f"{ADDRESS}/team"])
        self.secret("elsewhere", ["registry.example"])
        self.private("several", "v1", "elsewhere", "wrong", "right", "missing")
        self.wait("condition=Ready", "pod/several")
        self.assertEqual(self.exec("several", "cat", "/etc/from").stdout, "the private registry")
        self.assertIn("Unable to retrieve some image pull secrets (missing)",
                      self.until_event("FailedToRetrieveImagePullSecret", "several")["message"])
        self.secret("old", ["192.*.2.1:5000"], kind="kubernetes.io/dockercfg")
        self.private("old", "v2", "old")
        self.wait("condition=Ready", "pod/old")

    def test_secrets_of_the_account(self):
        self.secret("right", [f"http://{ADDRESS}/v2/"])
        self.kubectl("create", "serviceaccount", "puller")
        self.kubectl("patch", "serviceaccount", "puller", "-p", json.dumps({"imagePullSecrets": [{"name": "right"}]}))
        self.private("by-account", "v3", serviceAccountName="puller", policy="Always")
        self.wait("condition=Ready", "pod/by-account")
        self.assertEqual(self.get("pod", "by-account")["spec"]["imagePullSecrets"], [{"name": "right"}])

    def test_an_image_that_is_there_is_verified(self):
        self.secret("right", [ADDRESS])
        self.private("first", "v4", "right")
        self.wait("condition=Ready", "pod/first")
        # Another Pod of the node, without credentials: not even with Never.
        self.private("thief", "v4")
        self.waits_for_image("thief")
        self.private("never", "v4", policy="Never")
        self.until_pod("never", lambda p: (p["status"].get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {}).get(
            "reason") == "ErrImageNeverPull")
        # The same login in another secret, and the same secret again, ask no registry.
        self.secret("same-login", [ADDRESS])
        for name, secret, policy in (("again", "right", "IfNotPresent"), ("other", "same-login", "Never")):
            self.private(name, "v4", secret, policy=policy)
            self.wait("condition=Ready", f"pod/{name}")
            self.assertIn("already present on machine and can be accessed by the pod", self.until_event("Pulled", name)["message"])
        # It stays so over a restart of the kubelet.
        self.cluster.restart("node-1/kubelet")
        self.private("thief-2", "v4")
        self.waits_for_image("thief-2")

    def test_no_password_is_shown(self):
        self.secret("right", [ADDRESS])
        self.private("quiet", "v5", "right", policy="Always")
        self.wait("condition=Ready", "pod/quiet")
        self.secret("wrong", [ADDRESS], password="wr0ng-and-secret")
        self.private("loud", "v5", "wrong", policy="Always")
        self.waits_for_image("loud")
        told = json.dumps(self.get("events")) + json.dumps(self.get("pods"))
        for daemon in self.cluster.daemons():
            told += self.cluster.log_path(daemon).read_text(errors="replace")
        for path in self.cluster.data.glob("**/image_manager/**/*"):
            told += path.read_text() if path.is_file() else ""
        for word in (PASSWORD, "wr0ng-and-secret", base64.b64encode(f"puller:{PASSWORD}".encode()).decode()):
            self.assertNotIn(word, told)


if __name__ == "__main__":
    cluster.main()
