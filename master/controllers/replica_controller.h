// ReplicationControllers and ReplicaSets: observes their Pods, runs plan_replicas, acts in
// slow-start batches. Owns Pods' ownerReferences and the owners' status; never edits their spec.
#pragma once

#include <map>
#include <string>

#include "master/controllers/pod_owner.h"
#include "master/controllers/replica_plan.h"
#include "master/controllers/status_writer.h"

namespace master::controllers {

class ReplicaController {
 public:
  ReplicaController(Hub& hub, const api::Resource& resource);

 private:
  using Owner = std::shared_ptr<const ReplicaOwner>;
  struct Round;
  void pod_changed(const std::shared_ptr<const Pod>& before, const std::shared_ptr<const Pod>& after);
  void sync(const std::string& key, Reconciler::Finish finish);
  void claim(std::shared_ptr<Round> round);
  void change_size(std::shared_ptr<Round> round);
  void publish(std::shared_ptr<Round> round);

  Hub& hub_;
  Hub::Account& account_;
  Store<ReplicaOwner>& owners_;
  Store<Pod>& pods_;
  const api::Resource resource_;
  Reconciler reconciler_;
  StatusWriter status_;
  PodOwner pods_owner_;
};

}  // namespace master::controllers
