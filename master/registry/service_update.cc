#include "master/registry/service_update.h"

#include <set>
#include <string_view>

namespace master {
namespace {

namespace json = base::json;

std::string_view type_of(const json::value& service) { return base::string_at(service, "spec", "type"); }
bool needs_cluster_ip(const json::value& service) { return type_of(service) != "ExternalName"; }
bool needs_node_ports(const json::value& service) {
  return type_of(service) == "NodePort" || type_of(service) == "LoadBalancer";
}
bool is_load_balancer(const json::value& service) { return type_of(service) == "LoadBalancer"; }
bool needs_health_port(const json::value& service) {
  return is_load_balancer(service) && base::string_at(service, "spec", "externalTrafficPolicy") == "Local";
}
bool is_external(const json::value& service) {
  const json::value* addresses = base::find_path(service, "spec", "externalIPs");
  return needs_node_ports(service) || (type_of(service) == "ClusterIP" && addresses &&
                                       addresses->is_array() && !addresses->get_array().empty());
}

bool same(const json::value& current, const json::value& updated, const char* member) {
  auto there = [&](const json::value& service) {
    const json::value* value = base::find_path(service, "spec", member);
    return value && !value->is_null() ? value : nullptr;
  };
  const json::value *was = there(current), *is = there(updated);
  return was && is ? *was == *is : was == is;
}

// One field and the Services that use it.
struct Dependent {
  bool (*used)(const json::value& service);
  const char* member;
};
constexpr Dependent kDependents[] = {
    {needs_cluster_ip, "ipFamilies"},           {needs_cluster_ip, "ipFamilyPolicy"},
    {needs_health_port, "healthCheckNodePort"}, {is_load_balancer, "allocateLoadBalancerNodePorts"},
    {is_load_balancer, "loadBalancerClass"},    {is_external, "externalTrafficPolicy"},
};

json::array* ports_in(json::object& spec) {
  json::value* ports = spec.if_contains("ports");
  return ports ? ports->if_array() : nullptr;
}
int64_t node_port(const json::value& port) { return base::as_int(base::find(port, "nodePort")); }
std::set<int64_t> node_ports(const json::value& service) {
  std::set<int64_t> out;
  if (const json::value* ports = base::find_path(service, "spec", "ports"); ports && ports->is_array())
    for (const json::value& port : ports->get_array())
      if (int64_t number = node_port(port)) out.insert(number);
  return out;
}

void drop_node_ports(const json::value& current, json::value& updated, json::object& spec) {
  for (int64_t number : node_ports(updated))
    if (!node_ports(current).contains(number)) return;  // the client asks for another
  if (json::array* ports = ports_in(spec))
    for (json::value& port : *ports)
      if (port.is_object()) port.get_object().erase("nodePort");
}

// The number that the port of the same name had, unless another port took it over.
void keep_node_ports(const json::value& current, json::value& updated, json::object& spec) {
  std::set<int64_t> taken = node_ports(updated);
  json::array* ports = ports_in(spec);
  const json::value* before = base::find_path(current, "spec", "ports");
  if (!ports || !before || !before->is_array()) return;
  for (json::value& port : *ports) {
    if (!port.is_object() || node_port(port) != 0) continue;
    for (const json::value& old : before->get_array())
      if (base::string_at(old, "name") == base::string_at(port, "name") && node_port(old) != 0 &&
          taken.insert(node_port(old)).second)
        port.get_object()["nodePort"] = node_port(old);
  }
}

}  // namespace

void settle_service_update(const json::value& current, json::value& updated) {
  json::object& spec = base::object_at(updated.get_object(), "spec");
  bool had = needs_cluster_ip(current), has = needs_cluster_ip(updated);
  if (had && has) {
    for (const char* member : {"clusterIP", "clusterIPs"}) {
      const json::value* old = base::find_path(current, "spec", member);
      json::value& now = spec[member];
      bool empty = now.is_null() || (now.is_string() && now.get_string().empty()) ||
                   (now.is_array() && now.get_array().empty());
      if (empty && old) now = *old;
      if (now.is_null()) spec.erase(member);
    }
    // Who names clusterIP alone means both.
    if (!same(current, updated, "clusterIP") && same(current, updated, "clusterIPs"))
      spec["clusterIPs"] = json::array{spec["clusterIP"]};
  } else if (had && same(current, updated, "clusterIP") && same(current, updated, "clusterIPs")) {
    spec.erase("clusterIP");
    spec.erase("clusterIPs");
  }
  if (needs_node_ports(current) && needs_node_ports(updated)) keep_node_ports(current, updated, spec);
  if (needs_node_ports(current) && !needs_node_ports(updated)) drop_node_ports(current, updated, spec);
  if (needs_health_port(current) && needs_health_port(updated) &&
      base::as_int(spec.if_contains("healthCheckNodePort")) == 0)
    if (const json::value* old = base::find_path(current, "spec", "healthCheckNodePort"))
      spec["healthCheckNodePort"] = *old;
  // All are compared before one goes: what a field depends on may be another of them.
  std::set<std::string_view> gone;
  for (const Dependent& field : kDependents)
    if (field.used(current) && !field.used(updated) && same(current, updated, field.member))
      gone.insert(field.member);
  for (std::string_view member : gone) spec.erase(member);
}

void clear_load_balancer(const json::value&, json::value& updated) {
  if (!is_load_balancer(updated))
    base::object_at(updated.get_object(), "status")["loadBalancer"] = json::object();
}

}  // namespace master
