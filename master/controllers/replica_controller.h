// ReplicationControllers and ReplicaSets: observes their Pods, runs plan_replicas, acts in
// slow-start batches. Owns Pods' ownerReferences and the owners' status; never edits their spec.
#pragma once

#include <map>
#include <string>

#include "master/controllers/reconciler.h"
#include "master/controllers/replica_plan.h"

namespace master::controllers {

class ReplicaController {
 public:
  ReplicaController(Hub& hub, Store<ReplicaOwner>& owners, api::Resource resource);

 private:
  using Owner = std::shared_ptr<const ReplicaOwner>;
  struct Round;
  void pod_changed(const std::shared_ptr<const Pod>& before, const std::shared_ptr<const Pod>& after);
  void sync(const std::string& key, Reconciler::Finish finish);
  void claim(std::shared_ptr<Round> round);
  void create_batch(std::shared_ptr<Round> round, int size);
  void remove_surplus(std::shared_ptr<Round> round);
  void publish(std::shared_ptr<Round> round);
  void own(std::shared_ptr<Round> round, const std::string& pod, bool adopt, std::function<void(base::Status)> done);
  void create_one(std::shared_ptr<Round> round, std::function<void(base::Status)> done);
  void remove_one(std::shared_ptr<Round> round, const std::string& pod, std::function<void(base::Status)> done);
  ObjectRef ref(const ReplicaOwner& owner) const;

  Hub& hub_;
  Hub::Account& account_;
  Store<ReplicaOwner>& owners_;
  api::Resource resource_;
  Reconciler reconciler_;
};

}  // namespace master::controllers
