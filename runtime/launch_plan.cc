#include "runtime/launch_plan.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "runtime/capabilities.h"
#include "runtime/devices.h"
#include "runtime/mounts.h"

namespace runtime {
namespace {

struct FlagName {
  uint64_t flag;
  const char* name;
};
constexpr FlagName kNamespaceNames[] = {
    {CLONE_NEWUSER, "user"}, {CLONE_NEWPID, "pid"}, {CLONE_NEWNS, "mount"}, {CLONE_NEWNET, "network"},
    {CLONE_NEWIPC, "ipc"},   {CLONE_NEWUTS, "uts"}, {CLONE_NEWCGROUP, "cgroup"}};
std::string namespace_text(uint64_t flags) {
  std::string out;
  for (const FlagName& row : kNamespaceNames)
    if (flags & row.flag) out += (out.empty() ? "" : ",") + std::string(row.name);
  return out;
}
std::string capability_text(uint64_t set) {
  std::string out;
  for (int i = 0; i < 64; ++i)
    if (set & (uint64_t{1} << i)) out += (out.empty() ? "" : ",") + capability_name(i).substr(4);
  return out.empty() ? "none" : out;
}
std::string joined(const std::vector<std::string>& list, const char* separator) {
  std::string out;
  for (const std::string& item : list) out += (out.empty() ? "" : separator) + item;
  return out;
}
std::string words(std::initializer_list<std::string> parts) {
  std::string out;
  for (const std::string& part : parts)
    if (!part.empty()) out += (out.empty() ? "" : " ") + part;
  return out;
}

}  // namespace

std::string Step::text() const {
  switch (op) {
    case Op::kJoinNamespace: return fmt::format("join {} {}", namespace_text(x), a);
    case Op::kJoinContainer: return fmt::format("join-container {}", namespace_text(x));
    case Op::kWaitMaps: return "wait-maps";
    case Op::kCommit: return "commit";
    case Op::kEnterCgroup: return "enter-cgroup";
    case Op::kUnshareCgroup: return "unshare cgroup";
    case Op::kSession: return "session";
    case Op::kPropagation: return "propagation / " + propagation_name(x);
    case Op::kRootOverlay:
      return fmt::format("root overlay {} on {}", joined(list, ":"), b);
    case Op::kRootBind: return "root bind " + a;
    case Op::kMount:
      return words({"mount", a, "on", b, attributes_text(x), propagation_name(w), joined(list, ",")});
    case Op::kBind:
      return words({z & kBindRecursive ? "bind-tree" : "bind", a, "on", b, attributes_text(x),
                    propagation_name(w), z & kBindRecursiveAttributes ? "recursively" : ""});
    case Op::kCgroupBind: return words({"bind cgroup on", b, attributes_text(x), joined(list, " ")});
    case Op::kMakeDirectory: return "make-directory " + b;
    case Op::kNode:
      return fmt::format("node {} {} {}:{} {:o}{}", b, S_ISCHR(x) ? 'c' : S_ISBLK(x) ? 'b' : 'p',
                         major(y), minor(y), x & 07777,
                         z ? fmt::format(" {}:{}", z >> 32, static_cast<uint32_t>(z)) : "");
    case Op::kSymlink: return fmt::format("symlink {} -> {}", b, a);
    case Op::kConsole: return words({"console", b});
    case Op::kSysctl: return fmt::format("sysctl {}={}", a, b);
    case Op::kHostname: return "hostname " + a;
    case Op::kDomainname: return "domainname " + a;
    case Op::kMask: return "mask " + b;
    case Op::kReadonlyPath: return "read-only " + b;
    case Op::kRootReadonly: return "root read-only";
    case Op::kRootPropagation: return "root propagation " + propagation_name(x);
    case Op::kPivot: return "pivot-root";
    case Op::kHooks: return "hooks " + a;
    case Op::kHookState: return "hook-state";
    case Op::kHook: return fmt::format("hook {} {}", b, a);
    case Op::kStdio: return "stdio";
    case Op::kRlimit: return fmt::format("rlimit {} {}:{}", x, y, z);
    case Op::kOomScoreAdj: return "oom-score-adj " + a;
    case Op::kLabel: return fmt::format("label {} {}", a, b);
    case Op::kUmask: return fmt::format("umask {:o}", x);
    case Op::kDropBounding: return "capabilities bounding " + capability_text(x);
    case Op::kSeccomp: return "seccomp";
    case Op::kUser: {
      std::string out = fmt::format("user {}:{}", x, y);
      for (size_t i = 0; i < gids.size(); ++i)
        out += fmt::format("{}{}", i == 0 ? " groups " : ",", gids[i]);
      return out;
    }
    case Op::kCapabilities:
      return fmt::format("capabilities effective {} permitted {} inheritable {}", capability_text(x),
                         capability_text(y), capability_text(z));
    case Op::kAmbient: return "capabilities ambient " + capability_text(x);
    case Op::kNoNewPrivileges: return "no-new-privileges";
    case Op::kWorkingDirectory: return "working-directory " + a;
    case Op::kFindProgram: return "find " + a;
    case Op::kDeathSignal: return fmt::format("death-signal {}", x);
    case Op::kWaitStart: return "wait-start";
    case Op::kCloseFds: return fmt::format("close-fds {}", x);
    case Op::kExec: return "exec " + a;
  }
  return {};
}

std::string LaunchPlan::text() const {
  std::string out;
  for (const CgroupAction& action : cgroup.actions) out += action.text() + "\n";
  out += words({"clone", namespace_text(clone_flags), cgroup.unified.empty() ? "" : "into " + cgroup.unified}) + "\n";
  for (const Step& step : steps) out += step.text() + "\n";
  return out;
}

std::vector<std::string> program_candidates(const Process& process) {
  const std::string& name = process.args.at(0);
  if (name.find('/') != std::string::npos) return {name};
  std::string path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const std::string& entry : process.env)
    if (entry.starts_with("PATH=")) path = entry.substr(5);
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = std::min(path.find(':', begin), path.size());
    std::string directory = path.substr(begin, end - begin);
    out.push_back((directory.empty() ? "." : directory) + "/" + name);
    begin = end + 1;
  }
  return out;
}

