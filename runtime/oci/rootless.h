// Running as an ordinary user: which cgroups are ours to use, where the state lives, who writes the
// id maps. For root all of it is a no-op.
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/launch/plan.h"

namespace runtime {

bool rootless();  // effective uid is not 0

std::string user_name(uid_t uid);  // by the host's /etc/passwd; "": it has none

// $XDG_RUNTIME_DIR/sampan-oci, or /run/user/UID/sampan-oci; for root /run/sampan-oci.
std::string default_state_root();

// The hierarchies in which `path` can be made and entered by us, without devices (v1 gives no such
// rights away, v2 needs CAP_BPF). None: the container stays in our cgroup, and a limit is an error.
CgroupLayout delegated_cgroups(const CgroupLayout& layout, const std::string& path);
// Below our own cgroup, where a session manager delegates.
std::string default_cgroup(const CgroupLayout& layout, const std::string& id);

// A new user namespace without maps: as crun, process.user is us, and the ranges of our name in /etc/subuid
// and /etc/subgid are whoever else there is.
base::Status fill_id_maps(Config& config);

// Facts of the launch that depend on who we are.
void set_identity_facts(const Config& config, LaunchFacts& facts);

}  // namespace runtime
