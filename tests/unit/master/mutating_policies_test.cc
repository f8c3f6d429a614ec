// MutatingAdmissionPolicies on a real server, driven through its API.
#include "server_fixture.h"

namespace master {
namespace {

namespace json = base::json;
using base::string_at;

constexpr char kPolicies[] = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
               kBindings[] = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings";

class MutatingPoliciesTest : public ServerTest {
 protected:
  base::http::Response post(const std::string& path, const std::string& yaml) {
    return call("POST", path, yaml, "application/yaml");
  }
  static std::string policy_text(const std::string& name, const std::string& spec) {
    return "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicy, metadata: {name: " +
           name +
           "}, spec: {matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: "
           "[CREATE, UPDATE], resources: [configmaps]}]}, " +
           spec + "}}";
  }
  void policy(const std::string& name, const std::string& spec, const std::string& binding = "") {
    ok(post(kPolicies, policy_text(name, spec)), 201);
    ok(post(kBindings,
            "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicyBinding, metadata: "
            "{name: " +
                name + "-b}, spec: {policyName: " + name + binding + "}}"),
       201);
  }
  static std::string set(const std::string& key, const std::string& value) {
    return R"({patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{data: {')" + key +
           "': " + value + R"(}}"}})";
  }
  static std::string never(const std::string& mutations) {
    return "reinvocationPolicy: Never, mutations: [" + mutations + "]";
  }
  // The data of a new ConfigMap with {"k": value}.
  std::string data(const std::string& name, const std::string& value = "1") {
    auto made = ok(call("POST", kMaps, config_map(name, value)), 201);
    return base::to_json(*base::find(made, "data"));
  }
  std::string refused_map(const std::string& name, int status = 422) {
    return refused(call("POST", kMaps, config_map(name, "1")), status);
  }
};

TEST_F(MutatingPoliciesTest, ApplyAndPatchInOrder) {
  ok(post(kPolicies, policy_text("a", never(set("a", "'1'")))), 201);
  EXPECT_EQ(data("unbound"), R"({"k":"1"})");
  ok(call("DELETE", std::string(kPolicies) + "/a"));
  policy(
      "a",
      never(
          set("a", "'1'") +
          R"(, {patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'add', path: '/data/b', value: object.data.a + '2'}]"}})"));
  policy("b", never(set("c", "object.data.b + variables.three")) +
                  ", variables: [{name: three, expression: \"'3'\"}]");
  EXPECT_EQ(data("one"), R"({"k":"1","a":"1","b":"12","c":"123"})") << "each sees what the one before made";
  auto dry = ok(call("POST", std::string(kMaps) + "?dryRun=All", config_map("dry", "1")), 201);
  EXPECT_EQ(string_at(dry, "data", "c"), "123");
  ok(call("DELETE", std::string(kMaps) + "/one"));
}

TEST_F(MutatingPoliciesTest, ConditionsSelectorsAndParameters) {
  policy(
      "p",
      never(set("from", "params.data.k")) +
          R"y(, paramKind: {apiVersion: v1, kind: ConfigMap}, matchConditions: [{name: named, expression: "object.metadata.name.startsWith('m')"}])y",
      ", paramRef: {name: source, parameterNotFoundAction: Allow}, matchResources: {objectSelector: "
      "{matchExpressions: [{key: free, operator: DoesNotExist}]}}");
  EXPECT_EQ(data("m0"), R"({"k":"1"})") << "no parameters, and that is allowed";
  EXPECT_EQ(data("source", "given"), R"({"k":"given"})");
  EXPECT_EQ(data("m1"), R"({"k":"1","from":"given"})");
  EXPECT_EQ(data("other"), R"({"k":"1"})");
  auto free = ok(call("POST", kMaps, config_map("m2", "1", R"({"free":"yes"})")), 201);
  EXPECT_EQ(string_at(free, "data", "from"), "");
  ok(call("DELETE", std::string(kBindings) + "/p-b"));
  ok(post(kBindings,
          "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicyBinding, metadata: "
          "{name: "
          "p-b}, spec: {policyName: p, paramRef: {name: absent, parameterNotFoundAction: Deny}}}"),
     201);
  EXPECT_EQ(refused_map("m3", 403),
            "Forbidden: policy 'p' with binding 'p-b' denied request: failed to configure binding: no params "
            "found for policy binding with `Deny` parameterNotFoundAction");
}

