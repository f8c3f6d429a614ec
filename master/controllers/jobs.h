// What controllers keep of a Job, and of the Pods of Jobs beyond what they keep of every Pod. Read
// straight from JSON. Shapes of batch/v1.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "master/controllers/store.h"

namespace master::controllers {

extern const api::Resource kJobs;

constexpr const char* kJobFinalizer = "batch.kubernetes.io/job-tracking";
constexpr const char* kJobIndex = "batch.kubernetes.io/job-completion-index";
constexpr const char* kJobIndexFailures = "batch.kubernetes.io/job-index-failure-count";

// Part of a Pod that a Job made, or that still bears the finalizer of one.
struct JobPod {
  bool tracked = false;        // has the finalizer: not yet counted in its Job's status
  int index = -1;              // its completion index, if any
  int64_t index_failures = 0;  // how often its index failed before it
  int64_t restarts = 0;        // of all containers together
  base::Time finished_at{};    // when its last container ended
  struct Exit {
    std::string container;
    int64_t code = 0;
  };
  std::vector<Exit> exits;
  std::vector<std::pair<std::string, std::string>> conditions;  // type, status
};
// Null for all other Pods.
std::shared_ptr<const JobPod> read_job_pod(const json::value& pod);

struct Job {
  Meta meta;
  Selector selector;
  json::value pod_template, status, failure_policy, success_policy;
  std::optional<int> completions, backoff_limit_per_index, max_failed_indexes;
  std::optional<int64_t> active_deadline_seconds, ttl_seconds;
  int parallelism = 1, backoff_limit = 6;
  bool indexed = false, suspend = false;
  bool replace_failed_only = false;  // podReplacementPolicy: Failed
  bool restarts_in_place = false;    // the template's restartPolicy: OnFailure
  std::string managed_by;

  const json::object* condition(std::string_view type) const;  // one whose status is True
  bool finished() const { return condition("Complete") || condition("Failed"); }

  static Store<Job>::Reader reader(const api::Resource& resource);
  static std::vector<std::string> terms(const Job& job);
  OwnerRef controller;  // a CronJob
};

}  // namespace master::controllers
