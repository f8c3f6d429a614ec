// See service_plan.h.
#include "proxy/service_plan.h"

#include <algorithm>

namespace proxy {
namespace {

struct Target {
  Ip ip;
  uint16_t port = 0;
  auto operator<=>(const Target&) const = default;
};
struct Targets {
  std::set<Target> all, local;
};

bool has(const std::vector<std::string>& names, const std::string& name) {
  return !name.empty() && std::find(names.begin(), names.end(), name) != names.end();
}

// Of ready endpoints, those that are meant for this node, or else for its zone. Hints count only where all of
// them have some and one is for here, so that nobody is left without an endpoint: all of them otherwise.
std::set<Target> near_of(const std::vector<std::pair<Target, const Endpoint*>>& ready, const Node& node) {
  std::set<Target> all, of_node, of_zone;
  bool nodes_hinted = true, zones_hinted = true;
  for (const auto& [target, endpoint] : ready) all.insert(target);
  for (const auto& [target, endpoint] : ready) {
    if (!nodes_hinted && !zones_hinted) return all;
    nodes_hinted &= !endpoint->for_nodes.empty();
    zones_hinted &= !endpoint->for_zones.empty();
    if (has(endpoint->for_nodes, node.name)) of_node.insert(target);
    if (has(endpoint->for_zones, node.zone)) of_zone.insert(target);
  }
  if (nodes_hinted && !of_node.empty()) return of_node;
  return zones_hinted && !of_zone.empty() ? of_zone : all;
}

// Ready endpoints; when there are none, those that still serve while they terminate. The choice
// is made among the local ones on their own.
Targets targets_of(const std::string& port_name, uint8_t protocol,
                   const std::vector<const EndpointSlice*>& slices, const Node& here,
                   std::set<Ip>* local_addresses) {
  const std::string& node = here.name;
  Targets ready, ending;
  std::vector<std::pair<Target, const Endpoint*>> candidates;
  for (const EndpointSlice* slice : slices) {
    for (const EndpointPort& port : slice->ports) {
      if (port.name != port_name || port.protocol != protocol || port.port == 0) continue;
      for (const Endpoint& endpoint : slice->endpoints) {
        // An endpoint's addresses are interchangeable: the first is used (discovery/v1).
        auto ip = endpoint.addresses.empty() ? std::nullopt : Ip::parse_v4(endpoint.addresses[0]);
        if (!ip || is_special(*ip)) continue;  // another family's slice; no host's address
        bool is_local = !node.empty() && endpoint.node == node;
        Targets* to = endpoint.ready ? &ready : endpoint.serving && endpoint.terminating ? &ending : nullptr;
        if (!to) continue;
        if (to == &ready) candidates.emplace_back(Target{*ip, port.port}, &endpoint);
        else to->all.insert({*ip, port.port});
        if (is_local) {
          to->local.insert({*ip, port.port});
          local_addresses->insert(*ip);
        }
      }
    }
  }
  ready.all = near_of(candidates, here);
  return {ready.all.empty() ? ending.all : ready.all, ready.local.empty() ? ending.local : ready.local};
}

class Builder {
 public:
  explicit Builder(uint32_t affinity_seconds) : affinity_(affinity_seconds) {}

  Class add_endpoints(const Key& key, const std::set<Target>& targets, Class::Mode mode) {
    auto count = static_cast<uint16_t>(std::min<size_t>(targets.size(), 0xffff));
    Set set = endpoint_set({mode, count, affinity_});
    uint16_t index = 0;
    for (const Target& target : targets) {
      elements[{set, count, key, index}] = {Value::Kind::kEndpoint, target.ip, target.port, {}};
      if (++index == count) break;
    }
    return {mode, count, affinity_};
  }
  void add(Set set, const Key& key, Value::Kind kind, Class to = {}) {
    elements[{set, 0, key, 0}] = {kind, {}, 0, to};
  }

  Elements elements;

