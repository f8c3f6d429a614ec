// What a CronJob does next, given its Jobs: which one is due, which are in the way, which finished ones are
// too many. Pure. A Job's name is made of its time, so that no time is served twice, whatever was forgotten.
// Reasons and messages are those of Kubernetes' cronjob controller.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/time_zone.h"
#include "master/controllers/cron_jobs.h"
#include "master/controllers/events.h"
#include "master/controllers/jobs.h"

namespace master::controllers {

constexpr int kManyMissedTimes = 100;  // are told: the clock may be wrong

struct CronJobPlan {
  std::vector<std::string> replace;  // Job names: first of all, since the next takes their place
  std::optional<base::Time> create;  // for this time
  json::object status;               // the whole one to publish, but for the Job that is created
  bool status_changed = false;
  std::vector<std::string> tidy;  // finished Jobs beyond what is kept, oldest first
  std::vector<PlanEvent> events;
  std::optional<base::Duration> again;
  std::string text() const;
};
// `jobs`: those whose controller is the CronJob. `local`: the zone of schedules that name none.
CronJobPlan plan_cron_job(const CronJob& cron, const std::vector<std::shared_ptr<const Job>>& jobs,
                          const api::TimeZone& local, base::Time now);

std::string cron_job_name(const CronJob& cron, base::Time scheduled);  // of the Job of a time
json::object job_of_cron_job(const CronJob& cron, base::Time scheduled);
// The entry of status.active of a Job.
json::object active_reference(const std::string& ns, const std::string& name, const std::string& uid);

}  // namespace master::controllers
