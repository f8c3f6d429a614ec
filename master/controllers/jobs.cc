#include "master/controllers/jobs.h"

#include <algorithm>

#include "base/json_lists.h"
#include "base/number.h"

namespace master::controllers {
using base::as_bool;
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;
using base::list_at;
using base::string_at;

const api::Resource kJobs = {"batch", "v1", "jobs", "Job", true};

namespace {
template <typename N>
std::optional<N> optional_number(const json::value* value) {
  if (!value || !value->is_number()) return std::nullopt;
  return static_cast<N>(as_int(value));
}
}  // namespace

std::shared_ptr<const JobPod> read_job_pod(const json::value& object) {
  bool tracked = false;
  for (const json::value& finalizer : list_at(find_path(object, "metadata", "finalizers")))
    tracked |= as_string(&finalizer) == kJobFinalizer;
  if (!tracked && controller_owner(object).kind != "Job") return nullptr;
  auto pod = std::make_shared<JobPod>();
  pod->tracked = tracked;
  if (const json::value* annotations = find_path(object, "metadata", "annotations")) {
    pod->index = base::parse_number<int>(string_at(*annotations, kJobIndex)).value_or(-1);
    pod->index_failures = base::parse_number<int64_t>(string_at(*annotations, kJobIndexFailures)).value_or(0);
  }
  const json::value* status = find(object, "status");
  if (!status) return pod;
  for (const char* list : {"initContainerStatuses", "containerStatuses"})
    for (const json::value& container : list_at(*status, list)) {
      pod->restarts += as_int(find(container, "restartCount"));
      const json::value* ended = find_path(container, "state", "terminated");
      if (!ended || ended->is_null()) continue;
      pod->exits.push_back({std::string(string_at(container, "name")), as_int(find(*ended, "exitCode"))});
      if (auto time = read_time(string_at(*ended, "finishedAt")))
        pod->finished_at = std::max(pod->finished_at, *time);
    }
  for (const json::value& condition : list_at(*status, "conditions"))
    pod->conditions.emplace_back(string_at(condition, "type"), string_at(condition, "status"));
  return pod;
}

const json::object* Job::condition(std::string_view type) const {
  const json::object* found = find_condition(list_at(status, "conditions"), type);
  return found && as_string(found->if_contains("status")) == "True" ? found : nullptr;
}

Store<Job>::Reader Job::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const Job> {
    auto job = std::make_shared<Job>();
    job->meta = read_meta(object);
    job->controller = controller_owner(object);
    job->status = copy_of(find(object, "status"));
    const json::value* spec = find(object, "spec");
    if (!spec) return job;
    job->selector = label_selector(find(*spec, "selector"));
    job->pod_template = copy_of(find(*spec, "template"));
    job->failure_policy = copy_of(find(*spec, "podFailurePolicy"));
    job->success_policy = copy_of(find(*spec, "successPolicy"));
    job->completions = optional_number<int>(find(*spec, "completions"));
    job->backoff_limit_per_index = optional_number<int>(find(*spec, "backoffLimitPerIndex"));
    job->max_failed_indexes = optional_number<int>(find(*spec, "maxFailedIndexes"));
    job->active_deadline_seconds = optional_number<int64_t>(find(*spec, "activeDeadlineSeconds"));
    job->ttl_seconds = optional_number<int64_t>(find(*spec, "ttlSecondsAfterFinished"));
    job->parallelism = optional_number<int>(find(*spec, "parallelism")).value_or(1);
    job->backoff_limit = optional_number<int>(find(*spec, "backoffLimit")).value_or(6);
    job->indexed = string_at(*spec, "completionMode") == "Indexed" && job->completions;
    job->suspend = as_bool(find(*spec, "suspend"));
    job->replace_failed_only = string_at(*spec, "podReplacementPolicy") == "Failed";
    job->restarts_in_place = string_at(*spec, "template", "spec", "restartPolicy") == "OnFailure";
    job->managed_by = string_at(*spec, "managedBy");
    return job;
  };
}
std::vector<std::string> Job::terms(const Job& job) {
  return {job.controller.uid.empty() ? orphans_of(job.meta.ns) : owned_by(job.controller.uid)};
}

}  // namespace master::controllers
