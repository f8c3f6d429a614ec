// See service_plan.h.
#include "proxy/service_plan.h"

#include "netns/netns.h"

namespace proxy {
namespace {

struct Target {
  Ip ip = 0;
  uint16_t port = 0;
  auto operator<=>(const Target&) const = default;
};
struct Targets {
  std::set<Target> all, local;
};

// Ready endpoints; when there are none, those that still serve while they terminate. The choice
// is made among the local ones on their own.
Targets targets_of(const std::string& port_name, uint8_t protocol,
                   const std::vector<const EndpointSlice*>& slices, const std::string& node,
                   std::set<Ip>* local_addresses) {
  Targets ready, ending;
  for (const EndpointSlice* slice : slices) {
    for (const EndpointPort& port : slice->ports) {
      if (port.name != port_name || port.protocol != protocol || port.port == 0) continue;
      for (const Endpoint& endpoint : slice->endpoints) {
        // An endpoint's addresses are interchangeable: the first is used (discovery/v1).
        auto ip = endpoint.addresses.empty() ? std::nullopt
                                             : netns::parse_ipv4(endpoint.addresses[0]);
        if (!ip) continue;  // another family's slice
        bool is_local = !node.empty() && endpoint.node == node;
        Targets* to = endpoint.ready                               ? &ready
                      : endpoint.serving && endpoint.terminating ? &ending
                                                                   : nullptr;
        if (!to) continue;
        to->all.insert({*ip, port.port});
        if (is_local) {
          to->local.insert({*ip, port.port});
          local_addresses->insert(*ip);
        }
      }
    }
  }
  return {ready.all.empty() ? ending.all : ready.all,
          ready.local.empty() ? ending.local : ready.local};
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
    elements[{set, 0, key, 0}] = {kind, 0, 0, to};
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
  else
    builder.add(Set::kBlocked, key,
                targets.all.empty() ? Value::Kind::kRefuse : Value::Kind::kDrop);
}

void add_external(Builder& builder, const Key& key, const Targets& targets, bool keep_source) {
  if (targets.all.empty()) {
    builder.add(Set::kBlocked, key, Value::Kind::kRefuse);
    return;
  }
  // With externalTrafficPolicy Local, Pods and the node itself still reach every endpoint.
  builder.add(Set::kServices, key, Value::Kind::kClass,
              builder.add_endpoints(key, targets.all, keep_source ? Class::Mode::kCluster
                                                                  : Class::Mode::kExternal));
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

}  // namespace

Elements elements_of(const Service& service, const std::vector<const EndpointSlice*>& slices,
                     const Node& node) {
  auto cluster_ip = netns::parse_ipv4(service.cluster_ip);
  if (!cluster_ip || service.type == "ExternalName" || !service.rules) return {};
  std::vector<Ip> external;
  for (const auto* list : {&service.external_ips, &service.load_balancer_ips})
    for (const std::string& text : *list)
      if (auto ip = netns::parse_ipv4(text)) external.push_back(*ip);

  Builder builder(service.affinity_seconds);
  std::set<Ip> local_addresses;
  for (const ServicePort& port : service.ports) {
    Targets targets = targets_of(port.name, port.protocol, slices, node.name, &local_addresses);
    add_internal(builder, {*cluster_ip, port.protocol, port.port}, targets, service.internal_local);
    for (Ip ip : external)
      add_external(builder, {ip, port.protocol, port.port}, targets, service.external_local);
    if (port.node_port == 0) continue;
    for (const std::string& text : node.addresses)
      if (auto ip = netns::parse_ipv4(text))
        add_external(builder, {*ip, port.protocol, port.node_port}, targets, service.external_local);
  }
  for (Ip ip : local_addresses)
    builder.add(Set::kHairpin, {ip, 0, 0}, Value::Kind::kNone);
  return std::move(builder.elements);
}

void Cluster::set_service(Service service) {
  std::string key = service.ns + "/" + service.name;
  services_[key] = std::move(service);
}
void Cluster::remove_service(const std::string& ns, const std::string& name) {
  services_.erase(ns + "/" + name);
}
std::set<std::string> Cluster::set_slice(EndpointSlice slice) {
  std::set<std::string> concerned = remove_slice(slice.ns, slice.name);
  if (slice.service.empty()) return concerned;
  std::string key = slice.ns + "/" + slice.name, service = slice.ns + "/" + slice.service;
  slices_of_[service].insert(key);
  slices_[key] = std::move(slice);
  concerned.insert(service);
  return concerned;
}
std::set<std::string> Cluster::remove_slice(const std::string& ns, const std::string& name) {
  auto it = slices_.find(ns + "/" + name);
  if (it == slices_.end()) return {};
  std::string service = ns + "/" + it->second.service;
  auto of = slices_of_.find(service);
  of->second.erase(it->first);
  if (of->second.empty()) slices_of_.erase(of);
  slices_.erase(it);
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