 private:
  uint32_t affinity_;
};

void add_internal(Builder& builder, const Key& key, const Targets& targets, bool local_only) {
  const auto& usable = local_only ? targets.local : targets.all;
  if (!usable.empty())
    builder.add(Set::kServices, key, Value::Kind::kClass,
                builder.add_endpoints(key, usable, Class::Mode::kCluster));
  else builder.add(Set::kBlocked, key, targets.all.empty() ? Value::Kind::kRefuse : Value::Kind::kDrop);
}

void add_external(Builder& builder, const Key& key, const Targets& targets, bool keep_source) {
  if (targets.all.empty()) {
    builder.add(Set::kBlocked, key, Value::Kind::kRefuse);
    return;
  }
  // With externalTrafficPolicy Local, Pods and the node itself still reach every endpoint.
  builder.add(
      Set::kServices, key, Value::Kind::kClass,
      builder.add_endpoints(key, targets.all, keep_source ? Class::Mode::kCluster : Class::Mode::kExternal));
  if (!keep_source) return;
  if (!targets.local.empty()) {
    builder.add(Set::kExternalLocal, key, Value::Kind::kClass,
                builder.add_endpoints(key, targets.local, Class::Mode::kLocal));
  } else {
    // Passes by the map `services`; what was not rewritten is dropped after routing.
    builder.add(Set::kExternalLocal, key, Value::Kind::kAccept);
    builder.add(Set::kBlocked, key, Value::Kind::kDrop);
  }
}

// The ranges without those inside of others, which a set of intervals would not take; nothing: all clients.
std::optional<std::set<std::pair<Ip, Ip>>> sources_of(const Service& service) {
  if (service.source_ranges.empty()) return std::nullopt;
  std::vector<base::Cidr> ranges;
  for (const std::string& text : service.source_ranges)
    if (auto cidr = base::Cidr::parse_v4(text)) ranges.push_back(cidr->canonical());
  std::sort(ranges.begin(), ranges.end(),
            [](const base::Cidr& a, const base::Cidr& b) { return a.prefix < b.prefix; });
  std::set<std::pair<Ip, Ip>> out;
  for (const base::Cidr& range : ranges) {
    if (range.prefix == 0) return std::nullopt;
    // Ranges by prefix lie inside of each other or apart.
    auto after = out.upper_bound({range.first(), range.last()});
    const bool inside = (after != out.begin() && std::prev(after)->second >= range.last()) ||
                        (after != out.end() && after->first <= range.first());
    if (!inside) out.insert({range.first(), range.last()});
  }
  return out;
}

bool holds(const std::vector<std::string>& addresses, Ip ip) {
  return std::any_of(addresses.begin(), addresses.end(),
                     [&](const std::string& text) { return Ip::parse_v4(text) == ip; });
}

}  // namespace

bool is_special(Ip ip) {
  // 0.0.0.0/8 and what lies behind multicast are nobody's either.
  return !ip.is_v4() || ip.v4_bits() >> 24 == 0 || ip.is_loopback() || ip.is_link_local() ||
         ip.v4_bits() >> 24 >= 224;
}
bool Reserved::allows_cluster_ip(const Service& service, Ip ip) const {
  // Outside of the range it is one of an earlier range.
  auto of_api = api.lower_bound({ip, 0});
  if (is_special(ip) || (pods && pods->contains(ip)) || (of_api != api.end() && of_api->first == ip))
    return false;
  if (services && ip == services->first().plus(1))
    return service.ns == "default" && service.name == "kubernetes";
  if (ip == dns) return service.ns == "kube-system" && service.name == "kube-dns";
  return true;
}
bool Reserved::allows_external_ip(const Node& node, Ip ip) const {
  auto of_api = api.lower_bound({ip, 0});
  return allows_given(node, ip, 0) && !holds(node.addresses, ip) && !holds(node.other_addresses, ip) &&
         (of_api == api.end() || of_api->first != ip);
}
bool Reserved::allows_given(const Node& node, Ip ip, uint16_t port) const {
  if (is_special(ip) || ip == dns || (services && services->contains(ip)) || (pods && pods->contains(ip)))
    return false;
  if (api.contains({ip, port})) return false;
  return port == 0 || port != node.kubelet_port ||
         !(holds(node.addresses, ip) || holds(node.other_addresses, ip));
}

Elements elements_of(const Service& service, const std::vector<const EndpointSlice*>& slices,
                     const Node& node, const Reserved& reserved) {
  auto cluster_ip = Ip::parse_v4(service.cluster_ip);
  if (!cluster_ip || service.type == "ExternalName" || !service.rules) return {};
  if (!reserved.allows_cluster_ip(service, *cluster_ip)) return {};
  std::vector<Ip> external, given;
  for (const std::string& text : service.external_ips)
    if (auto ip = Ip::parse_v4(text); ip && reserved.allows_external_ip(node, *ip)) external.push_back(*ip);
  for (const std::string& text : service.load_balancer_ips)
    if (auto ip = Ip::parse_v4(text)) given.push_back(*ip);

  Builder builder(service.affinity_seconds);
  const auto sources = sources_of(service);
  std::set<Ip> local_addresses;
  for (const ServicePort& port : service.ports) {
    Targets targets = targets_of(port.name, port.protocol, slices, node, &local_addresses);
    add_internal(builder, {*cluster_ip, port.protocol, port.port}, targets, service.internal_local);
    for (Ip ip : external)
      add_external(builder, {ip, port.protocol, port.port}, targets, service.external_local);
    for (Ip ip : given) {
      if (!reserved.allows_given(node, ip, port.port)) continue;
      const Key key{ip, port.protocol, port.port};
      add_external(builder, key, targets, service.external_local);
      if (!sources) continue;
      builder.add(Set::kGuarded, key, Value::Kind::kNone);
      for (const auto& [first, last] : *sources)
        builder.elements[{Set::kSources, 0, key, source_index(first, last)}] = {};
    }
    if (port.node_port == 0) continue;
    for (const std::string& text : node.addresses)
      if (auto ip = Ip::parse_v4(text); ip && reserved.allows_given(node, *ip, port.node_port))
        add_external(builder, {*ip, port.protocol, port.node_port}, targets, service.external_local);
  }
  for (Ip ip : local_addresses) builder.add(Set::kHairpin, {ip, 0, 0}, Value::Kind::kNone);
  return std::move(builder.elements);
}

Elements elements_of(const LocalPod& pod, const Node& node, const Reserved& reserved) {
  Builder builder(0);
  auto ip = Ip::parse_v4(pod.ip);
  if (!ip || is_special(*ip)) return {};
  for (const HostPort& port : pod.ports) {
    auto hand_on = [&](const std::vector<std::string>& addresses) {
      for (const std::string& text : addresses) {
        auto at = Ip::parse_v4(text);
        if (!at || !reserved.allows_given(node, *at, port.port)) continue;
        if (!port.address.empty() && port.address != "0.0.0.0" && port.address != text) continue;
        const Key key{*at, port.protocol, port.port};
        // As it comes: the Pod is here, so its answers pass this node anyway.
        builder.add(Set::kServices, key, Value::Kind::kClass,
                    builder.add_endpoints(key, {{*ip, port.target}}, Class::Mode::kLocal));
      }
    };
    hand_on(node.addresses);
    hand_on(node.other_addresses);
  }
  if (!builder.elements.empty()) builder.add(Set::kHairpin, {*ip, 0, 0}, Value::Kind::kNone);
  return std::move(builder.elements);
}

const std::set<std::string>& Cluster::at(const Index& index, Ip ip) {
  static const std::set<std::string> kNone;
  auto it = index.find(ip);
  return it == index.end() ? kNone : it->second;
}
// What a reverse lookup asks for, kept as Services and their slices change: a query costs the same
// however many there are.
void Cluster::index(const std::string& service_key, bool add) {
  auto put = [&](Index& to, std::string_view text) {
    auto ip = Ip::parse_v4(text);
    if (!ip) return;
    if (add) {
      to[*ip].insert(service_key);
    } else if (auto it = to.find(*ip); it != to.end()) {
      it->second.erase(service_key);
      if (it->second.empty()) to.erase(it);
    }
  };
  const Service* known = service(service_key);
  if (!known) return;
  if (!known->headless()) return put(by_cluster_ip_, known->cluster_ip);
  for (const EndpointSlice* slice : slices(service_key))
    for (const Endpoint& endpoint : slice->endpoints)
      if (!endpoint.addresses.empty()) put(headless_by_endpoint_, endpoint.addresses[0]);
}

void Cluster::set_service(Service service) {
  std::string key = service.ns + "/" + service.name;
  index(key, false);
  services_[key] = std::move(service);
  index(key, true);
}
void Cluster::remove_service(const std::string& ns, const std::string& name) {
  index(ns + "/" + name, false);
  services_.erase(ns + "/" + name);
}
std::set<std::string> Cluster::set_slice(EndpointSlice slice) {
  std::set<std::string> concerned = remove_slice(slice.ns, slice.name);
  if (slice.service.empty()) return concerned;
  std::string key = slice.ns + "/" + slice.name, service = slice.ns + "/" + slice.service;
  index(service, false);
  slices_of_[service].insert(key);
  slices_[key] = std::move(slice);
  index(service, true);
  concerned.insert(service);
  return concerned;
}
std::set<std::string> Cluster::remove_slice(const std::string& ns, const std::string& name) {
  auto it = slices_.find(ns + "/" + name);
  if (it == slices_.end()) return {};
  std::string service = ns + "/" + it->second.service;
  index(service, false);
  auto of = slices_of_.find(service);
  of->second.erase(it->first);
  if (of->second.empty()) slices_of_.erase(of);
  slices_.erase(it);
  index(service, true);
  return {service};
}
const Service* Cluster::service(const std::string& key) const {
  auto it = services_.find(key);
  return it == services_.end() ? nullptr : &it->second;
}
std::vector<const EndpointSlice*> Cluster::slices(const std::string& service_key) const {
  std::vector<const EndpointSlice*> found;
  auto it = slices_of_.find(service_key);
  if (it != slices_of_.end())
    for (const std::string& key : it->second) found.push_back(&slices_.at(key));
  return found;
}

}  // namespace proxy
