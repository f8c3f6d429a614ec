#include "master/controllers/service_address_controller.h"

namespace master::controllers {

namespace {
constexpr const char* kAddressComponent = "service-controller";
std::vector<std::string> addresses_of(const Node& node) {
  std::vector<std::string> out = node.internal_ips;
  out.insert(out.end(), node.external_ips.begin(), node.external_ips.end());
  return out;
}
}  // namespace

ServiceAddressController::ServiceAddressController(Hub& hub)
    : account_(hub.account("service-controller")), services_(hub.follow<Service>(api::resources::services)),
      nodes_(hub.follow<Node>(api::resources::nodes)), cluster_(hub.options.reserved_addresses),
      reconciler_(hub, {&services_, &nodes_}, [this](const std::string& key, Reconciler::Finish finish) {
        sync(key);
        finish(Reconciler::Outcome::kDone);
      }) {
  services_.on_change([this](const auto& before, const auto& after) {
    if (before && after && before->claims == after->claims) return;
    if (!after) said_.erase(before->meta.key());
    const auto concerned = after ? book_.set(after->claims) : book_.remove(before->meta.key());
    for (const std::string& key : concerned) reconciler_.add(key);
  });
  nodes_.on_change([this](const auto& before, const auto& after) {
    bool changed = false;
    const std::vector<std::string> had = before ? addresses_of(*before) : std::vector<std::string>(),
                                   has = after ? addresses_of(*after) : std::vector<std::string>();
    if (had == has) return;
    changed |= cluster_.count_node(has, 1);
    changed |= cluster_.count_node(had, -1);
    if (changed)
      for (const std::string& key : book_.with_external()) reconciler_.add(key);
  });
}

void ServiceAddressController::sync(const std::string& key) {
  const ServiceClaims* service = book_.find(key);
  if (!service) return;
  std::set<AddressEvent> refused = book_.refused(*service, cluster_);
  std::set<AddressEvent>& said = said_[key];
  for (const AddressEvent& event : refused)
    if (!said.contains(event))
      account_.events.record({"v1", "Service", service->ns, service->name, service->uid}, "Warning",
                             event.reason, event.message, kAddressComponent);
  said = std::move(refused);
  if (said.empty()) said_.erase(key);
}

}  // namespace master::controllers
