#include "base/json_lists.h"
#include "master/controllers/job_plan.h"

namespace master::controllers {
using base::as_int;
using base::find;
using base::list_at;
using base::string_at;

namespace {

// The first container whose exit the requirement is about.
const JobPod::Exit* matching_exit(const json::value& requirement, const JobPod& pod) {
  const std::string_view name = string_at(requirement, "containerName");
  const bool in = string_at(requirement, "operator") == "In";
  for (const JobPod::Exit& exit : pod.exits) {
    if (exit.code == 0 || (!name.empty() && exit.container != name))
      continue;  // success is no failure's cause
    bool listed = false;
    for (const json::value& value : list_at(requirement, "values")) listed |= as_int(&value) == exit.code;
    if (listed == in) return &exit;
  }
  return nullptr;
}
const std::pair<std::string, std::string>* matching_condition(const json::value& patterns,
                                                              const JobPod& pod) {
  for (const json::value& pattern : list_at(&patterns)) {
    std::string_view status = string_at(pattern, "status");
    if (status.empty()) status = "True";
    for (const auto& condition : pod.conditions)
      if (condition.first == string_at(pattern, "type") && condition.second == status) return &condition;
  }
  return nullptr;
}

}  // namespace

FailureVerdict judge_failure(const Job& job, const Pod& pod) {
  using Action = FailureVerdict::Action;
  if (!pod.job) return {};
  int number = -1;
  for (const json::value& rule : list_at(job.failure_policy, "rules")) {
    ++number;
    std::string why;
    if (const json::value* codes = find(rule, "onExitCodes"); codes && codes->is_object()) {
      if (const JobPod::Exit* exit = matching_exit(*codes, *pod.job))
        why = fmt::format("Container {} for pod {} failed with exit code {}", exit->container, pod.meta.key(),
                          exit->code);
    } else if (const json::value* patterns = find(rule, "onPodConditions")) {
      if (const auto* condition = matching_condition(*patterns, *pod.job))
        why = fmt::format("Pod {} has condition {}", pod.meta.key(), condition->first);
    }
    if (why.empty()) continue;
    const std::string_view action = string_at(rule, "action");
    if (action == "Ignore") return {Action::kIgnore, {}};
    if (action == "FailIndex") return {Action::kFailIndex, {}};
    if (action == "FailJob")
      return {Action::kFailJob, fmt::format("{} matching FailJob rule at index {}", why, number)};
    return {};
  }
  return {};
}

}  // namespace master::controllers
