#include "master/registry/conversions.h"

#include <span>
#include <string_view>
#include <utility>

#include "api/walk.h"

namespace master {

namespace json = base::json;

namespace {

using Renames = std::span<const std::pair<const char*, const char*>>;

// Members by their other name; all others as they are.
json::value renamed(json::value in, Renames names, bool backwards) {
  json::object out(in.storage());
  for (auto& item : in.get_object()) {
    std::string_view key(item.key().data(), item.key().size());
    for (const auto& [from, to] : names)
      if (key == (backwards ? to : from)) {
        key = backwards ? from : to;
        break;
      }
    out[key] = std::move(item.value());
  }
  return out;
}

constexpr std::pair<const char*, const char*> kEventNames[] = {{"regarding", "involvedObject"},
                                                               {"note", "message"},
                                                               {"reportingController", "reportingComponent"},
                                                               {"deprecatedSource", "source"},
                                                               {"deprecatedFirstTimestamp", "firstTimestamp"},
                                                               {"deprecatedLastTimestamp", "lastTimestamp"},
                                                               {"deprecatedCount", "count"}};

// ---- autoscalers -------------------------------------------------------------------------------
constexpr const char* kMetrics = "autoscaling.alpha.kubernetes.io/metrics";
constexpr const char* kCurrentMetrics = "autoscaling.alpha.kubernetes.io/current-metrics";
constexpr const char* kConditions = "autoscaling.alpha.kubernetes.io/conditions";
constexpr const char* kBehavior = "autoscaling.alpha.kubernetes.io/behavior";

void copy_as(const json::value* from, json::object& to, const char* key) {
  if (from) to[key] = *from;
}
void put_path(json::object& to, const char* outer, const char* inner, const json::value* value) {
  if (value) base::object_at(to, outer)[inner] = *value;
}

// Where the same number stands in a metric's source of either version.
struct MetricForm {
  const char* type;         // "Resource"
  const char* member;       // "resource"
  const char* utilization;  // v1 names; null: this source has none
  const char* average;
  const char* value;
  const char* name;  // of the metric
  const char* selector;
};
constexpr MetricForm kSpecForms[] = {
    {"Resource", "resource", "targetAverageUtilization", "targetAverageValue", nullptr, nullptr, nullptr},
    {"ContainerResource", "containerResource", "targetAverageUtilization", "targetAverageValue", nullptr,
     nullptr, nullptr},
    {"Pods", "pods", nullptr, "targetAverageValue", nullptr, "metricName", "selector"},
    {"Object", "object", nullptr, "averageValue", "targetValue", "metricName", "selector"},
    {"External", "external", nullptr, "targetAverageValue", "targetValue", "metricName", "metricSelector"}};
constexpr MetricForm kStatusForms[] = {
    {"Resource", "resource", "currentAverageUtilization", "currentAverageValue", nullptr, nullptr, nullptr},
    {"ContainerResource", "containerResource", "currentAverageUtilization", "currentAverageValue", nullptr,
     nullptr, nullptr},
    {"Pods", "pods", nullptr, "currentAverageValue", nullptr, "metricName", "selector"},
    {"Object", "object", nullptr, "averageValue", "currentValue", "metricName", "selector"},
    {"External", "external", nullptr, "currentAverageValue", "currentValue", "metricName", "metricSelector"}};

// One metric of a list: "target" of a spec or "current" of a status, and what is beside it.
json::value metric_to_v1(const json::value& in, std::span<const MetricForm> forms, const char* amount) {
  json::object out{{"type", base::string_at(in, "type")}};
  for (const MetricForm& form : forms) {
    const json::value* source = base::find(in, form.member);
    if (!source) continue;
    json::object made;
    for (const char* same : {"name", "container"}) copy_as(base::find(*source, same), made, same);
    copy_as(base::find(*source, "describedObject"), made, "target");
    if (form.name) copy_as(base::find_path(*source, "metric", "name"), made, form.name);
    if (form.selector) copy_as(base::find_path(*source, "metric", "selector"), made, form.selector);
    if (form.utilization)
      copy_as(base::find_path(*source, amount, "averageUtilization"), made, form.utilization);
    if (form.average) copy_as(base::find_path(*source, amount, "averageValue"), made, form.average);
    if (form.value) copy_as(base::find_path(*source, amount, "value"), made, form.value);
    out[form.member] = std::move(made);
  }
  return out;
}
json::value metric_to_v2(const json::value& in, std::span<const MetricForm> forms, const char* amount) {
  json::object out{{"type", base::string_at(in, "type")}};
  for (const MetricForm& form : forms) {
    const json::value* source = base::find(in, form.member);
    if (!source) continue;
    json::object made;
    for (const char* same : {"name", "container"}) copy_as(base::find(*source, same), made, same);
    // Only an Object's is a reference; of other members it is a word that v1 does not have.
    if (std::string_view(form.member) == "object")
      copy_as(base::find(*source, "target"), made, "describedObject");
    if (form.name) put_path(made, "metric", "name", base::find(*source, form.name));
    if (form.selector) put_path(made, "metric", "selector", base::find(*source, form.selector));
    const json::value* utilization = form.utilization ? base::find(*source, form.utilization) : nullptr;
    const json::value* average = form.average ? base::find(*source, form.average) : nullptr;
    const json::value* value = form.value ? base::find(*source, form.value) : nullptr;
    put_path(made, amount, "averageUtilization", utilization);
    put_path(made, amount, "averageValue", average);
    put_path(made, amount, "value", value);
    if (std::string_view(amount) == "target")
      base::object_at(made, amount)["type"] = utilization ? "Utilization"
                                              : average   ? "AverageValue"
                                                          : "Value";
    out[form.member] = std::move(made);
  }
  return out;
}
bool is_cpu_share(const json::value& metric, const char* amount) {
  return base::string_at(metric, "type") == "Resource" &&
         base::string_at(metric, "resource", "name") == "cpu" &&
         base::find_path(metric, "resource", amount, "averageUtilization") != nullptr;
}

// A list of v2 metrics as v1 shows it: processor utilization in a field, the rest in an annotation.
void list_to_v1(json::object& part, const char* list_name, std::span<const MetricForm> forms,
                const char* amount, const char* field, json::object& metadata, const char* annotation) {
  json::value* in = part.if_contains(list_name);
  if (!in) return;
  json::value list = std::move(*in);
  part.erase(list_name);
  json::array rest;
  if (list.is_array())
    for (const json::value& metric : list.get_array()) {
      if (!part.contains(field) && is_cpu_share(metric, amount))
        part[field] = *base::find_path(metric, "resource", amount, "averageUtilization");
      else rest.push_back(metric_to_v1(metric, forms, amount));
    }
  if (!rest.empty()) base::object_at(metadata, "annotations")[annotation] = base::to_json(rest);
}
json::value take_annotation(json::object& metadata, const char* name) {
  json::value* all = metadata.if_contains("annotations");
  if (!all || !all->is_object()) return nullptr;
  json::value* text = all->get_object().if_contains(name);
  if (!text) return nullptr;
  auto parsed = base::parse_json(base::as_string(text));
  all->get_object().erase(name);
  if (all->get_object().empty()) metadata.erase("annotations");
  return parsed.ok() ? std::move(*parsed) : json::value(nullptr);  // not ours: dropped, as by Kubernetes
}
void list_to_v2(json::object& part, const char* list_name, std::span<const MetricForm> forms,
                const char* amount, const char* field, json::value annotated) {
  json::array list;
  if (const json::value* share = part.if_contains(field); share && !share->is_null()) {
    json::object number{{"averageUtilization", *share}};
    if (std::string_view(amount) == "target") number["type"] = "Utilization";
    list.push_back(json::object{{"type", "Resource"},
                                {"resource", json::object{{"name", "cpu"}, {amount, std::move(number)}}}});
  }
  part.erase(field);
  if (annotated.is_array())
    for (const json::value& metric : annotated.get_array())
      if (metric.is_object()) list.push_back(metric_to_v2(metric, forms, amount));
  if (!list.empty()) part[list_name] = std::move(list);
}

}  // namespace

json::value event_to_core(json::value event) { return renamed(std::move(event), kEventNames, false); }
json::value event_from_core(json::value event) { return renamed(std::move(event), kEventNames, true); }

namespace {
json::value to_v2(json::value autoscaler, bool with_annotations) {
  json::object& root = autoscaler.get_object();
  json::object kept = base::object_at(root, "metadata");
  json::value metrics = take_annotation(kept, kMetrics), current = take_annotation(kept, kCurrentMetrics);
  json::value conditions = take_annotation(kept, kConditions), behavior = take_annotation(kept, kBehavior);
  root["metadata"] = std::move(kept);
  if (!with_annotations) metrics = current = conditions = behavior = nullptr;
  if (json::value* spec = root.if_contains("spec"); spec && spec->is_object()) {
    list_to_v2(spec->get_object(), "metrics", kSpecForms, "target", "targetCPUUtilizationPercentage",
               std::move(metrics));
    if (behavior.is_object()) spec->get_object()["behavior"] = std::move(behavior);
  }
  bool has_status = root.contains("status") || current.is_array() || conditions.is_array();
  if (!has_status) return autoscaler;
  json::object& status = base::object_at(root, "status");
  list_to_v2(status, "currentMetrics", kStatusForms, "current", "currentCPUUtilizationPercentage",
             std::move(current));
  if (conditions.is_array()) status["conditions"] = std::move(conditions);
  return autoscaler;
}
}  // namespace

json::value autoscaler_to_v2(json::value autoscaler) {
  bool annotated = false;
  for (const char* name : {kMetrics, kCurrentMetrics, kConditions, kBehavior})
    annotated |= base::find_path(autoscaler, "metadata", "annotations", name) != nullptr;
  if (!annotated) return to_v2(std::move(autoscaler), true);
  // Anybody may write these annotations; what is of other types than v2 has is not ours, as in Kubernetes.
  static const api::Type* type = api::find_type("io.k8s.api.autoscaling.v2", "HorizontalPodAutoscaler");
  json::value all = to_v2(autoscaler, true);
  return api::check_types(*type, all).ok() ? all : to_v2(std::move(autoscaler), false);
}

json::value autoscaler_to_v1(json::value autoscaler) {
  json::object& root = autoscaler.get_object();
  json::object metadata = base::object_at(root, "metadata");
  if (json::value* spec = root.if_contains("spec"); spec && spec->is_object()) {
    json::object& in = spec->get_object();
    list_to_v1(in, "metrics", kSpecForms, "target", "targetCPUUtilizationPercentage", metadata, kMetrics);
    if (const json::value* behavior = in.if_contains("behavior")) {
      base::object_at(metadata, "annotations")[kBehavior] = base::to_json(*behavior);
      in.erase("behavior");
    }
  }
  if (json::value* status = root.if_contains("status"); status && status->is_object()) {
    json::object& in = status->get_object();
    list_to_v1(in, "currentMetrics", kStatusForms, "current", "currentCPUUtilizationPercentage", metadata,
               kCurrentMetrics);
    if (const json::value* conditions = in.if_contains("conditions")) {
      base::object_at(metadata, "annotations")[kConditions] = base::to_json(*conditions);
      in.erase("conditions");
    }
  }
  root["metadata"] = std::move(metadata);
  return autoscaler;
}

}  // namespace master
