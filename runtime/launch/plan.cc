#include "runtime/launch/plan.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "runtime/launch/capabilities.h"
#include "runtime/launch/devices.h"
#include "runtime/launch/mounts.h"

namespace runtime {

std::string LaunchPlan::text() const {
  std::string out;
  for (const CgroupAction& action : cgroup.actions) out += action.text() + "\n";
  out += fmt::format("clone {}{}{}\n", namespace_text(clone_flags),
                     cgroup.unified.empty() ? "" : " into " + cgroup.unified,
                     user_namespace.empty() ? "" : " in " + user_namespace);
  for (const Step& step : parent_steps) out += "parent: " + step.text() + "\n";
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

// Of linux/sched/types.h, which can't be included beside sched.h.
struct sched_attr {
  uint32_t size, sched_policy;
  uint64_t sched_flags;
  int32_t sched_nice;
  uint32_t sched_priority;
  uint64_t sched_runtime, sched_deadline, sched_period;
};
struct FilterFacts {
  bool present = false, listener = false;
};

// The namespaces: made by clone, joined by the child in the right order, or (user, pid) entered on the
// way to clone.
void plan_namespaces(const Config& config, const LaunchFacts& facts, LaunchPlan& plan) {
  for (const Namespace& ns : config.namespaces) {
    if (ns.path.empty()) {
      // Cgroup: its root is where its maker is. Time: only who forks after is in it.
      if (ns.flag != CLONE_NEWCGROUP && ns.flag != CLONE_NEWTIME) plan.clone_flags |= ns.flag;
    } else if (ns.flag == CLONE_NEWPID) {
      plan.pid_namespace = ns.path;
    } else if (ns.flag == CLONE_NEWUSER) {
      plan.user_namespace = ns.path;
    } else {
      plan.steps.push_back({.op = Op::kJoinNamespace, .a = ns.path, .x = ns.flag});
    }
  }
  // A mount namespace last: its joining changes what paths mean.
  std::stable_partition(plan.steps.begin(), plan.steps.end(),
                        [](const Step& s) { return s.x != CLONE_NEWNS; });
  const Namespace* user = config.find_namespace(CLONE_NEWUSER);
  if (user && user->path.empty())
    plan.parent_steps.push_back(
        {.op = Op::kIdMaps,
         .a = id_map_text(config.uid_mappings),
         .b = id_map_text(config.gid_mappings),
         .x = facts.deny_setgroups ? 1u : 0u,
         .y = (facts.uid_map_by_program ? 1u : 0u) | (facts.gid_map_by_program ? 2u : 0u)});
}

std::string device_namespace(const Config& config) {
  const Namespace* net = config.find_namespace(CLONE_NEWNET);
  return net ? net->path : "";
}

std::string oom_score_text(int wanted, bool restrict, int own) {
  return std::to_string(restrict ? std::max(wanted, own) : wanted);
}

// From a made container to the user's program; the same for init and for exec. `first_fd`: the first
// that is not passed on.
void plan_program(const Process& p, const FilterFacts& filter, bool in_user_namespace, bool keep_groups,
                  uint64_t first_fd, bool wait_start, Steps& steps) {
  const Capabilities& c = p.capabilities;
  if (p.umask) steps.push_back({.op = Op::kUmask, .x = *p.umask});
  steps.push_back({.op = Op::kDropBounding, .x = c.bounding});
  if (std::none_of(p.env.begin(), p.env.end(),
                   [](const std::string& entry) { return entry.starts_with("HOME="); }))
    steps.push_back({.op = Op::kHome, .x = p.uid});
  // Both before the filter, which may refuse their calls.
  steps.push_back({.op = Op::kCloseFds, .x = first_fd, .y = wait_start ? 1u : 0u});
  bool early = filter.present && !p.no_new_privileges;
  // As root first: the user may have no way there, as runc has it.
  steps.push_back({.op = Op::kWorkingDirectory, .a = p.cwd, .x = 1});
  // Without no_new_privs a filter takes CAP_SYS_ADMIN, which is about to go; with it the filter
  // comes last, so that it need not allow our own steps.
  if (early) steps.push_back({.op = Op::kSeccomp, .x = filter.listener ? 1u : 0u});
  steps.push_back({.op = Op::kUser,
                   .x = p.uid,
                   .y = p.gid,
                   .z = in_user_namespace ? 1u : 0u,
                   .w = keep_groups ? 1u : 0u,
                   .gids = p.additional_gids});
  steps.push_back({.op = Op::kCapabilities, .x = c.effective, .y = c.permitted, .z = c.inheritable});
  steps.push_back({.op = Op::kAmbient, .x = c.ambient});
  if (p.no_new_privileges) steps.push_back({.op = Op::kNoNewPrivileges});
  steps.push_back({.op = Op::kWorkingDirectory, .a = p.cwd});
  // An empty name: created without a process, never to be started.
  if (!p.args[0].empty())
    steps.push_back({.op = Op::kFindProgram, .a = p.args[0], .list = program_candidates(p)});
}
// Ours may be narrower than the container's: since kernel 6.2 a process keeps what it was once given
// when it enters a cpuset. The kernel cuts the mask to the CPUs there are and the cpuset allows.
Step all_cpus() { return {.op = Op::kAffinity, .a = std::string(1024, '\xff'), .b = "all", .x = 1}; }
std::string bytes_of(const auto& value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

// `limits`: where what needs the host's privileges goes: the child's steps, or the parent's when the
// child has none (user namespaces).
void plan_limits(const Process& p, bool restrict, int own, Steps& limits, Steps& steps) {
  if (p.oom_score_adj)
    limits.push_back({.op = Op::kOomScoreAdj, .a = oom_score_text(*p.oom_score_adj, restrict, own)});
  for (const Rlimit& limit : p.rlimits)
    limits.push_back(
        {.op = Op::kRlimit, .x = static_cast<uint64_t>(limit.resource), .y = limit.soft, .z = limit.hard});
  if (p.scheduler) {
    const Scheduler& s = *p.scheduler;
    sched_attr attributes{};
    attributes.size = sizeof attributes;
    attributes.sched_policy = s.policy;
    attributes.sched_flags = s.flags;
    attributes.sched_nice = s.nice;
    attributes.sched_priority = s.priority;
    attributes.sched_runtime = s.runtime;
    attributes.sched_deadline = s.deadline;
    attributes.sched_period = s.period;
    steps.push_back({.op = Op::kScheduler,
                     .a = bytes_of(attributes),
                     .b = fmt::format("policy {} nice {} priority {} flags {:#x} {}/{}/{}", s.policy, s.nice,
                                      s.priority, s.flags, s.runtime, s.deadline, s.period)});
  }
  if (p.io_priority) steps.push_back({.op = Op::kIoPriority, .x = static_cast<uint64_t>(*p.io_priority)});
  if (!p.apparmor_profile.empty())
    steps.push_back({.op = Op::kLabel, .a = "apparmor/exec", .b = "exec " + p.apparmor_profile});
  if (!p.selinux_label.empty()) steps.push_back({.op = Op::kLabel, .a = "exec", .b = p.selinux_label});
}

}  // namespace

std::string id_map_text(const std::vector<IdMap>& maps) {
  std::string out;
  for (const IdMap& map : maps) out += fmt::format("{} {} {}\n", map.container, map.host, map.size);
  return out;
}

base::Result<LaunchPlan> plan_launch(const Config& config, const LaunchFacts& facts) {
  if (!config.process) return base::make_error(base::Kind::kInvalid, "read", "process", "is required");
  if (!config.mount_label.empty() && !facts.selinux)
    return base::make_error(base::Kind::kUnsupported, "read", "linux.mountLabel", "the host has no SELinux",
                            "remove it");
  const Process& process = *config.process;
  bool in_user_namespace = config.find_namespace(CLONE_NEWUSER) != nullptr;
  LaunchPlan plan;
  plan.cgroup = TRY(plan_cgroup(*facts.layout, facts.cgroup, config.resources, false));
  Steps& steps = plan.steps;
  Steps& limits = in_user_namespace ? plan.parent_steps : steps;

  // 1. Where it runs.
  plan_namespaces(config, facts, plan);
  for (const NetDevice& device : config.net_devices)
    plan.parent_steps.push_back(
        {.op = Op::kNetDevice, .a = device.host_name, .b = device.name, .c = device_namespace(config)});
  Steps early;
  if (in_user_namespace || !plan.parent_steps.empty())
    early.push_back({.op = Op::kWaitParent,
                     .x = in_user_namespace ? 1u : 0u,
                     .y = config.extensions.keep_groups ? 1u : 0u});
  if (!plan.cgroup.directories.empty()) early.push_back({.op = Op::kEnterCgroup});
  early.push_back(all_cpus());
  steps.insert(steps.begin(), early.begin(), early.end());
  const Namespace* cgroup_ns = config.find_namespace(CLONE_NEWCGROUP);
  // After entering: the namespace's root is where its maker is.
  if (cgroup_ns && cgroup_ns->path.empty()) steps.push_back({.op = Op::kUnshareCgroup});
  // As runc and crun do: programs expect 127.0.0.1 without asking for a network.
  if (plan.clone_flags & CLONE_NEWNET) steps.push_back({.op = Op::kLoopback});

  // 2. What it sees. All of this happens beneath the new root's fd while the host's root is still
  // ours: sources are the host's, targets are the container's.
  TRY(plan_root(config, facts, plan.cgroup, steps));
  plan_devices(config, steps);
  steps.push_back({.op = Op::kSession});
  if (process.terminal)
    steps.push_back(
        {.op = Op::kConsole, .b = "/dev/console", .x = process.rows, .y = process.columns, .z = process.uid});
  if (process.cwd != "/") steps.push_back({.op = Op::kMakeDirectory, .b = clean_path(process.cwd)});
  steps.push_back({.op = Op::kCommit});
  if (const Namespace* time = config.find_namespace(CLONE_NEWTIME); time && time->path.empty())
    steps.push_back({.op = Op::kUnshareTime, .a = config.time_offsets});
  if (!config.hooks.prestart.empty()) steps.push_back({.op = Op::kHooks, .a = "prestart"});
  if (!config.hooks.create_runtime.empty()) steps.push_back({.op = Op::kHooks, .a = "createRuntime"});
  uint64_t hook_index = 1;
  if (!config.hooks.create_container.empty() || !config.hooks.start_container.empty())
    steps.push_back({.op = Op::kHookState});
  for (uint64_t i = 0; const Hook& hook : config.hooks.create_container)
    steps.push_back({.op = Op::kHook,
                     .a = hook.path,
                     .b = "createContainer",
                     .x = hook_index++,
                     .y = i++,
                     .timeout_s = hook.timeout_s});
  for (const auto& [key, value] : config.sysctl)
    steps.push_back({.op = Op::kSysctl, .a = sysctl_path(key), .b = value});
  for (const std::string& path : config.readonly_paths)
    steps.push_back({.op = Op::kReadonlyPath, .b = clean_path(path)});
  for (const std::string& path : config.masked_paths)
    steps.push_back({.op = Op::kMask, .b = clean_path(path)});
  for (const Mount& mount : config.mounts)
    if (mount.type == "tmpfs" && clean_path(mount.destination) == "/dev" &&
        std::find(mount.options.begin(), mount.options.end(), "ro") != mount.options.end())
      steps.push_back({.op = Op::kRemount, .b = "/dev", .x = MOUNT_ATTR_RDONLY});
  if (config.root_readonly) steps.push_back({.op = Op::kRootReadonly});
  // x: the host shares our mounts, so that dropping its root must be kept from it.
  bool own_mounts = config.find_namespace(CLONE_NEWNS) != nullptr;
  steps.push_back({.op = Op::kPivot,
                   .x = config.rootfs_propagation.empty() ? 0u : 1u,
                   .y = own_mounts ? 0u : 1u,
                   .z = facts.no_pivot || !own_mounts ? 1u : 0u});
  if (facts.no_pivot) steps.back().list = facts.bare_mounts;
  if (uint64_t flags = propagation_flags(config.rootfs_propagation); flags && own_mounts)
    steps.push_back({.op = Op::kRootPropagation, .x = flags});
  if (!config.hostname.empty()) steps.push_back({.op = Op::kHostname, .a = config.hostname});
  if (!config.domainname.empty()) steps.push_back({.op = Op::kDomainname, .a = config.domainname});

  // 3. What it may do.
  plan_limits(process, facts.restrict_oom_score_adj, facts.own_oom_score_adj, limits, steps);
  if (const auto& policy = config.memory_policy)
    steps.push_back(
        {.op = Op::kMemoryPolicy, .a = policy->nodes, .b = policy->nodes_text, .x = policy->mode});
  if (config.personality) steps.push_back({.op = Op::kPersonality, .x = *config.personality});
  steps.push_back({.op = Op::kStdio, .x = process.uid, .y = in_user_namespace ? 1u : 0u});
  FilterFacts filter{config.has_filter(), facts.filter_listener};
  auto first_fd = static_cast<uint64_t>(3 + facts.preserve_fds);
  plan_program(process, filter, in_user_namespace, config.extensions.keep_groups, first_fd, facts.wait_start,
               steps);
  // Last: changes of ids and capabilities clear it (prctl(2)).
  if (facts.death_signal)
    steps.push_back({.op = Op::kDeathSignal, .x = static_cast<uint64_t>(facts.death_signal)});
  bool late = filter.present && process.no_new_privileges;
  // A listener goes to the parent, which is gone after the wait.
  if (late && filter.listener) steps.push_back({.op = Op::kSeccomp, .x = 1});
  if (facts.wait_start) steps.push_back({.op = Op::kWaitStart});
  // Those hooks are the image's programs: the filter holds for them too.
  if (late && !filter.listener) steps.push_back({.op = Op::kSeccomp});
  for (uint64_t i = 0; const Hook& hook : config.hooks.start_container)
    steps.push_back({.op = Op::kHook,
                     .a = hook.path,
                     .b = "startContainer",
                     .x = hook_index++,
                     .y = i++,
                     .timeout_s = hook.timeout_s});
  steps.push_back({.op = Op::kExec, .a = joined(process.args, " ")});
  return plan;
}

base::Result<LaunchPlan> plan_exec(const Process& process, const ExecFacts& facts) {
  LaunchPlan plan;
  plan.cgroup.directories = facts.cgroup_directories;  // where init is: nothing is made
  plan.cgroup.unified = facts.cgroup_unified;
  bool in_user_namespace = facts.namespaces & CLONE_NEWUSER;
  plan.through_container = in_user_namespace;
  Steps& steps = plan.steps;
  Steps& limits = in_user_namespace ? plan.parent_steps : steps;
  plan_limits(process, facts.restrict_oom_score_adj, facts.own_oom_score_adj, limits, plan.steps);
  Steps attributes = std::move(plan.steps);
  plan.steps.clear();
  if (!process.affinity_initial.empty())
    steps.push_back({.op = Op::kAffinity, .a = process.affinity_initial, .b = "initial"});
  if (in_user_namespace) steps.push_back({.op = Op::kWaitParent, .x = 1, .y = facts.keep_groups ? 1u : 0u});
  if (!plan.cgroup.directories.empty()) steps.push_back({.op = Op::kEnterCgroup});
  if (!process.affinity_final.empty())
    steps.push_back({.op = Op::kAffinity, .a = process.affinity_final, .b = "final"});
  else if (process.affinity_initial.empty()) steps.push_back(all_cpus());
  // User: entered on the way to clone.
  uint64_t join = facts.namespaces & ~uint64_t{CLONE_NEWPID | CLONE_NEWUSER};
  if (join) steps.push_back({.op = Op::kJoinContainer, .x = join});
  steps.push_back({.op = Op::kSession});
  if (process.terminal)
    steps.push_back({.op = Op::kConsole, .x = process.rows, .y = process.columns, .z = process.uid});
  steps.push_back({.op = Op::kCommit});
  steps.insert(steps.end(), attributes.begin(), attributes.end());
  if (facts.personality) steps.push_back({.op = Op::kPersonality, .x = *facts.personality});
  steps.push_back({.op = Op::kStdio, .x = process.uid, .y = in_user_namespace ? 1u : 0u});
  FilterFacts filter{facts.has_filter, facts.filter_listener};
  plan_program(process, filter, in_user_namespace, facts.keep_groups,
               static_cast<uint64_t>(3 + facts.preserve_fds), false, steps);
  if (facts.death_signal)
    steps.push_back({.op = Op::kDeathSignal, .x = static_cast<uint64_t>(facts.death_signal)});
  if (filter.present && process.no_new_privileges)
    steps.push_back({.op = Op::kSeccomp, .x = filter.listener ? 1u : 0u});
  steps.push_back({.op = Op::kExec, .a = joined(process.args, " ")});
  return plan;
}

}  // namespace runtime
