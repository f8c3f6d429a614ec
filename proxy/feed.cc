// See feed.h.
#include "proxy/feed.h"

#include <netinet/in.h>

namespace proxy {
namespace {

using base::json::value;

std::string text(const value* at) { return std::string(base::as_string(at)); }
template <typename Each>
void each(const value* list, Each visit) {
  if (list && list->is_array())
    for (const value& item : list->get_array()) visit(item);
}
uint8_t protocol_of(const value& port) {
  std::string_view name = base::string_at(port, "protocol");
  return name == "UDP" ? IPPROTO_UDP : name == "SCTP" ? IPPROTO_SCTP : IPPROTO_TCP;
}
uint16_t port_of(const value* at) {
  int64_t number = base::as_int(at);
  return number > 0 && number < 65536 ? static_cast<uint16_t>(number) : 0;
}

}  // namespace

Service service_from(const value& object) {
  Service s;
  s.ns = text(base::find_path(object, "metadata", "namespace"));
  s.name = text(base::find_path(object, "metadata", "name"));
  s.created = text(base::find_path(object, "metadata", "creationTimestamp"));
  s.uid = text(base::find_path(object, "metadata", "uid"));
  // Another proxy's (KEP-2447): known to DNS, without rules.
  bool other_proxy =
      base::find_path(object, "metadata", "labels", "service.kubernetes.io/service-proxy-name") != nullptr;
  const value* found = base::find(object, "spec");
  if (!found) return s;
  const value& spec = *found;
  s.type = text(base::find(spec, "type"));
  s.cluster_ip = text(base::find(spec, "clusterIP"));
  s.external_name = text(base::find(spec, "externalName"));
  if (s.external_name.ends_with('.')) s.external_name.pop_back();
  s.publish_not_ready = base::as_bool(base::find(spec, "publishNotReadyAddresses"));
  each(base::find(spec, "ports"), [&](const value& port) {
    ServicePort p{text(base::find(port, "name")), protocol_of(port), port_of(base::find(port, "port")),
                  port_of(base::find(port, "nodePort"))};
    if (p.port) s.ports.push_back(std::move(p));
  });
  s.rules = !other_proxy;
  s.external_local = base::string_at(spec, "externalTrafficPolicy") == "Local";
  s.internal_local = base::string_at(spec, "internalTrafficPolicy") == "Local";
  if (base::string_at(spec, "sessionAffinity") == "ClientIP") {
    int64_t seconds =
        base::as_int(base::find_path(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds"), 10800);
    s.affinity_seconds = static_cast<uint32_t>(std::clamp<int64_t>(seconds, 1, 86400));
  }
  each(base::find(spec, "externalIPs"), [&](const value& ip) { s.external_ips.push_back(text(&ip)); });
  if (s.type == "LoadBalancer") {
    each(base::find(spec, "loadBalancerSourceRanges"), [&](const value& range) {
      std::string one = text(&range);
      std::erase(one, ' ');  // Kubernetes takes blanks around it
      s.source_ranges.push_back(std::move(one));
    });
    s.health_port = port_of(base::find(spec, "healthCheckNodePort"));
    each(base::find_path(object, "status", "loadBalancer", "ingress"), [&](const value& ingress) {
      // ipMode Proxy (KEP-1860): the balancer itself must see the traffic.
      if (base::string_at(ingress, "ipMode") != "Proxy" && !base::string_at(ingress, "ip").empty())
        s.load_balancer_ips.push_back(text(base::find(ingress, "ip")));
    });
  }
  // The condition of who assigned them (master/controllers/load_balancer_plan.h).
  each(base::find_path(object, "status", "conditions"), [&](const value& condition) {
    if (base::string_at(condition, "type") == "sampan.io/LoadBalancer" &&
        base::string_at(condition, "reason") == "AddressPool")
      s.announced_ips = s.load_balancer_ips;
  });
  return s;
}

std::optional<EndpointSlice> slice_from(const value& object) {
  if (base::string_at(object, "addressType") != "IPv4") return std::nullopt;
  EndpointSlice s;
  s.ns = text(base::find_path(object, "metadata", "namespace"));
  s.name = text(base::find_path(object, "metadata", "name"));
  s.service = text(base::find_path(object, "metadata", "labels", "kubernetes.io/service-name"));
  each(base::find(object, "ports"), [&](const value& port) {
    s.ports.push_back({text(base::find(port, "name")), protocol_of(port), port_of(base::find(port, "port"))});
  });
  each(base::find(object, "endpoints"), [&](const value& endpoint) {
    Endpoint e;
    each(base::find(endpoint, "addresses"), [&](const value& ip) { e.addresses.push_back(text(&ip)); });
    // Absent conditions: discovery/v1 reads nil as true for ready, and serving as ready.
    e.ready = base::as_bool(base::find_path(endpoint, "conditions", "ready"), true);
    e.serving = base::as_bool(base::find_path(endpoint, "conditions", "serving"), e.ready);
    e.terminating = base::as_bool(base::find_path(endpoint, "conditions", "terminating"));
    e.node = text(base::find(endpoint, "nodeName"));
    e.hostname = text(base::find(endpoint, "hostname"));
    for (auto [member, names] : {std::pair("forNodes", &e.for_nodes), std::pair("forZones", &e.for_zones)})
      each(base::find_path(endpoint, "hints", member),
           [&](const value& hint) { names->push_back(text(base::find(hint, "name"))); });
    s.endpoints.push_back(std::move(e));
  });
  return s;
}

std::optional<LocalPod> pod_from(const value& object) {
  LocalPod pod;
  std::string_view phase = base::string_at(object, "status", "phase");
  if (phase == "Succeeded" || phase == "Failed" ||
      base::as_bool(base::find_path(object, "spec", "hostNetwork")))
    return std::nullopt;
  pod.ns = text(base::find_path(object, "metadata", "namespace"));
  pod.name = text(base::find_path(object, "metadata", "name"));
  pod.created = text(base::find_path(object, "metadata", "creationTimestamp"));
  pod.uid = text(base::find_path(object, "metadata", "uid"));
  pod.ip = text(base::find_path(object, "status", "podIP"));
  for (const char* list : {"containers", "initContainers"})
    each(base::find_path(object, "spec", list), [&](const value& container) {
      each(base::find(container, "ports"), [&](const value& port) {
        HostPort one{protocol_of(port), port_of(base::find(port, "hostPort")),
                     port_of(base::find(port, "containerPort")), text(base::find(port, "hostIP"))};
        if (one.port && one.target) pod.ports.push_back(std::move(one));
      });
    });
  if (pod.ports.empty() || pod.ip.empty()) return std::nullopt;
  return pod;
}

Node node_from(const value& object) {
  Node node;
  node.name = text(base::find_path(object, "metadata", "name"));
  each(base::find_path(object, "status", "addresses"), [&](const value& address) {
    (base::string_at(address, "type") == "InternalIP" ? node.addresses : node.other_addresses)
        .push_back(text(base::find(address, "address")));
  });
  node.kubelet_port =
      port_of(base::find_path(object, "status", "daemonEndpoints", "kubeletEndpoint", "Port"));
  node.uid = text(base::find_path(object, "metadata", "uid"));
  node.zone = text(base::find_path(object, "metadata", "labels", "topology.kubernetes.io/zone"));
  node.pod_cidr = base::Cidr::parse_v4(base::string_at(object, "spec", "podCIDR"));
  bool ready = false;
  each(base::find_path(object, "status", "conditions"), [&](const value& condition) {
    if (base::string_at(condition, "type") == "Ready") ready = base::string_at(condition, "status") == "True";
  });
  node.announces = ready && !base::find_path(object, "metadata", "labels",
                                             "node.kubernetes.io/exclude-from-external-load-balancers");
  return node;
}

}  // namespace proxy
