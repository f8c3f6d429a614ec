// The part of the launch plan that builds what the container sees: root, mounts, cgroup mounts.
#include <fmt/format.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>

#include <algorithm>

#include "runtime/launch/mounts.h"
#include "runtime/launch/plan.h"

namespace runtime {
namespace {
using Steps = std::vector<Step>;

// The maps of an idmapped bind: its own, or those of the container's user namespace.
base::Status plan_id_map(const Config& config, const LaunchFacts& facts, const Mount& mount, Step& step) {
  auto refuse = [&](const char* why) {
    return base::make_error(base::Kind::kInvalid, "read", mount.field, why);
  };
  bool own = !mount.uid_mappings.empty();
  if (!own && !(step.z & kIdMapped)) return {};
  if (!facts.privileged) return refuse("id-mapped mounts need privileges on the host");
  const Namespace* user = config.find_namespace(CLONE_NEWUSER);
  if (!own && !user) return refuse("'idmap' without mappings needs a user namespace");
  step.z |= kIdMapped | kSourceFromParent;
  if (!own && !user->path.empty()) step.list = {"", "", user->path};  // the joined namespace itself
  else
    step.list = {id_map_text(own ? mount.uid_mappings : config.uid_mappings),
                 id_map_text(own ? mount.gid_mappings : config.gid_mappings)};
  return {};
}

// A user namespace's binds are opened by the parent, before there is any mount: not those whose source
// lies in a mount of the same list.
bool is_made_before(const Config& config, const LaunchFacts& facts, const Mount& mount) {
  for (const Mount& earlier : config.mounts) {
    if (&earlier == &mount) return false;
    std::string place = facts.rootfs + clean_path(earlier.destination);
    if (mount.source == place || mount.source.starts_with(place + "/")) return true;
  }
  return false;
}

base::Status plan_cgroup_mount(const LaunchFacts& facts, const Mount& mount, const CgroupPlan& cgroup,
                               Steps& steps) {
  Mount plain = mount;
  if (facts.layout->pure_v2()) {
    plain.type = "cgroup2";
    plain.source = "cgroup";
    steps.push_back(TRY(plan_mount(plain)));
    return {};
  }
  plain.type = "tmpfs";
  Step step = TRY(plan_mount(plain));
  // In a cgroup namespace of its own a bind mount looks as a mount would (mountinfo shows "/" for the
  // namespace's root), and saves the kernel a superblock per hierarchy.
  step.op = Op::kCgroupBind;
  step.list.clear();
  step.x &= ~uint64_t{MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
  // Only hierarchies in which the container has a directory of its own: in the others it would see
  // everybody's.
  for (const CgroupLayout::Hierarchy& hierarchy : facts.layout->v1) {
    std::string directory = hierarchy.mount + facts.cgroup;
    if (std::find(cgroup.directories.begin(), cgroup.directories.end(), directory) ==
        cgroup.directories.end())
      continue;
    step.list.push_back(joined(hierarchy.controllers, ",") + "=" + directory);
  }
  if (!cgroup.unified.empty()) step.list.push_back("unified=" + cgroup.unified);
  steps.push_back(std::move(step));
  return {};
}

}  // namespace

base::Status plan_root(const Config& config, const LaunchFacts& facts, const CgroupPlan& cgroup,
                       Steps& steps) {
  uint64_t propagation = propagation_flags(config.rootfs_propagation);
  // An unbindable tree could not be bound: the root becomes so at the end.
  uint64_t host = propagation && !(propagation & MS_UNBINDABLE) ? propagation : MS_SLAVE | MS_REC;
  std::string where = facts.layers.empty() ? facts.rootfs : facts.work_dir + "/merged";
  const Namespace* user = config.find_namespace(CLONE_NEWUSER);
  bool in_user_namespace = user != nullptr;
  uint64_t from_parent = in_user_namespace && facts.privileged ? kSourceFromParent : 0;
  // Without a mount namespace all of this happens in the runtime's own: its mounts stay as they are.
  if (config.find_namespace(CLONE_NEWNS))
    steps.push_back({.op = Op::kPropagation, .a = in_user_namespace ? "/" : where, .x = host});
  if (facts.layers.empty()) {
    // Root of a user namespace may have no way to the directory: "/" is always in reach.
    steps.push_back(
        {.op = Op::kRootBind, .a = facts.rootfs, .z = from_parent | (in_user_namespace ? kOnSlash : 0)});
  } else {
    Step root{.op = Op::kRootOverlay, .b = where};
    root.list = facts.layers;
    root.list.push_back(facts.work_dir + "/upper");
    root.list.push_back(facts.work_dir + "/work");
    if (!facts.overlay_by_layer) {
      auto escaped = [](const std::string& path) {
        std::string out;
        for (char c : path) {
          if (c == ':' || c == ',' || c == '\\') out += '\\';
          out += c;
        }
        return out;
      };
      root.c = "lowerdir=";
      for (size_t i = facts.layers.size(); i-- > 0;) root.c += escaped(facts.layers[i]) + (i > 0 ? ":" : "");
      root.c +=
          ",upperdir=" + escaped(facts.work_dir + "/upper") + ",workdir=" + escaped(facts.work_dir + "/work");
      if (root.c.size() >= 4096)
        return base::make_error(
            base::Kind::kUnsupported, "mount overlay", where,
            fmt::format("{} layers need more than a page of options", facts.layers.size()),
            "use a kernel from 6.8 on");
    }
    steps.push_back(std::move(root));
  }
  for (const Mount& mount : config.mounts) {
    if (mount.type == "cgroup") {
      TRY(plan_cgroup_mount(facts, mount, cgroup, steps));
      continue;
    }
    Step step = TRY(plan_mount(mount, in_user_namespace));
    if (step.op == Op::kBind) {
      TRY(plan_id_map(config, facts, mount, step));
      if (from_parent && !(step.z & kSourceFromParent) && facts.layers.empty() &&
          is_made_before(config, facts, mount)) {
        step.a.erase(0, facts.rootfs.size());
        step.z |= kSourceInRoot;
      } else {
        step.z |= from_parent;
      }
    } else if (step.z & kIdMapped || !mount.uid_mappings.empty()) {
      return base::make_error(base::Kind::kUnsupported, "read", mount.field,
                              "id-mapped mounts must be bind mounts");
    }
    // Nodes and mounts are still to be made in it.
    if (step.op == Op::kMount && step.b == "/dev" && step.x & MOUNT_ATTR_RDONLY)
      step.x &= ~uint64_t{MOUNT_ATTR_RDONLY};
    if (step.op == Op::kMount && !config.mount_label.empty() && mount.type != "proc" && mount.type != "sysfs")
      step.list.push_back(config.extensions.mount_context + "=" + config.mount_label);
    steps.push_back(std::move(step));
  }
  return {};
}

}  // namespace runtime
