// create, run, start and exec: the commands that launch.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <climits>
#include <csignal>
#include <optional>

#include "base/clock.h"
#include "base/sys.h"
#include "runtime/capabilities.h"
#include "runtime/launch.h"
#include "runtime/mounts.h"
#include "runtime/oci_commands.h"
#include "runtime/oci_foreground.h"
#include "runtime/oci_listener.h"
#include "runtime/oci_rootless.h"
#include "runtime/systemd_cgroup.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

base::Error invalid(std::string what, std::string why, std::string hint = {}) {
  return base::make_error(Kind::kInvalid, std::move(what), {}, std::move(why), std::move(hint));
}
base::Result<std::string> absolute(const std::string& path) {
  if (!path.empty() && path[0] == '/') return path;
  char cwd[PATH_MAX];
  if (!::getcwd(cwd, sizeof cwd)) return sys::last_error("getcwd");
  return std::string(cwd) + "/" + path;
}
base::Result<int> number(const Options& options, std::string_view name) {
  std::string text = options.get(name, "0");
  int value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || value < 0)
    return invalid("read option --" + std::string(name), "'" + text + "' is not a number");
  return value;
}

base::Result<base::UniqueFd> connect_console(const std::string& path) {
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return invalid("console socket " + path, "the path is too long");
  std::copy(path.begin(), path.end(), address.sun_path);
  if (!fd.valid() || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return sys::last_error("connect console socket", path);
  return fd;
}
// Where the pty's master goes: to the caller's socket, or to us, who stay and copy.
struct Console {
  base::UniqueFd give;      // for the launch
  base::UniqueFd take;      // ours, when we stay
};
base::Result<Console> make_console(const Options& options, bool terminal, bool detach) {
  Console out;
  std::string path = options.get("console-socket");
  if (!terminal) {
    if (!path.empty()) return invalid("use console socket", "the process has no terminal");
    return out;
  }
  if (!path.empty()) {
    if (!detach) return invalid("use console socket", "without --detach the terminal is ours");
    out.give = TRY(connect_console(path));
    return out;
  }
  if (detach) return invalid("allocate terminal", "nobody would hold it", "give --console-socket");
  sys::Pipe sockets = TRY(sys::socketpair(SOCK_SEQPACKET));
  out.give = std::move(sockets.write);
  out.take = std::move(sockets.read);
  return out;
}
base::Result<base::UniqueFd> take_terminal(Console& console) {
  console.give.reset();
  if (!console.take.valid()) return base::UniqueFd();
  sys::Message message = TRY(sys::recv_with_fds(console.take.get()));
  if (message.fds.empty()) return base::make_error(Kind::kInternal, "take terminal", {}, "no fd came");
  return std::move(message.fds[0]);
}
base::Status write_pid_file(const Options& options, pid_t pid) {
  std::string path = options.get("pid-file");
  if (path.empty()) return {};
  std::string temporary = path + "~";
  {
    base::UniqueFd fd = TRY(sys::open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    TRY_WRAP(sys::write_all(fd.get(), std::to_string(pid)), "write", temporary);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return sys::last_error("rename", path);
  return {};
}
base::Status give_pidfd(const Options& options, const Launched& launched) {
  if (!options.has("pidfd-socket")) return {};
  return send_fd(options.get("pidfd-socket"), "pidfd", launched.pidfd.get(), "--pidfd-socket");
}
// What a hook or the program said before the launch failed would be lost with the terminal.
void show_terminal(Console& console) {
  auto terminal = take_terminal(console);
  if (!terminal.ok() || !terminal->valid()) return;
  ::fcntl(terminal->get(), F_SETFL, O_NONBLOCK);
  char buffer[4096];
  for (ssize_t n; (n = ::read(terminal->get(), buffer, sizeof buffer)) > 0;)
    if (!sys::write_all(2, {buffer, static_cast<size_t>(n)}).ok()) return;
}
base::Result<int> preserved_fds(const Options& options, Process& process) {
  int count = TRY(number(options, "preserve-fds"));
  const char* listen = ::getenv("LISTEN_FDS");
  if (int n = listen ? std::atoi(listen) : 0; n > 0) {
    count += n;
    process.env.push_back(fmt::format("LISTEN_FDS={}", n));
    process.env.push_back("LISTEN_PID=1");
  }
  for (int fd = 3; fd < 3 + count; ++fd) {
    // One of ours may sit at a number that the caller did not fill: it must not get in.
    int flags = ::fcntl(fd, F_GETFD);
    if (flags < 0 || (flags & FD_CLOEXEC))
      return invalid("preserve fds", fmt::format("fd {} is not open", fd));
  }
  return count;
}

struct Bundle {
  std::string path, text;
  json::value document;
  Config config;
};
bool is_bind(const Mount& mount) {
  if (mount.type == "bind") return true;
  for (const std::string& option : mount.options)
    if (option == "bind" || option == "rbind") return true;
  return false;
}
base::Result<Bundle> read_bundle(const Options& options) {
  Bundle out;
  out.path = TRY(absolute(options.get("bundle", ".")));
  char real[PATH_MAX];
  if (!::realpath(out.path.c_str(), real)) return sys::last_error("open bundle", out.path);
  out.path = real;
  std::string file = out.path + "/config.json";
  out.text = TRY(sys::read_file(file));
  out.document = TRY_WRAP(base::parse_json(out.text), "read", file);
  out.config = TRY(parse_config(out.document));
  for (Mount& mount : out.config.mounts)
    if (is_bind(mount) && !mount.source.empty() && mount.source[0] != '/') mount.source.insert(0, out.path + "/");
  for (const std::string& warning : out.config.warnings) std::fprintf(stderr, "sampan-oci: warning: %s\n", warning.c_str());
  return out;
}

// With --systemd-cgroup: where the container goes, and who is asked to make it.
struct Scope {
  Systemd systemd;
  SystemdScope names;
};
base::Result<Scope> find_scope(const Config& config, OciState& state) {
  bool user = !systemd_is_ours();
  SystemdScope names = TRY(parse_systemd_path(config.cgroups_path, state.id, user));
  Scope out{TRY(Systemd::connect(user)), std::move(names)};
  TRY(out.systemd.check_free(out.names.unit));  // before it is written down as ours
  state.cgroup = TRY(out.systemd.cgroup_of(out.names));
  state.unit = out.names.unit;
  state.user_unit = user;
  return out;
}

// The launch of create and run. On failure nothing is left.
struct Created {
  OciState state;
  Launched launched;
  base::UniqueFd terminal, lock;
  Config config;
};
base::Result<Created> create(const OciContext& context, bool wait_start, bool detach) {
  const Options& options = context.options;
  const std::string& id = options.arguments[0];
  TRY(check_container_id(id));
  Bundle bundle = TRY(read_bundle(options));
  Config& config = bundle.config;
  // The specification wants it from `start` on.
  if (!config.process && !wait_start) return invalid("read process", "is required");
  if (!config.process) config.process.emplace().args = {""};

  Created out;
  out.state.id = id;
  out.state.bundle = bundle.path;
  out.state.rootfs = clean_path(config.root_path[0] == '/' ? config.root_path : bundle.path + "/" + config.root_path);
  const CgroupLayout* host_layout = TRY(cgroup_layout());
  out.state.cgroup = config.cgroups_path.empty() ? default_cgroup(*host_layout, id) : config.cgroups_path;
  if (out.state.cgroup[0] != '/') out.state.cgroup.insert(0, "/");
  std::optional<Scope> scope;
  if (context.systemd_cgroup) scope = TRY(find_scope(config, out.state));
  else if (config.cgroups_path.find(':') != std::string::npos)
    return invalid("read linux.cgroupsPath", "'" + config.cgroups_path + "' is not a path", "give --systemd-cgroup if it is slice:prefix:name");
  for (const auto& [key, value] : config.annotations) out.state.annotations[key] = value;
  for (const Namespace& ns : config.namespaces) out.state.namespaces |= ns.flag;
  out.state.poststop = !config.hooks.poststop.empty();
  out.state.created_ns = base::wall_now().time_since_epoch().count();

  LaunchFacts facts;
  // Outside of the first user namespace, what is not delegated to us is not ours.
  CgroupLayout ours = *host_layout;
  if (scope) {
    ours.systemd = true;
    ours.device_control = systemd_is_ours();
  } else if (!systemd_is_ours()) {
    ours = delegated_cgroups(*host_layout, out.state.cgroup);
  }
  facts.layout = &ours;
  facts.cgroup = out.state.cgroup;
  facts.no_pivot = options.has("no-pivot");
  facts.selinux = !config.mount_label.empty() && sys::exists("/sys/fs/selinux/enforce");
  facts.filter_listener = has_listener(config.seccomp);
  set_identity_facts(config, facts);
  facts.rootfs = out.state.rootfs;
  facts.wait_start = wait_start;
  facts.preserve_fds = TRY(preserved_fds(options, *config.process));
  LaunchPlan plan = TRY(plan_launch(config, facts));
  if (context.log->debugs()) context.log->debug_lines(plan.text());
  if (plan.cgroup.directories.empty() && plan.cgroup.unified.empty()) out.state.cgroup.clear();
  LaunchInputs inputs;
  inputs.process = &*config.process;
  inputs.listener = [&](pid_t pid, int fd) {
    return send_listener(config.seccomp, json::serialize(state_document(out.state, "creating")), pid, fd);
  };
  if (!config.seccomp.is_null()) {
    inputs.filter = TRY(load_seccomp(config.seccomp, context.store.cache()));
    inputs.filter_flags = seccomp_flags(config.seccomp);
  }
  Console console = TRY(make_console(options, config.process->terminal, detach));
  inputs.console_socket = console.give.get();
  inputs.plain_newlines = console.take.valid();
  inputs.hooks = &config.hooks;
  inputs.state = [&](pid_t) { return json::serialize(state_document(out.state, "creating")); };
  inputs.record = [&](pid_t pid) -> base::Status {
    out.state.pid = pid;
    out.state.pid_identity = process_identity(pid);
    return context.store.write(out.state);
  };

  out.lock = TRY(context.store.make(id));
  auto made = [&]() -> base::Status {
    // The intent: before there is a cgroup or a process.
    TRY(context.store.write(out.state));
    TRY(context.store.write_config(id, bundle.text));
    base::UniqueFd fifo;
    if (wait_start) {
      if (::mkfifo(context.store.fifo(id).c_str(), 0600) != 0) return sys::last_error("mkfifo", context.store.fifo(id));
      // Read and write: so the child's read waits although nobody has opened the other end.
      fifo = TRY(sys::open(context.store.fifo(id), O_RDWR));
      inputs.start_fifo = fifo.get();
    }
    ScopeHolder holder;
    if (scope) {
      auto started = scope->systemd.start(scope->names, TRY(plan_scope(*facts.layout, scope->names, id, config)));
      if (!started.ok()) {
        // Somebody else's by now: not ours to stop.
        if (started.error().kind == Kind::kExists) out.state.unit = out.state.cgroup = "";
        return started.error();
      }
      holder = std::move(*started);
    }
    auto launched = launch(plan, inputs);
    if (!launched.ok()) {
      show_terminal(console);
      return launched.error();
    }
    out.launched = std::move(*launched);
    out.terminal = TRY(take_terminal(console));
    TRY(give_pidfd(options, out.launched));
    return write_pid_file(options, out.state.pid);
  }();
  if (!made.ok()) {
    base::ignore(destroy_container(context.store, out.state), "the first error counts");
    return made.error();
  }
  context.log->debug(fmt::format("container {} is process {}", id, out.state.pid));
  out.config = std::move(config);
  return out;
}

base::Status run_poststart(const Config& config, const OciState& state) {
  if (config.hooks.poststart.empty()) return {};
  return run_hooks(config.hooks.poststart, "poststart", json::serialize(state_document(state, "running")));
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
  if (auto hooks = run_poststart(created.config, created.state); !hooks.ok()) {
    base::ignore(destroy_container(context.store, created.state), "the first error counts");
    return hooks.error();
  }
  if (detach) return 0;
  // Others may look at the container and stop it meanwhile.
  created.lock.reset();
  auto code = stay(created.launched, signals.get(), std::move(created.terminal));
  if (code.ok() && context.options.has("keep")) return code;
  auto lock = context.store.lock(created.state.id);
  if (lock.ok()) TRY(destroy_container(context.store, created.state));
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
  base::UniqueFd fifo = TRY(sys::open(context.store.fifo(id), O_WRONLY | O_NONBLOCK));
  TRY_WRAP(sys::write_all(fifo.get(), "s"), "start container", id);
  if (::unlink(context.store.fifo(id).c_str()) != 0) return sys::last_error("unlink", context.store.fifo(id));
  if (auto hooks = run_poststart(config, state); !hooks.ok()) {
    base::ignore(destroy_container(context.store, state), "the first error counts");
    return hooks.error();
  }
  return 0;
}

namespace {
base::Result<Process> exec_process(const Options& options, const Config& config) {
  if (options.has("process")) {
    if (options.arguments.size() > 1) return invalid("exec", "give --process or a command, not both");
    return parse_process(TRY(base::parse_json(TRY(sys::read_file(options.get("process"))))));
  }
  if (options.arguments.size() < 2) return invalid("exec", "give a command");
  Process process = *config.process;
  process.args.assign(options.arguments.begin() + 1, options.arguments.end());
  process.terminal = options.has("tty");
  if (options.has("cwd")) process.cwd = options.get("cwd");
  for (const std::string& entry : options.all("env")) {
    if (entry.find('=') == std::string::npos || entry[0] == '=') return invalid("read option --env", "'" + entry + "' is not NAME=value");
    process.env.push_back(entry);
  }
  clean_environment(process.env);
  if (options.has("user")) {
    unsigned uid = 0, gid = process.gid;
    char rest = 0;
    int n = std::sscanf(options.get("user").c_str(), "%u:%u%c", &uid, &gid, &rest);
    if (n < 1 || n > 2) return invalid("read option --user", "must be UID or UID:GID");
    process.uid = uid;
    process.gid = gid;
  }
  for (const std::string& gid : options.all("additional-gids"))
    process.additional_gids.push_back(static_cast<uint32_t>(std::strtoul(gid.c_str(), nullptr, 10)));
  for (const std::string& name : options.all("cap")) {
    int capability = capability_number(name);
    if (capability < 0) return invalid("read option --cap", "unknown capability " + name);
    uint64_t bit = uint64_t{1} << capability;
    process.capabilities.bounding |= bit;
    process.capabilities.permitted |= bit;
    process.capabilities.effective |= bit;
    process.capabilities.ambient |= bit & process.capabilities.inheritable;
  }
  if (options.has("no-new-privs")) process.no_new_privileges = true;
  if (options.has("apparmor")) process.apparmor_profile = options.get("apparmor");
  if (options.has("process-label")) process.selinux_label = options.get("process-label");
  return process;
}
// On v2: the container may have made cgroups below its own and gone there, as systemd does; then its
// own takes no process.
std::string init_cgroup(const OciState& state) {
  auto text = sys::read_file(fmt::format("/proc/{}/cgroup", state.pid));
  size_t at = text.ok() ? text->rfind("0::", 0) == 0 ? 0 : text->find("\n0::") + 1 : std::string::npos;
  if (at == std::string::npos || text->compare(at, 3, "0::") != 0) return state.cgroup;
  std::string path = text->substr(at + 3, text->find('\n', at) - at - 3);
  return path.starts_with(state.cgroup + "/") ? path : state.cgroup;
}
}  // namespace

namespace {
// --cgroup [CONTROLLER,…:]PATH: below the container's own.
base::Status choose_cgroup(const CgroupLayout& layout, const std::string& cgroup, const std::string& place, ExecFacts& facts) {
  size_t colon = place.find(':');
  std::string controllers = colon == std::string::npos ? "" : place.substr(0, colon);
  std::string path = place.substr(colon == std::string::npos ? 0 : colon + 1);
  if (("/" + path + "/").find("/../") != std::string::npos)
    return base::make_error(Kind::kInvalid, "exec", {}, "bad --cgroup: " + path + " is not a sub cgroup path");
  path = clean_path(path);
  std::string below = cgroup + (path == "/" ? "" : path);
  auto exists = [&](const std::string& directory) -> base::Status {
    if (sys::exists(directory)) return {};
    return base::make_error(Kind::kNotFound, "exec", {},
                            fmt::format("adding pid to cgroup: open {}/cgroup.procs: no such file or directory", directory));
  };
  if (controllers.empty()) {
    for (std::string& directory : facts.cgroup_directories) {
      directory += path == "/" ? "" : path;
      TRY(exists(directory));
    }
    if (!facts.cgroup_unified.empty() && (layout.pure_v2() || sys::exists(layout.unified + below))) {
      facts.cgroup_unified = layout.unified + below;
      TRY(exists(facts.cgroup_unified));
    }
    return {};
  }
  for (size_t at = 0; at <= controllers.size();) {
    size_t end = std::min(controllers.find(',', at), controllers.size());
    const CgroupLayout::Hierarchy* hierarchy = layout.find(controllers.substr(at, end - at));
    if (!hierarchy)
      return base::make_error(Kind::kInvalid, "exec", {}, "unknown controller " + controllers.substr(at, end - at) + " in --cgroup");
    TRY(exists(hierarchy->mount + below));
    for (std::string& directory : facts.cgroup_directories)
      if (directory == hierarchy->mount + cgroup) directory = hierarchy->mount + below;
    at = end + 1;
  }
  return {};
}
}  // namespace

base::Result<int> oci_exec(const OciContext& context) {
  const Options& options = context.options;
  const std::string& id = options.arguments[0];
  base::UniqueFd lock = TRY(context.store.lock(id));
  OciState state = TRY(context.store.read(id));
  const CgroupLayout* layout = TRY(cgroup_layout());
  OciStatus status = context.store.status(state, *layout);
  if (status == OciStatus::kPaused && !options.has("ignore-paused"))
    return base::make_error(Kind::kConflict, "exec", id, "cannot exec in a paused container", "resume it or use --ignore-paused");
  // The process stays frozen until somebody resumes the container: that needs the lock.
  if (status == OciStatus::kPaused) lock.reset();
  if (status != OciStatus::kRunning && status != OciStatus::kCreated && status != OciStatus::kPaused)
    return base::make_error(Kind::kNotFound, "exec", id, "cannot exec in a stopped container");
  Config config = TRY(parse_config(TRY(context.store.read_config(id))));
  Process process = TRY(exec_process(options, config));
  bool detach = options.has("detach");
  base::UniqueFd signals;
  if (!detach) signals = TRY(block_signals());

  base::UniqueFd container = TRY(sys::pidfd_open(state.pid));
  // The pidfd is of the process we wrote down only if that has not ended and been replaced.
  if (process_identity(state.pid) != state.pid_identity)
    return base::make_error(Kind::kNotFound, "exec", id, "cannot exec in a stopped container");
  ExecFacts facts;
  if (!state.cgroup.empty()) {
    facts.cgroup_directories = cgroup_directories(*layout, state.cgroup);
    std::string unified = layout->unified.empty() ? "" : options.has("cgroup") ? state.cgroup : init_cgroup(state);
    if (!unified.empty() && sys::exists(layout->unified + unified)) facts.cgroup_unified = layout->unified + unified;
    for (const std::string& place : options.all("cgroup")) TRY(choose_cgroup(*layout, state.cgroup, place, facts));
  }
  facts.personality = config.personality;
  facts.namespaces = state.namespaces;
  facts.preserve_fds = TRY(preserved_fds(options, process));
  LaunchInputs inputs;
  inputs.process = &process;
  inputs.container = container.get();
  if (!config.seccomp.is_null()) {
    inputs.filter = TRY(load_seccomp(config.seccomp, context.store.cache()));
    inputs.filter_flags = seccomp_flags(config.seccomp);
    facts.has_filter = true;
    facts.filter_listener = has_listener(config.seccomp);
    inputs.listener = [&](pid_t pid, int fd) {
      return send_listener(config.seccomp, json::serialize(state_document(state, status_name(status))), pid, fd);
    };
  }
  Console console = TRY(make_console(options, process.terminal, detach));
  inputs.console_socket = console.give.get();
  inputs.plain_newlines = console.take.valid();
  LaunchPlan plan = TRY(plan_exec(process, facts));
  if (context.log->debugs()) context.log->debug_lines(plan.text());
  Launched launched = TRY(launch(plan, inputs));
  base::UniqueFd terminal = TRY(take_terminal(console));
  TRY(give_pidfd(options, launched));
  TRY(write_pid_file(options, launched.pid));
  if (detach) return 0;
  lock.reset();
  return stay(launched, signals.get(), std::move(terminal));
}

}  // namespace runtime
