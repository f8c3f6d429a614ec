// What a ReplicationController or ReplicaSet does next, given the Pods it may claim. Pure: time
// comes in as a value. Prints as one line per action.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/controllers/workloads.h"

namespace master::controllers {

constexpr int kReplicaBurst = 500;  // creates or deletes in one round, as in Kubernetes

struct ReplicaStatus {
  int replicas = 0, fully_labeled = 0, ready = 0, available = 0;
  int64_t observed_generation = 0;
  bool operator==(const ReplicaStatus&) const = default;
};
struct ReplicaPlan {
  std::vector<std::string> adopt, release;  // Pod names
  int create = 0;
  std::vector<std::string> remove;  // Pod names, worst first
  ReplicaStatus status;
  std::optional<base::Duration> again;  // when a Pod becomes available by age
  std::string text() const;
};
// `pods`: those whose controller is `owner`, and those of its namespace without a controller.
ReplicaPlan plan_replicas(const ReplicaOwner& owner, const std::vector<std::shared_ptr<const Pod>>& pods,
                          base::Time now);
// Kubernetes' order of who goes first when there are too many: unassigned, pending, not ready,
// lower deletion cost, crowded node, shorter ready, more restarts, younger.
bool goes_before(const Pod& a, int crowd_a, const Pod& b, int crowd_b);
ReplicaStatus read_replica_status(const json::value& status);
// The body of the Pod to create.
json::object pod_from_template(const ReplicaOwner& owner);

}  // namespace master::controllers
