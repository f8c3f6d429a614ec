// How many Pods one metric asks for. Pure. The arithmetic, the treatment of Pods that are not ready or not
// measured, and the sentences are those of Kubernetes' replica calculator (pkg/controller/podautoscaler).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "master/controllers/autoscalers.h"

namespace master::controllers {

constexpr base::Duration kCpuStartUp = std::chrono::minutes(5), kReadinessDelay = std::chrono::seconds(30);

struct MetricVerdict {
  int replicas = 0;
  std::string name;           // "cpu resource utilization (percentage of request)"
  json::object status;        // the entry of status.currentMetrics; empty when nothing was measured
  std::string error, reason;  // a failure: its sentence, and the condition's reason
};
MetricVerdict judge_metric(const Autoscaler& autoscaler, const MetricSpec& spec, const Scale& scale,
                           const std::vector<ScaledPod>& pods, const MetricSeen& seen, base::Time now);

}  // namespace master::controllers
