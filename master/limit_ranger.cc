#include "master/limit_ranger.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "api/quantity.h"
#include "api/status.h"
#include "master/strategy.h"

namespace master {

namespace json = base::json;
using api::Quantity;
using base::find;
using base::find_path;
using base::string_at;

namespace {

constexpr const char* kAnnotation = "kubernetes.io/limit-ranger";
using Amounts = std::map<std::string, Quantity>;

const json::array& list_at(const json::value* value) {
  static const json::array kNone;
  return value && value->is_array() ? value->get_array() : kNone;
}
Amounts amounts(const json::value* map) {
  Amounts out;
  if (map && map->is_object())
    for (const auto& [key, value] : map->get_object())
      if (auto quantity = Quantity::parse(base::as_string(&value)); quantity.ok()) out[std::string(key)] = *quantity;
  return out;
}
std::string joined(const std::vector<std::string>& parts, const char* between) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : between) + part;
  return out;
}

// Sets what `defaults` names and the container leaves open, by name: "cpu, memory".
std::vector<std::string> fill(json::object& container, const char* kind, const Amounts& defaults) {
  std::vector<std::string> set;
  for (const auto& [name, quantity] : defaults) {
    const json::value* resources = container.if_contains("resources");
    if (resources && find_path(*resources, kind, name)) continue;
    base::object_at(container, "resources", kind)[name] = quantity.text();
    set.push_back(name);
  }
  return set;
}

struct Usage {
  Amounts requests, limits;
};
Usage usage_of(const json::value& container) {
  return {amounts(find_path(container, "resources", "requests")), amounts(find_path(container, "resources", "limits"))};
}

// What a Pod as a whole asks for: its containers together, or its greatest init container.
Usage usage_of_pod(const json::value& pod) {
  Usage sum;
  for (const json::value& container : list_at(find_path(pod, "spec", "containers"))) {
    Usage one = usage_of(container);
    for (const auto& [name, quantity] : one.requests) sum.requests[name] += quantity;
    for (const auto& [name, quantity] : one.limits) sum.limits[name] += quantity;
  }
  for (const json::value& container : list_at(find_path(pod, "spec", "initContainers"))) {
    Usage one = usage_of(container);
    bool sidecar = string_at(container, "restartPolicy") == "Always";
    auto take = [&](Amounts& to, const Amounts& from) {
      for (const auto& [name, quantity] : from) {
        if (sidecar) to[name] += quantity;
        else if (to[name] < quantity) to[name] = quantity;
      }
    };
    take(sum.requests, one.requests);
    take(sum.limits, one.limits);
  }
  return sum;
}

// Bounds of one limit on one usage, in Kubernetes' sentences.
void check(const json::value& limit, const std::string& type, const Usage& usage, std::vector<std::string>& out) {
  auto value_of = [](const Amounts& from, const std::string& name) {
    auto it = from.find(name);
    return it == from.end() ? nullptr : &it->second;
  };
  for (const auto& [name, least] : amounts(find(limit, "min"))) {
    const Quantity *request = value_of(usage.requests, name), *upper = value_of(usage.limits, name);
    std::string head = "minimum " + name + " usage per " + type + " is " + least.text();
    if (!request) out.push_back(head + ".  No request is specified");
    else if (*request < least) out.push_back(head + ", but request is " + request->text());
    if (upper && *upper < least) out.push_back(head + ", but limit is " + upper->text());
  }
  for (const auto& [name, most] : amounts(find(limit, "max"))) {
    const Quantity *request = value_of(usage.requests, name), *upper = value_of(usage.limits, name);
    std::string head = "maximum " + name + " usage per " + type + " is " + most.text();
    if (!upper && type != "PersistentVolumeClaim") out.push_back(head + ".  No limit is specified");
    if (upper && *upper > most) out.push_back(head + ", but limit is " + upper->text());
    if (request && *request > most) out.push_back(head + ", but request is " + request->text());
  }
  for (const auto& [name, ratio] : amounts(find(limit, "maxLimitRequestRatio"))) {
    const Quantity *request = value_of(usage.requests, name), *upper = value_of(usage.limits, name);
    std::string head = name + " max limit to request ratio per " + type + " is " + ratio.text();
    if (!request || request->zero() || !upper || upper->zero()) {
      out.push_back(head + ", but no request is specified or request is 0");
      continue;
    }
    double real = static_cast<double>(upper->to_milli()) / static_cast<double>(request->to_milli());
    if (real * 1000 <= static_cast<double>(ratio.to_milli())) continue;
    char text[40];
    std::snprintf(text, sizeof text, "%f", real);
    out.push_back(head + ", but provided ratio is " + text);
  }
}

