// Which Pods nobody else will end. Pure. Rules and words are those of kube-controller-manager's
// pod-garbage-collector: finished Pods above a threshold, Pods of nodes that are gone, Pods that were deleted
// before they had a node, and deleted Pods of nodes that somebody declared out of service.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "master/controllers/nodes.h"
#include "master/controllers/objects.h"

namespace master::controllers {

// A finished Pod in the order in which it goes: evicted ones first, then the oldest.
struct FinishedPod {
  bool not_evicted;
  base::Time created;
  std::string key;
  auto operator<=>(const FinishedPod&) const = default;
};
// Keys of those above `threshold`, at most `limit`.
std::vector<std::string> surplus_pods(const std::set<FinishedPod>& finished, size_t threshold, size_t limit);

struct PodVerdict {
  enum class What {
    kStays,
    kFails,
    kGoes
  } what = What::kStays;   // kGoes: failed if need be, then removed by force
  std::string disruption;  // message of its condition DisruptionTarget; empty: none
};
// `node`: of the Pod, null: not in the cache. `node_is_gone`: the API server has said so.
PodVerdict judge_pod(const Pod& pod, const Node* node, bool node_is_gone);

// Declared by an administrator of a node that is shut down (KEP-2268), and believed when it is not ready.
bool is_out_of_service(const Node& node);

}  // namespace master::controllers
