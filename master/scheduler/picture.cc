#include "master/scheduler/picture.h"

#include <algorithm>

#include "api/quantity.h"

namespace master::scheduler {
using base::as_bool;
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

void Resources::add(const Resources& other, int sign) {
  cpu_milli += sign * other.cpu_milli;
  memory += sign * other.memory;
  ephemeral += sign * other.ephemeral;
  for (const auto& [name, amount] : other.extended) extended[name] += sign * amount;
}
void Resources::raise_to(const Resources& other) {
  cpu_milli = std::max(cpu_milli, other.cpu_milli);
  memory = std::max(memory, other.memory);
  ephemeral = std::max(ephemeral, other.ephemeral);
  for (const auto& [name, amount] : other.extended) extended[name] = std::max(extended[name], amount);
}
Resources read_resources(const json::value* map) {
  Resources out;
  if (!map || !map->is_object()) return out;
  for (const auto& item : map->get_object()) {
    std::string_view text = as_string(&item.value());
    if (item.key() == "cpu") out.cpu_milli = api::milli_of(text);
    else if (item.key() == "memory") out.memory = api::bytes_of(text);
    else if (item.key() == "ephemeral-storage") out.ephemeral = api::bytes_of(text);
    else if (item.key() != "pods") out.extended[std::string(item.key())] = api::bytes_of(text);
  }
  return out;
}
Resources pod_requests(const json::value& spec, Absent absent) {
  Resources sum, sidecars, init;
  auto requests_of = [absent](const json::value& container) {
    const json::value* requests = find_path(container, "resources", "requests");
    Resources one = read_resources(requests);
    auto asks = [&](const char* name) { return requests && find(*requests, name); };
    if (absent == Absent::kALittle && !asks("cpu")) one.cpu_milli = 100;
    if (absent == Absent::kALittle && !asks("memory")) one.memory = 200 << 20;
    return one;
  };
  if (const json::value* list = find(spec, "initContainers"); list && list->is_array())
    for (const json::value& container : list->get_array()) {
      Resources one = requests_of(container);
      if (string_at(container, "restartPolicy") == "Always") {
        sidecars.add(one);
        init.raise_to(sidecars);
      } else {
        one.add(sidecars);  // those started before it run beside it
        init.raise_to(one);
      }
    }
  if (const json::value* list = find(spec, "containers"); list && list->is_array())
    for (const json::value& container : list->get_array()) sum.add(requests_of(container));
  sum.add(sidecars);
  sum.raise_to(init);
  if (const json::value* whole = find_path(spec, "resources", "requests"); whole && whole->is_object()) {
    Resources pod_level = read_resources(whole);
    if (find(*whole, "cpu")) sum.cpu_milli = pod_level.cpu_milli;
    if (find(*whole, "memory")) sum.memory = pod_level.memory;
  }
  sum.add(read_resources(find(spec, "overhead")));
  return sum;
}

bool HostPort::conflicts(const HostPort& other) const {
  if (port != other.port || protocol != other.protocol) return false;
  auto any = [](const std::string& ip) { return ip.empty() || ip == "0.0.0.0" || ip == "::"; };
  return any(ip) || any(other.ip) || ip == other.ip;
}

static Selector read_pod_selector(const json::value* in) {
  auto selector = api::selector_of_json(in);
  if (selector.ok()) return *selector;
  Selector nothing;
  nothing.nothing = true;
  return nothing;
}
static std::vector<PodTerm> read_pod_terms(const json::value* list, const std::string& ns) {
  std::vector<PodTerm> out;
  if (!list || !list->is_array()) return out;
  for (const json::value& item : list->get_array()) {
    PodTerm term{
        read_pod_selector(find(item, "labelSelector")), {}, std::string(string_at(item, "topologyKey"))};
    if (const json::value* names = find(item, "namespaces"); names && names->is_array())
      for (const json::value& name : names->get_array()) term.namespaces.emplace(as_string(&name));
    // A namespaceSelector widens the term; without labels of namespaces here it means all of them.
    const json::value* selector = find(item, "namespaceSelector");
    if (term.namespaces.empty() && (!selector || selector->is_null())) term.namespaces.insert(ns);
    out.push_back(std::move(term));
  }
  return out;
}

std::shared_ptr<const Ask> read_ask(const json::value& pod) {
  auto ask = std::make_shared<Ask>();
  ask->ns = string_at(pod, "metadata", "namespace");
  ask->labels = controllers::read_labels(find_path(pod, "metadata", "labels"));
  const json::value* spec = find(pod, "spec");
  if (!spec) return ask;
  ask->requests = pod_requests(*spec);
  ask->score_requests = pod_requests(*spec, Absent::kALittle);
  controllers::NodeFilter nodes = controllers::read_node_filter(*spec);
  ask->node_selector = std::move(nodes.selector);
  ask->node_required = std::move(nodes.required);
  ask->tolerations = controllers::read_tolerations(find(*spec, "tolerations"));
  ask->priority = static_cast<int>(as_int(find(*spec, "priority")));
  if (const json::value* node = find_path(*spec, "affinity", "nodeAffinity")) {
    const json::value* preferred = find(*node, "preferredDuringSchedulingIgnoredDuringExecution");
    if (preferred && preferred->is_array())
      for (const json::value& item : preferred->get_array())
        if (const json::value* preference = find(item, "preference")) {
          ask->node_preferred.push_back(controllers::read_node_term(*preference));
          ask->node_preferred.back().weight = static_cast<int>(as_int(find(item, "weight")));
        }
  }
  const char* required = "requiredDuringSchedulingIgnoredDuringExecution";
  ask->affinity = read_pod_terms(find_path(*spec, "affinity", "podAffinity", required), ask->ns);
  ask->anti_affinity = read_pod_terms(find_path(*spec, "affinity", "podAntiAffinity", required), ask->ns);
  if (const json::value* list = find(*spec, "topologySpreadConstraints"); list && list->is_array())
    for (const json::value& item : list->get_array())
      if (string_at(item, "whenUnsatisfiable") == "DoNotSchedule")
        ask->spread.push_back({read_pod_selector(find(item, "labelSelector")),
                               std::string(string_at(item, "topologyKey")),
                               static_cast<int>(as_int(find(item, "maxSkew"), 1))});
  if (const json::value* list = find(*spec, "containers"); list && list->is_array())
    for (const json::value& container : list->get_array()) {
      const json::value* ports = find(container, "ports");
      if (!ports || !ports->is_array()) continue;
      for (const json::value& port : ports->get_array()) {
        int host_port = static_cast<int>(as_int(find(port, "hostPort")));
        if (!host_port) continue;
        std::string_view protocol = string_at(port, "protocol");
        ask->host_ports.push_back({std::string(string_at(port, "hostIP")),
                                   std::string(protocol.empty() ? "TCP" : protocol), host_port});
      }
    }
  return ask;
}

bool Node::same_spec(const Node& other) const {
  return labels == other.labels && taints == other.taints && unschedulable == other.unschedulable &&
         allocatable == other.allocatable && max_pods == other.max_pods;
}
Node read_node(const json::value& in) {
  Node node;
  node.name = string_at(in, "metadata", "name");
  node.labels = controllers::read_labels(find_path(in, "metadata", "labels"));
  node.taints = controllers::read_taints(find_path(in, "spec", "taints"));
  node.unschedulable = as_bool(find_path(in, "spec", "unschedulable"));
  const json::value* allocatable = find_path(in, "status", "allocatable");
  if (!allocatable) allocatable = find_path(in, "status", "capacity");
  node.allocatable = read_resources(allocatable);
  std::string_view pods = allocatable ? string_at(*allocatable, "pods") : std::string_view();
  node.max_pods = pods.empty() ? 0 : api::bytes_of(pods);
  return node;
}

void Picture::count(Node& node, const Placed& placed, int sign) {
  node.used.add(placed.ask->requests, sign);
  node.score_used.add(placed.ask->score_requests, sign);
  node.pods += sign;
  if (!placed.owner_uid.empty()) {
    int& count = node.per_owner[placed.owner_uid];
    if ((count += sign) <= 0) node.per_owner.erase(placed.owner_uid);
  }
  for (const HostPort& port : placed.ask->host_ports) {
    if (sign > 0) {
      node.host_ports.push_back(port);
      continue;
    }
    auto at = std::find_if(node.host_ports.begin(), node.host_ports.end(), [&](const HostPort& other) {
      return other.port == port.port && other.protocol == port.protocol && other.ip == port.ip;
    });
    if (at != node.host_ports.end()) node.host_ports.erase(at);
  }
}
void Picture::set_node(Node node) {
  auto at = nodes.find(node.name);
  if (at == nodes.end()) {
    // Pods may be known before their node is.
    for (const auto& [key, pod] : placed)
      if (pod.node == node.name) count(node, pod, 1);
    std::string name = node.name;
    nodes.emplace(std::move(name), std::move(node));
    return;
  }
  Node& old = at->second;
  old.labels = std::move(node.labels);
  old.taints = std::move(node.taints);
  old.unschedulable = node.unschedulable;
  old.allocatable = std::move(node.allocatable);
  old.max_pods = node.max_pods;
}
void Picture::place(const std::string& pod, Placed in) {
  remove(pod);
  if (auto at = nodes.find(in.node); at != nodes.end()) count(at->second, in, 1);
  if (!in.ask->anti_affinity.empty()) with_anti_affinity.insert(pod);
  placed[pod] = std::move(in);
}
void Picture::remove(const std::string& pod) {
  auto at = placed.find(pod);
  if (at == placed.end()) return;
  if (auto node = nodes.find(at->second.node); node != nodes.end()) count(node->second, at->second, -1);
  with_anti_affinity.erase(pod);
  placed.erase(at);
}

}  // namespace master::scheduler