class LimitRanger final : public AdmissionPlugin {
 public:
  explicit LimitRanger(const ObjectCache& limit_ranges) : limit_ranges_(limit_ranges) {}
  std::string_view name() const override { return "LimitRanger"; }
  using AdmissionPlugin::mutate;
  using AdmissionPlugin::validate;

  json::value mutate(AdmissionAttributes& attributes) override {
    if (!concerns(attributes, "pods") || attributes.operation != Operation::kCreate) return nullptr;
    auto [it, end] = limit_ranges_.range(attributes.ns);
    for (; it != end; ++it) set_container_defaults(json::parse(*it->second->text), attributes.object);
    // What was filled in may have moved the Pod to another class.
    base::object_at(attributes.object.get_object(), "status")["qosClass"] = qos_class(attributes.object);
    return nullptr;
  }

  json::value validate(AdmissionAttributes& attributes) override {
    bool pod = concerns(attributes, "pods") && attributes.operation == Operation::kCreate;
    if (!pod && !concerns(attributes, "persistentvolumeclaims")) return nullptr;
    std::vector<std::string> wrong;
    auto [it, end] = limit_ranges_.range(attributes.ns);
    for (; it != end; ++it) {
      json::value range = json::parse(*it->second->text);
      for (std::string& text : pod ? pod_violations(range, attributes.object) : claim_violations(range, attributes.object)) wrong.push_back(std::move(text));
    }
    if (wrong.empty()) return nullptr;
    return api::forbidden(attributes.resource->named(), attributes.name, wrong.size() == 1 ? wrong[0] : "[" + joined(wrong, ", ") + "]");
  }

 private:
  static bool concerns(const AdmissionAttributes& attributes, const char* plural) {
    return attributes.is("", plural) && attributes.subresource.empty() && attributes.object.is_object() &&
           (attributes.operation == Operation::kCreate || attributes.operation == Operation::kUpdate);
  }
  const ObjectCache& limit_ranges_;
};

}  // namespace

void set_container_defaults(const json::value& limit_range, json::value& pod) {
  Amounts requests, limits;
  for (const json::value& limit : list_at(find_path(limit_range, "spec", "limits"))) {
    if (string_at(limit, "type") != "Container") continue;
    for (auto& [name, quantity] : amounts(find(limit, "default"))) limits[name] = quantity;
    for (auto& [name, quantity] : amounts(find(limit, "defaultRequest"))) requests[name] = quantity;
  }
  if (requests.empty() && limits.empty()) return;
  std::vector<std::string> notes;
  json::object& spec = base::object_at(pod.get_object(), "spec");
  for (const char* list : {"initContainers", "containers"}) {
    json::value* containers = spec.if_contains(list);
    if (!containers || !containers->is_array()) continue;
    for (json::value& container : containers->get_array()) {
      if (!container.is_object()) continue;
      std::string name(string_at(container, "name"));
      const char* what = std::string_view(list) == "containers" ? "container " : "init container ";
      auto note = [&](const std::vector<std::string>& set, const char* kind) {
        if (!set.empty()) notes.push_back(joined(set, ", ") + " " + kind + " for " + what + name);
      };
      note(fill(container.get_object(), "requests", requests), "request");
      note(fill(container.get_object(), "limits", limits), "limit");
    }
  }
  if (!notes.empty()) base::object_at(pod.get_object(), "metadata", "annotations")[kAnnotation] = "LimitRanger plugin set: " + joined(notes, "; ");
}

std::vector<std::string> pod_violations(const json::value& limit_range, const json::value& pod) {
  std::vector<std::string> out;
  for (const json::value& limit : list_at(find_path(limit_range, "spec", "limits"))) {
    std::string type(string_at(limit, "type"));
    if (type == "Container")
      for (const char* list : {"containers", "initContainers"})
        for (const json::value& container : list_at(find_path(pod, "spec", list))) check(limit, type, usage_of(container), out);
    if (type == "Pod") check(limit, type, usage_of_pod(pod), out);
  }
  return out;
}

std::vector<std::string> claim_violations(const json::value& limit_range, const json::value& claim) {
  std::vector<std::string> out;
  Usage usage{amounts(find_path(claim, "spec", "resources", "requests")), amounts(find_path(claim, "spec", "resources", "limits"))};
  for (const json::value& limit : list_at(find_path(limit_range, "spec", "limits")))
    if (std::string type(string_at(limit, "type")); type == "PersistentVolumeClaim") check(limit, type, usage, out);
  return out;
}

std::unique_ptr<AdmissionPlugin> make_limit_ranger(const ObjectCache& limit_ranges) { return std::make_unique<LimitRanger>(limit_ranges); }

}  // namespace master
