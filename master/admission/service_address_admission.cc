#include "master/admission/service_address_admission.h"

#include <algorithm>

#include "api/status.h"
#include "base/json_lists.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

namespace {

ClusterAddresses reserved_addresses(const Registry::Network& network) {
  ClusterAddresses out{
      network.service_cidr, network.cluster_cidr, network.cluster_dns, {network.master}, {}, {}};
  out.cluster_ips = ServiceAllocator(network.service_cidr, network.cluster_dns).reserved();
  return out;
}

}  // namespace

FollowedAddresses::FollowedAddresses(Registry& registry, std::function<void()> changed)
    : nodes_(registry.cache("", "nodes")), changed_(std::move(changed)),
      cluster_(reserved_addresses(registry.network())) {
  for (const auto& [key, node] : nodes_.objects()) count_node(*node, 1);
  listener_ = nodes_.subscribe([this](const WatchEvent& event) {
    std::set<std::string> before = cluster_.nodes;
    if (event.previous) count_node(*event.previous, -1);
    if (event.type != WatchEvent::Type::kDeleted) count_node(*event.object, 1);
    if (changed_ && cluster_.nodes != before) changed_();
  });
}
FollowedAddresses::~FollowedAddresses() { nodes_.unsubscribe(listener_); }

void FollowedAddresses::count_node(const StoredObject& node, int by) {
  auto object = base::parse_json(*node.text);
  if (!object.ok()) return;
  for (const json::value& address : base::list_at(base::find_path(*object, "status", "addresses"))) {
    std::string ip(base::string_at(address, "address"));
    if ((counts_[ip] += by) > 0) {
      cluster_.nodes.insert(ip);
    } else {
      counts_.erase(ip);
      cluster_.nodes.erase(ip);
    }
  }
}

ServiceAddressAdmission::ServiceAddressAdmission(Registry& registry, bool deny_all)
    : cluster_(registry), deny_all_(deny_all) {}

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
    if (std::string why = cluster_.now().refusal(ip); !why.empty())
      errors.push_back(
          {api::FieldError::Type::invalid, std::move(field), base::to_json(one), std::move(why)});
  }
  return errors.empty() ? json::value() : api::invalid("", "Service", attributes.name, errors);
}

}  // namespace master
