// What the registry does to single kinds, through requests as clients send them.
#include "tests/unit/master/server_fixture.h"

namespace master {
namespace {

using base::json::value;

class KindsTest : public ServerTest {
 protected:
  std::string at(const value& object, std::initializer_list<const char*> path) {
    const value* v = &object;
    for (const char* part : path) v = v ? base::find(*v, part) : nullptr;
    return v ? base::to_json(*v) : "";
  }
  static std::string pod(const std::string& name) {
    return R"({"metadata":{"name":")" + name +
           R"(","labels":{"app":"a"}},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"100m"}}}]}})";
  }
  static constexpr const char* kPods = "/api/v1/namespaces/default/pods";
};

TEST_F(KindsTest, AJobSelectsItsOwnPods) {
  value job = ok(
      call(
          "POST", "/apis/batch/v1/namespaces/default/jobs",
          R"({"metadata":{"name":"j"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}})"),
      201);
  std::string uid(base::string_at(job, "metadata", "uid"));
  EXPECT_EQ(at(job, {"spec", "selector"}),
            R"({"matchLabels":{"batch.kubernetes.io/controller-uid":")" + uid + "\"}}");
  EXPECT_EQ(base::string_at(job, "spec", "template", "metadata", "labels", "job-name"), "j");
  EXPECT_EQ(at(job, {"spec", "completions"}), "1");
  EXPECT_EQ(at(job, {"metadata", "generation"}), "1");
  value patched = ok(call("PATCH", "/apis/batch/v1/namespaces/default/jobs/j", R"({"spec":{"suspend":true}})",
                          "application/merge-patch+json"));
  EXPECT_EQ(at(patched, {"metadata", "generation"}), "2");
  EXPECT_NE(refused(call("PATCH", "/apis/batch/v1/namespaces/default/jobs/j", R"({"spec":{"completions":2}})",
                         "application/merge-patch+json"),
                    422)
                .find("spec.completions: Invalid value: 2: field is immutable"),
            std::string::npos);
}

TEST_F(KindsTest, EventsAreOneKindInTwoGroups) {
  ok(call(
         "POST", "/api/v1/namespaces/default/events",
         R"({"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p","namespace":"default"},"reason":"R","message":"m","count":2})"),
     201);
  value newer = ok(call("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e"));
  EXPECT_EQ(base::string_at(newer, "apiVersion"), "events.k8s.io/v1");
  EXPECT_EQ(base::string_at(newer, "note"), "m");
  EXPECT_EQ(at(newer, {"deprecatedCount"}), "2");
  value listed = ok(call("GET", "/apis/events.k8s.io/v1/events?fieldSelector=regarding.name=p,reason=R"));
  EXPECT_EQ(listed.at("items").get_array().size(), 1u);
  EXPECT_EQ(ok(call("GET", "/apis/events.k8s.io/v1/events?fieldSelector=regarding.name=q"))
                .at("items")
                .get_array()
                .size(),
            0u);
}

