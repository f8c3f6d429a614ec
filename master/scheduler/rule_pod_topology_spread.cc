// PodTopologySpread: no value of a topology far ahead of the emptiest (DoNotSchedule), and the emptier the
// better (ScheduleAnyway; Pods of a controller without constraints by kube-scheduler's own: hosts 3, zones
// 5).
#include <algorithm>
#include <cmath>

#include "master/scheduler/rule.h"

namespace master::scheduler {
namespace {

constexpr std::string_view kHostnameKey = "kubernetes.io/hostname";

struct SpreadFilter : Filter {
  SpreadFilter(const Question& q) : index(q.picture.index()), asked(index.asked(q.ask)) {
    for (size_t i = 0; i < q.ask.spread.size(); ++i)
      if (q.ask.spread[i].hard) constraints.push_back({&q.ask.spread[i], &asked.spread[i], {}, 0});
    for (Constraint& one : constraints) one.least = one.count->domain->least(one.constraint->min_domains);
  }
  Refusal refuses(const Node& node) const override {
    for (const Constraint& one : constraints) {
      const Domain& domain = *one.count->domain;
      const int value = domain.region->topology->value(node.slot);
      if (value < 0)
        return {{"node(s) didn't match pod topology spread constraints (missing required label)"}, true};
      auto changed = one.changes.find(value);
      const int64_t pods = domain.count(value) + (changed == one.changes.end() ? 0 : changed->second);
      if (pods + one.count->self - one.least > one.constraint->max_skew)
        return {{"node(s) didn't match pod topology spread constraints"}, false};
    }
    return {};
  }
  void move(const Ask& pod, bool terminating, const Node& node, int sign) override {
    if (terminating) return;
    for (Constraint& one : constraints) {
      const int value = one.count->domain->region->value(node.slot);
      if (value < 0 || !index.matches(one.count->pods->query, pod)) continue;
      one.changes[value] += sign;
      one.least = one.count->domain->least(one.constraint->min_domains, one.changes);
    }
  }
  struct Constraint {
    const SpreadConstraint* constraint;
    const Asked::Count* count;
    std::map<int, int> changes;
    int64_t least;
  };
  Index& index;
  const Asked& asked;
  std::vector<Constraint> constraints;
};

struct SpreadScorer : Scorer {
  SpreadScorer(const Question& q, std::span<const Node* const> left) : all_keys(!q.ask.spread.empty()) {
    const Asked& asked = q.picture.index().asked(q.ask);
    for (size_t i = 0; i < q.ask.spread.size(); ++i)
      if (!q.ask.spread[i].hard)
        constraints.push_back({&asked.spread[i], q.ask.spread[i].max_skew, 0, false});
    for (const Asked::Count& count : asked.default_spread)
      constraints.push_back({&count, count.domain->region->topology->key == kHostnameKey ? 3 : 5, 0, false});
    size_t counted = 0;
    std::vector<std::set<int>> values(constraints.size());
    for (const Node* node : left) {
      if (ignored(*node)) continue;
      ++counted;
      for (size_t i = 0; i < constraints.size(); ++i)
        values[i].insert(topology(constraints[i]).value(node->slot));
    }
    for (size_t i = 0; i < constraints.size(); ++i) {
      constraints[i].by_host = topology(constraints[i]).key == kHostnameKey;
      const size_t size = constraints[i].by_host ? counted : values[i].size();
      constraints[i].weight = std::log(static_cast<double>(size + 2));
    }
  }
  int64_t score(const Node& node) const override {
    if (ignored(node)) return -1;
    double sum = 0;
    for (const Constraint& one : constraints) {
      const int value = topology(one).value(node.slot);
      if (value < 0) continue;
      const int pods = one.by_host ? one.count->pods->on(node.slot) : one.count->domain->count(value);
      sum += pods * one.weight + (one.max_skew - 1);
    }
    return std::llround(sum);
  }
  void normalise(std::span<const Node* const>, std::vector<int64_t>& scores) const override {
    int64_t least = INT64_MAX, most = 0;
    for (int64_t score : scores)
      if (score >= 0) least = std::min(least, score), most = std::max(most, score);
    for (int64_t& score : scores) {
      if (score < 0) score = 0;
      else score = most == 0 ? 100 : 100 * (most + least - score) / most;
    }
  }
  struct Constraint {
    const Asked::Count* count;
    int max_skew;
    double weight;
    bool by_host;
  };
  static const Topology& topology(const Constraint& one) { return *one.count->domain->region->topology; }
  bool ignored(const Node& node) const {
    if (!all_keys) return false;
    for (const Constraint& one : constraints)
      if (topology(one).value(node.slot) < 0) return true;
    return false;
  }
  bool all_keys;  // nodes without a key of the Pod's own constraints get no score
  std::vector<Constraint> constraints;
};

}  // namespace

const Rule pod_topology_spread_rule = {
    "PodTopologySpread",
    [](const Question& q) -> std::unique_ptr<Filter> {
      for (const SpreadConstraint& one : q.ask.spread)
        if (one.hard) return std::make_unique<SpreadFilter>(q);
      return nullptr;
    },
    [](const Question& q, std::span<const Node* const> left) -> std::unique_ptr<Scorer> {
      bool soft = q.ask.spread.empty() && !q.ask.owner_uid.empty();
      for (const SpreadConstraint& one : q.ask.spread) soft |= !one.hard;
      if (!soft) return nullptr;
      return std::make_unique<SpreadScorer>(q, left);
    },
    2,
    [](const Ask& ask, const Change& change) {
      if (change.what & (Change::kNodeAdded | Change::kNodeLabels | Change::kNodeTaints)) return true;
      if (!(change.what & (Change::kPodRemoved | Change::kPodPlaced | Change::kPodLabels))) return false;
      if (change.pod->ns != ask.ns) return false;
      if (change.what & Change::kPodLabels) return true;
      for (const SpreadConstraint& one : ask.spread)
        if (one.hard && one.pods.matches(change.pod->labels)) return true;
      return false;
    }};

}  // namespace master::scheduler
