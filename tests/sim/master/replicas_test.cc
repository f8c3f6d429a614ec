// ReplicationControllers, endpoints and the scheduler against fake kubelets, over many seeds.
#include "tests/sim/cluster.h"

namespace simulated {
namespace r = api::resources;

TEST(SimReplicas, CountIsReachedAndNeverExceeded) {
  each_seed(25, [](uint64_t seed) {
    Cluster cluster(seed);
    cluster.create_rc("web", 7);
    auto at_most = [&](int n) { return [&cluster, n] { ASSERT_LE(cluster.active(), n) << "surplus Pods"; }; };
    cluster.settle(at_most(7));
    cluster.kubelets();
    cluster.settle(at_most(7));
    EXPECT_EQ(cluster.active(), 7);
    EXPECT_EQ(cluster.status(r::replication_controllers, "web", "readyReplicas"), 7);
    EXPECT_EQ(cluster.status(r::replication_controllers, "web", "availableReplicas"), 7);
    EXPECT_EQ(cluster.status(r::replication_controllers, "web", "observedGeneration"), 1);
    for (int round = 0; round < 12; ++round) {  // Pods die under it
      cluster.kubelets(0.2, 0.2);
      cluster.settle(at_most(7));
    }
    EXPECT_EQ(cluster.active(), 7);
    cluster.scale(r::replication_controllers, "web", 3);
    cluster.settle(at_most(7));
    for (int round = 0; round < 3; ++round) cluster.kubelets(), cluster.settle(at_most(3));
    EXPECT_EQ(cluster.active(), 3);
    cluster.scale(r::replication_controllers, "web", 0);
    cluster.settle();
    for (int round = 0; round < 3; ++round) cluster.kubelets(), cluster.settle();
    EXPECT_EQ(cluster.active(), 0);
    EXPECT_EQ(cluster.status(r::replication_controllers, "web", "replicas"), 0);
  });
}

TEST(SimReplicas, LostRequestsAndAnswersStillConverge) {
  each_seed(15, [](uint64_t seed) {
    Cluster cluster(seed);
    cluster.network.fail_before = cluster.network.fail_after = 0.1;
    cluster.create_rc("web", 5);
    for (int round = 0; round < 20; ++round) {
      cluster.kubelets(0.1, 0.1);
      cluster.settle();
    }
    cluster.network.fail_before = cluster.network.fail_after = 0;
    for (int round = 0; round < 200 && (cluster.active() != 5 || cluster.status(r::replication_controllers,
                                                                                "web", "readyReplicas") != 5);
         ++round) {
      cluster.kubelets();
      cluster.settle();
    }
    EXPECT_EQ(cluster.active(), 5);
    EXPECT_EQ(cluster.status(r::replication_controllers, "web", "readyReplicas"), 5);
  });
}

TEST(SimReplicas, AdoptsReleasesAndKillsTheSurplus) {
  Cluster cluster;
  cluster.create_rc("web", 2);
  cluster.settle();
  cluster.kubelets();
  cluster.settle();
  // A Pod loses its label: released, and replaced.
  std::string loser(base::string_at(json::value(cluster.pods()[0]), "metadata", "name"));
  cluster.merge(r::pods, "default", loser, json::object{{"metadata", {{"labels", {{"app", "other"}}}}}});
  cluster.settle();
  cluster.kubelets();
  cluster.settle();
  EXPECT_EQ(cluster.active(), 3);
  const json::value released(*cluster.get(r::pods, "default", loser));
  const json::value* owners = base::find_path(released, "metadata", "ownerReferences");
  EXPECT_TRUE(!owners || owners->as_array().empty());
  // It comes back: adopted, and one of three goes, the youngest.
  cluster.pass(5s);
  cluster.merge(r::pods, "default", loser, json::object{{"metadata", {{"labels", {{"app", "web"}}}}}});
  cluster.settle();
  EXPECT_EQ(cluster.active(), 2);
}

TEST(SimReplicas, ARefusedTemplateCostsFewRequestsAndIsTold) {
  Cluster cluster;
  cluster.allow_no_pods();
  cluster.network.writes.clear();
  cluster.create_rc("web", 100);
  cluster.settle();
  int creates = 0;
  for (const std::string& write : cluster.network.writes) creates += write.ends_with("/pods");
  EXPECT_GE(creates, 1);
  EXPECT_LE(creates, 12) << "slow start and back-off";
  const json::value rc(*cluster.get(r::replication_controllers, "default", "web"));
  const json::value* conditions = base::find_path(rc, "status", "conditions");
  ASSERT_TRUE(conditions && !conditions->as_array().empty());
  EXPECT_EQ(base::string_at(conditions->at(0), "type"), "ReplicaFailure");
  EXPECT_EQ(base::string_at(conditions->at(0), "reason"), "FailedCreate");
}

TEST(SimReplicas, EndpointsFollowReadiness) {
  Cluster cluster;
  cluster.create(
      r::services, "default",
      json::object{{"apiVersion", "v1"},
                   {"kind", "Service"},
                   {"metadata", {{"name", "web"}}},
                   {"spec",
                    {{"clusterIP", "10.96.0.20"},
                     {"selector", {{"app", "web"}}},
                     {"ports", json::array{json::object{
                                   {"port", 8080}, {"targetPort", "http"}, {"protocol", "TCP"}}}}}}});
  cluster.create_rc("web", 150);
  cluster.settle();
  cluster.kubelets();
  cluster.settle();
  auto slices = [&] {
    auto out = cluster.list(r::endpoint_slices);
    std::erase_if(out, [](const json::object& slice) {
      return base::string_at(json::value(slice), "metadata", "labels", "kubernetes.io/service-name") != "web";
    });
    return out;
  };
  auto ready = [&] {
    size_t count = 0;
    for (json::object& slice : slices())
      for (json::value& endpoint : slice["endpoints"].as_array())
        count += base::as_bool(base::find_path(endpoint, "conditions", "ready"));
    return count;
  };
  EXPECT_EQ(ready(), 150u);
  EXPECT_EQ(slices().size(), 2u);
  const json::value endpoints(*cluster.get(r::endpoints, "default", "web"));
  const json::value& subset = endpoints.at("subsets").at(0);
  EXPECT_EQ(subset.at("addresses").as_array().size(), 150u);
  EXPECT_EQ(subset.at("ports").at(0).at("port").as_int64(), 80);
  // At rest nothing is written.
  cluster.network.writes.clear();
  cluster.pass(60s);
  EXPECT_EQ(cluster.network.writes, std::vector<std::string>());
  cluster.scale(r::replication_controllers, "web", 2);
  cluster.settle();
  cluster.kubelets();
  cluster.settle();
  EXPECT_EQ(ready(), 2u);
}

TEST(SimNamespaces, AreFurnishedAndEmptied) {
  Cluster cluster;
  cluster.create_namespace("team");
  cluster.settle();
  EXPECT_TRUE(cluster.get(r::service_accounts, "team", "default"));
  ASSERT_TRUE(cluster.get(r::config_maps, "team", "kube-root-ca.crt"));
  cluster.remove(r::config_maps, "team", "kube-root-ca.crt");
  cluster.settle();
  EXPECT_TRUE(cluster.get(r::config_maps, "team", "kube-root-ca.crt"));
  cluster.create(r::replica_sets, "team",
                 json::object{{"apiVersion", "apps/v1"},
                              {"kind", "ReplicaSet"},
                              {"metadata", {{"name", "rs"}}},
                              {"spec",
                               {{"replicas", 3},
                                {"selector", {{"matchLabels", {{"app", "rs"}}}}},
                                {"template", Cluster::pod_template("rs")}}}});
  cluster.settle();
  cluster.kubelets();
  cluster.settle();
  EXPECT_EQ(cluster.active("team"), 3);
  cluster.remove(r::namespaces, "", "team");
  for (int i = 0; i < 60 && cluster.get(r::namespaces, "", "team"); ++i) {
    cluster.kubelets();
    cluster.settle();
  }
  EXPECT_FALSE(cluster.get(r::namespaces, "", "team"));
  EXPECT_TRUE(cluster.list(r::pods, "team").empty());
  EXPECT_TRUE(cluster.list(r::config_maps, "team").empty());
}

TEST(SimScheduler, SaysWhyAndRetriesWhenItHelps) {
  Cluster cluster(0, 2);
  json::object pod{{"apiVersion", "v1"},
                   {"kind", "Pod"},
                   {"metadata", {{"name", "big"}}},
                   {"spec",
                    {{"containers",
                      json::array{json::object{
                          {"name", "c"}, {"image", "i"}, {"resources", {{"requests", {{"cpu", "12"}}}}}}}}}}};
  cluster.create(r::pods, "default", pod);
  cluster.settle();
  auto big = [&] { return json::value(*cluster.get(r::pods, "default", "big")); };
  const json::value seen = big();
  ASSERT_TRUE(base::find_path(seen, "status", "conditions"));
  EXPECT_EQ(
      base::string_at(seen.at("status").at("conditions").at(0), "message"),
      "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: 2 Preemption is not "
      "helpful for scheduling.");
  EXPECT_EQ(base::string_at(seen.at("status").at("conditions").at(0), "reason"), "Unschedulable");
  cluster.network.writes.clear();
  cluster.settle();
  EXPECT_TRUE(cluster.network.writes.empty()) << "it polls: " << cluster.network.writes[0];
  cluster.add_node("large", "32");
  cluster.settle();
  EXPECT_EQ(base::string_at(big(), "spec", "nodeName"), "large");
}

TEST(SimScheduler, SpreadsReplicasOverNodes) {
  Cluster cluster(0, 3);
  cluster.create_rc("web", 9);
  cluster.settle();
  std::map<std::string, int> per_node;
  for (json::object& pod : cluster.pods())
    ++per_node[std::string(base::string_at(json::value(pod), "spec", "nodeName"))];
  EXPECT_EQ(per_node, (std::map<std::string, int>{{"node-0", 3}, {"node-1", 3}, {"node-2", 3}}));
}

TEST(SimScheduler, PreemptionMakesRoomWhateverIsLost) {
  each_seed(6, [](uint64_t seed) {
    Cluster cluster(seed, 2);
    for (int priority : {0, 1, 10})
      cluster.create(
          {"scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false}, "",
          json::object{{"metadata", {{"name", fmt::format("of-{}", priority)}}}, {"value", priority}});
    auto create = [&](const std::string& name, const char* cpu, int priority) {
      cluster.create(
          r::pods, "default",
          json::object{
              {"apiVersion", "v1"},
              {"kind", "Pod"},
              {"metadata", {{"name", name}}},
              {"spec",
               {{"priorityClassName", fmt::format("of-{}", priority)},
                {"containers",
                 json::array{json::object{
                     {"name", "c"}, {"image", "i"}, {"resources", {{"requests", {{"cpu", cpu}}}}}}}}}}});
    };
    for (int i = 0; i < 8; ++i) create(fmt::format("low-{}", i), "2", i % 2);
    for (int round = 0; round < 3; ++round) cluster.settle(), cluster.kubelets();
    cluster.network.fail_before = cluster.network.fail_after = 0.15;
    create("high", "3", 10);  // two of the lowest on one of the nodes
    auto node_of = [&](const json::object& pod) {
      return base::string_at(json::value(pod), "spec", "nodeName");
    };
    auto high_runs = [&] { return !node_of(*cluster.get(r::pods, "default", "high")).empty(); };
    for (int round = 0; round < 500 && !high_runs(); ++round) cluster.settle(), cluster.kubelets();
    EXPECT_TRUE(high_runs());
    int gone = 8;
    for (int i = 0; i < 8; ++i) {
      const json::object* pod = cluster.get(r::pods, "default", fmt::format("low-{}", i));
      gone -= pod != nullptr;
      EXPECT_TRUE(pod || i % 2 == 0) << "the more important of the two kinds stays";
    }
    EXPECT_EQ(gone, 2);
  });
}

}  // namespace simulated
