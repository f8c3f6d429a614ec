#!/usr/bin/python3
"""Admission the way operators bring it: a webhook in a Deployment behind a Service, with a certificate of
its own CA in a mounted Secret and the CA in the configuration, called by a master that is no node. And
an API server in a Pod behind an APIService, by the same way."""
import base64
import json

import cluster
from backend import PRELUDE, SERVE, Authority
from cluster import BUSYBOX

# Refuses ConfigMaps that are named after the node it runs on.
WEBHOOK = r"""
import os
class Handler(JsonHandler):
    def do_GET(self): self.answer({})
    def do_POST(self):
        review = json.loads(self.body())
        request = review["request"]
        response = {"uid": request["uid"], "allowed": request.get("name") != "bad-on-" + os.environ["NODE"]}
        if not response["allowed"]:
            response["status"] = {"code": 403, "reason": "Forbidden", "message": "bad is bad"}
        self.answer({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
"""
API_SERVER = r"""
class Handler(JsonHandler):
    def do_GET(self):
        resource = {"name": "moods", "singularName": "mood", "namespaced": False, "kind": "Mood", "verbs": ["get", "list"]}
        if self.path == "/apis/pods.example.com/v1":
            return self.answer({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "pods.example.com/v1", "resources": [resource]})
        if self.path.split("?")[0] == "/apis/pods.example.com/v1/moods":
            return self.answer({"kind": "MoodList", "apiVersion": "pods.example.com/v1", "metadata": {}, "items": [
                {"kind": "Mood", "apiVersion": "pods.example.com/v1", "metadata": {"name": "calm"}}]})
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}, 404)
"""
# Python of this machine: the image has none.
HOST = ("usr", "lib", "lib64")


def server(name, source, node):
    command = ["/usr/bin/python3", "-c", PRELUDE + source + SERVE, "0.0.0.0", "8443", "/certificates/server.pem"]
    volumes = [{"name": path, "hostPath": {"path": f"/{path}"}} for path in HOST]
    mounts = [{"name": path, "mountPath": f"/{path}", "readOnly": True} for path in HOST]
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {
                "terminationGracePeriodSeconds": 1, "nodeSelector": {"kubernetes.io/hostname": node},
                "volumes": volumes + [{"name": "certificates", "secret": {"secretName": f"{name}-certificate", "defaultMode": 0o400}}],
                "containers": [{
                    "name": "c", "image": BUSYBOX, "command": command,
                    "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                    "ports": [{"containerPort": 8443, "name": "https"}],
                    "volumeMounts": mounts + [{"name": "certificates", "mountPath": "/certificates", "readOnly": True}],
                    "readinessProbe": {"httpGet": {"path": "/apis/pods.example.com/v1", "port": "https", "scheme": "HTTPS"},
                                       "periodSeconds": 1}}]}}}}


class WebhookInPods(cluster.ClusterTest):
    nodes = 2

    def serve(self, name, source, node):
        """A Deployment behind a Service, as cert-manager would equip it; returns the CA's certificate."""
        authority = Authority()
        self.addCleanup(authority.cleanup)
        pair = authority.sign(f"DNS:{name}.{self.ns}.svc", f"DNS:{name}.{self.ns}.svc.cluster.local")
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{name}-certificate"},
                  "data": {"server.pem": base64.b64encode(pair.read_bytes()).decode()}}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                   "spec": {"selector": {"app": name}, "ports": [{"port": 443, "targetPort": "https"}]}}
        self.apply(secret, service, server(name, source, node))
        self.kubectl("rollout", "status", f"deployment/{name}", "--timeout=90s")
        self.until("/api/v1/namespaces/{ns}/endpoints", lambda items: items.get(name, {}).get("subsets"))
        return base64.b64encode(authority.ca).decode()

    def test_a_webhook_on_every_node_answers_admission(self):
        hooks = [{"name": f"{node}.hook.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
                  "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
                  "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.ns}},
                  "clientConfig": {"service": {"namespace": self.ns, "name": f"on-{node}", "path": "/validate"},
                                   "caBundle": self.serve(f"on-{node}", WEBHOOK, node)}} for node in self.cluster.nodes]
        self.kubectl("create", "-f", "-", namespace=None, input={
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": self.ns},
            "webhooks": hooks})
        self.addCleanup(self.kubectl, "delete", "validatingwebhookconfiguration", self.ns, namespace=None)
        for node in self.cluster.nodes:
            self.assertIn(f'admission webhook "{node}.hook.example.com" denied the request: bad is bad',
                          self.kubectl("create", "configmap", f"bad-on-{node}", check=False).stderr)
        self.kubectl("create", "configmap", "good")
        # Pods reach it by its name and cluster IP: the same Service, from the other node.
        self.apply(cluster.pod("client", "sleep", "1000", nodeName="node-2"))
        self.wait("condition=Ready", "pod/client")
        self.exec("client", "sh", "-c", f"timeout 5 nc on-node-1.{self.ns}.svc 443 < /dev/null")
        # Its Pods gone, requests fail as the policy says, and the reason is told.
        self.kubectl("delete", "deployment", "on-node-2")
        self.until("/api/v1/namespaces/{ns}/endpoints", lambda items: not items.get("on-node-2", {}).get("subsets"))
        done = self.kubectl("create", "configmap", "other", check=False)
        self.assertIn('failed calling webhook "node-2.hook.example.com"', done.stderr)
        self.assertIn('no endpoints available for service "on-node-2"', done.stderr)

    def test_an_api_server_in_a_pod(self):
        ca = self.serve("moods", API_SERVER, "node-2")
        self.kubectl("create", "-f", "-", namespace=None, input={
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.pods.example.com"},
            "spec": {"group": "pods.example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15,
                     "service": {"namespace": self.ns, "name": "moods"}, "caBundle": ca}})
        self.addCleanup(self.kubectl, "delete", "apiservice", "v1.pods.example.com", namespace=None)
        self.kubectl("wait", "--for=condition=Available", "--timeout=60s", "apiservice/v1.pods.example.com", namespace=None)
        moods = json.loads(self.kubectl("get", "--raw", "/apis/pods.example.com/v1/moods", namespace=None).stdout)
        self.assertEqual([item["metadata"]["name"] for item in moods["items"]], ["calm"])


if __name__ == "__main__":
    cluster.main()
