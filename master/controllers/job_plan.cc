#include "master/controllers/job_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "base/json_lists.h"
#include "base/number.h"
#include "master/controllers/replica_plan.h"
#include "master/controllers/workloads.h"

namespace master::controllers {
using base::as_bool;
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;
using base::list_at;
using base::string_at;

namespace {

using Pods = std::vector<std::shared_ptr<const Pod>>;

class JobPlanner {
 public:
  JobPlanner(const Job& job, const Pods& pods, base::Time now)
      : job_(job), now_(now), limit_(job.completions.value_or(0)),
        completed_(IndexSet::parse(string_at(job.status, "completedIndexes"), limit_)),
        failed_indexes_(IndexSet::parse(string_at(job.status, "failedIndexes"), limit_)),
        counted_succeeded_(as_int(find(job.status, "succeeded"))),
        counted_failed_(as_int(find(job.status, "failed"))) {
    if (const json::value* list = find(job.status, "conditions"); list && list->is_array())
      conditions_ = list->get_array();
    for (auto [key, into] : {std::pair{"succeeded", &uncounted_succeeded_}, {"failed", &uncounted_failed_}})
      for (const json::value& uid : list_at(find_path(job.status, "uncountedTerminatedPods", key)))
        into->emplace(as_string(&uid));
    claim(pods);
  }

  JobPlan run() {
    if (job_.finished()) return after_the_end();
    if (job_.meta.deleting) {
      untrack_all();
      return std::move(plan_);
    }
    start_or_suspend();
    count();
    const bool was_failing = is("FailureTarget"), was_done = is("SuccessCriteriaMet");
    if (!was_failing && !was_done) judge();
    if (is("FailureTarget") || is("SuccessCriteriaMet")) finish();
    else if (job_.suspend) drop(active_, active_.size());
    else change_size();
    publish();
    return std::move(plan_);
  }

 private:
  void claim(const Pods& pods) {
    for (const auto& pod : pods) {
      const bool matches = job_.selector.matches(pod->shape->labels);
      if (pod->owner_uid == job_.meta.uid) {
        if (matches || job_.meta.deleting) mine_.push_back(pod.get());
        else plan_.release.push_back(pod->meta.name);
      } else if (pod->owner_uid.empty() && matches && !job_.meta.deleting && !pod->finished() &&
                 !pod->meta.deleting) {
        plan_.adopt.push_back(pod->meta.name);
        mine_.push_back(pod.get());
      }
    }
    std::sort(mine_.begin(), mine_.end(),
              [](const Pod* a, const Pod* b) { return a->meta.name < b->meta.name; });
    for (const Pod* pod : mine_) {
      if (pod->finished()) continue;
      if (pod->meta.deleting) terminating_.push_back(pod);
      else active_.push_back(pod);
    }
  }

  bool tracked(const Pod& pod) const { return pod.job && pod.job->tracked; }
  int index_of(const Pod& pod) const { return pod.job ? pod.job->index : -1; }
  bool in_range(int index) const { return index >= 0 && index < limit_; }
  bool is(std::string_view type) const {
    const json::object* found = find_condition(conditions_, type);
    return found && as_string(found->if_contains("status")) == "True";
  }
  // A Pod that is deleted before it ended has failed, unless only what failed is to be replaced.
  bool has_failed(const Pod& pod) const {
    if (pod.phase == "Failed") return true;
    return !job_.replace_failed_only && pod.meta.deleting && pod.phase != "Succeeded";
  }

  void untrack_all() {
    for (const Pod* pod : mine_)
      if (tracked(*pod)) plan_.untrack.push_back(pod->meta.name);
  }
  JobPlan after_the_end() {
    untrack_all();
    if (!job_.ttl_seconds || job_.meta.deleting) return std::move(plan_);
    const json::object* end =
        job_.condition("Complete") ? job_.condition("Complete") : job_.condition("Failed");
    const auto ended = read_time(as_string(end->if_contains("lastTransitionTime")));
    if (!ended) return std::move(plan_);
    const base::Duration left = *ended + seconds_of(*job_.ttl_seconds) - now_;
    if (left.count() <= 0) plan_.remove_job = true;
    else look_again(left);
    return std::move(plan_);
  }
  void look_again(base::Duration after) { plan_.again = plan_.again ? std::min(*plan_.again, after) : after; }

