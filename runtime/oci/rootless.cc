#include "runtime/oci/rootless.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/number.h"
#include "base/sys.h"
#include "runtime/cgroup/systemd.h"
#include "runtime/launch/parent.h"

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

std::string user_name(uid_t uid) {
  if (uid == 0) return "root";
  // Without getpwuid, which is not for static programs.
  auto text = sys::read_file("/etc/passwd");
  std::string_view rest = text.ok() ? std::string_view(*text) : "";
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    size_t name = line.find(':');
    size_t number = name == std::string_view::npos ? name : line.find(':', name + 1);
    if (number != std::string_view::npos && line.substr(number + 1).starts_with(std::to_string(uid) + ":"))
      return std::string(line.substr(0, name));
  }
  return "";
}

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

std::vector<IdMap> default_id_map(std::string_view table, std::string_view name, uint32_t inside,
                                  uint32_t own) {
  uint32_t first = 0, size = 0;
  while (!table.empty()) {
    std::string_view line = table.substr(0, table.find('\n'));
    table.remove_prefix(std::min(table.size(), line.size() + 1));
    // name:first:size; the first line of that name counts.
    if (name.empty() || !line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ':')
      continue;
    line.remove_prefix(name.size() + 1);
    size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    first = base::parse_id(line.substr(0, colon)).value_or(0);
    size = base::parse_id(line.substr(colon + 1)).value_or(0);
    if (first == 0) size = 0;
    break;
  }
  if (size == 0) return {{0, own, 1}};
  std::vector<IdMap> out;
  const uint32_t below = std::min(inside, size);
  if (below) out.push_back({0, first, below});
  out.push_back({inside, own, 1});
  if (size > below) out.push_back({inside + 1, first + below, size - below});
  return out;
}

base::Status fill_id_maps(Config& config) {
  const Namespace* user = config.find_namespace(CLONE_NEWUSER);
  if (!user || !user->path.empty() || !config.process) return {};
  const std::string name = user_name(::geteuid());
  auto table = [](const char* path) { return sys::read_file(path).value_or(""); };
  if (config.uid_mappings.empty())
    config.uid_mappings = default_id_map(table("/etc/subuid"), name, config.process->uid, ::geteuid());
  if (config.gid_mappings.empty())
    config.gid_mappings = default_id_map(table("/etc/subgid"), name, config.process->gid, ::getegid());
  return {};
}

void set_identity_facts(const Config& config, LaunchFacts& facts) {
  if (!rootless()) return;
  facts.privileged = false;
  facts.uid_map_by_program = !can_write_id_map(config.uid_mappings, ::geteuid());
  facts.gid_map_by_program = !can_write_id_map(config.gid_mappings, ::getegid());
  facts.deny_setgroups = !facts.gid_map_by_program;
}

}  // namespace runtime
