// The PersistentVolume for a claim of a class of sampan.io/local: a value. Where its data lies is the node
// agent's to make, so nothing outside the API is touched here, and a crash leaves nothing behind.
#pragma once

#include "master/controllers/volume_binder_plan.h"

namespace master::controllers {

// What mkfs.ext4 makes, and what one file of ext4 holds.
api::Quantity max_local_size();

// What the claim with a class and without a volume waits for: its provisioner's annotation, the volume
// itself, or somebody else, which an Event says.
VolumePlan plan_provision(const ClaimView& view);

}  // namespace master::controllers
