#include "master/admission/limit_ranger.h"

#include <map>

#include "api/quantity.h"
#include "api/status.h"
#include "base/json_lists.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;
using api::Quantity;
using base::list_at;
using base::map_at;

namespace {

// The defaults of all items of type Container; the first that names a resource wins.
json::object container_defaults(const json::value& range, const char* member) {
  json::object out;
  for (const json::value& item : list_at(base::find_path(range, "spec", "limits")))
    if (base::string_at(item, "type") == "Container")
      for (const auto& one : map_at(base::find(item, member))) out.emplace(one.key(), one.value());
  return out;
}
// Names of the resources that were filled in, "cpu, memory".
std::string fill(json::object& resources, const char* member, const json::object& defaults) {
  std::string set;
  if (defaults.empty()) return set;
  json::object& into = base::object_at(resources, member);
  for (const auto& one : defaults)
    if (into.emplace(one.key(), one.value()).second)
      set += (set.empty() ? "" : ", ") + std::string(one.key());
  if (into.empty()) resources.erase(member);
  return set;
}

using Amounts = std::map<std::string, Quantity>;
Amounts amounts_at(const json::value* in) {
  Amounts out;
  for (const auto& item : map_at(in))
    if (auto quantity = Quantity::parse(base::as_string(&item.value())); quantity.ok())
      out.emplace(std::string(item.key()), *quantity);
  return out;
}
// Resources that every container names, added up.
Amounts sum(const json::value& pod, const char* member) {
  Amounts total;
  bool first = true;
  for (const json::value& c : list_at(base::find_path(pod, "spec", "containers"))) {
    Amounts own = amounts_at(base::find_path(c, "resources", member));
    if (first) total = own;
    std::erase_if(total, [&](const auto& item) { return !own.contains(item.first); });
    if (!first)
      for (auto& [name, amount] : total) amount += own.at(name);
    first = false;
  }
  return total;
}

void check(std::vector<std::string>& errors, const json::value& item, const Amounts& requests,
           const Amounts& limits) {
  std::string type(base::string_at(item, "type"));
  for (const auto& [name, least] : amounts_at(base::find(item, "min"))) {
    std::string head = "minimum " + name + " usage per " + type + " is " + least.text();
    auto request = requests.find(name), limit = limits.find(name);
    if (request == requests.end()) errors.push_back(head + ".  No request is specified");
    else if (request->second < least) errors.push_back(head + ", but request is " + request->second.text());
    else if (limit != limits.end() && limit->second < least)
      errors.push_back(head + ", but limit is " + limit->second.text());
  }
  for (const auto& [name, most] : amounts_at(base::find(item, "max"))) {
    std::string head = "maximum " + name + " usage per " + type + " is " + most.text();
    auto request = requests.find(name), limit = limits.find(name);
    if (type == "PersistentVolumeClaim") {
      if (request != requests.end() && most < request->second)
        errors.push_back(head + ", but request is " + request->second.text());
    } else if (limit == limits.end()) errors.push_back(head + ".  No limit is specified");
    else if (most < limit->second) errors.push_back(head + ", but limit is " + limit->second.text());
    else if (request != requests.end() && most < request->second)
      errors.push_back(head + ", but request is " + request->second.text());
  }
  for (const auto& [name, ratio] : amounts_at(base::find(item, "maxLimitRequestRatio"))) {
    std::string head = name + " max limit to request ratio per " + type + " is " + ratio.text();
    auto request = requests.find(name), limit = limits.find(name);
    if (request == requests.end() || request->second.zero())
      errors.push_back(head + ", but no request is specified or request is 0");
    else if (limit == limits.end() || limit->second.zero())
      errors.push_back(head + ", but no limit is specified or limit is 0");
    else if (double have = static_cast<double>(limit->second.to_milli()) /
                           static_cast<double>(request->second.to_milli());
             have * 1000 > static_cast<double>(ratio.to_milli()))
      errors.push_back(head + ", but provided ratio is " + fmt::format("{:f}", have));
  }
}

}  // namespace

void apply_limit_defaults(const json::value& limit_range, json::value& pod) {
  json::object limits = container_defaults(limit_range, "default"),
               requests = container_defaults(limit_range, "defaultRequest");
  json::value* spec = pod.get_object().if_contains("spec");
  if (!spec || !spec->is_object()) return;
  std::string notes;
  for (const char* list : {"containers", "initContainers"}) {
    json::value* containers = spec->get_object().if_contains(list);
    if (!containers || !containers->is_array()) continue;
    const char* what = std::string_view(list) == "containers" ? "container" : "init container";
    for (json::value& c : containers->get_array()) {
      if (!c.is_object()) continue;
      json::object& resources = base::object_at(c.get_object(), "resources");
      std::string name(base::string_at(c, "name"));
      auto note = [&](const std::string& set, const char* kind) {
        if (!set.empty())
          notes += (notes.empty() ? "" : "; ") + set + " " + kind + " for " + what + " " + name;
      };
      note(fill(resources, "requests", requests), "request");
      note(fill(resources, "limits", limits), "limit");
    }
  }
  if (!notes.empty())
    base::object_at(pod.get_object(), "metadata", "annotations")["kubernetes.io/limit-ranger"] =
        "LimitRanger plugin set: " + notes;
}

std::vector<std::string> check_limits(const json::value& limit_range, const json::value& object,
                                      bool is_claim) {
  std::vector<std::string> errors;
  for (const json::value& item : list_at(base::find_path(limit_range, "spec", "limits"))) {
    std::string_view type = base::string_at(item, "type");
    if (is_claim) {
      if (type == "PersistentVolumeClaim")
        check(errors, item, amounts_at(base::find_path(object, "spec", "resources", "requests")), {});
    } else if (type == "Container") {
      for (const char* list : {"containers", "initContainers"})
        for (const json::value& c : list_at(base::find_path(object, "spec", list)))
          check(errors, item, amounts_at(base::find_path(c, "resources", "requests")),
                amounts_at(base::find_path(c, "resources", "limits")));
    } else if (type == "Pod") {
      check(errors, item, sum(object, "requests"), sum(object, "limits"));
    }
  }
  return errors;
}

std::vector<json::value> LimitRanger::ranges(const AdmissionAttributes& attributes) const {
  std::vector<json::value> out;
  bool is_pod = attributes.is("", "pods"), is_claim = attributes.is("", "persistentvolumeclaims");
  if ((!is_pod && !is_claim) || !attributes.subresource.empty() || attributes.operation == Operation::kDelete)
    return out;
  if (is_pod && attributes.operation == Operation::kUpdate) return out;  // what it asks for is immutable
  auto [it, end] = registry_.cache("", "limitranges").range(attributes.ns);
  for (; it != end; ++it) out.push_back(parse_object(*it->second->text));
  return out;
}
json::value LimitRanger::mutate(AdmissionAttributes& attributes) {
  if (!attributes.is("", "pods")) return nullptr;
  for (const json::value& range : ranges(attributes)) apply_limit_defaults(range, attributes.object);
  return nullptr;
}
json::value LimitRanger::validate(AdmissionAttributes& attributes) {
  for (const json::value& range : ranges(attributes)) {
    std::vector<std::string> errors =
        check_limits(range, attributes.object, attributes.is("", "persistentvolumeclaims"));
    if (errors.empty()) continue;
    std::string all;
    for (const std::string& error : errors) all += (all.empty() ? "" : ", ") + error;
    if (errors.size() > 1) all = "[" + all + "]";
    return api::forbidden(attributes.resource->named(), attributes.name, all);
  }
  return nullptr;
}

}  // namespace master
