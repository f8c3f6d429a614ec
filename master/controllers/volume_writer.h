// Carries out what a plan of volumes asks for: one write, bound to the revision that was judged, its Events,
// and the gate of the round that asked. Decides nothing. Single-threaded; all references outlive this.
#pragma once

#include "master/controllers/reconciler.h"
#include "master/controllers/volume_writes.h"

namespace master::controllers {

class VolumeWriter {
 public:
  VolumeWriter(Hub& hub, Hub::Account& account, Store<Claim>& claims, Store<Volume>& volumes)
      : hub_(hub), account_(account), claims_(claims), volumes_(volumes) {}

  // Ends the round of `key`. Events are about `about`.
  void carry_out(Reconciler& reconciler, const std::string& key, const ObjectRef& about, VolumePlan plan,
                 Reconciler::Finish finish);

 private:
  void send(const VolumeWrite& write, api::Client::Done done);
  Hub& hub_;
  Hub::Account& account_;
  Store<Claim>& claims_;
  Store<Volume>& volumes_;
};

ObjectRef ref_of(const Claim& claim);
ObjectRef ref_of(const Volume& volume);

}  // namespace master::controllers
