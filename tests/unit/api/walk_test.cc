#include "api/walk.h"

#include <gtest/gtest.h>

#include "api/status.h"

namespace api {
namespace {

json::value j(std::string_view text) {
  auto value = base::parse_json(text);
  EXPECT_TRUE(value.ok()) << text;
  return value.ok() ? *value : json::value();
}
std::string types(const char* kind, std::string_view text) {
  auto status = check_types(*find_kind(kind), j(text));
  return status.ok() ? "ok" : status.error().message();
}

TEST(Walk, KindsAreFoundByGroupVersionKind) {
  for (const char* gvk :
       {"v1/Pod", "apps/v1/Deployment", "discovery.k8s.io/v1/EndpointSlice", "coordination.k8s.io/v1/Lease",
        "autoscaling/v2/HorizontalPodAutoscaler", "rbac.authorization.k8s.io/v1/Role",
        "events.k8s.io/v1/Event", "apiextensions.k8s.io/v1/CustomResourceDefinition",
        "policy/v1/PodDisruptionBudget"})
    EXPECT_NE(find_kind(gvk), nullptr) << gvk;
  EXPECT_EQ(find_kind("v1/Deployment"), nullptr);
  EXPECT_EQ(find_kind("v1/Container"), nullptr);
  EXPECT_EQ(parse_gvk("apps/v1/Deployment").group, "apps");
  EXPECT_EQ(parse_gvk("v1/Pod").version, "v1");
  EXPECT_EQ(gvk_of(*find_kind("apps/v1/Deployment")).kind, "Deployment");
}

TEST(Walk, WrongTypesReadLikeGos) {
  EXPECT_EQ(types("v1/Pod", R"({"spec":{"hostNetwork":"yes"}})"),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool");
  EXPECT_EQ(types("v1/Pod", R"({"spec":{"containers":[{"name":"a","ports":{}}]}})"),
            "json: cannot unmarshal object into Go struct field Container.spec.containers.ports of type "
            "[]v1.ContainerPort");
  EXPECT_EQ(types("apps/v1/Deployment", R"({"spec":{"replicas":"3"}})"),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32");
  EXPECT_EQ(types("apps/v1/Deployment", R"({"spec":{"replicas":3000000000}})"),
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of "
            "type int32");
  EXPECT_EQ(types("v1/ConfigMap", R"({"data":{"a":5}})"),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string");
  EXPECT_EQ(types("v1/ConfigMap", R"({"data":["a"]})"),
            "json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string");
  EXPECT_EQ(types("v1/Pod", R"([])"), "json: cannot unmarshal array into Go value of type v1.Pod");
  EXPECT_EQ(types("v1/Secret", R"({"data":{"a":"%%"}})"), "illegal base64 data at input byte 0");
  EXPECT_EQ(types("v1/Pod", R"({"spec":{"containers":[{"resources":{"limits":{"cpu":"much"}}}]}})"),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  EXPECT_EQ(types("v1/Pod", R"({"metadata":{"creationTimestamp":"yesterday"}})"),
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\"");
  EXPECT_EQ(
      types(
          "v1/Pod",
          R"({"metadata":{"labels":null,"creationTimestamp":null},"spec":{"containers":[{"resources":{"limits":{"cpu":1.5}},"livenessProbe":{"httpGet":{"port":80}},"readinessProbe":{"httpGet":{"port":"web"}}}]},"junk":1})"),
      "ok");
}

TEST(Walk, PruneReportsUnknownFieldsAndCanonicalises) {
  json::value pod =
      j(R"({"foo":1,"metadata":{"creationTimestamp":"2026-01-02T03:04:05.5+01:00","labels":{"x":null}},
    "spec":{"foo":{"a":1},"nodeName":null,"containers":[{"name":"a","args":[null],"resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}}},{"bar":[],"name":"b"}]}})");
  std::vector<std::string> unknown;
  prune(*find_kind("v1/Pod"), pod, &unknown);
  EXPECT_EQ(unknown, (std::vector<std::string>{"foo", "spec.foo", "spec.containers[1].bar"}));
  EXPECT_EQ(
      base::to_json(pod),
      R"({"metadata":{"creationTimestamp":"2026-01-02T02:04:05Z","labels":{"x":""}},"spec":{"containers":[{"name":"a","args":[""],"resources":{"limits":{"cpu":"500m","memory":"1Gi"}}},{"name":"b"}]}})");
  json::value again = pod;
  prune(*find_kind("v1/Pod"), again, &unknown);
  EXPECT_EQ(again, pod);
  EXPECT_EQ(unknown.size(), 3u);
}

TEST(Walk, DefaultsStayInsideWhatIsPresent) {
  json::value pod = j(
      R"({"spec":{"containers":[{"name":"a","ports":[{"containerPort":1,"protocol":""}]}],"terminationGracePeriodSeconds":0}})");
  apply_defaults(*find_kind("v1/Pod"), pod);
  EXPECT_EQ(base::string_at(pod, "spec", "restartPolicy"), "Always");
  EXPECT_EQ(base::as_int(base::find_path(pod, "spec", "terminationGracePeriodSeconds"), -1), 0);
  EXPECT_EQ(base::string_at(pod.at("spec").at("containers").at(0), "terminationMessagePolicy"), "File");
  EXPECT_EQ(base::string_at(pod.at("spec").at("containers").at(0).at("ports").at(0), "protocol"), "TCP");
  EXPECT_EQ(base::find_path(pod.at("spec").at("containers").at(0), "livenessProbe"), nullptr);
  json::value empty = json::object();
  apply_defaults(*find_kind("v1/Pod"), empty);
  EXPECT_EQ(empty, json::object());
}

TEST(Status, WordsOfKubernetes) {
  auto message = [](const json::value& status) {
    return std::to_string(status_code(status)) + " " + std::string(base::string_at(status, "reason")) + ": " +
           std::string(base::string_at(status, "message"));
  };
  EXPECT_EQ(message(not_found({"", "pods"}, "x")), "404 NotFound: pods \"x\" not found");
  EXPECT_EQ(message(already_exists({"apps", "deployments"}, "x")),
            "409 AlreadyExists: deployments.apps \"x\" already exists");
  EXPECT_EQ(message(modified_conflict({"", "pods"}, "x")),
            "409 Conflict: Operation cannot be fulfilled on pods \"x\": the object has been modified; please "
            "apply your changes to the latest version and try again");
  using T = FieldError::Type;
  EXPECT_EQ(message(invalid("", "Pod", "x", {{T::required, "spec.containers", "", ""}})),
            "422 Invalid: Pod \"x\" is invalid: spec.containers: Required value");
  json::value two = invalid("apps", "Deployment", "x",
                            {{T::invalid, "a", "\"v\"", "bad"},
                             {T::not_supported, "b", "\"w\"", "supported values: \"A\", \"B\""}});
  EXPECT_EQ(message(two),
            "422 Invalid: Deployment.apps \"x\" is invalid: [a: Invalid value: \"v\": bad, b: Unsupported "
            "value: \"w\": supported values: \"A\", \"B\"]");
  EXPECT_EQ(base::to_json(two.at("details").at("causes").at(0)),
            R"({"reason":"FieldValueInvalid","message":"Invalid value: \"v\": bad","field":"a"})");
  EXPECT_EQ(message(strict_decoding_error("apps/v1", "Deployment", {"spec.foo"}, {"spec.bar"})),
            "400 BadRequest: Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding "
            "error: duplicate field \"spec.bar\", unknown field \"spec.foo\"");
  EXPECT_EQ(message(forbidden({"", "pods"}, "", "no")), "403 Forbidden: pods is forbidden: no");
  EXPECT_EQ(message(gone_version(1, 5)), "410 Expired: too old resource version: 1 (5)");
}

}  // namespace
}  // namespace api
