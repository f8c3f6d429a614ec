#include "master/scheduler/ask.h"

#include <algorithm>

#include "api/quantity.h"
#include "base/json_lists.h"
#include "master/controllers/volumes.h"

namespace master::scheduler {
using base::as_bool;
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

namespace {
constexpr int64_t kMostAmount = int64_t{1} << 52;
int64_t sum_of(int64_t a, int64_t b, int sign) {
  const auto more = static_cast<uint64_t>(b);
  return static_cast<int64_t>(static_cast<uint64_t>(a) + (sign < 0 ? uint64_t{0} - more : more));
}
int64_t capped(int64_t amount) { return std::clamp<int64_t>(amount, 0, kMostAmount); }
}  // namespace

void Resources::add(const Resources& other, int sign) {
  cpu_milli = sum_of(cpu_milli, other.cpu_milli, sign);
  memory = sum_of(memory, other.memory, sign);
  ephemeral = sum_of(ephemeral, other.ephemeral, sign);
  for (const auto& [name, amount] : other.extended) {
    auto at = extended.try_emplace(name, 0).first;
    at->second = sum_of(at->second, amount, sign);
    if (at->second == 0) extended.erase(at);
  }
}
void Resources::raise_to(const Resources& other) {
  cpu_milli = std::max(cpu_milli, other.cpu_milli);
  memory = std::max(memory, other.memory);
  ephemeral = std::max(ephemeral, other.ephemeral);
  for (const auto& [name, amount] : other.extended) {
    int64_t& mine = extended[name];
    mine = std::max(mine, amount);
  }
}
void Resources::cap() {
  for (int64_t* amount : {&cpu_milli, &memory, &ephemeral}) *amount = capped(*amount);
  for (auto& [name, amount] : extended) amount = capped(amount);
}
Resources read_resources(const json::value* map) {
  Resources out;
  if (!map || !map->is_object()) return out;
  for (const auto& item : map->get_object()) {
    std::string_view text = as_string(&item.value());
    if (item.key() == "cpu") out.cpu_milli = capped(api::milli_of(text));
    else if (item.key() == "memory") out.memory = capped(api::bytes_of(text));
    else if (item.key() == "ephemeral-storage") out.ephemeral = capped(api::bytes_of(text));
    else if (int64_t amount = capped(api::bytes_of(text)); item.key() != "pods" && amount > 0)
      out.extended[std::string(item.key())] = amount;
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
        sidecars.cap();
        init.raise_to(sidecars);
      } else {
        one.add(sidecars);  // those started before it run beside it
        init.raise_to(one);
      }
    }
  if (const json::value* list = find(spec, "containers"); list && list->is_array())
    for (const json::value& container : list->get_array()) {
      sum.add(requests_of(container));
      sum.cap();
    }
  sum.add(sidecars);
  sum.raise_to(init);
  if (const json::value* whole = find_path(spec, "resources", "requests"); whole && whole->is_object()) {
    Resources pod_level = read_resources(whole);
    if (find(*whole, "cpu")) sum.cpu_milli = pod_level.cpu_milli;
    if (find(*whole, "memory")) sum.memory = pod_level.memory;
  }
  sum.add(read_resources(find(spec, "overhead")));
  sum.cap();
  return sum;
}

bool HostPort::conflicts(const HostPort& other) const {
  if (port != other.port || protocol != other.protocol) return false;
  auto any = [](const std::string& ip) { return ip.empty() || ip == "0.0.0.0" || ip == "::"; };
  return any(ip) || any(other.ip) || ip == other.ip;
}

