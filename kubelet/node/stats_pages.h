// What is used, in the forms that others read: Prometheus text under the kubelet's and cAdvisor's names,
// and the Summary API. Pure. Sources: k8s.io/kubelet/pkg/apis/stats/v1alpha1, cAdvisor's
// docs/storage/prometheus.md, KEP-1916 (resource metrics).
#pragma once

#include <map>
#include <string>

#include "kubelet/node/stats.h"

namespace kubelet {

std::string resource_page(const StatsSeen& seen);  // /metrics/resource: what metrics-server scrapes
std::string cadvisor_page(const StatsSeen& seen);  // /metrics/cadvisor
// /stats/summary. `before`: an earlier observation, for usageNanoCores; nothing of it is shown otherwise.
base::json::value stats_summary(const StatsSeen& seen, const StatsSeen* before, bool only_cpu_and_memory);

// A label's value between its quotes: backslash, quote and line break escaped.
std::string label_text(std::string_view value);

}  // namespace kubelet
