// StatefulSets lived through with Pods that fail or are deleted, acts that fail, views that lag, sizes,
// starts and templates that change: in the end exactly the Pods of its numbers, of the newest template; in
// order, none comes before those before it serve; an update never leaves more missing than promised.
#include "master/controllers/stateful_set_plan.h"

#include "tests/prop/master/set_world.h"

namespace master::controllers {
using prop::Draw;
using prop::each_seed;

namespace {

struct StatefulWorld : worlds::SetWorld {
  std::map<std::string, Claim> claims;

  StatefulWorld(Draw& drawn, const std::string& spec) : SetWorld(drawn) {
    object = base::parse_json(
                 R"({"metadata":{"namespace":"default","name":"s","uid":"u1","generation":0},"status":{},
      "spec":{"selector":{"matchLabels":{"app":"s"}},"revisionHistoryLimit":2,"serviceName":"x")" +
                 spec + "}}")
                 .value();
    set_template(1);
  }
  json::object& spec() { return object.get_object()["spec"].get_object(); }
  std::shared_ptr<const StatefulSet> set() const { return StatefulSet::reader(kStatefulSets)(object); }
  StatefulSetView view() {
    return {set(), seen_pods(), seen_revisions(), [this](const std::string& name) {
              auto at = claims.find(name);
              return at == claims.end() ? nullptr : std::make_shared<const Claim>(at->second);
            }};
  }
  StatefulSetPlan round() {
    const StatefulSetView seen_now = view();
    StatefulSetPlan plan = plan_stateful_set(seen_now, now);
    EXPECT_EQ(plan_stateful_set(view(), now).text(), plan.text()) << "the order of what is seen";
    if (!plan.revisions.settled()) {
      settle_revisions(plan.revisions);
      return plan;
    }
    check_order(*seen_now.set, plan);
    std::set<std::string> without_claim;
    for (const auto& claim : plan.claims) {
      if (fails()) without_claim.insert(claim.pod);
      else claims[claim.name].meta.name = claim.name;
    }
    bool failed = !without_claim.empty();
    for (const auto& one : plan.create) {
      if (fails()) failed = true;
      if (failed || without_claim.contains(one.name)) continue;
      if (pods.contains(one.name)) continue;  // AlreadyExists: the view was late
      create(one.body, one.name);
    }
    for (const std::string& name : plan.remove)
      if (!failed && !fails()) remove(name);
    for (const std::string& name : plan.forget)
      if (!fails()) revisions.erase(name);
    if (plan.status_changed && !fails()) write_status(plan.status);
    return plan;
  }
  void check_order(const StatefulSet& set, const StatefulSetPlan& plan) {
    if (set.parallel) return;
    EXPECT_LE(plan.create.size(), 1u);
    for (const auto& one : plan.create)
      for (int64_t before = set.start; before < set.ordinal_of(one.name); ++before) {
        auto at = seen.find(set.pod_name(before));
        EXPECT_TRUE(at != seen.end() && at->second.ready && !at->second.meta.deleting)
            << one.name << " comes before " << set.pod_name(before) << " serves";
      }
    int64_t beyond = 0, last = -1;
    for (const std::string& name : plan.remove)
      if (const int64_t ordinal = set.ordinal_of(name); !set.in_range(ordinal)) ++beyond, last = ordinal;
    EXPECT_LE(beyond, 1);
    for (const auto& [name, pod] : seen)
      EXPECT_TRUE(last < 0 || set.in_range(set.ordinal_of(name)) || set.ordinal_of(name) <= last) << name;
  }
  std::string newest() const {
    std::pair<int64_t, std::string> last;
    for (const auto& [name, revision] : revisions)
      last = std::max(last, {base::as_int(base::find(revision, "revision")), name});
    return last.second;
  }
  int missing() const {
    const auto now_set = set();
    int count = 0;
    for (int64_t i = now_set->start; now_set->in_range(i); ++i) {
      auto at = pods.find(now_set->pod_name(i));
      count += at == pods.end() || !at->second.ready || at->second.meta.deleting;
    }
    return count;
  }
  bool calm(int rounds) {
    faults = 0;
    for (int i = 0; i < rounds; ++i) {
      for (auto& [name, pod] : pods)
        if (pod.ready && pod.ready_since > now) pod.ready_since = now;
      see_all();
      const StatefulSetPlan plan = round();
      if (plan.revisions.settled() && plan.remove.empty() && plan.create.empty() && plan.claims.empty() &&
          plan.forget.empty() && !plan.status_changed && !plan.again && missing() == 0 &&
          static_cast<int64_t>(pods.size()) == set()->replicas)
        return true;
      live(false);
    }
    return false;
  }
};
std::string drawn_spec(Draw& draw, int replicas, bool parallel, int unavailable) {
  std::string spec = fmt::format(R"(,"replicas":{},"updateStrategy":{{"type":"RollingUpdate","rollingUpdate":
                                  {{"maxUnavailable":{}}}}})",
                                 replicas, unavailable);
  if (parallel) spec += R"(,"podManagementPolicy":"Parallel")";
  if (draw.chance(50)) spec += R"(,"volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{}}])";
  return spec;
}

}  // namespace

TEST(PropStatefulSets, SettleAfterAnyTrouble) {
  each_seed(100, [](Draw& draw) {
    StatefulWorld world(draw, drawn_spec(draw, draw.upto(6), draw.chance(50), 1 + draw.upto(2)));
    world.faults = draw.upto(40);
    for (int i = 0; i < 80; ++i) {
      world.round();
      world.live(true);
      if (draw.chance(5)) world.spec()["replicas"] = draw.upto(6);
      if (draw.chance(3)) world.spec()["ordinals"] = json::object{{"start", draw.upto(4)}};
      if (draw.chance(5)) world.set_template(1 + draw.upto(3));
      if (draw.chance(5) && !world.claims.empty()) world.claims.erase(world.claims.begin());
    }
    // A Pod in order whose template cannot work blocks its set, as in Kubernetes; here all come up in the
    // end.
    ASSERT_TRUE(world.calm(3000)) << plan_stateful_set(world.view(), world.now).text();
    const auto set = world.set();
    for (int64_t i = set->start; set->in_range(i); ++i) ASSERT_TRUE(world.pods.contains(set->pod_name(i)));
    for (const auto& [name, pod] : world.pods)
      EXPECT_EQ(label(pod.shape->labels, kRevisionHash), base::string_at(set->status, "updateRevision"));
    EXPECT_EQ(base::string_at(set->status, "currentRevision"),
              base::string_at(set->status, "updateRevision"));
    EXPECT_LE(world.revisions.size(), 4u);
  });
}

TEST(PropStatefulSets, AnUpdateKeepsItsPromise) {
  each_seed(100, [](Draw& draw) {
    const int replicas = 1 + draw.upto(5), allowed = 1 + draw.upto(2);
    StatefulWorld world(draw, drawn_spec(draw, replicas, draw.chance(50), allowed));
    ASSERT_TRUE(world.calm(500));
    world.set_template(2);
    world.faults = draw.upto(30);
    for (int i = 0; i < 200; ++i) {
      const auto before = world.pods;
      const StatefulSetPlan plan = world.round();
      for (const std::string& name : plan.remove)
        if (auto at = before.find(name); at != before.end() && at->second.ready) {
          EXPECT_NE(label(at->second.shape->labels, kRevisionHash), world.newest());
        }
      ASSERT_LE(world.missing(), allowed);
      world.live(false);
    }
    ASSERT_TRUE(world.calm(500));
  });
}

}  // namespace master::controllers
