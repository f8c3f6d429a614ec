// Keeps the status of PodDisruptionBudgets, by which the eviction API grants or refuses. Never evicts, and
// never writes a budget's spec.
#pragma once

#include <set>
#include <string>

#include "master/controllers/disruption_plan.h"
#include "master/controllers/reconciler.h"
#include "master/controllers/status_writer.h"
#include "master/controllers/workloads.h"

namespace master::controllers {

class DisruptionController {
 public:
  explicit DisruptionController(Hub& hub);

 private:
  struct Round;
  void wake(const std::string& ns, const Labels& labels);
  void sync(const std::string& key, Reconciler::Finish finish);
  void observe_sizes(std::shared_ptr<Round> round);
  Step ask_size(std::shared_ptr<Round> round, std::shared_ptr<const Pod> pod);
  void publish(std::shared_ptr<Round> round);

  Hub& hub_;
  Hub::Account& account_;
  Store<DisruptionBudget>& budgets_;
  Store<Pod>& pods_;
  Store<ReplicaOwner>&replication_controllers_, &replica_sets_;
  Store<Deployment>& deployments_;
  Reconciler reconciler_;
  StatusWriter status_;
};

}  // namespace master::controllers
