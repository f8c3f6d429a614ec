#!/usr/bin/python3
"""Admission as seen through kubectl: a real webhook server beside the master, quotas, limit ranges,
Pod security, priorities, default classes."""
import base64

import cluster
from backend import Authority, Backend, endpoint_slice
from cluster import BUSYBOX, pod
from throwaway_cluster import MASTER_IP

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"]
PORT = 9443
# Refuses ConfigMaps named "bad", labels all others.
SERVER = r"""
class Handler(JsonHandler):
    def do_POST(self):
        review = json.loads(self.body())
        request = review["request"]
        response = {"uid": request["uid"], "allowed": True}
        if self.path.startswith("/validate") and request.get("name") == "bad":
            response.update(allowed=False, status={"code": 403, "reason": "Forbidden", "message": "bad is bad"})
        if self.path.startswith("/validate") and request.get("name") == "odd":
            response["warnings"] = ["odd is odd"]
        if self.path.startswith("/mutate"):
            labels = request["object"]["metadata"].get("labels")
            path = "/metadata/labels/seen" if labels else "/metadata/labels"
            value = "yes" if labels else {"seen": "yes"}
            patch = json.dumps([{"op": "add", "path": path, "value": value}])
            response.update(patchType="JSONPatch", patch=base64.b64encode(patch.encode()).decode())
        self.answer({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
"""


