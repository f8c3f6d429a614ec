// The recipe: from a container's config and what is known of the host to the ordered list of steps
// that make it. Pure: no I/O, no clock; prints as text, one step a line. tests/unit/runtime has
// golden ones.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/launch/step.h"
#include "runtime/spec/config.h"

namespace runtime {

// What the plan must know beyond the config.
struct LaunchFacts {
  const CgroupLayout* layout = nullptr;
  std::string cgroup = {};               // of the container
  std::string rootfs = {};               // absolute; bound onto itself, unless there are layers
  std::vector<std::string> layers = {};  // overlay, lowest first
  std::string work_dir = {};             // upper, work, merged
  bool overlay_by_layer = true;          // kernel 6.8: fsconfig lowerdir+
  bool wait_start = false;               // create: stop before execve until told
  bool privileged = true;                // we may clone mounts and write any id map
  bool deny_setgroups = false;           // an ordinary user writes gid_map itself
  bool uid_map_by_program = false, gid_map_by_program = false;  // newuidmap, newgidmap
  bool no_pivot = false;                                        // chroot instead: the root is a ramfs
  std::vector<std::string> bare_mounts = {"/proc",
                                          "/sys"};  // the host's procfs and sysfs, last mounted first
  bool filter_listener = false;                     // seccomp notify
  bool selinux = false;
  bool terminal_from_host = false;  // no devpts of its own: the pty comes from the host's
  int death_signal = 0;             // to the program when its parent dies
  int preserve_fds = 0;
  bool restrict_oom_score_adj = false;  // can't be lowered here: take what is possible
  int own_oom_score_adj = 0;
};

struct LaunchPlan {
  CgroupPlan cgroup;
  uint64_t clone_flags = 0;        // CLONE_NEW…
  std::string pid_namespace;       // to join; entered by the parent before clone
  std::string user_namespace;      // to join; entered by a process between us and the child
  bool through_container = false;  // exec: the same, into the container's user namespace
  std::vector<Step> parent_steps;  // done by us once the child exists; it waits (kWaitParent)
  std::vector<Step> steps;
  std::string text() const;
};

base::Result<LaunchPlan> plan_launch(const Config& config, const LaunchFacts& facts);

// A further process in a running container. `flags`: the namespaces in which it differs from us.
struct ExecFacts {
  std::vector<std::string> cgroup_directories;  // v1, where init is
  std::string cgroup_unified;
  uint64_t namespaces = 0;
  int preserve_fds = 0;
  int death_signal = 0;
  bool has_filter = false, filter_listener = false;
  bool keep_groups = false;
  std::optional<uint64_t> personality = {};
  bool restrict_oom_score_adj = false;
  int own_oom_score_adj = 0;
};
base::Result<LaunchPlan> plan_exec(const Process& process, const ExecFacts& facts);

// Parts of plan_launch.
base::Status plan_root(const Config& config, const LaunchFacts& facts, const CgroupPlan& cgroup,
                       std::vector<Step>& steps);
std::string id_map_text(const std::vector<IdMap>& maps);  // lines of uid_map
std::vector<std::string> program_candidates(const Process& process);

}  // namespace runtime
