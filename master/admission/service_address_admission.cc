#include "master/admission/service_address_admission.h"

#include <algorithm>

#include "api/status.h"
#include "base/json_lists.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

api::ClusterAddresses reserved_addresses(const Registry& registry) {
  const Registry::Network& network = registry.network();
  api::ClusterAddresses out{
      network.service_cidr, network.cluster_cidr, network.cluster_dns, {network.master}, {}, {}};
  out.cluster_ips = ServiceAllocator(network.service_cidr, network.cluster_dns).reserved();
  return out;
}

ServiceAddressAdmission::ServiceAddressAdmission(Registry& registry, bool deny_all)
    : nodes_(registry.cache("", "nodes")), cluster_(reserved_addresses(registry)), deny_all_(deny_all) {
  for (const auto& [key, node] : nodes_.objects()) count(*node, 1);
  listener_ = nodes_.subscribe([this](const WatchEvent& event) {
    if (event.previous) count(*event.previous, -1);
    if (event.type != WatchEvent::Type::kDeleted) count(*event.object, 1);
  });
}
ServiceAddressAdmission::~ServiceAddressAdmission() { nodes_.unsubscribe(listener_); }

void ServiceAddressAdmission::count(const StoredObject& node, int by) {
  auto object = base::parse_json(*node.text);
  if (!object.ok()) return;
  std::vector<std::string> addresses;
  for (const json::value& address : base::list_at(base::find_path(*object, "status", "addresses")))
    addresses.emplace_back(base::string_at(address, "address"));
  cluster_.count_node(addresses, by);
}

json::value ServiceAddressAdmission::validate(AdmissionAttributes& attributes) {
  if (!attributes.is("", "services") || !attributes.subresource.empty()) return nullptr;
  if (attributes.operation != Operation::kCreate && attributes.operation != Operation::kUpdate)
    return nullptr;
  const json::array& had = base::list_at(base::find_path(attributes.old, "spec", "externalIPs"));
  api::FieldErrors errors;
  size_t index = 0;
  for (const json::value& one : base::list_at(base::find_path(attributes.object, "spec", "externalIPs"))) {
    std::string field = "spec.externalIPs[" + std::to_string(index++) + "]", ip(base::as_string(&one));
    if (std::find(had.begin(), had.end(), one) != had.end()) continue;
    if (deny_all_)
      return api::forbidden(attributes.resource->named(), attributes.name,
                            "Use of external IPs is denied by admission control");
    if (std::string why = cluster_.refusal(ip); !why.empty())
      errors.push_back(
          {api::FieldError::Type::invalid, std::move(field), base::to_json(one), std::move(why)});
  }
  return errors.empty() ? json::value() : api::invalid("", "Service", attributes.name, errors);
}

}  // namespace master
