#include "master/scheduler/picture.h"

#include <algorithm>

#include "api/local_volumes.h"
#include "api/quantity.h"
#include "base/json_lists.h"

namespace master::scheduler {
using base::as_bool;
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

Node read_node(const json::value& in) {
  Node node;
  node.name = string_at(in, "metadata", "name");
  node.labels = controllers::read_labels(find_path(in, "metadata", "labels"));
  node.taints = controllers::read_taints(find_path(in, "spec", "taints"));
  node.unschedulable = as_bool(find_path(in, "spec", "unschedulable"));
  node.has_local_volumes =
      !string_at(in, "metadata", "annotations", api::local_volumes::kDirectoryAnnotation).empty();
  const json::value* allocatable = find_path(in, "status", "allocatable");
  if (!allocatable) allocatable = find_path(in, "status", "capacity");
  node.allocatable = read_resources(allocatable);
  std::string_view pods = allocatable ? string_at(*allocatable, "pods") : std::string_view();
  node.max_pods = pods.empty() ? 0 : api::bytes_of(pods);
  for (const json::value& image : base::list_at(find_path(in, "status", "images"))) {
    const int64_t bytes = std::clamp<int64_t>(as_int(find(image, "sizeBytes")), 0, int64_t{1} << 50);
    for (const json::value& name : base::list_at(image, "names"))
      node.images.try_emplace(std::string(as_string(&name)), bytes);
  }
  return node;
}
void Node::count(const Ask& ask, int sign) {
  used.add(ask.requests, sign);
  score_used.add(ask.score_requests, sign);
  pods += sign;
  for (const HostPort& port : ask.host_ports) {
    if (sign > 0) {
      host_ports.push_back(port);
      continue;
    }
    if (auto at = std::find(host_ports.begin(), host_ports.end(), port); at != host_ports.end())
      host_ports.erase(at);
  }
}

Budget read_budget(const json::value& object) {
  Budget budget;
  budget.ns = string_at(object, "metadata", "namespace");
  auto selector = api::selector_of_json(find_path(object, "spec", "selector"));
  // As kube-scheduler: an empty selector means nobody here.
  if (selector.ok() && !selector->everything()) budget.pods = *selector;
  else budget.pods.nothing = true;
  budget.allowed = static_cast<int>(
      std::clamp<int64_t>(as_int(find_path(object, "status", "disruptionsAllowed")), 0, 1 << 30));
  for (const auto& item : base::map_at(find_path(object, "status", "disruptedPods")))
    budget.disrupted.emplace(item.key());
  return budget;
}

void Picture::see_images(const Node& node, int sign) {
  for (const auto& [name, bytes] : node.images) {
    auto at = images_.try_emplace(name, 0).first;
    if ((at->second += sign) <= 0) images_.erase(at);
  }
}
uint32_t Picture::set_node(Node in) {
  auto at = nodes_.find(in.name);
  if (at == nodes_.end()) {
    if (free_slots_.empty()) in.slot = next_slot_++;
    else in.slot = free_slots_.back(), free_slots_.pop_back();
    const std::string name = in.name;
    Node& node = nodes_.emplace(name, std::move(in)).first->second;
    order_known_ = false;
    ++version_;
    see_images(node, 1);
    index_.enter(node);
    if (auto waiting = homeless_.find(name); waiting != homeless_.end()) {
      // Pods may be known before their node is.
      const std::set<std::string> keys = std::move(waiting->second);
      homeless_.erase(waiting);
      for (const std::string& key : keys) {
        const Placed& pod = placed_.at(key);
        node.here.push_back(&pod);
        node.count(*pod.ask, 1);
        index_.count(*pod.kind, node.slot, pod.terminating, 1);
      }
    }
    return Change::kNodeAdded;
  }
  Node& node = at->second;
  const bool local_volumes = node.has_local_volumes != in.has_local_volumes;
  const bool labels = node.labels != in.labels, taints = node.taints != in.taints,
             unschedulable = node.unschedulable != in.unschedulable;
  uint32_t what = (labels ? Change::kNodeLabels : 0u) | (taints || unschedulable ? Change::kNodeTaints : 0u);
  if (local_volumes) what |= Change::kVolumes;
  if (node.allocatable != in.allocatable || node.max_pods != in.max_pods) what |= Change::kNodeAllocatable;
  const bool images = node.images != in.images;
  version_ += what || images;
  if (images) {
    see_images(node, -1);
    node.images = std::move(in.images);
    see_images(node, 1);
  }
  node.unschedulable = in.unschedulable;
  node.has_local_volumes = in.has_local_volumes;
  node.allocatable = std::move(in.allocatable);
  node.max_pods = in.max_pods;
  if (labels || taints) {
    for (const Placed* pod : node.here) index_.count(*pod->kind, node.slot, pod->terminating, -1);
    index_.leave(node);
    node.labels = std::move(in.labels);
    node.taints = std::move(in.taints);
    index_.enter(node);
    for (const Placed* pod : node.here) index_.count(*pod->kind, node.slot, pod->terminating, 1);
    order_known_ = false;
  }
  return what;
}
void Picture::remove_node(const std::string& name) {
  auto at = nodes_.find(name);
  if (at == nodes_.end()) return;
  ++version_;
  Node& node = at->second;
  for (const Placed* pod : node.here) {
    index_.count(*pod->kind, node.slot, pod->terminating, -1);
    homeless_[name].insert(pod->key);
  }
  index_.leave(node);
  see_images(node, -1);
  free_slots_.push_back(node.slot);
  nodes_.erase(at);
  order_known_ = false;
}
void Picture::count_claims(const Ask& ask, int sign) {
  for (const std::string& claim : ask.claims) volumes_.count_user(controllers::key_of(ask.ns, claim), sign);
}
void Picture::place(const std::string& key, Placed in) {
  remove(key);
  ++version_;
  in.key = key;
  in.kind = &index_.kind(in.ask);
  in.ask = in.kind->ask;
  Placed& pod = placed_.insert_or_assign(key, std::move(in)).first->second;
  count_claims(*pod.ask, 1);
  auto at = nodes_.find(pod.node);
  if (at == nodes_.end()) {
    homeless_[pod.node].insert(key);
    return;
  }
  at->second.here.push_back(&pod);
  at->second.count(*pod.ask, 1);
  index_.count(*pod.kind, at->second.slot, pod.terminating, 1);
}
void Picture::remove(const std::string& key) {
  auto at = placed_.find(key);
  if (at == placed_.end()) return;
  ++version_;
  const Placed& pod = at->second;
  count_claims(*pod.ask, -1);
  if (auto node = nodes_.find(pod.node); node != nodes_.end()) {
    std::vector<const Placed*>& here = node->second.here;
    here.erase(std::find(here.begin(), here.end(), &pod));
    node->second.count(*pod.ask, -1);
    index_.count(*pod.kind, node->second.slot, pod.terminating, -1);
  } else if (auto waiting = homeless_.find(pod.node); waiting != homeless_.end()) {
    waiting->second.erase(key);
    if (waiting->second.empty()) homeless_.erase(waiting);
  }
  placed_.erase(at);
}
void Picture::nominate(const std::string& pod, Nominated nominated) {
  if (const Nominated* known = this->nominated(pod);
      known && known->ask == nominated.ask && known->node == nominated.node)
    return;
  denominate(pod);
  ++version_;
  nominations_[pod] = nominated.node;
  const std::string node = nominated.node;
  nominated_[node][pod] = std::move(nominated);
}
void Picture::denominate(const std::string& pod) {
  auto at = nominations_.find(pod);
  if (at == nominations_.end()) return;
  ++version_;
  auto there = nominated_.find(at->second);
  there->second.erase(pod);
  if (there->second.empty()) nominated_.erase(there);
  nominations_.erase(at);
}

void Picture::set_budget(const std::string& key, Budget budget) {
  ++version_;
  budgets_[key] = std::move(budget);
}
void Picture::remove_budget(const std::string& key) {
  ++version_;
  budgets_.erase(key);
}

const Node* Picture::node(const std::string& name) const {
  auto at = nodes_.find(name);
  return at == nodes_.end() ? nullptr : &at->second;
}
const Placed* Picture::placed(const std::string& pod) const {
  auto at = placed_.find(pod);
  return at == placed_.end() ? nullptr : &at->second;
}
const Nominated* Picture::nominated(const std::string& pod) const {
  auto at = nominations_.find(pod);
  return at == nominations_.end() ? nullptr : &nominated_.at(at->second).at(pod);
}
const std::map<std::string, Nominated>* Picture::nominated_for(const std::string& node) const {
  if (nominated_.empty()) return nullptr;
  auto at = nominated_.find(node);
  return at == nominated_.end() ? nullptr : &at->second;
}
const std::vector<const Node*>& Picture::order() const {
  if (order_known_) return order_;
  std::map<std::string, std::vector<const Node*>> zones;
  for (const auto& [name, node] : nodes_) {
    const std::string* region = node.label("topology.kubernetes.io/region");
    const std::string* zone = node.label("topology.kubernetes.io/zone");
    zones[(region ? *region : "") + "\x1f" + (zone ? *zone : "")].push_back(&node);
  }
  order_.clear();
  for (size_t i = 0; order_.size() < nodes_.size(); ++i)
    for (const auto& [zone, list] : zones)
      if (i < list.size()) order_.push_back(list[i]);
  order_known_ = true;
  return order_;
}
int Picture::nodes_with_image(const std::string& name) const {
  auto at = images_.find(name);
  return at == images_.end() ? 0 : at->second;
}

}  // namespace master::scheduler
