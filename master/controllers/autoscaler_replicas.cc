#include "master/controllers/autoscaler_replicas.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "api/quantity.h"

namespace master::controllers {
namespace {

using Values = std::map<std::string, int64_t>;  // by Pod, in thousandths

// Pods by what their measurement is worth.
struct PodGroups {
  std::set<std::string> unready, missing, ignored;
  int ready = 0;
};
PodGroups group_pods(const std::vector<ScaledPod>& pods, const MetricSeen& seen, bool cpu, base::Time now) {
  PodGroups groups;
  for (const ScaledPod& pod : pods) {
    if (pod.deleting || pod.phase == "Failed") {
      groups.ignored.insert(pod.name);
      continue;
    }
    if (pod.phase == "Pending") {
      groups.unready.insert(pod.name);
      continue;
    }
    auto sample = seen.pods.find(pod.name);
    if (sample == seen.pods.end()) {
      groups.missing.insert(pod.name);
      continue;
    }
    if (cpu) {  // what starts uses more than it will
      bool unready = !pod.ready || !pod.started;
      if (!unready && *pod.started + kCpuStartUp > now)
        unready = !*pod.ready || sample->second.at < pod.ready_since + sample->second.window;
      else if (!unready) unready = !*pod.ready && *pod.started + kReadinessDelay > pod.ready_since;
      if (unready) {
        groups.unready.insert(pod.name);
        continue;
      }
    }
    ++groups.ready;
  }
  return groups;
}

int rounded_up(double value) { return static_cast<int>(std::clamp(std::ceil(value - 1e-9), 0.0, 1e9)); }
bool tolerated(const Autoscaler& autoscaler, double ratio) {
  return 1.0 - autoscaler.down.tolerance <= ratio && ratio <= 1.0 + autoscaler.up.tolerance;
}
int64_t sum_of(const Values& values) {
  int64_t sum = 0;
  for (const auto& [name, value] : values) sum += value;
  return sum;
}
std::string quantity(int64_t milli) { return api::Quantity::of_milli(milli).text(); }

// What Pods request of a resource, of one container or of all; an error names who does not.
Values requests_of(const MetricSpec& spec, const std::vector<ScaledPod>& pods, std::string* error) {
  Values out;
  for (const ScaledPod& pod : pods) {
    int64_t sum = 0;
    for (const ScaledPod::Container& container : pod.containers) {
      if (!spec.container.empty() && container.name != spec.container) continue;
      auto request = container.requests.find(spec.name);
      if (request == container.requests.end()) {
        *error = fmt::format("missing request for {} in container {} of Pod {}", spec.name, container.name,
                             pod.name);
        return {};
      }
      sum += request->second;
    }
    out[pod.name] = sum;
  }
  return out;
}

// The ratio of what is used to what is aimed for; nothing when no Pod of `requests` was measured.
struct Usage {
  double ratio = 0;
  int64_t percent = 0;
};
std::optional<Usage> usage_of(const Values& used, const Values* requests, int64_t target) {
  if (used.empty() || target <= 0) return std::nullopt;
  if (!requests) {
    const double mean = static_cast<double>(sum_of(used)) / static_cast<double>(used.size());
    return Usage{mean / static_cast<double>(target), 0};
  }
  int64_t total = 0, wanted = 0;
  for (const auto& [name, value] : used)
    if (auto request = requests->find(name); request != requests->end()) {
      total += value;
      wanted += request->second;
    }
  if (wanted == 0) return std::nullopt;
  const int64_t percent = static_cast<int64_t>(static_cast<__int128>(total) * 100 / wanted);
  return Usage{static_cast<double>(percent) / static_cast<double>(target), percent};
}

// Resources and Pods' metrics. `requests`: of a utilization; null for averages.
void judge_pods(const Autoscaler& autoscaler, const MetricSpec& spec, int current, const PodGroups& groups,
                Values used, const Values* requests, MetricVerdict& out) {
  auto first = usage_of(used, requests, spec.value);
  if (!first) {
    out.error = "no metrics returned matched known pods";
    return;
  }
  const double ratio = first->ratio;
  const bool count_unready = !groups.unready.empty() && ratio > 1.0;
  if (!count_unready && groups.missing.empty()) {
    out.replicas = tolerated(autoscaler, ratio) ? current : rounded_up(ratio * groups.ready);
    return;
  }
  // What is not known speaks against the change: unmeasured Pods use all when fewer are wanted, nothing when
  // more.
  for (const std::string& name : groups.missing) {
    if (ratio > 1.0) used[name] = 0;
    if (ratio < 1.0) {
      if (!requests) used[name] = spec.value;
      else if (auto request = requests->find(name); request != requests->end())
        used[name] = static_cast<int64_t>(static_cast<__int128>(request->second) *
                                          std::max<int64_t>(100, spec.value) / 100);
    }
  }
  if (count_unready)
    for (const std::string& name : groups.unready) used[name] = 0;
  const auto second = usage_of(used, requests, spec.value);
  out.replicas = current;
  if (!second || tolerated(autoscaler, second->ratio) || (ratio < 1.0) != (second->ratio < 1.0)) return;
  const int wanted = rounded_up(second->ratio * static_cast<double>(used.size()));
  if ((second->ratio < 1.0 && wanted > current) || (second->ratio > 1.0 && wanted < current)) return;
  out.replicas = wanted;
}

void judge_measured_pods(const Autoscaler& autoscaler, const MetricSpec& spec, const Scale& scale,
                         const std::vector<ScaledPod>& pods, const MetricSeen& seen, base::Time now,
                         MetricVerdict& out) {
  const bool resource = spec.type != MetricSpec::Type::kPods;
  const bool utilization = resource && spec.target == MetricSpec::Target::kUtilization;
  if (pods.empty()) {
    out.error = "no pods returned by selector while calculating replica count";
    return;
  }
  const PodGroups groups = group_pods(pods, seen, resource && spec.name == "cpu", now);
  std::set<std::string> known;
  for (const ScaledPod& pod : pods) known.insert(pod.name);
  Values used;
  for (const auto& [name, sample] : seen.pods)
    if (known.contains(name) && !groups.ignored.contains(name) && !groups.unready.contains(name))
      used[name] = sample.value;
  if (used.empty()) {
    out.error = "did not receive metrics for targeted pods (pods might be unready)";
    return;
  }
  Values requests;
  if (utilization) {
    requests = requests_of(spec, pods, &out.error);
    if (!out.error.empty()) return;
  }
  judge_pods(autoscaler, spec, scale.spec_replicas, groups, used, utilization ? &requests : nullptr, out);
  if (!out.error.empty()) return;
  const auto shown = usage_of(used, utilization ? &requests : nullptr, spec.value);
  json::object current{{"averageValue", quantity(sum_of(used) / static_cast<int64_t>(used.size()))}};
  if (utilization && shown) current["averageUtilization"] = shown->percent;
  switch (spec.type) {
    case MetricSpec::Type::kResource:
      out.status = {{"type", "Resource"}, {"resource", {{"name", spec.name}, {"current", current}}}};
      break;
    case MetricSpec::Type::kContainerResource:
      out.status = {
          {"type", "ContainerResource"},
          {"containerResource", {{"name", spec.name}, {"container", spec.container}, {"current", current}}}};
      break;
    default:
      out.status = {{"type", "Pods"},
                    {"pods", {{"metric", copy_of(base::find(spec.source, "metric"))}, {"current", current}}}};
  }
}

// An object's metric, or one from outside: a total, or an average over the target's Pods.
void judge_total(const Autoscaler& autoscaler, const MetricSpec& spec, const Scale& scale,
                 const std::vector<ScaledPod>& pods, const MetricSeen& seen, MetricVerdict& out) {
  if (seen.values.empty()) {
    out.error = "no metrics returned";
    return;
  }
  int64_t total = 0;
  for (int64_t value : seen.values) total += value;
  const double target = static_cast<double>(std::max<int64_t>(spec.value, 1));
  json::object current;
  if (spec.target == MetricSpec::Target::kAverageValue) {
    const double per_pod = static_cast<double>(total) / (target * std::max(scale.status_replicas, 1));
    out.replicas = scale.status_replicas > 0 && tolerated(autoscaler, per_pod)
                       ? scale.status_replicas
                       : rounded_up(static_cast<double>(total) / target);
    current["averageValue"] = quantity(
        static_cast<int64_t>(std::ceil(static_cast<double>(total) / std::max(scale.status_replicas, 1))));
  } else {
    const double ratio = static_cast<double>(total) / target;
    int ready = 0;
    for (const ScaledPod& pod : pods) ready += pod.phase == "Running" && pod.ready.value_or(false);
    if (scale.spec_replicas == 0) out.replicas = rounded_up(ratio);
    else if (tolerated(autoscaler, ratio)) out.replicas = scale.spec_replicas;
    else if (ready == 0) out.error = "no ready pods returned by selector while calculating replica count";
    else out.replicas = rounded_up(ratio * ready);
    current["value"] = quantity(total);
  }
  const json::value metric = copy_of(base::find(spec.source, "metric"));
  if (spec.type == MetricSpec::Type::kExternal) {
    out.status = {{"type", "External"}, {"external", {{"metric", metric}, {"current", current}}}};
  } else {
    out.status = {{"type", "Object"},
                  {"object",
                   {{"metric", metric},
                    {"describedObject", copy_of(base::find(spec.source, "describedObject"))},
                    {"current", current}}}};
  }
}

}  // namespace

MetricVerdict judge_metric(const Autoscaler& autoscaler, const MetricSpec& spec, const Scale& scale,
                           const std::vector<ScaledPod>& pods, const MetricSeen& seen, base::Time now) {
  MetricVerdict out;
  const bool average = spec.target == MetricSpec::Target::kAverageValue;
  std::string what;
  switch (spec.type) {
    case MetricSpec::Type::kResource:
      what = fmt::format("{} resource", spec.name);
      out.reason = "FailedGetResourceMetric";
      break;
    case MetricSpec::Type::kContainerResource:
      what = fmt::format("{} container resource", spec.name);
      out.reason = "FailedGetContainerResourceMetric";
      break;
    case MetricSpec::Type::kPods: out.reason = "FailedGetPodsMetric"; break;
    case MetricSpec::Type::kObject: out.reason = "FailedGetObjectMetric"; break;
    case MetricSpec::Type::kExternal: out.reason = "FailedGetExternalMetric"; break;
  }
  const bool resource =
      spec.type == MetricSpec::Type::kResource || spec.type == MetricSpec::Type::kContainerResource;
  if (resource) out.name = what + (average ? "" : " utilization (percentage of request)");
  else if (spec.type == MetricSpec::Type::kPods) out.name = fmt::format("pods metric {}", spec.name);
  else
    out.name =
        fmt::format("external metric {}({})", spec.name, spec.selector.empty() ? "nil" : spec.selector);
  if (spec.type == MetricSpec::Type::kObject)
    out.name = fmt::format("{} metric {}", spec.object_kind, spec.name);

  if (!seen.error.empty()) out.error = seen.error;
  else if (spec.type == MetricSpec::Type::kObject || spec.type == MetricSpec::Type::kExternal)
    judge_total(autoscaler, spec, scale, pods, seen, out);
  else judge_measured_pods(autoscaler, spec, scale, pods, seen, now, out);
  if (out.error.empty()) {
    out.reason.clear();
    return out;
  }
  // The words under which users find this.
  switch (spec.type) {
    case MetricSpec::Type::kResource:
    case MetricSpec::Type::kContainerResource:
      out.error = fmt::format("failed to get {} {}: {}", spec.name, average ? "usage" : "utilization",
                              seen.error.empty() ? out.error
                                                 : fmt::format("unable to get metrics for resource {}: {}",
                                                               spec.name, out.error));
      break;
    case MetricSpec::Type::kPods: out.error = "failed to get pods metric value: " + out.error; break;
    case MetricSpec::Type::kObject: out.error = "failed to get object metric value: " + out.error; break;
    case MetricSpec::Type::kExternal:
      out.error = fmt::format("failed to get {} external metric value: {}", spec.name, out.error);
  }
  return out;
}

}  // namespace master::controllers