namespace {

using Steps = std::vector<Step>;

void plan_namespaces(const Config& config, LaunchPlan& plan) {
  for (const Namespace& ns : config.namespaces) {
    if (ns.path.empty()) {
      if (ns.flag != CLONE_NEWCGROUP) plan.clone_flags |= ns.flag;
    } else if (ns.flag == CLONE_NEWPID) {
      plan.pid_namespace = ns.path;
    } else {
      plan.steps.push_back({.op = Op::kJoinNamespace, .a = ns.path, .x = ns.flag});
    }
  }
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
  if (!cgroup.unified.empty())
    step.list.push_back("unified=" + cgroup.unified);
  steps.push_back(std::move(step));
  return {};
}

base::Status plan_root(const Config& config, const LaunchFacts& facts, const CgroupPlan& cgroup,
                       Steps& steps) {
  uint64_t propagation = propagation_flags(config.rootfs_propagation);
  uint64_t host = propagation ? propagation : MS_SLAVE | MS_REC;
  std::string where = facts.layers.empty() ? facts.rootfs : facts.work_dir + "/merged";
  steps.push_back({.op = Op::kPropagation, .a = where, .x = host});
  if (facts.layers.empty()) {
    steps.push_back({.op = Op::kRootBind, .a = facts.rootfs});
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
      for (size_t i = facts.layers.size(); i-- > 0;)
        root.c += escaped(facts.layers[i]) + (i > 0 ? ":" : "");
      root.c += ",upperdir=" + escaped(facts.work_dir + "/upper") + ",workdir=" + escaped(facts.work_dir + "/work");
      if (root.c.size() >= 4096)
        return base::make_error(base::Kind::kUnsupported, "mount overlay", where,
                                fmt::format("{} layers need more than a page of options", facts.layers.size()),
                                "use a kernel from 6.8 on");
    }
    steps.push_back(std::move(root));
  }
  for (const Mount& mount : config.mounts) {
    if (mount.type == "cgroup") TRY(plan_cgroup_mount(facts, mount, cgroup, steps));
    else steps.push_back(TRY(plan_mount(mount)));
  }
  return {};
}

