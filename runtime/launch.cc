#include "runtime/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>

#include "base/process.h"
#include "base/sys.h"
#include "runtime/capabilities.h"
#include "runtime/child.h"
#include "runtime/devices.h"
#include "runtime/identity.h"
#include "runtime/kernel.h"
#include "runtime/launch_parent.h"
#include "runtime/masks.h"
#include "runtime/mounts.h"

extern char** environ;

namespace runtime {
namespace {

namespace sys = base::sys;
constexpr size_t kMaxStateBytes = 64 << 10;

// ---- the child: raw system calls on prepared data until execve -----------------------------

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
// wait for `start`, closed but for the fifo and the socket: that may last, and nothing of the
// parent's (its lock of the container, say) may be held by it.
int close_fds(Child& child, const Step& step) {
  auto first = static_cast<unsigned>(step.x);
  if (step.y) {
    int keep = static_cast<int>(first);
    int fifo = ::fcntl(child.start_fifo, F_DUPFD_CLOEXEC, keep + 2);
    int socket = ::fcntl(child.socket, F_DUPFD_CLOEXEC, keep + 2);
    if (fifo < 0 || socket < 0) return -errno;
    if (::dup3(fifo, keep, O_CLOEXEC) < 0 || ::dup3(socket, keep + 1, O_CLOEXEC) < 0) return -errno;
    child.start_fifo = keep;
    child.socket = keep + 1;
    child.root = child.proc = child.pts = -1;
    return ::syscall(SYS_close_range, first + 2, ~0u, 0u) == 0 ? 0 : -errno;
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
    case Op::kIdMaps: case Op::kNetDevice: return -ENOSYS;  // the parent's
    case Op::kWaitParent: {
      int error = await_parent(child);
      return error || !step.x ? error : child_user_namespace_root();
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
    case Op::kHooks:
      report(child, Report::kHooks, index, 0);
      return await_parent(child);
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
    case Op::kIoPriority:
      return ::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, step.x) == 0 ? 0 : -errno;
    case Op::kAffinity:
      return ::syscall(SYS_sched_setaffinity, 0, step.a.size(), step.a.data()) == 0 || step.x ? 0 : -errno;
    case Op::kPersonality: return ::personality(step.x) >= 0 ? 0 : -errno;
    case Op::kMemoryPolicy:
      return ::syscall(SYS_set_mempolicy, step.x, step.a.empty() ? nullptr : step.a.data(),
                       step.a.empty() ? 0 : step.a.size() * 8 + 1) == 0 ? 0 : -errno;
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
    case Op::kExec:
      *child.exec_reached = true;
      return child_exec(child, step);
  }
  return -ENOSYS;
}

[[noreturn]] void run_child(Child& child, const std::vector<Step>& steps) {
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

// ---- the parent ------------------------------------------------------------------------------

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

std::string signal_text(int signal) {
  const char* name = ::sigdescr_np(signal);
  std::string out = name ? name : "unknown signal";
  out[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(out[0])));
  return fmt::format("signal: {} ({})", out, signal);
}
base::Error step_error(const Step& step, int error) {
  base::Error out = sys::error_from_errno(error, step.text());
  if (step.op == Op::kFindProgram || step.op == Op::kExec) {
    out.operation = fmt::format("exec: \"{}\"", step.a);
    if (error == ENOENT && step.op == Op::kFindProgram && step.a.find('/') == std::string::npos)
      out.reason = "executable file not found in $PATH";
    if (step.op == Op::kExec) {  // runc's words
      out.operation = "exec " + step.a.substr(0, step.a.find(' '));
      if (error == ENOENT) out.reason = "no such file or directory";
    }
    if (error == ENOENT && step.op == Op::kExec)
      out.hint = "its interpreter or dynamic loader is missing in the image";
    if (error == ENOEXEC) out.hint = "the image may be for another architecture";
  } else if (step.op == Op::kWorkingDirectory && error == EXDEV) {
    out.reason = "is outside the container's root";
  } else if ((step.op == Op::kMask || step.op == Op::kReadonlyPath) && error == EXDEV) {
    out.reason = "is not on the container's own procfs";
  } else if (step.op == Op::kMount && error == ELOOP) {
    out.reason = "the mount point is a symbolic link: it must be mounted on ordinary directory";
  } else if (step.op == Op::kBind && error == ENOENT) {
    out.hint = "the source must exist";
  } else if (step.op == Op::kRlimit && error == EPERM) {
    out.hint = "raising a hard limit needs CAP_SYS_RESOURCE";
  } else if (step.op == Op::kOomScoreAdj && error == EACCES) {
    out.hint = "lowering it needs CAP_SYS_RESOURCE";
  } else if (step.op == Op::kLabel) {
    bool apparmor = step.a.starts_with("apparmor");
    out.subject = apparmor ? "process.apparmorProfile" : "process.selinuxLabel";
    if (error == EINVAL || error == ENOENT)
      out.hint = apparmor ? "is AppArmor on, and the profile loaded?" : "is SELinux on?";
  } else if (step.op == Op::kScheduler) {
    out.subject = "process.scheduler";
    if (error == EPERM) out.hint = "process scheduler can't be used together with AllowedCPUs, or needs CAP_SYS_NICE (sched_setattr(2))";
  } else if (step.op == Op::kWaitParent && error == EINVAL) {
    out.reason = "no id map has id 0";
  } else if (step.op == Op::kHook) {
    out.operation = fmt::format("error running {} hook #{}", step.b, step.y);
    out.subject.clear();
    out.errno_value = 0;
    out.reason = step.a + ": " + (error >= kHookSignal ? signal_text(error - kHookSignal)
                                : error >= kHookExit ? fmt::format("exit code {}", error - kHookExit)
                                : error == ETIMEDOUT ? std::string("it ran into its timeout") : out.reason);
  }
  return out;
}

struct Prepared {
  Child child;
  std::vector<base::UniqueFd> fds;
  std::vector<int> tasks, namespaces, sources;
  std::vector<std::vector<char*>> arrays;
  std::vector<char* const*> argvs, envps;
  base::UniqueFd user_namespace, pid_namespace, own_pid_namespace, cgroup;
};

base::Status prepare(const LaunchPlan& plan, const LaunchInputs& inputs, Prepared& p) {
  for (const std::string& directory : plan.cgroup.directories) {
    p.fds.push_back(TRY(sys::open(directory + "/tasks", O_WRONLY)));
    p.tasks.push_back(p.fds.back().get());
  }
  for (const Step& step : plan.steps)
    if (step.op == Op::kJoinNamespace) {
      p.fds.push_back(TRY(sys::open(step.a, O_RDONLY)));
      p.namespaces.push_back(p.fds.back().get());
    }
  if (!plan.cgroup.unified.empty()) {
    p.cgroup = TRY(sys::open(plan.cgroup.unified, O_RDONLY | O_DIRECTORY));
  }
  for (base::UniqueFd& source : TRY(open_sources(plan.steps))) {
    p.sources.push_back(source.get());
    p.fds.push_back(std::move(source));
  }
  if (!plan.user_namespace.empty()) p.user_namespace = TRY(sys::open(plan.user_namespace, O_RDONLY));
  bool join_pid = !plan.pid_namespace.empty();
  if (join_pid) p.pid_namespace = TRY(sys::open(plan.pid_namespace, O_RDONLY));
  if (join_pid || inputs.container >= 0)
    p.own_pid_namespace = TRY(sys::open("/proc/self/ns/pid", O_RDONLY));

  // Pointers into the inputs' own strings: those live until the launch is over.
  p.arrays.reserve(64);
  auto add = [&](std::vector<char*> argv, const std::vector<std::string>& env) {
    p.arrays.push_back(std::move(argv));
    p.argvs.push_back(p.arrays.back().data());
    p.arrays.push_back(pointers(env));
    p.envps.push_back(p.arrays.back().data());
  };
  add(pointers(inputs.process->args), inputs.process->env);
  p.arrays.back().push_back(nullptr);  // kHome's
  p.envps.back() = p.arrays.back().data();
  p.child.home_slot = &p.arrays.back()[p.arrays.back().size() - 2];
  if (inputs.hooks)
    for (const auto* list : {&inputs.hooks->create_container, &inputs.hooks->start_container})
      for (const Hook& hook : *list)
        add(hook.args.empty() ? std::vector<char*>{const_cast<char*>(hook.path.c_str()), nullptr}
                              : pointers(hook.args),
            hook.has_env ? hook.env : inputs.process->env);
  // Before the program's turn: its environment, with the HOME that is looked up (kHome).
  for (size_t i = 0; inputs.hooks && i < inputs.hooks->start_container.size(); ++i)
    if (!inputs.hooks->start_container[i].has_env)
      p.envps[1 + inputs.hooks->create_container.size() + i] = p.envps[0];

  Child& child = p.child;
  child.tasks = p.tasks.data();
  child.tasks_count = p.tasks.size();
  child.namespaces = p.namespaces.data();
  child.sources = p.sources.data();
  child.container = inputs.container;
  std::copy(std::begin(inputs.stdio), std::end(inputs.stdio), child.stdio);
  child.console_socket = inputs.console_socket;
  child.plain_newlines = inputs.plain_newlines;
  child.start_fifo = inputs.start_fifo;
  if (inputs.filter) {
    child.seccomp.len = static_cast<unsigned short>(inputs.filter->size());
    child.seccomp.filter = const_cast<sock_filter*>(inputs.filter->data());
    child.seccomp_flags = inputs.filter_flags;
  }
  child.argvs = p.argvs.data();
  child.envps = p.envps.data();
  if (inputs.process->terminal) {
    if (inputs.console_socket < 0)
      return base::make_error(base::Kind::kInvalid, "launch", "process.terminal",
                              "nobody takes the terminal", "give a console socket");
    p.fds.push_back(TRY(sys::open("/dev/ptmx", O_RDWR | O_NOCTTY)));
    child.host_ptmx = p.fds.back().get();
  }
  return {};
}

// Before a user namespace is entered: what root in it may not join, as the network that an engine made.
// Not the mounts: a user namespace's own are joined from within. What fails is left to the child.
uint64_t join_as_the_host(const LaunchPlan& plan, const Prepared& p, int container) {
  uint64_t joined = 0;
  size_t next = 0;
  for (const Step& step : plan.steps) {
    bool named = step.op == Op::kJoinNamespace;
    if (!named && step.op != Op::kJoinContainer) continue;
    uint64_t flags = step.x & ~uint64_t{CLONE_NEWNS};
    int fd = named ? p.namespaces[next++] : container;
    if (flags != 0 && ::setns(fd, static_cast<int>(flags)) == 0) joined |= flags;
  }
  return joined;
}

// Who joins a user namespace has no way back: a process between us and the child does it, enters
// the pid namespace for its children, and makes the child ours (CLONE_PARENT).
pid_t clone_through(const LaunchPlan& plan, const LaunchInputs& inputs, Prepared& p, int* pidfd) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return -1;
  base::UniqueFd in(fds[0]), out(fds[1]);
  clone_args between{};
  between.exit_signal = SIGCHLD;
  if (p.cgroup.valid()) {
    between.flags = CLONE_INTO_CGROUP;
    between.cgroup = static_cast<uint64_t>(p.cgroup.get());
  }
  clone_args arguments{};
  arguments.flags = plan.clone_flags | CLONE_PARENT;
  int user = plan.through_container ? inputs.container : p.user_namespace.get();
  int pid_namespace = p.pid_namespace.valid() ? p.pid_namespace.get() : inputs.container;
  long middle = ::syscall(SYS_clone3, &between, sizeof between);
  if (middle < 0) return -1;
  if (middle == 0) {
    if (user >= 0 || plan.clone_flags & CLONE_NEWUSER) p.child.joined = join_as_the_host(plan, p, inputs.container);
    long result = user >= 0 ? ::setns(user, CLONE_NEWUSER) : 0;
    if (result == 0 && pid_namespace >= 0) result = ::setns(pid_namespace, CLONE_NEWPID);
    if (result == 0) result = ::syscall(SYS_clone3, &arguments, sizeof arguments);
    if (result == 0) run_child(p.child, plan.steps);
    int32_t said = static_cast<int32_t>(result < 0 ? -errno : result);
    ::_exit(::write(fds[1], &said, sizeof said) == sizeof said ? 0 : 1);
  }
  out.reset();
  int32_t said = -ECHILD;
  ssize_t n;
  do n = ::read(in.get(), &said, sizeof said);
  while (n < 0 && errno == EINTR);
  while (::waitpid(static_cast<pid_t>(middle), nullptr, 0) < 0 && errno == EINTR) {}
  if (said < 0) {
    errno = -said;
    return -1;
  }
  *pidfd = static_cast<int>(::syscall(SYS_pidfd_open, said, 0));  // a child of ours: not yet reaped
  return said;
}

pid_t clone_child(const LaunchPlan& plan, const LaunchInputs& inputs, Prepared& p, int* pidfd) {
  int join = p.pid_namespace.valid() ? p.pid_namespace.get() : inputs.container;
  // Root of a user namespace alone may not come back to the PID namespace that it is in: try at home.
  bool no_return = join >= 0 && ::setns(p.own_pid_namespace.get(), CLONE_NEWPID) != 0;
  bool joins_first = plan.clone_flags & CLONE_NEWUSER && !p.namespaces.empty();
  if (p.user_namespace.valid() || plan.through_container || no_return || joins_first) return clone_through(plan, inputs, p, pidfd);
  clone_args arguments{};
  arguments.flags = plan.clone_flags | CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<uint64_t>(pidfd);
  arguments.exit_signal = SIGCHLD;
  if (p.cgroup.valid()) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<uint64_t>(p.cgroup.get());
  }
  // setns of a pid namespace is for children only; ours is put back at once.
  if (join >= 0 && ::setns(join, CLONE_NEWPID) != 0) return -1;
  long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) run_child(p.child, plan.steps);
  int error = errno;
  if (join >= 0) SAMPAN_CHECK(::setns(p.own_pid_namespace.get(), CLONE_NEWPID) == 0);
  errno = error;
  return static_cast<pid_t>(pid);
}

