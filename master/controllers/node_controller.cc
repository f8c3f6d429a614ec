#include "master/controllers/node_controller.h"

#include "base/log.h"

namespace master::controllers {
using namespace std::chrono_literals;
using base::as_string;

namespace {
constexpr size_t kPodsPerRound = 100;
bool has_no_execute(const Node& node) {
  for (const Taint& taint : node.taints)
    if (taint.effect == "NoExecute") return true;
  return false;
}
std::string ready_heartbeat(const Node& node) {
  const json::object* ready = find_condition(node.conditions, "Ready");
  if (!ready || as_string(ready->if_contains("status")) == "Unknown") return "";
  return std::string(as_string(ready->if_contains("lastHeartbeatTime")));
}
bool gone(const base::Result<json::value>& result) {
  return result.ok() || result.error().kind == base::Kind::kNotFound ||
         result.error().kind == base::Kind::kConflict;
}
}  // namespace

NodeController::NodeController(Hub& hub)
    : hub_(hub), nodes_(hub.follow<Node>(api::resources::nodes)),
      leases_(hub.follow<Lease>(api::resources::leases)), pods_(hub.follow<Pod>(api::resources::pods)),
      account_(hub.account("node-controller")),
      reconciler_(
          hub, {&nodes_, &leases_, &pods_},
          [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }) {
  nodes_.on_change([this](const auto& before, const auto& after) {
    const std::string name = (after ? after : before)->meta.name;
    if (after) {
      if (!after->pod_cidr.empty()) cidrs_[name] = after->pod_cidr;
      if (!before || ready_heartbeat(*before) != ready_heartbeat(*after))
        alive(name, "status " + ready_heartbeat(*after));
    } else {
      seen_.erase(name);
      emptied_.erase(name);
    }
    const std::string zone = after ? after->zone : "";
    if (auto at = zone_of_.find(name); at != zone_of_.end() && (!after || at->second != zone)) {
      zones_[at->second].nodes.erase(name);
      zone_of_.erase(at);
    }
    if (after && zone_of_.try_emplace(name, zone).second) zones_[zone].nodes.insert(name);
    const bool any_before = !ready_.empty();
    if (after && is_ready(*after)) ready_.insert(name);
    else ready_.erase(name);
    // Whether anybody may be evicted hangs on whether any node is ready.
    if (any_before != !ready_.empty())
      for (const auto& [other, node] : nodes_.all()) reconciler_.add(other);
    reconciler_.add(name);
  });
  leases_.on_change([this](const auto&, const auto& after) {
    if (after && after->meta.ns == "kube-node-lease") alive(after->meta.name, "lease " + after->renew_time);
    check_deadlines();
  });
  pods_.on_change([this](const auto& before, const auto& after) {
    if (!after || after->node.empty() || after->meta.deleting ||
        (before && before->node == after->node && before->shape == after->shape))
      return;
    auto node = nodes_.get(after->node);
    if (!node || has_no_execute(*node)) reconciler_.add(after->node);
  });
  hub_.on_synced([this] { check_deadlines(); });
}

void NodeController::alive(const std::string& node, const std::string& renewed) {
  Seen& seen = seen_[node];
  if (seen.renewed == renewed) return;
  const bool was_silent = seen.at != base::Steady{} && silent(node);
  seen = {renewed, base::steady_now()};
  if (was_silent) reconciler_.add(node);
}
bool NodeController::silent(const std::string& node) const {
  auto at = seen_.find(node);
  return at != seen_.end() && base::steady_now() - at->second.at >= hub_.options.node_grace;
}
// No node counts as ready, and there is more than nothing: a fault of the network or of the master.
bool NodeController::all_silent() const {
  for (const std::string& name : ready_)
    if (!silent(name)) return false;
  return true;
}

ZoneCounts NodeController::count(const std::string& name) {
  Zone& zone = zones_[name];
  const base::Steady now = base::steady_now();
  // Counting is a walk over the zone, and when much of it fails each of its nodes asks.
  if (zone.counted != base::Steady{} && now - zone.counted < 100ms) return zone.counts;
  zone.counted = now;
  zone.counts = {};
  for (const std::string& node : zone.nodes)
    ++(ready_.count(node) && !silent(node) ? zone.counts.ready : zone.counts.not_ready);
  return zone.counts;
}
bool NodeController::may_be_emptied(const Node& node) {
  const std::string& name = node.meta.name;
  if (is_ready(node) && !silent(name)) {
    emptied_.erase(name);
    return true;  // nothing will ask for it
  }
  if (all_silent()) return false;
  if (emptied_.count(name) || has_no_execute_of_ours(node)) return true;
  if (pods_.find(on_node(name)).empty()) return true;  // a node that just starts
  const auto interval = eviction_interval(count(node.zone), false);
  Zone& zone = zones_[node.zone];
  const base::Steady now = base::steady_now();
  if (!interval || (zone.last_emptied != base::Steady{} && now < zone.last_emptied + *interval)) {
    reconciler_.add_after(name, interval ? zone.last_emptied + *interval - now : base::Duration(10s));
    return false;
  }
  zone.last_emptied = now;
  emptied_.insert(name);
  return true;
}

// One timer for the next deadline among all nodes; renewals move deadlines without touching it.
void NodeController::check_deadlines() {
  if (!reconciler_.ready()) return;
  const base::Steady now = base::steady_now();
  if (timer_.active() && now < next_check_) return;
  base::Steady next = now + hub_.options.node_grace;
  for (const auto& [name, node] : nodes_.all()) {
    auto at = seen_.find(name);
    if (at == seen_.end()) continue;
    const base::Steady deadline = at->second.at + hub_.options.node_grace;
    if (deadline > now) {
      next = std::min(next, deadline);
      continue;
    }
    const json::object* ready = find_condition(node->conditions, "Ready");
    if (!ready || as_string(ready->if_contains("status")) != "Unknown") reconciler_.add(name);
  }
  next_check_ = next;
  timer_ = hub_.loop.after(next - now + 10ms, [this] { check_deadlines(); });
}

std::string NodeController::reserve_cidr(const Node& node) {
  if (!node.pod_cidr.empty() || hub_.options.cluster_cidr.empty()) return {};
  std::string& cidr = cidrs_[node.meta.name];
  if (cidr.empty()) {
    // A node that is gone keeps its range while Pods bear addresses of it: its agent may come back with them.
    std::erase_if(cidrs_, [&](const auto& one) {
      return one.first != node.meta.name && !nodes_.get(one.first) && pods_.find(on_node(one.first)).empty();
    });
    std::set<std::string> used;
    for (const auto& [name, taken] : cidrs_) used.insert(taken);
    cidr = allocate_cidr(hub_.options.cluster_cidr, hub_.options.node_mask_size, used);
  }
  if (cidr.empty())
    account_.events.record(
        {"v1", "Node", "", node.meta.name, node.meta.uid}, "Warning", "CIDRNotAvailable",
        fmt::format("Node {} status is now: CIDRNotAvailable: {} has no free /{} left", node.meta.name,
                    hub_.options.cluster_cidr, hub_.options.node_mask_size),
        "cidrAllocator");
  return cidr;
}

void NodeController::sync(const std::string& name, Reconciler::Finish finish) {
  auto node = nodes_.get(name);
  if (!node) return finish(Reconciler::Outcome::kDone);
  seen_.try_emplace(name, Seen{"", base::steady_now()});
  NodePlan plan = plan_node(*node, silent(name), may_be_emptied(*node), reserve_cidr(*node), hub_.now());
  if (base::log::enabled(base::log::Level::kDebug)) base::log::debug("Node {}: {}", name, plan.text());
  publish(name, *node, plan, [this, name, node, plan, finish](base::Status status) {
    if (!status.ok()) {
      if (status.error().kind != base::Kind::kConflict)
        base::log::warning("Node {}: {}", name, status.error().message());
      return finish(Reconciler::Outcome::kRetry);
    }
    if (plan.went_silent)
      base::log::warning("Node {}: no sign of life for {} s", name,
                         std::chrono::duration_cast<std::chrono::seconds>(hub_.options.node_grace).count());
    evict(name, *node, finish);
  });
}

void NodeController::publish(const std::string& name, const Node& node, const NodePlan& plan,
                             std::function<void(base::Status)> done) {
  auto written = [this, name](std::function<void(base::Status)> step_done) {
    return [this, name, step_done](base::Result<json::value> result) {
      if (!result.ok()) return step_done(result.error());
      reconciler_.gate.wrote(name, nodes_, revision_of(*result), hub_.now());
      step_done({});
    };
  };
  std::vector<Step> steps;
  if (plan.conditions)
    steps.push_back([this, name, conditions = *plan.conditions, written](auto step_done) {
      account_.client.patch(api::resources::nodes, "", name, "strategic-merge",
                            json::object{{"status", {{"conditions", conditions}}}}, written(step_done),
                            "status");
    });
  if (plan.went_silent) {
    account_.events.record({"v1", "Node", "", name, node.meta.uid}, "Normal", "NodeNotReady",
                           fmt::format("Node {} status is now: NodeNotReady", name), "node-controller");
    for (const auto& pod : pods_.find(on_node(name)))
      if (pod->ready) steps.push_back(unready(pod));
  }
  json::object spec;
  if (plan.taints) {
    json::array taints;
    for (const Taint& taint : *plan.taints) {
      json::object out{{"key", taint.key}, {"effect", taint.effect}};
      if (!taint.value.empty()) out["value"] = taint.value;
      if (!taint.time_added.empty()) out["timeAdded"] = taint.time_added;
      taints.push_back(std::move(out));
    }
    spec["taints"] = taints.empty() ? json::value() : json::value(std::move(taints));
  }
  if (!plan.pod_cidr.empty()) {
    spec["podCIDR"] = plan.pod_cidr;
    spec["podCIDRs"] = json::array{plan.pod_cidr};
  }
  all(std::move(steps),
      [this, name, uid = node.meta.uid, spec = std::move(spec), written, done](base::Status status) {
        if (!status.ok() || spec.empty()) return done(status);
        account_.client.patch(api::resources::nodes, "", name, "merge",
                              json::object{{"metadata", {{"uid", uid}}}, {"spec", spec}}, written(done));
      });
}

Step NodeController::unready(std::shared_ptr<const Pod> pod) {
  return [this, pod](auto done) {
    json::object condition{{"type", "Ready"},
                           {"status", "False"},
                           {"reason", "NodeNotReady"},
                           {"lastTransitionTime", base::format_time(hub_.now())}};
    account_.events.record({"v1", "Pod", pod->meta.ns, pod->meta.name, pod->meta.uid}, "Warning",
                           "NodeNotReady", "Node is not ready", "node-controller");
    account_.client.patch(
        api::resources::pods, pod->meta.ns, pod->meta.name, "strategic-merge",
        json::object{{"metadata", {{"uid", pod->meta.uid}}},
                     {"status", {{"conditions", json::array{std::move(condition)}}}}},
        [done](base::Result<json::value> result) {
          done(gone(result) ? base::Status() : base::Status(result.error()));
        },
        "status");
  };
}

Step NodeController::remove_pod(std::shared_ptr<const Pod> pod) {
  return [this, pod](auto done) {
    account_.client.remove(api::resources::pods, pod->meta.ns, pod->meta.name,
                           json::object{{"preconditions", {{"uid", pod->meta.uid}}}},
                           [done](base::Result<json::value> result) {
                             done(gone(result) ? base::Status() : base::Status(result.error()));
                           });
  };
}

void NodeController::evict(const std::string& name, const Node& node, Reconciler::Finish finish) {
  if (!has_no_execute(node)) return finish(Reconciler::Outcome::kDone);
  const base::Time now = hub_.now();
  std::vector<Step> steps;
  std::optional<base::Time> next;
  for (const auto& pod : pods_.find(on_node(name))) {
    if (!pod->active()) continue;
    auto when = eviction_time(pod->shape->tolerations, node.taints, now);
    if (!when) continue;
    if (*when > now) {
      next = next ? std::min(*next, *when) : *when;
      continue;
    }
    if (steps.size() >= kPodsPerRound) {
      next = now;
      break;
    }
    account_.events.record(
        {"v1", "Pod", pod->meta.ns, pod->meta.name, pod->meta.uid}, "Normal", "TaintManagerEviction",
        fmt::format("Marking for deletion Pod {}", pod->meta.key()), "taint-eviction-controller");
    steps.push_back(remove_pod(pod));
  }
  if (next) reconciler_.add_after(name, std::max<base::Duration>(*next - now, 10ms));
  all(std::move(steps), [name, finish](base::Status status) {
    if (!status.ok()) base::log::warning("evict from {}: {}", name, status.error().message());
    finish(status.ok() ? Reconciler::Outcome::kDone : Reconciler::Outcome::kRetry);
  });
}

}  // namespace master::controllers
