#include "master/controllers/job_controller.h"

#include "base/log.h"

namespace master::controllers {

constexpr const char* kJobComponent = "job-controller";
constexpr std::string_view kManagedHere = "kubernetes.io/job-controller";

// One pass over one Job: the plan, and what acting on it met.
struct JobController::Round {
  std::string key;
  std::shared_ptr<const Job> job;
  PodOwner::Owner as_owner;
  JobPlan plan;
  Reconciler::Finish finish;
  base::Status failure;
};

JobController::JobController(Hub& hub)
    : hub_(hub), account_(hub.account("job-controller")),
      ttl_account_(hub.account("ttl-after-finished-controller")), jobs_(hub.follow<Job>(kJobs)),
      pods_(hub.follow<Pod>(api::resources::pods)),
      reconciler_(
          hub, {&jobs_, &pods_},
          [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }),
      status_(hub, account_, kJobs, jobs_, reconciler_),
      orphans_(
          hub, {&jobs_, &pods_},
          [this](const std::string& key, Reconciler::Finish finish) { sync_orphan(key, std::move(finish)); }),
      pods_owner_(hub, account_, pods_, reconciler_, kJobComponent) {
  jobs_.on_change([this](const auto& before, const auto& after) {
    const std::string key = (after ? after : before)->meta.key();
    reconciler_.add(key);
    if (after) return;
    reconciler_.gate.forget(key);
    for (const auto& pod : pods_.find(owned_by(before->meta.uid))) orphans_.add(pod->meta.key());
  });
  pods_.on_change([this](const auto& before, const auto& after) { pod_changed(before, after); });
}

void JobController::pod_changed(const std::shared_ptr<const Pod>& before,
                                const std::shared_ptr<const Pod>& after) {
  if (after && after->job && after->job->tracked) orphans_.add(after->meta.key());
  for (const auto& pod : {before, after}) {
    if (!pod) continue;
    if (!pod->owner_uid.empty()) {
      if (pod->owner_kind == "Job") reconciler_.add(key_of(pod->meta.ns, pod->owner_name));
      continue;
    }
    for (const auto& job : jobs_.in_namespace(pod->meta.ns))
      if (job->selector.matches(pod->shape->labels)) reconciler_.add(job->meta.key());
  }
}

Step JobController::untrack_step(const std::string& pod_key, Wrote wrote) {
  return [this, pod_key, wrote = std::move(wrote)](std::function<void(base::Status)> done) {
    auto pod = pods_.get(pod_key);
    if (!pod || !pod->job || !pod->job->tracked) return done({});
    json::object meta{{"uid", pod->meta.uid},
                      {"$deleteFromPrimitiveList/finalizers", json::array{kJobFinalizer}}};
    account_.client.patch(
        api::resources::pods, pod->meta.ns, pod->meta.name, "strategic-merge",
        json::object{{"metadata", std::move(meta)}}, [pod, wrote, done](base::Result<json::value> result) {
          if (!result.ok()) {
            if (result.error().kind == base::Kind::kNotFound) return done({});
            return done(base::wrap(result.error(), "remove the finalizer of Pod", pod->meta.name));
          }
          if (wrote) wrote(revision_of(*result));
          done({});
        });
  };
}

void JobController::sync_orphan(const std::string& pod_key, Reconciler::Finish finish) {
  auto pod = pods_.get(pod_key);
  if (!pod || !pod->job || !pod->job->tracked) return finish(Reconciler::Outcome::kDone);
  if (!pod->owner_uid.empty()) {
    auto job = jobs_.get(key_of(pod->meta.ns, pod->owner_name));
    if (pod->owner_kind == "Job" && job && job->meta.uid == pod->owner_uid)
      return finish(Reconciler::Outcome::kDone);
  }
  untrack_step(pod_key, {})([finish](base::Status status) {
    finish(status.ok() ? Reconciler::Outcome::kDone : Reconciler::Outcome::kRetry);
  });
}

void JobController::sync(const std::string& key, Reconciler::Finish finish) {
  auto job = jobs_.get(key);
  if (!job || (!job->managed_by.empty() && job->managed_by != kManagedHere))
    return finish(Reconciler::Outcome::kDone);
  auto pods = pods_.find(owned_by(job->meta.uid));
  auto orphans = pods_.find(orphans_of(job->meta.ns));
  pods.insert(pods.end(), orphans.begin(), orphans.end());
  auto round = std::make_shared<Round>();
  round->key = key;
  round->job = job;
  round->as_owner = {key, {"batch/v1", "Job", job->meta.ns, job->meta.name, job->meta.uid}, kJobFinalizer};
  round->plan = plan_job(*job, pods, hub_.now());
  round->finish = std::move(finish);
  if (base::log::enabled(base::log::Level::kDebug)) base::log::debug("Job {}: {}", key, round->plan.text());
  if (round->plan.again) reconciler_.add_after(key, *round->plan.again + std::chrono::milliseconds(1));
  if (round->plan.remove_job) return remove_job(std::move(round));
  std::vector<Step> steps;
  for (const std::string& pod : round->plan.adopt) steps.push_back(pods_owner_.take(round->as_owner, pod));
  for (const std::string& pod : round->plan.release)
    steps.push_back(pods_owner_.release(round->as_owner, pod));
  all(std::move(steps), [this, round](base::Status status) {
    if (!status.ok()) return end(*round, std::move(status));
    publish(round);
  });
}

void JobController::end(Round& round, base::Status status) {
  Reconciler::end("Job", round.key, status.ok() ? round.failure : status, round.finish);
}

void JobController::publish(std::shared_ptr<Round> round) {
  if (!round->plan.status_changed) return untrack(round);
  status_.write(round->job->meta, round->plan.status, [this, round](base::Status written) {
    if (is_gone(written)) return round->finish(Reconciler::Outcome::kDone);
    if (!written.ok()) return end(*round, std::move(written));
    account_.events.record(round->as_owner.ref, round->plan.events, kJobComponent);
    untrack(round);
  });
}

void JobController::untrack(std::shared_ptr<Round> round) {
  std::vector<Step> steps;
  for (const std::string& pod : round->plan.untrack)
    steps.push_back(untrack_step(key_of(round->job->meta.ns, pod), [this, round](uint64_t revision) {
      reconciler_.gate.wrote(round->key, pods_, revision, hub_.now());
    }));
  all(std::move(steps), [this, round](base::Status status) {
    if (!status.ok()) return end(*round, std::move(status));
    change_size(round);
  });
}

void JobController::change_size(std::shared_ptr<Round> round) {
  pods_owner_.remove(round->as_owner, round->plan.remove, [this, round](base::Status removed) {
    round->failure = std::move(removed);
    std::vector<json::object> bodies;
    for (const JobPlan::Create& create : round->plan.create)
      bodies.push_back(pod_of_job(*round->job, create));
    pods_owner_.create(round->as_owner, std::move(bodies),
                       [this, round](base::Status created) { end(*round, std::move(created)); });
  });
}

void JobController::remove_job(std::shared_ptr<Round> round) {
  const Meta& meta = round->job->meta;
  ttl_account_.client.remove(
      kJobs, meta.ns, meta.name,
      json::object{{"preconditions", {{"uid", meta.uid}, {"resourceVersion", std::to_string(meta.revision)}}},
                   {"propagationPolicy", "Foreground"}},
      [this, round](base::Result<json::value> result) {
        if (!result.ok() && result.error().kind != base::Kind::kNotFound) return end(*round, result.error());
        end(*round, {});
      });
}

}  // namespace master::controllers
