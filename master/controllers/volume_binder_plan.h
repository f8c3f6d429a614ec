// Which volume a claim gets, what becomes of a volume whose claim is gone. Pure: one write a round. Rules and
// words are those of kube-controller-manager's persistent-volume-binder; a binding is first written to the
// volume (spec.claimRef), then to the claim (spec.volumeName), so whoever has both has it alone.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "master/controllers/nodes.h"
#include "master/controllers/volume_writes.h"

namespace master::controllers {

struct ClaimView {
  std::shared_ptr<const Claim> claim;
  // What could be its volume: those that name it, those that are nobody's, and that which it names (found by
  // name whatever else it is; null: there is none).
  std::vector<std::shared_ptr<const Volume>> volumes;
  std::shared_ptr<const Volume> named;
  std::shared_ptr<const StorageClass> storage_class;  // that it names
  std::shared_ptr<const StorageClass> by_default;
  std::vector<std::string> waiting_pods;  // Pods without a node that use it
  std::string consumer_node;              // of a Pod that uses it and has one; empty: none has
  std::vector<std::shared_ptr<const Node>> nodes;
  std::map<std::string, int> volumes_on;  // how many volumes of ours a node has, by name
  base::Time now{};
};
VolumePlan plan_claim(const ClaimView& view);

struct VolumeView {
  std::shared_ptr<const Volume> volume;
  std::shared_ptr<const Claim> claim;  // that has the name in its claimRef
  // A claim that is not in a cache may be on its way to it: nothing is given up before the API server has
  // said that there is none with the uid.
  bool claim_is_gone = false;
  bool node_is_gone = false;  // the node that has its data
  base::Time now{};
};
// Whether claim_is_gone makes a difference.
bool needs_proof(const VolumeView& view);
VolumePlan plan_volume(const VolumeView& view);

}  // namespace master::controllers
