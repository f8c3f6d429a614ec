#include "kubelet/pod/probe_metrics.h"

#include <fmt/format.h>

#include "kubelet/node/stats_pages.h"

namespace kubelet {

namespace {
// client_golang's DefBuckets.
constexpr double kBounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
}  // namespace

void ProbeMetrics::count(const ProbeOf& probe, const std::string& result, base::Duration took) {
  Series& series = series_[probe.uid][probe.container + "/" + probe.type];
  series.probe = probe;
  ++series.results[result];
  const double seconds = static_cast<double>(took.count()) / 1e9;
  ++series.count;
  series.sum_s += seconds;
  for (double bound : kBounds)
    if (seconds <= bound) {
      ++series.buckets[bound];
      break;
    }
}

void ProbeMetrics::forget(const std::string& uid) { series_.erase(uid); }

std::string ProbeMetrics::page() const {
  std::string durations, totals;
  for (const auto& [uid, of_pod] : series_)
    for (const auto& [key, s] : of_pod) {
      const std::string names =
          fmt::format("container=\"{}\",namespace=\"{}\",pod=\"{}\"", label_text(s.probe.container),
                      label_text(s.probe.ns), label_text(s.probe.pod));
      const std::string labels = names + ",probe_type=\"" + label_text(s.probe.type) + "\"";
      uint64_t so_far = 0;
      for (double bound : kBounds) {
        if (auto it = s.buckets.find(bound); it != s.buckets.end()) so_far += it->second;
        durations +=
            fmt::format("prober_probe_duration_seconds_bucket{{{},le=\"{}\"}} {}\n", labels, bound, so_far);
      }
      durations += fmt::format(
          "prober_probe_duration_seconds_bucket{{{0},le=\"+Inf\"}} "
          "{1}\nprober_probe_duration_seconds_sum{{{0}}} {2}\nprober_probe_duration_seconds_count{{{0}}} "
          "{1}\n",
          labels, s.count, s.sum_s);
      for (const auto& [result, count] : s.results)
        totals += fmt::format("prober_probe_total{{{},pod_uid=\"{}\",probe_type=\"{}\",result=\"{}\"}} {}\n",
                              names, label_text(uid), label_text(s.probe.type), result, count);
    }
  std::string out;
  if (!durations.empty())
    out +=
        "# HELP prober_probe_duration_seconds [ALPHA] Duration in seconds for a probe response.\n# TYPE "
        "prober_probe_duration_seconds histogram\n" +
        durations;
  if (!totals.empty())
    out +=
        "# HELP prober_probe_total [BETA] Cumulative number of a liveness, readiness or startup probe for a "
        "container by result.\n# TYPE prober_probe_total counter\n" +
        totals;
  return out;
}

}  // namespace kubelet
