#!/usr/bin/env python3
"""Who may do what, as kubectl's users see it."""
import json

import cluster


class Auth(cluster.ClusterTest):
    nodes = 1

    def as_user(self, user, *words, check=True, groups=(), **named):
        extra = [f"--as={user}"] + [f"--as-group={group}" for group in groups]
        return self.kubectl(*words, *extra, check=check, **named)

    def refused(self, done, text):
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(text, done.stderr)

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
