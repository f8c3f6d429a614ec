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
  std::set<int> mine, seen;
  if (before.is_object())
    if (const json::array* ports = ports_of(before))
      for (const json::value& port : *ports)
        mine.insert(static_cast<int>(base::as_int(base::find(port, "nodePort"))));
  bool uses_ports = type == "NodePort" || type == "LoadBalancer";
  bool wants_ports = type == "NodePort" ||
                     (uses_ports && base::as_bool(spec.if_contains("allocateLoadBalancerNodePorts"), true));
  if (json::value* list = spec.if_contains("ports"); list && list->is_array()) {
    size_t index = 0;
    for (json::value& port : list->get_array()) {
      if (!port.is_object()) continue;
      int wanted = static_cast<int>(base::as_int(base::find(port, "nodePort")));
      if (wanted == 0 && wants_ports) {
        auto free = free_port();
        for (size_t tries = 0; free && seen.count(*free) && tries < seen.size(); ++tries) free = free_port();
        if (!free || seen.count(*free))
          return base::make_error(base::Kind::kExhausted, "allocate a node port", "",
                                  "the range 30000-32767 is full", "delete NodePort Services");
        wanted = *free;
        port.get_object()["nodePort"] = wanted;
      } else if (wanted != 0 && uses_ports && !mine.count(wanted)) {
        std::string field = "spec.ports[" + std::to_string(index) + "].nodePort";
        if (wanted < kFirstPort || wanted > kLastPort)
          return base::make_error(
              base::Kind::kInvalid, "", field,
              "provided port is not in the valid range. The range of valid ports is 30000-32767");
        if (ports_.contains(wanted))
          return base::make_error(base::Kind::kInvalid, "", field, "provided port is already allocated");
      }
      if (wanted != 0 && uses_ports) seen.insert(wanted);
      ++index;
    }
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
  if (const json::array* ports = ports_of(service))
    for (const json::value& port : *ports)
      if (int number = static_cast<int>(base::as_int(base::find(port, "nodePort"))))
        ports_[number].insert(owner);
}
void ServiceAllocator::release_difference(const json::value& before, const json::value& after) {
  if (cluster_ip(before) != cluster_ip(after))
    if (auto address = base::Ip::parse_v4(cluster_ip(before))) drop(addresses_, *address, owner_of(before));
  std::set<int> kept;
  if (const json::array* ports = ports_of(after))
    for (const json::value& port : *ports)
      kept.insert(static_cast<int>(base::as_int(base::find(port, "nodePort"))));
  if (const json::array* ports = ports_of(before))
    for (const json::value& port : *ports) {
      int number = static_cast<int>(base::as_int(base::find(port, "nodePort")));
      if (number && !kept.count(number)) drop(ports_, number, owner_of(before));
    }
}

}  // namespace master
