// Which cgroup controllers the host offers, asked of libcgroup. In a library of its own: the daemons
// ask once at start; the programs that launch containers know their hierarchies from mountinfo and
// pay for no discovery (libcgroup's takes 0.7 ms, a container's whole start 2 ms).
#include <libcgroup.h>

#include "runtime/runtime.h"

namespace runtime {
namespace {

base::Error cgroup_error(int code, std::string what) {
  base::Kind kind =
      code == ECGROUPNOTMOUNTED || code == ECGROUPNOTEXIST ? base::Kind::kUnsupported : base::Kind::kInternal;
  return base::make_error(kind, std::move(what), "", cgroup_strerror(code),
                          kind == base::Kind::kUnsupported
                              ? "mount cgroup2 on /sys/fs/cgroup, or the v1 controllers below it"
                              : "");
}

}  // namespace

base::Result<std::map<std::string, std::string>> cgroup_controllers() {
  if (int code = cgroup_init(); code != 0) return cgroup_error(code, "look for cgroup controllers");
  std::map<std::string, std::string> found;
  void* handle = nullptr;
  controller_data info{};
  int code = cgroup_get_all_controller_begin(&handle, &info);
  for (; code == 0; code = cgroup_get_all_controller_next(&handle, &info)) {
    char* mounted = nullptr;
    if (info.enabled && cgroup_get_subsys_mount_point(info.name, &mounted) == 0 && mounted)
      found.emplace(info.name, mounted);
    ::free(mounted);
  }
  cgroup_get_all_controller_end(&handle);
  if (code != ECGEOF) return cgroup_error(code, "list cgroup controllers");
  return found;
}

base::Status require_cgroup_controllers(const std::vector<std::string>& wanted) {
  auto found = TRY(cgroup_controllers());
  std::string missing;
  for (const std::string& name : wanted)
    if (!found.count(name)) missing += (missing.empty() ? "" : ", ") + name;
  if (missing.empty()) return {};
  return base::make_error(
      base::Kind::kUnsupported, "look for cgroup controllers", missing,
      "not enabled or not mounted on this host",
      "boot with cgroup_enable=memory, enable them in cgroup.subtree_control, or mount them");
}

}  // namespace runtime
