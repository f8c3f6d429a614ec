// Stories of whole clusters: the real master, hollow nodes, and what befalls them. Promises are held at every
// change of every Pod; in the end all is as it was asked for, in bounded time and with a bounded number of
// Pods, and nothing is left when it is deleted.
#include "master/controllers/daemon_sets.h"
#include "master/controllers/stateful_sets.h"
#include "tests/sim/world.h"

namespace simulated {
namespace r = api::resources;
using master::controllers::kDaemonSets;
using master::controllers::kStatefulSets;

namespace {

const api::Resource kJobs{"batch", "v1", "jobs", "Job"};

json::object workload(const std::string& name, json::object spec, const std::string& image = "nginx:1") {
  spec["selector"] = json::object{{"matchLabels", {{"app", name}}}};
  spec["template"] = Cluster::pod_template(name, image);
  return {{"metadata", {{"name", name}}}, {"spec", std::move(spec)}};
}
void set_image(World& world, const api::Resource& kind, const std::string& name, const std::string& image) {
  world.cluster.merge(kind, "default", name,
                      json::object{{"spec", {{"template", Cluster::pod_template(name, image)}}}});
}
json::object rolling(int surge, int unavailable) {
  return {{"type", "RollingUpdate"},
          {"rollingUpdate", {{"maxSurge", surge}, {"maxUnavailable", unavailable}}}};
}
// Deletes it in the background: nothing that it made is left, in the API or on a node.
void expect_no_orphans(World& world, const api::Resource& kind, const std::string& name) {
  world.promise = nullptr;
  world.remove_dead_nodes();
  world.cluster.remove(kind, "default", name, json::object{{"propagationPolicy", "Background"}});
  auto gone = [&] {
    if (!world.cluster.list(r::replica_sets).empty()) return false;
    if (!world.cluster.list({"apps", "v1", "controllerrevisions", "ControllerRevision"}).empty())
      return false;
    return world.pods.empty() && world.running().empty();
  };
  EXPECT_TRUE(world.comes_to(gone, 300s)) << world.text();
}

}  // namespace

TEST(SimStories, ADeploymentRollsThroughCrashesAndKeepsItsPromise) {
  each_seed(12, [](uint64_t seed) {
    World world(seed, 5);
    const int replicas = 4 + static_cast<int>(seed % 5), surge = static_cast<int>(seed % 3),
              unavailable = surge == 0 ? 1 : static_cast<int>(seed % 2);
    world.cluster.create(
        r::deployments, "default",
        workload("web", {{"replicas", replicas}, {"strategy", rolling(surge, unavailable)}}));
    ASSERT_TRUE(world.comes_to([&] { return world.ready("web") == replicas; }, 60s)) << world.text();
    world.promise = [&]() -> std::string {
      if (world.ready("web") < replicas - unavailable)
        return fmt::format("{} available of {}, {} may be missing", world.ready("web"), replicas,
                           unavailable);
      // An answer that was lost is a Pod that nobody counted on; more than that is a storm.
      if (world.active("web") > replicas + surge + 2)
        return fmt::format("{} active of {}, {} may be surplus", world.active("web"), replicas, surge);
      return "";
    };
    set_image(world, r::deployments, "web", "nginx:2");
    world.endure(120s, {});
    ASSERT_TRUE(world.comes_to(
        [&] { return world.ready("web", "nginx:2") == replicas && world.active("web") == replicas; }, 300s))
        << world.text();
    EXPECT_LE(world.created("web"), 2 * replicas + 8) << "two versions, and what was lost";
    expect_no_orphans(world, r::deployments, "web");
  });
}

TEST(SimStories, ADeploymentRollsWhileNodesDie) {
  each_seed(8, [](uint64_t seed) {
    World world(seed, 8);
    const int replicas = 12;
    world.cluster.create(r::deployments, "default",
                         workload("web", {{"replicas", replicas}, {"strategy", rolling(2, 2)}}));
    ASSERT_TRUE(world.comes_to([&] { return world.ready("web") == replicas; }, 60s)) << world.text();
    world.promise = [&]() -> std::string {
      if (world.active("web") > replicas + 2 + 2) return fmt::format("{} active", world.active("web"));
      return "";
    };
    set_image(world, r::deployments, "web", "nginx:2");
    world.endure(600s, {.master_crashes = 5, .kubelet_crashes = 5, .partitions = 4, .power_losses = 2});
    // Pods of dead nodes are evicted after five minutes, and stay there, ending, until the node is removed.
    auto good = [&] {
      return world.ready("web", "nginx:2") == replicas && world.active("web") == replicas &&
             world.count("web", [&](const World::PodState& pod) {
               return pod.active() && world.is_dead(pod.node);
             }) == 0;
    };
    ASSERT_TRUE(world.comes_to(good, 600s)) << world.text();
    EXPECT_LE(world.created("web"), 5 * replicas) << "two versions, what nodes took along, and what was lost";
    expect_no_orphans(world, r::deployments, "web");
  });
}

TEST(SimStories, ADaemonSetHasOnePodANodeWhateverCrashes) {
  each_seed(8, [](uint64_t seed) {
    World world(seed, 6);
    world.cluster.create(
        kDaemonSets, "default",
        workload("agent", {{"updateStrategy",
                            {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxUnavailable", 1}}}}}}));
    world.promise = [&]() -> std::string {
      std::map<std::string, int> each;
      for (const auto& [uid, pod] : world.pods)
        if (pod.active() && !pod.node.empty() && ++each[pod.node] > 2) return pod.node + " has more than two";
      return "";
    };
    auto one_each = [&](const std::string& image) {
      std::set<std::string> nodes;
      for (const auto& [uid, pod] : world.pods)
        if (pod.active() && !world.is_dead(pod.node)) nodes.insert(pod.node);
      int living = 0;
      for (const auto& kubelet : world.kubelets) living += !world.is_dead(kubelet->name());
      return world.count("agent",
                         [&](const World::PodState& pod) {
                           return pod.active() && pod.ready && pod.image == image && !world.is_dead(pod.node);
                         }) == living &&
             static_cast<int>(nodes.size()) == living;
    };
    ASSERT_TRUE(world.comes_to([&] { return one_each("nginx:1"); }, 60s)) << world.text();
    set_image(world, kDaemonSets, "agent", "nginx:2");
    world.endure(
        300s, {.master_crashes = 4, .kubelet_crashes = 4, .partitions = 2, .power_losses = seed % 2 ? 1 : 0});
    world.remove_dead_nodes();  // whose Pods count as the one that may be unavailable
    ASSERT_TRUE(world.comes_to([&] { return one_each("nginx:2"); }, 600s)) << world.text();
    EXPECT_LE(world.created("agent"), 40);
    expect_no_orphans(world, kDaemonSets, "agent");
  });
}

// Of each name one Pod at most is on any node, whoever is cut off: that is what a StatefulSet is for.
TEST(SimStories, AStatefulSetNeverRunsTwoOfAName) {
  each_seed(10, [](uint64_t seed) {
    World world(seed, 5);
    const int replicas = 4;
    json::object spec{{"serviceName", "db"}, {"replicas", replicas}};
    if (seed % 2) spec["podManagementPolicy"] = "Parallel";
    world.cluster.create(kStatefulSets, "default", workload("db", std::move(spec)));
    world.promise = [&]() -> std::string {
      for (const auto& [name, count] : world.running())
        if (count > 1) return fmt::format("{} of {} run", count, name);
      return "";
    };
    ASSERT_TRUE(world.comes_to([&] { return world.ready("db") == replicas; }, 120s)) << world.text();
    set_image(world, kStatefulSets, "db", "nginx:2");
    world.endure(600s, {.master_crashes = 5, .kubelet_crashes = 5, .partitions = 4});
    ASSERT_TRUE(world.comes_to(
        [&] { return world.ready("db", "nginx:2") == replicas && world.active("db") == replicas; }, 900s))
        << world.text();
    EXPECT_LE(world.created("db"), 6 * replicas);
    expect_no_orphans(world, kStatefulSets, "db");
  });
}

// What the story above must not see is seen where somebody breaks the rule.
TEST(SimStories, TwoOfANameRunWhereAPodIsDeletedByForce) {
  World world(3, 3);
  world.cluster.create(kStatefulSets, "default", workload("db", {{"serviceName", "db"}, {"replicas", 1}}));
  ASSERT_TRUE(world.comes_to([&] { return world.ready("db") == 1; }, 120s)) << world.text();
  const std::string node = world.pods.begin()->second.node;
  world.cluster.merge(r::nodes, "", node, json::object{{"spec", {{"unschedulable", true}}}});
  world.cluster.network.cut(node);
  world.cluster.remove(r::pods, "default", "db-0", json::object{{"gracePeriodSeconds", 0}});
  EXPECT_TRUE(world.comes_to([&] { return world.running()["default/db-0"] == 2; }, 120s)) << world.text();
  world.cluster.network.mend(node);
  EXPECT_TRUE(world.comes_to([&] { return world.running()["default/db-0"] == 1; }, 120s)) << world.text();
}

TEST(SimStories, AJobEndsWithAsManySuccessesAsItWasAskedFor) {
  each_seed(10, [](uint64_t seed) {
    World world(seed, 4, {.longest_run = 20s, .failures = 0.1});
    const int completions = 10, parallelism = 3;
    json::object pod = Cluster::pod_template("work");
    pod["spec"].as_object()["restartPolicy"] = "Never";
    world.cluster.create(kJobs, "default",
                         json::object{{"metadata", {{"name", "work"}}},
                                      {"spec",
                                       {{"completions", completions},
                                        {"parallelism", parallelism},
                                        {"backoffLimit", 50},
                                        {"template", std::move(pod)}}}});
    world.promise = [&]() -> std::string {
      if (world.active("work") > parallelism + 2) return fmt::format("{} at a time", world.active("work"));
      return "";
    };
    world.endure(180s, {.master_crashes = 4, .kubelet_crashes = 3, .partitions = 1});
    auto complete = [&] {
      const json::object* job = world.cluster.get(kJobs, "default", "work");
      if (!job) return false;
      const json::value object(*job);
      for (const json::value& one : base::list_at(base::find_path(object, "status", "conditions")))
        if (base::string_at(one, "type") == "Complete" && base::string_at(one, "status") == "True")
          return true;
      return false;
    };
    ASSERT_TRUE(world.comes_to(complete, 900s)) << world.text();
    EXPECT_EQ(world.cluster.status(kJobs, "work", "succeeded"), completions);
    const int succeeded =
        world.count("work", [](const World::PodState& one) { return one.phase == "Succeeded"; });
    EXPECT_GE(succeeded, completions);
    EXPECT_LE(succeeded, completions + 3) << "more ran than was asked for";
    EXPECT_LE(world.created("work"), 4 * completions);
    expect_no_orphans(world, kJobs, "work");
  });
}

// Three hundred nodes, all controllers and the scheduler in one process: an update while one node in twenty
// dies.
TEST(SimStories, AFewHundredNodes) {
  each_seed(1, [](uint64_t seed) {
    constexpr int kNodes = 300, kReplicas = 600;
    World world(seed, kNodes);
    world.cluster.create(r::deployments, "default",
                         workload("web", {{"replicas", kReplicas}, {"strategy", rolling(60, 60)}}));
    world.cluster.create(kDaemonSets, "default", workload("agent", {}));
    ASSERT_TRUE(world.comes_to(
        [&] { return world.ready("web") == kReplicas && world.ready("agent") == kNodes; }, 300s));
    world.promise = [&]() -> std::string {
      if (world.active("web") > kReplicas + 60 + 10) return fmt::format("{} active", world.active("web"));
      return "";
    };
    set_image(world, r::deployments, "web", "nginx:2");
    world.endure(120s, {.lost = 0.01,
                        .slow = 0.01,
                        .broken = 0.0005,
                        .master_crashes = 1,
                        .kubelet_crashes = 10,
                        .partitions = 5,
                        .power_losses = kNodes / 20});
    auto good = [&] {
      return world.ready("web", "nginx:2") == kReplicas && world.active("web") == kReplicas;
    };
    ASSERT_TRUE(world.comes_to(good, 900s));
    EXPECT_LE(world.created("web"), 3 * kReplicas);
  });
}

// The same seed is the same story, to the last request.
TEST(SimStories, ASeedIsAStory) {
  auto tell = [](uint64_t seed) {
    World world(seed, 4);
    world.cluster.create(r::deployments, "default", workload("web", {{"replicas", 5}}));
    world.endure(60s, {});
    std::string out;
    for (const std::string& write : world.cluster.network.writes) out += write + "\n";
    return out + world.text();
  };
  const std::string once = tell(5);
  EXPECT_EQ(once, tell(5));
  EXPECT_NE(once, tell(6));
}

}  // namespace simulated
