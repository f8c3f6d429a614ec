#include "master/controllers/replica_plan.h"

#include <tuple>
#include <unordered_map>

namespace master::controllers {
using base::as_int;
using base::find;

std::string ReplicaPlan::text() const {
  std::string out;
  for (const std::string& name : adopt) out += fmt::format("adopt {}\n", name);
  for (const std::string& name : release) out += fmt::format("release {}\n", name);
  if (create) out += fmt::format("create {}\n", create);
  for (const std::string& name : remove) out += fmt::format("delete {}\n", name);
  out += fmt::format("status replicas={} fullyLabeled={} ready={} available={} observedGeneration={}\n",
                     status.replicas, status.fully_labeled, status.ready, status.available,
                     status.observed_generation);
  if (again)
    out +=
        fmt::format("again in {}ms\n", std::chrono::duration_cast<std::chrono::milliseconds>(*again).count());
  return out;
}

static int phase_rank(const Pod& pod) { return pod.phase == "Running" ? 2 : pod.phase == "Unknown" ? 1 : 0; }
bool goes_before(const Pod& a, int crowd_a, const Pod& b, int crowd_b) {
  if (a.node.empty() != b.node.empty()) return a.node.empty();
  if (phase_rank(a) != phase_rank(b)) return phase_rank(a) < phase_rank(b);
  if (a.ready != b.ready) return !a.ready;
  if (a.shape->deletion_cost != b.shape->deletion_cost)
    return a.shape->deletion_cost < b.shape->deletion_cost;
  if (crowd_a != crowd_b) return crowd_a > crowd_b;
  if (a.ready && a.ready_since != b.ready_since) return a.ready_since > b.ready_since;
  if (a.restarts != b.restarts) return a.restarts > b.restarts;
  if (a.meta.created != b.meta.created) return a.meta.created > b.meta.created;
  return a.meta.uid < b.meta.uid;
}

ReplicaPlan plan_replicas(const ReplicaOwner& owner, const std::vector<std::shared_ptr<const Pod>>& pods,
                          base::Time now) {
  ReplicaPlan plan;
  std::vector<const Pod*> mine;
  for (const auto& pod : pods) {
    if (!pod->active()) continue;
    const bool matches = owner.selector.matches(pod->shape->labels);
    if (pod->owner_uid == owner.meta.uid) {
      if (matches) mine.push_back(pod.get());
      else if (!owner.meta.deleting) plan.release.push_back(pod->meta.name);
    } else if (pod->owner_uid.empty() && matches && !owner.meta.deleting) {
      plan.adopt.push_back(pod->meta.name);
      mine.push_back(pod.get());
    }
  }
  const Labels wanted = read_labels(base::find_path(owner.pod_template, "metadata", "labels"));
  const base::Duration min_ready = std::chrono::seconds(owner.min_ready_seconds);
  for (const Pod* pod : mine) {
    ++plan.status.replicas;
    plan.status.fully_labeled +=
        std::includes(pod->shape->labels.begin(), pod->shape->labels.end(), wanted.begin(), wanted.end());
    if (!pod->ready) continue;
    ++plan.status.ready;
    const base::Duration left = pod->ready_since + min_ready - now;
    if (min_ready.count() == 0 || left.count() <= 0) ++plan.status.available;
    else plan.again = plan.again ? std::min(*plan.again, left) : left;
  }
  plan.status.observed_generation = owner.meta.generation;
  if (owner.meta.deleting) return plan;

  const int have = static_cast<int>(mine.size());
  if (have < owner.replicas) {
    plan.create = std::min(owner.replicas - have, kReplicaBurst);
  } else if (have > owner.replicas) {
    std::unordered_map<std::string_view, int> crowd;
    for (const Pod* pod : mine) ++crowd[pod->node];
    std::sort(mine.begin(), mine.end(), [&](const Pod* a, const Pod* b) {
      return goes_before(*a, crowd[a->node], *b, crowd[b->node]);
    });
    mine.resize(std::min(have - owner.replicas, kReplicaBurst));
    for (const Pod* pod : mine) plan.remove.push_back(pod->meta.name);
  }
  return plan;
}

ReplicaStatus read_replica_status(const json::value& status) {
  auto number = [&](const char* key) { return static_cast<int>(as_int(find(status, key))); };
  return {number("replicas"), number("fullyLabeledReplicas"), number("readyReplicas"),
          number("availableReplicas"), as_int(find(status, "observedGeneration"))};
}

json::object pod_from_template(const ReplicaOwner& owner) {
  json::object pod =
      pod_of_template(owner.pod_template, owner.meta.ns,
                      controller_reference(owner.api_version, owner.kind, owner.meta.name, owner.meta.uid));
  pod["metadata"].get_object()["generateName"] = owner.meta.name + "-";
  return pod;
}

}  // namespace master::controllers
