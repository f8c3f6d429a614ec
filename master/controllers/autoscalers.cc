#include "master/controllers/autoscalers.h"

#include <fmt/format.h>

#include "api/duration.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "base/http/http.h"
#include "base/json_lists.h"

namespace master::controllers {
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;
using base::list_at;
using base::string_at;

const api::Resource kAutoscalers = {"autoscaling", "v2", "horizontalpodautoscalers",
                                    "HorizontalPodAutoscaler", true};

namespace {

int64_t milli_at(const json::value& object, const char* member) {
  return api::milli_of(string_at(object, member));
}

// Kubernetes' defaults of autoscaling/v2.
ScalingRules default_rules(bool up) {
  ScalingRules rules;
  if (up) rules.policies = {{false, 4, 15}, {true, 100, 15}};
  else {
    rules.policies = {{true, 100, 15}};
    rules.window_seconds = 300;
  }
  return rules;
}
ScalingRules read_rules(const json::value* from, bool up) {
  ScalingRules rules = default_rules(up);
  if (!from || !from->is_object()) return rules;
  const std::string_view select = string_at(*from, "selectPolicy");
  if (select == "Min") rules.select = ScalingRules::Select::kMin;
  if (select == "Disabled") rules.select = ScalingRules::Select::kDisabled;
  if (const json::array& policies = list_at(*from, "policies"); !policies.empty()) {
    rules.policies.clear();
    for (const json::value& policy : policies)
      rules.policies.push_back({string_at(policy, "type") == "Percent", as_int(find(policy, "value")),
                                as_int(find(policy, "periodSeconds"))});
  }
  if (const json::value* window = find(*from, "stabilizationWindowSeconds"); window && window->is_number())
    rules.window_seconds = as_int(window);
  if (std::string_view text = string_at(*from, "tolerance"); !text.empty())
    rules.tolerance = static_cast<double>(api::milli_of(text)) / 1000;
  return rules;
}

MetricSpec read_spec(const json::value& object) {
  MetricSpec spec;
  const std::string_view type = string_at(object, "type");
  const char* member = "resource";
  if (type == "ContainerResource")
    spec.type = MetricSpec::Type::kContainerResource, member = "containerResource";
  if (type == "Pods") spec.type = MetricSpec::Type::kPods, member = "pods";
  if (type == "Object") spec.type = MetricSpec::Type::kObject, member = "object";
  if (type == "External") spec.type = MetricSpec::Type::kExternal, member = "external";
  const json::value* from = find(object, member);
  if (!from) return spec;
  spec.source = *from;
  spec.name = string_at(*from, "name");
  spec.container = string_at(*from, "container");
  if (const json::value* metric = find(*from, "metric")) {
    spec.name = string_at(*metric, "name");
    if (auto selector = api::selector_of_json(find(*metric, "selector")); selector.ok())
      if (const json::value* given = find(*metric, "selector"); given && given->is_object())
        spec.selector = selector->text();
  }
  spec.object_api_version = string_at(*from, "describedObject", "apiVersion");
  spec.object_kind = string_at(*from, "describedObject", "kind");
  spec.object_name = string_at(*from, "describedObject", "name");
  const json::value* target = find(*from, "target");
  if (!target) return spec;
  const std::string_view kind = string_at(*target, "type");
  if (kind == "AverageValue")
    spec.target = MetricSpec::Target::kAverageValue, spec.value = milli_at(*target, "averageValue");
  else if (kind == "Value") spec.target = MetricSpec::Target::kValue, spec.value = milli_at(*target, "value");
  else spec.value = as_int(find(*target, "averageUtilization"));
  return spec;
}

std::string query_of(std::initializer_list<std::pair<const char*, std::string>> parameters) {
  std::string out;
  for (const auto& [key, value] : parameters)
    if (!value.empty())
      out += fmt::format("{}{}={}", out.empty() ? '?' : '&', key, base::http::escape(value));
  return out;
}

}  // namespace

Store<Autoscaler>::Reader Autoscaler::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const Autoscaler> {
    auto out = std::make_shared<Autoscaler>();
    out->meta = read_meta(object);
    out->status = copy_of(find(object, "status"));
    const json::value* spec = find(object, "spec");
    if (!spec) return out;
    out->spec = *spec;
    out->target_api_version = string_at(*spec, "scaleTargetRef", "apiVersion");
    out->target_kind = string_at(*spec, "scaleTargetRef", "kind");
    out->target_name = string_at(*spec, "scaleTargetRef", "name");
    out->min_replicas = static_cast<int>(as_int(find(*spec, "minReplicas"), 1));
    out->max_replicas = static_cast<int>(as_int(find(*spec, "maxReplicas"), 1));
    for (const json::value& metric : list_at(*spec, "metrics")) out->metrics.push_back(read_spec(metric));
    const json::value* behavior = find(*spec, "behavior");
    out->has_behavior = behavior && behavior->is_object();
    out->up = read_rules(out->has_behavior ? find(*behavior, "scaleUp") : nullptr, true);
    out->down = read_rules(out->has_behavior ? find(*behavior, "scaleDown") : nullptr, false);
    return out;
  };
}

