// CronJobs: observes their Jobs, runs plan_cron_job, acts. Owns CronJobs' status; never edits a spec.
#pragma once

#include <string>
#include <vector>

#include "master/controllers/cron_job_plan.h"
#include "master/controllers/reconciler.h"
#include "master/controllers/status_writer.h"

namespace master::controllers {

class CronJobController {
 public:
  explicit CronJobController(Hub& hub);

 private:
  struct Round;
  void sync(const std::string& key, Reconciler::Finish finish);
  Step remove_step(std::shared_ptr<Round> round, const std::string& name);
  void create(std::shared_ptr<Round> round);
  void find_existing(std::shared_ptr<Round> round, base::Error refused);
  void created(std::shared_ptr<Round> round, const json::value& job);
  void publish(std::shared_ptr<Round> round);
  void tidy(std::shared_ptr<Round> round);
  void tell(const Round& round, const char* type, const char* reason, const std::string& message);
  void end(Round& round, base::Status status);

  Hub& hub_;
  Hub::Account& account_;
  Store<CronJob>& cron_jobs_;
  Store<Job>& jobs_;
  Reconciler reconciler_;
  StatusWriter status_;
  const api::TimeZone local_;
};

}  // namespace master::controllers
