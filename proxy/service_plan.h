// What one Service wants in the table, from plain values: pure. The rules are those of kube-proxy:
// KEP-1669 (terminating endpoints), KEP-2086 (internalTrafficPolicy), KEP-1860 (ipMode), KEP-2433 and
// KEP-3015 (hints). Beyond them: no Service gets an address that is a part of the cluster itself (Reserved).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
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
  std::string created, uid;  // creationTimestamp in the API's form: they sort by time
  std::string type;          // "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"
  std::string cluster_ip;    // "" or "None": headless
  std::string external_name;
  std::vector<std::string> external_ips, load_balancer_ips;  // those of ipMode VIP
  std::vector<std::string> announced_ips;                    // those of a pool: nobody's on the link
  std::vector<std::string> source_ranges;  // clients that load_balancer_ips admit; none: all
  std::vector<ServicePort> ports;
  uint16_t health_port = 0;  // where the node says whether it has endpoints
  bool external_local = false, internal_local = false;
  bool publish_not_ready = false;
  bool rules = true;              // false: another proxy serves it; DNS knows it all the same
  uint32_t affinity_seconds = 0;  // 0 = no affinity
  bool headless() const { return cluster_ip == "None"; }
  // Of two that claim an address the older has it: what a neighbour adds later changes nothing.
  std::string rank() const { return created + " " + uid; }
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
  std::vector<std::string> for_nodes = {}, for_zones = {};  // hints: whom it is meant for; none: for all
};
struct EndpointSlice {
  std::string ns, name, service;  // service: label kubernetes.io/service-name
  std::vector<EndpointPort> ports;
  std::vector<Endpoint> endpoints;
};
struct Node {
  std::string name;
  std::vector<std::string> addresses;  // InternalIPs: where NodePorts are
  std::vector<std::string> other_addresses = {};
  uint16_t kubelet_port = 0;  // 0: unknown
  bool announces = true;      // it may answer for load balancers: ready, and not labelled away from them
  std::string uid = {}, zone = {};
  std::optional<base::Cidr> pod_cidr = {};
  bool operator==(const Node&) const = default;
};

// Addresses that are parts of the cluster. The master refuses them in Services where it can know
// better (admission); this is what holds for Services that were there before.
struct Reserved {
  std::optional<base::Cidr> services, pods;
  Ip dns;  // kube-system/kube-dns may have it: a DNS server in Pods
  std::set<std::pair<Ip, uint16_t>>
      api;  // endpoints of default/kubernetes; its cluster IP is the first of `services`

  bool allows_cluster_ip(const Service& service, Ip ip) const;
  // Anybody who may write Services names external addresses; those of a load balancer and the node
  // ports are given by the cluster's own controllers, so they may be the node's.
  bool allows_external_ip(const Node& node, Ip ip) const;
  bool allows_given(const Node& node, Ip ip, uint16_t port) const;
};
// No host on a network: loopback, link-local, multicast, unspecified (validation refuses them).
bool is_special(Ip ip);

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
  // Keys of the Services with this cluster IP, and of the headless ones with this endpoint.
  const std::set<std::string>& with_cluster_ip(Ip ip) const { return at(by_cluster_ip_, ip); }
  const std::set<std::string>& headless_with(Ip endpoint) const {
    return at(headless_by_endpoint_, endpoint);
  }

 private:
  using Index = std::unordered_map<Ip, std::set<std::string>>;
  static const std::set<std::string>& at(const Index& index, Ip ip);
  void index(const std::string& service_key, bool add);
  std::map<std::string, Service> services_;  // "ns/name"
  Index by_cluster_ip_, headless_by_endpoint_;
  std::map<std::string, EndpointSlice> slices_;             // "ns/name"
  std::map<std::string, std::set<std::string>> slices_of_;  // service -> slices
};

// A Pod of this node with ports that the node is to hand on to it (hostPort).
struct HostPort {
  uint8_t protocol = 6;
  uint16_t port = 0, target = 0;
  std::string address;  // "", "0.0.0.0": all of the node
};
struct LocalPod {
  std::string ns, name, created, uid, ip;
  std::vector<HostPort> ports;
  std::string rank() const { return created + " " + uid; }
};
// Whoever may make a Pod names an address: none but the node's own is handed on, and no port of its kubelet.
Elements elements_of(const LocalPod& pod, const Node& node, const Reserved& reserved = {});

Elements elements_of(const Service& service, const std::vector<const EndpointSlice*>& slices,
                     const Node& node, const Reserved& reserved = {});

}  // namespace proxy
