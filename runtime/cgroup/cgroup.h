// Control groups of one container or Pod on cgroup v2, v1 and the hybrid of both: doing what was planned
// (cgroup_plan.h) on what the host has (cgroup_layout.h), freezing, killing, removing, counting. Never
// touches a cgroup outside the path it was given, but for switching on v2 controllers on the way down.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/cgroup/layout.h"
#include "runtime/cgroup/plan.h"
#include "runtime/spec/config.h"

namespace runtime {

// Of a cgroup about to be a container's: kConflict if it is frozen or others live in it already.
base::Status check_cgroup_unused(const CgroupLayout& layout, const std::string& path);
base::Status act_cgroup(const CgroupPlan& plan);

// The v1 directories of `path` that exist.
std::vector<std::string> cgroup_directories(const CgroupLayout& layout, const std::string& path);
// Every process in it and below, whatever hierarchy it is in. remove_cgroup kills first, and waits
// for the dead; absent is fine.
std::vector<pid_t> cgroup_processes(const CgroupLayout& layout, const std::string& path);
base::Status signal_cgroup(const CgroupLayout& layout, const std::string& path, int signal);
base::Status freeze_cgroup(const CgroupLayout& layout, const std::string& path, bool frozen);
bool cgroup_frozen(const CgroupLayout& layout, const std::string& path);
// `reap`: called again and again while it waits. Who is the parent of processes in it collects its dead
// there: the first process of a pid namespace ends only after every other one in it was waited for.
base::Status remove_cgroup(const CgroupLayout& layout, const std::string& path,
                           const std::function<void()>& reap = {});

struct CgroupUsage {
  uint64_t cpu_ns = 0, memory_bytes = 0, memory_working_set_bytes = 0, pids = 0;
};
CgroupUsage cgroup_usage(const CgroupLayout& layout, const std::string& path);
uint64_t cgroup_oom_kills(const CgroupLayout& layout, const std::string& path);

// v2: a BPF program that allows what the rules allow, attached to the directory.
base::Status attach_device_filter(const std::string& directory, const std::vector<DeviceRule>& rules);

}  // namespace runtime
