// What the status of a PodDisruptionBudget says, given the Pods it selects and the size of those who own
// them. Pure. Counts, words and times are those of Kubernetes' disruption controller
// (pkg/controller/disruption), because the eviction API and kubectl drain read them.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "master/controllers/store.h"

namespace master::controllers {

// How long an eviction that was granted holds its place while the Pod does not go.
constexpr base::Duration kGrantedFor = std::chrono::minutes(2);

struct DisruptionBudget {
  Meta meta;
  Selector selector;                           // an empty one selects all Pods of the namespace
  json::value min_available, max_unavailable;  // int or percentage; null: absent
  json::value status;

  static Store<DisruptionBudget>::Reader reader(const api::Resource& resource);
};

struct BudgetView {
  std::shared_ptr<const DisruptionBudget> budget;
  std::vector<std::shared_ptr<const Pod>> pods;  // those it selects
  std::map<std::string, int64_t> sizes;  // spec.replicas of the Pods' controllers, by the controller's uid
};
struct BudgetPlan {
  json::object status;
  bool changed = false;
  std::vector<std::string> not_deleted;  // Pods whose eviction was granted and that are still there
  bool unmanaged = false;                // some Pods have no controller, though the budget needs their number
  std::string failure;                   // why nothing may be evicted; empty: it could be counted
  std::optional<base::Duration> again;
  std::string text() const;
};
BudgetPlan plan_budget(const BudgetView& view, base::Time now);
// Whether plan_budget() has to know the size of the Pods' controllers.
bool needs_sizes(const DisruptionBudget& budget);

}  // namespace master::controllers
