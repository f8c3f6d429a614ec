#include "master/controllers/cron_job_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "api/cron.h"
#include "base/json_lists.h"
#include "master/controllers/workloads.h"

namespace master::controllers {
using base::find;
using base::list_at;
using base::string_at;

namespace {

// Farther back nothing was missed, whatever a status says.
constexpr base::Duration kLongest = std::chrono::hours(24 * 365 * 50);
constexpr base::Duration kAfterDue = std::chrono::milliseconds(100);  // so that a time is surely over

// How late a Job may start.
std::optional<base::Duration> starting_deadline(const CronJob& cron) {
  if (!cron.starting_deadline_seconds) return std::nullopt;
  return std::min<base::Duration>(seconds_of(std::max<int64_t>(*cron.starting_deadline_seconds, 0)),
                                  kLongest);
}

// The last time that is due and not yet over, and whether many were before it.
struct Due {
  std::optional<base::Time> time;
  bool many = false;
};
Due last_due(const CronJob& cron, const api::CronSchedule& schedule, const api::TimeZone& zone,
             std::optional<base::Time> last, base::Time now) {
  base::Time earliest = std::max(last.value_or(cron.meta.created), now - kLongest);
  if (auto deadline = starting_deadline(cron)) earliest = std::max(earliest, now - *deadline);
  Due due;
  const std::optional<base::Time> first = schedule.next(earliest, zone);
  if (!first || *first > now) return due;
  due.time = first;
  const std::optional<base::Time> second = schedule.next(*first, zone);
  if (!second || *second > now) return due;
  due.time = schedule.last(earliest, now, zone);
  due.many = (now - *first) / (*second - *first) + 1 > kManyMissedTimes;
  return due;
}

std::optional<base::Time> job_time(const Job& job, const char* member) {
  return read_time(string_at(job.status, member));
}

// Go's RFC1123Z, in which users search the message.
std::string long_time(base::Time at, const api::TimeZone& zone) {
  const int64_t ahead = zone.offset_at(at);
  const std::time_t shown = std::chrono::floor<std::chrono::seconds>(at.time_since_epoch()).count() + ahead;
  std::tm parts{};
  ::gmtime_r(&shown, &parts);
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} {}{:02}{:02}", kDays[parts.tm_wday], parts.tm_mday,
                     kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     ahead < 0 ? '-' : '+', std::abs(ahead) / 3600, std::abs(ahead) / 60 % 60);
}

using JobList = std::vector<std::shared_ptr<const Job>>;

// Finished Jobs of one outcome beyond `limit`, oldest first.
void plan_history(const JobList& jobs, const char* condition, std::optional<int> limit, CronJobPlan& plan) {
  if (!limit) return;
  JobList finished;
  for (const auto& job : jobs)
    if (!job->meta.deleting && job->condition(condition)) finished.push_back(job);
  if (static_cast<int64_t>(finished.size()) <= *limit) return;
  auto began = [](const Job& job) { return job_time(job, "startTime").value_or(job.meta.created); };
  std::sort(finished.begin(), finished.end(), [&](const auto& a, const auto& b) {
    const base::Time at = began(*a), bt = began(*b);
    return at != bt ? at < bt : a->meta.name < b->meta.name;
  });
  finished.resize(finished.size() - static_cast<size_t>(std::max(*limit, 0)));
  for (const auto& job : finished) plan.tidy.push_back(job->meta.name);
}

// status.active and lastSuccessfulTime, as its Jobs are now; those that run.
JobList plan_active(const CronJob& cron, const JobList& jobs, CronJobPlan& plan) {
  std::map<std::string, std::shared_ptr<const Job>> by_uid;
  for (const auto& job : jobs) by_uid.emplace(job->meta.uid, job);
  JobList running;
  json::array active;
  for (const json::value& reference : list_at(cron.status, "active")) {
    auto job = by_uid.find(std::string(string_at(reference, "uid")));
    const std::string name(string_at(reference, "name"));
    if (job == by_uid.end()) {
      plan.events.push_back({"Normal", "MissingJob", "Active job went missing: " + name});
      continue;
    }
    if (job->second->finished()) {
      plan.events.push_back({"Normal", "SawCompletedJob",
                             fmt::format("Saw completed job: {}, condition: {}", name,
                                         job->second->condition("Complete") ? "Complete" : "Failed")});
    } else {
      running.push_back(job->second);
      active.push_back(reference);
    }
    by_uid.erase(job);
  }
  for (const auto& [uid, job] : by_uid) {
    if (job->finished() || job->meta.deleting) continue;
    // Made, and its CronJob's status not written before the end of who made it; or given by somebody.
    plan.events.push_back({"Warning", "UnexpectedJob",
                           "Saw a job that the controller did not create or forgot: " + job->meta.name});
    running.push_back(job);
    active.push_back(active_reference(job->meta.ns, job->meta.name, uid));
  }
  std::optional<base::Time> success = read_time(string_at(cron.status, "lastSuccessfulTime"));
  for (const auto& job : jobs)
    if (job->condition("Complete"))
      if (auto ended = job_time(*job, "completionTime"); ended && (!success || *ended > *success))
        success = ended;
  if (success) plan.status["lastSuccessfulTime"] = base::format_time(*success);
  if (std::string_view last = string_at(cron.status, "lastScheduleTime"); !last.empty())
    plan.status["lastScheduleTime"] = last;
  if (!active.empty()) plan.status["active"] = std::move(active);
  return running;
}

