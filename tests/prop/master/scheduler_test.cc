// The scheduler's picture over random changes: its counts equal fresh ones and those of a plain walk, the
// order in which things came makes no difference, no Pod is placed where a rule refuses, and preemption sends
// away only who is less important, and only where that helps.
#include <algorithm>
#include <sstream>

#include "master/scheduler/preemption_plan.h"
#include "tests/prop/draw.h"

namespace master::scheduler {
namespace {

using prop::Draw;

const char* pick(Draw& draw, std::vector<const char*> from) {
  return from[static_cast<size_t>(draw.upto(static_cast<int>(from.size()) - 1))];
}
Node random_node(Draw& draw, int number) {
  Node node;
  node.name = fmt::format("n{}", number);
  node.labels["kubernetes.io/hostname"] = node.name;
  if (draw.chance(85)) node.labels["topology.kubernetes.io/zone"] = pick(draw, {"za", "zb", "zc"});
  if (draw.chance(50)) node.labels["disk"] = pick(draw, {"ssd", "hdd"});
  if (draw.chance(15)) node.taints.push_back({"k", "v", pick(draw, {"NoSchedule", "PreferNoSchedule"}), ""});
  node.unschedulable = draw.chance(5);
  node.allocatable.cpu_milli = 1000 * (1 + draw.upto(3));
  node.allocatable.memory = 8 << 20;
  node.max_pods = 3 + draw.upto(5);
  return node;
}
Selector selector(const char* text) { return api::parse_selector(text).value(); }
PodTerm random_term(Draw& draw, const std::string& ns) {
  PodTerm term;
  term.pods = selector(pick(draw, {"app=a", "app=b", "app in (a,c)", "!tier", "tier=x,app=c"}));
  if (draw.chance(70)) term.namespaces = {ns};
  else if (draw.chance(50)) term.namespaces = {"s", "t"};
  else term.namespace_selector = selector(pick(draw, {"team=red", ""}));
  term.topology_key = pick(draw, {"kubernetes.io/hostname", "topology.kubernetes.io/zone", "disk"});
  return term;
}
Ask random_ask(Draw& draw, int serial) {
  Ask ask;
  ask.ns = pick(draw, {"s", "t", "u"});
  ask.labels["app"] = pick(draw, {"a", "b", "c"});
  if (draw.chance(40)) ask.labels["tier"] = pick(draw, {"x", "y"});
  if (serial >= 0) ask.labels["serial"] = std::to_string(serial);
  ask.requests.cpu_milli = 100 * draw.upto(12);
  ask.score_requests = ask.requests;
  ask.priority = draw.upto(3);
  if (draw.chance(25)) ask.owner_uid = pick(draw, {"o1", "o2"});
  if (draw.chance(15)) ask.nodes.selector["disk"] = "ssd";
  if (draw.chance(30)) ask.tolerations.push_back({"k", "Exists", "", "", {}});
  if (draw.chance(10)) ask.host_ports.push_back({"", "TCP", 80 + draw.upto(1)});
  auto terms = [&](int percent, std::vector<PodTerm>& list, int weight) {
    while (draw.chance(percent)) list.push_back(random_term(draw, ask.ns)), list.back().weight = weight;
  };
  terms(12, ask.affinity, 0), terms(15, ask.anti_affinity, 0);
  terms(15, ask.preferred_affinity, 5), terms(15, ask.preferred_anti_affinity, 7);
  while (draw.chance(30)) {
    SpreadConstraint one;
    one.pods = selector(pick(draw, {"app=a", "app=b", "app"}));
    one.topology_key = pick(draw, {"kubernetes.io/hostname", "topology.kubernetes.io/zone"});
    one.max_skew = 1 + draw.upto(2);
    one.min_domains = 1 + draw.upto(3);
    one.hard = draw.chance(60);
    one.honour_affinity = draw.chance(70);
    one.honour_taints = draw.chance(40);
    ask.spread.push_back(one);
  }
  return ask;
}

// Everything that was told, from which a picture can be made again.
struct World {
  std::map<std::string, Node> nodes;
  std::map<std::string, Placed> pods;
  std::map<std::string, Labels> namespaces;
  std::map<std::string, Nominated> nominated;
  std::map<std::string, Budget> budgets;

