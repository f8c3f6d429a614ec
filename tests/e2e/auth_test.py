#!/usr/bin/env python3
"""Who may do what, as kubectl's users see it."""
import base64
import json
import os
import pathlib
import subprocess
import tempfile

import cluster

# What Debian's Python needs, lent to a container of another image.
LENT = {"usr": "/usr", "lib": "/lib", "lib64": "/lib64"}
ASK = """
import sys
from kubernetes import client, config
config.load_incluster_config()
try:
    print(sorted(p.metadata.name for p in client.CoreV1Api().list_namespaced_pod(sys.argv[1]).items))
except client.ApiException as error:
    print(error.status, error.body)
"""


class Auth(cluster.ClusterTest):
    nodes = 1

    def as_user(self, user, *words, check=True, groups=(), **named):
        extra = [f"--as={user}"] + [f"--as-group={group}" for group in groups]
        return self.kubectl(*words, *extra, check=check, **named)

    def refused(self, done, text):
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(text, done.stderr)

    def kubeconfig(self, user):
        """A kubeconfig for this cluster with other credentials."""
        config = json.loads(self.kubectl("config", "view", "--raw", "--minify", "-o", "json").stdout)
        config["users"][0]["user"] = user
        handle, path = tempfile.mkstemp(dir=self.cluster.state)
        os.write(handle, json.dumps(config).encode())
        os.close(handle)
        self.addCleanup(os.unlink, path)
        return path

    def with_config(self, path, *words, input=None, check=True):
        done = subprocess.run(["kubectl", f"--kubeconfig={path}", f"--cache-dir={self.cluster.state}/kubectl-cache",
                               f"--namespace={self.ns}", *words], input=input, text=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def signing_request(self, subject):
        """(PEM of a request, PEM of its key)"""
        directory = pathlib.Path(tempfile.mkdtemp(dir=self.cluster.state))
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", directory / "key", "-out", directory / "csr", "-subj", subject],
                       check=True, stderr=subprocess.DEVNULL)
        return (directory / "csr").read_bytes(), (directory / "key").read_bytes()

    def csr(self, name, request, signer, usages):
        return json.dumps({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
                           "metadata": {"name": name},
                           "spec": {"request": base64.b64encode(request).decode(), "signerName": signer,
                                    "usages": usages, "expirationSeconds": 3600}})

    def certificate(self, name):
        self.kubectl("wait", "csr", name, "--for=jsonpath={.status.certificate}", "--timeout=20s", namespace=None)
        return self.kubectl("get", "csr", name, "-o", "jsonpath={.status.certificate}", namespace=None).stdout

    def test_tokens_of_accounts(self):
        self.kubectl("create", "serviceaccount", "robot")
        token = self.kubectl("create", "token", "robot").stdout.strip()
        config = self.kubeconfig({"token": token})
        self.assertIn(f"system:serviceaccount:{self.ns}:robot", self.with_config(config, "auth", "whoami").stdout)
        self.refused(self.with_config(config, "get", "pods", check=False), "Forbidden")
        self.kubectl("create", "rolebinding", "robot", "--clusterrole=view", f"--serviceaccount={self.ns}:robot")
        self.with_config(config, "get", "pods")
        self.refused(self.with_config(self.kubeconfig({"token": token + "x"}), "get", "pods", check=False), "Unauthorized")
        secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
                  "metadata": {"name": "robot", "annotations": {"kubernetes.io/service-account.name": "robot"}}}
        self.kubectl("create", "-f", "-", input=secret)
        self.kubectl("wait", "secret/robot", "--for=jsonpath={.data.token}", "--timeout=20s")
        data = json.loads(self.kubectl("get", "secret", "robot", "-o", "json").stdout)["data"]
        lasting = self.kubeconfig({"token": base64.b64decode(data["token"]).decode()})
        self.with_config(lasting, "get", "pods")
        self.kubectl("delete", "serviceaccount", "robot")
        self.refused(self.with_config(config, "get", "pods", check=False), "Unauthorized")
        self.kubectl("wait", "secret/robot", "--for=delete", "--timeout=20s")
        self.refused(self.with_config(lasting, "get", "pods", check=False), "Unauthorized")

    def test_certificates_are_asked_for_and_approved(self):
        request, key = self.signing_request("/O=dev/CN=dora")
        name, client = f"{self.ns}-dora"[:60], "kubernetes.io/kube-apiserver-client"
        self.kubectl("create", "-f", "-", input=self.csr(name, request, client, ["client auth"]), namespace=None)
        self.kubectl("certificate", "approve", name, namespace=None)
        config = self.kubeconfig({"client-certificate-data": self.certificate(name),
                                  "client-key-data": base64.b64encode(key).decode()})
        self.assertRegex(self.with_config(config, "auth", "whoami").stdout, r"Username +dora\nGroups +\[dev system:authenticated\]")
        denied = f"{self.ns}-denied"[:60]
        self.kubectl("create", "-f", "-", input=self.csr(denied, request, client, ["client auth"]), namespace=None)
        self.kubectl("certificate", "deny", denied, namespace=None)
        self.assertEqual(self.kubectl("get", "csr", denied, "-o", "jsonpath={.status.conditions[*].type}", namespace=None).stdout, "Denied")
        masters, _ = self.signing_request("/O=system:masters/CN=dora")
        self.refused(self.kubectl("create", "-f", "-", input=self.csr(denied + "m", masters, client, ["client auth"]),
                                  namespace=None, check=False), "system:masters group is not allowed")
        self.refused(self.kubectl("create", "-f", "-", input=self.csr(denied + "l", request, "kubernetes.io/legacy-unknown", ["client auth"]),
                                  namespace=None, check=False), "the legacy signerName is not allowed via this API version")

    def test_a_node_gets_its_first_certificate_by_a_bootstrap_token(self):
        secret = {"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
                  "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
                  "stringData": {"token-id": "abcdef", "token-secret": "0123456789abcdef",
                                 "usage-bootstrap-authentication": "true"}}
        self.kubectl("create", "-f", "-", input=secret, namespace="kube-system")
        for role in ("system:node-bootstrapper", "system:certificates.k8s.io:certificatesigningrequests:nodeclient"):
            self.kubectl("create", "clusterrolebinding", role.replace(":", "-") + "-test", f"--clusterrole={role}",
                         "--group=system:bootstrappers", namespace=None)
        config = self.kubeconfig({"token": "abcdef.0123456789abcdef"})
        self.refused(self.with_config(config, "get", "nodes", check=False), "Forbidden")
        request, key = self.signing_request("/O=system:nodes/CN=system:node:n9")
        name = f"{self.ns}-n9"[:60]
        self.with_config(config, "create", "-f", "-", input=self.csr(
            name, request, "kubernetes.io/kube-apiserver-client-kubelet", ["digital signature", "client auth"]))
        node = self.kubeconfig({"client-certificate-data": self.certificate(name),
                                "client-key-data": base64.b64encode(key).decode()})
        self.refused(self.with_config(node, "get", "node", "n9", check=False), "NotFound")
        self.refused(self.with_config(node, "get", "secrets", check=False), "Forbidden")

    def test_a_pod_reaches_the_api_with_its_token(self):
        spec = cluster.pod("asker", "sleep", "1000", volumes=[
            {"name": name, "hostPath": {"path": os.path.realpath(path)}} for name, path in LENT.items()])
        spec["spec"]["containers"][0]["volumeMounts"] = [
            {"name": name, "mountPath": path, "readOnly": True} for name, path in LENT.items()]
        self.kubectl("create", "-f", "-", input=spec)
        self.kubectl("wait", "pod/asker", "--for=condition=Ready", "--timeout=60s")
        made = json.loads(self.kubectl("get", "pod", "asker", "-o", "json").stdout)["spec"]
        self.assertRegex(made["volumes"][-1]["name"], "^kube-api-access-[a-z0-9]{5}$")
        ask = ["exec", "asker", "--", "/usr/bin/python3", "-c", ASK, self.ns]
        self.assertIn(f'User \\"system:serviceaccount:{self.ns}:default\\" cannot list resource', self.kubectl(*ask).stdout)
        self.kubectl("create", "rolebinding", "view", "--clusterrole=view", f"--serviceaccount={self.ns}:default")
        self.assertEqual(self.kubectl(*ask).stdout, "['asker']\n")
        self.assertEqual(self.kubectl("exec", "asker", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/namespace").stdout, self.ns)
        silent = cluster.pod("silent", "sleep", "1000", automountServiceAccountToken=False)
        self.kubectl("create", "-f", "-", input=silent)
        self.assertNotIn("volumes", json.loads(self.kubectl("get", "pod", "silent", "-o", "json").stdout)["spec"])
        self.refused(self.kubectl("create", "-f", "-", input=cluster.pod("nobody", "true", serviceAccountName="nobody"), check=False),
                     f'error looking up service account {self.ns}/nobody: serviceaccount "nobody" not found')

    def test_roles_and_can_i(self):
        self.refused(self.as_user("bob", "get", "pods", check=False),
                     f'pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "{self.ns}"')
        self.kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods,pods/log")
        self.kubectl("create", "rolebinding", "readers", "--role=reader", "--user=bob")
        self.as_user("bob", "get", "pods")
        self.assertEqual(self.as_user("bob", "auth", "can-i", "list", "pods").stdout, "yes\n")
        done = self.as_user("bob", "auth", "can-i", "delete", "pods", check=False)
        self.assertEqual((done.returncode, done.stdout), (1, "no\n"))
        listed = self.as_user("bob", "auth", "can-i", "--list").stdout
        self.assertRegex(listed, r"pods/log +\[\] +\[\] +\[get list\]")
        self.assertRegex(listed, r"selfsubjectreviews\.authentication\.k8s\.io +\[\] +\[\] +\[create\]")
        who = self.as_user("bob", "auth", "whoami", groups=["dev"]).stdout
        self.assertRegex(who, r"Username +bob\nGroups +\[dev system:authenticated\]")
        self.kubectl("create", "rolebinding", "dev", "--clusterrole=edit", "--group=dev")
        self.as_user("eve", "create", "configmap", "made", "--from-literal=a=b", groups=["dev"])
        self.refused(self.as_user("eve", "create", "rolebinding", "mine", "--clusterrole=admin", "--user=eve",
                                  groups=["dev"], check=False), 'cannot create resource "rolebindings"')

    def test_nobody_grants_more_than_he_has(self):
        self.kubectl("create", "rolebinding", "admins", "--clusterrole=admin", "--user=ann")
        self.as_user("ann", "create", "role", "fine", "--verb=get", "--resource=secrets")
        done = self.as_user("ann", "create", "role", "more", "--verb=get", "--resource=nodes", check=False)
        self.refused(done, "is attempting to grant RBAC permissions not currently held:\n"
                           '{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}')

    def test_reconcile(self):
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": {"name": "r", "namespace": self.ns},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                   "metadata": {"name": "b", "namespace": self.ns},
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
                   "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}]}
        both = {"apiVersion": "v1", "kind": "List", "items": [role, binding]}
        self.kubectl("auth", "reconcile", "-f", "-", input=both)
        role["rules"][0]["verbs"] = ["get", "watch"]
        binding["subjects"][0]["name"] = "eve"
        self.kubectl("auth", "reconcile", "-f", "-", input=both)
        self.assertEqual(self.as_user("eve", "auth", "can-i", "watch", "pods").stdout, "yes\n")
        self.assertEqual(self.as_user("bob", "auth", "can-i", "get", "pods").stdout, "yes\n")

    def test_each_controller_has_rights_of_its_own(self):
        name = "system:controller:deployment-controller"
        binding = json.loads(self.kubectl("get", "clusterrolebinding", name, "-o", "json", namespace=None).stdout)
        binding["metadata"] = {"name": name, "labels": binding["metadata"]["labels"]}
        self.kubectl("delete", "clusterrolebinding", name, namespace=None)
        self.kubectl("create", "deployment", "d", f"--image={cluster.BUSYBOX}", "--", "sleep", "100")
        template = {"metadata": {"labels": {"app": "bare"}}, "spec": {"containers": [{"name": "c", "image": cluster.BUSYBOX}]}}
        self.apply({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "bare"},
                    "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "bare"}}, "template": template}})
        self.until("/api/v1/namespaces/{ns}/pods", lambda items: len(items) == 1)
        self.assertEqual([rs["metadata"]["name"] for rs in self.get("replicasets")["items"]], ["bare"])
        self.kubectl("create", "-f", "-", input=binding, namespace=None)
        self.until("/apis/apps/v1/namespaces/{ns}/replicasets", lambda items: len(items) == 2)

    def test_default_roles_are_there(self):
        roles = json.loads(self.kubectl("get", "clusterroles", "-o", "json", namespace=None).stdout)["items"]
        by_name = {role["metadata"]["name"]: role for role in roles}
        for name in ("cluster-admin", "admin", "edit", "view", "system:node", "system:kube-scheduler",
                     "system:controller:deployment-controller", "system:public-info-viewer"):
            self.assertIn(name, by_name)
        self.assertTrue(by_name["view"]["rules"])
        self.assertNotIn("secrets", json.dumps(by_name["view"]["rules"]))
        self.assertIn("secrets", json.dumps(by_name["edit"]["rules"]))


if __name__ == "__main__":
    cluster.main()