TEST_F(MutatingPoliciesTest, FailuresRefuseOrAreIgnored) {
  policy("fails", never(set("a", "object.data.nope")));
  EXPECT_EQ(refused_map("a", 403),
            "Invalid: policy 'fails' with binding 'fails-b' denied request: expression 'Object{data: {'a': "
            "object.data.nope}}' resulted in error: no such key: nope");
  ok(call("PATCH", std::string(kPolicies) + "/fails", R"({"spec":{"failurePolicy":"Ignore"}})",
          "application/merge-patch+json"));
  policy("works", never(set("b", "'2'")));
  EXPECT_EQ(data("a"), R"({"k":"1","b":"2"})");
  policy(
      "renames",
      never(
          R"({patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'replace', path: '/metadata/name', value: 'z'}]"}})"));
  EXPECT_EQ(
      refused_map("b", 403),
      "Invalid: policy 'renames' with binding 'renames-b' denied request: the name and the namespace of "
      "an object cannot be changed");
  ok(call("DELETE", std::string(kBindings) + "/renames-b"));
  policy(
      "unknown",
      never(
          R"({patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'add', path: '/nope', value: 1}]"}})"));
  EXPECT_EQ(refused_map("b", 500),
            "InternalError: Internal error occurred: strict decoding error: unknown field \"nope\"");
}

TEST_F(MutatingPoliciesTest, WhoWishesItRunsAgainAfterALaterChange) {
  const std::string count = set("n", "object.data.?n.orValue('') + 'x'");
  policy("a-again", "reinvocationPolicy: IfNeeded, mutations: [" + count + "]");
  EXPECT_EQ(data("alone"), R"({"k":"1","n":"xx"})") << "its own change counts at the end, as upstream";
  policy("b-later", never(set("later", "string(size(object.data.n))")));
  EXPECT_EQ(data("both"), R"({"k":"1","n":"xx","later":"1"})");
  ok(call("PATCH", std::string(kPolicies) + "/a-again", R"({"spec":{"reinvocationPolicy":"Never"}})",
          "application/merge-patch+json"));
  EXPECT_EQ(data("never"), R"({"k":"1","n":"x","later":"1"})");
}

TEST_F(MutatingPoliciesTest, ManyParametersAreManyTurnsOfALoop) {
  for (int i = 0; i < 300; ++i)
    ok(call("POST", kMaps, config_map("p" + std::to_string(i), "1", R"({"param":"yes"})")), 201);
  policy("p",
         never(set("n", "string(int(object.data.?n.orValue('0')) + int(params.data.k))")) +
             ", paramKind: {apiVersion: v1, kind: ConfigMap}",
         ", paramRef: {selector: {matchLabels: {param: 'yes'}}, parameterNotFoundAction: Deny}");
  EXPECT_EQ(data("sum"), R"({"k":"1","n":"300"})");
}

TEST_F(MutatingPoliciesTest, DefaultsAreFilledInBehindAChange) {
  ok(post(
         kPolicies,
         R"y({apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicy, metadata: {name: side}, spec: {reinvocationPolicy: Never,
      matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]},
      matchConditions: [{name: once, expression: "!object.spec.initContainers.exists(c, c.name == 'proxy')"}],
      mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{name: 'proxy', image: 'proxy:1', restartPolicy: 'Always'}]}}"}}]}})y"),
     201);
  ok(post(kBindings,
          "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicyBinding, metadata: "
          "{name: "
          "side}, spec: {policyName: side}}"),
     201);
  auto refused_pod = refused(
      post("/api/v1/namespaces/default/pods",
           "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}"),
      403);
  EXPECT_NE(refused_pod.find("no such key: initContainers"), std::string::npos) << refused_pod;
  ok(call(
      "PATCH", std::string(kPolicies) + "/side",
      R"y({"spec":{"matchConditions":[{"name":"once","expression":"!has(object.spec.initContainers)"}]}})y",
      "application/merge-patch+json"));
  auto pod =
      ok(post("/api/v1/namespaces/default/pods",
              "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}"),
         201);
  const json::value* made = base::find_path(pod, "spec", "initContainers");
  ASSERT_TRUE(made && made->is_array() && made->get_array().size() == 1) << base::to_json(pod);
  EXPECT_EQ(string_at(made->get_array()[0], "imagePullPolicy"), "IfNotPresent");
}

