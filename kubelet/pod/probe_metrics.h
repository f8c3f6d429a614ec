// How probes ended, counted for /metrics/probes under the kubelet's names (prober_probe_total,
// prober_probe_duration_seconds). A Pod's counts go with it.
#pragma once

#include <map>
#include <string>

#include "base/clock.h"

namespace kubelet {

struct ProbeOf {
  std::string type;  // "Readiness"
  std::string container, pod, ns, uid;
};

class ProbeMetrics {
 public:
  // `result`: "successful", "failed", "unknown".
  void count(const ProbeOf& probe, const std::string& result, base::Duration took);
  void forget(const std::string& uid);
  std::string page() const;

 private:
  struct Series {
    ProbeOf probe;
    std::map<std::string, uint64_t> results;
    std::map<double, uint64_t> buckets;  // by upper bound, not cumulative
    uint64_t count = 0;
    double sum_s = 0;
  };
  std::map<std::string, std::map<std::string, Series>> series_;  // by uid, by "container/type"
};

}  // namespace kubelet