base::Status give_listener(const LaunchInputs& inputs, int pidfd, pid_t pid, int fd) {
  base::UniqueFd listener(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd, fd, 0)));
  if (!listener.valid()) return sys::last_error("pidfd_getfd", "seccomp listener");
  if (!inputs.listener) return base::make_error(base::Kind::kInvalid, "launch", "linux.seccomp.listenerPath", "is required");
  return inputs.listener(pid, listener.get());
}

// A page that the child shares with us, so that a word about its last step costs neither a message
// nor waking us up.
class SharedFlag {
 public:
  SharedFlag() {
    void* page = ::mmap(nullptr, sizeof(bool), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED) flag_ = static_cast<volatile bool*>(page);
  }
  ~SharedFlag() {
    if (flag_) ::munmap(const_cast<bool*>(flag_), sizeof(bool));
  }
  SharedFlag(const SharedFlag&) = delete;
  SharedFlag& operator=(const SharedFlag&) = delete;
  volatile bool* get() { return flag_; }

 private:
  volatile bool* flag_ = nullptr;
};

pid_t innermost_pid(pid_t pid) {
  auto text = sys::read_file(fmt::format("/proc/{}/status", pid));
  size_t line = text.ok() ? text->find("\nNSpid:") : std::string::npos;
  if (line == std::string::npos) return pid;
  size_t last = text->rfind('\t', text->find('\n', line + 1));
  return static_cast<pid_t>(std::atoi(text->c_str() + last + 1));
}

