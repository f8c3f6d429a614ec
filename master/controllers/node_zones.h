// How fast nodes that do not answer may be emptied (taint NoExecute). Pure. When much of a zone fails at once
// the fault is more likely the network's than the nodes', and moving every Pod would make it worse: rules and
// figures are those of kube-controller-manager's node-lifecycle-controller (--node-eviction-rate 0.1,
// --secondary-node-eviction-rate 0.01, --unhealthy-zone-threshold 0.55, --large-cluster-size-threshold 50).
#pragma once

#include <cstddef>
#include <optional>

#include "base/clock.h"

namespace master::controllers {

struct ZoneCounts {
  size_t ready = 0, not_ready = 0;
};
// Between two nodes of a zone; nothing: none may be emptied for now. `all_failed`: no zone has a ready node.
std::optional<base::Duration> eviction_interval(const ZoneCounts& zone, bool all_failed);

}  // namespace master::controllers
