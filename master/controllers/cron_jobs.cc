#include "master/controllers/cron_jobs.h"

namespace master::controllers {
using base::as_bool;
using base::as_int;
using base::find;
using base::string_at;

const api::Resource kCronJobs = {"batch", "v1", "cronjobs", "CronJob", true};

Store<CronJob>::Reader CronJob::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const CronJob> {
    auto cron = std::make_shared<CronJob>();
    cron->meta = read_meta(object);
    cron->status = copy_of(find(object, "status"));
    const json::value* spec = find(object, "spec");
    if (!spec) return cron;
    cron->schedule = string_at(*spec, "schedule");
    if (const json::value* zone = find(*spec, "timeZone"); zone && zone->is_string())
      cron->time_zone = std::string(base::as_string(zone));
    auto number = [&](const char* member) -> std::optional<int64_t> {
      const json::value* value = find(*spec, member);
      if (!value || !value->is_number()) return std::nullopt;
      return as_int(value);
    };
    cron->starting_deadline_seconds = number("startingDeadlineSeconds");
    cron->successful_limit = number("successfulJobsHistoryLimit");
    cron->failed_limit = number("failedJobsHistoryLimit");
    const std::string_view policy = string_at(*spec, "concurrencyPolicy");
    if (policy == "Forbid") cron->concurrency = CronJob::Concurrency::kForbid;
    if (policy == "Replace") cron->concurrency = CronJob::Concurrency::kReplace;
    cron->suspend = as_bool(find(*spec, "suspend"));
    cron->job_template = copy_of(find(*spec, "jobTemplate"));
    return cron;
  };
}

}  // namespace master::controllers
