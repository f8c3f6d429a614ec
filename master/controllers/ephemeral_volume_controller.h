// Makes the claims of Pods' ephemeral volumes; each is its Pod's, so it goes with it. Decides one thing:
// whether a claim with the right name is the Pod's.
#pragma once

#include <string>

#include "master/controllers/reconciler.h"
#include "master/controllers/volumes.h"

namespace master::controllers {

json::object claim_of_pod(const Pod& pod, const PodVolumes::Ephemeral& volume);
bool is_claim_of(const Claim& claim, const Pod& pod);

class EphemeralVolumeController {
 public:
  explicit EphemeralVolumeController(Hub& hub);

 private:
  void sync(const std::string& key, Reconciler::Finish finish);
  Step make(const std::string& key, std::shared_ptr<const Pod> pod, const PodVolumes::Ephemeral& volume);

  Hub& hub_;
  Hub::Account& account_;
  Store<Pod>& pods_;
  Store<Claim>& claims_;
  Reconciler reconciler_;
};

}  // namespace master::controllers