Scale read_scale(const json::value& object) {
  return {static_cast<int>(as_int(find_path(object, "spec", "replicas"))),
          static_cast<int>(as_int(find_path(object, "status", "replicas"))),
          std::string(string_at(object, "status", "selector"))};
}

std::vector<ScaledPod> read_scaled_pods(const json::value& list) {
  std::vector<ScaledPod> out;
  for (const json::value& object : list_at(list, "items")) {
    ScaledPod pod;
    pod.name = string_at(object, "metadata", "name");
    pod.phase = string_at(object, "status", "phase");
    pod.deleting = !string_at(object, "metadata", "deletionTimestamp").empty();
    pod.started = read_time(string_at(object, "status", "startTime"));
    for (const json::value& condition : list_at(find_path(object, "status", "conditions")))
      if (string_at(condition, "type") == "Ready") {
        pod.ready = string_at(condition, "status") == "True";
        pod.ready_since = read_time(string_at(condition, "lastTransitionTime")).value_or(base::Time{});
      }
    for (const char* kind : {"containers", "initContainers"})
      for (const json::value& from : list_at(find_path(object, "spec", kind))) {
        if (kind[0] == 'i' && string_at(from, "restartPolicy") != "Always") continue;
        ScaledPod::Container container{std::string(string_at(from, "name")), {}};
        if (const json::value* requests = find_path(from, "resources", "requests");
            requests && requests->is_object())
          for (const auto& item : requests->get_object())
            container.requests[std::string(item.key())] = api::milli_of(as_string(&item.value()));
        pod.containers.push_back(std::move(container));
      }
    out.push_back(std::move(pod));
  }
  return out;
}

std::string metric_path(const Autoscaler& autoscaler, const MetricSpec& spec, const std::string& pod_selector,
                        const std::string& plural) {
  const std::string ns = base::http::escape(autoscaler.meta.ns), name = base::http::escape(spec.name);
  switch (spec.type) {
    case MetricSpec::Type::kResource:
    case MetricSpec::Type::kContainerResource:
      return "/apis/metrics.k8s.io/v1beta1/namespaces/" + ns + "/pods" +
             query_of({{"labelSelector", pod_selector}});
    case MetricSpec::Type::kPods:
      return "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + ns + "/pods/*/" + name +
             query_of({{"labelSelector", pod_selector}, {"metricLabelSelector", spec.selector}});
    case MetricSpec::Type::kObject:
      return "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" +
             (spec.object_kind == "Namespace" ? base::http::escape(spec.object_name) + "/metrics/"
                                              : ns + "/" + base::http::escape(plural) + "/" +
                                                    base::http::escape(spec.object_name) + "/") +
             name + query_of({{"metricLabelSelector", spec.selector}});
    case MetricSpec::Type::kExternal:
      return "/apis/external.metrics.k8s.io/v1beta1/namespaces/" + ns + "/" + name +
             query_of({{"labelSelector", spec.selector}});
  }
  return {};
}

MetricSeen read_metric(const MetricSpec& spec, const json::value& answer) {
  MetricSeen seen;
  const bool resource =
      spec.type == MetricSpec::Type::kResource || spec.type == MetricSpec::Type::kContainerResource;
  for (const json::value& item : list_at(answer, "items")) {
    const base::Time at = read_time(string_at(item, "timestamp")).value_or(base::Time{});
    if (!resource) {
      const int64_t value = milli_at(item, "value");
      if (spec.type != MetricSpec::Type::kPods) seen.values.push_back(value);
      else seen.pods[std::string(string_at(item, "describedObject", "name"))] = {value, at, {}};
      continue;
    }
    // Of every container; a Pod of which one is missing says nothing.
    int64_t window = 0;
    (void)api::parse_duration(string_at(item, "window"), &window);  // what is none is of no time
    MetricSeen::Sample sample{0, at, std::chrono::nanoseconds(window)};
    bool found = spec.type == MetricSpec::Type::kResource, whole = true;
    for (const json::value& container : list_at(item, "containers")) {
      if (spec.type == MetricSpec::Type::kContainerResource && string_at(container, "name") != spec.container)
        continue;
      const std::string_view usage = string_at(container, "usage", spec.name.c_str());
      whole &= !usage.empty();
      found = true;
      sample.value += api::milli_of(usage);
    }
    if (whole && found && !list_at(item, "containers").empty())
      seen.pods[std::string(string_at(item, "metadata", "name"))] = sample;
  }
  return seen;
}

}  // namespace master::controllers
