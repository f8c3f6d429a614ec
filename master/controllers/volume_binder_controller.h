// Binds PersistentVolumeClaims to PersistentVolumes, makes those of class provisioner sampan.io/local, and
// reclaims those whose claim is gone. Never touches data: a node agent does, when the volume is deleted.
#pragma once

#include <string>

#include "master/controllers/reconciler.h"
#include "master/controllers/volume_binder_plan.h"
#include "master/controllers/volume_writer.h"

namespace master::controllers {

class VolumeBinderController {
 public:
  explicit VolumeBinderController(Hub& hub);

 private:
  void claim_changed(const Claim* before, const Claim* after);
  void volume_changed(const Volume* before, const Volume* after);
  void class_changed(const std::shared_ptr<const StorageClass>& before,
                     const std::shared_ptr<const StorageClass>& after);
  void node_changed(const Node* before, const Node* after);
  void wake_claims(const std::string& term);
  void sync_claim(const std::string& key, Reconciler::Finish finish);
  void sync_volume(const std::string& key, Reconciler::Finish finish);
  bool node_is_gone(const Volume& volume) const;

  Hub& hub_;
  Hub::Account& account_;
  Store<Claim>& claims_;
  Store<Volume>& volumes_;
  Store<StorageClass>& classes_;
  Store<Node>& nodes_;
  Store<Pod>& pods_;
  VolumeWriter writer_;
  Reconciler claim_rounds_, volume_rounds_;
};

}  // namespace master::controllers
