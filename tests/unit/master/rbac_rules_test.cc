#include "master/auth/rbac_rules.h"

#include <gtest/gtest.h>

#include "master/auth/authorizer.h"
#include "master/auth/rbac_defaults.h"

namespace master {
namespace {

PolicyRule rule(std::vector<std::string> verbs, std::vector<std::string> groups,
                std::vector<std::string> resources, std::vector<std::string> names = {},
                std::vector<std::string> urls = {}) {
  PolicyRule out{std::move(verbs), std::move(groups), std::move(resources), std::move(names),
                 std::move(urls)};
  out.compile();
  return out;
}
bool asks(const PolicyRule& r, std::string_view verb, std::string_view group, std::string_view resource,
          std::string_view sub = {}, std::string_view name = {}) {
  return allows(r, Access{true, verb, "ns", group, resource, sub, name, {}, {}});
}
bool asks_path(const PolicyRule& r, std::string_view verb, std::string_view path) {
  return allows(r, Access{false, verb, {}, {}, {}, {}, {}, {}, path});
}

TEST(RbacRules, VerbsGroupsAndResources) {
  auto r = rule({"get", "approve"}, {"", "apps"}, {"pods", "deployments"});
  EXPECT_TRUE(asks(r, "get", "", "pods"));
  EXPECT_TRUE(asks(r, "get", "apps", "deployments"));
  EXPECT_TRUE(asks(r, "approve", "", "pods"));
  EXPECT_FALSE(asks(r, "list", "", "pods"));
  EXPECT_FALSE(asks(r, "sign", "", "pods"));
  EXPECT_FALSE(asks(r, "get", "batch", "pods"));
  EXPECT_FALSE(asks(r, "get", "", "secrets"));
  EXPECT_FALSE(asks(r, "get", "", "pods", "log"));
  EXPECT_FALSE(asks_path(r, "get", "/healthz"));
  auto all = rule({"*"}, {"*"}, {"*"});
  EXPECT_TRUE(asks(all, "sign", "x.y", "pods", "log", "a"));
  EXPECT_FALSE(asks_path(all, "get", "/healthz"));
}

TEST(RbacRules, Subresources) {
  auto r = rule({"get"}, {""}, {"pods/log", "*/scale"});
  EXPECT_TRUE(asks(r, "get", "", "pods", "log"));
  EXPECT_FALSE(asks(r, "get", "", "pods"));
  EXPECT_FALSE(asks(r, "get", "", "pods", "exec"));
  EXPECT_FALSE(asks(r, "get", "", "mypods", "log"));
  EXPECT_TRUE(asks(r, "get", "", "replicationcontrollers", "scale"));
  EXPECT_FALSE(asks(r, "get", "", "replicationcontrollers", "upscale"));
  EXPECT_FALSE(asks(r, "get", "", "replicationcontrollers"));
}

TEST(RbacRules, NamesAndPaths) {
  auto r = rule({"get", "create"}, {""}, {"secrets"}, {"a", "b"});
  EXPECT_TRUE(asks(r, "get", "", "secrets", "", "b"));
  EXPECT_FALSE(asks(r, "get", "", "secrets", "", "c"));
  EXPECT_FALSE(asks(r, "create", "", "secrets"));
  auto u = rule({"get"}, {}, {}, {}, {"/healthz", "/apis/*"});
  EXPECT_TRUE(asks_path(u, "get", "/healthz"));
  EXPECT_FALSE(asks_path(u, "get", "/healthz/"));
  EXPECT_TRUE(asks_path(u, "get", "/apis/apps/v1"));
  EXPECT_FALSE(asks_path(u, "get", "/apis"));
  EXPECT_FALSE(asks_path(u, "post", "/healthz"));
  EXPECT_TRUE(asks_path(rule({"*"}, {}, {}, {}, {"*"}), "put", "/x"));
}

TEST(RbacRules, WhatIsNotCoveredIsNamed) {
  std::vector<PolicyRule> held{rule({"get", "list"}, {""}, {"pods", "*/status"}),
                               rule({"get"}, {""}, {"secrets"}, {"a"})};
  EXPECT_EQ(describe(not_covered(held, {rule({"get"}, {""}, {"pods"}, {"x"})})), "");
  EXPECT_EQ(describe(not_covered(held, {rule({"list"}, {""}, {"nodes/status"})})), "");
  EXPECT_EQ(describe(not_covered(held, {rule({"get", "watch", "delete"}, {""}, {"pods"}),
                                        rule({"get"}, {""}, {"secrets"}, {"a", "b"})})),
            "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"watch\" \"delete\"]}\n"
            "{APIGroups:[\"\"], Resources:[\"secrets\"], ResourceNames:[\"b\"], Verbs:[\"get\"]}");
  EXPECT_EQ(describe(not_covered(held, {rule({"get"}, {""}, {"secrets"})})),
            "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}");
  EXPECT_EQ(describe(not_covered(held, {rule({"get"}, {}, {}, {}, {"/x"})})),
            "{NonResourceURLs:[\"/x\"], Verbs:[\"get\"]}");
  EXPECT_EQ(describe(not_covered({rule({"*"}, {"*"}, {"*"}), rule({"*"}, {}, {}, {}, {"*"})},
                                 default_cluster_role_rules("system:node"))),
            "");
}

TEST(RbacRules, JsonAndBack) {
  auto parsed =
      base::parse_json(
          R"([{"verbs":["get"],"apiGroups":[""],"resources":["pods"],"resourceNames":["a"]},{"verbs":["get"],"nonResourceURLs":["/x"]}])")
          .value();
  EXPECT_EQ(base::json::value(to_json(read_rules(&parsed))), parsed);
}

TEST(RbacDefaults, EveryControllerHasARoleAndABinding) {
  std::map<std::string, int> kinds;
  std::set<std::string> roles, bindings;
  for (const auto& object : default_rbac_objects()) {
    ++kinds[std::string(base::string_at(object, "kind"))];
    std::string name(base::string_at(object, "metadata", "name"));
    if (base::string_at(object, "kind") == "ClusterRole") roles.insert(name);
    if (base::string_at(object, "kind") == "ClusterRoleBinding") {
      EXPECT_TRUE(roles.contains(std::string(base::string_at(object, "roleRef", "name")))) << name;
      bindings.insert(name);
    }
    EXPECT_EQ(base::string_at(object, "metadata", "labels", "kubernetes.io/bootstrapping"), "rbac-defaults");
  }
  for (const std::string& role : roles)
    EXPECT_TRUE(!role.starts_with("system:controller:") || bindings.contains(role)) << role;
  EXPECT_EQ(kinds["Role"], 9);
  EXPECT_EQ(kinds["RoleBinding"], 9);
  EXPECT_GE(kinds["ClusterRole"], 70);
}

TEST(RbacDefaults, ReconcilingAddsAndNeverTakesAway) {
  auto wanted =
      base::parse_json(
          R"({"metadata":{"name":"r","labels":{"a":"1"},"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"true"}},
      "rules":[{"verbs":["get","list"],"apiGroups":[""],"resources":["pods"]}]})")
          .value();
  auto stored =
      base::parse_json(
          R"({"metadata":{"name":"r","labels":{"a":"2","b":"3"},"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"true"}},
      "rules":[{"verbs":["get"],"apiGroups":["*"],"resources":["pods"]}]})")
          .value();
  auto before = stored;
  EXPECT_TRUE(reconcile_default(wanted, stored));
  EXPECT_EQ(
      base::to_json(stored.at("rules")),
      R"([{"verbs":["get"],"apiGroups":["*"],"resources":["pods"]},{"verbs":["list"],"apiGroups":[""],"resources":["pods"]}])");
  EXPECT_EQ(base::string_at(stored, "metadata", "labels", "a"), "2");
  EXPECT_FALSE(reconcile_default(wanted, stored));
  before.at("metadata").at("annotations").get_object()["rbac.authorization.kubernetes.io/autoupdate"] =
      "false";
  EXPECT_FALSE(reconcile_default(wanted, before));
}

