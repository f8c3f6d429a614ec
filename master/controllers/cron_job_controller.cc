#include "master/controllers/cron_job_controller.h"

#include "base/log.h"

namespace master::controllers {
using base::string_at;

constexpr const char* kCronJobComponent = "cronjob-controller";

// One pass over one CronJob: the plan, and what acting on it met.
struct CronJobController::Round {
  std::string key;
  std::shared_ptr<const CronJob> cron;
  ObjectRef ref;
  CronJobPlan plan;
  Reconciler::Finish finish;
  base::Status failure;
};

CronJobController::CronJobController(Hub& hub)
    : hub_(hub), account_(hub.account("cronjob-controller")), cron_jobs_(hub.follow<CronJob>(kCronJobs)),
      jobs_(hub.follow<Job>(kJobs)), reconciler_(hub, {&cron_jobs_, &jobs_},
                                                 [this](const std::string& key, Reconciler::Finish finish) {
                                                   sync(key, std::move(finish));
                                                 }),
      status_(hub, account_, kCronJobs, cron_jobs_, reconciler_), local_(api::TimeZone::local()) {
  cron_jobs_.on_change([this](const auto& before, const auto& after) {
    const std::string key = (after ? after : before)->meta.key();
    reconciler_.add(key);
    if (!after) reconciler_.gate.forget(key);
  });
  jobs_.on_change([this](const auto& before, const auto& after) {
    for (const auto& job : {before, after})
      if (job && job->controller.kind == "CronJob")
        reconciler_.add(key_of(job->meta.ns, job->controller.name));
  });
}

void CronJobController::sync(const std::string& key, Reconciler::Finish finish) {
  auto cron = cron_jobs_.get(key);
  if (!cron) return finish(Reconciler::Outcome::kDone);
  auto round = std::make_shared<Round>();
  round->key = key;
  round->cron = cron;
  round->ref = {"batch/v1", "CronJob", cron->meta.ns, cron->meta.name, cron->meta.uid};
  round->plan = plan_cron_job(*cron, jobs_.find(owned_by(cron->meta.uid)), local_, hub_.now());
  round->finish = std::move(finish);
  if (base::log::enabled(base::log::Level::kDebug))
    base::log::debug("CronJob {}: {}", key, round->plan.text());
  if (round->plan.again) reconciler_.add_after(key, *round->plan.again);
  account_.events.record(round->ref, round->plan.events, kCronJobComponent);
  std::vector<Step> steps;
  for (const std::string& name : round->plan.replace) steps.push_back(remove_step(round, name));
  all(std::move(steps), [this, round](base::Status status) {
    if (!status.ok()) return end(*round, std::move(status));  // the next may not run beside it
    create(round);
  });
}

void CronJobController::tell(const Round& round, const char* type, const char* reason,
                             const std::string& message) {
  account_.events.record(round.ref, type, reason, message, kCronJobComponent);
}

void CronJobController::end(Round& round, base::Status status) {
  Reconciler::end("CronJob", round.key, status.ok() ? round.failure : status, round.finish);
}

Step CronJobController::remove_step(std::shared_ptr<Round> round, const std::string& name) {
  return [this, round, name](std::function<void(base::Status)> done) {
    auto job = jobs_.get(key_of(round->cron->meta.ns, name));
    if (!job) return done({});
    account_.client.remove(
        kJobs, job->meta.ns, name,
        json::object{{"preconditions", {{"uid", job->meta.uid}}}, {"propagationPolicy", "Background"}},
        [this, round, job, done](base::Result<json::value> result) {
          const bool gone = !result.ok() && result.error().kind == base::Kind::kNotFound;
          if (!result.ok() && !gone) {
            tell(*round, "Warning", "FailedDelete", fmt::format("Deleted job: {}", answered(result.error())));
            return done(base::wrap(result.error(), "delete Job", job->meta.name));
          }
          reconciler_.gate.deleted(
              round->key,
              [this, job] {
                auto now = jobs_.get(job->meta.key());
                return !now || now->meta.uid != job->meta.uid || now->meta.deleting;
              },
              hub_.now());
          if (!gone) tell(*round, "Normal", "SuccessfulDelete", "Deleted job " + job->meta.name);
          done({});
        });
  };
}

void CronJobController::create(std::shared_ptr<Round> round) {
  if (!round->plan.create) return publish(std::move(round));
  account_.client.create(kJobs, round->cron->meta.ns, job_of_cron_job(*round->cron, *round->plan.create),
                         [this, round](base::Result<json::value> result) {
                           if (result.ok()) {
                             tell(*round, "Normal", "SuccessfulCreate",
                                  "Created job " + std::string(string_at(*result, "metadata", "name")));
                             reconciler_.gate.wrote(round->key, jobs_, revision_of(*result), hub_.now());
                             return created(round, *result);
                           }
                           if (result.error().kind == base::Kind::kExists)
                             return find_existing(round, result.error());
                           tell(*round, "Warning", "FailedCreate",
                                "Error creating job: " + answered(result.error()));
                           round->failure = result.error();
                           publish(round);
                         });
}

// The name is taken: by the Job of this time, which the cache does not show yet, or by somebody else's, which
// stays, and takes this time.
void CronJobController::find_existing(std::shared_ptr<Round> round, base::Error refused) {
  const std::string name = cron_job_name(*round->cron, *round->plan.create);
  account_.client.get(kJobs, round->cron->meta.ns, name,
                      [this, round, refused](base::Result<json::value> result) {
                        if (!result.ok()) {
                          round->failure = result.error();
                          return publish(round);
                        }
                        if (controller_owner(*result).uid == round->cron->meta.uid) {
                          reconciler_.gate.wrote(round->key, jobs_, revision_of(*result), hub_.now());
                          return created(round, *result);
                        }
                        tell(*round, "Warning", "FailedCreate", "Error creating job: " + answered(refused));
                        publish(round);
                      });
}

void CronJobController::created(std::shared_ptr<Round> round, const json::value& job) {
  json::object& status = round->plan.status;
  json::value& active = status["active"];
  if (!active.is_array()) active = json::array();
  active.get_array().push_back(active_reference(round->cron->meta.ns,
                                                std::string(string_at(job, "metadata", "name")),
                                                std::string(string_at(job, "metadata", "uid"))));
  status["lastScheduleTime"] = base::format_time(*round->plan.create);
  round->plan.status_changed = true;
  publish(std::move(round));
}

void CronJobController::publish(std::shared_ptr<Round> round) {
  if (!round->plan.status_changed) return tidy(std::move(round));
  status_.write(round->cron->meta,
                whole_status(round->plan.status, {"active", "lastScheduleTime", "lastSuccessfulTime"}),
                [this, round](base::Status written) {
                  if (is_gone(written)) return round->finish(Reconciler::Outcome::kDone);
                  if (!written.ok()) return end(*round, std::move(written));
                  tidy(round);
                });
}

void CronJobController::tidy(std::shared_ptr<Round> round) {
  std::vector<Step> steps;
  for (const std::string& name : round->plan.tidy) steps.push_back(remove_step(round, name));
  all(std::move(steps), [this, round](base::Status status) { end(*round, std::move(status)); });
}

}  // namespace master::controllers