base::Status converse(const LaunchPlan& plan, const LaunchInputs& inputs, int socket, pid_t pid,
                      const volatile bool* exec_reached, int pidfd) {
  if (inputs.record) TRY(inputs.record(pid));
  for (const Step& step : plan.parent_steps) TRY(do_parent_step(step, pid));
  bool waits = std::any_of(plan.steps.begin(), plan.steps.end(), [](const Step& s) { return s.op == Op::kWaitParent; });
  if (waits && ::send(socket, "p", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE) return sys::last_error("send");
  if (::send(socket, "c", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE) return sys::last_error("send");
  for (;;) {
    Message message{};
    ssize_t n = ::recv(socket, &message, sizeof message, 0);
    // ECONNRESET, once: it died before it read our word; what it sent before that comes next.
    if (n < 0 && (errno == EINTR || errno == ECONNRESET)) continue;
    if (n < 0) return sys::last_error("recv");
    if (n <= 0) {
      // Closed by execve, or by death.
      if (*exec_reached) return {};
      return base::make_error(base::Kind::kInternal, "launch", inputs.process->args[0],
                              "the process died before it could run the program",
                              "is its memory limit too small?");
    }
    SAMPAN_CHECK(static_cast<size_t>(n) == sizeof message && message.step < plan.steps.size());
    const Step& step = plan.steps[message.step];
    switch (message.report) {
      case Report::kFailed: return step_error(step, message.error);
      case Report::kReady: return {};
      case Report::kParentStep:
        TRY(do_parent_step(step, pid));
        if (::send(socket, "s", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE) return sys::last_error("send");
        break;
      case Report::kListener:
        TRY(give_listener(inputs, pidfd, pid, message.error));
        if (::send(socket, "l", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE) return sys::last_error("send");
        break;
      case Report::kHooks: {
        // A hook in the container's namespaces is told the pid that is seen there.
        std::string state = inputs.state ? inputs.state(step.op == Op::kHookState ? innermost_pid(pid) : pid) : "{}";
        if (state.size() > kMaxStateBytes) return base::make_error(base::Kind::kExhausted, step.text());
        if (step.op == Op::kHookState) {
          if (::send(socket, state.data(), state.size(), MSG_NOSIGNAL) < 0) return sys::last_error("send");
          break;
        }
        TRY(run_hooks(step.a == "prestart" ? inputs.hooks->prestart : inputs.hooks->create_runtime,
                      step.a.c_str(), state));
        if (::send(socket, "h", 1, MSG_NOSIGNAL) < 0) return sys::last_error("send");
        break;
      }
    }
  }
}

}  // namespace

base::Result<Launched> launch(const LaunchPlan& plan, const LaunchInputs& inputs) {
  TRY(act_cgroup(plan.cgroup));
  Prepared prepared;
  TRY(prepare(plan, inputs, prepared));
  sys::Pipe sockets = TRY(sys::socketpair(SOCK_SEQPACKET));
  prepared.child.socket = sockets.write.get();
  prepared.child.parent_socket = sockets.read.get();
  SharedFlag exec_reached;
  prepared.child.exec_reached = exec_reached.get();
  if (!prepared.child.exec_reached) return sys::last_error("mmap");
  int pidfd = -1;
  // The files that take id maps are root's for a process that can't be dumped.
  bool own_maps = ::geteuid() != 0 && plan.clone_flags & CLONE_NEWUSER;
  if (own_maps) ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  pid_t pid = clone_child(plan, inputs, prepared, &pidfd);
  if (own_maps) ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (pid < 0) {
    base::Error error = sys::last_error("clone", inputs.process->args[0]);
    if (errno == EAGAIN) error.hint = "a pids limit is reached";
    return error;
  }
  Launched launched{pid, base::UniqueFd(pidfd)};
  sockets.write.reset();
  prepared.fds.clear();
  if (auto status = converse(plan, inputs, sockets.read.get(), pid, exec_reached.get(), pidfd); !status.ok()) {
    base::ignore(sys::pidfd_send_signal(pidfd, SIGKILL), "it may be dead already");
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {}
    return status.error();
  }
  return launched;
}

base::Status run_hooks(const std::vector<Hook>& hooks, const char* name, const std::string& state) {
  for (size_t i = 0; i < hooks.size(); ++i) {
    const Hook& hook = hooks[i];
    // runc's words, which its callers look for.
    auto failed = [&](const std::string& why) {
      return base::make_error(base::Kind::kInternal, fmt::format("error running {} hook #{}", name, i), {}, hook.path + ": " + why);
    };
    base::Command command;
    command.argv = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
    std::string argv0 = command.argv[0];
    command.argv[0] = hook.path;
    if (hook.has_env) command.environment = hook.env;
    sys::Pipe input = TRY(sys::pipe());
    command.stdin_fd = input.read.get();
    auto spawned = base::spawn(command);
    if (!spawned.ok()) return failed(spawned.error().message());
    base::Child child = std::move(*spawned);
    input.read.reset();
    (void)!::write(input.write.get(), state.data(), state.size());  // a hook need not read it
    input.write.reset();
    if (hook.timeout_s > 0) {
      pollfd wait{child.pidfd.get(), POLLIN, 0};
      if (::poll(&wait, 1, hook.timeout_s * 1000) == 0) {
        base::ignore(sys::pidfd_send_signal(child.pidfd.get(), SIGKILL), "it may be dead already");
        base::ignore(base::wait_child(child), "killed");
        return failed(fmt::format("still runs after {} s", hook.timeout_s));
      }
    }
    base::ExitStatus status = TRY(base::wait_child(child));
    if (status.signal) return failed(signal_text(status.signal));
    if (status.code) return failed(fmt::format("exit code {}", status.code));
  }
  return {};
}

base::Status protect_own_program(char** argv) {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return sys::last_error("prctl", "PR_SET_DUMPABLE");
  // statfs asks the file system for its sizes: only where access(2) stops at the file's mode, as for
  // whom the owner's id is not mapped.
  struct statfs info;
  if (::access("/proc/self/exe", W_OK) != 0 &&
      (errno == EROFS || (errno == EACCES && ::statfs("/proc/self/exe", &info) == 0 && info.f_flags & ST_RDONLY))) {
    // execveat by fd leaves a number as our name (before kernel 6.14).
    const char* slash = std::strrchr(argv[0], '/');
    ::prctl(PR_SET_NAME, slash ? slash + 1 : argv[0], 0, 0, 0);
    return {};
  }
  int tree = kernel::open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE);
  if (tree == -EPERM && ::geteuid() != 0) return protect_as_user(argv);
  if (tree < 0) return sys::error_from_errno(-tree, "clone mount of", "/proc/self/exe");
  int error = set_attributes(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, 0, false);
  if (error) return sys::error_from_errno(-error, "make read-only", "/proc/self/exe");
  ::syscall(SYS_execveat, tree, "", argv, environ, AT_EMPTY_PATH);
  return sys::last_error("execveat", "/proc/self/exe");
}

bool kernel_at_least(int major, int minor) {
  static const auto version = [] {
    std::pair<int, int> out{0, 0};
    utsname name;
    if (::uname(&name) == 0) std::sscanf(name.release, "%d.%d", &out.first, &out.second);
    return out;
  }();
  return version >= std::pair(major, minor);
}
int own_oom_score_adj() {
  auto text = sys::read_file("/proc/self/oom_score_adj");
  return text.ok() ? std::atoi(text->c_str()) : 0;
}

}  // namespace runtime
