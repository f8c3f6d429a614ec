#include "api/openapi.h"

#include <gtest/gtest.h>

#include <set>

namespace api {
namespace {

const std::vector<std::string> kAll = {"create", "delete", "deletecollection", "get",
                                       "list",   "patch",  "update",           "watch"};
ServedGroupVersion core() {
  return {"",
          "v1",
          {{"pods", "", "Pod", "v1/Pod", true, kAll},
           {"pods", "status", "Pod", "v1/Pod", true, {"get", "patch", "update"}},
           {"pods", "log", "Pod", "v1/Pod", true, {"get"}},
           {"nodes", "", "Node", "v1/Node", false, kAll},
           {"replicationcontrollers", "", "ReplicationController", "v1/ReplicationController", true, kAll},
           {"replicationcontrollers",
            "scale",
            "Scale",
            "autoscaling/v1/Scale",
            true,
            {"get", "patch", "update"}}}};
}
ServedGroupVersion apps() {
  return {"apps", "v1", {{"deployments", "", "Deployment", "apps/v1/Deployment", true, kAll}}};
}

// Every "$ref" of a document; each must lead somewhere.
void references(const json::value& value, std::set<std::string>& out) {
  if (const auto* object = value.if_object())
    for (const auto& item : *object) {
      if (item.key() == "$ref" && item.value().is_string())
        out.insert(std::string(base::as_string(&item.value())));
      references(item.value(), out);
    }
  if (const auto* array = value.if_array())
    for (const auto& item : *array) references(item, out);
}
void no_dangling(const json::value& document, const std::string& prefix, const json::value& schemas) {
  std::set<std::string> all;
  references(document, all);
  EXPECT_GT(all.size(), 20u);
  for (const auto& ref : all) {
    ASSERT_TRUE(ref.starts_with(prefix)) << ref;
    EXPECT_NE(base::find(schemas, ref.substr(prefix.size())), nullptr) << ref;
  }
}

TEST(OpenApi, V3HasWhatKubectlLooksFor) {
  json::value document = openapi_v3(core());
  const json::value& schemas = document.at("components").at("schemas");
  no_dangling(document, "#/components/schemas/", schemas);
  const json::value* patch =
      base::find_path(document, "paths", "/api/v1/namespaces/{namespace}/pods/{name}", "patch");
  ASSERT_NE(patch, nullptr);
  EXPECT_EQ(base::to_json(patch->at("x-kubernetes-group-version-kind")),
            R"({"group":"","kind":"Pod","version":"v1"})");
  std::set<std::string> parameters;
  for (const json::value& p : patch->at("parameters").get_array()) {
    EXPECT_EQ(base::string_at(p, "in"), "query");
    parameters.insert(std::string(base::string_at(p, "name")));
  }
  EXPECT_TRUE(parameters.contains("fieldValidation") && parameters.contains("dryRun"));
  const json::value* pod = base::find(schemas, "io.k8s.api.core.v1.Pod");
  ASSERT_NE(pod, nullptr);
  EXPECT_EQ(base::to_json(pod->at("x-kubernetes-group-version-kind")),
            R"([{"group":"","kind":"Pod","version":"v1"}])");
  const json::value& containers = schemas.at("io.k8s.api.core.v1.PodSpec").at("properties").at("containers");
  EXPECT_EQ(base::string_at(containers, "x-kubernetes-patch-merge-key"), "name");
  EXPECT_EQ(base::string_at(containers, "x-kubernetes-patch-strategy"), "merge");
  EXPECT_EQ(base::string_at(containers, "x-kubernetes-list-type"), "map");
  const json::value& volumes = schemas.at("io.k8s.api.core.v1.PodSpec").at("properties").at("volumes");
  EXPECT_EQ(base::string_at(volumes, "x-kubernetes-patch-strategy"), "merge,retainKeys");
  const json::value& ports = schemas.at("io.k8s.api.core.v1.Container").at("properties").at("ports");
  EXPECT_EQ(base::to_json(ports.at("x-kubernetes-list-map-keys")), R"(["containerPort","protocol"])");
  EXPECT_EQ(base::to_json(pod->at("properties").at("spec").at("allOf")),
            R"([{"$ref":"#/components/schemas/io.k8s.api.core.v1.PodSpec"}])");
  for (const char* path : {"/api/v1/", "/api/v1/pods", "/api/v1/namespaces/{namespace}/pods",
                           "/api/v1/namespaces/{namespace}/pods/{name}/status", "/api/v1/nodes/{name}",
                           "/api/v1/namespaces/{namespace}/replicationcontrollers/{name}/scale"})
    EXPECT_NE(base::find_path(document, "paths", path), nullptr) << path;
  EXPECT_EQ(base::find_path(document, "paths", "/api/v1/pods", "post"), nullptr);
  EXPECT_EQ(base::string_at(document, "paths", "/api/v1/namespaces/{namespace}/pods", "post", "operationId"),
            "createCoreV1NamespacedPod");
}
TEST(OpenApi, OperationIdsAreUnique) {
  json::value document = openapi_v2({core(), apps()}, "v1");
  std::set<std::string> ids;
  for (const auto& path : document.at("paths").get_object())
    for (const auto& method : path.value().get_object()) {
      if (!method.value().is_object()) continue;
      std::string id(base::string_at(method.value(), "operationId"));
      EXPECT_TRUE(ids.insert(id).second) << path.key() << " " << method.key() << " " << id;
    }
  EXPECT_GT(ids.size(), 30u);
}
TEST(OpenApi, V2) {
  json::value document = openapi_v2({core(), apps()}, "v1.36.0");
  no_dangling(document, "#/definitions/", document.at("definitions"));
  EXPECT_EQ(base::string_at(document, "swagger"), "2.0");
  const json::value& spec =
      document.at("definitions").at("io.k8s.api.apps.v1.Deployment").at("properties").at("spec");
  EXPECT_EQ(base::string_at(spec, "$ref"), "#/definitions/io.k8s.api.apps.v1.DeploymentSpec");
  EXPECT_EQ(base::string_at(spec, "description"),
            "Number of Pods, their template, and how they are replaced.");
  const json::value& post =
      document.at("paths").at("/apis/apps/v1/namespaces/{namespace}/deployments").at("post");
  EXPECT_EQ(base::string_at(post.at("parameters").get_array().back(), "in"), "body");
}
TEST(OpenApi, DescribesTypesAndFields) {
  json::value document = openapi_v3(core());
  const json::value& schemas = document.at("components").at("schemas");
  const json::value& node = schemas.at("io.k8s.api.core.v1.Node");
  EXPECT_EQ(base::string_at(node, "description"), "A machine that runs Pods.");
  // What is the same on every kind, said once by the generator.
  EXPECT_EQ(base::string_at(node, "properties", "metadata", "description"),
            "Name, namespace, labels and the server's bookkeeping.");
  EXPECT_EQ(base::string_at(schemas.at("io.k8s.api.core.v1.VolumeProjection"), "properties", "secret",
                            "description"),
            "Files from a Secret, a file for each key.");
  // The last row of its file: the sentences before it were counted right.
  const Type* last = find_type("io.k8s.api.core.v1", "WorkloadReference");
  ASSERT_NE(last, nullptr);
  EXPECT_EQ(std::string_view(last->field("podGroupReplicaKey")->doc),
            "Which replica of the group, where there are several.");
}
TEST(OpenApi, Index) {
  EXPECT_EQ(base::to_json(openapi_v3_index({{"api/v1", "AB"}})),
            R"({"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=AB"}}})");
  EXPECT_EQ(apps().path(), "apis/apps/v1");
}

}  // namespace
}  // namespace api
