#include "master/controllers/disruption_plan.h"

#include <algorithm>

namespace master::controllers {
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;

Store<DisruptionBudget>::Reader DisruptionBudget::reader(const api::Resource&) {
  return [](const json::value& object) {
    auto budget = std::make_shared<DisruptionBudget>();
    budget->meta = read_meta(object);
    auto selector = api::selector_of_json(find_path(object, "spec", "selector"));
    if (selector.ok()) budget->selector = std::move(*selector);
    else budget->selector.nothing = true;
    auto copy = [](const json::value* value) { return value ? *value : json::value(); };
    budget->min_available = copy(find_path(object, "spec", "minAvailable"));
    budget->max_unavailable = copy(find_path(object, "spec", "maxUnavailable"));
    budget->status = copy(find(object, "status"));
    return std::shared_ptr<const DisruptionBudget>(std::move(budget));
  };
}

bool needs_sizes(const DisruptionBudget& budget) {
  return !budget.max_unavailable.is_null() || budget.min_available.is_string();
}

namespace {

struct Expected {
  int64_t pods = 0, healthy = 0;
};

// How many Pods there should be, and how many of them healthy.
Expected expect(const BudgetView& view, BudgetPlan& plan) {
  const DisruptionBudget& budget = *view.budget;
  if (!needs_sizes(budget))
    return {static_cast<int64_t>(view.pods.size()),
            budget.min_available.is_null() ? 0 : std::max<int64_t>(0, as_int(&budget.min_available))};
  std::set<std::string> counted;
  Expected out;
  for (const auto& pod : view.pods) {
    if (pod->owner_uid.empty()) {
      plan.unmanaged = true;
      continue;
    }
    auto size = view.sizes.find(pod->owner_uid);
    if (size == view.sizes.end()) {
      plan.failure = fmt::format("found no controllers for pod \"{}\"", pod->meta.name);
      return {};
    }
    if (counted.insert(pod->owner_uid).second) out.pods += std::max<int64_t>(0, size->second);
  }
  const bool unavailable = !budget.max_unavailable.is_null();
  auto share = scaled(unavailable ? budget.max_unavailable : budget.min_available, out.pods, true);
  if (!share) {
    plan.failure = "invalid value for IntOrString: " +
                   base::to_json(unavailable ? budget.max_unavailable : budget.min_available);
    return {};
  }
  out.healthy = std::max<int64_t>(0, unavailable ? out.pods - *share : *share);
  return out;
}

}  // namespace

BudgetPlan plan_budget(const BudgetView& view, base::Time now) {
  const DisruptionBudget& budget = *view.budget;
  BudgetPlan plan;
  const Expected expected = expect(view, plan);

  // Evictions that were granted, as long as their Pods are on the way out.
  json::object granted;
  auto soon = [&](base::Duration in) { plan.again = plan.again ? std::min(*plan.again, in) : in; };
  if (const json::value* had = find(budget.status, "disruptedPods"); had && had->is_object())
    for (const auto& pod : view.pods) {
      const json::value* at = had->get_object().if_contains(pod->meta.name);
      if (!at || pod->meta.deleting) continue;
      const base::Time until = read_time(as_string(at)).value_or(base::Time{}) + kGrantedFor;
      if (until < now) {
        plan.not_deleted.push_back(pod->meta.name);
      } else {
        granted[pod->meta.name] = *at;
        soon(until - now);
      }
    }
  int64_t healthy = 0;
  for (const auto& pod : view.pods)
    healthy += !pod->meta.deleting && pod->ready && !granted.contains(pod->meta.name);

  int64_t allowed =
      plan.failure.empty() && expected.pods > 0 ? std::max<int64_t>(0, healthy - expected.healthy) : 0;
  json::object& status = plan.status;
  if (plan.failure.empty()) {
    status = {{"currentHealthy", healthy},
              {"desiredHealthy", expected.healthy},
              {"disruptionsAllowed", allowed},
              {"expectedPods", expected.pods}};
    if (!granted.empty()) status["disruptedPods"] = std::move(granted);
  } else {
    if (budget.status.is_object()) status = budget.status.get_object();
    status["disruptionsAllowed"] = 0;
  }
  json::array conditions;
  if (const json::value* list = find(budget.status, "conditions"); list && list->is_array())
    conditions = list->get_array();
  if (!plan.failure.empty())
    set_condition(conditions, "DisruptionAllowed", "False", "SyncFailed", plan.failure, now);
  else if (allowed > 0) set_condition(conditions, "DisruptionAllowed", "True", "SufficientPods", "", now);
  else set_condition(conditions, "DisruptionAllowed", "False", "InsufficientPods", "", now);
  for (json::value& condition : conditions)
    if (base::string_at(condition, "type") == "DisruptionAllowed")
      condition.get_object()["observedGeneration"] = budget.meta.generation;
  status["conditions"] = std::move(conditions);
  if (plan.failure.empty()) status["observedGeneration"] = budget.meta.generation;
  plan.changed = json::value(status) != budget.status;
  return plan;
}

std::string BudgetPlan::text() const {
  std::string out;
  for (const std::string& pod : not_deleted) out += fmt::format("event NotDeleted {}\n", pod);
  if (unmanaged) out += "event UnmanagedPods\n";
  if (!failure.empty()) out += fmt::format("fail {}\n", failure);
  auto number = [&](const char* key) { return as_int(status.if_contains(key)); };
  std::string granted;
  if (const json::value* pods = status.if_contains("disruptedPods"); pods && pods->is_object())
    for (const auto& item : pods->get_object())
      granted += fmt::format(" granted={}", std::string_view(item.key().data(), item.key().size()));
  out += fmt::format("status{} healthy={}/{} allowed={} expected={}{}\n", changed ? "" : " unchanged",
                     number("currentHealthy"), number("desiredHealthy"), number("disruptionsAllowed"),
                     number("expectedPods"), granted);
  if (again)
    out += fmt::format("again in {}s\n", std::chrono::duration_cast<std::chrono::seconds>(*again).count());
  return out;
}

}  // namespace master::controllers