namespace {
Selector read_pod_selector(const json::value* in) {
  auto selector = api::selector_of_json(in);
  if (selector.ok()) return *selector;
  Selector nothing;
  nothing.nothing = true;
  return nothing;
}
// The Pod's own value of each key is asked for, or (mismatchLabelKeys) must not be the other's.
void add_label_keys(Selector& selector, const json::value* keys, const Labels& labels, Selector::Op op) {
  for (const json::value& key : base::list_at(keys))
    if (auto at = labels.find(std::string(as_string(&key))); at != labels.end()) {
      Selector::Requirement one{at->first, op, {at->second}};
      // The API server has merged them already where it knows them; one copy is enough.
      if (std::find(selector.requirements.begin(), selector.requirements.end(), one) ==
          selector.requirements.end())
        selector.requirements.push_back(std::move(one));
    }
}
PodTerm read_pod_term(const json::value& item, const std::string& ns, const Labels& labels) {
  PodTerm term{
      read_pod_selector(find(item, "labelSelector")), {}, {}, std::string(string_at(item, "topologyKey")), 0};
  if (!term.pods.nothing) {
    add_label_keys(term.pods, find(item, "matchLabelKeys"), labels, Selector::Op::kIn);
    add_label_keys(term.pods, find(item, "mismatchLabelKeys"), labels, Selector::Op::kNotIn);
  }
  for (const json::value& name : base::list_at(item, "namespaces")) term.namespaces.emplace(as_string(&name));
  const json::value* selector = find(item, "namespaceSelector");
  if (selector && selector->is_object()) term.namespace_selector = read_pod_selector(selector);
  else if (term.namespaces.empty()) term.namespaces.insert(ns);
  return term;
}
void read_pod_terms(const json::value* affinity, const Ask& ask, std::vector<PodTerm>& required,
                    std::vector<PodTerm>& preferred) {
  if (!affinity) return;
  for (const json::value& item : base::list_at(*affinity, "requiredDuringSchedulingIgnoredDuringExecution"))
    required.push_back(read_pod_term(item, ask.ns, ask.labels));
  for (const json::value& item : base::list_at(*affinity, "preferredDuringSchedulingIgnoredDuringExecution"))
    if (const json::value* term = find(item, "podAffinityTerm")) {
      preferred.push_back(read_pod_term(*term, ask.ns, ask.labels));
      preferred.back().weight = static_cast<int>(std::clamp<int64_t>(as_int(find(item, "weight")), 0, 100));
    }
}
int small(const json::value* value, int absent) {
  return static_cast<int>(std::clamp<int64_t>(as_int(value, absent), 0, 1 << 30));
}
SpreadConstraint read_spread(const json::value& item, const Labels& labels) {
  SpreadConstraint out;
  out.pods = read_pod_selector(find(item, "labelSelector"));
  if (!out.pods.nothing) add_label_keys(out.pods, find(item, "matchLabelKeys"), labels, Selector::Op::kIn);
  out.topology_key = string_at(item, "topologyKey");
  out.max_skew = small(find(item, "maxSkew"), 1);
  out.min_domains = small(find(item, "minDomains"), 1);
  out.hard = string_at(item, "whenUnsatisfiable") != "ScheduleAnyway";
  out.honour_affinity = string_at(item, "nodeAffinityPolicy") != "Ignore";
  out.honour_taints = string_at(item, "nodeTaintsPolicy") == "Honor";
  return out;
}
// As the node agent reports images: with a tag.
std::string image_name(std::string_view image) {
  const size_t colon = image.rfind(':'), slash = image.rfind('/');
  const bool tagged = colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  return std::string(image) + (tagged ? "" : ":latest");
}
std::optional<std::set<std::string>> read_named_nodes(const controllers::NodeFilter& nodes) {
  if (!nodes.required || nodes.required->empty()) return {};
  std::set<std::string> names;
  for (const NodeTerm& term : *nodes.required) {
    bool named = false;
    for (const Selector::Requirement& field : term.fields.requirements)
      if (field.key == "metadata.name" && field.op == Selector::Op::kIn) {
        named = true;
        names.insert(field.values.begin(), field.values.end());
      }
    if (!named) return {};
  }
  return names;
}
}  // namespace

bool Ask::tolerates(const Taint& taint) const {
  for (const Toleration& toleration : tolerations)
    if (controllers::tolerates(toleration, taint)) return true;
  return false;
}

Ask read_ask(const json::value& pod) {
  Ask ask;
  ask.ns = string_at(pod, "metadata", "namespace");
  ask.labels = controllers::read_labels(find_path(pod, "metadata", "labels"));
  if (controllers::OwnerRef owner = controllers::controller_owner(pod);
      owner.kind == "ReplicaSet" || owner.kind == "ReplicationController" || owner.kind == "StatefulSet")
    ask.owner_uid = std::move(owner.uid);
  const json::value* spec = find(pod, "spec");
  if (!spec) return ask;
  ask.requests = pod_requests(*spec);
  ask.score_requests = pod_requests(*spec, Absent::kALittle);
  ask.nodes = controllers::read_node_filter(*spec);
  ask.named_nodes = read_named_nodes(ask.nodes);
  ask.tolerations = controllers::read_tolerations(find(*spec, "tolerations"));
  ask.priority = static_cast<int>(std::clamp<int64_t>(as_int(find(*spec, "priority")), INT32_MIN, INT32_MAX));
  ask.never_preempts = string_at(*spec, "preemptionPolicy") == "Never";
  const json::value* affinity = find(*spec, "affinity");
  if (affinity && affinity->is_object()) {
    if (const json::value* node = find(*affinity, "nodeAffinity"))
      for (const json::value& item : base::list_at(*node, "preferredDuringSchedulingIgnoredDuringExecution"))
        if (const json::value* preference = find(item, "preference")) {
          ask.node_preferred.push_back(controllers::read_node_term(*preference));
          ask.node_preferred.back().weight = small(find(item, "weight"), 0);
        }
    read_pod_terms(find(*affinity, "podAffinity"), ask, ask.affinity, ask.preferred_affinity);
    read_pod_terms(find(*affinity, "podAntiAffinity"), ask, ask.anti_affinity, ask.preferred_anti_affinity);
  }
  for (const json::value& item : base::list_at(*spec, "topologySpreadConstraints"))
    ask.spread.push_back(read_spread(item, ask.labels));
  for (const char* list : {"initContainers", "containers"})
    for (const json::value& container : base::list_at(*spec, list)) {
      // Of init containers only those that stay hold their ports.
      const bool stays = list[0] == 'c' || string_at(container, "restartPolicy") == "Always";
      if (list[0] == 'c') ask.images.push_back(image_name(string_at(container, "image")));
      for (const json::value& port : base::list_at(container, "ports")) {
        const int host_port = small(find(port, "hostPort"), 0);
        if (!host_port || !stays) continue;
        std::string_view protocol = string_at(port, "protocol");
        ask.host_ports.push_back({std::string(string_at(port, "hostIP")),
                                  std::string(protocol.empty() ? "TCP" : protocol), host_port});
      }
    }
  if (auto volumes = controllers::read_pod_volumes(pod)) {
    ask.claims = volumes->claims;
    for (const auto& volume : volumes->ephemeral)
      ask.ephemeral_claims.insert(
          controllers::ephemeral_claim(string_at(pod, "metadata", "name"), volume.volume));
  }
  return ask;
}

}  // namespace master::scheduler