TEST_F(KindsTest, AutoscalersInBothVersions) {
  ok(call(
         "POST", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
         R"({"metadata":{"name":"h"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"d"},"maxReplicas":3,"targetCPUUtilizationPercentage":50}})"),
     201);
  value v2 = ok(call("GET", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h"));
  EXPECT_EQ(
      at(v2, {"spec", "metrics"}),
      R"([{"type":"Resource","resource":{"name":"cpu","target":{"averageUtilization":50,"type":"Utilization"}}}])");
  value v1 = ok(call("GET", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/h"));
  EXPECT_EQ(at(v1, {"spec", "targetCPUUtilizationPercentage"}), "50");
  EXPECT_EQ(at(v1, {"spec", "minReplicas"}), "1");
}

TEST_F(KindsTest, StatusOfNewObjects) {
  value claim = ok(
      call(
          "POST", "/api/v1/namespaces/default/persistentvolumeclaims",
          R"({"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}},"status":{"phase":"Bound"}})"),
      201);
  EXPECT_EQ(base::string_at(claim, "status", "phase"), "Pending");
  EXPECT_EQ(base::string_at(claim, "spec", "volumeMode"), "Filesystem");
  value node = ok(call("POST", "/api/v1/nodes",
                       R"({"metadata":{"name":"n"},"status":{"nodeInfo":{"kubeletVersion":"v1"}}})"),
                  201);
  EXPECT_EQ(base::string_at(node, "status", "nodeInfo", "kubeletVersion"),
            "v1");  // a node registers with its status
}

TEST_F(KindsTest, BindingsInTheirOlderForm) {
  ok(call("POST", kPods, pod("b")), 201);
  ok(call("POST", "/api/v1/namespaces/default/bindings",
          R"({"metadata":{"name":"b"},"target":{"name":"n"}})"),
     201);
  EXPECT_EQ(base::string_at(ok(call("GET", std::string(kPods) + "/b")), "spec", "nodeName"), "n");
}

TEST_F(KindsTest, ComponentStatuses) {
  value list = ok(call("GET", "/api/v1/componentstatuses"));
  EXPECT_EQ(list.at("items").get_array().size(), 3u);
  EXPECT_EQ(base::string_at(ok(call("GET", "/api/v1/componentstatuses/scheduler")), "kind"),
            "ComponentStatus");
  refused(call("POST", "/api/v1/componentstatuses", "{}"), 405);
}

TEST_F(KindsTest, EvictionsAskTheBudget) {
  const std::string kBudgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
                    kEviction = R"({"metadata":{"name":"p"}})";
  ok(call("POST", kPods, pod("p")), 201);
  ok(call("POST", kBudgets,
          R"({"metadata":{"name":"pdb"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"app":"a"}}}})"),
     201);
  std::string path = std::string(kPods) + "/p/eviction";
  ok(call("PATCH", std::string(kPods) + "/p/status",
          R"({"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}})",
          "application/merge-patch+json"));
  auto status = [&](int allowed) {
    ok(call("PATCH", kBudgets + "/pdb/status",
            R"({"status":{"observedGeneration":1,"disruptionsAllowed":)" + std::to_string(allowed) +
                R"(,"currentHealthy":1,"desiredHealthy":1,"expectedPods":1}})",
            "application/merge-patch+json"));
  };
  value unseen = ok(call("POST", path, kEviction), 429);
  EXPECT_NE(at(unseen, {"details", "causes"}).find("is still being processed by the server"),
            std::string::npos);
  status(0);
  value refusal = ok(call("POST", path, kEviction), 429);
  EXPECT_EQ(base::string_at(refusal, "message"),
            "Cannot evict pod as it would violate the pod's disruption budget.");
  EXPECT_EQ(
      at(refusal, {"details", "causes"}),
      R"([{"reason":"DisruptionBudget","message":"The disruption budget pdb needs 1 healthy pods and has 1 currently"}])");
  refused(call("POST", path, R"({"metadata":{"name":"other"}})"), 400);
  status(1);
  ok(call("POST", path + "?dryRun=All", kEviction), 201);
  ok(call("GET", std::string(kPods) + "/p"));
  ok(call("POST", path, kEviction), 201);
  refused(call("GET", std::string(kPods) + "/p"), 404);  // no node ran it: it went at once
  value budget = ok(call("GET", kBudgets + "/pdb"));
  EXPECT_EQ(at(budget, {"status", "disruptionsAllowed"}), "0");
  EXPECT_NE(at(budget, {"status", "disruptedPods"}).find("\"p\":"), std::string::npos);
}

TEST_F(KindsTest, PartsOfARunningPod) {
  ok(call("POST", kPods, pod("r")), 201);
  std::string path = std::string(kPods) + "/r";
  value debugged = ok(call(
      "PATCH", path + "/ephemeralcontainers",
      R"({"metadata":{"labels":{"x":"y"}},"spec":{"ephemeralContainers":[{"name":"d","image":"i","targetContainerName":"c"}]}})",
      "application/strategic-merge-patch+json"));
  EXPECT_EQ(base::string_at(debugged.at("spec").at("ephemeralContainers").get_array()[0], "imagePullPolicy"),
            "Always");
  EXPECT_EQ(at(debugged, {"metadata", "labels"}), R"({"app":"a"})");
  EXPECT_EQ(at(debugged, {"metadata", "generation"}), "2");
  value resized = ok(call(
      "PATCH", path + "/resize",
      R"({"spec":{"containers":[{"name":"c","image":"other","resources":{"requests":{"cpu":"200m"}}}]}})",
      "application/strategic-merge-patch+json"));
  EXPECT_EQ(
      base::string_at(resized.at("spec").at("containers").get_array()[0], "resources", "requests", "cpu"),
      "200m");
  EXPECT_EQ(base::string_at(resized.at("spec").at("containers").get_array()[0], "image"), "i");
  refused(
      call(
          "PATCH", path + "/resize",
          R"({"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"200m","memory":"1Gi"},"requests":{"memory":"1Gi"}}}]}})",
          "application/strategic-merge-patch+json"),
      422);
  refused(call("PATCH", path + "/ephemeralcontainers",
               R"({"spec":{"ephemeralContainers":[{"name":"c","image":"i"}]}})",
               "application/strategic-merge-patch+json"),
          422);
}

}  // namespace
}  // namespace master