TEST_F(MutatingPoliciesTest, WhatTheServerSaysOfAnObjectIsNotAPolicys) {
  policy(
      "liar",
      never(
          R"y({patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'add', path: '/kind', value: 'Secret'}, JSONPatch{op: 'add', path: '/apiVersion', value: 'apps/v1'}, JSONPatch{op: 'add', path: '/metadata/uid', value: 'u1'}, JSONPatch{op: 'add', path: '/metadata/deletionTimestamp', value: '2020-01-01T00:00:00Z'}, JSONPatch{op: 'add', path: '/metadata/creationTimestamp', value: '2020-01-01T00:00:00Z'}]"}})y"));
  auto made = ok(call("POST", kMaps, config_map("m", "1")), 201);
  for (const char* what : {"made", "updated"}) {
    EXPECT_EQ(string_at(made, "kind"), "ConfigMap") << what;
    EXPECT_EQ(string_at(made, "apiVersion"), "v1") << what;
    EXPECT_NE(string_at(made, "metadata", "uid"), "u1") << what;
    EXPECT_EQ(string_at(made, "metadata", "deletionTimestamp"), "") << what;
    EXPECT_FALSE(string_at(made, "metadata", "creationTimestamp").starts_with("2020")) << what;
    made =
        ok(call("PATCH", std::string(kMaps) + "/m", R"({"data":{"k":"2"}})", "application/merge-patch+json"));
  }
}

TEST_F(MutatingPoliciesTest, WrongPoliciesAreRefused) {
  auto wrong = [&](const std::string& spec) { return refused(post(kPolicies, policy_text("p", spec)), 422); };
  auto has = [&](const std::string& spec, const std::string& text) {
    const std::string said = wrong(spec);
    EXPECT_NE(said.find(text), std::string::npos) << said;
  };
  has("reinvocationPolicy: Never",
      "spec.mutations: Required value: mutations must contain at least one item");
  has("mutations: [" + set("a", "'1'") + "]", "spec.reinvocationPolicy: Required value");
  has("reinvocationPolicy: Often, mutations: [" + set("a", "'1'") + "]",
      "spec.reinvocationPolicy: Unsupported value: \"Often\"");
  has(never("{patchType: Other}"),
      "spec.mutations[0].patchType: Unsupported value: \"Other\": supported values: \"ApplyConfiguration\", "
      "\"JSONPatch\"");
  has(never("{patchType: JSONPatch, applyConfiguration: {expression: 'Object{}'}}"),
      "spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified "
      "when patchType is JSONPatch");
  has(never("{patchType: JSONPatch, applyConfiguration: {expression: 'Object{}'}}"),
      "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch");
  has(never("{patchType: JSONPatch, jsonPatch: {expression: ' '}}"),
      "spec.mutations[0].jsonPatch.expression: Required value");
  has(never("{patchType: ApplyConfiguration, applyConfiguration: {expression: '[JSONPatch{}]'}}"),
      "spec.mutations[0].applyConfiguration.expression: Invalid value: \"[JSONPatch{}]\": must evaluate to "
      "Object");
  has(never("{patchType: JSONPatch, jsonPatch: {expression: 'Object{}'}}"),
      "must evaluate to list(JSONPatch)");
  has(never(set("a", "nope")), "undeclared reference to 'nope'");
  EXPECT_NE(
      refused(
          post(
              kPolicies,
              "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicy, metadata: {name: "
              "p}, spec: {matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], "
              "operations: "
              "[DELETE], resources: [pods]}]}, " +
                  never(set("a", "'1'")) + "}}"),
          422)
          .find(
              "Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\""),
      std::string::npos);
}

}  // namespace
}  // namespace master
