// Control groups of one container or Pod on cgroup v2, v1 and the hybrid of both: what to make and
// write as a plan (pure), and doing it. A container gets its own directory only in the hierarchies
// that limit, count, freeze or kill it. Never touches a cgroup outside the path it was given, but
// for switching on v2 controllers on the way down.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/oci.h"

namespace runtime {

struct CgroupLayout {
  struct Hierarchy {
    std::string mount;                     // "/sys/fs/cgroup/cpu"
    std::vector<std::string> controllers;  // {"cpu"}, {"cpu", "cpuacct"}, {"name=systemd"}
  };
  std::vector<Hierarchy> v1;
  std::string unified;                     // mount point of cgroup2; empty: none
  bool device_control = true;              // we may say who uses which device
  bool systemd = false;                    // systemd makes the directory; those above are its own

  bool pure_v2() const { return v1.empty() && !unified.empty(); }
  const char* mode() const { return v1.empty() ? "v2" : unified.empty() ? "v1" : "hybrid"; }
  const Hierarchy* find(std::string_view controller) const;
};
CgroupLayout parse_cgroup_layout(std::string_view mountinfo);  // text of /proc/self/mountinfo
// Where a host usually has the hierarchies that /proc/self/cgroup tells of: a guess to be verified.
CgroupLayout usual_cgroup_layout(std::string_view self_cgroup);
base::Result<const CgroupLayout*> cgroup_layout();             // of this host, read once

struct CgroupAction {
  enum class Kind { kMakeDirectory, kWrite, kDeviceFilter } kind;
  std::string path, value;
  bool cpuset = false;                     // kMakeDirectory: inherit cpus and mems on the way down
  std::string text() const;
};
struct CgroupPlan {
  std::vector<CgroupAction> actions;
  std::vector<std::string> directories;    // v1, of the container; processes enter all of them
  std::string unified;                     // v2 directory; processes are cloned into it
  std::vector<DeviceRule> device_rules;    // what kDeviceFilter compiles
};
// `path` is absolute within each hierarchy. `delegate`: a Pod's, parent of the containers' (v2
// controllers are switched on below it and it holds no process). Devices are denied by default
// in a container's and untouched in a Pod's.
base::Result<CgroupPlan> plan_cgroup(const CgroupLayout& layout, const std::string& path,
                                     const Resources& resources, bool delegate);
// On [1, 10000] what v1's shares are on [2, 262144] (KEP-2254).
uint64_t cpu_weight(uint64_t shares);
// Of a cgroup about to be a container's: kConflict if it is frozen or others live in it already.
base::Status check_cgroup_unused(const CgroupLayout& layout, const std::string& path);
// For `update`: the writes, and before them what they need. `systemd`: which made the directory.
base::Result<CgroupPlan> plan_cgroup_update(const CgroupLayout& layout, const std::string& path,
                                            const Resources& resources, bool systemd);
base::Status act_cgroup(const CgroupPlan& plan);

// The v1 directories of `path` that exist.
std::vector<std::string> cgroup_directories(const CgroupLayout& layout, const std::string& path);
// Every process in it and below, whatever hierarchy it is in. remove_cgroup kills first, and waits
// for the dead; absent is fine.
std::vector<pid_t> cgroup_processes(const CgroupLayout& layout, const std::string& path);
base::Status signal_cgroup(const CgroupLayout& layout, const std::string& path, int signal);
base::Status freeze_cgroup(const CgroupLayout& layout, const std::string& path, bool frozen);
bool cgroup_frozen(const CgroupLayout& layout, const std::string& path);
base::Status remove_cgroup(const CgroupLayout& layout, const std::string& path);

struct CgroupUsage {
  uint64_t cpu_ns = 0, memory_bytes = 0, memory_working_set_bytes = 0, pids = 0;
};
CgroupUsage cgroup_usage(const CgroupLayout& layout, const std::string& path);
uint64_t cgroup_oom_kills(const CgroupLayout& layout, const std::string& path);

// v2: a BPF program that allows what the rules allow, attached to the directory.
base::Status attach_device_filter(const std::string& directory, const std::vector<DeviceRule>& rules);

}  // namespace runtime
