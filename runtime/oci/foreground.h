// Staying with a container until it ends: signals go to it, its terminal to ours. Owns the state
// of our own terminal, which it puts back whatever happens.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "runtime/launch/launch.h"
#include "runtime/oci/notify.h"

namespace runtime {

// Blocks the signals that will be forwarded; call before the launch, so that none is lost.
base::Result<base::UniqueFd> block_signals();

// Until the process ends: its exit code (128 + signal). `terminal` (a pty's master) may be invalid. `notify`:
// what the container says there is passed on meanwhile, as ours.
base::Result<int> stay(const Launched& launched, int signals, base::UniqueFd terminal,
                       NotifySocket* notify = nullptr);

}  // namespace runtime