void plan_start(const CronJob& cron, const JobList& running, const JobList& jobs, const api::TimeZone& zone,
                const api::CronSchedule& schedule, base::Time now, CronJobPlan& plan) {
  if (auto next = schedule.next(now, zone)) plan.again = *next - now + kAfterDue;
  const std::optional<base::Time> last = read_time(string_at(cron.status, "lastScheduleTime"));
  const Due due = last_due(cron, schedule, zone, last, now);
  if (due.many)
    plan.events.push_back({"Warning", "TooManyMissedTimes",
                           "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or "
                           "check clock skew"});
  if (!due.time || (last && *last == *due.time)) return;
  if (auto deadline = starting_deadline(cron); deadline && *due.time + *deadline < now) {
    plan.events.push_back(
        {"Warning", "MissSchedule", "Missed scheduled time to start a job: " + long_time(*due.time, zone)});
    return;
  }
  const std::string name = cron_job_name(cron, *due.time);
  for (const auto& job : jobs)
    if (job->meta.name == name) {  // made before; only the status does not know
      plan.status["lastScheduleTime"] = base::format_time(*due.time);
      return;
    }
  if (!running.empty() && cron.concurrency == CronJob::Concurrency::kForbid) {
    plan.events.push_back({"Normal", "JobAlreadyActive",
                           "Not starting job because prior execution is running and concurrency policy is "
                           "Forbid"});
    return;
  }
  if (cron.concurrency == CronJob::Concurrency::kReplace) {
    for (const auto& job : running) plan.replace.push_back(job->meta.name);
    plan.status.erase("active");
  }
  plan.create = due.time;
}

}  // namespace

std::string CronJobPlan::text() const {
  std::string out;
  for (const std::string& name : replace) out += fmt::format("replace {}\n", name);
  if (create) out += fmt::format("create for {}\n", base::format_time(*create));
  if (status_changed) out += fmt::format("status {}\n", base::to_json(json::value(status)));
  for (const std::string& name : tidy) out += fmt::format("tidy {}\n", name);
  for (const PlanEvent& event : events)
    out += fmt::format("event {} {}: {}\n", event.type, event.reason, event.message);
  if (again)
    out +=
        fmt::format("again in {}ms\n", std::chrono::duration_cast<std::chrono::milliseconds>(*again).count());
  return out;
}

CronJobPlan plan_cron_job(const CronJob& cron, const JobList& jobs, const api::TimeZone& local,
                          base::Time now) {
  CronJobPlan plan;
  const JobList running = plan_active(cron, jobs, plan);
  plan_history(jobs, "Complete", cron.successful_limit, plan);
  plan_history(jobs, "Failed", cron.failed_limit, plan);
  if (!cron.meta.deleting && !cron.suspend) {
    api::TimeZone zone = local;
    std::string wrong;
    if (cron.time_zone) {
      if (auto found = api::TimeZone::find(*cron.time_zone); found.ok()) zone = *found;
      else wrong = fmt::format("invalid timeZone: \"{}\": {}", *cron.time_zone, found.error().reason);
      if (!wrong.empty()) plan.events.push_back({"Warning", "UnknownTimeZone", wrong});
    }
    auto schedule = api::CronSchedule::parse(cron.schedule);
    if (!schedule.ok())
      plan.events.push_back(
          {"Warning", "UnparseableSchedule",
           fmt::format("unparseable schedule: \"{}\" : {}", cron.schedule, schedule.error().reason)});
    else if (wrong.empty()) plan_start(cron, running, jobs, zone, *schedule, now, plan);
  }
  const json::value before = cron.status.is_object() ? cron.status : json::value(json::object());
  plan.status_changed = json::value(plan.status) != before;
  return plan;
}

std::string cron_job_name(const CronJob& cron, base::Time scheduled) {
  return fmt::format("{}-{}", cron.meta.name,
                     std::chrono::floor<std::chrono::minutes>(scheduled.time_since_epoch()).count());
}

json::object job_of_cron_job(const CronJob& cron, base::Time scheduled) {
  json::object meta{{"name", cron_job_name(cron, scheduled)}, {"namespace", cron.meta.ns}};
  if (const json::value* from = find(cron.job_template, "metadata"))
    for (const char* key : {"labels", "annotations"})
      if (const json::value* value = find(*from, key); value && !value->is_null()) meta[key] = *value;
  auto zone = cron.time_zone ? api::TimeZone::find(*cron.time_zone) : api::TimeZone::utc();
  base::object_at(meta, "annotations")["batch.kubernetes.io/cronjob-scheduled-timestamp"] =
      (zone.ok() ? *zone : api::TimeZone::utc()).format(scheduled);
  meta["ownerReferences"] =
      json::array{controller_reference("batch/v1", "CronJob", cron.meta.name, cron.meta.uid)};
  json::object job{{"apiVersion", "batch/v1"}, {"kind", "Job"}, {"metadata", std::move(meta)}};
  if (const json::value* spec = find(cron.job_template, "spec")) job["spec"] = *spec;
  return job;
}

json::object active_reference(const std::string& ns, const std::string& name, const std::string& uid) {
  return {{"kind", "Job"}, {"namespace", ns}, {"name", name}, {"uid", uid}, {"apiVersion", "batch/v1"}};
}

}  // namespace master::controllers
