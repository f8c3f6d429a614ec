// Properties of the plans over drawn states. The seed of a failure is printed; SAMPAN_SEED runs it alone.
#include "master/controllers/deployment_plan.h"
#include "master/controllers/endpoints_plan.h"
#include "master/controllers/replica_plan.h"
#include "tests/prop/draw.h"
#include "tests/unit/master/controllers_plan_text.h"

namespace master::controllers {
using namespace golden;

namespace {
using prop::Draw;
using prop::each_seed;
std::shared_ptr<const Pod> random_pod(Draw& draw, int i) {
  std::string line = fmt::format("p{} created={}", i, draw.upto(1000));
  if (!draw.chance(15)) line += " app=web";
  if (int owner = draw.upto(9); owner < 6) line += " owner=u1";
  else if (owner < 8) line += " owner=u2";
  line += std::vector<std::string>{" phase=Pending", " phase=Running", " phase=Running", " phase=Failed",
                                   " phase=Succeeded"}[static_cast<size_t>(draw.upto(4))];
  if (draw.chance(70)) line += fmt::format(" node=n{}", draw.upto(3));
  if (draw.chance(50)) line += fmt::format(" ready={}", draw.upto(100));
  if (draw.chance(15)) line += " deleting";
  if (draw.chance(80))
    line += fmt::format(" ip=10.0.{}.{} port=http:{}", i / 200, i % 200 + 1, 8080 + draw.upto(1));
  return pod(line);
}
}  // namespace

TEST(PropReplicas, ThePlanReachesTheCountAndTouchesOnlyItsOwn) {
  each_seed(3000, [](Draw& draw) {
    ReplicaOwner owner;
    owner.meta = {"default", "web", "u1", 1, 1, ago(5000), draw.chance(10)};
    owner.kind = "ReplicaSet";
    owner.selector = api::selector_of(Labels{{"app", "web"}});
    owner.replicas = draw.upto(20);
    std::map<std::string, std::shared_ptr<const Pod>> by_name;
    std::vector<std::shared_ptr<const Pod>> list;
    const int count = draw.upto(30);
    for (int i = 0; i < count; ++i) {
      list.push_back(random_pod(draw, i));
      by_name[list.back()->meta.name] = list.back();
    }
    ReplicaPlan plan = plan_replicas(owner, list, kNow);
    std::set<std::string> mine;
    for (const auto& p : list)
      if (p->active() && p->owner_uid == "u1" && owner.selector.matches(p->shape->labels))
        mine.insert(p->meta.name);
    for (const std::string& name : plan.adopt) {
      EXPECT_TRUE(by_name.at(name)->owner_uid.empty() && by_name.at(name)->active()) << name;
      mine.insert(name);
    }
    for (const std::string& name : plan.release) EXPECT_EQ(by_name.at(name)->owner_uid, "u1") << name;
    for (const std::string& name : plan.remove)
      EXPECT_EQ(mine.erase(name), 1u) << name << " is not ours, or deleted twice";
    EXPECT_TRUE(plan.create == 0 || plan.remove.empty());
    if (owner.meta.deleting) {
      EXPECT_TRUE(plan.create == 0 && plan.remove.empty() && plan.adopt.empty() && plan.release.empty());
    } else {
      EXPECT_EQ(static_cast<int>(mine.size()) + plan.create, owner.replicas) << plan.text();
    }
    // No kept Pod is clearly worse than a deleted one.
    for (const std::string& gone : plan.remove)
      for (const std::string& kept : mine) {
        const Pod &g = *by_name.at(gone), &k = *by_name.at(kept);
        EXPECT_FALSE(k.node.empty() && !g.node.empty()) << kept << " kept, " << gone << " deleted";
        if (k.node.empty() == g.node.empty() && k.phase == g.phase) {
          EXPECT_FALSE(!k.ready && g.ready) << kept << " kept, " << gone << " deleted";
        }
      }
  });
}

TEST(PropSlices, EveryEndpointOnceAndASecondRoundChangesNothing) {
  each_seed(150, [](Draw& draw) {
    Service service;
    service.meta = {"default", "web", "svc", 1, 1, ago(100), false};
    service.families = {"IPv4"};
    service.ports = {{"http", "TCP", "", "http", 80, 80}};
    std::map<std::string, std::shared_ptr<const Whole>> stored;
    int names = 0;
    std::vector<std::shared_ptr<const Pod>> list;
    for (int round = 0; round < 6; ++round) {
      if (draw.chance(30)) list.clear();
      const int more = draw.upto(250);
      for (int i = 0; i < more; ++i) list.push_back(random_pod(draw, round * 300 + i));
      std::shuffle(list.begin(), list.end(), draw.random);
      if (!list.empty()) list.resize(static_cast<size_t>(draw.upto(static_cast<int>(list.size()))));
      auto slices = [&] {
        std::vector<std::shared_ptr<const Whole>> out;
        for (const auto& [name, slice] : stored) out.push_back(slice);
        return out;
      };
      auto put = [&](json::object object, const std::string& name) {
        auto whole = std::make_shared<Whole>();
        base::object_at(object, "metadata")["name"] = name;
        whole->meta.name = name;
        whole->object = std::move(object);
        stored[name] = whole;
      };
      auto none = [](const std::string&) { return std::string(); };
      SlicePlan plan = plan_slices(service, list, slices(), none);
      for (const std::string& name : plan.remove) ASSERT_EQ(stored.erase(name), 1u);
      for (json::object& slice : plan.update) {
        std::string name(base::string_at(json::value(slice), "metadata", "name"));
        ASSERT_TRUE(stored.count(name));
        put(slice, name);
      }
      for (json::object& slice : plan.create) put(slice, "s" + std::to_string(names++));
      std::multiset<std::string> have, want;
      for (const auto& slice : slices()) {
        const json::array& endpoints = slice->object.at("endpoints").as_array();
        EXPECT_LE(endpoints.size(), kMaxEndpointsPerSlice);
        for (const json::value& e : endpoints)
          have.insert(fmt::format("{}:{}", base::as_string(&e.at("addresses").at(0)),
                                  slice->object.at("ports").at(0).at("port").as_int64()));
      }
      for (const auto& p : list)
        if (!p->finished() && !p->ips.empty())
          want.insert(fmt::format("{}:{}", p->ips[0], p->shape->ports[0].port));
      EXPECT_EQ(have, want);
      EXPECT_FALSE(stored.empty());
      EXPECT_EQ(plan_slices(service, list, slices(), none).text(), "");
    }
  });
}

// The plan against ReplicaSets that follow at their own pace; Pods get ready, or never do.
TEST(PropDeployments, RolloutsEndInsideTheirFences) {
  each_seed(1500, [](Draw& draw) {
    auto d = std::make_shared<Deployment>();
    d->meta = {"default", "web", "d1", 9, 1, ago(5000), false};
    d->selector = api::selector_of(Labels{{"app", "web"}});
    d->selector_json = base::parse_json(R"({"matchLabels":{"app":"web"}})").value();
    d->replicas = draw.upto(12);
    d->progress_deadline_seconds = 600;
    d->revision_history_limit = draw.upto(3);
    d->max_surge =
        draw.chance(50) ? json::value(draw.upto(4)) : json::value(fmt::format("{}%", draw.upto(100)));
    d->max_unavailable =
        draw.chance(50) ? json::value(draw.upto(4)) : json::value(fmt::format("{}%", draw.upto(100)));
    const Fences fences = resolve_fences(d->max_surge, d->max_unavailable, d->replicas);
    struct Set {
      std::shared_ptr<ReplicaOwner> rs;
      int pods = 0, ready = 0;
    };
    std::map<std::string, Set> sets;
    int made = 0;
    auto version = [&](int n) {
      d->pod_template =
          base::parse_json(fmt::format(R"({{"metadata":{{"labels":{{"app":"web"}}}},"spec":{{"v":{}}}}})", n))
              .value();
      ++d->meta.generation;
    };
    bool steady = false;  // whether the floor holds yet
    auto step = [&] {
      DeploymentView view{d, {}, {}};
      for (auto& [name, set] : sets) view.replica_sets.push_back(std::make_shared<ReplicaOwner>(*set.rs));
      DeploymentPlan plan = plan_deployment(view, kNow);
      if (plan.create) {
        const json::value created(*plan.create);
        auto rs = std::make_shared<ReplicaOwner>();
        rs->meta = {"default",
                    std::string(base::string_at(created, "metadata", "name")),
                    "uid" + std::to_string(made),
                    1,
                    1,
                    ago(1000 - made),
                    false};
        ++made;
        rs->controller = {"apps/v1", "Deployment", "web", "d1", true, true};
        rs->labels = read_labels(base::find_path(created, "metadata", "labels"));
        rs->pod_template = created.at("spec").at("template");
        rs->replicas = static_cast<int>(created.at("spec").at("replicas").as_int64());
        for (const auto& item : created.at("metadata").at("annotations").as_object())
          rs->annotations[std::string(item.key())] = base::as_string(&item.value());
        rs->status = json::object{{"replicas", 0}, {"observedGeneration", 1}};
        ASSERT_FALSE(sets.count(rs->meta.name));
        sets[rs->meta.name] = {rs, 0, 0};
      }
      for (const auto& change : plan.changes) {
        ReplicaOwner& rs = *sets.at(change.name).rs;
        ASSERT_GE(change.to, 0);
        rs.replicas = change.to;
        const json::value patch(change.patch);
        if (const json::value* annotations = base::find_path(patch, "metadata", "annotations"))
          for (const auto& item : annotations->as_object())
            rs.annotations[std::string(item.key())] = base::as_string(&item.value());
      }
      for (const std::string& name : plan.remove) {
        ASSERT_EQ(sets.at(name).pods, 0);
        sets.erase(name);
      }
      json::object status = plan.status;
      d->status = status;
      // One ReplicaSet moves: makes or ends Pods, some get ready, and it says so.
      if (!sets.empty()) {
        auto at = std::next(sets.begin(), draw.upto(static_cast<int>(sets.size()) - 1));
        Set& set = at->second;
        set.pods =
            std::min(set.rs->replicas, set.pods + (set.pods < set.rs->replicas ? 1 + draw.upto(3) : 0));
        set.ready = std::min(set.ready, set.pods);
        if (set.ready < set.pods && draw.chance(60)) ++set.ready;
        set.rs->status = json::object{{"replicas", set.pods},
                                      {"readyReplicas", set.ready},
                                      {"availableReplicas", set.ready},
                                      {"observedGeneration", 1}};
      }
      int pods = 0, ready = 0;
      for (auto& [name, set] : sets) pods += set.pods, ready += set.ready;
      EXPECT_LE(pods, d->replicas + fences.surge);
      if (steady) {
        EXPECT_GE(ready, d->replicas - std::min(fences.unavailable, d->replicas));
      }
    };
    auto settle = [&](int current) {
      for (int i = 0; i < 900; ++i) {
        step();
        int total = 0, good = 0;
        for (auto& [name, set] : sets) {
          total += set.pods;
          if (base::as_int(base::find_path(set.rs->pod_template, "spec", "v")) == current) good += set.ready;
        }
        if (total == d->replicas && good == d->replicas && i > 20) return true;
      }
      return false;
    };
    version(1);
    ASSERT_TRUE(settle(1));
    steady = true;
    version(2);
    if (draw.chance(50)) {  // changed his mind half-way
      for (int i = draw.upto(15); i > 0; --i) step();
      version(3);
      ASSERT_TRUE(settle(3));
    } else {
      ASSERT_TRUE(settle(2));
    }
    for (int i = 0; i < 30; ++i) step();
    EXPECT_LE(static_cast<int>(sets.size()), 1 + *d->revision_history_limit);
  });
}

}  // namespace master::controllers
