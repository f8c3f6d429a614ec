#!/usr/bin/env python3
"""What is filled into a Pod or refused on its way in: classes, limits, security levels."""
import json

import cluster


class Admission(cluster.ClusterTest):
    nodes = 1

    def refused(self, manifest, text):
        done = self.kubectl("create", "-f", "-", input=manifest, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(text, done.stderr)

    def made(self, manifest):
        self.kubectl("create", "-f", "-", input=manifest)
        return json.loads(self.kubectl("get", "pod", manifest["metadata"]["name"], "-o", "json").stdout)

    def test_limits_of_a_namespace(self):
        limits = {"type": "Container", "default": {"memory": "64Mi"}, "defaultRequest": {"memory": "32Mi"}, "max": {"memory": "128Mi"}}
        self.kubectl("create", "-f", "-", input={"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"},
                                                 "spec": {"limits": [limits]}})
        pod = self.made(cluster.pod("a", "sleep", "100"))
        self.assertEqual(pod["spec"]["containers"][0]["resources"],
                         {"limits": {"memory": "64Mi"}, "requests": {"memory": "32Mi"}})
        self.assertEqual(pod["status"]["qosClass"], "Burstable")
        self.refused(cluster.pod("b", "true", container={"resources": {"limits": {"memory": "1Gi"}}}),
                     "maximum memory usage per Container is 128Mi, but limit is 1Gi")

    def test_priority_by_class(self):
        pod = self.made(cluster.pod("a", "sleep", "100", priorityClassName="system-cluster-critical"))
        self.assertEqual(pod["spec"]["priority"], 2000000000)
        self.refused(cluster.pod("b", "true", priorityClassName="nope"), "no PriorityClass with name nope was found")

    def test_security_levels(self):
        privileged = {"securityContext": {"privileged": True}}
        self.kubectl("label", "namespace", self.ns, "pod-security.kubernetes.io/enforce=baseline",
                     "pod-security.kubernetes.io/warn=restricted", namespace=None)
        self.refused(cluster.pod("a", "true", container=privileged),
                     'violates PodSecurity "baseline:latest": privileged (container "c" must not set securityContext.privileged=true)')
        done = self.kubectl("create", "-f", "-", input=cluster.pod("b", "true"), check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false', done.stderr)
        strict = cluster.pod("c", "sleep", "100", securityContext={
            "runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            container={"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}})
        self.kubectl("label", "namespace", self.ns, "pod-security.kubernetes.io/enforce=restricted", "--overwrite", namespace=None)
        self.made(strict)
        self.kubectl("wait", "pod/c", "--for=condition=Ready", "--timeout=60s")


if __name__ == "__main__":
    cluster.main()
