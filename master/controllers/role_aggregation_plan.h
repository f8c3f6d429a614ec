// The rules that an aggregated ClusterRole should have. Pure.
// Source: kubernetes.io, "Aggregated ClusterRoles".
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/controllers/cluster_roles.h"

namespace master::controllers {

struct RoleAggregationPlan {
  std::optional<std::vector<RoleRule>> rules;  // to apply; none: it has them
  std::string text() const;
};
// Those of the selected ones in the order of their names, selector by selector, each once. `all`: by name.
RoleAggregationPlan plan_aggregation(const ClusterRole& role,
                                     const std::map<std::string, std::shared_ptr<const ClusterRole>>& all);

// What is applied: the rules alone, so that they alone are the controller's; the uid keeps a role that is
// gone from being made again.
json::object applied_role(const ClusterRole& role, const std::vector<RoleRule>& rules);

}  // namespace master::controllers
