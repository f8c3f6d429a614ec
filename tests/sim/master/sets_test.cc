// DaemonSets and StatefulSets with their real controllers and scheduler against fake kubelets, over many
// seeds: requests and answers that are lost, views that lag, templates that change meanwhile.
#include "master/controllers/daemon_sets.h"
#include "master/controllers/stateful_sets.h"
#include "tests/sim/cluster.h"

namespace simulated {
namespace r = api::resources;
using master::controllers::kDaemonSets;
using master::controllers::kStatefulSets;

namespace {

void create_set(Cluster& cluster, const api::Resource& kind, json::object spec) {
  spec["selector"] = json::object{{"matchLabels", {{"app", "s"}}}};
  spec["template"] = Cluster::pod_template("s");
  spec["revisionHistoryLimit"] = 10;
  cluster.create(kind, "default",
                 json::object{{"apiVersion", "apps/v1"},
                              {"kind", kind.kind},
                              {"metadata", {{"name", "s"}}},
                              {"spec", std::move(spec)},
                              {"status", json::object{}}});
}
std::set<std::string> images(Cluster& cluster) {
  std::set<std::string> out;
  for (const json::object& pod : cluster.pods())
    out.emplace(base::string_at(base::find_path(json::value(pod), "spec", "containers")->at(0), "image"));
  return out;
}
// Some rounds in which much is lost, then enough of them in which nothing is.
bool comes_to(Cluster& cluster, const std::function<bool()>& good, double fail = 0) {
  cluster.network.fail_before = cluster.network.fail_after = 0.1;
  for (int round = 0; round < 15; ++round) {
    cluster.pass(5s);
    cluster.kubelets(fail, 0.2);
    cluster.settle();
  }
  cluster.network.fail_before = cluster.network.fail_after = 0;
  for (int round = 0; round < 400 && !good(); ++round) {
    cluster.pass(5s);
    cluster.kubelets();
    cluster.settle();
  }
  return good();
}

}  // namespace

TEST(SimSets, DaemonSetsConvergeWhateverIsLost) {
  each_seed(8, [](uint64_t seed) {
    Cluster cluster(seed);
    create_set(cluster, kDaemonSets,
               {{"updateStrategy", {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxUnavailable", 1}}}}}});
    auto one_each = [&](const std::string& image) {
      return [&cluster, image] {
        std::set<std::string> nodes;
        for (const json::object& pod : cluster.pods())
          nodes.emplace(base::string_at(json::value(pod), "spec", "nodeName"));
        return cluster.pods().size() == 3 && nodes.size() == 3 && images(cluster) == std::set{image} &&
               cluster.status(kDaemonSets, "s", "numberAvailable") == 3 &&
               cluster.status(kDaemonSets, "s", "updatedNumberScheduled") == 3;
      };
    };
    ASSERT_TRUE(comes_to(cluster, one_each("nginx:1")));
    cluster.merge(kDaemonSets, "default", "s",
                  json::object{{"spec", {{"template", Cluster::pod_template("s", "nginx:2")}}}});
    ASSERT_TRUE(comes_to(cluster, one_each("nginx:2")));
    cluster.add_node("node-3");
    auto four = [&] { return cluster.active() == 4; };
    ASSERT_TRUE(comes_to(cluster, four));
    EXPECT_EQ(cluster.list({"apps", "v1", "controllerrevisions", "ControllerRevision", true}).size(), 2u);
  });
}

TEST(SimSets, StatefulSetsConvergeWhateverIsLost) {
  each_seed(8, [](uint64_t seed) {
    Cluster cluster(seed);
    const json::object claim{{"storageClassName", "static"},
                             {"accessModes", json::array{"ReadWriteOnce"}},
                             {"resources", {{"requests", {{"storage", "1Gi"}}}}}};
    json::object spec{{"serviceName", "s"},
                      {"replicas", 3},
                      {"updateStrategy", {{"type", "RollingUpdate"}, {"rollingUpdate", {{"partition", 0}}}}},
                      {"volumeClaimTemplates",
                       json::array{json::object{{"metadata", {{"name", "data"}}}, {"spec", claim}}}}};
    if (seed % 2) spec["podManagementPolicy"] = "Parallel";
    // Pods are given a node once their claims are bound: there is a volume for each.
    for (int i = 0; i < 3; ++i)
      cluster.create(master::controllers::kPersistentVolumes, "",
                     json::object{{"metadata", {{"name", "v" + std::to_string(i)}}},
                                  {"spec",
                                   {{"capacity", {{"storage", "1Gi"}}},
                                    {"storageClassName", "static"},
                                    {"accessModes", json::array{"ReadWriteOnce"}},
                                    {"hostPath", {{"path", "/data"}}}}}});
    create_set(cluster, kStatefulSets, std::move(spec));
    auto all = [&](size_t count, const std::string& image) {
      return [&cluster, count, image] {
        return cluster.pods().size() == count && images(cluster) == std::set{image} &&
               cluster.status(kStatefulSets, "s", "availableReplicas") == static_cast<int64_t>(count) &&
               cluster.status(kStatefulSets, "s", "updatedReplicas") == static_cast<int64_t>(count);
      };
    };
    ASSERT_TRUE(comes_to(cluster, all(3, "nginx:1"), 0.05));
    cluster.merge(kStatefulSets, "default", "s",
                  json::object{{"spec", {{"template", Cluster::pod_template("s", "nginx:2")}}}});
    ASSERT_TRUE(comes_to(cluster, all(3, "nginx:2"), 0.05));
    cluster.scale(kStatefulSets, "s", 1);
    ASSERT_TRUE(comes_to(cluster, all(1, "nginx:2")));
    EXPECT_EQ(base::string_at(json::value(cluster.pods()[0]), "metadata", "name"), "s-0");
    EXPECT_EQ(cluster.list(master::controllers::kPersistentVolumeClaims).size(), 3u)
        << "claims outlive their Pods";
  });
}

TEST(SimSets, ARefusedTemplateCostsFewRequests) {
  for (const api::Resource& kind : {kDaemonSets, kStatefulSets}) {
    Cluster cluster(0, 30);
    cluster.allow_no_pods();
    cluster.network.writes.clear();
    create_set(cluster, kind, {{"replicas", 30}, {"podManagementPolicy", "Parallel"}});
    cluster.settle();
    int creates = 0;
    for (const std::string& write : cluster.network.writes) creates += write.ends_with("/pods");
    EXPECT_GE(creates, 1) << kind.kind;
    EXPECT_LE(creates, 12) << kind.kind << ": slow start and back-off";
  }
}

}  // namespace simulated
