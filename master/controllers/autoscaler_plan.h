// What an autoscaler does, given its target's scale, its Pods and its metrics. Pure. Conditions, reasons and
// sentences are those of Kubernetes' horizontal controller, which `kubectl describe hpa` shows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "master/controllers/autoscaler_limits.h"
#include "master/controllers/autoscaler_replicas.h"
#include "master/controllers/events.h"

namespace master::controllers {

constexpr base::Duration kAutoscalerPeriod = std::chrono::seconds(15);

struct AutoscalerSeen {
  std::string scale_error;  // why there is no scale
  Scale scale;
  std::vector<ScaledPod> pods;
  std::vector<MetricSeen> metrics;  // one for each of the spec
};
struct AutoscalerPlan {
  std::optional<int> scale_to;
  std::string reason;   // of it
  json::object status;  // the whole one, as it is when the target has its size
  bool status_changed = false;
  std::vector<PlanEvent> events;
  ScalingMemory memory;  // after this round, but for the change of size
  std::string text() const;
};
AutoscalerPlan plan_autoscaler(const Autoscaler& autoscaler, const AutoscalerSeen& seen, ScalingMemory memory,
                               base::Time now);
// The plan's status where the target could not be given its size.
void fail_scaling(const Autoscaler& autoscaler, AutoscalerPlan& plan, int current, const std::string& why,
                  base::Time now);

}  // namespace master::controllers
