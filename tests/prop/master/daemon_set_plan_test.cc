// DaemonSets lived through with nodes that come, go and are tainted, Pods that fail, acts that fail and views
// that lag: in the end one Pod of the newest template on each node that should have one; during an update
// never fewer nodes served than promised, and nothing goes that serves and is wanted.
#include "master/controllers/daemon_set_plan.h"

#include "tests/prop/master/set_world.h"

namespace master::controllers {
using prop::Draw;
using prop::each_seed;

namespace {

struct DaemonWorld : worlds::SetWorld {
  std::map<std::string, Node> nodes;
  FailedDaemons failed;

  DaemonWorld(Draw& drawn, const std::string& strategy, int count) : SetWorld(drawn) {
    object = base::parse_json(
                 R"({"metadata":{"namespace":"default","name":"s","uid":"u1","generation":0},"status":{},
      "spec":{"selector":{"matchLabels":{"app":"s"}},"revisionHistoryLimit":2,"updateStrategy":{"type":"RollingUpdate",
      "rollingUpdate":)" +
                 strategy + "}}}")
                 .value();
    set_template(1);
    for (int i = 0; i < count; ++i) nodes[fmt::format("n{}", i)].meta.name = fmt::format("n{}", i);
  }
  std::shared_ptr<const DaemonSet> set() const { return DaemonSet::reader(kDaemonSets)(object); }
  DaemonSetView view() {
    DaemonSetView view{set(), {}, seen_pods(), seen_revisions(), failed};
    for (const auto& [name, node] : nodes) view.nodes.push_back(std::make_shared<Node>(node));
    std::shuffle(view.nodes.begin(), view.nodes.end(), draw.random);
    return view;
  }
  DaemonSetPlan round() {
    const DaemonSetView seen_now = view();
    DaemonSetPlan plan = plan_daemon_set(seen_now, now);
    EXPECT_EQ(plan_daemon_set(view(), now).text(), plan.text()) << "the order of what is seen";
    if (!plan.revisions.settled()) {
      settle_revisions(plan.revisions);
      return plan;
    }
    for (const std::string& node : plan.failed)
      note_failed_daemon(failed, node, base::as_int(base::find(seen_now.set->status, "observedGeneration")),
                         now);
    for (const std::string& name : plan.remove)
      if (!fails()) remove(name);
    for (const std::string& node : plan.create) {
      if (fails()) break;
      const std::string name = fmt::format("p{}", born);
      create(pod_of_daemon_set(*seen_now.set, node, plan.hash), name);
      pods.at(name).named_node = node;
      see(name);
    }
    for (const std::string& name : plan.forget)
      if (!fails()) revisions.erase(name);
    if (plan.status_changed && !fails()) write_status(plan.status);
    return plan;
  }
  void bind() {  // the scheduler
    for (auto& [name, pod] : pods)
      if (pod.node.empty() && nodes.contains(pod.named_node) && draw.chance(70)) pod.node = pod.named_node;
    // Pods of nodes that are gone are collected.
    std::erase_if(pods, [&](const auto& item) {
      return !item.second.node.empty() && !nodes.contains(item.second.node) && draw.chance(50);
    });
  }
  void live_on(bool trouble) {
    live(trouble);
    bind();
    if (!trouble) return;
    const std::string name = fmt::format("n{}", draw.upto(7));
    if (draw.chance(5)) nodes.erase(name);
    else if (draw.chance(5)) nodes[name].meta.name = name;
    if (auto at = nodes.find(name); at != nodes.end() && draw.chance(10)) {
      at->second.taints.clear();
      if (draw.chance(50)) at->second.taints = {{"a", "", draw.chance(50) ? "NoSchedule" : "NoExecute", ""}};
    }
    if (draw.chance(5)) set_template(1 + draw.upto(3));
  }
  // Nodes that should have a Pod and have none that serves.
  int without() const {
    std::map<std::string, bool> served;
    for (const auto& [name, node] : nodes)
      if (placement(*set(), node).start) served[name] = false;
    for (const auto& [name, pod] : pods)
      if (auto at = served.find(pod.node); at != served.end() && pod.ready && !pod.meta.deleting)
        at->second = true;
    return static_cast<int>(
        std::count_if(served.begin(), served.end(), [](const auto& one) { return !one.second; }));
  }
  bool calm(int rounds) {
    faults = 0;
    for (int i = 0; i < rounds; ++i) {
      for (auto& [name, pod] : pods)  // a clock that went back no longer makes any wait
        if (pod.ready && pod.ready_since > now) pod.ready_since = now;
      see_all();
      const DaemonSetPlan plan = round();
      const bool all_serve = std::all_of(pods.begin(), pods.end(), [](const auto& one) {
        return one.second.ready && !one.second.meta.deleting;
      });
      if (all_serve && plan.revisions.settled() && plan.remove.empty() && plan.create.empty() &&
          !plan.status_changed && plan.forget.empty() && without() == 0 && !plan.again)
        return true;
      live_on(false);
    }
    return false;
  }
};

const char* kStrategies[] = {
    R"({"maxUnavailable":1,"maxSurge":0})", R"({"maxUnavailable":"50%","maxSurge":0})",
    R"({"maxUnavailable":0,"maxSurge":1})", R"({"maxUnavailable":0,"maxSurge":"100%"})"};

}  // namespace

TEST(PropDaemonSets, SettleAfterAnyTrouble) {
  each_seed(150, [](Draw& draw) {
    const int strategy = draw.upto(3);
    DaemonWorld world(draw, kStrategies[strategy], draw.upto(6));
    world.faults = draw.upto(40);
    const size_t most = strategy < 2 ? 1 : 2;
    for (int i = 0; i < 100; ++i) {
      world.round();
      world.live_on(true);
      std::map<std::string, size_t> running;
      for (const auto& [name, pod] : world.pods)
        if (!pod.meta.deleting && !pod.finished()) ++running[pod.node.empty() ? pod.named_node : pod.node];
      for (const auto& [node, count] : running) ASSERT_LE(count, most) << "a storm of Pods on " << node;
    }
    ASSERT_TRUE(world.calm(1500)) << plan_daemon_set(world.view(), world.now).text();
    std::map<std::string, int> on;
    const std::string hash = plan_daemon_set(world.view(), world.now).hash;
    for (const auto& [name, pod] : world.pods) {
      ++on[pod.node];
      ASSERT_TRUE(world.nodes.contains(pod.node));
      // Where it may stay but not be started, an old one may be kept.
      EXPECT_TRUE(!placement(*world.set(), world.nodes.at(pod.node)).start ||
                  label(pod.shape->labels, kRevisionHash) == hash)
          << name;
    }
    for (const auto& [name, node] : world.nodes)
      EXPECT_TRUE(!placement(*world.set(), node).start || on[name] == 1) << name;
    EXPECT_LE(world.revisions.size(), 3u);
  });
}

TEST(PropDaemonSets, AnUpdateKeepsItsPromise) {
  each_seed(150, [](Draw& draw) {
    const int strategy = draw.upto(3), count = 1 + draw.upto(6);
    DaemonWorld world(draw, kStrategies[strategy], count);
    ASSERT_TRUE(world.calm(500));
    world.set_template(2);
    world.faults = draw.upto(30);
    const int allowed = strategy == 0 ? 1 : strategy == 1 ? (count + 1) / 2 : 0;
    for (int i = 0; i < 200; ++i) {
      const auto before = world.pods;
      const DaemonSetPlan plan = world.round();
      for (const std::string& name : plan.remove)
        if (auto at = before.find(name); at != before.end() && at->second.ready) {
          EXPECT_NE(label(at->second.shape->labels, kRevisionHash), plan.hash)
              << "a new Pod that serves is taken away";
        }
      ASSERT_LE(world.without(), allowed);
      world.live_on(false);
    }
    ASSERT_TRUE(world.calm(500));
  });
}

}  // namespace master::controllers
