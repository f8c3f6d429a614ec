// ValidatingAdmissionPolicies and webhooks' matchConditions on a real server, driven through its API.
#include "api/yaml.h"
#include "server_fixture.h"

namespace master {
namespace {

namespace json = base::json;
using ::base::string_at;

constexpr char kGroup[] = "/apis/admissionregistration.k8s.io/v1/";

class PoliciesTest : public ServerTest {
 protected:
  base::http::Response post(const std::string& plural, const std::string& yaml) {
    return call("POST", plural.starts_with("/") ? plural : kGroup + plural, yaml, "application/yaml");
  }
  void policy(const std::string& spec) {
    ok(post("validatingadmissionpolicies",
            "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: "
            "p}, spec: {" +
                kMatch + spec + "}}"),
       201);
  }
  void bind(const std::string& more = "validationActions: [Deny]", const std::string& name = "b") {
    ok(post("validatingadmissionpolicybindings",
            "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: "
            "{name: " +
                name + "}, spec: {policyName: p, " + more + "}}"),
       201);
  }
  base::http::Response map(const std::string& name, const std::string& value) {
    return call("POST", kMaps, config_map(name, value));
  }
  std::string denied(const std::string& name, const std::string& value, int code = 422) {
    return refused(map(name, value), code);
  }
  const std::string kMatch =
      "matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], "
      "resources: [configmaps]}]}, ";
  const std::string kDenied =
      "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: ";
};

TEST_F(PoliciesTest, DenyByExpressionsVariablesAndMessages) {
  policy(
      R"y(variables: [{name: size, expression: 'int(object.data.k)'}, {name: double, expression: variables.size * 2}],
    validations: [{expression: 'variables.double < 20', messageExpression: "'doubled it is ' + string(variables.double)"},
                  {expression: 'variables.size != 3', message: not three, reason: Forbidden},
                  {expression: "request.operation != 'UPDATE' || oldObject.data.k != object.data.k"}])y");
  ok(map("free", "99"), 201);  // nothing binds the policy yet
  bind();
  ok(map("good", "1"), 201);
  EXPECT_EQ(denied("a", "10"), "Invalid: " + kDenied + "doubled it is 20");
  EXPECT_EQ(denied("a", "3", 403), "Forbidden: " + kDenied + "not three");
  EXPECT_EQ(denied("a", "x"), "Invalid: " + kDenied +
                                  "expression 'variables.double < 20' resulted in error: strconv.ParseInt: "
                                  "parsing \"x\": invalid syntax");
  EXPECT_EQ(refused(call("PUT", std::string(kMaps) + "/good", config_map("good", "1")), 422),
            "Invalid: configmaps \"good\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' "
            "denied request: failed expression: request.operation != 'UPDATE' || "
            "oldObject.data.k != object.data.k");
  ok(call("DELETE", std::string(kGroup) + "validatingadmissionpolicybindings/b"));
  ok(map("a", "10"), 201);
}

TEST_F(PoliciesTest, ConnectionsAreJudgedByTheirOptions) {
  ok(post(
         "validatingadmissionpolicies",
         R"y({apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: p}, spec: {
      matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CONNECT], resources: [pods/exec]}]},
      validations: [{expression: "!has(object.stdin) || namespaceObject.metadata.name != 'default'", message: no shells}]}})y"),
     201);
  bind();
  const std::string kExec = "/api/v1/namespaces/default/pods/absent/exec?command=sh";
  EXPECT_EQ(refused(call("GET", kExec + "&stdin=true"), 422),
            "Invalid: pods \"absent\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied "
            "request: no shells");
  EXPECT_EQ(refused(call("GET", kExec), 404), "NotFound: pods \"absent\" not found");
}

TEST_F(PoliciesTest, VariablesAreComputedOnlyWhenAsked) {
  policy(
      "variables: [{name: wrong, expression: 'object.data.nope'}], validations: [{expression: "
      "\"object.data.k == '1' || variables.wrong == 'x'\"}]");
  bind();
  ok(map("good", "1"), 201);
  EXPECT_EQ(
      denied("a", "2"),
      "Invalid: " + kDenied +
          "expression 'object.data.k == '1' || variables.wrong == 'x'' resulted in error: no such key: nope");
}

TEST_F(PoliciesTest, FailurePolicyMatchConditionsAndSelectors) {
  policy(
      "failurePolicy: Ignore, matchConditions: [{name: named, expression: \"object.metadata.name != "
      "'exempt'\"}], validations: [{expression: 'object.data.nope > 1'}, {expression: \"object.data.k != "
      "'2'\"}]");
  bind(
      "validationActions: [Deny], matchResources: {objectSelector: {matchExpressions: [{key: free, operator: "
      "DoesNotExist}]}}");
  ok(map("b", "1"), 201);
  EXPECT_EQ(denied("a", "2"), "Invalid: " + kDenied + "failed expression: object.data.k != '2'");
  ok(map("exempt", "2"), 201);
  ok(call("POST", kMaps, R"({"metadata":{"name":"labelled","labels":{"free":"yes"}},"data":{"k":"2"}})"),
     201);
}

