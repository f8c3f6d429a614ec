#include "master/scheduler/rule.h"

#include <algorithm>

namespace master::scheduler {

// kube-scheduler's default plugins in their order. NodeName has no row: who names a node is not asked about.
// SchedulingGates is no rule of a place: gated Pods never come here.
static const Rule* const kRules[] = {
    &node_unschedulable_rule,  &taint_toleration_rule,   &node_affinity_rule,
    &node_ports_rule,          &node_resources_fit_rule, &volume_restrictions_rule,
    &node_volume_limits_rule,  &volume_binding_rule,     &volume_zone_rule,
    &pod_topology_spread_rule, &inter_pod_affinity_rule, &node_resources_balanced_allocation_rule,
    &image_locality_rule,
};

std::span<const Rule> rules() {
  static const std::vector<Rule> all = [] {
    std::vector<Rule> out;
    for (const Rule* rule : kRules) out.push_back(*rule);
    return out;
  }();
  return all;
}
const Rule* rule(std::string_view name) {
  for (const Rule& one : rules())
    if (one.name == name) return &one;
  return nullptr;
}

void scale_scores(std::vector<int64_t>& scores, bool fewer_is_better) {
  int64_t most = 0;
  for (int64_t score : scores) most = std::max(most, score);
  for (int64_t& score : scores) {
    if (most > 0) score = 100 * score / most;
    if (fewer_is_better) score = 100 - score;
  }
}

}  // namespace master::scheduler
