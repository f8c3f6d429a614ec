// What a launch does for its child from outside: things that need the host's privileges or paths,
// which a child in a user namespace lacks. Steps of LaunchPlan::parent_steps, and the sources of
// mounts opened before clone. Single-threaded programs alone.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/launch/plan.h"

namespace runtime {

// One of parent_steps, on the child `pid`, which waits.
base::Status do_parent_step(const Step& step, pid_t pid);

// What the child's {step, errno} means, as a sentence.
base::Error step_error(const Step& step, int error);
std::string signal_text(int signal);  // "signal: killed (9)"

// A detached tree for each kSourceFromParent of the steps, in order; id maps applied.
base::Result<std::vector<base::UniqueFd>> open_sources(const std::vector<Step>& steps);

// Whether an ordinary user may write this map itself (user_namespaces(7)): only its own id, alone.
// Everything else goes through newuidmap and newgidmap. True for root.
bool can_write_id_map(const std::vector<IdMap>& maps, uint32_t own_id);

// Moves a network device of ours into a namespace under a new name ("%d": the kernel numbers it),
// keeps its global permanent addresses and sets it up. On failure it may be left in either.
base::Status move_net_device(const std::string& host_name, const std::string& name, int network_namespace);

}  // namespace runtime