TEST_F(PoliciesTest, ParametersComeFromObjects) {
  policy(
      "paramKind: {apiVersion: v1, kind: ConfigMap}, validations: [{expression: 'params == null || "
      "int(object.data.k) <= int(params.data.k)', messageExpression: \"'at most ' + params.data.k\"}]");
  ok(map("limit", "5"), 201);
  bind("validationActions: [Deny], paramRef: {name: limit, parameterNotFoundAction: Deny}");
  ok(map("b", "5"), 201);
  EXPECT_EQ(denied("a", "6"), "Invalid: " + kDenied + "at most 5");
  ok(call("DELETE", std::string(kMaps) + "/limit"));
  EXPECT_EQ(denied("a", "1"), "Invalid: " + kDenied +
                                  "failed to configure binding: no params found for policy binding with "
                                  "`Deny` parameterNotFoundAction");
  ok(call("DELETE", std::string(kGroup) + "validatingadmissionpolicybindings/b"));
  bind("validationActions: [Deny], paramRef: {name: limit, parameterNotFoundAction: Allow}");
  ok(map("a", "100"), 201);
}

TEST_F(PoliciesTest, AskWhatTheUserMayDo) {
  policy(
      "validations: [{expression: "
      "\"authorizer.group('').resource('configmaps').namespace('default').check('get').allowed()\"}, "
      "{expression: \"!authorizer.serviceAccount('default', "
      "'x').group('apps').resource('deployments').check('delete').allowed()\"}, {expression: "
      "\"authorizer.requestResource.check('create').allowed() && request.userInfo.username == 'admin'\"}, "
      "{expression: \"namespaceObject.metadata.name == 'default'\"}]");
  bind();
  ok(map("a", "1"), 201);
}

TEST_F(PoliciesTest, WrongPoliciesAreRefused) {
  auto wrong = [&](const std::string& spec) {
    return refused(post("validatingadmissionpolicies",
                        "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, "
                        "metadata: {name: p}, spec: {" +
                            spec + "}}"),
                   422);
  };
  EXPECT_NE(wrong(kMatch + "validations: [{expression: 'nope == 1'}]")
                .find("spec.validations[0].expression: Invalid value: \"nope == 1\": compilation failed: "
                      "ERROR: <input>:1:1: undeclared reference to 'nope'"),
            std::string::npos);
  EXPECT_NE(wrong(kMatch + "validations: [{expression: '1'}]").find("must evaluate to bool"),
            std::string::npos);
  EXPECT_NE(
      wrong(kMatch + "validations: [{expression: 'params.x'}]").find("undeclared reference to 'params'"),
      std::string::npos);
  EXPECT_NE(wrong(kMatch + "validations: [{expression: 'request.nope'}]").find("undefined field 'nope'"),
            std::string::npos);
  EXPECT_NE(wrong("validations: [{expression: 'true'}]").find("spec.matchConstraints: Required value"),
            std::string::npos);
  EXPECT_NE(wrong(kMatch + "failurePolicy: Fail")
                .find("validations or auditAnnotations must contain at least one item"),
            std::string::npos);
}

TEST_F(PoliciesTest, MatchConditionsKeepWebhooksOut) {
  auto hook = [](const std::string& expression) {
    return "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: "
           "{name: h}, webhooks: [{name: h.example.com, admissionReviewVersions: [v1], "
           "sideEffects: None, clientConfig: {url: 'https://127.0.0.1:1/x'}, rules: [{apiGroups: [''], "
           "apiVersions: [v1], operations: [CREATE], resources: [configmaps]}], "
           "matchConditions: [{name: c, expression: \"" +
           expression + "\"}]}]}";
  };
  EXPECT_NE(refused(post("validatingwebhookconfigurations", hook("params.x")), 422)
                .find("webhooks[0].matchConditions[0].expression: Invalid value"),
            std::string::npos);
  ok(post("validatingwebhookconfigurations", hook("object.data.k == '1'")), 201);
  ok(map("skipped", "2"), 201);
  EXPECT_NE(refused(map("asked", "1"), 500).find("failed calling webhook \"h.example.com\""),
            std::string::npos);
  ok(call("DELETE", std::string(kGroup) + "validatingwebhookconfigurations/h"));
  ok(post("validatingwebhookconfigurations", hook("object.data.nope == '1'")), 201);
  EXPECT_EQ(refused(map("a", "1"), 403),
            "Forbidden: configmaps \"a\" is forbidden: matchCondition \"c\": no such key: nope");
}

}  // namespace
}  // namespace master