  void start_or_suspend() {
    const json::value* started = find(job_.status, "startTime");
    if (started && started->is_string()) started_ = read_time(started->get_string());
    const json::object* suspended = find_condition(conditions_, "Suspended");
    const bool was = suspended && as_string(suspended->if_contains("status")) == "True";
    if (job_.suspend) {
      if (was) return;
      set_job_condition("Suspended", "True", "JobSuspended", "Job suspended");
      plan_.events.push_back({"Normal", "Suspended", "Job suspended"});
      return;
    }
    if (was) {
      set_job_condition("Suspended", "False", "JobResumed", "Job resumed");
      plan_.events.push_back({"Normal", "Resumed", "Job resumed"});
      started_ = now_;  // the deadline counts from the last start
    }
    if (!started_) started_ = now_;
  }

  // Which Pods ended since the last round, and which of those written down can now be counted.
  void count() {
    std::set<std::string_view> held;
    for (const Pod* pod : mine_)
      if (tracked(*pod)) held.insert(pod->meta.uid);
    auto settle = [&](std::set<std::string>& uncounted, int64_t& counter) {
      for (auto at = uncounted.begin(); at != uncounted.end();) {
        if (held.contains(*at)) {
          ++at;
        } else {
          ++counter;
          at = uncounted.erase(at);
        }
      }
    };
    settle(uncounted_succeeded_, counted_succeeded_);
    settle(uncounted_failed_, counted_failed_);
    find_retries();
    int burst = kJobBurst;
    for (const Pod* pod : mine_) {
      if (!tracked(*pod) || uncounted_succeeded_.contains(pod->meta.uid) ||
          uncounted_failed_.contains(pod->meta.uid)) {
        if (tracked(*pod)) plan_.untrack.push_back(pod->meta.name);
        continue;
      }
      if (burst == 0) break;
      if (pod->phase == "Succeeded") {
        --burst;
        if (!job_.indexed) uncounted_succeeded_.insert(pod->meta.uid);
        else if (in_range(index_of(*pod))) completed_.add(index_of(*pod));
        plan_.untrack.push_back(pod->meta.name);
      } else if (has_failed(*pod)) {
        const FailureVerdict verdict = pod->phase == "Failed" ? judge_failure(job_, *pod) : FailureVerdict{};
        if (verdict.action == FailureVerdict::Action::kFailJob && failed_by_policy_.empty())
          failed_by_policy_ = verdict.message;
        if (held_for_retry_.contains(pod)) continue;
        --burst;
        if (verdict.action != FailureVerdict::Action::kIgnore) uncounted_failed_.insert(pod->meta.uid);
        plan_.untrack.push_back(pod->meta.name);
      }
    }
    if (job_.indexed) {
      counted_succeeded_ = completed_.count();
      uncounted_succeeded_.clear();
    }
  }

  // With a limit per index, the newest failed Pod of an index tells how often it failed: it keeps its
  // finalizer, so that nobody's clean-up forgets the number, until its successor bears the next one.
  void find_retries() {
    if (!job_.indexed || !job_.backoff_limit_per_index) return;
    std::map<int, const Pod*> newest;
    std::set<int> running;
    for (const Pod* pod : mine_) {
      const int index = index_of(*pod);
      if (!in_range(index) || completed_.contains(index) || failed_indexes_.contains(index)) continue;
      if (pod->phase == "Succeeded" || (!pod->finished() && !pod->meta.deleting)) running.insert(index);
      else if (tracked(*pod) && has_failed(*pod)) {
        const Pod*& at = newest[index];
        if (!at || failures_before(*pod) >= failures_before(*at)) at = pod;
      }
    }
    for (const auto& [index, pod] : newest) {
      if (running.contains(index)) continue;
      const FailureVerdict verdict = pod->phase == "Failed" ? judge_failure(job_, *pod) : FailureVerdict{};
      const int64_t failures =
          failures_before(*pod) + (verdict.action == FailureVerdict::Action::kIgnore ? 0 : 1);
      if (verdict.action == FailureVerdict::Action::kFailIndex || failures > *job_.backoff_limit_per_index) {
        failed_indexes_.add(index);
        continue;
      }
      retries_[index] = {failures, pod};
      held_for_retry_.insert(pod);
    }
  }
  int64_t failures_before(const Pod& pod) const { return pod.job ? pod.job->index_failures : 0; }

