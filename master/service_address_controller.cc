#include "master/service_address_controller.h"

#include "master/registry/registry.h"

namespace master {

ServiceAddressController::ServiceAddressController(Registry& registry)
    : services_(registry.cache("", "services")),
      client_(registry.transport(
                  {"system:serviceaccount:kube-system:service-controller",
                   {"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"}}),
              "kube-controller-manager"),
      events_(client_, "service-controller", base::wall_now),
      queue_(registry.loop(), [this](const std::string& key) { sync(key); }), cluster_(registry, [this] {
        for (const std::string& key : book_.with_external()) queue_.add(key);
      }) {
  for (const auto& [key, service] : services_.objects()) follow(*service);
  listener_ = services_.subscribe([this](const WatchEvent& event) {
    if (event.type != WatchEvent::Type::kDeleted) return follow(*event.object);
    said_.erase(event.object->key);
    for (const std::string& key : book_.remove(event.object->key)) queue_.add(key);
  });
}
ServiceAddressController::~ServiceAddressController() { services_.unsubscribe(listener_); }

void ServiceAddressController::follow(const StoredObject& service) {
  auto object = base::parse_json(*service.text);
  if (!object.ok()) return;
  for (const std::string& key : book_.set(read_claims(*object))) queue_.add(key);
}

void ServiceAddressController::sync(const std::string& key) {
  queue_.succeeded(key);
  const ServiceClaims* service = book_.find(key);
  if (!service) return;
  std::set<AddressEvent> refused = book_.refused(*service, cluster_.now());
  std::set<AddressEvent>& said = said_[key];
  for (const AddressEvent& event : refused)
    if (!said.contains(event))
      events_.record({"v1", "Service", service->ns, service->name, service->uid}, "Warning", event.reason,
                     event.message);
  said = std::move(refused);
  if (said.empty()) said_.erase(key);
}

}  // namespace master
