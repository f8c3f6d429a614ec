#include "runtime/oci_rootless.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/sys.h"
#include "runtime/launch_parent.h"
#include "runtime/systemd_cgroup.h"

namespace runtime {
namespace {

namespace sys = base::sys;

// Of the nearest directory that exists, at `path` or above, below `mount`.
bool can_make(const std::string& mount, std::string path) {
  for (;;) {
    std::string directory = mount + path;
    if (sys::exists(directory)) return ::access(directory.c_str(), W_OK) == 0;
    size_t slash = path.rfind('/');
    if (slash == std::string::npos) return false;
    path.resize(slash);
  }
}
// Our place in the unified hierarchy.
std::string own_cgroup() {
  auto text = sys::read_file("/proc/self/cgroup");
  if (!text.ok()) return "/";
  size_t at = text->starts_with("0::") ? 0 : text->find("\n0::");
  if (at == std::string::npos) return "/";
  at = text->find("::", at) + 2;
  return text->substr(at, text->find('\n', at) - at);
}
// cgroups(7): a move needs write access to cgroup.procs of the common ancestor.
bool can_move_to(const std::string& mount, const std::string& path) {
  std::string own = own_cgroup();
  size_t common = 0;
  for (size_t i = 0;; ++i) {
    bool own_ends = i >= own.size() || own[i] == '/', path_ends = i >= path.size() || path[i] == '/';
    if (own_ends && path_ends) common = i;
    if (i >= own.size() || i >= path.size() || own[i] != path[i]) break;
  }
  return ::access((mount + path.substr(0, common) + "/cgroup.procs").c_str(), W_OK) == 0;
}

}  // namespace

bool rootless() { return ::geteuid() != 0; }

std::string default_state_root() {
  const char* directory = ::getenv("XDG_RUNTIME_DIR");
  bool given = directory && *directory;
  // Root of a user namespace that somebody made (podman, say) is an ordinary user to /run.
  if (!rootless() && (systemd_is_ours() || !given)) return "/run/sampan-oci";
  if (given) return std::string(directory) + "/sampan-oci";
  return "/run/user/" + std::to_string(::geteuid()) + "/sampan-oci";
}

std::string default_cgroup(const CgroupLayout& layout, const std::string& id) {
  if (!rootless() || !layout.pure_v2()) return "/" + id;
  std::string own = own_cgroup();
  return (own == "/" ? "" : own) + "/" + id;
}

CgroupLayout delegated_cgroups(const CgroupLayout& layout, const std::string& path) {
  CgroupLayout out;
  out.device_control = false;
  for (const CgroupLayout::Hierarchy& hierarchy : layout.v1)
    if (can_make(hierarchy.mount, path)) out.v1.push_back(hierarchy);
  if (!layout.unified.empty() && can_make(layout.unified, path) && can_move_to(layout.unified, path))
    out.unified = layout.unified;
  return out;
}

void set_identity_facts(const Config& config, LaunchFacts& facts) {
  if (!rootless()) return;
  facts.privileged = false;
  facts.uid_map_by_program = !can_write_id_map(config.uid_mappings, ::geteuid());
  facts.gid_map_by_program = !can_write_id_map(config.gid_mappings, ::getegid());
  facts.deny_setgroups = !facts.gid_map_by_program;
}

}  // namespace runtime
