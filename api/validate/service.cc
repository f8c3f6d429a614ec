// Rules of Services, Endpoints and EndpointSlices.
#include <algorithm>
#include <set>

#include "api/validate/rules.h"
#include "base/ip.h"

namespace api::rules {
namespace {

constexpr char kIpForm[] = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

void service_port(Errors& e, const std::string& field, const ServicePort& port, bool needs_name,
                  const std::string& type) {
  if (port.name.empty()) {
    if (needs_name) e.required(field + ".name");
  } else {
    e.all(field + ".name", port.name, check_dns1123_label(port.name));
  }
  if (port.target_port) {
    const IntOrString& target = *port.target_port;
    if (target.is_string) e.all(field + ".targetPort", target.text, check_port_name(target.text));
    else if (target.number < 1 || target.number > 65535)
      e.invalid(field + ".targetPort", target, "must be between 1 and 65535, inclusive");
  }
  if (port.node_port.value_or(0) != 0 && type != "NodePort" && type != "LoadBalancer")
    e.forbidden(field + ".nodePort", "may not be used when `type` is '" + type + "'");
}

void cluster_ip_change(Errors& e, const json::value& after, const json::value& before) {
  std::string_view was = base::string_at(before, "spec", "clusterIP"),
                   now = base::string_at(after, "spec", "clusterIP");
  std::string_view type = base::string_at(after, "spec", "type");
  if (was.empty() || was == now || type == "ExternalName" ||
      base::string_at(before, "spec", "type") == "ExternalName")
    return;
  const json::value* shown = base::find_path(after, "spec", "clusterIPs");
  e.invalid("spec.clusterIPs[0]", shown ? *shown : json::value(json::array{now}), "may not change once set");
}

// What only a load balancer has.
void balancer_fields(Errors& e, const View& spec) {
  bool balancer = spec["type"].text() == "LoadBalancer";
  for (const char* name : {"allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerSourceRanges"})
    if (View field = spec[name]; field.filled() && !balancer)
      e.forbidden(field.path(), "may only be used when `type` is 'LoadBalancer'");
  if (balancer)
    spec["loadBalancerSourceRanges"].each([&](const View& range) {
      if (!has_format("cidr", range.text()))
        e.invalid(range.path(), range.text(),
                  "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    });
  if (View name = spec["loadBalancerClass"]; name.has() && balancer)
    e.all(name.path(), name.text(), check_qualified_name(name.text()));
  View port = spec["healthCheckNodePort"];
  if (port.number() != 0 && !(balancer && spec["externalTrafficPolicy"].text() == "Local"))
    e.invalid(port.path(), port.number(),
              "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
}

// Addresses that lead to no other host, or to what hosts keep on their link (metadata services).
void non_special(Errors& e, const std::string& field, const std::string& text) {
  const auto ip = base::Ip::parse(text);  // ::ffff:127.0.0.1 is 127.0.0.1
  if (!ip) return;
  if (ip->is_unspecified()) e.invalid(field, text, "may not be unspecified (" + text + ")");
  if (ip->is_loopback()) e.invalid(field, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
  if (ip->is_link_local())
    e.invalid(field, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  if (ip->is_v4() ? ip->v4_bits() >> 8 == 0xe00000 : (ip->high() >> 48 & 0xff0f) == 0xff02)
    e.invalid(field, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}
void address(Errors& e, const std::string& field, const std::string& ip) {
  if (!is_ip(ip)) return e.invalid(field, ip, kIpForm);
  non_special(e, field, ip);
}

}  // namespace

void service(Errors& e, const json::value& after, const json::value* before) {
  Service object;
  if (!read(e, after, &object)) return;
  if (!object.spec) return e.required("spec.ports");
  const ServiceSpec& spec = *object.spec;
  bool headless = spec.cluster_ip == "None", external = spec.type == "ExternalName";
  if (spec.ports.empty() && !headless && !external) e.required("spec.ports");
  if (external) {
    if (spec.external_name.empty()) e.required("spec.externalName");
    else
      e.all("spec.externalName", spec.external_name,
            check_dns1123_subdomain(
                std::string_view(spec.external_name)
                    .substr(0, spec.external_name.size() - (spec.external_name.back() == '.'))));
    if (!spec.cluster_ip.empty() || !spec.cluster_ips.empty())
      e.forbidden("spec.clusterIPs", "may not be set for ExternalName services");
    if (!spec.ip_family_policy.empty())
      e.forbidden("spec.ipFamilyPolicy", "may not be set for ExternalName services");
    if (!spec.ip_families.empty()) e.forbidden("spec.ipFamilies", "may not be set for ExternalName services");
  } else if (!spec.cluster_ip.empty() && !headless && !is_ip(spec.cluster_ip)) {
    e.invalid("spec.clusterIPs[0]", spec.cluster_ip, kIpForm);
  }
  if (headless && (spec.type == "NodePort" || spec.type == "LoadBalancer"))
    e.invalid("spec.clusterIPs[0]", spec.cluster_ip,
              "may not be set to 'None' for " + spec.type + " services");
  std::set<std::string> names, ports, node_ports;
  for (size_t i = 0; i < spec.ports.size(); ++i) {
    const ServicePort& port = spec.ports[i];
    std::string where = at("spec.ports", i);
    service_port(e, where, port, spec.ports.size() > 1, spec.type);
    if (!port.name.empty() && !names.insert(port.name).second) e.duplicate(where + ".name", port.name);
    if (!ports.insert(port.protocol + "/" + std::to_string(port.port)).second)
      e.duplicate(where, json::value(json::object{{"port", port.port}, {"protocol", port.protocol}}));
    if (int32_t node_port = port.node_port.value_or(0);
        node_port && !node_ports.insert(port.protocol + "/" + std::to_string(node_port)).second)
      e.duplicate(where + ".nodePort", node_port);
  }
  if (spec.session_affinity == "ClientIP") {
    const auto& config = spec.session_affinity_config;
    int32_t seconds = config && config->client_ip ? config->client_ip->timeout_seconds.value_or(0) : 0;
    if (config && config->client_ip && (seconds <= 0 || seconds > 86400))
      e.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds,
                "must be greater than 0 and less than or equal to 86400");
  } else if (spec.session_affinity_config) {
    e.forbidden("spec.sessionAffinityConfig",
                "must not be set when session affinity is " + spec.session_affinity);
  }
  bool public_type = spec.type == "NodePort" || spec.type == "LoadBalancer";
  if (!spec.external_traffic_policy.empty() && !public_type && spec.external_ips.empty())
    e.invalid("spec.externalTrafficPolicy", spec.external_traffic_policy,
              "may only be set for externally-accessible services");
  balancer_fields(e, View(&after)["spec"]);
  for (size_t i = 0; i < spec.external_ips.size(); ++i)
    address(e, at("spec.externalIPs", i), spec.external_ips[i]);
  for (size_t i = 0; i < spec.ip_families.size(); ++i)
    if (spec.ip_families[i] != "IPv4" && spec.ip_families[i] != "IPv6")
      e.not_supported(at("spec.ipFamilies", i), spec.ip_families[i], {"IPv4", "IPv6"});
  if (!before) return;
  cluster_ip_change(e, after, *before);
  View was = View(before)["spec"], is = View(&after)["spec"];
  bool stays = was["type"].text() == "LoadBalancer" && is["type"].text() == "LoadBalancer";
  if (View name = is["loadBalancerClass"]; stays && !name.same_as(was["loadBalancerClass"]))
    e.invalid(name.path(), name.shown(), "may not change once set");
}

void endpoints(Errors& e, const json::value& after) {
  Endpoints object;
  if (!read(e, after, &object)) return;
  for (size_t i = 0; i < object.subsets.size(); ++i) {
    const EndpointSubset& subset = object.subsets[i];
    std::string where = at("subsets", i);
    if (subset.addresses.empty() && subset.not_ready_addresses.empty())
      e.required(where, "must specify `addresses` or `notReadyAddresses`");
    for (size_t a = 0; a < subset.addresses.size(); ++a)
      address(e, at(where + ".addresses", a) + ".ip", subset.addresses[a].ip);
    for (size_t a = 0; a < subset.not_ready_addresses.size(); ++a)
      address(e, at(where + ".notReadyAddresses", a) + ".ip", subset.not_ready_addresses[a].ip);
    for (size_t p = 0; p < subset.ports.size(); ++p) {
      std::string port = at(where + ".ports", p);
      if (subset.ports[p].name.empty() && subset.ports.size() > 1) e.required(port + ".name");
      if (!subset.ports[p].name.empty())
        e.all(port + ".name", subset.ports[p].name, check_dns1123_label(subset.ports[p].name));
    }
  }
}

void endpoint_slice(Errors& e, const json::value& after, const json::value* before) {
  EndpointSlice object;
  if (!read(e, after, &object)) return;
  if (object.endpoints.size() > 1000) e.too_many("endpoints", object.endpoints.size(), 1000);
  if (object.ports.size() > 20000) e.too_many("ports", object.ports.size(), 20000);
  for (size_t i = 0; i < object.endpoints.size(); ++i) {
    const auto& list = object.endpoints[i].addresses;
    std::string where = at("endpoints", i) + ".addresses";
    if (list.size() > 100) e.too_many(where, list.size(), 100);
    for (size_t a = 0; a < list.size(); ++a) {
      if (object.address_type == "IPv4" && !is_ipv4(list[a]))
        e.invalid(at(where, a), list[a], "must be a valid IPv4 address");
      else if (object.address_type == "IPv6" && !is_ipv6(list[a]))
        e.invalid(at(where, a), list[a], "must be a valid IPv6 address");
      else if (object.address_type == "FQDN") e.all(at(where, a), list[a], check_dns1123_subdomain(list[a]));
      else non_special(e, at(where, a), list[a]);
    }
  }
  std::set<std::string> names;
  for (size_t i = 0; i < object.ports.size(); ++i) {
    if (!names.insert(object.ports[i].name).second)
      e.duplicate(at("ports", i) + ".name", object.ports[i].name);
    if (!object.ports[i].name.empty())
      e.all(at("ports", i) + ".name", object.ports[i].name, check_dns1123_label(object.ports[i].name));
  }
  if (before && base::string_at(*before, "addressType") != object.address_type)
    e.invalid("addressType", object.address_type, "field is immutable");
}

}  // namespace api::rules
