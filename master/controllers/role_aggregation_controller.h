// Gives aggregated ClusterRoles the rules of those that they select, as the plan says. Single-threaded.
#pragma once

#include <set>
#include <string>

#include "master/controllers/reconciler.h"
#include "master/controllers/role_aggregation_plan.h"

namespace master::controllers {

class RoleAggregationController {
 public:
  explicit RoleAggregationController(Hub& hub);

 private:
  void sync(const std::string& name, Reconciler::Finish finish);

  Hub& hub_;
  Hub::Account& account_;
  Store<ClusterRole>& roles_;
  std::set<std::string> aggregated_;  // their names
  Reconciler reconciler_;
};

}  // namespace master::controllers
