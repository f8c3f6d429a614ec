// What a Job does next, given its Pods and those it may claim. Pure. Counting survives crashes: a finished
// Pod's uid is written into status.uncountedTerminatedPods before its finalizer goes, and moves into the
// counters once it is gone (KEP-2307). Conditions, reasons and messages are those of Kubernetes' job
// controller, which kubectl wait and workflow engines read.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/controllers/events.h"
#include "master/controllers/job_indexes.h"
#include "master/controllers/jobs.h"

namespace master::controllers {

constexpr int kJobBurst = 500;  // Pods created, deleted or counted in one round, as in Kubernetes
constexpr base::Duration kJobBackoff = std::chrono::seconds(10), kJobMaxBackoff = std::chrono::minutes(10);

struct JobPlan {
  std::vector<std::string> adopt, release;  // Pod names
  json::object status;                      // the whole one to publish
  bool status_changed = false;
  std::vector<std::string> untrack;  // after the status is written: their finalizer goes
  std::vector<std::string> remove;   // after that
  struct Create {
    int index = -1;        // -1: not indexed
    int64_t failures = 0;  // of this index before
  };
  std::vector<Create> create;
  std::vector<PlanEvent> events;  // when the status is written
  bool remove_job = false;        // its time after the end is over
  std::optional<base::Duration> again;
  std::string text() const;
};
// `pods`: those whose controller is the Job, and those of its namespace without a controller. A Job that
// somebody else manages is not to be asked about.
JobPlan plan_job(const Job& job, const std::vector<std::shared_ptr<const Pod>>& pods, base::Time now);

// The body of a Pod to create.
json::object pod_of_job(const Job& job, const JobPlan::Create& create);

// What podFailurePolicy says of a failed Pod (KEP-3329).
struct FailureVerdict {
  enum class Action { kCount, kIgnore, kFailJob, kFailIndex } action = Action::kCount;
  std::string message;  // of kFailJob
};
FailureVerdict judge_failure(const Job& job, const Pod& pod);

}  // namespace master::controllers
