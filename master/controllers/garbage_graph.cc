#include "master/controllers/garbage_graph.h"

#include <algorithm>
#include <utility>

namespace master::controllers {

static std::string place(const api::Resource& resource, const std::string& key) {
  return resource.group + "/" + resource.plural + "/" + key;
}

std::vector<std::string> GarbageGraph::set(GraphNode node) {
  const std::string uid = node.uid, at = place(*node.resource, key_of(node.ns, node.name));
  std::vector<std::string> look;
  std::string& known = uid_by_key_[at];
  if (!known.empty() && known != uid) look = remove(*node.resource, key_of(node.ns, node.name));
  uid_by_key_[at] = uid;
  auto old = nodes_.find(uid);
  std::set<std::string> before, after;
  if (old != nodes_.end())
    for (const OwnerRef& owner : old->second.owners) before.insert(owner.uid);
  for (const OwnerRef& owner : node.owners) after.insert(owner.uid);
  for (const std::string& owner : before)
    if (!after.count(owner)) {
      auto bucket = dependents_.find(owner);
      if (bucket == dependents_.end()) continue;
      bucket->second.erase(uid);
      if (bucket->second.empty()) dependents_.erase(bucket);
      if (auto waiting = nodes_.find(owner); waiting != nodes_.end() && waiting->second.deleting)
        look.push_back(owner);
    }
  for (const std::string& owner : after) dependents_[owner].insert(uid);
  absent_.erase(uid);
  const bool fresh = old == nodes_.end();
  const bool ends = node.deleting && (node.foreground || node.orphan);
  // Without an owner there is nothing to check, and most objects have none or a living one.
  bool unsure = !fresh && before != after;
  for (const OwnerRef& owner : node.owners) unsure |= fresh && !nodes_.count(owner.uid);
  if (ends || unsure) look.push_back(uid);
  // An owner deleted in the foreground asks us to go first.
  for (const OwnerRef& owner : node.owners)
    if (auto parent = nodes_.find(owner.uid);
        parent != nodes_.end() && parent->second.deleting && parent->second.foreground)
      look.push_back(owner.uid);
  nodes_[uid] = std::move(node);
  return look;
}

std::vector<std::string> GarbageGraph::remove(const api::Resource& resource, const std::string& key) {
  auto known = uid_by_key_.find(place(resource, key));
  if (known == uid_by_key_.end()) return {};
  const std::string uid = known->second;
  uid_by_key_.erase(known);
  auto at = nodes_.find(uid);
  if (at == nodes_.end()) return {};
  std::vector<std::string> look = dependents(uid);  // theirs to be collected
  for (const OwnerRef& owner : at->second.owners) {
    if (auto bucket = dependents_.find(owner.uid); bucket != dependents_.end()) {
      bucket->second.erase(uid);
      if (bucket->second.empty()) dependents_.erase(bucket);
    }
    if (auto parent = nodes_.find(owner.uid); parent != nodes_.end() && parent->second.deleting)
      look.push_back(owner.uid);
  }
  nodes_.erase(at);
  mark_absent(uid);  // we saw it go
  return look;
}

void GarbageGraph::forget(const api::Resource& resource) {
  const std::string prefix = place(resource, "");
  for (auto at = uid_by_key_.begin(); at != uid_by_key_.end();) {
    if (!at->first.starts_with(prefix)) {
      ++at;
      continue;
    }
    if (auto node = nodes_.find(at->second); node != nodes_.end()) {
      for (const OwnerRef& owner : node->second.owners)
        if (auto bucket = dependents_.find(owner.uid); bucket != dependents_.end()) {
          bucket->second.erase(at->second);
          if (bucket->second.empty()) dependents_.erase(bucket);
        }
      nodes_.erase(node);
    }
    at = uid_by_key_.erase(at);
  }
}

std::vector<std::string> GarbageGraph::forget_present() {
  std::vector<std::string> look;
  for (const std::string& uid : std::exchange(present_, {}))
    for (std::string& dependent : dependents(uid)) look.push_back(std::move(dependent));
  return look;
}

void GarbageGraph::mark_absent(const std::string& uid) {
  // uids never come back; only those that somebody still names are worth remembering.
  if (absent_.size() > 100000)
    std::erase_if(absent_, [this](const std::string& u) { return !dependents_.count(u); });
  if (absent_.size() > 200000) absent_.clear();
  absent_.insert(uid);
  present_.erase(uid);
}

const GraphNode* GarbageGraph::find(const std::string& uid) const {
  auto at = nodes_.find(uid);
  return at == nodes_.end() ? nullptr : &at->second;
}
std::vector<std::string> GarbageGraph::dependents(const std::string& uid) const {
  auto at = dependents_.find(uid);
  if (at == dependents_.end()) return {};
  std::vector<std::string> out(at->second.begin(), at->second.end());
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> GarbageGraph::blocking(const std::string& uid) const {
  std::vector<std::string> out;
  auto at = dependents_.find(uid);
  if (at == dependents_.end()) return out;
  for (const std::string& dependent : at->second)
    for (const OwnerRef& owner : nodes_.at(dependent).owners)
      if (owner.uid == uid && owner.block && dependent != uid) {
        out.push_back(dependent);
        break;
      }
  return out;
}

// Owners in a circle that all are deleted in the foreground would wait for each other for ever: who waits,
// over whatever others, for nobody but those that wait for it does not wait.
bool GarbageGraph::waits_for_others(const std::string& uid) const {
  auto waits = [this](const std::string& of) {
    const GraphNode& node = nodes_.at(of);
    return node.deleting && node.foreground;
  };
  std::vector<std::string> open{uid};
  std::map<std::string, std::vector<std::string>> waited_for_by;  // backwards
  std::unordered_set<std::string> seen{uid};
  while (!open.empty()) {
    const std::string at = std::move(open.back());
    open.pop_back();
    for (std::string& dependent : blocking(at)) {
      if (!waits(dependent)) return true;  // it will go, and until then it is in the way
      waited_for_by[dependent].push_back(at);
      if (seen.insert(dependent).second) open.push_back(dependent);
    }
  }
  // Everybody reached waits in turn: those from whom `uid` can be reached are in its circle.
  std::unordered_set<std::string> circle{uid};
  open.push_back(uid);
  while (!open.empty()) {
    const std::string at = std::move(open.back());
    open.pop_back();
    auto from = waited_for_by.find(at);
    if (from == waited_for_by.end()) continue;
    for (const std::string& waiter : from->second)
      if (circle.insert(waiter).second) open.push_back(waiter);
  }
  for (const std::string& one : seen)
    if (!circle.count(one)) return true;
  return false;
}

GarbageAction GarbageGraph::plan(const std::string& uid) const {
  using Kind = GarbageAction::Kind;
  GarbageAction action;
  const GraphNode* node = find(uid);
  if (!node) return action;
  if (node->deleting && node->orphan) {
    action.dependents = dependents(uid);
    action.kind = action.dependents.empty() ? Kind::kDropFinalizer : Kind::kOrphanDependents;
    action.finalizer = kOrphan;
    return action;
  }
  if (node->deleting && node->foreground) {
    action.dependents = dependents(uid);
    if (!waits_for_others(uid)) {
      action.kind = Kind::kDropFinalizer;
      action.finalizer = kForeground;
    }
    return action;
  }
  if (node->deleting || node->owners.empty()) return action;
  bool solid = false, waiting = false;
  for (const OwnerRef& owner : node->owners) {
    const GraphNode* parent = find(owner.uid);
    if (parent && parent->deleting && parent->foreground) {
      waiting = true;
      action.strip.push_back(owner.uid);
    } else if (parent || present_.count(owner.uid)) {
      // A namespaced owner owns within its namespace only; elsewhere the name means nothing.
      if (parent && parent->resource->namespaced && parent->ns != node->ns) action.strip.push_back(owner.uid);
      else solid = true;
    } else if (absent_.count(owner.uid)) {
      action.strip.push_back(owner.uid);
    } else {
      action.ask.push_back(owner);
    }
  }
  if (!action.ask.empty()) {
    action.kind = Kind::kAskOwners;
    return action;
  }
  if (solid) {
    action.kind = action.strip.empty() ? Kind::kNothing : Kind::kStripOwners;
    return action;
  }
  action.strip.clear();
  action.kind = Kind::kDelete;
  // In a foreground deletion the dependents of dependents go before them, too.
  action.policy = node->orphan                                              ? "Orphan"
                  : node->foreground || (waiting && dependents_.count(uid)) ? "Foreground"
                                                                            : "Background";
  return action;
}

std::string GarbageAction::text() const {
  auto list = [](const auto& items) {
    std::string out;
    for (const auto& item : items) out += " " + item;
    return out;
  };
  switch (kind) {
    case Kind::kNothing: return dependents.empty() ? "nothing" : "wait for" + list(dependents);
    case Kind::kAskOwners: {
      std::string out = "ask for";
      for (const OwnerRef& owner : ask) out += fmt::format(" {}/{}", owner.kind, owner.name);
      return out;
    }
    case Kind::kDelete: return "delete " + policy;
    case Kind::kStripOwners: return "strip" + list(strip);
    case Kind::kDropFinalizer: return "drop finalizer " + finalizer;
    case Kind::kOrphanDependents: return "orphan" + list(dependents);
  }
  return "";
}

}  // namespace master::controllers
