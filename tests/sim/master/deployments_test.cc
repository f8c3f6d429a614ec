// Deployments over many seeds: rolling updates inside their fences, Recreate, undo, pause, history.
#include "tests/sim/cluster.h"

namespace simulated {
namespace r = api::resources;

namespace {
void create_deployment(Cluster& cluster, int replicas, json::object strategy = {},
                       const std::string& image = "nginx:1") {
  json::object spec{{"replicas", replicas},
                    {"selector", {{"matchLabels", {{"app", "web"}}}}},
                    {"progressDeadlineSeconds", 600},
                    {"revisionHistoryLimit", 2},
                    {"template", Cluster::pod_template("web", image)}};
  if (!strategy.empty()) spec["strategy"] = strategy;
  cluster.create(r::deployments, "default",
                 json::object{{"apiVersion", "apps/v1"},
                              {"kind", "Deployment"},
                              {"metadata", {{"name", "web"}}},
                              {"spec", std::move(spec)}});
}
json::object rolling(json::value surge, json::value unavailable) {
  return {{"type", "RollingUpdate"},
          {"rollingUpdate", {{"maxSurge", surge}, {"maxUnavailable", unavailable}}}};
}
void set_image(Cluster& cluster, const std::string& image) {
  cluster.merge(r::deployments, "default", "web",
                json::object{{"spec", {{"template", Cluster::pod_template("web", image)}}}});
}
int ready(Cluster& cluster, const std::string& image = {}) {
  int count = 0;
  for (json::object& pod : cluster.pods()) {
    const json::value p(pod);
    const json::value* conditions = base::find_path(p, "status", "conditions");
    if (!base::string_at(p, "metadata", "deletionTimestamp").empty() || !conditions) continue;
    if (!image.empty() && base::string_at(p.at("spec").at("containers").at(0), "image") != image) continue;
    for (const json::value& c : conditions->as_array())
      count += base::string_at(c, "type") == "Ready" && base::string_at(c, "status") == "True";
  }
  return count;
}
std::string progressing(Cluster& cluster) {
  const json::value d(*cluster.get(r::deployments, "default", "web"));
  for (const json::value& c : d.at("status").at("conditions").as_array())
    if (base::string_at(c, "type") == "Progressing") return std::string(base::string_at(c, "reason"));
  return "";
}
std::string revision(Cluster& cluster) {
  return std::string(base::string_at(json::value(*cluster.get(r::deployments, "default", "web")), "metadata",
                                     "annotations", "deployment.kubernetes.io/revision"));
}
void run(Cluster& cluster, int rounds, std::function<void()> each = {}, double lag = 0) {
  for (int i = 0; i < rounds; ++i) {
    cluster.kubelets(0, lag);
    if (each) each();
    cluster.settle(each);
  }
}
}  // namespace

TEST(SimDeployments, RollingUpdateStaysInsideItsFences) {
  each_seed(12, [](uint64_t seed) {
    Cluster cluster(seed);
    const int replicas = 1 + static_cast<int>(seed % 7), surge = static_cast<int>(seed % 3),
              unavailable = surge == 0 ? 1 : static_cast<int>(seed / 3 % 2);
    create_deployment(cluster, replicas, rolling(surge, unavailable));
    run(cluster, 3);
    ASSERT_EQ(ready(cluster), replicas);
    EXPECT_EQ(progressing(cluster), "NewReplicaSetAvailable");
    EXPECT_EQ(revision(cluster), "1");
    set_image(cluster, "nginx:2");
    run(
        cluster, 4 * replicas + 8,
        [&] {
          ASSERT_LE(cluster.active(), replicas + surge);
          ASSERT_GE(ready(cluster), replicas - unavailable);
        },
        0.3);
    run(cluster, 3);
    EXPECT_EQ(ready(cluster, "nginx:2"), replicas);
    EXPECT_EQ(cluster.active(), replicas);
    EXPECT_EQ(progressing(cluster), "NewReplicaSetAvailable");
    EXPECT_EQ(revision(cluster), "2");
    EXPECT_EQ(cluster.status(r::deployments, "web", "updatedReplicas"), replicas);
    EXPECT_EQ(cluster.status(r::deployments, "web", "availableReplicas"), replicas);
  });
}

TEST(SimDeployments, UndoTakesTheOldReplicaSetAndHistoryIsTrimmed) {
  Cluster cluster;
  create_deployment(cluster, 2);
  run(cluster, 3);
  set_image(cluster, "nginx:2");
  run(cluster, 8);
  EXPECT_EQ(cluster.list(r::replica_sets).size(), 2u);
  set_image(cluster, "nginx:1");  // as `kubectl rollout undo` does
  run(cluster, 8);
  EXPECT_EQ(cluster.list(r::replica_sets).size(), 2u);
  EXPECT_EQ(ready(cluster, "nginx:1"), 2);
  EXPECT_EQ(revision(cluster), "3");
  for (int version = 3; version < 8; ++version) {
    set_image(cluster, "nginx:" + std::to_string(version));
    run(cluster, 8);
  }
  EXPECT_EQ(cluster.list(r::replica_sets).size(), 3u) << "the current one and revisionHistoryLimit";
  EXPECT_EQ(revision(cluster), "8");
}

TEST(SimDeployments, RecreateNeverMixesVersions) {
  Cluster cluster(7);
  create_deployment(cluster, 3, {{"type", "Recreate"}});
  run(cluster, 3);
  set_image(cluster, "nginx:2");
  run(
      cluster, 10,
      [&] {
        bool has_old = false, has_new = false;
        for (json::object& pod : cluster.pods()) {
          const json::value p(pod);
          (base::string_at(p.at("spec").at("containers").at(0), "image") == "nginx:1" ? has_old : has_new) =
              true;
        }
        ASSERT_FALSE(has_old && has_new);
      },
      0.3);
  run(cluster, 3);
  EXPECT_EQ(ready(cluster, "nginx:2"), 3);
}

TEST(SimDeployments, ABrokenUpdateStopsAndTimesOutAndUndoHeals) {
  Cluster cluster;
  create_deployment(cluster, 4, rolling("25%", "25%"));
  run(cluster, 3);
  set_image(cluster, "broken");
  run(cluster, 6, [&] { ASSERT_GE(ready(cluster), 3); });
  EXPECT_EQ(ready(cluster, "nginx:1"), 3);
  EXPECT_EQ(cluster.status(r::deployments, "web", "updatedReplicas"), 2);
  cluster.pass(700s);
  cluster.merge(r::deployments, "default", "web", json::object{{"metadata", {{"labels", {{"poke", "1"}}}}}});
  cluster.settle();
  EXPECT_EQ(progressing(cluster), "ProgressDeadlineExceeded");
  set_image(cluster, "nginx:1");
  run(cluster, 6);
  EXPECT_EQ(ready(cluster, "nginx:1"), 4);
  EXPECT_EQ(progressing(cluster), "NewReplicaSetAvailable");
}

TEST(SimDeployments, ABrokenUpdateGoesBackByItselfWhereThatIsWished) {
  Cluster cluster;
  create_deployment(cluster, 4, rolling("25%", "25%"));
  run(cluster, 3);
  cluster.merge(r::deployments, "default", "web",
                json::object{{"metadata", {{"annotations", {{"sampan.io/rollback-on-deadline", "true"}}}}}});
  set_image(cluster, "broken");
  run(cluster, 6, [&] { ASSERT_GE(ready(cluster), 3); });
  cluster.pass(700s);
  cluster.merge(r::deployments, "default", "web", json::object{{"metadata", {{"labels", {{"poke", "1"}}}}}});
  run(cluster, 6, [&] { ASSERT_GE(ready(cluster), 3); });
  EXPECT_EQ(ready(cluster, "nginx:1"), 4);
  EXPECT_EQ(progressing(cluster), "NewReplicaSetAvailable");
  EXPECT_EQ(revision(cluster), "3");
}

TEST(SimDeployments, PausedScalesInProportionAndDoesNotRoll) {
  Cluster cluster;
  create_deployment(cluster, 10, rolling(3, 2));
  run(cluster, 3);
  set_image(cluster, "broken");
  run(cluster, 4);
  EXPECT_EQ(ready(cluster, "nginx:1"), 8);
  EXPECT_EQ(cluster.active(), 13);
  cluster.merge(r::deployments, "default", "web", json::object{{"spec", {{"paused", true}}}});
  cluster.settle();
  EXPECT_EQ(progressing(cluster), "DeploymentPaused");
  cluster.scale(r::deployments, "web", 15);  // the example of Kubernetes' documentation: 8 -> 11, 5 -> 7
  run(cluster, 4);
  EXPECT_EQ(ready(cluster, "nginx:1"), 11);
  EXPECT_EQ(cluster.active(), 18);
  cluster.merge(
      r::deployments, "default", "web",
      json::object{{"spec", {{"paused", nullptr}, {"template", Cluster::pod_template("web", "nginx:3")}}}});
  run(cluster, 20);
  EXPECT_EQ(ready(cluster, "nginx:3"), 15);
  EXPECT_EQ(cluster.active(), 15);
}

TEST(SimDeployments, LostRequestsStillConverge) {
  each_seed(6, [](uint64_t seed) {
    Cluster cluster(seed);
    cluster.network.fail_before = cluster.network.fail_after = 0.1;
    create_deployment(cluster, 4);
    run(cluster, 6);
    set_image(cluster, "nginx:2");
    run(cluster, 10);
    cluster.network.fail_before = cluster.network.fail_after = 0;
    for (int i = 0; i < 100 && (ready(cluster, "nginx:2") != 4 || cluster.active() != 4); ++i)
      run(cluster, 1);
    EXPECT_EQ(ready(cluster, "nginx:2"), 4);
    EXPECT_EQ(cluster.active(), 4);
  });
}

}  // namespace simulated
