#include "master/controllers/autoscaler_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json_lists.h"

namespace master::controllers {
namespace {

class AutoscalerPlanner {
 public:
  AutoscalerPlanner(const Autoscaler& autoscaler, const AutoscalerSeen& seen, ScalingMemory memory,
                    base::Time now)
      : a_(autoscaler), seen_(seen), now_(now), current_(seen.scale.spec_replicas) {
    plan_.memory = std::move(memory);
    plan_.status = a_.status.is_object() ? a_.status.get_object() : json::object();
    conditions_ = base::list_at(a_.status, "conditions");
    desired_ = static_cast<int>(base::as_int(base::find(a_.status, "desiredReplicas")));
  }

  AutoscalerPlan run() {
    if (!seen_.scale_error.empty()) {
      fail("FailedGetScale", seen_.scale_error);
      condition("AbleToScale", false, "FailedGetScale",
                "the HPA controller was unable to get the target's current scale: " + seen_.scale_error);
      return finish(false);
    }
    condition("AbleToScale", true, "SucceededGetScale",
              "the HPA controller was able to get the target's current scale");
    if (current_ == 0 && a_.min_replicas != 0) {
      desired_ = 0;
      condition("ScalingActive", false, "ScalingDisabled",
                "scaling is disabled since the replica count of the target is zero");
      return finish(true);
    }
    if (seen_.scale.selector.empty()) {
      const std::string why = "selector is required";
      fail("SelectorRequired", why);
      condition("ScalingActive", false, "InvalidSelector", "the HPA target's scale is missing a selector");
      return finish(true);
    }
    if (current_ > a_.max_replicas) {
      resize(a_.max_replicas, "Current number of replicas above Spec.MaxReplicas");
    } else if (current_ < a_.min_replicas) {
      resize(a_.min_replicas, "Current number of replicas below Spec.MinReplicas");
    } else {
      by_metrics();
    }
    return finish(true);
  }

 private:
  void condition(const char* type, bool holds, const std::string& reason, const std::string& message) {
    set_condition(conditions_, type, holds ? "True" : "False", reason, message, now_);
  }
  void fail(const std::string& reason, const std::string& message) {
    plan_.events.push_back({"Warning", reason, message});
  }
  void resize(int to, const std::string& reason) {
    desired_ = to;
    if (to == current_) return;
    plan_.scale_to = to;
    plan_.reason = reason;
    condition("AbleToScale", true, "SucceededRescale",
              fmt::format("the HPA controller was able to update the target scale to {}", to));
    plan_.status["lastScaleTime"] = base::format_time(now_);
  }

  void by_metrics() {
    json::array current_metrics;
    int wanted = 0, failed = 0;
    bool any = false;
    std::string name, error, reason;
    for (size_t i = 0; i < a_.metrics.size() && i < seen_.metrics.size(); ++i) {
      MetricVerdict verdict =
          judge_metric(a_, a_.metrics[i], seen_.scale, seen_.pods, seen_.metrics[i], now_);
      if (!verdict.error.empty()) {
        fail(verdict.reason, verdict.error);
        if (failed++ == 0) error = verdict.error, reason = verdict.reason;
        continue;
      }
      current_metrics.push_back(std::move(verdict.status));
      if (!any || verdict.replicas > wanted) wanted = verdict.replicas, name = verdict.name;
      any = true;
    }
    if (current_metrics.empty()) plan_.status.erase("currentMetrics");
    else plan_.status["currentMetrics"] = std::move(current_metrics);
    // One that is not known may ask for more: then nothing is taken away.
    if (!any || (failed > 0 && wanted < current_)) {
      if (a_.metrics.empty()) reason = "InvalidMetricSourceType", error = "no metrics are given";
      condition("ScalingActive", false, reason, "the HPA was unable to compute the replica count: " + error);
      fail("FailedComputeMetricsReplicas",
           fmt::format("invalid metrics ({} invalid out of {}), first error is: {}", failed,
                       a_.metrics.size(), error));
      desired_ = current_;
      return;
    }
    condition("ScalingActive", true, "ValidMetricFound",
              "the HPA was able to successfully calculate a replica count from " + name);
    const LimitedScale limited = limit_scale(a_, current_, wanted, plan_.memory, now_);
    condition("AbleToScale", true, limited.able_reason, limited.able_message);
    condition("ScalingLimited", limited.limited, limited.limited_reason, limited.limited_message);
    resize(limited.replicas,
           limited.replicas > current_ ? name + " above target" : "All metrics below target");
  }

  AutoscalerPlan finish(bool has_scale) {
    if (has_scale) plan_.status["currentReplicas"] = seen_.scale.status_replicas;
    plan_.status["desiredReplicas"] = desired_;
    if (a_.meta.generation) plan_.status["observedGeneration"] = a_.meta.generation;
    if (!conditions_.empty()) plan_.status["conditions"] = conditions_;
    plan_.status_changed = !a_.status.is_object() || json::value(plan_.status) != a_.status;
    return std::move(plan_);
  }

  const Autoscaler& a_;
  const AutoscalerSeen& seen_;
  const base::Time now_;
  const int current_;
  int desired_ = 0;
  json::array conditions_;
  AutoscalerPlan plan_;
};

}  // namespace

std::string AutoscalerPlan::text() const {
  std::string out;
  if (scale_to) out += fmt::format("scale to {}: {}\n", *scale_to, reason);
  if (status_changed) {
    out += fmt::format("status current={} desired={}", base::as_int(status.if_contains("currentReplicas")),
                       base::as_int(status.if_contains("desiredReplicas")));
    for (const json::value& condition : base::list_at(status.if_contains("conditions")))
      out += fmt::format(" {}={}/{}", base::string_at(condition, "type"),
                         base::string_at(condition, "status"), base::string_at(condition, "reason"));
    if (const json::value* metrics = status.if_contains("currentMetrics"))
      out += " " + base::to_json(*metrics);
    out += "\n";
  }
  for (const PlanEvent& event : events)
    out += fmt::format("event {} {}: {}\n", event.type, event.reason, event.message);
  return out;
}

AutoscalerPlan plan_autoscaler(const Autoscaler& autoscaler, const AutoscalerSeen& seen, ScalingMemory memory,
                               base::Time now) {
  return AutoscalerPlanner(autoscaler, seen, std::move(memory), now).run();
}

void fail_scaling(const Autoscaler& autoscaler, AutoscalerPlan& plan, int current, const std::string& why,
                  base::Time now) {
  json::array conditions = base::list_at(plan.status.if_contains("conditions"));
  set_condition(conditions, "AbleToScale", "False", "FailedUpdateScale",
                "the HPA controller was unable to update the target scale: " + why, now);
  plan.status["conditions"] = std::move(conditions);
  plan.status["desiredReplicas"] = current;
  plan.status.erase("lastScaleTime");
  if (std::string_view last = base::string_at(autoscaler.status, "lastScaleTime"); !last.empty())
    plan.status["lastScaleTime"] = last;
  plan.status_changed = true;
  plan.events.push_back(
      {"Warning", "FailedRescale",
       fmt::format("New size: {}; reason: {}; error: {}", *plan.scale_to, plan.reason, why)});
}

}  // namespace master::controllers
