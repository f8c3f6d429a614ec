// Keeps claims while a Pod on a node uses them, and volumes while they are bound: both carry a finalizer,
// which admission gives and this controller gives to those that lack it. Never deletes anything.
#pragma once

#include <string>

#include "master/controllers/reconciler.h"
#include "master/controllers/volume_writer.h"

namespace master::controllers {

// Whether a Pod keeps this claim: it was given to a node (a kubelet starts no Pod whose claim is on its way
// out), however it ended there.
bool keeps_claims(const Pod& pod);
VolumePlan plan_claim_protection(const Claim& claim, bool in_use);
VolumePlan plan_volume_protection(const Volume& volume);

class VolumeProtectionController {
 public:
  explicit VolumeProtectionController(Hub& hub);

 private:
  void sync_claim(const std::string& key, Reconciler::Finish finish);
  void sync_volume(const std::string& key, Reconciler::Finish finish);

  Hub& hub_;
  Hub::Account &claim_account_, &volume_account_;
  Store<Claim>& claims_;
  Store<Volume>& volumes_;
  Store<Pod>& pods_;
  VolumeWriter claim_writer_, volume_writer_;
  Reconciler claim_rounds_, volume_rounds_;
};

}  // namespace master::controllers
