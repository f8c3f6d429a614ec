// DaemonSets: observes nodes, Pods and revisions, runs plan_daemon_set, acts. Owns their Pods, their
// ControllerRevisions and their status; never edits a spec. Remembers nothing but when failed Pods were taken
// away, which may be lost.
#pragma once

#include <map>
#include <string>

#include "master/controllers/daemon_set_plan.h"
#include "master/controllers/pod_owner.h"
#include "master/controllers/revision_keeper.h"
#include "master/controllers/status_writer.h"

namespace master::controllers {

class DaemonSetController {
 public:
  explicit DaemonSetController(Hub& hub);

 private:
  struct Round;
  void pod_changed(const std::shared_ptr<const Pod>& before, const std::shared_ptr<const Pod>& after);
  void node_changed(const std::shared_ptr<const Node>& before, const std::shared_ptr<const Node>& after);
  void sync(const std::string& key, Reconciler::Finish finish);
  void settle_revisions(std::shared_ptr<Round> round);
  void change_pods(std::shared_ptr<Round> round);
  void trim_history(std::shared_ptr<Round> round);
  void publish(std::shared_ptr<Round> round);
  void end(Round& round, base::Status status);

  Hub& hub_;
  Hub::Account& account_;
  Store<DaemonSet>& sets_;
  Store<Node>& nodes_;
  Store<Pod>& pods_;
  Store<Revision>& revisions_;
  Reconciler reconciler_;
  StatusWriter status_;
  PodOwner pods_owner_;
  RevisionKeeper keeper_;
  std::map<std::string, FailedDaemons> failed_;  // by uid
};

}  // namespace master::controllers