std::string oom_score_text(int wanted, bool restrict, int own) {
  return std::to_string(restrict ? std::max(wanted, own) : wanted);
}

// From a made container to the user's program; the same for init and for exec.
void plan_program(const Process& p, bool has_filter, Steps& steps) {
  const Capabilities& c = p.capabilities;
  if (p.umask) steps.push_back({.op = Op::kUmask, .x = *p.umask});
  steps.push_back({.op = Op::kDropBounding, .x = c.bounding});
  // Without no_new_privs a filter takes CAP_SYS_ADMIN, which is about to go; with it the filter
  // comes last, so that it need not allow our own steps.
  if (has_filter && !p.no_new_privileges) steps.push_back({.op = Op::kSeccomp});
  steps.push_back({.op = Op::kUser, .x = p.uid, .y = p.gid, .gids = p.additional_gids});
  steps.push_back({.op = Op::kCapabilities, .x = c.effective, .y = c.permitted, .z = c.inheritable});
  steps.push_back({.op = Op::kAmbient, .x = c.ambient});
  if (p.no_new_privileges) steps.push_back({.op = Op::kNoNewPrivileges});
  steps.push_back({.op = Op::kWorkingDirectory, .a = p.cwd});
  steps.push_back({.op = Op::kFindProgram, .a = p.args[0], .list = program_candidates(p)});
}
void plan_limits(const Process& p, bool restrict, int own, Steps& steps) {
  if (p.oom_score_adj)
    steps.push_back({.op = Op::kOomScoreAdj, .a = oom_score_text(*p.oom_score_adj, restrict, own)});
  for (const Rlimit& limit : p.rlimits)
    steps.push_back({.op = Op::kRlimit, .x = static_cast<uint64_t>(limit.resource), .y = limit.soft,
                     .z = limit.hard});
  if (!p.apparmor_profile.empty())
    steps.push_back({.op = Op::kLabel, .a = "apparmor/exec", .b = "exec " + p.apparmor_profile});
  if (!p.selinux_label.empty())
    steps.push_back({.op = Op::kLabel, .a = "exec", .b = p.selinux_label});
}

}  // namespace

