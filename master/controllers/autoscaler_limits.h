// How far and how fast an autoscaler may follow its metrics: what was recommended and done before, windows,
// policies, least and most. Pure. Rules and sentences are those of Kubernetes' horizontal controller.
#pragma once

#include <string>
#include <vector>

#include "master/controllers/autoscalers.h"

namespace master::controllers {

// What is remembered of an autoscaler between two rounds; lost with the process, as in Kubernetes.
struct ScalingMemory {
  struct Entry {
    base::Time at{};
    int count = 0;
  };
  std::vector<Entry> recommendations;  // how many Pods the metrics asked for
  std::vector<Entry> added, removed;   // Pods, by each change of size
};

struct LimitedScale {
  int replicas = 0;
  // Conditions: whether windows hold it back (AbleToScale), whether limits do (ScalingLimited).
  std::string able_reason, able_message;
  bool limited = false;
  std::string limited_reason, limited_message;
};
// `wanted`: by the metrics; remembered as a recommendation of `now`.
LimitedScale limit_scale(const Autoscaler& autoscaler, int current, int wanted, ScalingMemory& memory,
                         base::Time now);
// A change of size that was done; forgets what no policy looks at any more.
void remember_change(const Autoscaler& autoscaler, int before, int after, ScalingMemory& memory,
                     base::Time now);

}  // namespace master::controllers
