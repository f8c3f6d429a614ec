#include "master/controllers/role_aggregation_plan.h"

#include <gtest/gtest.h>

namespace master::controllers {
namespace {

using Roles = std::map<std::string, std::shared_ptr<const ClusterRole>>;
constexpr const char* kAll =
    R"(,"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"part-of":"all"}}]})";

void add(Roles& roles, const std::string& name, const char* labels, const char* rules,
         const char* more = "") {
  auto object =
      base::parse_json(fmt::format(R"({{"metadata":{{"name":"{}","uid":"u-{}","labels":{}}},"rules":{}{}}})",
                                   name, name, labels, rules, more));
  roles[name] = ClusterRole::reader({})(object.value());
}
std::string plan(const Roles& roles, const char* name) {
  return plan_aggregation(*roles.at(name), roles).text();
}

TEST(RoleAggregationPlan, RulesOfTheSelectedInTheOrderOfTheirNamesEachOnce) {
  Roles roles;
  add(roles, "all", R"({"part-of":"all"})", "null", kAll);
  EXPECT_EQ(plan(roles, "all"), "") << "it has what nobody gives it, and not its own";
  add(roles, "b", R"({"part-of":"all"})",
      R"([{"verbs":["get"],"apiGroups":[""],"resources":["pods"]},{"verbs":["get"],"nonResourceURLs":["/x"]}])");
  add(roles, "a", R"({"part-of":"all"})",
      R"([{"resources":["nodes"],"resourceNames":["n1"],"apiGroups":[""],"verbs":["list"]},{"verbs":["get"],"apiGroups":[""],"resources":["pods"],"resourceNames":[]}])");
  add(roles, "c", R"({"part-of":"other"})", R"([{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}])");
  EXPECT_EQ(
      plan(roles, "all"),
      R"(apply [{"verbs":["list"],"apiGroups":[""],"resources":["nodes"],"resourceNames":["n1"]},{"verbs":["get"],"apiGroups":[""],"resources":["pods"]},{"verbs":["get"],"nonResourceURLs":["/x"]}])"
      "\n");
  EXPECT_EQ(plan(roles, "c"), "") << "not an aggregated one";
}
TEST(RoleAggregationPlan, WhatStandsIsNotAppliedAgainAndWhatIsForeignGoes) {
  Roles roles;
  add(roles, "a", R"({"part-of":"all"})", R"([{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}])");
  add(roles, "all", "null", R"([{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}])", kAll);
  EXPECT_EQ(plan(roles, "all"), "");
  add(roles, "all", "null", R"([{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}])", kAll);
  EXPECT_EQ(plan(roles, "all"), R"(apply [{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}])"
                                "\n");
  roles.erase("a");
  EXPECT_EQ(plan(roles, "all"), "apply []\n");
}
TEST(RoleAggregationPlan, SelectorsInTheirOrderAndUnreadableOnesForNothing) {
  Roles roles;
  add(roles, "a", R"({"x":"1"})", R"([{"verbs":["a"]}])");
  add(roles, "b", R"({"x":"2"})", R"([{"verbs":["b"]}])");
  add(roles, "all", "null", "null",
      R"(,"aggregationRule":{"clusterRoleSelectors":[{"matchExpressions":[{"key":"x","operator":"Odd"}]},{"matchLabels":{"x":"2"}},{"matchExpressions":[{"key":"x","operator":"Exists"}]}]})");
  EXPECT_EQ(plan(roles, "all"), R"(apply [{"verbs":["b"]},{"verbs":["a"]}])"
                                "\n");
}
TEST(RoleAggregationPlan, TheRulesAloneAreApplied) {
  Roles roles;
  add(roles, "all", "null", "null", kAll);
  EXPECT_EQ(
      base::to_json(json::value(applied_role(*roles["all"], {}))),
      R"({"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"all","uid":"u-all"},"rules":[]})");
}

}  // namespace
}  // namespace master::controllers
