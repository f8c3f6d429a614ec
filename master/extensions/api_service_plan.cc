#include "master/extensions/api_service_plan.h"

#include <map>

#include "master/extensions/aggregator_plan.h"

namespace master {

namespace json = base::json;

namespace {
constexpr std::string_view kManaged = "kube-aggregator.kubernetes.io/automanaged";
}  // namespace

ApiServiceState read_api_service(const json::value& object) {
  if (!object.is_object()) return {};
  return {true, base::string_at(object, "metadata", "labels", kManaged) == "true",
          read_remote(object).has_value()};
}

ApiServiceStep plan_api_service(const ServedVersion& served, const ApiServiceState& state) {
  const bool here = served.served && !served.yields;
  if (!state.exists) return here ? ApiServiceStep::kCreate : ApiServiceStep::kLeave;
  if (!here && state.remote) return ApiServiceStep::kFollow;
  if (!served.served && state.automanaged) return ApiServiceStep::kRemove;
  return ApiServiceStep::kMarkLocal;
}

std::string_view text_of(ApiServiceStep step) {
  switch (step) {
    case ApiServiceStep::kFollow: return "follow";
    case ApiServiceStep::kLeave: return "leave";
    case ApiServiceStep::kCreate: return "create";
    case ApiServiceStep::kRemove: return "remove";
    case ApiServiceStep::kMarkLocal: return "mark local";
  }
  return "";
}

int64_t group_priority(std::string_view group) {
  static const std::map<std::string_view, int64_t> kPriorities = {{"", 18000},
                                                                  {"apps", 17800},
                                                                  {"events.k8s.io", 17750},
                                                                  {"authentication.k8s.io", 17700},
                                                                  {"authorization.k8s.io", 17600},
                                                                  {"autoscaling", 17500},
                                                                  {"batch", 17400},
                                                                  {"certificates.k8s.io", 17300},
                                                                  {"networking.k8s.io", 17200},
                                                                  {"policy", 17100},
                                                                  {"rbac.authorization.k8s.io", 17000},
                                                                  {"storage.k8s.io", 16800},
                                                                  {"apiextensions.k8s.io", 16700},
                                                                  {"admissionregistration.k8s.io", 16700},
                                                                  {"scheduling.k8s.io", 16600},
                                                                  {"coordination.k8s.io", 16500},
                                                                  {"node.k8s.io", 16300},
                                                                  {"discovery.k8s.io", 16200},
                                                                  {"flowcontrol.apiserver.k8s.io", 16100},
                                                                  {"resource.k8s.io", 15900}};
  auto it = kPriorities.find(group);
  return it == kPriorities.end() ? 1000 : it->second;
}

int64_t version_priority(std::string_view group, std::string_view version, bool custom) {
  return group.empty() ? 1 : custom ? 100 : version == "v2" ? 30 : 15;
}

json::object api_service_of(std::string_view group, std::string_view version, bool custom) {
  json::object labels;
  labels[kManaged] = custom ? "true" : "onstart";
  json::object spec{{"groupPriorityMinimum", group_priority(group)},
                    {"versionPriority", version_priority(group, version, custom)},
                    {"version", version}};
  if (!group.empty()) spec["group"] = group;
  return {{"apiVersion", "apiregistration.k8s.io/v1"},
          {"kind", "APIService"},
          {"metadata", json::object{{"name", std::string(version) + "." + std::string(group)},
                                    {"labels", std::move(labels)}}},
          {"spec", std::move(spec)}};
}

}  // namespace master
