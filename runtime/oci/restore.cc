// restore: a container from an image of `checkpoint`, by criu(8). Writes the same records in the same
// order as `create`, so that a crash at any point is cleaned up by `delete --force`; mounts nothing that
// outlives it.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/sys.h"
#include "runtime/launch/launch.h"
#include "runtime/launch/mounts.h"
#include "runtime/oci/bundle.h"
#include "runtime/oci/commands.h"
#include "runtime/oci/criu_options.h"
#include "runtime/oci/foreground.h"
#include "runtime/oci/launch.h"
#include "runtime/oci/listener.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

constexpr int kFirstFd = 4;  // of those we give criu; before it stdio and the socket
constexpr std::pair<uint64_t, const char*> kJoined[] = {{CLONE_NEWNS, "mnt"},
                                                        {CLONE_NEWIPC, "ipc"},
                                                        {CLONE_NEWUTS, "uts"},
                                                        {CLONE_NEWUSER, "user"},
                                                        {CLONE_NEWTIME, "time"}};

// Mount points that the image does not bring; what lies on a tmpfs is in criu's image.
base::Status make_mount_points(const OciState& state, const Config& config,
                               const std::vector<ExternalMount>& external) {
  base::UniqueFd root = TRY(sys::open(state.rootfs, O_PATH | O_DIRECTORY));
  Child child;
  child.root = root.get();
  for (const Mount& mount : config.mounts) {
    std::string target = clean_path(mount.destination);
    bool covered = std::any_of(config.mounts.begin(), config.mounts.end(), [&](const Mount& other) {
      return (other.type == "tmpfs" || other.type == "sysfs") &&
             target.starts_with(clean_path(other.destination) + "/");
    });
    if (covered || mount.type == "cgroup") continue;
    struct stat info;
    bool file = std::any_of(external.begin(), external.end(), [&](const ExternalMount& e) {
      return e.target == target && ::stat(e.source.c_str(), &info) == 0 && !S_ISDIR(info.st_mode);
    });
    int fd = make_in_root(child, target.c_str(), file ? Make::kFile : Make::kDirectory);
    if (fd < 0) return sys::error_from_errno(-fd, "make mount point", target);
    ::close(fd);
  }
  return {};
}
// criu wants a root that is a mount of its own, below nothing that covers it. In a mount namespace of
// ours it is gone with us, whatever ends us.
base::Status mount_root_apart(const std::string& rootfs) {
  if (::unshare(CLONE_NEWNS) != 0) return sys::last_error("unshare", "mount namespace");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return sys::last_error("mount", "/");
  if (::mount(rootfs.c_str(), rootfs.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
    return sys::last_error("bind", rootfs);
  return {};
}
base::Status add_namespaces(const Config& config, CriuCall& call, std::vector<base::UniqueFd>& held) {
  for (const Namespace& ns : config.namespaces) {
    if (ns.path.empty()) continue;
    bool known = false;
    for (const Outer& outer : kOuter)
      if (ns.flag == outer.flag) {
        held.push_back(TRY(sys::open(ns.path, O_RDONLY)));
        int number = kFirstFd + static_cast<int>(call.fds.size());
        call.fds.emplace_back(held.back().get(), number);
        call.options.add(kInheritFd, CriuMessage().add(1, outer.key).add(2, number));
        known = true;
      }
    for (auto [flag, name] : kJoined)
      if (ns.flag == flag) {
        call.options.add(kJoinNs, pair_of(name, ns.path));
        known = true;
      }
    if (!known)
      return base::make_error(Kind::kUnsupported, "restore", "linux.namespaces",
                              "criu can't join a cgroup namespace");
  }
  return {};
}
base::Status add_descriptors(const std::string& image, CriuCall& call) {
  json::value fds =
      TRY_WRAP(base::parse_json(TRY(sys::read_file(image + kDescriptors))), "read", image + kDescriptors);
  if (!fds.is_array())
    return base::make_error(Kind::kInvalid, "read", image + kDescriptors, "must be an array");
  for (int fd = 0; fd < 3 && static_cast<size_t>(fd) < fds.get_array().size(); ++fd)
    if (std::string_view was = base::as_string(&fds.get_array()[static_cast<size_t>(fd)]);
        was.find("pipe:") != std::string_view::npos)
      call.options.add(kInheritFd, CriuMessage().add(1, was).add(2, fd));
  return {};
}
// criu itself goes into the container's cgroups: what it restores is found there, whatever the names
// were when it was saved.
base::Status enter_cgroups(const CgroupPlan& plan, pid_t criu) {
  std::vector<std::string> all = plan.directories;
  if (!plan.unified.empty()) all.push_back(plan.unified);
  for (const std::string& directory : all)
    TRY(sys::write_control(directory + "/cgroup.procs", std::to_string(criu)));
  return {};
}
void add_cgroup_roots(const NewContainer& container, CriuMessage& opts) {
  const CgroupPlan& plan = container.plan.cgroup;
  for (const CgroupLayout::Hierarchy& hierarchy : container.layout->v1) {
    bool own = std::find(plan.directories.begin(), plan.directories.end(),
                         hierarchy.mount + container.state.cgroup) != plan.directories.end();
    for (const std::string& controller : hierarchy.controllers)
      opts.add(kCgroupRoot, pair_of(controller, own ? container.state.cgroup : "/"));
  }
  if (!plan.unified.empty()) opts.add(kCgroupRoot, pair_of("", container.state.cgroup));
}

struct Restored {
  NewContainer container;
  Launched launched;
  base::UniqueFd terminal;
};
base::Status hear(const OciContext& context, Restored& restored, const CriuAnswer& answer,
                  base::UniqueFd fd) {
  OciState& state = restored.container.state;
  const Hooks& hooks = restored.container.config.hooks;
  context.log->debug("criu is at " + answer.script);
  if (answer.script == "setup-namespaces") {
    OciState now = state;
    now.pid = answer.pid;
    std::string text = json::serialize(state_document(now, "creating"));
    HookFiles files = TRY(open_hook_files(restored.container.config, state.bundle));
    TRY(run_hooks(hooks.prestart, "prestart", text, files.place));
    return run_hooks(hooks.create_runtime, "createRuntime", text, files.place);
  }
  if (answer.script == "orphan-pts-master" && fd.valid()) {
    if (!context.options.has("console-socket")) restored.terminal = std::move(fd);
    else TRY(send_fd(context.options.get("console-socket"), "/dev/ptmx", fd.get(), "--console-socket"));
    return {};
  }
  if (answer.script != "post-restore") return {};
  // Its processes do not run yet: the record comes before they do.
  restored.launched = {answer.pid, TRY(sys::pidfd_open(answer.pid))};
  state.pid = answer.pid;
  state.pid_identity = process_identity(answer.pid);
  struct stat theirs, ours;
  if (::stat(fmt::format("/proc/{}/ns/time", answer.pid).c_str(), &theirs) == 0 &&
      ::stat("/proc/self/ns/time", &ours) == 0 && theirs.st_ino != ours.st_ino)
    state.namespaces |= CLONE_NEWTIME;  // criu makes one, for the monotonic clock to go on
  return context.store.write(state);
}

base::Status restore(const OciContext& context, Restored& restored) {
  NewContainer& container = restored.container;
  OciState& state = container.state;
  CriuCall call;
  call.program = context.criu;
  call.type = CriuRequest::kRestore;
  call.options = TRY(criu_flags(context.options));
  TRY(mount_root_apart(state.rootfs));  // first: criu mounts in the directories
  CriuDirectories directories = TRY(open_directories(context, false, call.options));
  std::vector<base::UniqueFd> held;
  TRY(add_namespaces(container.config, call, held));
  TRY(add_descriptors(directories.image, call));
  std::vector<ExternalMount> external = external_mounts(container.plan);
  for (const ExternalMount& mount : external)
    call.options.add(kExtMount, pair_of(mount.target, mount.source));
  if (!container.config.masked_paths.empty()) call.options.add(kExtMount, pair_of("/dev/null", "/dev/null"));
  add_config_file(state.annotations, call.options);
  call.options.add(kRoot, state.rootfs)
      .add(kLogFile, "restore.log")
      .add(kEvasiveDevices, 1)
      .add(kRstSibling, 1);
  add_cgroup_roots(container, call.options);

  TRY(context.store.write(state));
  TRY(context.store.write_config(state.id, container.config_text));
  ScopeHolder holder = TRY(start_scope(container));
  TRY(act_cgroup(container.plan.cgroup));
  TRY(make_mount_points(state, container.config, external));
  call.started = [&](pid_t criu) { return enter_cgroups(container.plan.cgroup, criu); };
  call.notify = [&](const CriuAnswer& answer, base::UniqueFd fd) {
    return hear(context, restored, answer, std::move(fd));
  };
  TRY(run_criu(context, call, directories.work + "/restore.log"));
  if (state.pid == 0) return base::make_error(Kind::kInternal, "restore", state.id, "criu named no process");
  TRY(write_pid_file(context.options, state.pid));
  return run_poststart(container.config, state);
}
}  // namespace

base::Result<int> oci_restore(const OciContext& context) {
  bool detach = context.options.has("detach");
  base::UniqueFd signals;
  if (!detach) signals = TRY(block_signals());
  Restored restored{TRY(plan_container(context, false)), {}, {}};
  OciState& state = restored.container.state;
  base::UniqueFd lock = TRY(context.store.make(state.id));
  if (auto done = restore(context, restored); !done.ok()) {
    base::ignore(destroy_container(context.store, state), "the first error counts");
    return done.error();
  }
  if (detach) return 0;
  lock.reset();
  auto code = stay(restored.launched, signals.get(), std::move(restored.terminal));
  auto again = context.store.lock(state.id);
  if (again.ok()) TRY(destroy_container(context.store, state));
  else if (again.error().kind != Kind::kNotFound) return again.error();  // or somebody else deleted it
  return code;
}

}  // namespace runtime
