#include "master/controllers/policy_type_plan.h"

#include <gtest/gtest.h>

#include "api/custom/custom.h"
#include "api/structural_of.h"
#include "api/walk.h"

namespace master::controllers {
namespace {

std::shared_ptr<const ValidatingPolicy> policy(const std::string& spec) {
  return ValidatingPolicy::reader({})(
      base::parse_json(R"({"metadata":{"name":"p","uid":"u","generation":3},"spec":)" + spec + "}").value());
}
TypedKind builtin(std::string group, std::string version, std::string kind) {
  const std::string gvk = (group.empty() ? "" : group + "/") + version + "/" + kind;
  auto schema = std::make_shared<const api::Structural>(api::structural_of(*api::find_kind(gvk)));
  return {std::move(group), std::move(version), std::move(kind), std::move(schema)};
}
std::string validations(std::initializer_list<const char*> expressions) {
  json::array list;
  for (const char* one : expressions) list.push_back(json::object{{"expression", one}});
  return base::to_json(json::value(json::object{{"validations", std::move(list)}}));
}

TEST(PolicyTypePlan, WhichResourcesAreChecked) {
  auto named = [](const char* rules) {
    std::string out;
    for (const NamedResource& one :
         resources_to_check(*policy(std::string(R"({"matchConstraints":{"resourceRules":)") + rules + "}}")))
      out += fmt::format("{}/{}/{} ", one.group, one.version, one.plural);
    return out;
  };
  EXPECT_EQ(named(R"([{"apiGroups":["b","a"],"apiVersions":["v1"],"resources":["y","x","x/status"]}])"),
            "a/v1/x a/v1/y b/v1/x b/v1/y ");
  EXPECT_EQ(named(R"([{"apiGroups":["*"],"apiVersions":["v1"],"resources":["x"]},
                      {"apiGroups":[""],"apiVersions":["*"],"resources":["x"]},
                      {"apiGroups":[""],"apiVersions":["v1"],"resources":["*","pods"]}])"),
            "/v1/pods ");
  EXPECT_EQ(
      named(
          R"([{"apiGroups":[""],"apiVersions":["v1"],"resources":["a","b","c","d","e","f","g","h","i","j","k"]}])"),
      "/v1/a /v1/b /v1/c /v1/d /v1/e /v1/f /v1/g /v1/h /v1/i /v1/j ");
  EXPECT_EQ(named("7"), "");
}

TEST(PolicyTypePlan, FieldsThatAreNotThere) {
  auto of = policy(validations({"object.spec.replicas <= 5", "object.replicas > 1"}));
  EXPECT_EQ(
      plan_policy_types(*of, {builtin("apps", "v1", "Deployment")}, nullptr).text(),
      R"(status {"observedGeneration":3,"typeChecking":{"expressionWarnings":[{"fieldRef":"spec.validations[1].expression","warning":"apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^\n"}]}})"
      "\n");
}
TEST(PolicyTypePlan, WhatIsRightSaysNothing) {
  auto of = policy(validations(
      {"object.spec.template.spec.containers.all(c, c.image.startsWith('a') && c.resources.limits['cpu'] != "
       "'1')",
       "object.metadata.creationTimestamp < timestamp('2026-01-01T00:00:00Z') && has(oldObject.spec)",
       "object.metadata.labels['app'] == 'x' && namespaceObject.metadata.name == 'y'",
       "object.spec.template.spec.volumes.exists(v, v.secret.defaultMode == 420)",
       "request.operation == 'CREATE' && authorizer.requestResource.check('x').allowed()"}));
  EXPECT_EQ(plan_policy_types(*of, {builtin("apps", "v1", "Deployment")}, nullptr).text(),
            "status {\"observedGeneration\":3,\"typeChecking\":{}}\n");
  EXPECT_EQ(plan_policy_types(*of, {}, nullptr).text(),
            "status {\"observedGeneration\":3,\"typeChecking\":{}}\n");
}
TEST(PolicyTypePlan, EachKindInItsOrderVariablesParametersAndMessages) {
  auto of = policy(
      R"({"variables":[{"name":"n","expression":"object.metadata.name"},{"name":"broken","expression":"object.nope"}],
          "validations":[{"expression":"variables.n > 3 && params.data.x == '1' && variables.broken","messageExpression":"object.spec.nodeName + 1"}]})");
  auto said = plan_policy_types(*of, {builtin("", "v1", "Pod"), builtin("", "v1", "ConfigMap")}, nullptr);
  const json::array& warnings = said.status.at("typeChecking").at("expressionWarnings").as_array();
  ASSERT_EQ(warnings.size(), 2u) << said.text();
  const std::string first(base::string_at(warnings[0], "warning")),
      second(base::string_at(warnings[1], "warning"));
  EXPECT_LT(first.find("/v1, Kind=ConfigMap: ERROR: <input>:1:13: found no matching overload for '_>_'"),
            first.find("\n\n/v1, Kind=Pod: ERROR"))
      << first;
  EXPECT_NE(first.find("undeclared reference to 'params'"), std::string::npos) << first;
  EXPECT_EQ(base::string_at(warnings[1], "fieldRef"), "spec.validations[0].messageExpression");
  EXPECT_NE(second.find("ConfigMap: ERROR: <input>:1:7: undefined field 'spec'"), std::string::npos)
      << second;
  EXPECT_NE(second.find("Pod: ERROR: <input>:1:22: found no matching overload for '_+_'"), std::string::npos)
      << second;
  auto params = std::make_shared<const api::Structural>(api::structural_of(*api::find_kind("v1/ConfigMap")));
  auto with = plan_policy_types(
      *policy(R"({"validations":[{"expression":"params.data.x == '1'"},{"expression":"params.nope"}]})"),
      {builtin("", "v1", "Pod")}, params.get());
  EXPECT_EQ(with.status.at("typeChecking").at("expressionWarnings").as_array().size(), 1u) << with.text();
}
TEST(PolicyTypePlan, CustomKindsAndTypesInsideThemselves) {
  auto schema = api::compile_structural(
      base::parse_json(
          R"({"type":"object","properties":{"spec":{"type":"object","properties":{"size":{"type":"integer"}}}}})")
          .value());
  ASSERT_TRUE(schema.ok());
  TypedKind kind{"example.com", "v1", "Tree", std::make_shared<const api::Structural>(std::move(*schema))};
  auto said = plan_policy_types(*policy(validations({"object.spec.size == 'x'", "object.spec.size == 1"})),
                                {kind}, nullptr);
  EXPECT_NE(said.text().find("example.com/v1, Kind=Tree: ERROR"), std::string::npos) << said.text();
  // A schema that holds schemas: below the first everything is of any type.
  auto definition = builtin("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
  auto deep = plan_policy_types(
      *policy(validations({"object.spec.versions[0].schema.openAPIV3Schema.properties['a'].nope == 1"})),
      {definition}, nullptr);
  EXPECT_EQ(deep.text(), "status {\"observedGeneration\":3,\"typeChecking\":{}}\n");
}

}  // namespace
}  // namespace master::controllers
