// Is a cgroup that is there before its container fit for it? Reads alone.
#include "base/sys.h"
#include "runtime/cgroup/cgroup.h"

namespace runtime {

namespace sys = base::sys;

base::Status check_cgroup_unused(const CgroupLayout& layout, const std::string& path) {
  const CgroupLayout::Hierarchy* freezer = layout.find("freezer");
  std::string directory = !layout.unified.empty() ? layout.unified + path
                          : freezer               ? freezer->mount + path
                                                  : "";
  if (directory.empty() || !sys::exists(directory)) return {};
  // runc's words, which its callers look for. A frozen one would hold the launch up for ever.
  if (cgroup_frozen(layout, path))
    return base::make_error(base::Kind::kConflict, "enter cgroup", directory,
                            "container's cgroup unexpectedly frozen", "thaw it");
  // Two in one: the limits would be of both together, and the end of one the end of the other.
  std::vector<pid_t> inside = cgroup_processes(layout, path);
  if (inside.empty()) return {};
  return base::make_error(
      base::Kind::kConflict, "enter cgroup", directory,
      "container's cgroup is not empty: " + std::to_string(inside.size()) + " process(es) found",
      "give linux.cgroupsPath of its own");
}

}  // namespace runtime
