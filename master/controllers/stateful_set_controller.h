// StatefulSets: observes their Pods, claims and revisions, runs plan_stateful_set, acts in its order. Owns
// their Pods, their ControllerRevisions, the owners of their claims and their status; never edits a spec, and
// never deletes a claim: that is the garbage collector's, by the owners.
#pragma once

#include <string>

#include "master/controllers/pod_owner.h"
#include "master/controllers/revision_keeper.h"
#include "master/controllers/stateful_set_plan.h"
#include "master/controllers/status_writer.h"

namespace master::controllers {

class StatefulSetController {
 public:
  explicit StatefulSetController(Hub& hub);

 private:
  struct Round;
  void pod_changed(const std::shared_ptr<const Pod>& before, const std::shared_ptr<const Pod>& after);
  void sync(const std::string& key, Reconciler::Finish finish);
  void settle_revisions(std::shared_ptr<Round> round);
  void make_claims(std::shared_ptr<Round> round);
  void make_pods(std::shared_ptr<Round> round);
  void correct(std::shared_ptr<Round> round);
  void remove(std::shared_ptr<Round> round);
  void publish(std::shared_ptr<Round> round);
  void end(Round& round, base::Status status);
  Step make_claim(std::shared_ptr<Round> round, const StatefulSetPlan::NewClaim& claim);
  Step own_claim(std::shared_ptr<Round> round, const StatefulSetPlan::Owners& owners);
  Step relabel(std::shared_ptr<Round> round, const StatefulSetPlan::Relabel& relabel);

  Hub& hub_;
  Hub::Account& account_;
  Store<StatefulSet>& sets_;
  Store<Pod>& pods_;
  Store<Claim>& claims_;
  Store<Revision>& revisions_;
  Reconciler reconciler_;
  StatusWriter status_;
  PodOwner pods_owner_;
  RevisionKeeper keeper_;
  std::map<std::string, base::Time> left_;  // Pods of sets that went a moment ago, by key
};

}  // namespace master::controllers
