// How a bound claim gets what it asks for by now: of class provisioner sampan.io/local the volume's capacity
// is raised, its node's agent makes the data so large and says so (api/local_volumes.h), and the claim's
// status follows. Pure: one write a round. Conditions and words are those of external-resizer and the
// kubelet.
#pragma once

#include "base/clock.h"
#include "master/controllers/volume_writes.h"

namespace master::controllers {

VolumePlan plan_expansion(const Claim& claim, const Volume& volume, base::Time now);

}  // namespace master::controllers
