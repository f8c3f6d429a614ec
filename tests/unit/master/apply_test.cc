// Server-side apply and field tracking through the whole server.
#include <set>

#include "tests/unit/master/server_fixture.h"

namespace master {
namespace {

constexpr const char* kApply = "application/apply-patch+yaml";
constexpr const char* kDeployments = "/apis/apps/v1/namespaces/default/deployments";

class ServerApply : public ServerTest {
 protected:
  base::http::Response apply(std::string target, std::string manifest, std::string manager,
                             std::string more = {}) {
    return call("PATCH", std::move(target) + "?fieldManager=" + manager + more, std::move(manifest), kApply);
  }
  static std::string deployment(int replicas, const std::string& image) {
    return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: " +
           std::to_string(replicas) +
           "\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    "
           "spec:\n"
           "      containers: [{name: c, image: " +
           image + "}]\n";
  }
  // "kubectl Apply, scaler Update/scale": who is in metadata.managedFields.
  static std::string managers(const base::json::value& object) {
    std::set<std::string> all;  // the order depends on the second in which each wrote
    const base::json::value* list = base::find_path(object, "metadata", "managedFields");
    if (list)
      for (const auto& row : list->get_array()) {
        std::string_view sub = base::string_at(row, "subresource");
        all.insert(std::string(base::string_at(row, "manager")) + " " +
                   std::string(base::string_at(row, "operation")) +
                   (sub.empty() ? "" : "/" + std::string(sub)));
      }
    std::string out;
    for (const std::string& each : all) out += (out.empty() ? "" : ", ") + each;
    return out;
  }
};

TEST_F(ServerApply, CreatesThenUpdatesThenConflicts) {
  auto made = ok(apply(std::string(kDeployments) + "/web", deployment(2, "a:1"), "kubectl"), 201);
  EXPECT_EQ(managers(made), "kubectl Apply");
  EXPECT_EQ(base::string_at(made, "spec", "strategy", "type"), "RollingUpdate")
      << "defaults are filled in, and nobody's";
  std::string version(base::string_at(made, "metadata", "resourceVersion"));
  auto again = ok(apply(std::string(kDeployments) + "/web", deployment(2, "a:1"), "kubectl"));
  EXPECT_EQ(base::string_at(again, "metadata", "resourceVersion"), version)
      << "nothing changes: nothing is written";

  auto scaled = ok(call("PATCH", std::string(kDeployments) + "/web/scale?fieldManager=scaler",
                        R"({"spec":{"replicas":5}})", "application/merge-patch+json"));
  EXPECT_EQ(base::as_int(base::find_path(scaled, "spec", "replicas")), 5);
  auto live = ok(call("GET", std::string(kDeployments) + "/web"));
  EXPECT_EQ(managers(live), "kubectl Apply, scaler Update/scale");

  auto response = apply(std::string(kDeployments) + "/web", deployment(2, "a:2"), "kubectl");
  auto conflict = ok(response, 409);
  std::string time(base::string_at(live.at("metadata").at("managedFields").at(1), "time"));
  EXPECT_EQ(
      base::string_at(conflict, "message"),
      "Apply failed with 1 conflict: conflict with \"scaler\" with subresource \"scale\" using apps/v1 at " +
          time + ": .spec.replicas");
  EXPECT_EQ(base::string_at(conflict, "reason"), "Conflict");
  const auto& cause = conflict.at("details").at("causes").at(0);
  EXPECT_EQ(base::string_at(cause, "reason"), "FieldManagerConflict");
  EXPECT_EQ(base::string_at(cause, "field"), ".spec.replicas");

  auto forced = ok(apply(std::string(kDeployments) + "/web", deployment(2, "a:2"), "kubectl", "&force=true"));
  EXPECT_EQ(base::as_int(base::find_path(forced, "spec", "replicas")), 2);
  EXPECT_EQ(managers(forced), "kubectl Apply");
}

TEST_F(ServerApply, ManagersShareAnObject) {
  std::string target = std::string(kMaps) + "/m";
  ok(apply(target, R"({"apiVersion":"v1","kind":"ConfigMap","data":{"a":"1","both":"x"}})", "one"), 201);
  auto both =
      ok(apply(target, R"({"apiVersion":"v1","kind":"ConfigMap","data":{"b":"2","both":"x"}})", "two"));
  EXPECT_EQ(base::to_json(both.at("data")), R"({"a":"1","both":"x","b":"2"})");
  auto left = ok(apply(target, R"({"apiVersion":"v1","kind":"ConfigMap"})", "one"));
  EXPECT_EQ(base::to_json(left.at("data")), R"({"both":"x","b":"2"})") << "what two owns stays";
  auto none = ok(apply(target, R"({"apiVersion":"v1","kind":"ConfigMap"})", "two"));
  EXPECT_EQ(base::find(none, "data"), nullptr);
}

TEST_F(ServerApply, EveryWriteIsTracked) {
  ok(call("POST", std::string(kMaps) + "?fieldManager=maker",
          R"({"metadata":{"name":"t"},"data":{"k":"1"}})"),
     201);
  auto updated = ok(call("PUT", std::string(kMaps) + "/t?fieldManager=changer",
                         R"({"metadata":{"name":"t"},"data":{"k":"2"}})"));
  EXPECT_EQ(managers(updated), "changer Update") << "k changed hands, and maker owns nothing more";
  auto patched = ok(call("PATCH", std::string(kMaps) + "/t", R"({"metadata":{"labels":{"x":"y"}}})",
                         "application/merge-patch+json"));
  EXPECT_EQ(managers(patched), "admin Update, changer Update") << "without a name: the user's";
  auto reset = ok(call("PATCH", std::string(kMaps) + "/t",
                       R"([{"op":"replace","path":"/metadata/managedFields","value":[{}]}])",
                       "application/json-patch+json"));
  EXPECT_EQ(managers(reset), "");
  // A list that is no such tree is not taken.
  auto kept = ok(call(
      "PATCH", std::string(kMaps) + "/t",
      R"([{"op":"add","path":"/metadata/managedFields","value":[{"manager":"m","operation":"Update","fieldsV1":{"f:data":3}}]}])",
      "application/json-patch+json"));
  EXPECT_EQ(managers(kept), "");
}

TEST_F(ServerApply, Refusals) {
  std::string target = std::string(kMaps) + "/r", map = R"({"apiVersion":"v1","kind":"ConfigMap"})";
  EXPECT_EQ(refused(call("PATCH", target, map, kApply), 422),
            "Invalid: PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required "
            "for apply patch");
  EXPECT_EQ(refused(call("PATCH", target + "?force=true", "{}", "application/merge-patch+json"), 422),
            "Invalid: PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for "
            "non-apply patch");
  refused(apply(target, "]", "m"), 400);
  refused(apply(target, R"({"data":{}})", "m"), 400);
  refused(apply(target, R"({"apiVersion":"v1","kind":"Secret"})", "m"), 400);
  refused(apply(target, R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other"}})", "m"), 400);
  EXPECT_EQ(refused(apply(target, R"({"apiVersion":"v1","kind":"ConfigMap","spec":{}})", "m"), 500),
            ": failed to create typed patch object (default/r; /v1, Kind=ConfigMap): .spec: field not "
            "declared in schema");
  refused(
      apply(target,
            R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"managedFields":[{"manager":"x"}]}})", "m"),
      400);
  EXPECT_EQ(
      refused(
          apply(
              std::string(kDeployments) + "/d",
              R"({"apiVersion":"apps/v1","kind":"Deployment","spec":{"template":{"spec":{"containers":[{"name":"a"},{"name":"a"}]}}}})",
              "m"),
          500),
      ": failed to create typed patch object (default/d; apps/v1, Kind=Deployment): "
      ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]");
  EXPECT_EQ(call("GET", target).status, 404) << "a refusal has no effect";
}

TEST_F(ServerApply, DryRunAndStatus) {
  std::string target = std::string(kMaps) + "/dry";
  auto shown = ok(
      apply(target, R"({"apiVersion":"v1","kind":"ConfigMap","data":{"a":"1"}})", "m", "&dryRun=All"), 201);
  EXPECT_EQ(managers(shown), "m Apply");
  EXPECT_EQ(call("GET", target).status, 404);
  ok(apply(std::string(kDeployments) + "/web", deployment(1, "a"), "kubectl"), 201);
  auto status =
      ok(apply(std::string(kDeployments) + "/web/status",
               R"({"apiVersion":"apps/v1","kind":"Deployment","status":{"replicas":1}})", "controller"));
  EXPECT_EQ(managers(status), "controller Apply/status, kubectl Apply");
  EXPECT_EQ(base::as_int(base::find_path(status, "status", "replicas")), 1);
}

}  // namespace
}  // namespace master