class Admission(cluster.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        authority = Authority()
        cls.addClassCleanup(authority.cleanup)
        cls.ca = authority.ca
        backend = Backend(cls.cluster.netns, SERVER, PORT, authority.sign(f"IP:{MASTER_IP}", "DNS:hook.default.svc"))
        cls.addClassCleanup(backend.kill)

    def configure(self, kind, path, **more):
        hook = {"name": "test.hook.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.ns}},
                "clientConfig": {"url": f"https://{MASTER_IP}:{PORT}/{path}", "caBundle": base64.b64encode(self.ca).decode()}, **more}
        self.kubectl("create", "-f", "-", namespace=None, input={
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": f"{self.ns}-{path}"}, "webhooks": [hook]})
        self.addCleanup(self.kubectl, "delete", f"{kind}webhookconfiguration", f"{self.ns}-{path}", namespace=None)

    def test_webhooks(self):
        self.configure("Mutating", "mutate")
        self.configure("Validating", "validate")
        done = self.kubectl("create", "configmap", "bad", check=False)
        self.assertIn('admission webhook "test.hook.example.com" denied the request: bad is bad', done.stderr)
        self.kubectl("create", "configmap", "good")
        self.assertEqual(self.jsonpath("{.metadata.labels.seen}", "configmap", "good"), "yes")
        self.assertIn("Warning: odd is odd", self.kubectl("create", "configmap", "odd", check=False).stderr)
        self.kubectl("create", "configmap", "bad", namespace="default")
        self.kubectl("delete", "configmap", "bad", namespace="default")

    def test_a_webhook_through_its_service(self):
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"}, "spec": {"ports": [{"port": 443, "targetPort": PORT}]}}
        slice_ = endpoint_slice("hook", PORT)
        for each in (service, slice_):
            self.kubectl("create", "-f", "-", input=each, namespace="default")
        self.addCleanup(self.kubectl, "delete", "service/hook", "endpointslice/hook-1", namespace="default")
        self.configure("Validating", "validate", clientConfig={
            "service": {"namespace": "default", "name": "hook", "path": "/validate"}, "caBundle": base64.b64encode(self.ca).decode()})
        done = self.kubectl("create", "configmap", "bad", check=False)
        self.assertIn("denied the request: bad is bad", done.stderr)
        self.kubectl("create", "configmap", "good")

    def test_an_absent_webhook_fails_or_is_ignored(self):
        nowhere = {"url": f"https://{MASTER_IP}:1/x", "caBundle": base64.b64encode(self.ca).decode()}
        self.configure("Validating", "fails", clientConfig=nowhere)
        done = self.kubectl("create", "configmap", "a", check=False)
        self.assertIn('failed calling webhook "test.hook.example.com"', done.stderr)
        self.kubectl("patch", "validatingwebhookconfiguration", f"{self.ns}-fails", "--type=json", "-p",
                     '[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]', namespace=None)
        self.kubectl("create", "configmap", "a")

    def test_validating_policies(self):
        policy = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": self.ns}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}]},
            "variables": [{"name": "limit", "expression": "namespaceObject.metadata.?labels[?'limit'].orValue('2')"}],
            "validations": [{"expression": "object.spec.replicas <= int(variables.limit)", "messageExpression": "'at most %s replicas here'.format([variables.limit])"},
                            {"expression": "object.spec.template.spec.containers.all(c, !c.image.endsWith(':latest'))", "message": "no latest"}]}}
        binding = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": self.ns}, "spec": {
            "policyName": self.ns, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.ns}}}}}
        for one in (policy, binding):
            self.kubectl("apply", "-f", "-", input=one, namespace=None)
            self.addCleanup(self.kubectl, "delete", one["kind"], self.ns, namespace=None)
        self.wait("jsonpath={.status.observedGeneration}=1", f"validatingadmissionpolicy/{self.ns}")
        self.assertEqual(self.jsonpath("{.status.typeChecking}", "validatingadmissionpolicy", self.ns), "{}")
        self.kubectl("create", "deployment", "web", "--image=test/none:1", "--replicas=2")
        done = self.kubectl("create", "deployment", "many", "--image=test/none:1", "--replicas=3", check=False)
        self.assertIn(f"ValidatingAdmissionPolicy '{self.ns}' with binding '{self.ns}' denied request: at most 2 replicas here", done.stderr)
        done = self.kubectl("set", "image", "deployment/web", "none=test/none:latest", check=False)
        self.assertIn("denied request: no latest", done.stderr)
        self.kubectl("label", "namespace", self.ns, "limit=3", namespace=None)
        self.kubectl("create", "deployment", "many", "--image=test/none:1", "--replicas=3")
        self.kubectl("create", "deployment", "elsewhere", "--image=test/none:latest", "--dry-run=server", namespace="default")
        binding["spec"]["validationActions"] = ["Warn", "Audit"]
        self.kubectl("apply", "-f", "-", input=binding, namespace=None)
        done = self.kubectl("create", "deployment", "warned", "--image=test/none:latest", check=False)
        self.assertEqual(done.returncode, 0)
        self.assertIn(f"Warning: Validation failed for ValidatingAdmissionPolicy '{self.ns}' with binding '{self.ns}': no latest", done.stderr)
        policy["spec"]["validations"] = [{"expression": "object.spec.replica > 1"}]
        self.kubectl("apply", "-f", "-", input=policy, namespace=None)
        self.wait("jsonpath={.status.observedGeneration}=2", f"validatingadmissionpolicy/{self.ns}")
        self.assertIn("apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replica'", self.jsonpath(
            "{.status.typeChecking.expressionWarnings[?(@.fieldRef=='spec.validations[0].expression')].warning}", "validatingadmissionpolicy", self.ns))
        policy["spec"]["validations"] = [{"expression": "object.spec.replicas.x > 'a' + nope"}]
        done = self.kubectl("apply", "-f", "-", input=policy, namespace=None, check=False)
        self.assertIn("undeclared reference to 'nope'", done.stderr)

    def test_mutating_policies(self):
        policy = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": {"name": self.ns}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]},
            "matchConditions": [{"name": "once", "expression": "!has(object.spec.initContainers)"}], "reinvocationPolicy": "Never",
            "variables": [{"name": "image", "expression": "object.spec.containers[0].image"}],
            "mutations": [
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
                    "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{name: 'side', image: variables.image, "
                    "restartPolicy: 'Always', command: object.spec.containers[0].command}]}}"}},
                {"patchType": "JSONPatch", "jsonPatch": {"expression":
                    "[JSONPatch{op: 'add', path: '/metadata/labels', value: {'mutated': 'yes'}}]"}}]}}
        binding = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": self.ns}, "spec": {
            "policyName": self.ns, "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.ns}}}}}
        for one in (policy, binding):
            self.kubectl("apply", "-f", "-", input=one, namespace=None)
            self.addCleanup(self.kubectl, "delete", one["kind"], self.ns, namespace=None)
        done = self.kubectl("create", "-f", "-", input=pod("refused", *SLEEP), check=False)
        self.assertIn(f"policy '{self.ns}' with binding '{self.ns}' denied request: error applying patch: invalid ApplyConfiguration: may not "
                      "mutate atomic arrays, maps or structs: .spec.initContainers[0].command", done.stderr)
        expression = policy["spec"]["mutations"][0]["applyConfiguration"]
        expression["expression"] = expression["expression"].replace(", command: object.spec.containers[0].command", "")
        policy["spec"]["mutations"].insert(1, {"patchType": "JSONPatch", "jsonPatch": {"expression":
            "[JSONPatch{op: 'add', path: '/spec/initContainers/0/command', value: object.spec.containers[0].command}]"}})
        self.kubectl("apply", "-f", "-", input=policy, namespace=None)
        self.apply(pod("changed", *SLEEP))
        self.wait("condition=Ready", "pod/changed")
        self.assertEqual(self.jsonpath("{.metadata.labels.mutated} {.status.initContainerStatuses[0].started}", "pod", "changed"), "yes true")

    def test_policies_see_what_runs_in_a_pod(self):
        policy = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": self.ns}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT"], "resources": ["pods/exec", "pods/proxy"]}]},
            "validations": [{"expression": "object.kind == 'PodExecOptions' && !('sh' in object.command)", "message": "no shells, no pages"}]}}
        binding = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": self.ns}, "spec": {
            "policyName": self.ns, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.ns}}}}}
        self.apply(pod("guarded", *SLEEP))
        self.wait("condition=Ready", "pod/guarded")
        for one in (policy, binding):
            self.kubectl("apply", "-f", "-", input=one, namespace=None)
            self.addCleanup(self.kubectl, "delete", one["kind"], self.ns, namespace=None)
        self.assertEqual(self.kubectl("exec", "guarded", "--", "echo", "said").stdout, "said\n")
        for words in (("exec", "guarded", "--", "sh", "-c", "true"), ("get", "--raw", f"/api/v1/namespaces/{self.ns}/pods/guarded:80/proxy/")):
            done = self.kubectl(*words, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("no shells, no pages", done.stderr)

    def test_quota_and_limits(self):
        self.kubectl("create", "quota", "q", "--hard=pods=1,requests.cpu=500m,configmaps=3")
        done = self.kubectl("create", "-f", "-", input=pod("a", *SLEEP), check=False)
        self.assertIn("failed quota: q: must specify requests.cpu for: c", done.stderr)
        self.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [
            {"type": "Container", "defaultRequest": {"cpu": "100m"}, "default": {"cpu": "200m"}, "max": {"cpu": "1"}}]}})
        self.apply(pod("a", *SLEEP))
        self.assertEqual(self.jsonpath("{.spec.containers[0].resources.requests.cpu}", "pod", "a"), "100m")
        done = self.kubectl("create", "-f", "-", input=pod("b", *SLEEP), check=False)
        self.assertIn("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1", done.stderr)
        self.until("/api/v1/namespaces/{ns}/resourcequotas", lambda items:
                   items["q"].get("status", {}).get("used", {}).get("requests.cpu") == "100m")
        big = pod("big", *SLEEP, container={"resources": {"limits": {"cpu": "2"}}})
        done = self.kubectl("create", "-f", "-", input=big, check=False)
        self.assertIn("maximum cpu usage per Container is 1, but limit is 2", done.stderr)
        self.kubectl("delete", "pod", "a")
        self.kubectl("wait", "--for=delete", "pod/a", "--timeout=60s")
        self.apply(pod("b", *SLEEP))

    def test_pod_security(self):
        self.kubectl("label", "namespace", self.ns, "pod-security.kubernetes.io/enforce=baseline",
                     "pod-security.kubernetes.io/warn=restricted", namespace=None)
        bad = pod("a", *SLEEP, container={"securityContext": {"privileged": True}})
        done = self.kubectl("create", "-f", "-", input=bad, check=False)
        self.assertIn('violates PodSecurity "baseline:latest": privileged (container "c" must not set securityContext.privileged=true)', done.stderr)
        done = self.kubectl("create", "deployment", "d", f"--image={BUSYBOX}", check=False)
        self.assertEqual(done.returncode, 0)
        self.assertIn('Warning: would violate PodSecurity "restricted:latest"', done.stderr)

    def test_priorities(self):
        self.kubectl("create", "priorityclass", "high", "--value=100000", namespace=None)
        self.addCleanup(self.kubectl, "delete", "priorityclass", "high", namespace=None)
        self.apply(pod("a", *SLEEP, priorityClassName="high"))
        self.assertEqual(self.jsonpath("{.spec.priority}", "pod", "a"), "100000")
        self.assertIn("system-node-critical", self.kubectl("get", "priorityclasses", namespace=None).stdout)

    def test_filled_in_and_refused(self):
        self.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [
            {"type": "Container", "default": {"memory": "64Mi"}, "defaultRequest": {"memory": "32Mi"}, "max": {"memory": "128Mi"}}]}})
        self.apply(pod("a", *SLEEP, priorityClassName="system-cluster-critical"))
        made = self.get("pod", "a")
        self.assertEqual(made["spec"]["containers"][0]["resources"], {"limits": {"memory": "64Mi"}, "requests": {"memory": "32Mi"}})
        self.assertEqual((made["status"]["qosClass"], made["spec"]["priority"]), ("Burstable", 2000000000))
        for bad, text in ((pod("b", "true", container={"resources": {"limits": {"memory": "1Gi"}}}),
                           "maximum memory usage per Container is 128Mi, but limit is 1Gi"),
                          (pod("c", "true", priorityClassName="nope"), "no PriorityClass with name nope was found")):
            done = self.kubectl("create", "-f", "-", input=bad, check=False)
            self.assertIn(text, done.stderr)

    def test_a_restricted_pod_runs(self):
        self.kubectl("label", "namespace", self.ns, "pod-security.kubernetes.io/enforce=restricted", namespace=None)
        self.apply(pod("a", *SLEEP, securityContext={"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
                       container={"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}))
        self.wait("condition=Ready", "pod/a")


if __name__ == "__main__":
    cluster.main()
