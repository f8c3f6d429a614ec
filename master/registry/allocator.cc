#include "master/registry/allocator.h"

#include <string>

namespace master {
namespace {

namespace json = base::json;
constexpr int kFirstPort = 30000, kLastPort = 32767;  // kube-apiserver's default range

const json::array* ports_of(const json::value& service) {
  const json::value* ports = base::find_path(service, "spec", "ports");
  return ports ? ports->if_array() : nullptr;
}
std::string_view cluster_ip(const json::value& service) {
  return base::string_at(service, "spec", "clusterIP");
}
// Of a load balancer that sends to local Pods only.
bool uses_health_port(const json::value& service) {
  return base::string_at(service, "spec", "type") == "LoadBalancer" &&
         base::string_at(service, "spec", "externalTrafficPolicy") == "Local";
}
int health_port(const json::value& service) {
  return static_cast<int>(base::as_int(base::find_path(service, "spec", "healthCheckNodePort")));
}
// Every node port of a Service, that of its health check included.
std::set<int> ports_on_nodes(const json::value& service) {
  std::set<int> found;
  if (const json::array* ports = ports_of(service))
    for (const json::value& port : *ports)
      found.insert(static_cast<int>(base::as_int(base::find(port, "nodePort"))));
  found.insert(health_port(service));
  found.erase(0);
  return found;
}
bool is_address(std::string_view ip) { return !ip.empty() && ip != "None"; }
std::string owner_of(const json::value& service) {
  return std::string(base::string_at(service, "metadata", "namespace")) + "/" +
         std::string(base::string_at(service, "metadata", "name"));
}
template <typename Map>
void drop(Map& map, const typename Map::key_type& key, const std::string& owner) {
  auto it = map.find(key);
  if (it == map.end()) return;
  it->second.erase(owner);
  if (it->second.empty()) map.erase(it);
}

}  // namespace

ServiceAllocator::ServiceAllocator(std::string_view cidr, std::string_view dns)
    : range_(base::Cidr::parse_v4(cidr).value_or(base::Cidr{base::Ip::v4(10, 96, 0, 0), 16}).canonical()),
      size_(range_.first().distance_to(range_.last()) + 1), dns_(base::Ip::parse_v4(dns)) {}
std::string_view ServiceAllocator::reserved_for(base::Ip address) const {
  if (address == range_.first().plus(1)) return "default/kubernetes";
  return address == dns_ ? "kube-system/kube-dns" : std::string_view();
}
std::string ServiceAllocator::first_address() const { return range_.first().plus(1).text(); }
std::map<std::string, std::string> ServiceAllocator::reserved() const {
  std::map<std::string, std::string> out;
  for (base::Ip address : {range_.first().plus(1), dns_.value_or(range_.first().plus(1))})
    out.emplace(address.text(), reserved_for(address));
  return out;
}

std::optional<base::Ip> ServiceAllocator::free_address() {
  for (uint64_t i = 0; i < size_; ++i) {
    // Freed addresses come round last; multiplicative stepping spreads them over the range.
    next_ = (next_ + 1) % size_;
    base::Ip address = range_.first().plus(next_);
    if (next_ < 16 || next_ == size_ - 1 || addresses_.count(address) || !reserved_for(address).empty())
      continue;
    return address;
  }
  return std::nullopt;
}
std::optional<int> ServiceAllocator::free_port() {
  for (int i = kFirstPort; i <= kLastPort; ++i) {
    int port = next_port_++;
    if (next_port_ > kLastPort) next_port_ = kFirstPort;
    if (!ports_.count(port)) return port;
  }
  return std::nullopt;
}

base::Status ServiceAllocator::allocate(json::value& service, const json::value& before) {
  json::object& spec = base::object_at(service.get_object(), "spec");
  std::string type(base::string_at(service, "spec", "type"));
  if (type == "ExternalName") return {};
  std::string had(before.is_object() ? cluster_ip(before) : ""), owner = owner_of(service);
  std::string ip(cluster_ip(service));
  if (ip.empty() && !had.empty() && base::string_at(before, "spec", "type") != "ExternalName") ip = had;
  if (ip.empty()) {
    auto address = free_address();
    if (!address)
      return base::make_error(base::Kind::kExhausted, "allocate a cluster IP", "",
                              "the service range is full", "delete Services or widen --service-cidr");
    ip = address->text();
  } else if (is_address(ip) && ip != had) {
    auto address = base::Ip::parse_v4(ip);
    if (!address || !range_.contains(*address))
      return base::make_error(base::Kind::kInvalid, "", "spec.clusterIPs",
                              "failed to allocate IP " + ip + ": the provided IP is not in the valid range");
    std::string_view only = reserved_for(*address);
    if (only.empty() ? addresses_.contains(*address) : only != owner)
      return base::make_error(base::Kind::kInvalid, "", "spec.clusterIPs",
                              "failed to allocate IP " + ip + ": provided IP is already allocated");
  }
  std::set<int> seen;
  const std::set<int> mine = before.is_object() ? ports_on_nodes(before) : std::set<int>();
  auto refusal = [&](int wanted) -> const char* {
    if (mine.count(wanted)) return nullptr;
    if (wanted < kFirstPort || wanted > kLastPort)
      return "provided port is not in the valid range. The range of valid ports is 30000-32767";
    return ports_.contains(wanted) ? "provided port is already allocated" : nullptr;
  };
  auto any_port = [&]() -> base::Result<int> {
    auto free = free_port();
    for (size_t tries = 0; free && seen.count(*free) && tries < seen.size(); ++tries) free = free_port();
    if (free && !seen.count(*free)) return *free;
    return base::make_error(base::Kind::kExhausted, "allocate a node port", "",
                            "the range 30000-32767 is full", "delete NodePort Services");
  };
  bool uses_ports = type == "NodePort" || type == "LoadBalancer";
  bool wants_ports = type == "NodePort" ||
                     (uses_ports && base::as_bool(spec.if_contains("allocateLoadBalancerNodePorts"), true));
  if (json::value* list = spec.if_contains("ports"); list && list->is_array()) {
    size_t index = 0;
    for (json::value& port : list->get_array()) {
      if (!port.is_object()) continue;
      int wanted = static_cast<int>(base::as_int(base::find(port, "nodePort")));
      if (wanted == 0 && wants_ports) {
        wanted = TRY(any_port());
        port.get_object()["nodePort"] = wanted;
      } else if (wanted != 0 && uses_ports) {
        if (const char* why = refusal(wanted))
          return base::make_error(base::Kind::kInvalid, "",
                                  "spec.ports[" + std::to_string(index) + "].nodePort", why);
      }
      if (wanted != 0 && uses_ports) seen.insert(wanted);
      ++index;
    }
  }
  if (uses_health_port(service)) {
    int wanted = health_port(service);
    if (wanted == 0) spec["healthCheckNodePort"] = wanted = TRY(any_port());
    else if (seen.count(wanted))
      return base::make_error(base::Kind::kInvalid, "", "spec.healthCheckNodePort",
                              "provided port is already allocated");
    else if (const char* why = refusal(wanted))
      return base::make_error(base::Kind::kInvalid, "", "spec.healthCheckNodePort", why);
    seen.insert(wanted);
  }
  spec["clusterIP"] = ip;
  spec["clusterIPs"] = json::array{json::value(ip)};
  if (is_address(ip)) addresses_[*base::Ip::parse_v4(ip)].insert(owner);
  for (int port : seen) ports_[port].insert(owner);
  return {};
}

void ServiceAllocator::take(const json::value& service) {
  std::string owner = owner_of(service);
  if (auto address = base::Ip::parse_v4(cluster_ip(service))) addresses_[*address].insert(owner);
  for (int port : ports_on_nodes(service)) ports_[port].insert(owner);
}
void ServiceAllocator::release_difference(const json::value& before, const json::value& after) {
  if (cluster_ip(before) != cluster_ip(after))
    if (auto address = base::Ip::parse_v4(cluster_ip(before))) drop(addresses_, *address, owner_of(before));
  const std::set<int> kept = ports_on_nodes(after);
  for (int port : ports_on_nodes(before))
    if (!kept.count(port)) drop(ports_, port, owner_of(before));
}

}  // namespace master
