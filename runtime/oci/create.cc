// create, run and start.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/sys.h"
#include "runtime/launch/launch.h"
#include "runtime/oci/bundle.h"
#include "runtime/oci/commands.h"
#include "runtime/oci/foreground.h"
#include "runtime/oci/launch.h"
#include "runtime/oci/listener.h"
#include "runtime/oci/notify.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;
constexpr int kExecWaitMs = 10'000;  // startContainer hooks run before the program

// Of a launch. On failure nothing is left.
struct Created {
  NewContainer container;
  Launched launched;
  base::UniqueFd terminal, lock;
  NotifySocket notify;
};

// From the intent to the running process: what it makes is found again by destroy_container.
base::Status make(const OciContext& context, Created& created, LaunchInputs& inputs, Console& console,
                  bool wait_start) {
  const OciStore& store = context.store;
  OciState& state = created.container.state;
  // The intent: before there is a cgroup or a process.
  TRY(store.write(state));
  TRY(store.write_config(state.id, created.container.config_text));
  const std::string notify = notify_directory(store.directory(state.id));
  if (!notify_host().empty() && ::mkdir(notify.c_str(), 0755) != 0) return sys::last_error("mkdir", notify);
  base::UniqueFd fifo;
  if (wait_start) {
    if (::mkfifo(store.fifo(state.id).c_str(), 0600) != 0)
      return sys::last_error("mkfifo", store.fifo(state.id));
    // Read and write: so the child's read waits although nobody has opened the other end.
    fifo = TRY(sys::open(store.fifo(state.id), O_RDWR));
    inputs.start_fifo = fifo.get();
  } else created.notify = TRY(NotifySocket::listen(notify));
  ScopeHolder holder = TRY(start_scope(created.container));
  auto launched = launch(created.container.plan, inputs);
  if (!launched.ok()) {
    show_terminal(console);
    return launched.error();
  }
  created.launched = std::move(*launched);
  created.terminal = TRY(take_terminal(console));
  TRY(give_pidfd(context.options, created.container.config, created.launched));
  return write_pid_file(context.options, state.pid);
}

base::Result<Created> create(const OciContext& context, bool wait_start, bool detach) {
  Created out{TRY(plan_container(context, wait_start)), {}, {}, {}, {}};
  OciState& state = out.container.state;
  const Config& config = out.container.config;
  LaunchInputs inputs;
  inputs.process = &*config.process;
  inputs.listener = [&](pid_t pid, int fd) {
    return send_listener(config.seccomp, json::serialize(state_document(state, "creating")), pid, fd);
  };
  ContainerFilter filter = TRY(container_filter(config, context.store.cache()));
  inputs.filter = filter.filter;
  inputs.filter_flags = filter.flags;
  HookFiles hook_files = TRY(open_hook_files(config, state.bundle));
  inputs.hook_place = hook_files.place;
  Console console = TRY(make_console(context.options, config.process->terminal, detach));
  inputs.console_socket = console.give.get();
  inputs.plain_newlines = console.take.valid();
  inputs.hooks = &config.hooks;
  // Of the hooks before `start`: the environment is made by then, which is what "created" means.
  inputs.state = [&](pid_t pid) {
    OciState seen = state;
    seen.pid = pid;
    return json::serialize(state_document(seen, "created"));
  };
  inputs.record = [&](pid_t pid) -> base::Status {
    state.pid = pid;
    state.pid_identity = process_identity(pid);
    return context.store.write(state);
  };

  out.lock = TRY(context.store.make(state.id));
  if (auto made = make(context, out, inputs, console, wait_start); !made.ok()) {
    base::ignore(destroy_container(context.store, state), "the first error counts");
    return made.error();
  }
  context.log->debug(fmt::format("container {} is process {}", state.id, state.pid));
  return out;
}

}  // namespace

base::Result<int> oci_create(const OciContext& context) {
  TRY(create(context, true, true));
  return 0;
}

base::Result<int> oci_run(const OciContext& context) {
  bool detach = context.options.has("detach");
  base::UniqueFd signals;
  if (!detach) signals = TRY(block_signals());
  Created created = TRY(create(context, false, detach));
  if (auto hooks = run_poststart(created.container.config, created.container.state); !hooks.ok()) {
    base::ignore(destroy_container(context.store, created.container.state), "the first error counts");
    return hooks.error();
  }
  // Others may look at the container and stop it meanwhile.
  created.lock.reset();
  if (detach) {
    base::ignore(created.notify.wait(created.launched.pidfd.get(), created.launched.pid),
                 "a manager that is gone is no reason to fail");
    return 0;
  }
  auto code = stay(created.launched, signals.get(), std::move(created.terminal), &created.notify);
  if (code.ok() && context.options.has("keep")) return code;
  auto lock = context.store.lock(created.container.state.id);
  if (lock.ok()) TRY(destroy_container(context.store, created.container.state));
  else if (lock.error().kind != Kind::kNotFound) return lock.error();  // or somebody else deleted it
  return code;
}

base::Result<int> oci_start(const OciContext& context) {
  const std::string& id = context.options.arguments[0];
  base::UniqueFd lock = TRY(context.store.lock(id));
  OciState state = TRY(context.store.read(id));
  OciStatus status = context.store.status(state, *TRY(cgroup_layout()));
  if (status != OciStatus::kCreated)
    return base::make_error(Kind::kConflict, "start container", id,
                            fmt::format("cannot start a container in the {} state", status_name(status)));
  Config config = TRY(parse_config(TRY(context.store.read_config(id))));
  if (!config.process) {
    base::ignore(sys::pidfd_send_signal(TRY(sys::pidfd_open(state.pid)).get(), SIGKILL), "it may be dead");
    return base::make_error(Kind::kInvalid, "start container", id, "process is not set");
  }
  NotifySocket notify = TRY(NotifySocket::listen(notify_directory(context.store.directory(id))));
  base::UniqueFd fifo = TRY(sys::open(context.store.fifo(id), O_WRONLY | O_NONBLOCK));
  TRY_WRAP(sys::write_all(fifo.get(), "s"), "start container", id);
  if (::unlink(context.store.fifo(id).c_str()) != 0) return sys::last_error("unlink", context.store.fifo(id));
  // Until the program runs, so that hooks come after it and a signal meets it: execve closes the
  // other end, and so does death.
  pollfd executed{fifo.get(), 0, 0};
  ::poll(&executed, 1, kExecWaitMs);
  if (auto hooks = run_poststart(config, state); !hooks.ok()) {
    base::ignore(destroy_container(context.store, state), "the first error counts");
    return hooks.error();
  }
  if (notify.fd() < 0) return 0;
  base::UniqueFd process = TRY(sys::pidfd_open(state.pid));
  lock.reset();
  base::ignore(notify.wait(process.get(), state.pid), "a manager that is gone is no reason to fail");
  return 0;
}

}  // namespace runtime
