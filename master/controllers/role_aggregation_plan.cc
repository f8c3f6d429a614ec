#include "master/controllers/role_aggregation_plan.h"

#include <algorithm>

namespace master::controllers {

namespace {
json::array to_json(const std::vector<RoleRule>& rules) {
  json::array out;
  for (const RoleRule& rule : rules) {
    json::object item;
    for (size_t i = 0; i < std::size(RoleRule::kMembers); ++i)
      if (i == 0 || !rule.lists[i].empty())  // verbs are required, whatever they are
        item[RoleRule::kMembers[i]] = json::array(rule.lists[i].begin(), rule.lists[i].end());
    out.push_back(std::move(item));
  }
  return out;
}
}  // namespace

std::string RoleAggregationPlan::text() const {
  return rules ? fmt::format("apply {}\n", base::to_json(to_json(*rules))) : "";
}

RoleAggregationPlan plan_aggregation(const ClusterRole& role,
                                     const std::map<std::string, std::shared_ptr<const ClusterRole>>& all) {
  if (!role.aggregated || role.meta.deleting) return {};
  std::vector<RoleRule> rules;
  for (const Selector& selector : role.selectors)
    for (const auto& [name, other] : all) {
      if (name == role.meta.name || !selector.matches(other->labels)) continue;
      for (const RoleRule& rule : other->rules)
        if (std::find(rules.begin(), rules.end(), rule) == rules.end()) rules.push_back(rule);
    }
  RoleAggregationPlan plan;
  if (rules != role.rules) plan.rules = std::move(rules);
  return plan;
}

json::object applied_role(const ClusterRole& role, const std::vector<RoleRule>& rules) {
  return {{"apiVersion", "rbac.authorization.k8s.io/v1"},
          {"kind", "ClusterRole"},
          {"metadata", {{"name", role.meta.name}, {"uid", role.meta.uid}}},
          {"rules", to_json(rules)}};
}

}  // namespace master::controllers
