// What one Service wants in the table, from plain values: pure. The rules are those of kube-proxy:
// KEP-1669 (terminating endpoints), KEP-2086 (internalTrafficPolicy), KEP-1860 (ipMode).
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "proxy/table.h"

namespace proxy {

struct ServicePort {
  std::string name;
  uint8_t protocol = 6;
  uint16_t port = 0, node_port = 0;
};
struct Service {
  std::string ns, name;
  std::string type;                      // "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"
  std::string cluster_ip;                // "" or "None": headless
  std::string external_name;
  std::vector<std::string> external_ips, load_balancer_ips;  // those of ipMode VIP
  std::vector<ServicePort> ports;
  bool external_local = false, internal_local = false;
  bool publish_not_ready = false;
  bool rules = true;                     // false: another proxy serves it; DNS knows it all the same
  uint32_t affinity_seconds = 0;         // 0 = no affinity
  bool headless() const { return cluster_ip == "None"; }
};
struct EndpointPort {
  std::string name;
  uint8_t protocol = 6;
  uint16_t port = 0;
};
struct Endpoint {
  std::vector<std::string> addresses;
  bool ready = true, serving = true, terminating = false;
  std::string node, hostname;
};
struct EndpointSlice {
  std::string ns, name, service;         // service: label kubernetes.io/service-name
  std::vector<EndpointPort> ports;
  std::vector<Endpoint> endpoints;
};
struct Node {
  std::string name;
  std::vector<std::string> addresses;    // InternalIPs: where NodePorts are
};

// Everything the proxy knows of the cluster, indexed as the plan needs it.
class Cluster {
 public:
  void set_service(Service service);
  void remove_service(const std::string& ns, const std::string& name);
  // Both return the "ns/name" of the Services concerned.
  std::set<std::string> set_slice(EndpointSlice slice);
  std::set<std::string> remove_slice(const std::string& ns, const std::string& name);
  const Service* service(const std::string& key) const;
  std::vector<const EndpointSlice*> slices(const std::string& service_key) const;
  const std::map<std::string, Service>& services() const { return services_; }

 private:
  std::map<std::string, Service> services_;                        // "ns/name"
  std::map<std::string, EndpointSlice> slices_;                    // "ns/name"
  std::map<std::string, std::set<std::string>> slices_of_;         // service -> slices
};

Elements elements_of(const Service& service, const std::vector<const EndpointSlice*>& slices,
                     const Node& node);

}  // namespace proxy
