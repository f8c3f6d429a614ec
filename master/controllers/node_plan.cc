#include "master/controllers/node_plan.h"

#include "base/ip.h"

namespace master::controllers {
using base::as_string;

namespace {
constexpr const char* kUnreachable = "node.kubernetes.io/unreachable";
constexpr const char* kNotReady = "node.kubernetes.io/not-ready";
constexpr const char* kOfConditions[] = {kUnreachable,
                                         kNotReady,
                                         "node.kubernetes.io/unschedulable",
                                         "node.kubernetes.io/memory-pressure",
                                         "node.kubernetes.io/disk-pressure",
                                         "node.kubernetes.io/pid-pressure",
                                         "node.kubernetes.io/network-unavailable"};

std::string status_of(const json::array& conditions, std::string_view type) {
  const json::object* condition = find_condition(conditions, type);
  return condition ? std::string(as_string(condition->if_contains("status"))) : "";
}
bool make_unknown(json::array& conditions, const char* type, base::Time now) {
  const bool known = find_condition(conditions, type) != nullptr;
  if (status_of(conditions, type) == "Unknown") return false;
  return set_condition(conditions, type, "Unknown", known ? "NodeStatusUnknown" : "NodeStatusNeverUpdated",
                       known ? "Kubelet stopped posting node status." : "Kubelet never posted node status.",
                       now);
}
}  // namespace

NodePlan plan_node(const Node& node, bool silent, bool may_be_emptied, const std::string& free_cidr,
                   base::Time now) {
  NodePlan plan;
  json::array conditions = node.conditions;
  if (silent) {
    bool changed = false;
    for (const char* type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"})
      changed |= make_unknown(conditions, type, now);
    if (changed) {
      plan.went_silent = status_of(node.conditions, "Ready") != "Unknown";
      plan.conditions = conditions;
    }
  }
  const std::string ready = status_of(conditions, "Ready");
  std::vector<Taint> wanted;
  auto want = [&](const char* key, const char* effect) { wanted.push_back({key, "", effect, ""}); };
  const char* not_ready = ready == "True" ? nullptr : ready == "Unknown" ? kUnreachable : kNotReady;
  if (not_ready) {
    want(not_ready, "NoSchedule");
    if (may_be_emptied) want(not_ready, "NoExecute");
  }
  if (node.unschedulable) want("node.kubernetes.io/unschedulable", "NoSchedule");
  for (auto [type, key] : {std::pair("MemoryPressure", "node.kubernetes.io/memory-pressure"),
                           std::pair("DiskPressure", "node.kubernetes.io/disk-pressure"),
                           std::pair("PIDPressure", "node.kubernetes.io/pid-pressure"),
                           std::pair("NetworkUnavailable", "node.kubernetes.io/network-unavailable")})
    if (status_of(conditions, type) == "True") want(key, "NoSchedule");
  // Ours are exactly those wanted; others' stay; what is there keeps the time it was added.
  std::vector<Taint> taints;
  for (const Taint& taint : node.taints) {
    bool ours = false;
    for (const char* key : kOfConditions) ours |= taint.key == key;
    auto at = std::find_if(wanted.begin(), wanted.end(),
                           [&](const Taint& w) { return w.key == taint.key && w.effect == taint.effect; });
    if (ours && at == wanted.end()) continue;
    if (at != wanted.end()) wanted.erase(at);
    taints.push_back(taint);
  }
  for (Taint& taint : wanted) {
    taint.time_added = base::format_time(now);
    taints.push_back(std::move(taint));
  }
  if (taints != node.taints) plan.taints = std::move(taints);
  if (node.pod_cidr.empty() && !node.meta.deleting) plan.pod_cidr = free_cidr;
  return plan;
}

bool has_no_execute_of_ours(const Node& node) {
  for (const Taint& taint : node.taints)
    if (taint.effect == "NoExecute" && (taint.key == kUnreachable || taint.key == kNotReady)) return true;
  return false;
}

std::string NodePlan::text() const {
  std::string out;
  if (conditions)
    for (const json::value& c : *conditions)
      out += fmt::format("condition {}={}\n", base::string_at(c, "type"), base::string_at(c, "status"));
  if (taints) {
    out += "taints";
    for (const Taint& taint : *taints) out += fmt::format(" {}:{}", taint.key, taint.effect);
    out += "\n";
  }
  if (!pod_cidr.empty()) out += fmt::format("podCIDR {}\n", pod_cidr);
  if (went_silent) out += "Pods not ready\n";
  return out;
}

std::string allocate_cidr(const std::string& cluster_cidr, int mask, const std::set<std::string>& used) {
  const auto cluster = base::Cidr::parse_v4(cluster_cidr);
  if (!cluster || mask < cluster->prefix || mask > 32) return {};
  const uint64_t count = uint64_t{1} << (mask - cluster->prefix), size = uint64_t{1} << (32 - mask);
  for (uint64_t i = 0; i < count; ++i) {
    std::string cidr = base::Cidr{cluster->first().plus(i * size), mask}.text();
    if (!used.count(cidr)) return cidr;
  }
  return {};
}

std::optional<base::Time> eviction_time(const std::vector<Toleration>& tolerations,
                                        const std::vector<Taint>& taints, base::Time now) {
  std::optional<base::Time> when;
  for (const Taint& taint : taints) {
    if (taint.effect != "NoExecute") continue;
    bool tolerated = false, for_ever = true;
    int64_t seconds = INT64_MAX;
    for (const Toleration& toleration : tolerations) {
      if (!tolerates(toleration, taint)) continue;
      tolerated = true;
      if (toleration.seconds) {
        for_ever = false;
        seconds = std::min(seconds, std::max<int64_t>(0, *toleration.seconds));
      }
    }
    if (tolerated && for_ever) continue;
    base::Time leave = now;
    if (tolerated) leave = read_time(taint.time_added).value_or(now) + seconds_of(seconds);
    when = when ? std::min(*when, leave) : leave;
  }
  return when;
}

}  // namespace master::controllers
