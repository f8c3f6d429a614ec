// From a bundle and the command line to all that create, run and restore know before they act: the
// config, the state to be written, the launch plan, and systemd's scope if the cgroup is one. Reads,
// and asks systemd whether a name is free; changes nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "runtime/cgroup/systemd.h"
#include "runtime/launch/plan.h"
#include "runtime/oci/commands.h"
#include "runtime/spec/config.h"

namespace runtime {

// With --systemd-cgroup: where the container goes, and who is asked to make it.
struct Scope {
  Systemd systemd;
  SystemdScope names;
};
struct NewContainer {
  OciState state;
  Config config;
  std::string config_text;               // as it was read
  std::unique_ptr<CgroupLayout> layout;  // what is ours of the host's
  LaunchPlan plan;
  std::optional<Scope> scope;
};
// Where the procfs and sysfs of this text of /proc/self/mountinfo are, last mounted first.
std::vector<std::string> find_bare_mounts(std::string_view mountinfo);
base::Result<NewContainer> plan_container(const OciContext& context, bool wait_start);

// Asks systemd for the scope, if there is one. The holder lives in it until the first process does.
base::Result<ScopeHolder> start_scope(NewContainer& container);

}  // namespace runtime
