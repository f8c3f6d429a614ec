#include "master/admission/priority.h"

#include "api/status.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

std::vector<json::object> system_priority_classes() {
  auto one = [](const char* name, int64_t value, const char* doc) {
    return json::object{{"metadata", json::object{{"name", name}}}, {"value", value}, {"description", doc}};
  };
  return {one("system-cluster-critical", 2 * kHighestUserPriority,
              "Used for system critical pods that must run in the cluster, but can be moved to another node "
              "if necessary."),
          one("system-node-critical", 2 * kHighestUserPriority + 1000,
              "Used for system critical pods that must not be moved from their current node.")};
}

Priority::Class Priority::read_class(std::string name, const json::value& object) {
  Class out{std::move(name)};
  out.value = base::as_int(base::find(object, "value"));
  if (std::string_view own = base::string_at(object, "preemptionPolicy"); !own.empty()) out.policy = own;
  return out;
}

// Of several defaults the lowest; without any, the class of no name.
const Priority::Class& Priority::default_class() {
  const ObjectCache& classes = registry_.cache("scheduling.k8s.io", "priorityclasses");
  if (std::exchange(default_read_at_, classes.last_revision()) == classes.last_revision()) return default_;
  default_ = Class{};
  for (const auto& [key, object] : classes.objects()) {
    json::value one = parse_object(*object->text);
    if (!base::as_bool(base::find(one, "globalDefault"))) continue;
    Class candidate = read_class(std::string(object->name()), one);
    if (default_.name.empty() || candidate.value < default_.value) default_ = std::move(candidate);
  }
  return default_;
}

json::value Priority::mutate(AdmissionAttributes& attributes) {
  if (!attributes.is("", "pods") || attributes.operation != Operation::kCreate ||
      !attributes.subresource.empty())
    return nullptr;
  json::object& spec = base::object_at(attributes.object.get_object(), "spec");
  std::string name(base::as_string(spec.if_contains("priorityClassName")));
  Class named;
  if (!name.empty()) {
    ObjectRef object = registry_.cache("scheduling.k8s.io", "priorityclasses").find(object_key("", name));
    if (!object)
      return api::forbidden(attributes.resource->named(), attributes.name,
                            "no PriorityClass with name " + name + " was found");
    named = read_class(std::move(name), parse_object(*object->text));
  }
  const auto& [class_name, policy, value] = named.name.empty() ? default_class() : named;
  if (!class_name.empty()) spec["priorityClassName"] = class_name;
  if (const json::value* given = spec.if_contains("priority");
      given && given->is_int64() && given->get_int64() != value)
    return api::forbidden(attributes.resource->named(), attributes.name,
                          "the integer value of priority (" + base::to_json(*given) +
                              ") must not be provided in pod spec; priority admission controller computed " +
                              std::to_string(value) + " from the given PriorityClass name");
  if (std::string_view given = base::as_string(spec.if_contains("preemptionPolicy"));
      !given.empty() && given != policy)
    return api::forbidden(attributes.resource->named(), attributes.name,
                          "the string value of PreemptionPolicy (" + std::string(given) +
                              ") must not be provided in pod spec; priority admission controller computed " +
                              policy + " from the given PriorityClass name");
  spec["priority"] = value;
  spec["preemptionPolicy"] = policy;
  return nullptr;
}

json::value Priority::validate(AdmissionAttributes& attributes) {
  if (!attributes.is("scheduling.k8s.io", "priorityclasses") || attributes.object.is_null()) return nullptr;
  const std::string& name = attributes.name;
  int64_t value = base::as_int(base::find(attributes.object, "value"));
  auto invalid = [&](api::FieldError::Type type, const char* field, std::string shown, std::string why) {
    return api::invalid("scheduling.k8s.io", "PriorityClass", name,
                        {{type, field, std::move(shown), std::move(why)}});
  };
  bool system = false;
  for (const json::object& one : system_priority_classes())
    system |= base::string_at(json::value(one), "metadata", "name") == name &&
              base::as_int(one.if_contains("value")) == value;
  if (name.starts_with("system-") && !system)
    return invalid(api::FieldError::Type::forbidden, "metadata.name", {},
                   "priority class names with 'system-' prefix are reserved for system use only. error: " +
                       name + " is not a known system priority class");
  if (!system && value > kHighestUserPriority)
    return invalid(
        api::FieldError::Type::forbidden, "value", {},
        "maximum allowed value of a user defined priority is " + std::to_string(kHighestUserPriority));
  if (!attributes.old.is_null() && base::as_int(base::find(attributes.old, "value")) != value)
    return invalid(api::FieldError::Type::forbidden, "value", {}, "may not be changed in an update.");
  if (!base::as_bool(base::find(attributes.object, "globalDefault"))) return nullptr;
  for (const auto& [key, object] : registry_.cache("scheduling.k8s.io", "priorityclasses").objects())
    if (object->name() != name && base::as_bool(base::find(parse_object(*object->text), "globalDefault")))
      return api::forbidden(attributes.resource->named(), name,
                            "PriorityClass " + std::string(object->name()) +
                                " is already marked as default. Only one default can exist");
  return nullptr;
}

}  // namespace master
