// Rules of the kinds of networking.k8s.io.
#include <algorithm>
#include <cstring>

#include <arpa/inet.h>

#include "api/validate/rules.h"

namespace api::rules {
namespace {

struct Network {
  int family = 0;  // 4 or 6; 0: not a network
  int bits = 0;
  unsigned char address[16] = {};
  bool masked = false;  // no bit is set behind the prefix
  bool holds(const Network& other) const {
    if (family != other.family || bits > other.bits) return false;
    for (int bit = 0; bit < bits; ++bit)
      if (((address[bit / 8] ^ other.address[bit / 8]) >> (7 - bit % 8)) & 1) return false;
    return true;
  }
};
Network parse_network(std::string_view text) {
  Network out;
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return out;
  std::string ip(text.substr(0, slash)), bits(text.substr(slash + 1));
  if (bits.empty() || bits.size() > 3 || bits.find_first_not_of("0123456789") != std::string::npos ||
      (bits.size() > 1 && bits[0] == '0'))
    return out;
  int family = inet_pton(AF_INET, ip.c_str(), out.address) == 1    ? 4
               : inet_pton(AF_INET6, ip.c_str(), out.address) == 1 ? 6
                                                                   : 0;
  out.bits = std::stoi(bits);
  int width = family == 4 ? 32 : 128;
  if (!family || out.bits > width) return out;
  out.family = family;
  out.masked = true;
  for (int bit = out.bits; bit < width; ++bit)
    out.masked &= ((out.address[bit / 8] >> (7 - bit % 8)) & 1) == 0;
  return out;
}
constexpr char kCidrForm[] = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
bool network(Errors& e, const View& at, Network* out) {
  *out = parse_network(at.text());
  if (!out->family) e.invalid(at.path(), at.text(), kCidrForm);
  return out->family != 0;
}

void reference(Errors& e, const View& ref) {
  if (ref["apiGroup"].has())
    e.all(ref["apiGroup"].path(), ref["apiGroup"].text(), check_dns1123_subdomain(ref["apiGroup"].text()));
  for (const char* name : {"kind", "name"})
    if (ref[name].filled()) e.all(ref[name].path(), ref[name].text(), check_path_segment(ref[name].text()));
}

void backend(Errors& e, const View& at) {
  View resource = at["resource"], service = at["service"];
  if (resource.has() && service.has())
    return e.invalid(at.path(), std::string_view(), "cannot set both resource and service backends");
  if (resource.has()) return reference(e, resource);
  if (!service.has())
    return e.invalid(at.path(), std::string_view(), "resource or service backend is required");
  if (service["name"].filled())
    e.all(service["name"].path(), service["name"].text(), check_dns1035_label(service["name"].text()));
  View name = service["port"]["name"], number = service["port"]["number"];
  if (name.filled() && number.number())
    e.invalid(at.path(), std::string_view(), "cannot set both port name & port number");
  else if (name.filled()) e.all(name.path(), name.text(), check_port_name(name.text()));
  else if (number.number()) port_number(e, number);
  else e.required(at.path(), "port name or number is required");
}

void http_path(Errors& e, const View& path) {
  View type = path["pathType"], value = path["path"];
  std::string_view text = value.text();
  if (!type.filled()) return;  // its table says "required"
  if (type.text() == "Exact" || type.text() == "Prefix") {
    if (!text.starts_with("/")) e.invalid(value.path(), text, "must be an absolute path");
    for (std::string_view bad : {"//", "/./", "/../", "%2f", "%2F"})
      if (text.find(bad) != std::string_view::npos)
        e.invalid(value.path(), text, "must not contain '" + std::string(bad) + "'");
    for (std::string_view bad : {"/..", "/."})
      if (text.ends_with(bad)) e.invalid(value.path(), text, "cannot end with '" + std::string(bad) + "'");
  } else if (type.text() == "ImplementationSpecific") {
    if (!text.empty() && !text.starts_with("/")) e.invalid(value.path(), text, "must be an absolute path");
  } else {
    e.not_supported(type.path(), type.text(), {"Exact", "ImplementationSpecific", "Prefix"});
  }
  backend(e, path["backend"]);
}

void host(Errors& e, const View& at) {
  std::string_view text = at.text();
  if (text.find('*') == std::string_view::npos) return e.all(at.path(), text, check_dns1123_subdomain(text));
  e.all(at.path(), text, check_wildcard_subdomain(text));
}

void policy_ports(Errors& e, const View& ports) {
  ports.each([&](const View& port) {
    View number = port["port"], end = port["endPort"];
    one_of(e, port["protocol"], {"SCTP", "TCP", "UDP"});
    if (!number.has()) {
      if (end.has()) e.invalid(end.path(), end.number(), "may not be specified when `port` is not specified");
    } else if (number.get()->is_string()) {
      if (end.has()) e.invalid(end.path(), end.number(), "may not be specified when `port` is non-numeric");
      e.all(number.path(), number.text(), check_port_name(number.text()));
    } else {
      port_number(e, number);
      if (!end.has()) return;
      if (end.number() < number.number())
        e.invalid(end.path(), end.number(), "must be greater than or equal to `port`");
      port_number(e, end);
    }
  });
}
void selector_at(Errors& e, const View& at) {
  LabelSelector parsed;
  if (at.has() && read(e, at.shown(), &parsed)) label_selector(e, at.path(), parsed);
}
void policy_peers(Errors& e, const View& peers) {
  peers.each([&](const View& peer) {
    View block = peer["ipBlock"];
    int others = peer["podSelector"].has() + peer["namespaceSelector"].has();
    for (const char* name : {"podSelector", "namespaceSelector"}) selector_at(e, peer[name]);
    Network whole, part;
    if (block.has() && block["cidr"].filled() && network(e, block["cidr"], &whole))
      block["except"].each([&](const View& except) {
        if (network(e, except, &part) && (!whole.holds(part) || whole.bits >= part.bits))
          e.invalid(except.path(), except.text(), "must be a strict subset of `cidr`");
      });
    if (!others && !block.has()) e.required(peer.path(), "must specify a peer");
    if (others && block.has()) e.forbidden(peer.path(), "may not specify both ipBlock and another peer");
  });
}

}  // namespace

void ingress(Errors& e, const json::value& after, const json::value* before) {
  View object(&after), spec = object["spec"], rules = spec["rules"];
  if (!rules.filled() && !spec["defaultBackend"].has())
    e.invalid("spec", json::value(json::array()), "either `defaultBackend` or `rules` must be specified");
  if (spec["defaultBackend"].has()) backend(e, spec["defaultBackend"]);
  rules.each([&](const View& rule) {
    if (View at = rule["host"]; at.filled()) {
      if (is_ip(at.text())) e.invalid(at.path(), at.text(), "must be a DNS name, not an IP address");
      host(e, at);
    }
    rule["http"]["paths"].each([&](const View& path) { http_path(e, path); });
  });
  spec["tls"].each([&](const View& tls) {
    tls["hosts"].each([&](const View& at) { host(e, at); });
    if (tls["secretName"].filled())
      e.all(tls["secretName"].path(), tls["secretName"].text(),
            check_dns1123_subdomain(tls["secretName"].text()));
  });
  View name = spec["ingressClassName"],
       annotation = object["metadata"]["annotations"]["kubernetes.io/ingress.class"];
  if (name.has()) e.all(name.path(), name.text(), check_dns1123_subdomain(name.text()));
  if (!before && annotation.has() && name.has() && annotation.text() != name.text())
    e.invalid("annotations.kubernetes.io/ingress.class", annotation.text(),
              "must match `ingressClassName` when both are specified");
}
void ingress_status(Errors& e, const json::value& after, const json::value&) {
  View(&after)["status"]["loadBalancer"]["ingress"].each([&](const View& one) {
    View ip = one["ip"], name = one["hostname"];
    if (ip.filled() && !is_ip(ip.text()))
      e.invalid(ip.path(), ip.text(), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    if (!name.filled()) return;
    e.all(name.path(), name.text(), check_dns1123_subdomain(name.text()));
    if (is_ip(name.text())) e.invalid(name.path(), name.text(), "must be a DNS name, not an IP address");
  });
}

void ingress_class(Errors& e, const json::value& after, const json::value* before) {
  View spec = View(&after)["spec"], controller = spec["controller"], parameters = spec["parameters"];
  if (!controller.filled()) e.required(controller.path());
  else if (controller.text().size() > 250) e.too_long(controller.path(), 250);
  if (controller.filled()) domain_prefixed_path(e, controller);
  if (parameters.has()) {
    reference(e, parameters);
    View scope = parameters["scope"], ns = parameters["namespace"];
    if (!scope.has()) e.required(scope.path());
    else if (scope.text() == "Namespace" && !ns.has())
      e.required(ns.path(), "`parameters.scope` is set to 'Namespace'");
    else if (scope.text() == "Namespace") e.all(ns.path(), ns.text(), check_dns1123_label(ns.text()));
    else if (scope.text() == "Cluster" && ns.has())
      e.forbidden(ns.path(), "`parameters.scope` is set to 'Cluster'");
  }
  if (before) immutable(e, controller, View(before)["spec"]["controller"]);
}

void network_policy(Errors& e, const json::value& after, const json::value*) {
  View spec = View(&after)["spec"], types = spec["policyTypes"];
  selector_at(e, spec["podSelector"]);
  spec["ingress"].each(
      [&](const View& rule) { policy_ports(e, rule["ports"]), policy_peers(e, rule["from"]); });
  spec["egress"].each([&](const View& rule) { policy_ports(e, rule["ports"]), policy_peers(e, rule["to"]); });
  if (types.size() > 2)
    return e.invalid(types.path(), types.shown(), "may not specify more than two policyTypes");
  types.each([&](const View& type) { one_of(e, type, {"Egress", "Ingress"}); });
}

void ip_address(Errors& e, const json::value& after, const json::value* before) {
  View object(&after), parent = object["spec"]["parentRef"];
  std::string name(object["metadata"]["name"].text());
  unsigned char bytes[16];
  char canonical[INET6_ADDRSTRLEN] = "";
  int family = inet_pton(AF_INET, name.c_str(), bytes) == 1    ? AF_INET
               : inet_pton(AF_INET6, name.c_str(), bytes) == 1 ? AF_INET6
                                                               : 0;
  if (family) inet_ntop(family, bytes, canonical, sizeof canonical);
  if (!family)
    e.invalid("metadata.name", name, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
  else if (name != canonical)
    e.invalid("metadata.name", name, std::string("must be in canonical form (\"") + canonical + "\")");
  if (parent["group"].filled())
    e.all(parent["group"].path(), parent["group"].text(), check_dns1123_subdomain(parent["group"].text()));
  for (const char* part : {"resource", "name", "namespace"})
    if (parent[part].filled())
      e.all(parent[part].path(), parent[part].text(), check_path_segment(parent[part].text()));
  if (before) immutable(e, parent, View(before)["spec"]["parentRef"]);
}

void service_cidr(Errors& e, const json::value& after, const json::value* before) {
  View list = View(&after)["spec"]["cidrs"], old = before ? View(before)["spec"]["cidrs"] : View(nullptr);
  if (!list.size()) return e.required(list.path(), "at least one CIDR required");
  if (list.size() > 2)
    return e.invalid(list.path(), View(&after)["spec"].shown(), "may only hold up to 2 values");
  std::vector<int> families;
  list.each([&](const View& one) {
    Network parsed;
    if (!network(e, one, &parsed)) return;
    if (!parsed.masked) e.invalid(one.path(), one.text(), "must not have bits set beyond the prefix length");
    families.push_back(parsed.family);
  });
  if (families.size() == 2 && families[0] == families[1])
    e.invalid(list.path(), list.shown(),
              "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
  if (!before) return;
  if (list.size() < old.size()) return e.invalid(list.path(), list.shown(), "field is immutable");
  size_t i = 0;
  const json::array& was = old.shown().get_array();
  list.each([&](const View& one) {
    if (i < was.size() && one.shown() != was[i]) e.invalid(one.path(), one.text(), "field is immutable");
    ++i;
  });
}

}  // namespace api::rules
