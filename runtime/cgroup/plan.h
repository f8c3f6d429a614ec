// What to make and write for one cgroup, v1 and v2: pure. A container gets its own directory only in the
// hierarchies that limit, count, freeze or kill it.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/cgroup/layout.h"
#include "runtime/spec/config.h"

namespace runtime {

struct CgroupAction {
  enum class Kind { kMakeDirectory, kWrite, kDeviceFilter } kind;
  std::string path, value;
  bool cpuset = false;  // kMakeDirectory: inherit cpus and mems on the way down
  std::string text() const;
};
struct CgroupPlan {
  std::vector<CgroupAction> actions;
  std::vector<std::string> directories;  // v1, of the container; processes enter all of them
  std::string unified;                   // v2 directory; processes are cloned into it
  std::vector<DeviceRule> device_rules;  // what kDeviceFilter compiles
};
// `path` is absolute within each hierarchy. `delegate`: a Pod's, parent of the containers' (v2
// controllers are switched on below it and it holds no process). Devices are denied by default
// in a container's and untouched in a Pod's.
base::Result<CgroupPlan> plan_cgroup(const CgroupLayout& layout, const std::string& path,
                                     const Resources& resources, bool delegate);
// On [1, 10000] what v1's shares are on [2, 262144] (KEP-2254).
uint64_t cpu_weight(uint64_t shares);
// For `update`: the writes, and before them what they need. `systemd`: which made the directory.
base::Result<CgroupPlan> plan_cgroup_update(const CgroupLayout& layout, const std::string& path,
                                            const Resources& resources, bool systemd);

}  // namespace runtime
