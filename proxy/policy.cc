// See policy.h. What each member means: networking.k8s.io/v1.
#include "proxy/policy.h"

#include <netinet/in.h>

#include <algorithm>

#include "base/json.h"

namespace proxy {
namespace {

using base::find;
using base::find_path;
using base::string_at;
using base::json::value;

template <typename Each>
void each_item(const value* list, Each visit) {
  if (list && list->is_array())
    for (const value& item : list->get_array()) visit(item);
}
bool has_items(const value* list) { return list && list->is_array() && !list->get_array().empty(); }

std::optional<uint8_t> transport_of(const value& port) {
  std::string_view name = string_at(port, "protocol");
  if (name.empty() || name == "TCP") return IPPROTO_TCP;
  if (name == "UDP") return IPPROTO_UDP;
  if (name == "SCTP") return IPPROTO_SCTP;
  return std::nullopt;
}
std::optional<uint16_t> number_of(const value* at) {
  int64_t number = base::as_int(at);
  if (number < 1 || number > 65535) return std::nullopt;
  return static_cast<uint16_t>(number);
}

// What can't be read selects nobody.
api::Selector selector_at(const value* at) {
  auto read = api::selector_of_json(at);
  if (read.ok()) return *std::move(read);
  api::Selector none;
  none.nothing = true;
  return none;
}

// The block without its exceptions.
void add_block(const value& block, std::vector<AddressSpan>& out) {
  auto cidr = base::Cidr::parse_v4(string_at(block, "cidr"));
  if (!cidr) return;
  std::vector<AddressSpan> holes;
  bool readable = true;
  each_item(find(block, "except"), [&](const value& text) {
    if (auto hole = base::Cidr::parse_v4(base::as_string(&text)))
      holes.push_back({hole->first(), hole->last()});
    else readable = false;
  });
  if (!readable) return;
  base::Ip next = cidr->first();
  const base::Ip last = cidr->last();
  for (const AddressSpan& hole : joined(std::move(holes))) {
    if (hole.last < next || hole.first > last) continue;
    if (next < hole.first) out.push_back({next, base::Ip::v4(hole.first.v4_bits() - 1)});
    if (hole.last >= last) return;
    next = hole.last.plus(1);
  }
  out.push_back({next, last});
}

PolicyRule rule_from(const std::string& ns, const value& rule, const char* peers) {
  PolicyRule out;
  const value *list = find(rule, peers), *ports = find(rule, "ports");
  out.any_peer = !has_items(list);
  out.any_port = !has_items(ports);
  each_item(list, [&](const value& peer) {
    if (const value* block = find(peer, "ipBlock"); block && block->is_object())
      return add_block(*block, out.blocks);
    const value *pods = find(peer, "podSelector"), *namespaces = find(peer, "namespaceSelector");
    if (pods && !pods->is_object()) pods = nullptr;
    if (namespaces && !namespaces->is_object()) namespaces = nullptr;
    if (!pods && !namespaces) return;
    PodTerm term;
    if (namespaces) term.namespaces = selector_at(namespaces);
    else term.ns = ns;
    if (pods) term.pods = selector_at(pods);
    out.pods.push_back(std::move(term));
  });
  out.blocks = joined(std::move(out.blocks));
  each_item(ports, [&](const value& port) {
    auto protocol = transport_of(port);
    if (!protocol) return;
    const value* at = find(port, "port");
    if (!at || at->is_null()) return out.ports.push_back({*protocol, 0, 65535});
    if (at->is_string()) return out.names.push_back({*protocol, std::string(base::as_string(at))});
    auto first = number_of(at);
    if (!first) return;
    const value* end = find(port, "endPort");
    auto last = end && !end->is_null() ? number_of(end) : first;
    if (last && *last >= *first) out.ports.push_back({*protocol, *first, *last});
  });
  out.ports = joined(std::move(out.ports));
  std::sort(out.names.begin(), out.names.end());
  out.names.erase(std::unique(out.names.begin(), out.names.end()), out.names.end());
  return out;
}

}  // namespace

std::vector<AddressSpan> joined(std::vector<AddressSpan> spans) {
  std::sort(spans.begin(), spans.end());
  std::vector<AddressSpan> out;
  for (const AddressSpan& span : spans) {
    const bool touches = !out.empty() && span.first.v4_bits() <= uint64_t{out.back().last.v4_bits()} + 1;
    if (touches) out.back().last = std::max(out.back().last, span.last);
    else out.push_back(span);
  }
  return out;
}
std::vector<PortRange> joined(std::vector<PortRange> ranges) {
  std::sort(ranges.begin(), ranges.end());
  std::vector<PortRange> out;
  for (const PortRange& range : ranges) {
    const bool touches =
        !out.empty() && range.protocol == out.back().protocol && range.first <= out.back().last + 1;
    if (touches) out.back().last = std::max(out.back().last, range.last);
    else out.push_back(range);
  }
  return out;
}

std::string PodTerm::text() const {
  auto selector = [](const api::Selector& s) { return s.nothing ? std::string("!") : "{" + s.text() + "}"; };
  return (ns ? "in " + *ns : "of " + selector(namespaces)) + " " + selector(pods);
}

NetworkPolicy policy_from(const value& object) {
  NetworkPolicy out;
  out.ns = string_at(object, "metadata", "namespace");
  out.name = string_at(object, "metadata", "name");
  const value* spec = find(object, "spec");
  if (!spec || !spec->is_object()) return out;
  // Absent, it selects all Pods of the namespace; so does one that can't be read: closed rather than open.
  const value* pods = find(*spec, "podSelector");
  if (pods && pods->is_object())
    if (auto read = api::selector_of_json(pods); read.ok()) out.pods = *std::move(read);
  const value *types = find(*spec, "policyTypes"), *egress = find(*spec, "egress");
  if (has_items(types)) {
    each_item(types, [&](const value& type) {
      out.isolates_ingress |= base::as_string(&type) == "Ingress";
      out.isolates_egress |= base::as_string(&type) == "Egress";
    });
  } else {
    out.isolates_ingress = true;
    out.isolates_egress = has_items(egress);
  }
  if (out.isolates_ingress)
    each_item(find(*spec, "ingress"),
              [&](const value& rule) { out.ingress.push_back(rule_from(out.ns, rule, "from")); });
  if (out.isolates_egress)
    each_item(egress, [&](const value& rule) { out.egress.push_back(rule_from(out.ns, rule, "to")); });
  return out;
}

std::optional<PolicyPod> policy_pod_from(const value& object) {
  std::string_view phase = string_at(object, "status", "phase");
  if (phase == "Succeeded" || phase == "Failed" || base::as_bool(find_path(object, "spec", "hostNetwork")))
    return std::nullopt;
  PolicyPod pod;
  pod.ns = string_at(object, "metadata", "namespace");
  pod.name = string_at(object, "metadata", "name");
  pod.uid = string_at(object, "metadata", "uid");
  pod.node = string_at(object, "spec", "nodeName");
  pod.labels = std::make_shared<const Labels>(labels_from(object));
  auto add = [&](std::string_view text) {
    auto ip = base::Ip::parse_v4(text);
    if (ip && std::find(pod.addresses.begin(), pod.addresses.end(), *ip) == pod.addresses.end())
      pod.addresses.push_back(*ip);
  };
  add(string_at(object, "status", "podIP"));
  each_item(find_path(object, "status", "podIPs"), [&](const value& ip) { add(string_at(ip, "ip")); });
  auto add_ports = [&](const value& container) {
    each_item(find(container, "ports"), [&](const value& port) {
      auto protocol = transport_of(port);
      auto number = number_of(find(port, "containerPort"));
      std::string_view name = string_at(port, "name");
      if (protocol && number && !name.empty()) pod.ports.push_back({{*protocol, std::string(name)}, *number});
    });
  };
  each_item(find_path(object, "spec", "containers"), add_ports);
  each_item(find_path(object, "spec", "initContainers"), [&](const value& container) {
    if (string_at(container, "restartPolicy") == "Always") add_ports(container);  // runs beside the others
  });
  return pod;
}

Labels labels_from(const value& object) {
  Labels out;
  const value* labels = find_path(object, "metadata", "labels");
  if (labels && labels->is_object())
    for (const auto& [name, text] : labels->get_object()) out.emplace(name, base::as_string(&text));
  return out;
}

}  // namespace proxy
