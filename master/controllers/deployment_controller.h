// Deployments: observes their ReplicaSets, runs plan_deployment, acts. Owns ReplicaSets' size and
// revision annotations and the Deployment's status; never edits a Deployment's spec.
#pragma once

#include <string>

#include "master/controllers/deployment_plan.h"
#include "master/controllers/reconciler.h"
#include "master/controllers/status_writer.h"

namespace master::controllers {

class DeploymentController {
 public:
  explicit DeploymentController(Hub& hub);

 private:
  struct Round;
  void replica_set_changed(const ReplicaOwner& rs);
  void sync(const std::string& key, Reconciler::Finish finish);
  void act(std::shared_ptr<Round> round);
  void publish(std::shared_ptr<Round> round);
  Step roll_back(std::shared_ptr<Round> round);
  Step own(std::shared_ptr<Round> round, const std::string& name, bool adopt);
  Step create(std::shared_ptr<Round> round);
  Step change(std::shared_ptr<Round> round, const DeploymentPlan::Change& change);
  Step remove(std::shared_ptr<Round> round, const std::string& name);
  void tell(const Round& round, const char* direction, const std::string& name, int from, int to);

  Hub& hub_;
  Store<Deployment>& deployments_;
  Store<ReplicaOwner>& replica_sets_;
  Store<Pod>& pods_;
  Hub::Account& account_;
  Reconciler reconciler_;
  StatusWriter status_;
};

}  // namespace master::controllers
