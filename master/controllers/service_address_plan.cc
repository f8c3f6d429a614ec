// The reasons and messages of cluster IPs and node ports are those of kube-apiserver's repair loops.
#include "master/controllers/service_address_plan.h"

namespace master::controllers {

namespace {

std::string external_claim(const std::string& ip, const ServiceClaims::Port& port) {
  return ip + ":" + std::to_string(port.port) + "/" + port.protocol;
}
std::set<std::string> claims_of(const ServiceClaims& service) {
  std::set<std::string> claims;
  if (service.cluster_ip.empty()) return claims;
  claims.insert("ip " + service.cluster_ip);
  for (const ServiceClaims::Port& port : service.ports) {
    if (port.node_port) claims.insert("port " + std::to_string(port.node_port));
    for (const auto* list : {&service.external_ips, &service.ingress_ips})
      for (const std::string& ip : *list) claims.insert("to " + external_claim(ip, port));
  }
  return claims;
}

}  // namespace

// Only who had it, or has it now, hears of it: a hundred claimants are no hundred times a hundred.
void AddressBook::neighbours(const std::string& claim, std::set<std::string>& concerned) const {
  auto it = claims_.find(claim);
  if (it == claims_.end()) return;
  if (it->second.size() > 1) concerned.insert(std::next(it->second.begin())->key);
  concerned.insert(it->second.begin()->key);
}
std::set<std::string> AddressBook::remove(const std::string& key) {
  std::set<std::string> concerned;
  auto old = known_.find(key);
  if (old == known_.end()) return concerned;
  for (const std::string& claim : claims_of(old->second)) {
    auto it = claims_.find(claim);
    it->second.erase({old->second.created, old->second.uid, key});
    if (it->second.empty()) claims_.erase(it);
    neighbours(claim, concerned);
  }
  known_.erase(old);
  with_external_.erase(key);
  return concerned;
}
std::set<std::string> AddressBook::set(const ServiceClaims& service) {
  const std::string key = service.key();
  std::set<std::string> concerned = remove(key);
  for (const std::string& claim : claims_of(service)) {
    claims_[claim].insert({service.created, service.uid, key});
    neighbours(claim, concerned);
  }
  if (!service.external_ips.empty()) with_external_.insert(key);
  known_[key] = service;
  concerned.insert(key);
  return concerned;
}
const ServiceClaims* AddressBook::find(const std::string& key) const {
  auto it = known_.find(key);
  return it == known_.end() ? nullptr : &it->second;
}

std::set<AddressEvent> AddressBook::refused(const ServiceClaims& service,
                                            const api::ClusterAddresses& cluster) const {
  std::set<AddressEvent> out;
  if (service.cluster_ip.empty()) return out;
  const std::string key = service.key();
  auto is_first = [&](const std::string& claim) {
    auto it = claims_.find(claim);
    return it == claims_.end() || it->second.begin()->key == key;
  };
  auto owner = cluster.cluster_ips.find(service.cluster_ip);
  if (owner != cluster.cluster_ips.end() ? owner->second != key : !is_first("ip " + service.cluster_ip))
    out.insert(
        {"ClusterIPAlreadyAllocated", "Cluster IP [IPv4]:" + service.cluster_ip +
                                          " was assigned to multiple services; please recreate service"});
  for (const ServiceClaims::Port& port : service.ports) {
    if (port.node_port && !is_first("port " + std::to_string(port.node_port)))
      out.insert({"PortAlreadyAllocated", "Port " + std::to_string(port.node_port) +
                                              " was assigned to multiple services; please recreate service"});
    for (const auto* list : {&service.external_ips, &service.ingress_ips})
      for (const std::string& ip : *list) {
        std::string to = external_claim(ip, port);
        if (!is_first("to " + to))
          out.insert({"ExternalAddressInUse",
                      to + " belongs to an older Service: nothing sent there reaches this one"});
      }
  }
  for (const std::string& ip : service.external_ips)
    if (std::string why = cluster.refusal(ip); !why.empty())
      out.insert({"ExternalAddressNotAllowed", "spec.externalIPs: " + ip + " " + why + ": it is not served"});
  return out;
}

}  // namespace master::controllers
