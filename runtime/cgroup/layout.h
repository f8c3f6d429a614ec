// Which hierarchies of control groups this host has, and where: v2, v1, or the hybrid of both. Reads
// alone.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace runtime {

struct CgroupLayout {
  struct Hierarchy {
    std::string mount;                     // "/sys/fs/cgroup/cpu"
    std::vector<std::string> controllers;  // {"cpu"}, {"cpu", "cpuacct"}, {"name=systemd"}
  };
  std::vector<Hierarchy> v1;
  std::string unified;         // mount point of cgroup2; empty: none
  bool device_control = true;  // we may say who uses which device
  bool systemd = false;        // systemd makes the directory; those above are its own

  bool pure_v2() const { return v1.empty() && !unified.empty(); }
  const char* mode() const { return v1.empty() ? "v2" : unified.empty() ? "v1" : "hybrid"; }
  const Hierarchy* find(std::string_view controller) const;
};
CgroupLayout parse_cgroup_layout(std::string_view mountinfo);  // text of /proc/self/mountinfo
// Where a host usually has the hierarchies that /proc/self/cgroup tells of: a guess to be verified.
CgroupLayout usual_cgroup_layout(std::string_view self_cgroup);
base::Result<const CgroupLayout*> cgroup_layout();  // of this host, read once

}  // namespace runtime
