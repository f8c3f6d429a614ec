// What a kubelet that starts makes of a Pod that may have been here before: of its record, of what the API
// remembers when a reboot took that, and of what its sampan-pod says. Pure.
#pragma once

#include <string>
#include <vector>

#include "api/types.h"
#include "kubelet/pod/observed.h"
#include "runtime/runtime.h"

namespace kubelet {

// Before anything was looked at. With a record that knows of a sampan-pod, that one is to be found.
PodObserved seen_at_start(const api::Pod& pod, std::optional<PodObserved> record, Time now);

// What its sampan-pod, found running, says of the containers, and what is done about it.
struct Adoption {
  enum class Kind {
    kRuns,
    kExited,
    kVanished,   // it ran, and was removed behind us
    kNotBegun,   // its start was intended, and never asked for
    kRemoved,    // which was not noted any more
    kOldRemoved  // of the attempt before
  } kind;
  std::string container;
  int attempt = 0;
  runtime::ContainerState state = {};  // of kRuns, kExited, kVanished
  std::string text() const;            // "web attempt 0 runs"
};
std::vector<Adoption> plan_adoption(const api::Pod& pod, const PodObserved& seen,
                                    const std::vector<runtime::ContainerState>& states, Time now);

}  // namespace kubelet