TEST(NodeAuthorizer, OnlyWhatItsPodsReferTo) {
  NodeAuthorizer nodes(default_cluster_role_rules("system:node"));
  auto pod =
      base::parse_json(
          R"({"metadata":{"name":"p","namespace":"a"},"spec":{"serviceAccountName":"robot","imagePullSecrets":[{"name":"pull"}],
      "volumes":[{"name":"v","secret":{"secretName":"s"}},{"name":"w","projected":{"sources":[{"configMap":{"name":"root"}}]}},
                 {"name":"d","persistentVolumeClaim":{"claimName":"disk"}},{"name":"e","ephemeral":{}}],
      "initContainers":[{"envFrom":[{"secretRef":{"name":"from"}}]}],
      "containers":[{"env":[{"valueFrom":{"configMapKeyRef":{"name":"key"}}}]}]}})")
          .value();
  EXPECT_EQ(pod_references(pod), (std::vector<std::string>{
                                     "configmaps/a/key", "configmaps/a/root", "persistentvolumeclaims/a/disk",
                                     "persistentvolumeclaims/a/p-e", "secrets/a/from", "secrets/a/pull",
                                     "secrets/a/s", "serviceaccounts/a/robot"}));
  auto claims =
      base::parse_json(
          R"({"metadata":{"name":"p","namespace":"a"},"spec":{"resourceClaims":[{"name":"g","resourceClaimTemplateName":"t"},{"name":"h","resourceClaimName":"own"}]},
      "status":{"resourceClaimStatuses":[{"name":"g","resourceClaimName":"made"},{"name":"x","resourceClaimName":"else"},{"name":"h","resourceClaimName":"other"}],
                "extendedResourceClaimStatus":{"resourceClaimName":"extended"}}})")
          .value();
  EXPECT_EQ(pod_references(claims),
            (std::vector<std::string>{"resourceclaims/a/extended", "resourceclaims/a/made",
                                      "resourceclaims/a/own"}));
  nodes.bind("a/p", "n1", pod_references(pod));
  nodes.bind("a/q", "n1", {"secrets/a/s"});
  auto may = [&](std::string_view node, std::string_view verb, std::string_view resource,
                 std::string_view name, std::string_view sub = {}, std::string_view group = {},
                 std::string_view selector = {}, std::string_view ns = "a") {
    return nodes.allows(node, Access{true, verb, ns, group, resource, sub, name, selector, {}}, nullptr);
  };
  EXPECT_TRUE(may("n1", "get", "secrets", "s"));
  EXPECT_TRUE(may("n1", "watch", "secrets", "s"));
  EXPECT_FALSE(may("n1", "get", "secrets", "other"));
  EXPECT_FALSE(may("n1", "list", "secrets", ""));
  EXPECT_FALSE(may("n1", "update", "secrets", "s"));
  EXPECT_FALSE(may("n2", "get", "secrets", "s"));
  EXPECT_TRUE(may("n1", "create", "serviceaccounts", "robot", "token"));
  EXPECT_FALSE(may("n1", "create", "serviceaccounts", "other", "token"));
  EXPECT_TRUE(may("n1", "get", "pods", "p"));
  EXPECT_FALSE(may("n2", "get", "pods", "p"));
  EXPECT_TRUE(may("n2", "list", "pods", "", "", "", "spec.nodeName=n2", ""));
  EXPECT_FALSE(may("n2", "list", "pods", "", "", "", "spec.nodeName=n1", ""));
  EXPECT_FALSE(may("n2", "list", "pods", "", "", "", "spec.nodeName!=n2", ""));
  EXPECT_TRUE(may("n1", "get", "nodes", "n1", "", "", "", ""));
  EXPECT_FALSE(may("n1", "get", "nodes", "n2", "", "", "", ""));
  EXPECT_TRUE(may("n1", "update", "leases", "n1", "", "coordination.k8s.io", "", "kube-node-lease"));
  EXPECT_FALSE(may("n1", "update", "leases", "n2", "", "coordination.k8s.io", "", "kube-node-lease"));
  EXPECT_FALSE(may("n1", "update", "leases", "n1", "", "coordination.k8s.io", "", "kube-system"));
  // By way of a volume that is bound to a claim of a Pod.
  nodes.bind_volume("/pv", "persistentvolumeclaims/a/disk", {"secrets/a/key", "secrets/a/key"});
  nodes.bind_volume("/pv2", "persistentvolumeclaims/a/disk", {"secrets/a/key"});
  nodes.bind_volume("/pv3", "persistentvolumeclaims/a/elsewhere", {"secrets/a/far"});
  EXPECT_TRUE(may("n1", "get", "secrets", "key"));
  EXPECT_FALSE(may("n2", "get", "secrets", "key"));
  EXPECT_FALSE(may("n1", "get", "secrets", "far"));
  nodes.bind_volume("/pv", "persistentvolumeclaims/a/disk", {});
  EXPECT_TRUE(may("n1", "get", "secrets", "key"));
  nodes.forget_volume("/pv2");
  EXPECT_FALSE(may("n1", "get", "secrets", "key"));
  nodes.bind_volume("/pv", "persistentvolumeclaims/a/disk", {"secrets/a/key"});
  EXPECT_TRUE(may("n1", "get", "secrets", "key"));
  nodes.forget("a/p");
  EXPECT_FALSE(may("n1", "get", "secrets", "key"));
  EXPECT_TRUE(may("n1", "get", "secrets", "s"));  // the other Pod's
  nodes.forget("a/q");
  EXPECT_FALSE(may("n1", "get", "secrets", "s"));
}

}  // namespace
}  // namespace master
