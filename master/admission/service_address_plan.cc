// The reasons and messages of cluster IPs and node ports are those of kube-apiserver's repair loops.
#include "master/admission/service_address_plan.h"

#include "base/ip.h"
#include "base/json_lists.h"

namespace master {

namespace json = base::json;

namespace {

bool holds(const std::string& cidr, const std::string& ip) {
  auto range = base::Cidr::parse_v4(cidr);
  auto address = base::Ip::parse_v4(ip);
  return range && address && range->contains(*address);
}
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

std::string ClusterAddresses::refusal(const std::string& ip) const {
  if (holds(service_cidr, ip)) return "may not be in the range of Services (" + service_cidr + ")";
  if (holds(pod_cidr, ip)) return "may not be in the range of Pods (" + pod_cidr + ")";
  if (ip == dns) return "may not be the address of the cluster's DNS";
  if (masters.contains(ip)) return "may not be an address of the API server";
  if (nodes.contains(ip)) return "may not be an address of a node";
  return {};
}

bool ranges_overlap(const std::string& one, const std::string& other) {
  auto a = base::Cidr::parse_v4(one), b = base::Cidr::parse_v4(other);
  return a && b && a->overlaps(*b);
}

ServiceClaims read_claims(const json::value& object) {
  ServiceClaims out;
  out.ns = base::string_at(object, "metadata", "namespace");
  out.name = base::string_at(object, "metadata", "name");
  out.uid = base::string_at(object, "metadata", "uid");
  out.created = base::string_at(object, "metadata", "creationTimestamp");
  std::string_view type = base::string_at(object, "spec", "type"),
                   ip = base::string_at(object, "spec", "clusterIP");
  if (type == "ExternalName" || ip == "None") return out;
  out.cluster_ip = ip;
  for (const json::value& one : base::list_at(base::find_path(object, "spec", "externalIPs")))
    out.external_ips.emplace_back(base::as_string(&one));
  if (type == "LoadBalancer")
    for (const json::value& one : base::list_at(base::find_path(object, "status", "loadBalancer", "ingress")))
      if (std::string_view at = base::string_at(one, "ip");
          !at.empty() && base::string_at(one, "ipMode") != "Proxy")
        out.ingress_ips.emplace_back(at);
  for (const json::value& one : base::list_at(base::find_path(object, "spec", "ports"))) {
    std::string_view protocol = base::string_at(one, "protocol");
    out.ports.push_back({std::string(protocol.empty() ? "TCP" : protocol),
                         static_cast<int>(base::as_int(base::find(one, "port"))),
                         static_cast<int>(base::as_int(base::find(one, "nodePort")))});
  }
  return out;
}

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
                                            const ClusterAddresses& cluster) const {
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

}  // namespace master
