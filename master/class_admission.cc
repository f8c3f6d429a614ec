#include "master/class_admission.h"

#include "api/status.h"
#include "base/log.h"

namespace master {

namespace json = base::json;
using base::find;
using base::find_path;
using base::string_at;

namespace {

constexpr const char* kPriorityGroup = "scheduling.k8s.io";

class Priority final : public AdmissionPlugin {
 public:
  explicit Priority(const ObjectCache& classes) : classes_(classes) {}
  std::string_view name() const override { return "Priority"; }
  using AdmissionPlugin::mutate;
  using AdmissionPlugin::validate;

  json::value mutate(AdmissionAttributes& attributes) override {
    if (!attributes.is("", "pods") || attributes.operation != Operation::kCreate || !attributes.subresource.empty()) return nullptr;
    json::object& spec = base::object_at(attributes.object.get_object(), "spec");
    std::string name(base::as_string(spec.if_contains("priorityClassName")));
    json::value chosen;
    if (!name.empty()) {
      ObjectRef found = classes_.find(object_key("", name));
      if (!found) return refuse(attributes, "no PriorityClass with name " + name + " was found");
      chosen = json::parse(*found->text);
    } else if (chosen = default_class(); !chosen.is_null()) {
      spec["priorityClassName"] = string_at(chosen, "metadata", "name");
    }
    int64_t value = base::as_int(find(chosen, "value")), given = base::as_int(spec.if_contains("priority"));
    if (given != 0 && given != value)
      return refuse(attributes, "the integer value of priority (" + std::to_string(given) + ") must not be provided in pod spec; "
                                "priority admission controller computed " + std::to_string(value) + " from the given PriorityClass name");
    spec["priority"] = value;
    if (std::string_view policy = string_at(chosen, "preemptionPolicy"); !policy.empty()) spec["preemptionPolicy"] = policy;
    return nullptr;
  }

  json::value validate(AdmissionAttributes& attributes) override {
    if (!attributes.is(kPriorityGroup, "priorityclasses") || !base::as_bool(find(attributes.object, "globalDefault"))) return nullptr;
    json::value other = default_class();
    std::string has(string_at(other, "metadata", "name"));
    if (has.empty() || has == attributes.name) return nullptr;
    return refuse(attributes, "PriorityClass " + has + " is already marked as default. Only one default can exist");
  }

 private:
  static json::value refuse(const AdmissionAttributes& attributes, const std::string& why) {
    return api::forbidden(attributes.resource->named(), attributes.name, why);
  }
  // The least of those marked as default, if two writes raced; null when there is none.
  json::value default_class() const {
    json::value out;
    for (const auto& [key, object] : classes_.objects()) {
      if (object->text->find("\"globalDefault\":true") == std::string::npos) continue;
      json::value parsed = json::parse(*object->text);
      if (!base::as_bool(find(parsed, "globalDefault"))) continue;
      if (out.is_null() || base::as_int(find(parsed, "value")) < base::as_int(find(out, "value"))) out = std::move(parsed);
    }
    return out;
  }

  const ObjectCache& classes_;
};

class DefaultStorageClass final : public AdmissionPlugin {
 public:
  explicit DefaultStorageClass(const ObjectCache& classes) : classes_(classes) {}
  std::string_view name() const override { return "DefaultStorageClass"; }
  using AdmissionPlugin::mutate;

  json::value mutate(AdmissionAttributes& attributes) override {
    if (!attributes.is("", "persistentvolumeclaims") || attributes.operation != Operation::kCreate || !attributes.subresource.empty()) return nullptr;
    // "" asks for no class: only what says nothing gets the default.
    if (find_path(attributes.object, "spec", "storageClassName") ||
        find_path(attributes.object, "metadata", "annotations", "volume.beta.kubernetes.io/storage-class"))
      return nullptr;
    std::string chosen, made;
    for (const auto& [key, object] : classes_.objects()) {
      json::value parsed = json::parse(*object->text);
      auto marked = [&](const char* annotation) { return string_at(parsed, "metadata", "annotations", annotation) == "true"; };
      if (!marked("storageclass.kubernetes.io/is-default-class") && !marked("storageclass.beta.kubernetes.io/is-default-class")) continue;
      // The newest, of the same age the first by name.
      std::string when(string_at(parsed, "metadata", "creationTimestamp"));
      if (chosen.empty() || when > made) {
        chosen = object->name();
        made = when;
      }
    }
    if (!chosen.empty()) base::object_at(attributes.object.get_object(), "spec")["storageClassName"] = chosen;
    return nullptr;
  }

 private:
  const ObjectCache& classes_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_priority_admission(const ObjectCache& priority_classes) { return std::make_unique<Priority>(priority_classes); }
std::unique_ptr<AdmissionPlugin> make_default_storage_class(const ObjectCache& storage_classes) { return std::make_unique<DefaultStorageClass>(storage_classes); }

void ensure_system_priority_classes(const ObjectCache& priority_classes, api::Client& client) {
  const api::Resource resource{kPriorityGroup, "v1", "priorityclasses", "PriorityClass", false};
  struct System {
    const char *name, *description;
    int64_t value;
  };
  constexpr System kSystem[] = {
      {"system-node-critical", "Used for system critical pods that must not be moved from their current node.", 2000001000},
      {"system-cluster-critical", "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.", 2000000000}};
  for (const System& each : kSystem) {
    if (priority_classes.find(object_key("", each.name))) continue;
    json::object object{{"apiVersion", "scheduling.k8s.io/v1"}, {"kind", "PriorityClass"}, {"metadata", json::object{{"name", each.name}}},
                        {"value", each.value}, {"description", each.description}};
    client.create(resource, "", std::move(object), [name = std::string(each.name)](base::Result<json::value> result) {
      if (!result.ok()) base::log::error("PriorityClass {}: {}", name, result.error().message());
    });
  }
}

}  // namespace master
