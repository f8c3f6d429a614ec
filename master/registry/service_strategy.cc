#include "master/registry/service_strategy.h"

#include "api/status.h"
#include "master/registry/registry.h"
#include "master/registry/service_update.h"

namespace master {

namespace json = base::json;

namespace {

// The Status for a Service whose address or port can't be had: `error.subject` names the field, whose value
// is shown.
json::value service_refusal(std::string_view name, const json::value& service, const base::Error& error) {
  constexpr std::string_view kPorts = "spec.ports[";
  const json::value* value = base::find_path(service, "spec", "clusterIPs");
  if (std::string_view field = error.subject; field.starts_with(kPorts)) {
    const json::value* ports = base::find_path(service, "spec", "ports");
    size_t index = static_cast<size_t>(std::atoi(std::string(field.substr(kPorts.size())).c_str()));
    bool there = ports && ports->is_array() && index < ports->get_array().size();
    value = there ? base::find(ports->get_array()[index], "nodePort") : nullptr;
  }
  if (error.subject == "spec.healthCheckNodePort")
    value = base::find_path(service, "spec", "healthCheckNodePort");
  std::string shown =
      value ? base::to_json(*value)
            : "[" + base::to_json(json::value(base::string_at(service, "spec", "clusterIP"))) + "]";
  return api::invalid("", "Service", name,
                      {{api::FieldError::Type::invalid, error.subject, std::move(shown), error.reason}});
}

}  // namespace

void load_service_addresses(Registry& registry, const json::value& service) {
  registry.service_addresses().take(service);
}

json::value take_service_addresses(Registry& registry, AdmissionAttributes& attributes) {
  auto status = registry.service_addresses().allocate(attributes.object, nullptr);
  if (!status.ok())
    return status.error().kind == base::Kind::kExhausted
               ? api::internal_error(status.error().message())
               : service_refusal(attributes.name, attributes.object, status.error());
  hold_service_addresses(registry, attributes);
  return nullptr;
}

json::value retake_service_addresses(Registry& registry, std::string_view name, const json::value& current,
                                     json::value& updated) {
  settle_service_update(current, updated);
  auto status = registry.service_addresses().allocate(updated, current);
  return status.ok() ? json::value(nullptr) : service_refusal(name, updated, status.error());
}

void hold_service_addresses(Registry& registry, AdmissionAttributes& attributes) {
  attributes.on_end.push_back([&registry, &attributes](bool committed) {
    ServiceAllocator& addresses = registry.service_addresses();
    if (committed) addresses.release_difference(attributes.old, attributes.object);
    else addresses.release_difference(attributes.object, attributes.old);
  });
}

}  // namespace master
