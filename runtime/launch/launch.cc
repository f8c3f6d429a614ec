#include "runtime/launch/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/sys.h"
#include "runtime/launch/child.h"
#include "runtime/launch/parent.h"

namespace runtime {
namespace {

namespace sys = base::sys;

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

struct Prepared {
  Child child;
  std::vector<base::UniqueFd> fds;
  std::vector<int> tasks, namespaces, sources;
  std::vector<std::vector<char*>> arrays;
  std::vector<char*const*> argvs, envps;
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
  if (join_pid || inputs.container >= 0) p.own_pid_namespace = TRY(sys::open("/proc/self/ns/pid", O_RDONLY));

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
  child.hook_out = inputs.hook_place.out;
  child.hook_err = inputs.hook_place.err;
  if (inputs.process->terminal) {
    if (inputs.console_socket < 0)
      return base::make_error(base::Kind::kInvalid, "launch", "process.terminal", "nobody takes the terminal",
                              "give a console socket");
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
    if (user >= 0 || plan.clone_flags & CLONE_NEWUSER)
      p.child.joined = join_as_the_host(plan, p, inputs.container);
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
  while (::waitpid(static_cast<pid_t>(middle), nullptr, 0) < 0 && errno == EINTR) {
  }
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
  if (p.user_namespace.valid() || plan.through_container || no_return || joins_first)
    return clone_through(plan, inputs, p, pidfd);
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
  if (!inputs.listener)
    return base::make_error(base::Kind::kInvalid, "launch", "linux.seccomp.listenerPath", "is required");
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
  bool waits = std::any_of(plan.steps.begin(), plan.steps.end(),
                           [](const Step& s) { return s.op == Op::kWaitParent; });
  if (waits && ::send(socket, "p", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE) return sys::last_error("send");
  if (::send(socket, "c", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE) return sys::last_error("send");
  for (;;) {
    Message message{};
    ssize_t n = ::recv(socket, &message, sizeof message, 0);
    // ECONNRESET, once: it died before it read our word; what it sent before that comes next.
    if (n < 0 && (errno == EINTR || errno == ECONNRESET)) continue;
    if (n < 0 && errno == EAGAIN)
      return base::make_error(base::Kind::kTimeout, "launch", inputs.process->args[0],
                              "the process did not get to its program in " +
                                  std::to_string(inputs.time_limit.count() / 1000) + " s",
                              "is its cgroup frozen, or a mount's server gone?");
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
        std::string state =
            inputs.state ? inputs.state(step.op == Op::kHookState ? innermost_pid(pid) : pid) : "{}";
        if (state.size() > kMaxStateBytes) return base::make_error(base::Kind::kExhausted, step.text());
        if (step.op == Op::kHookState) {
          if (::send(socket, state.data(), state.size(), MSG_NOSIGNAL) < 0) return sys::last_error("send");
          break;
        }
        TRY(run_hooks(step.a == "prestart" ? inputs.hooks->prestart : inputs.hooks->create_runtime,
                      step.a.c_str(), state, inputs.hook_place));
        if (::send(socket, "h", 1, MSG_NOSIGNAL) < 0) return sys::last_error("send");
        break;
      }
    }
  }
}

// False: it is frozen by the v1 freezer or in an uninterruptible sleep, and dies when that ends. Its
// parent, which gave a time limit because it has a loop, collects it then.
bool dies_soon(int pidfd) {
  pollfd wait{pidfd, POLLIN, 0};
  int n;
  do n = ::poll(&wait, 1, 2000);
  while (n < 0 && errno == EINTR);
  return n != 0;
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
  if (inputs.time_limit.count() > 0) {
    timeval limit{inputs.time_limit.count() / 1000, inputs.time_limit.count() % 1000 * 1000};
    if (::setsockopt(sockets.read.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0)
      return sys::last_error("setsockopt", "SO_RCVTIMEO");
  }
  prepared.fds.clear();
  if (auto status = converse(plan, inputs, sockets.read.get(), pid, exec_reached.get(), pidfd);
      !status.ok()) {
    base::ignore(sys::pidfd_send_signal(pidfd, SIGKILL), "it may be dead already");
    if (inputs.time_limit.count() > 0 && !dies_soon(pidfd)) return status.error();
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return status.error();
  }
  return launched;
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
