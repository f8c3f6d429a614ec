// Garbage collection, node lifecycle and Pod GC in the simulated cluster.
#include "tests/sim/cluster.h"

namespace simulated {
namespace r = api::resources;

namespace {
void create_rs(Cluster& cluster, const std::string& name, int replicas) {
  cluster.create(r::replica_sets, "default",
                 json::object{{"apiVersion", "apps/v1"},
                              {"kind", "ReplicaSet"},
                              {"metadata", {{"name", name}}},
                              {"spec",
                               {{"replicas", replicas},
                                {"selector", {{"matchLabels", {{"app", name}}}}},
                                {"template", Cluster::pod_template(name)}}}});
}
void run(Cluster& cluster, int rounds) {
  for (int i = 0; i < rounds; ++i) cluster.kubelets(), cluster.settle();
}
json::object policy(const char* name) { return {{"propagationPolicy", name}}; }
}  // namespace

TEST(SimGarbage, BackgroundDeletionTakesTheWholeTree) {
  each_seed(8, [](uint64_t seed) {
    Cluster cluster(seed);
    cluster.create(r::deployments, "default",
                   json::object{{"apiVersion", "apps/v1"},
                                {"kind", "Deployment"},
                                {"metadata", {{"name", "web"}}},
                                {"spec",
                                 {{"replicas", 3},
                                  {"selector", {{"matchLabels", {{"app", "web"}}}}},
                                  {"template", Cluster::pod_template("web")}}}});
    create_rs(cluster, "other", 2);
    run(cluster, 3);
    EXPECT_EQ(cluster.active(), 5);
    cluster.remove(r::deployments, "default", "web", policy("Background"));
    run(cluster, 4);
    EXPECT_EQ(cluster.list(r::replica_sets).size(), 1u);
    EXPECT_EQ(cluster.pods().size(), 2u) << "and nothing else";
  });
}

TEST(SimGarbage, ForegroundDeletionEndsWithTheOwner) {
  Cluster cluster(3);
  create_rs(cluster, "web", 3);
  run(cluster, 3);
  cluster.remove(r::replica_sets, "default", "web", policy("Foreground"));
  cluster.settle();
  EXPECT_TRUE(cluster.get(r::replica_sets, "default", "web")) << "its Pods are still ending";
  run(cluster, 4);
  EXPECT_FALSE(cluster.get(r::replica_sets, "default", "web"));
  EXPECT_TRUE(cluster.pods().empty());
}

TEST(SimGarbage, OrphanedPodsStayAndAreAdopted) {
  Cluster cluster(4);
  create_rs(cluster, "web", 3);
  run(cluster, 3);
  cluster.remove(r::replica_sets, "default", "web", policy("Orphan"));
  run(cluster, 4);
  EXPECT_FALSE(cluster.get(r::replica_sets, "default", "web"));
  ASSERT_EQ(cluster.active(), 3);
  std::set<std::string> names;
  for (json::object& pod : cluster.pods())
    names.emplace(base::string_at(json::value(pod), "metadata", "name"));
  create_rs(cluster, "web", 3);
  run(cluster, 3);
  EXPECT_EQ(cluster.active(), 3);
  for (json::object& pod : cluster.pods())
    EXPECT_TRUE(names.count(std::string(base::string_at(json::value(pod), "metadata", "name"))));
}

TEST(SimGarbage, AnOwnerThatNeverWasIsAskedForOnce) {
  Cluster cluster;
  cluster.create(r::config_maps, "default",
                 json::object{{"metadata",
                               {{"name", "lost"},
                                {"ownerReferences", json::array{json::object{{"apiVersion", "apps/v1"},
                                                                             {"kind", "ReplicaSet"},
                                                                             {"name", "ghost"},
                                                                             {"uid", "no-such"}}}}}}});
  cluster.create(
      r::config_maps, "default",
      json::object{
          {"metadata",
           {{"name", "foreign"},
            {"ownerReferences",
             json::array{json::object{
                 {"apiVersion", "example.org/v1"}, {"kind", "Thing"}, {"name", "x"}, {"uid", "y"}}}}}}});
  run(cluster, 2);
  EXPECT_FALSE(cluster.get(r::config_maps, "default", "lost"));
  EXPECT_TRUE(cluster.get(r::config_maps, "default", "foreign")) << "a kind we know nothing about";
}

TEST(SimGarbage, KindsThatNoControllerReadsAreFollowed) {
  const api::Resource limits{"", "v1", "limitranges", "LimitRange"};
  Cluster cluster(5);
  cluster.create(r::config_maps, "default", json::object{{"metadata", {{"name", "owner"}}}});
  const json::value uid(
      base::string_at(json::value(*cluster.get(r::config_maps, "default", "owner")), "metadata", "uid"));
  cluster.create(
      limits, "default",
      json::object{{"metadata",
                    {{"name", "owned"},
                     {"ownerReferences",
                      json::array{json::object{
                          {"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"name", "owner"}, {"uid", uid}}}}}},
                   {"spec", {{"limits", json::array{json::object{{"type", "Pod"}}}}}}});
  run(cluster, 2);
  EXPECT_TRUE(cluster.get(limits, "default", "owned"));
  cluster.remove(r::config_maps, "default", "owner", policy("Background"));
  run(cluster, 2);
  EXPECT_FALSE(cluster.get(limits, "default", "owned"));
}

TEST(SimGarbage, ACircleOfOwnersEndsInTheForeground) {
  each_seed(8, [](uint64_t seed) {
    Cluster cluster(seed);
    std::vector<std::string> uids;
    for (const char* name : {"a", "b", "c"}) {
      cluster.create(r::config_maps, "default", json::object{{"metadata", {{"name", name}}}});
      uids.emplace_back(
          base::string_at(json::value(*cluster.get(r::config_maps, "default", name)), "metadata", "uid"));
    }
    for (int i = 0; i < 3; ++i) {
      const char* names[] = {"a", "b", "c"};
      const int owner = (i + 1) % 3;
      cluster.merge(
          r::config_maps, "default", names[i],
          json::object{{"metadata",
                        {{"ownerReferences", json::array{json::object{{"apiVersion", "v1"},
                                                                      {"kind", "ConfigMap"},
                                                                      {"name", names[owner]},
                                                                      {"uid", uids[owner]},
                                                                      {"blockOwnerDeletion", true}}}}}}});
    }
    run(cluster, 2);
    cluster.remove(r::config_maps, "default", "a", policy("Foreground"));
    run(cluster, 4);
    for (const char* name : {"a", "b", "c"})
      EXPECT_FALSE(cluster.get(r::config_maps, "default", name)) << name;
  });
}

TEST(SimNodes, ASilentNodeIsTaintedAndItsPodsMove) {
  each_seed(4, [](uint64_t seed) {
    Cluster cluster(seed);
    json::object rc{
        {"apiVersion", "v1"},
        {"kind", "ReplicationController"},
        {"metadata", {{"name", "web"}}},
        {"spec",
         {{"replicas", 6}, {"selector", {{"app", "web"}}}, {"template", Cluster::pod_template("web")}}}};
    json::array tolerations;
    for (const char* key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})
      tolerations.push_back(json::object{
          {"key", key}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", 0}});
    rc["spec"].as_object()["template"].as_object()["spec"].as_object()["tolerations"] = tolerations;
    cluster.create(r::replication_controllers, "default", rc);
    run(cluster, 3);
    for (const std::string& name : cluster.node_names)
      EXPECT_EQ(
          base::string_at(json::value(*cluster.get(r::nodes, "", name)), "spec", "podCIDR").substr(0, 7),
          "10.244.");
    auto on = [&](const std::string& node) {
      int count = 0;
      for (json::object& pod : cluster.pods())
        count += base::string_at(json::value(pod), "spec", "nodeName") == node &&
                 base::string_at(json::value(pod), "metadata", "deletionTimestamp").empty();
      return count;
    };
    EXPECT_EQ(on("node-1"), 2);
    cluster.dead.insert("node-1");
    for (int second = 0; second < 60; second += 10) {
      cluster.pass(10s);
      run(cluster, 1);
    }
    const json::value node(*cluster.get(r::nodes, "", "node-1"));
    std::string taints;
    for (const json::value& taint : node.at("spec").at("taints").as_array())
      taints += std::string(base::string_at(taint, "key")) + ":" +
                std::string(base::string_at(taint, "effect")) + " ";
    EXPECT_EQ(taints, "node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute ");
    run(cluster, 3);
    EXPECT_EQ(on("node-1"), 0);
    EXPECT_EQ(on("node-0") + on("node-2"), 6);
    // It comes back: untainted, its old Pods end.
    cluster.dead.clear();
    cluster.say_ready("node-1");
    cluster.renew("node-1");
    run(cluster, 3);
    const json::value back(*cluster.get(r::nodes, "", "node-1"));
    const json::value* left = base::find_path(back, "spec", "taints");
    EXPECT_TRUE(!left || left->as_array().empty());
    EXPECT_EQ(cluster.pods().size(), 6u);
  });
}

TEST(SimNodes, WhenAllAreSilentNobodyIsEvicted) {
  Cluster cluster(0, 2);
  cluster.create_rc("web", 4);
  run(cluster, 3);
  cluster.dead = {"node-0", "node-1"};
  cluster.pass(100s);
  const json::value node(*cluster.get(r::nodes, "", "node-1"));
  ASSERT_TRUE(base::find_path(node, "spec", "taints"));
  for (const json::value& taint : node.at("spec").at("taints").as_array())
    EXPECT_EQ(base::string_at(taint, "effect"), "NoSchedule");
  EXPECT_EQ(cluster.active(), 4);
}

TEST(SimNodes, PodsOfADeletedNodeAreReplaced) {
  master::controllers::Options options;
  options.node_quarantine = 0s;
  Cluster cluster(0, 3, options);
  cluster.create_rc("web", 6);
  run(cluster, 3);
  cluster.dead.insert("node-2");
  cluster.remove(r::nodes, "", "node-2");
  run(cluster, 4);
  EXPECT_EQ(cluster.active(), 6);
  for (json::object& pod : cluster.pods())
    EXPECT_NE(base::string_at(json::value(pod), "spec", "nodeName"), "node-2");
}

TEST(SimPodGc, OldestFinishedPodsGoAboveTheThreshold) {
  master::controllers::Options options;
  options.terminated_pod_threshold = 3;
  Cluster cluster(0, 1, options);
  for (int i = 0; i < 6; ++i) {
    cluster.pass(1s);
    cluster.create(
        r::pods, "default",
        json::object{{"apiVersion", "v1"},
                     {"kind", "Pod"},
                     {"metadata", {{"name", "job-" + std::to_string(i)}}},
                     {"spec",
                      {{"restartPolicy", "Never"},
                       {"containers", json::array{json::object{{"name", "c"}, {"image", "i"}}}}}}});
  }
  cluster.settle();
  for (int i = 0; i < 6; ++i)
    cluster.merge(r::pods, "default", "job-" + std::to_string(i),
                  json::object{{"status", {{"phase", "Succeeded"}}}}, "status");
  cluster.settle();
  std::string left;
  for (json::object& pod : cluster.pods())
    left += std::string(base::string_at(json::value(pod), "metadata", "name")) + " ";
  EXPECT_EQ(left, "job-3 job-4 job-5 ");
}

}  // namespace simulated
