// Defaults of single kinds that depend on more than one field.
#include <unordered_map>

#include "api/defaults_rules.h"
#include "base/json.h"

namespace api::defaulting {
namespace {

// ---- workloads ---------------------------------------------------------------------------------
void daemon_set(json::object&, json::object& spec) {
  pod_template(spec);
  json::object& strategy = base::object_at(spec, "updateStrategy");
  set_default(strategy, "type", "RollingUpdate");
  if (text_in(strategy, "type") != "RollingUpdate") return;
  json::object& rolling = base::object_at(strategy, "rollingUpdate");
  if (!rolling.contains("maxUnavailable")) rolling["maxUnavailable"] = 1;
  if (!rolling.contains("maxSurge")) rolling["maxSurge"] = 0;
}

void stateful_set(json::object&, json::object& spec) {
  pod_template(spec);
  json::object& strategy = base::object_at(spec, "updateStrategy");
  set_default(strategy, "type", "RollingUpdate");
  if (text_in(strategy, "type") == "RollingUpdate") {
    json::object& rolling = base::object_at(strategy, "rollingUpdate");
    if (!rolling.contains("partition")) rolling["partition"] = 0;
  }
  json::object& keeps = base::object_at(spec, "persistentVolumeClaimRetentionPolicy");
  for (const char* when : {"whenDeleted", "whenScaled"}) set_default(keeps, when, "Retain");
  if (json::array* claims = list_in(spec, "volumeClaimTemplates"))
    for (json::value& claim : *claims) {
      if (!claim.is_object()) continue;
      json::object& object = claim.get_object();
      object["apiVersion"] = "v1";
      object["kind"] = "PersistentVolumeClaim";
      set_default(base::object_at(object, "status"), "phase", "Pending");
    }
}

void job(json::object& root, json::object& spec) {
  pod_template(spec);
  auto missing = [&](const char* name) { return !spec.contains(name) || spec[name].is_null(); };
  if (missing("completions") && missing("parallelism")) spec["completions"] = 1;
  if (missing("parallelism")) spec["parallelism"] = 1;
  if (missing("backoffLimit")) spec["backoffLimit"] = missing("backoffLimitPerIndex") ? 6 : INT32_MAX;
  set_default(spec, "completionMode", "NonIndexed");
  if (missing("suspend")) spec["suspend"] = false;
  if (missing("manualSelector")) spec["manualSelector"] = false;
  set_default(spec, "podReplacementPolicy", missing("podFailurePolicy") ? "TerminatingOrFailed" : "Failed");
  json::object* pods = object_in(spec, "template");
  json::object* pod_metadata = pods ? object_in(*pods, "metadata") : nullptr;
  json::object* labels = pod_metadata ? object_in(*pod_metadata, "labels") : nullptr;
  json::object& metadata = base::object_at(root, "metadata");
  json::object* own = object_in(metadata, "labels");
  if (labels && !labels->empty() && (!own || own->empty())) {
    json::object copy = *labels;
    metadata["labels"] = std::move(copy);
  }
}
void cron_job(json::object&, json::object& spec) {
  if (json::object* made = object_in(spec, "jobTemplate"))
    if (json::object* inner = object_in(*made, "spec")) pod_template(*inner);
}

// ---- scaling -----------------------------------------------------------------------------------
json::object policy(const char* type, int value) {
  return {{"type", type}, {"value", value}, {"periodSeconds", 15}};
}

void autoscaler(json::object&, json::object& spec) {
  json::array* metrics = list_in(spec, "metrics");
  if (!metrics || metrics->empty()) {
    json::object target{{"type", "Utilization"}, {"averageUtilization", 80}};
    json::array list;
    list.push_back(json::object{{"type", "Resource"},
                                {"resource", json::object{{"name", "cpu"}, {"target", std::move(target)}}}});
    spec["metrics"] = std::move(list);
  }
  json::object* behavior = object_in(spec, "behavior");
  if (!behavior) return;
  for (const char* way : {"scaleUp", "scaleDown"}) {
    bool up = std::string_view(way) == "scaleUp";
    json::object& rules = base::object_at(*behavior, way);
    set_default(rules, "selectPolicy", "Max");
    if (up && !rules.contains("stabilizationWindowSeconds")) rules["stabilizationWindowSeconds"] = 0;
    if (json::array* list = list_in(rules, "policies"); list && !list->empty()) continue;
    json::array list;
    if (up) list.push_back(policy("Pods", 4));
    list.push_back(policy("Percent", 100));
    rules["policies"] = std::move(list);
  }
}

// ---- the rest ----------------------------------------------------------------------------------
void limit_range(json::object&, json::object& spec) {
  json::array* limits = list_in(spec, "limits");
  if (!limits) return;
  for (json::value& each : *limits) {
    if (!each.is_object() || text_in(each.get_object(), "type") != "Container") continue;
    json::object& limit = each.get_object();
    // What a container gets that asks for nothing: the default limit is the maximum, the default
    // request the default limit, else the minimum.
    auto fill = [&](const char* from, const char* to) {
      json::object* source = object_in(limit, from);
      if (!source) return;
      json::object copy = *source;
      json::object& target = base::object_at(limit, to);
      for (const auto& item : copy)
        if (!target.contains(item.key())) target[item.key()] = item.value();
    };
    fill("max", "default");
    fill("default", "defaultRequest");
    fill("min", "defaultRequest");
  }
}

void network_policy(json::object&, json::object& spec) {
  if (!spec.contains("podSelector")) spec["podSelector"] = json::object();
  json::array* types = list_in(spec, "policyTypes");
  if (types && !types->empty()) return;
  json::array list{"Ingress"};
  if (json::array* egress = list_in(spec, "egress"); egress && !egress->empty()) list.push_back("Egress");
  spec["policyTypes"] = std::move(list);
}

void priority_level(json::object&, json::object& spec) {
  if (text_in(spec, "type") == "Exempt") {
    json::object& exempt = base::object_at(spec, "exempt");
    for (const char* name : {"nominalConcurrencyShares", "lendablePercent"})
      if (!exempt.contains(name)) exempt[name] = 0;
    return;
  }
  json::object* limited = object_in(spec, "limited");
  if (!limited) return;
  json::object& response = base::object_at(*limited, "limitResponse");
  if (text_in(response, "type") != "Queue") return;
  json::object& queuing = base::object_at(response, "queuing");
  set_default(queuing, "queues", 64);
  set_default(queuing, "handSize", 8);
  set_default(queuing, "queueLengthLimit", 50);
}

void exact_requests(json::object& devices) {
  json::array* requests = list_in(devices, "requests");
  if (!requests) return;
  auto count = [](json::object& one) {
    if (text_in(one, "allocationMode") == "ExactCount") set_default(one, "count", 1);
  };
  for (json::value& request : *requests) {
    if (!request.is_object()) continue;
    if (json::object* exactly = object_in(request.get_object(), "exactly")) count(*exactly);
    if (json::array* first = list_in(request.get_object(), "firstAvailable"))
      for (json::value& one : *first)
        if (one.is_object()) count(one.get_object());
  }
}
void resource_claim(json::object&, json::object& spec) {
  if (json::object* devices = object_in(spec, "devices")) exact_requests(*devices);
}
void resource_claim_template(json::object& root, json::object& spec) {
  if (json::object* inner = object_in(spec, "spec")) resource_claim(root, *inner);
}

}  // namespace

Defaulter kind_defaulter(std::string_view gvk) {
  static const std::unordered_map<std::string_view, Defaulter> kRows = {
      {"v1/LimitRange", limit_range},
      {"apps/v1/DaemonSet", daemon_set},
      {"apps/v1/StatefulSet", stateful_set},
      {"autoscaling/v2/HorizontalPodAutoscaler", autoscaler},
      {"batch/v1/CronJob", cron_job},
      {"batch/v1/Job", job},
      {"flowcontrol.apiserver.k8s.io/v1/PriorityLevelConfiguration", priority_level},
      {"networking.k8s.io/v1/NetworkPolicy", network_policy},
      {"resource.k8s.io/v1/ResourceClaim", resource_claim},
      {"resource.k8s.io/v1/ResourceClaimTemplate", resource_claim_template},
  };
  auto row = kRows.find(gvk);
  return row == kRows.end() ? nullptr : row->second;
}
void custom_resource_definition(json::value& definition) {
  json::value* spec = definition.is_object() ? definition.get_object().if_contains("spec") : nullptr;
  if (!spec || !spec->is_object()) return;
  json::object& object = spec->get_object();
  json::object& conversion = base::object_at(object, "conversion");
  if (base::as_string(conversion.if_contains("strategy")).empty()) conversion["strategy"] = "None";
  json::value* names = object.if_contains("names");
  if (!names || !names->is_object()) return;
  std::string kind(base::string_at(*names, "kind"));
  if (kind.empty()) return;
  json::object& named = names->get_object();
  if (base::as_string(named.if_contains("listKind")).empty()) named["listKind"] = kind + "List";
  std::transform(kind.begin(), kind.end(), kind.begin(), [](unsigned char c) { return std::tolower(c); });
  if (base::as_string(named.if_contains("singular")).empty()) named["singular"] = kind;
}

}  // namespace api::defaulting