base::Result<LaunchPlan> plan_launch(const Config& config, const LaunchFacts& facts) {
  if (!config.process)
    return base::make_error(base::Kind::kInvalid, "read", "process", "is required");
  if (config.find_namespace(CLONE_NEWUSER))
    return base::make_error(base::Kind::kUnsupported, "read", "linux.namespaces",
                            "user namespaces are not supported yet", "remove 'user'");
  const Process& process = *config.process;
  LaunchPlan plan;
  plan.cgroup = TRY(plan_cgroup(*facts.layout, facts.cgroup, config.resources, false));
  Steps& steps = plan.steps;

  // 1. Where it runs.
  plan_namespaces(config, plan);
  if (!plan.cgroup.directories.empty()) steps.push_back({.op = Op::kEnterCgroup});
  const Namespace* cgroup_ns = config.find_namespace(CLONE_NEWCGROUP);
  // After entering: the namespace's root is where its maker is.
  if (cgroup_ns && cgroup_ns->path.empty()) steps.push_back({.op = Op::kUnshareCgroup});

  // 2. What it sees. All of this happens beneath the new root's fd while the host's root is still
  // ours: sources are the host's, targets are the container's.
  TRY(plan_root(config, facts, plan.cgroup, steps));
  plan_devices(config, steps);
  steps.push_back({.op = Op::kSession});
  if (process.terminal)
    steps.push_back({.op = Op::kConsole, .b = "/dev/console", .x = process.rows,
                     .y = process.columns, .z = process.uid});
  if (process.cwd != "/") steps.push_back({.op = Op::kMakeDirectory, .b = clean_path(process.cwd)});
  steps.push_back({.op = Op::kCommit});
  if (!config.hooks.prestart.empty()) steps.push_back({.op = Op::kHooks, .a = "prestart"});
  if (!config.hooks.create_runtime.empty()) steps.push_back({.op = Op::kHooks, .a = "createRuntime"});
  uint64_t hook_index = 1;
  if (!config.hooks.create_container.empty() || !config.hooks.start_container.empty())
    steps.push_back({.op = Op::kHookState});
  for (const Hook& hook : config.hooks.create_container)
    steps.push_back({.op = Op::kHook, .a = hook.path, .b = "createContainer", .x = hook_index++,
                     .timeout_s = hook.timeout_s});
  for (const auto& [key, value] : config.sysctl) {
    std::string path = key;
    std::replace(path.begin(), path.end(), '.', '/');
    steps.push_back({.op = Op::kSysctl, .a = path, .b = value});
  }
  for (const std::string& path : config.readonly_paths)
    steps.push_back({.op = Op::kReadonlyPath, .b = clean_path(path)});
  for (const std::string& path : config.masked_paths)
    steps.push_back({.op = Op::kMask, .b = clean_path(path)});
  if (config.root_readonly) steps.push_back({.op = Op::kRootReadonly});
  // x: the host shares our mounts, so that dropping its root must be kept from it.
  steps.push_back({.op = Op::kPivot, .x = config.rootfs_propagation.empty() ? 0u : 1u});
  if (uint64_t flags = propagation_flags(config.rootfs_propagation))
    steps.push_back({.op = Op::kRootPropagation, .x = flags});
  if (!config.hostname.empty()) steps.push_back({.op = Op::kHostname, .a = config.hostname});
  if (!config.domainname.empty()) steps.push_back({.op = Op::kDomainname, .a = config.domainname});

  // 3. What it may do.
  plan_limits(process, facts.restrict_oom_score_adj, facts.own_oom_score_adj, steps);
  steps.push_back({.op = Op::kStdio, .x = process.uid});
  bool has_filter = !config.seccomp.is_null();
  plan_program(process, has_filter, steps);
  // Last: changes of ids and capabilities clear it (prctl(2)).
  if (facts.death_signal)
    steps.push_back({.op = Op::kDeathSignal, .x = static_cast<uint64_t>(facts.death_signal)});
  if (facts.wait_start) steps.push_back({.op = Op::kWaitStart, .x = static_cast<uint64_t>(3 + facts.preserve_fds)});
  for (const Hook& hook : config.hooks.start_container)
    steps.push_back({.op = Op::kHook, .a = hook.path, .b = "startContainer", .x = hook_index++,
                     .timeout_s = hook.timeout_s});
  steps.push_back({.op = Op::kCloseFds, .x = static_cast<uint64_t>(3 + facts.preserve_fds)});
  if (has_filter && process.no_new_privileges) steps.push_back({.op = Op::kSeccomp});
  steps.push_back({.op = Op::kExec, .a = joined(process.args, " ")});
  return plan;
}

base::Result<LaunchPlan> plan_exec(const Process& process, const ExecFacts& facts) {
  LaunchPlan plan;
  plan.cgroup.directories = facts.cgroup_directories;  // where init is: nothing is made
  plan.cgroup.unified = facts.cgroup_unified;
  Steps& steps = plan.steps;
  if (!plan.cgroup.directories.empty()) steps.push_back({.op = Op::kEnterCgroup});
  if (facts.namespaces)
    steps.push_back({.op = Op::kJoinContainer, .x = facts.namespaces & ~uint64_t{CLONE_NEWPID}});
  steps.push_back({.op = Op::kSession});
  if (process.terminal)
    steps.push_back({.op = Op::kConsole, .x = process.rows, .y = process.columns, .z = process.uid});
  steps.push_back({.op = Op::kCommit});
  plan_limits(process, facts.restrict_oom_score_adj, facts.own_oom_score_adj, steps);
  steps.push_back({.op = Op::kStdio, .x = process.uid});
  plan_program(process, facts.has_filter, steps);
  if (facts.death_signal)
    steps.push_back({.op = Op::kDeathSignal, .x = static_cast<uint64_t>(facts.death_signal)});
  steps.push_back({.op = Op::kCloseFds, .x = static_cast<uint64_t>(3 + facts.preserve_fds)});
  if (facts.has_filter && process.no_new_privileges) steps.push_back({.op = Op::kSeccomp});
  steps.push_back({.op = Op::kExec, .a = joined(process.args, " ")});
  return plan;
}

}  // namespace runtime