  int64_t succeeded() const { return counted_succeeded_ + static_cast<int64_t>(uncounted_succeeded_.size()); }
  int64_t failed() const {
    return counted_failed_ + static_cast<int64_t>(uncounted_failed_.size()) +
           static_cast<int64_t>(held_for_retry_.size());
  }

  void judge() {
    if (!failed_by_policy_.empty()) return fail("PodFailurePolicy", failed_by_policy_);
    const bool per_index = job_.indexed && job_.backoff_limit_per_index.has_value();
    if (!per_index || job_.backoff_limit != INT32_MAX) {
      int64_t restarts = 0;
      if (job_.restarts_in_place)
        for (const Pod* pod : active_) restarts += pod->job ? pod->job->restarts : 0;
      const bool too_often =
          job_.restarts_in_place && (job_.backoff_limit == 0 ? restarts > 0 : restarts >= job_.backoff_limit);
      if (failed() > job_.backoff_limit || too_often)
        return fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if (job_.active_deadline_seconds && started_ && !job_.suspend) {
      const base::Duration left = *started_ + seconds_of(*job_.active_deadline_seconds) - now_;
      if (left.count() <= 0) return fail("DeadlineExceeded", "Job was active longer than specified deadline");
      look_again(left);
    }
    if (per_index) {
      if (job_.max_failed_indexes && failed_indexes_.count() > *job_.max_failed_indexes)
        return fail("MaxFailedIndexesExceeded",
                    "Job has exceeded the specified maximal number of failed indexes");
      if (!failed_indexes_.empty() && failed_indexes_.count() + completed_.count() >= limit_)
        return fail("FailedIndexes", "Job has failed indexes");
    }
    if (succeeded_by_policy()) return;
    const bool complete = job_.completions ? succeeded() >= *job_.completions
                                           : succeeded() > 0 && active_.empty() && terminating_.empty();
    if (complete)
      set_job_condition("SuccessCriteriaMet", "True", "CompletionsReached",
                        "Reached expected number of succeeded pods");
  }
  bool succeeded_by_policy() {
    if (!job_.indexed) return false;
    int number = -1;
    for (const json::value& rule : list_at(job_.success_policy, "rules")) {
      ++number;
      const json::value* indexes = find(rule, "succeededIndexes");
      const json::value* count = find(rule, "succeededCount");
      int matched = completed_.count(), wanted = matched;
      if (indexes && indexes->is_string()) {
        const IndexSet named = IndexSet::parse(indexes->get_string(), limit_);
        wanted = named.count();
        matched = 0;
        for (int i = 0; i < limit_; ++i) matched += named.contains(i) && completed_.contains(i);
      }
      if (count && count->is_number()) wanted = static_cast<int>(as_int(count));
      else if (!indexes) continue;
      if (matched < wanted) continue;
      set_job_condition("SuccessCriteriaMet", "True", "SuccessPolicy",
                        fmt::format("Matched rules at index {}", number));
      return true;
    }
    return false;
  }
  void fail(const char* reason, const std::string& message) {
    set_job_condition("FailureTarget", "True", reason, message);
  }

  // The verdict stands: what runs is stopped, and the last word is said when all of it has ended and is
  // counted.
  void finish() {
    for (const Pod* pod : active_)
      if (plan_.remove.size() < static_cast<size_t>(kJobBurst)) plan_.remove.push_back(pod->meta.name);
    const bool failing = is("FailureTarget");
    for (const Pod* pod : held_for_retry_) {  // nothing is tried again any more: these count, too
      uncounted_failed_.insert(pod->meta.uid);
      plan_.untrack.push_back(pod->meta.name);
    }
    held_for_retry_.clear();
    if (!active_.empty() || !terminating_.empty() || !uncounted_failed_.empty() ||
        !uncounted_succeeded_.empty() || !plan_.untrack.empty())
      return;
    const json::object* target =
        find_condition(conditions_, failing ? "FailureTarget" : "SuccessCriteriaMet");
    const std::string reason(as_string(target->if_contains("reason"))),
        message(as_string(target->if_contains("message")));
    set_job_condition(failing ? "Failed" : "Complete", "True", reason, message);
    if (failing) plan_.events.push_back({"Warning", reason, message});
    else plan_.events.push_back({"Normal", "Completed", "Job completed"});
    ended_ = true;
  }

  // Stops Pods that are too many: not counted, since nothing failed.
  void drop(std::vector<const Pod*> pods, size_t count) {
    std::unordered_map<std::string_view, int> crowd;
    for (const Pod* pod : pods) ++crowd[pod->node];
    std::sort(pods.begin(), pods.end(), [&](const Pod* a, const Pod* b) {
      return goes_before(*a, crowd[a->node], *b, crowd[b->node]);
    });
    pods.resize(std::min({pods.size(), count, static_cast<size_t>(kJobBurst)}));
    for (const Pod* pod : pods) {
      if (tracked(*pod)) plan_.untrack.push_back(pod->meta.name);
      plan_.remove.push_back(pod->meta.name);
    }
  }

  int wanted_active() const {
    if (!job_.completions) return succeeded() > 0 ? static_cast<int>(active_.size()) : job_.parallelism;
    const int64_t left = *job_.completions - succeeded() - (job_.indexed ? failed_indexes_.count() : 0);
    return static_cast<int>(std::clamp<int64_t>(left, 0, job_.parallelism));
  }
  void change_size() {
    std::vector<const Pod*> keep, surplus;
    std::set<int> running;
    for (const Pod* pod : active_) {
      const int index = index_of(*pod);
      const bool useless = job_.indexed && (!in_range(index) || completed_.contains(index) ||
                                            failed_indexes_.contains(index) || !running.insert(index).second);
      (useless ? surplus : keep).push_back(pod);
    }
    const int wanted = wanted_active();
    const int have = static_cast<int>(keep.size());
    if (!surplus.empty()) return drop(surplus, surplus.size());
    if (have > wanted) return drop(keep, static_cast<size_t>(have - wanted));
    int missing = wanted - have - (job_.replace_failed_only ? static_cast<int>(terminating_.size()) : 0);
    missing = std::min(missing, kJobBurst);
    if (missing <= 0) return;
    if (job_.indexed) return create_indexes(missing, running);
    if (const base::Duration left = backoff_left(); left.count() > 0) return look_again(left);
    plan_.create.assign(static_cast<size_t>(missing), {});
  }
  void create_indexes(int missing, const std::set<int>& running) {
    const bool per_index = job_.backoff_limit_per_index.has_value();
    if (!per_index)
      if (const base::Duration left = backoff_left(); left.count() > 0) return look_again(left);
    std::set<int> leaving;
    if (job_.replace_failed_only)
      for (const Pod* pod : terminating_) leaving.insert(index_of(*pod));
    Labels labels = read_labels(find_path(job_.pod_template, "metadata", "labels"));
    for (int index = 0; index < limit_ && missing > 0; ++index) {
      if (running.contains(index) || leaving.contains(index) || completed_.contains(index) ||
          failed_indexes_.contains(index))
        continue;
      JobPlan::Create create{index, 0};
      if (auto retry = retries_.find(index); retry != retries_.end()) {
        create.failures = retry->second.failures;
        const base::Duration left = ended_at(*retry->second.pod) + backoff(retry->second.failures) - now_;
        if (create.failures > 0 && left.count() > 0) {
          look_again(left);
          continue;
        }
      }
      // By a selector over the index, which the controller sets, it would be let go as soon as it is made.
      labels[kJobIndex] = std::to_string(index);
      if (!job_.selector.matches(labels)) continue;
      plan_.create.push_back(create);
      --missing;
    }
  }

  static base::Duration backoff(int64_t failures) {
    base::Duration delay = kJobBackoff;
    for (int64_t i = 1; i < failures && delay < kJobMaxBackoff; ++i) delay *= 2;
    return std::min(delay, kJobMaxBackoff);
  }
  base::Time ended_at(const Pod& pod) const {
    if (pod.job && pod.job->finished_at != base::Time{}) return pod.job->finished_at;
    return pod.meta.deleting ? pod.deletion_at : pod.meta.created;
  }
  // How long no Pod is made after failures in a row: since the last one that succeeded.
  base::Duration backoff_left() const {
    base::Time success{}, failure{};
    for (const Pod* pod : mine_)
      if (pod->phase == "Succeeded") success = std::max(success, ended_at(*pod));
    int64_t failures = 0;
    for (const Pod* pod : mine_) {
      if (pod->phase != "Failed" || ended_at(*pod) <= success) continue;
      ++failures;
      failure = std::max(failure, ended_at(*pod));
    }
    return failures == 0 ? base::Duration{} : failure + backoff(failures) - now_;
  }

  void set_job_condition(std::string_view type, std::string_view status, std::string_view reason,
                         std::string_view message) {
    if (!set_condition(conditions_, type, status, reason, message, now_)) return;
    for (json::value& condition : conditions_)
      if (string_at(condition, "type") == type)
        condition.get_object()["lastProbeTime"] = base::format_time(now_);
  }

  void publish() {
    json::object& status = plan_.status;
    auto number = [&](const char* key, int64_t value, bool keep_zero = false) {
      if (value || keep_zero) status[key] = value;
      else if (find(job_.status, key)) status[key] = nullptr;
      plan_.status_changed |=
          as_int(find(job_.status, key)) != value || (keep_zero && !find(job_.status, key));
    };
    const int leaving = static_cast<int>(terminating_.size() + plan_.remove.size());
    int ready = 0;
    const std::set<std::string_view> going(plan_.remove.begin(), plan_.remove.end());
    for (const Pod* pod : active_) ready += pod->ready && !going.contains(pod->meta.name);
    number("active", static_cast<int64_t>(active_.size() - going.size() + plan_.create.size()));
    number("succeeded", counted_succeeded_);
    number("failed", counted_failed_);
    number("ready", ready, true);
    number("terminating", leaving, true);
    auto text = [&](const char* key, const std::string& value) {
      if (!value.empty()) status[key] = value;
      else if (find(job_.status, key)) status[key] = nullptr;
      plan_.status_changed |= string_at(job_.status, key) != value;
    };
    if (job_.indexed) {
      text("completedIndexes", completed_.text());
      if (job_.backoff_limit_per_index) {
        plan_.status_changed |= !find(job_.status, "failedIndexes") ||
                                string_at(job_.status, "failedIndexes") != failed_indexes_.text();
        status["failedIndexes"] = failed_indexes_.text();
      }
    }
    if (started_) text("startTime", base::format_time(*started_));
    if (ended_ && is("Complete")) text("completionTime", base::format_time(now_));
    json::object uncounted;
    for (auto [key, from] : {std::pair{"succeeded", &uncounted_succeeded_}, {"failed", &uncounted_failed_}}) {
      json::array list;
      for (const std::string& uid : *from) list.emplace_back(uid);
      const json::value* before = find_path(job_.status, "uncountedTerminatedPods", key);
      plan_.status_changed |= list_at(before) != list;
      if (!list.empty()) uncounted[key] = std::move(list);
      else if (before) uncounted[key] = nullptr;
    }
    const json::value* before = find(job_.status, "uncountedTerminatedPods");
    plan_.status_changed |= !before || !before->is_object();
    status["uncountedTerminatedPods"] = std::move(uncounted);
    plan_.status_changed |= list_at(job_.status, "conditions") != conditions_;
    status["conditions"] = conditions_.empty() ? json::value() : json::value(conditions_);
  }

  const Job& job_;
  const base::Time now_;
  const int limit_;  // indexes are below it
  std::vector<const Pod*> mine_, active_, terminating_;
  IndexSet completed_, failed_indexes_;
  int64_t counted_succeeded_, counted_failed_;
  std::set<std::string> uncounted_succeeded_, uncounted_failed_;  // uids
  json::array conditions_;
  std::optional<base::Time> started_;
  struct Retry {
    int64_t failures = 0;
    const Pod* pod = nullptr;
  };
  std::map<int, Retry> retries_;
  std::set<const Pod*> held_for_retry_;
  std::string failed_by_policy_;
  bool ended_ = false;
  JobPlan plan_;
};

}  // namespace

JobPlan plan_job(const Job& job, const Pods& pods, base::Time now) {
  return JobPlanner(job, pods, now).run();
}

std::string JobPlan::text() const {
  std::string out;
  for (const std::string& name : adopt) out += fmt::format("adopt {}\n", name);
  for (const std::string& name : release) out += fmt::format("release {}\n", name);
  if (status_changed) {
    out += "status";
    for (const char* key : {"active", "ready", "succeeded", "failed", "terminating"})
      if (const json::value* value = status.if_contains(key); value && value->is_number() && as_int(value))
        out += fmt::format(" {}={}", key, as_int(value));
    for (const char* key : {"completedIndexes", "failedIndexes"})
      if (const json::value* value = status.if_contains(key); value && value->is_string())
        out += fmt::format(" {}={}", key, as_string(value));
    const json::value all(status);
    for (const char* key : {"succeeded", "failed"})
      for (const json::value& uid : list_at(find_path(all, "uncountedTerminatedPods", key)))
        out += fmt::format(" {}:{}", key, as_string(&uid));
    for (const json::value& condition : list_at(all, "conditions"))
      out += fmt::format(" {}/{}/{}", string_at(condition, "type"), string_at(condition, "status"),
                         string_at(condition, "reason"));
    out += "\n";
  }
  for (const std::string& name : untrack) out += fmt::format("untrack {}\n", name);
  for (const std::string& name : remove) out += fmt::format("delete {}\n", name);
  for (const Create& one : create) {
    if (one.index < 0) out += "create\n";
    else if (one.failures) out += fmt::format("create {} after {} failures\n", one.index, one.failures);
    else out += fmt::format("create {}\n", one.index);
  }
  for (const PlanEvent& event : events) out += fmt::format("event {} {}\n", event.type, event.reason);
  if (remove_job) out += "delete job\n";
  if (again)
    out +=
        fmt::format("again in {}ms\n", std::chrono::duration_cast<std::chrono::milliseconds>(*again).count());
  return out;
}

// What a Pod of an index knows of it: an annotation, a label, its host's name and a variable.
static void set_index(const Job& job, const JobPlan::Create& create, json::object& meta, json::object& spec) {
  const std::string index = std::to_string(create.index);
  base::object_at(meta, "annotations")[kJobIndex] = index;
  base::object_at(meta, "labels")[kJobIndex] = index;
  if (job.backoff_limit_per_index)
    base::object_at(meta, "annotations")[kJobIndexFailures] = std::to_string(create.failures);
  const json::value* hostname = spec.if_contains("hostname");
  if (!hostname || as_string(hostname).empty()) spec["hostname"] = job.meta.name + "-" + index;
  for (const char* list : {"initContainers", "containers"}) {
    json::value* containers = spec.if_contains(list);
    if (!containers || !containers->is_array()) continue;
    for (json::value& container : containers->get_array()) {
      if (!container.is_object()) continue;
      json::value& env = container.get_object()["env"];
      if (!env.is_array()) env = json::array();
      bool there = false;
      for (const json::value& one : env.get_array())
        there |= string_at(one, "name") == "JOB_COMPLETION_INDEX";
      if (there) continue;
      const std::string path = fmt::format("metadata.labels['{}']", kJobIndex);
      env.get_array().push_back(json::object{{"name", "JOB_COMPLETION_INDEX"},
                                             {"valueFrom", {{"fieldRef", {{"fieldPath", path}}}}}});
    }
  }
}

json::object pod_of_job(const Job& job, const JobPlan::Create& create) {
  json::object pod = pod_of_template(job.pod_template, job.meta.ns,
                                     controller_reference("batch/v1", "Job", job.meta.name, job.meta.uid));
  json::object& meta = pod["metadata"].get_object();
  json::value& finalizers = meta["finalizers"];
  if (!finalizers.is_array()) finalizers = json::array();
  finalizers.get_array().emplace_back(kJobFinalizer);
  meta["generateName"] =
      job.meta.name + (create.index >= 0 ? fmt::format("-{}-", create.index) : std::string("-"));
  if (create.index >= 0) set_index(job, create, meta, base::object_at(pod, "spec"));
  return pod;
}

}  // namespace master::controllers
