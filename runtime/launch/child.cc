// The child's side of a launch: the plan's steps, one after the other, in raw system calls on what the
// parent prepared. No allocation, no locks, no stdio; what fails is said as {step, errno}.
#include <fcntl.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "runtime/launch/capabilities.h"
#include "runtime/launch/child.h"
#include "runtime/launch/devices.h"
#include "runtime/launch/identity.h"
#include "runtime/launch/masks.h"
#include "runtime/launch/mounts.h"

namespace runtime {
namespace {

void report(const Child& child, Report what, size_t step, int error) {
  Message message{what, static_cast<uint32_t>(step), error};
  (void)!::send(child.socket, &message, sizeof message, MSG_NOSIGNAL);
}
int await_parent(const Child& child) {
  char byte;
  ssize_t n;
  do n = ::recv(child.socket, &byte, 1, 0);
  while (n < 0 && errno == EINTR);
  if (n == 0) ::_exit(1);  // the parent died: nobody wrote us down
  return n < 0 ? -errno : 0;
}

// The fds from step.x on: marked, so that the report still gets out if execve fails; or, before the
// wait for `start`, closed but for the fifo, the socket and the hooks' files: that may last, and nothing of
// the parent's (its lock of the container, say) may be held by it.
int close_fds(Child& child, const Step& step) {
  auto first = static_cast<unsigned>(step.x);
  if (step.y) {
    int* const kept[] = {&child.start_fifo, &child.socket, &child.hook_out, &child.hook_err};
    constexpr int kKept = sizeof kept / sizeof *kept;
    auto next = static_cast<int>(first);
    for (int* fd : kept)  // out of the way first: one may sit where another goes
      if (*fd >= 0 && (*fd = ::fcntl(*fd, F_DUPFD_CLOEXEC, next + kKept)) < 0) return -errno;
    for (int* fd : kept) {
      if (*fd < 0) continue;
      if (::dup3(*fd, next, O_CLOEXEC) < 0) return -errno;
      *fd = next++;
    }
    child.root = child.proc = child.pts = -1;
    return ::syscall(SYS_close_range, static_cast<unsigned>(next), ~0u, 0u) == 0 ? 0 : -errno;
  }
  return ::syscall(SYS_close_range, first, ~0u, 4u /*CLOSE_RANGE_CLOEXEC*/) == 0 ? 0 : -errno;
}
int wait_start(Child& child, size_t index) {
  report(child, Report::kReady, index, 0);
  ::close(child.socket);  // from here on nobody listens
  child.socket = -1;
  char byte;
  ssize_t n;
  do n = ::read(child.start_fifo, &byte, 1);
  while (n < 0 && errno == EINTR);
  return n == 1 ? 0 : n < 0 ? -errno : -EPIPE;
}

int run_step(Child& child, const Step& step, size_t index, size_t& namespaces_used) {
  switch (step.op) {
    case Op::kJoinNamespace: {
      int fd = child.namespaces[namespaces_used++];
      return child.joined & step.x || ::setns(fd, static_cast<int>(step.x)) == 0 ? 0 : -errno;
    }
    case Op::kJoinContainer: {
      auto flags = static_cast<int>(step.x & ~child.joined);
      return flags == 0 || ::setns(child.container, flags) == 0 ? 0 : -errno;
    }
    case Op::kIdMaps:
    case Op::kNetDevice: return -ENOSYS;  // the parent's
    case Op::kWaitParent: {
      int error = await_parent(child);
      return error || !step.x ? error : child_user_namespace_root(step.y);
    }
    case Op::kUnshareTime: {
      if (::unshare(CLONE_NEWTIME) != 0) return -errno;
      report(child, Report::kParentStep, index, 0);
      int error = await_parent(child);
      return error ? error : child_enter_time();
    }
    case Op::kCommit:
      ::umask(0022);  // what is made from here on is a hook's or the program's
      return await_parent(child);
    case Op::kEnterCgroup:
      // A thread that moves itself through `tasks` takes no lock that waits for an RCU grace
      // period (cgroup_procs_write_start, kernel 5.7); a write of our pid by the parent would.
      for (size_t i = 0; i < child.tasks_count; ++i)
        if (::write(child.tasks[i], "0", 1) != 1) return -errno;
      return 0;
    case Op::kUnshareCgroup: return ::unshare(CLONE_NEWCGROUP) == 0 ? 0 : -errno;
    case Op::kLoopback: return child_loopback();
    case Op::kSession: return child_session();
    case Op::kPropagation: return child_propagation(child, step);
    case Op::kRootOverlay: return child_root_overlay(child, step);
    case Op::kRootBind: return child_root_bind(child, step);
    case Op::kMount: return child_mount(child, step);
    case Op::kBind: return child_bind(child, step);
    case Op::kRemount: return child_remount(child, step);
    case Op::kCgroupBind: return child_cgroup_bind(child, step);
    case Op::kMakeDirectory: {
      int fd = make_in_root(child, step.b.c_str(), Make::kDirectory);
      if (fd < 0) return fd;
      return ::close(fd);
    }
    case Op::kNode: return child_node(child, step);
    case Op::kSymlink: return child_symlink(child, step);
    case Op::kConsole: return child_console(child, step);
    case Op::kSysctl: {
      char path[512] = "sys/";
      if (step.a.size() + 5 > sizeof path) return -ENAMETOOLONG;
      std::strcat(path, step.a.c_str());
      return child_write_proc(child, path, step.b.c_str());
    }
    case Op::kHostname: return ::sethostname(step.a.c_str(), step.a.size()) == 0 ? 0 : -errno;
    case Op::kDomainname: return ::setdomainname(step.a.c_str(), step.a.size()) == 0 ? 0 : -errno;
    case Op::kMask: return child_mask(child, step);
    case Op::kReadonlyPath: return child_readonly_path(child, step);
    case Op::kRootReadonly: return set_attributes(child.root, MOUNT_ATTR_RDONLY, 0, 0, false);
    case Op::kRootPropagation:
      return ::mount(nullptr, "/", nullptr, static_cast<unsigned long>(step.x), nullptr) == 0 ? 0 : -errno;
    case Op::kPivot: return child_pivot(child, step);
    case Op::kHooks: report(child, Report::kHooks, index, 0); return await_parent(child);
    case Op::kHookState: {
      static char state[kMaxStateBytes];
      report(child, Report::kHooks, index, 0);
      ssize_t n = ::recv(child.socket, state, sizeof state, 0);
      if (n <= 0) ::_exit(1);
      child.state = state;
      child.state_size = static_cast<size_t>(n);
      return 0;
    }
    case Op::kHook: return child_hook(child, step, child.state, child.state_size);
    case Op::kStdio: return child_stdio(child, step);
    case Op::kRlimit: return child_rlimit(step);
    case Op::kOomScoreAdj: return child_write_proc(child, "self/oom_score_adj", step.a.c_str());
    case Op::kLabel: {
      char path[64] = "self/attr/";
      std::strcat(path, step.a.c_str());
      return child_write_proc(child, path, step.b.c_str());
    }
    case Op::kScheduler: return ::syscall(SYS_sched_setattr, 0, step.a.data(), 0) == 0 ? 0 : -errno;
    case Op::kIoPriority: return ::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, step.x) == 0 ? 0 : -errno;
    case Op::kAffinity:
      return ::syscall(SYS_sched_setaffinity, 0, step.a.size(), step.a.data()) == 0 || step.x ? 0 : -errno;
    case Op::kPersonality: return ::personality(step.x) >= 0 ? 0 : -errno;
    case Op::kMemoryPolicy:
      return ::syscall(SYS_set_mempolicy, step.x, step.a.empty() ? nullptr : step.a.data(),
                       step.a.empty() ? 0 : step.a.size() * 8 + 1) == 0
                 ? 0
                 : -errno;
    case Op::kUmask: ::umask(static_cast<mode_t>(step.x)); return 0;
    case Op::kHome: child_home(child, step); return 0;
    case Op::kDropBounding: return child_drop_bounding(step);
    case Op::kSeccomp: return child_seccomp(child, step, index);
    case Op::kUser: return child_user(step);
    case Op::kCapabilities: return child_set_capabilities(step);
    case Op::kAmbient: return child_raise_ambient(step);
    case Op::kNoNewPrivileges: return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : -errno;
    case Op::kWorkingDirectory: return child_working_directory(child, step);
    case Op::kFindProgram: return child_find_program(child, step);
    case Op::kDeathSignal: return ::prctl(PR_SET_PDEATHSIG, step.x, 0, 0, 0) == 0 ? 0 : -errno;
    case Op::kWaitStart: return wait_start(child, index);
    case Op::kCloseFds: return close_fds(child, step);
    case Op::kExec: *child.exec_reached = true; return child_exec(child, step);
  }
  return -ENOSYS;
}

}  // namespace

void run_child(Child& child, const std::vector<Step>& steps) {
  ::close(child.parent_socket);
  // Signals: nothing blocked, and SIGPIPE, which our programs ignore, as a program expects it.
  ::signal(SIGPIPE, SIG_DFL);
  // Created and not started: the first process of a PID namespace would ignore it (pid_namespaces(7)).
  if (child.start_fifo >= 0) ::signal(SIGTERM, [](int) { ::_exit(128 + SIGTERM); });
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::umask(0);  // nodes and directories get the very mode of their step
  size_t namespaces_used = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].op != Op::kNode && steps[i].op != Op::kSymlink) drop_parent(child);
    int error = run_step(child, steps[i], i, namespaces_used);
    if (error < 0) {
      report(child, Report::kFailed, i, -error);
      ::_exit(1);
    }
  }
  ::_exit(1);
}

}  // namespace runtime
