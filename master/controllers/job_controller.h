// Jobs: observes their Pods, runs plan_job, acts. Owns Jobs' status and the tracking finalizer of their
// Pods, which it also takes from Pods whose Job is gone; never edits a spec. Finished Jobs go when their
// time is over, by the account that Kubernetes has for it.
#pragma once

#include <string>

#include "master/controllers/job_plan.h"
#include "master/controllers/pod_owner.h"
#include "master/controllers/status_writer.h"

namespace master::controllers {

class JobController {
 public:
  explicit JobController(Hub& hub);

 private:
  struct Round;
  void pod_changed(const std::shared_ptr<const Pod>& before, const std::shared_ptr<const Pod>& after);
  void sync(const std::string& key, Reconciler::Finish finish);
  void sync_orphan(const std::string& pod_key, Reconciler::Finish finish);
  void publish(std::shared_ptr<Round> round);
  void untrack(std::shared_ptr<Round> round);
  void change_size(std::shared_ptr<Round> round);
  void remove_job(std::shared_ptr<Round> round);
  using Wrote = std::function<void(uint64_t revision)>;
  Step untrack_step(const std::string& pod_key, Wrote wrote);
  void end(Round& round, base::Status status);

  Hub& hub_;
  Hub::Account &account_, &ttl_account_;
  Store<Job>& jobs_;
  Store<Pod>& pods_;
  Reconciler reconciler_;  // Jobs
  StatusWriter status_;
  Reconciler orphans_;  // Pods with the finalizer and without their Job
  PodOwner pods_owner_;
};

}  // namespace master::controllers