  void tell(Picture& picture, Draw& draw) const {
    std::vector<std::function<void()>> all;
    for (const auto& [name, node] : nodes) all.push_back([&, &node = node] { picture.set_node(node); });
    for (const auto& [key, pod] : pods)
      all.push_back([&, &key = key, &pod = pod] { picture.place(key, pod); });
    for (const auto& [name, labels] : namespaces)
      all.push_back([&, &name = name, &labels = labels] { picture.set_namespace(name, labels); });
    for (const auto& [key, one] : nominated)
      all.push_back([&, &key = key, &one = one] { picture.nominate(key, one); });
    for (const auto& [key, one] : budgets)
      all.push_back([&, &key = key, &one = one] { picture.set_budget(key, one); });
    std::shuffle(all.begin(), all.end(), draw.random);
    for (auto& one : all) one();
  }
};

void change(Draw& draw, World& world, Picture& picture, int serial) {
  const int what = draw.upto(99);
  const std::string pod = fmt::format("{}/p{}", pick(draw, {"s", "t", "u"}), draw.upto(25));
  if (what < 15) {
    Node node = random_node(draw, draw.upto(7));
    world.nodes[node.name] = node;
    picture.set_node(node);
  } else if (what < 20) {
    const std::string name = fmt::format("n{}", draw.upto(7));
    world.nodes.erase(name);
    picture.remove_node(name);
  } else if (what < 65) {
    Placed placed;
    auto known = world.pods.find(pod);
    if (known != world.pods.end() && draw.chance(40)) {
      placed = known->second;
      placed.terminating = true;
    } else {
      Ask ask = random_ask(draw, serial);
      ask.ns = pod.substr(0, 1);
      placed.ask = picture.share(ask);
      placed.node = fmt::format("n{}", draw.upto(8));
      placed.uid = "u" + pod;
      placed.started = base::Time(std::chrono::seconds(draw.upto(100)));
    }
    world.pods[pod] = placed;
    picture.place(pod, placed);
  } else if (what < 85) {
    world.pods.erase(pod);
    picture.remove(pod);
  } else if (what < 91) {
    const std::string ns = pick(draw, {"s", "t", "u"});
    Labels labels;
    if (draw.chance(60)) labels["team"] = pick(draw, {"red", "blue"});
    world.namespaces[ns] = labels;
    picture.set_namespace(ns, labels);
  } else if (what < 95) {
    const std::string key = fmt::format("s/w{}", draw.upto(1));
    if (draw.chance(50)) {
      world.nominated[key] = {picture.share(random_ask(draw, -1)), fmt::format("n{}", draw.upto(7))};
      picture.nominate(key, world.nominated[key]);
    } else {
      world.nominated.erase(key);
      picture.denominate(key);
    }
  } else {
    Budget budget{pick(draw, {"s", "t"}), selector(pick(draw, {"app=a", "app=b"})), draw.upto(1), {}};
    world.budgets["b"] = budget;
    picture.set_budget("b", budget);
  }
}

std::set<std::string> lines_of(const std::string& text) {
  std::set<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.insert(line);
  return out;
}

// What the index says of one Ask beside a walk over all Pods and nodes.
void check_by_walk(const World& world, const Picture& picture, const Ask& ask) {
  auto in_namespace = [&](const PodTerm& term, const std::string& ns) {
    auto labels = world.namespaces.find(ns);
    return term.namespaces.count(ns) ||
           (term.namespace_selector &&
            term.namespace_selector->matches(labels == world.namespaces.end() ? Labels{} : labels->second));
  };
  auto selects = [&](const PodTerm& term, const Ask& pod) {
    return in_namespace(term, pod.ns) && term.pods.matches(pod.labels);
  };
  const Asked& asked = picture.index().asked(ask);
  auto count = [](const Asked::Count& counted, const std::string& value) {
    auto number = counted.domain->region->topology->numbers.find(value);
    return number == counted.domain->region->topology->numbers.end() ? 0
                                                                     : counted.domain->count(number->second);
  };
  auto by_value = [&](const std::string& key, auto&& counts) {
    std::map<std::string, int> out;
    for (const auto& [pod_key, pod] : world.pods)
      if (auto node = world.nodes.find(pod.node); node != world.nodes.end() && counts(pod, node->second))
        if (const std::string* value = node->second.label(key)) ++out[*value];
    return out;
  };
  for (size_t i = 0; i < ask.anti_affinity.size(); ++i)
    for (const auto& [value, pods] :
         by_value(ask.anti_affinity[i].topology_key,
                  [&](const Placed&pod, const Node&) { return selects(ask.anti_affinity[i], *pod.ask); }))
      EXPECT_EQ(count(asked.anti_affinity[i], value), pods)
          << ask.anti_affinity[i].pods.text() << " " << value;
  for (size_t i = 0; i < ask.affinity.size(); ++i)
    for (const auto& [value, pods] :
         by_value(ask.affinity[i].topology_key, [&](const Placed&pod, const Node&) {
           return std::all_of(ask.affinity.begin(), ask.affinity.end(),
                              [&](const PodTerm& term) { return selects(term, *pod.ask); });
         }))
      EXPECT_EQ(count(asked.affinity[i], value), pods) << value;
  for (size_t i = 0; i < ask.spread.size(); ++i) {
    const SpreadConstraint& one = ask.spread[i];
    auto eligible = [&](const Node& node) {
      for (const SpreadConstraint& other : ask.spread)
        if (other.hard == one.hard && !node.label(other.topology_key)) return false;
      if (one.honour_affinity && !ask.nodes.admits(node.labels, node.name)) return false;
      if (one.honour_taints)
        for (const Taint& taint : node.taints)
          if (taint.effect == "NoSchedule" && !ask.tolerates(taint)) return false;
      return true;
    };
    auto pods = by_value(one.topology_key, [&](const Placed& pod, const Node& node) {
      return eligible(node) && !pod.terminating && pod.ask->ns == ask.ns && one.pods.matches(pod.ask->labels);
    });
    for (const auto& [name, node] : world.nodes)
      if (eligible(node)) pods.try_emplace(*node.label(one.topology_key), 0);
    int least = pods.empty() || static_cast<int>(pods.size()) < one.min_domains ? 0 : INT32_MAX;
    for (const auto& [value, number] : pods) {
      least = std::min(least, number);
      EXPECT_EQ(count(asked.spread[i], value), number) << one.topology_key << " " << value;
    }
    EXPECT_EQ(asked.spread[i].domain->least(one.min_domains), least) << one.topology_key;
  }
  std::map<std::tuple<int, std::string, std::string>, int> held, indexed;
  for (const auto& [key, pod] : world.pods) {
    auto node = world.nodes.find(pod.node);
    if (node == world.nodes.end()) continue;
    auto add = [&](Held::About about, const std::vector<PodTerm>& terms) {
      for (const PodTerm& term : terms)
        if (const std::string* value = node->second.label(term.topology_key); value && selects(term, ask))
          ++held[{static_cast<int>(about), term.topology_key, *value}];
    };
    add(Held::About::kApart, pod.ask->anti_affinity), add(Held::About::kTogether, pod.ask->affinity);
    add(Held::About::kRatherTogether, pod.ask->preferred_affinity);
    add(Held::About::kRatherApart, pod.ask->preferred_anti_affinity);
  }
  for (const Held* one : picture.index().held_about(ask))
    for (const auto& [value, number] : one->topology->numbers)
      if (auto at = one->counts.find(number); at != one->counts.end())
        indexed[{static_cast<int>(one->about), one->topology->key, value}] += at->second;
  EXPECT_EQ(indexed, held);
}

TEST(SchedulerProperty, CountsEqualFreshOnesAndTheOrderOfThingsIsNone) {
  prop::each_seed(60, [](Draw& draw) {
    World world;
    Picture picture;
    std::vector<Ask> asks;
    for (int i = 0; i < 6; ++i) asks.push_back(random_ask(draw, -1));
    for (int step = 0; step < 120; ++step) {
      change(draw, world, picture, -1);
      // Sets are asked for at any time, before and after the Pods that they count.
      if (draw.chance(20)) picture.index().asked(asks[static_cast<size_t>(draw.upto(5))]);
    }
    for (const Ask& ask : asks) picture.index().asked(ask);
    Picture fresh, other;
    world.tell(fresh, draw);
    std::shuffle(asks.begin(), asks.end(), draw.random);
    for (const Ask& ask : asks) fresh.index().asked(ask), other.index().asked(ask);
    world.tell(other, draw);  // here all sets are there before any Pod is
    EXPECT_EQ(picture.index().text(), fresh.index().text());
    EXPECT_EQ(other.index().text(), fresh.index().text());
    for (const Ask& ask : asks) check_by_walk(world, picture, ask);
    for (const Ask& ask : asks) {
      const Choice a = choose(ask, "s/x", picture, {}, 3, 5), b = choose(ask, "s/x", fresh, {}, 3, 5);
      EXPECT_EQ(a.node, b.node);
      EXPECT_EQ(a.message, b.message);
      EXPECT_EQ(text(plan_preemption(ask, "s/x", picture, {}, a)),
                text(plan_preemption(ask, "s/x", fresh, {}, b)));
    }
  });
}

TEST(SchedulerProperty, WhatNobodyAsksForIsForgotten) {
  prop::each_seed(2, [](Draw& draw) {
    World world;
    Picture picture;
    for (int step = 0; step < 6000; ++step) {
      change(draw, world, picture, step);
      if (step % 7 == 0) picture.index().asked(random_ask(draw, step));
    }
    EXPECT_LT(picture.index().kinds(), 2100u);
    Picture fresh;
    world.tell(fresh, draw);
    for (const auto& [key, pod] : world.pods) picture.index().asked(*pod.ask), fresh.index().asked(*pod.ask);
    const auto all = lines_of(picture.index().text());
    for (const std::string& line : lines_of(fresh.index().text())) EXPECT_TRUE(all.count(line)) << line;
    for (const auto& [key, pod] : world.pods) check_by_walk(world, picture, *pod.ask);
  });
}

TEST(SchedulerProperty, NoPodIsPlacedWhereARuleRefuses) {
  prop::each_seed(60, [](Draw& draw) {
    World world;
    Picture picture;
    for (int step = 0; step < 80; ++step) change(draw, world, picture, -1);
    for (int i = 0; i < 15; ++i) {
      const auto ask = picture.share(random_ask(draw, -1));
      const Choice choice = choose(*ask, "s/x", picture, {}, static_cast<size_t>(draw.upto(7)), 1);
      // What a picture without any history says of each node.
      Picture fresh;
      world.tell(fresh, draw);
      const Profile profile;
      const Question question{*ask, fresh, profile};
      const Filters filters(question, "s/x");
      for (const auto& [name, node] : fresh.nodes()) {
        const bool refused = static_cast<bool>(filters.refuses(node));
        if (choice.node.empty() || choice.node == name) {
          EXPECT_EQ(refused, choice.node.empty()) << name;
        }
      }
      if (choice.node.empty()) continue;
      const Node& node = *picture.node(choice.node);
      EXPECT_LE(node.used.cpu_milli + ask->requests.cpu_milli,
                std::max(node.allocatable.cpu_milli, ask->requests.cpu_milli ? 0 : INT64_MAX));
      Placed placed;
      placed.ask = ask;
      placed.node = choice.node;
      const std::string key = fmt::format("{}/new{}", ask->ns, i);
      picture.place(key, placed);
      world.pods[key] = placed;
    }
  });
}

TEST(SchedulerProperty, PreemptionSparesEqualsAndHelps) {
  int preempted = 0;
  prop::each_seed(150, [&preempted](Draw& draw) {
    World world;
    Picture picture;
    for (int step = 0; step < 100; ++step) change(draw, world, picture, -1);
    for (int i = 0; i < 6; ++i) {
      Ask wanted = random_ask(draw, -1);
      wanted.requests.cpu_milli += 1500;
      const auto ask = picture.share(wanted);
      const Choice choice = choose(*ask, "s/x", picture, {});
      if (!choice.node.empty()) continue;
      const Preemption plan = plan_preemption(*ask, "s/x", picture, {}, choice);
      EXPECT_EQ(plan.node.empty(), plan.victims.empty());
      if (plan.node.empty()) continue;
      ++preempted;
      Picture after;
      world.tell(after, draw);
      for (const auto& victim : plan.victims) {
        EXPECT_LT(world.pods.at(victim.pod).ask->priority, ask->priority) << victim.pod;
        EXPECT_EQ(world.pods.at(victim.pod).node, plan.node);
      }
      const Profile profile;
      auto fits = [&] {
        const Question question{*ask, after, profile};
        return !Filters(question, "s/x").refuses(*after.node(plan.node));
      };
      for (const auto& victim : plan.victims) {
        EXPECT_FALSE(fits()) << "without all of its victims";
        after.remove(victim.pod);
      }
      EXPECT_TRUE(fits()) << text(plan);
    }
  });
  EXPECT_GT(preempted, 20);
}

}  // namespace
}  // namespace master::scheduler
