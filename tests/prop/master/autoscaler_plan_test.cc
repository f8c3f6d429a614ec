// An autoscaler lived through: load that jumps, Pods that are not measured, sources that fail, clocks that
// jump. It stays between its bounds, never grows faster than its policies, and settles where the load asks
// for it.
#include "master/controllers/autoscaler_plan.h"

#include "tests/prop/draw.h"
#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;
using prop::Draw;
using prop::each_seed;

namespace {

struct ScaledWorld {
  Draw& draw;
  Autoscaler autoscaler;
  base::Time now = kNow;
  int replicas;
  ScalingMemory memory;

  explicit ScaledWorld(Draw& drawn) : draw(drawn) {
    autoscaler.min_replicas = 1 + draw.upto(3);
    autoscaler.max_replicas = autoscaler.min_replicas + draw.upto(20);
    autoscaler.has_behavior = draw.chance(50);
    autoscaler.up.policies = {{false, 1 + draw.upto(5), 15 + draw.upto(60)}};
    autoscaler.down.policies = {{true, 10 + draw.upto(90), 15 + draw.upto(60)}};
    autoscaler.up.window_seconds = autoscaler.has_behavior ? draw.upto(60) : 0;
    autoscaler.down.window_seconds = autoscaler.has_behavior ? draw.upto(120) : 300;
    MetricSpec spec;
    spec.name = "cpu";
    spec.value = 50;
    autoscaler.metrics = {spec};
    replicas = draw.upto(30);
  }
  // One round under a load that `load` Pods would carry at the target.
  AutoscalerPlan round(int load, bool calm) {
    AutoscalerSeen seen;
    seen.scale = {replicas, replicas, "app=web"};
    seen.metrics.emplace_back();
    if (!calm && draw.chance(10)) seen.metrics[0].error = "away";
    for (int i = 0; i < replicas; ++i) {
      ScaledPod pod;
      pod.name = "p" + std::to_string(i);
      pod.phase = "Running";
      pod.ready = calm || draw.chance(90);
      pod.started = now - std::chrono::seconds(calm ? 3600 : draw.upto(1000));
      pod.ready_since = now - std::chrono::seconds(draw.upto(900));
      pod.containers.push_back({"c", {{"cpu", 1000}}});
      if (calm || draw.chance(90))
        seen.metrics[0].pods[pod.name] = {load * 500 / std::max(replicas, 1), now, {}};
      seen.pods.push_back(std::move(pod));
    }
    if (!calm && draw.chance(50)) std::reverse(seen.pods.begin(), seen.pods.end());
    AutoscalerPlan plan = plan_autoscaler(autoscaler, seen, memory, now);
    memory = plan.memory;
    return plan;
  }
  void act(const AutoscalerPlan& plan) {
    if (!plan.scale_to) return;
    remember_change(autoscaler, replicas, *plan.scale_to, memory, now);
    replicas = *plan.scale_to;
  }
};

}  // namespace

TEST(PropAutoscaler, StaysWithinItsBoundsAndSettles) {
  each_seed(300, [](Draw& draw) {
    ScaledWorld world(draw);
    for (int i = 0; i < 60; ++i) {
      world.now += std::chrono::seconds(draw.chance(5) ? draw.upto(4000) : 15);
      if (draw.chance(3)) world.now -= std::chrono::seconds(draw.upto(600));
      const int before = world.replicas;
      const AutoscalerPlan plan = world.round(draw.upto(30), false);
      if (plan.scale_to) {
        EXPECT_GE(*plan.scale_to, std::min(before, world.autoscaler.min_replicas));
        EXPECT_LE(*plan.scale_to, world.autoscaler.max_replicas);
        EXPECT_FALSE(plan.reason.empty());
        const bool in_bounds =
            before >= world.autoscaler.min_replicas && before <= world.autoscaler.max_replicas;
        if (in_bounds && world.autoscaler.has_behavior && *plan.scale_to > before) {
          int64_t most =
              world.autoscaler.up.policies[0].value;  // beyond what there was when the period began
          for (const ScalingMemory::Entry& entry : plan.memory.removed) most += entry.count;
          EXPECT_LE(*plan.scale_to - before, most);
        }
        if (in_bounds && !world.autoscaler.has_behavior) {
          EXPECT_LE(*plan.scale_to, std::max(4, 2 * before));
        }
      }
      if (draw.chance(90)) world.act(plan);  // else somebody else wrote first
    }
    // The load holds still: it comes to rest near it and changes nothing more.
    const int load = draw.upto(30);
    if (world.replicas == 0) world.replicas = 1;
    for (int i = 0; i < 400; ++i) {
      world.now += std::chrono::seconds(15);
      world.act(world.round(load, true));
    }
    const int rest = world.replicas;
    for (int i = 0; i < 20; ++i) {
      world.now += std::chrono::seconds(15);
      const AutoscalerPlan plan = world.round(load, true);
      EXPECT_FALSE(plan.scale_to) << "flaps from " << world.replicas << " to " << plan.scale_to.value_or(0);
      world.act(plan);
    }
    const int wanted = std::clamp(load, world.autoscaler.min_replicas, world.autoscaler.max_replicas);
    EXPECT_NEAR(rest, wanted, 1 + wanted / 5);
  });
}

TEST(PropAutoscaler, TheOrderOfWhatItSeesIsNoMatter) {
  each_seed(200, [](Draw& draw) {
    ScaledWorld one(draw);
    if (one.replicas == 0) return;
    AutoscalerSeen seen;
    seen.scale = {one.replicas, one.replicas, "app=web"};
    seen.metrics.emplace_back();
    for (int i = 0; i < one.replicas; ++i) {
      ScaledPod pod;
      pod.name = "p" + std::to_string(i);
      pod.phase = draw.chance(80) ? "Running" : "Pending";
      pod.ready = draw.chance(80);
      pod.started = one.now - std::chrono::seconds(draw.upto(1000));
      pod.deleting = draw.chance(10);
      pod.containers.push_back({"c", {{"cpu", 100 + draw.upto(900)}}});
      if (draw.chance(80)) seen.metrics[0].pods[pod.name] = {draw.upto(2000), one.now, {}};
      seen.pods.push_back(std::move(pod));
    }
    const std::string first = plan_autoscaler(one.autoscaler, seen, {}, one.now).text();
    std::shuffle(seen.pods.begin(), seen.pods.end(), draw.random);
    EXPECT_EQ(plan_autoscaler(one.autoscaler, seen, {}, one.now).text(), first);
  });
}

}  // namespace master::controllers
