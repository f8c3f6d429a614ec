// Who has the addresses that Services claim, and which of them no Service may have: pure. The proxies
// decide the same for their rules (proxy/service_plan.h); this is who says so, once for the cluster.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"

namespace master {

// Addresses that are parts of the cluster itself.
struct ClusterAddresses {
  std::string service_cidr, pod_cidr;  // "10.96.0.0/16"; of another family: matches nothing
  std::string dns;
  std::set<std::string> masters, nodes;
  std::map<std::string, std::string> cluster_ips;  // given by name: address -> "ns/name"
  // Why nobody may name `ip` in spec.externalIPs: "may not be …"; "" when it is free to use.
  std::string refusal(const std::string& ip) const;
};

// Whether an IPv4 address is in both of two ranges "10.96.0.0/16"; of what is none: no.
bool ranges_overlap(const std::string& one, const std::string& other);

struct ServiceClaims {
  struct Port {
    std::string protocol;
    int port = 0, node_port = 0;
  };
  std::string ns, name, uid, created;  // creationTimestamp as it stands: they sort by time
  std::string cluster_ip;              // "": headless, or no proxy's
  std::vector<std::string> external_ips, ingress_ips;
  std::vector<Port> ports;
  std::string key() const { return ns + "/" + name; }
};
ServiceClaims read_claims(const base::json::value& service);

struct AddressEvent {
  std::string reason, message;
  auto operator<=>(const AddressEvent&) const = default;
  std::string text() const { return reason + " " + message; }
};

// Cluster IPs, node ports and external address . port . protocol of all Services, oldest first.
class AddressBook {
 public:
  // Both return the keys of the Services for which something may be different now.
  std::set<std::string> set(const ServiceClaims& service);
  std::set<std::string> remove(const std::string& key);
  const ServiceClaims* find(const std::string& key) const;
  // What `service` claims and does not have.
  std::set<AddressEvent> refused(const ServiceClaims& service, const ClusterAddresses& cluster) const;
  // Those that name addresses outside of the Service range.
  const std::set<std::string>& with_external() const { return with_external_; }

 private:
  struct Place {
    std::string created, uid, key;
    auto operator<=>(const Place&) const = default;
  };
  void neighbours(const std::string& claim, std::set<std::string>& concerned) const;
  std::map<std::string, std::set<Place>> claims_;  // "ip 10.96.0.5", "port 30080", "to 203.0.113.7:80/TCP"
  std::map<std::string, ServiceClaims> known_;
  std::set<std::string> with_external_;
};

}  // namespace master
