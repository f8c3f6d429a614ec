// exec: a further process in a running container.
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>

#include "base/json_file.h"
#include "base/number.h"
#include "base/sys.h"
#include "runtime/launch/launch.h"
#include "runtime/launch/mounts.h"
#include "runtime/oci/commands.h"
#include "runtime/oci/foreground.h"
#include "runtime/oci/launch.h"
#include "runtime/oci/listener.h"
#include "runtime/spec/capabilities.h"

namespace runtime {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

namespace {
base::Result<Process> exec_process(const Options& options, const Config& config) {
  if (options.has("process")) {
    if (options.arguments.size() > 1) return invalid_option("exec", "give --process or a command, not both");
    return parse_process(TRY(base::read_json_file(options.get("process"))));
  }
  if (options.arguments.size() < 2) return invalid_option("exec", "give a command");
  Process process = *config.process;
  process.args.assign(options.arguments.begin() + 1, options.arguments.end());
  process.terminal = options.has("tty");
  if (options.has("cwd")) process.cwd = options.get("cwd");
  for (const std::string& entry : options.all("env")) {
    if (entry.find('=') == std::string::npos || entry[0] == '=')
      return invalid_option("read option --env", "'" + entry + "' is not NAME=value");
    process.env.push_back(entry);
  }
  clean_environment(process.env);
  if (options.has("user")) {
    const std::string user = options.get("user");
    const size_t colon = user.find(':');
    auto uid = base::parse_id(std::string_view(user).substr(0, colon));
    auto gid = colon == user.npos ? std::optional(process.gid)
                                  : base::parse_id(std::string_view(user).substr(colon + 1));
    if (!uid || !gid)
      return invalid_option("read option --user",
                            "'" + user + "' must be UID or UID:GID, each from 0 to 4294967294");
    process.uid = *uid;
    process.gid = *gid;
  }
  for (const std::string& text : options.all("additional-gids")) {
    auto gid = base::parse_id(text);
    if (!gid)
      return invalid_option("read option --additional-gids",
                            "'" + text + "' is not a group's id from 0 to 4294967294");
    process.additional_gids.push_back(*gid);
  }
  for (const std::string& name : options.all("cap")) {
    int capability = capability_number(name);
    if (capability < 0) return invalid_option("read option --cap", "unknown capability " + name);
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

// --cgroup [CONTROLLER,…:]PATH: below the container's own.
base::Status choose_cgroup(const CgroupLayout& layout, const std::string& cgroup, const std::string& place,
                           ExecFacts& facts) {
  size_t colon = place.find(':');
  std::string controllers = colon == std::string::npos ? "" : place.substr(0, colon);
  std::string path = place.substr(colon == std::string::npos ? 0 : colon + 1);
  if (("/" + path + "/").find("/../") != std::string::npos)
    return base::make_error(Kind::kInvalid, "exec", {},
                            "bad --cgroup: " + path + " is not a sub cgroup path");
  path = clean_path(path);
  std::string below = cgroup + (path == "/" ? "" : path);
  auto exists = [&](const std::string& directory) -> base::Status {
    if (sys::exists(directory)) return {};
    return base::make_error(
        Kind::kNotFound, "exec", {},
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
      return base::make_error(Kind::kInvalid, "exec", {},
                              "unknown controller " + controllers.substr(at, end - at) + " in --cgroup");
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
  // Before the status: a process that is then found to be the one we wrote down always had this pid.
  auto container = sys::pidfd_open(state.pid);
  const CgroupLayout* layout = TRY(cgroup_layout());
  OciStatus status = context.store.status(state, *layout);
  if (status == OciStatus::kPaused && !options.has("ignore-paused"))
    return base::make_error(Kind::kConflict, "exec", id, "cannot exec in a paused container",
                            "resume it or use --ignore-paused");
  // The process stays frozen until somebody resumes the container: that needs the lock.
  if (status == OciStatus::kPaused) lock.reset();
  if (!container.ok() ||
      (status != OciStatus::kRunning && status != OciStatus::kCreated && status != OciStatus::kPaused))
    return base::make_error(Kind::kNotFound, "exec", id, "cannot exec in a stopped container");
  Config config = TRY(parse_config(TRY(context.store.read_config(id))));
  Process process = TRY(exec_process(options, config));
  bool detach = options.has("detach");
  base::UniqueFd signals;
  if (!detach) signals = TRY(block_signals());

  ExecFacts facts;
  if (!state.cgroup.empty()) {
    facts.cgroup_directories = cgroup_directories(*layout, state.cgroup);
    std::string unified = layout->unified.empty() ? ""
                          : options.has("cgroup") ? state.cgroup
                                                  : init_cgroup(state);
    if (!unified.empty() && sys::exists(layout->unified + unified))
      facts.cgroup_unified = layout->unified + unified;
    for (const std::string& place : options.all("cgroup"))
      TRY(choose_cgroup(*layout, state.cgroup, place, facts));
  }
  facts.personality = config.personality;
  facts.namespaces = state.namespaces;
  facts.preserve_fds = TRY(preserved_fds(options, process));
  LaunchInputs inputs;
  inputs.process = &process;
  inputs.container = container->get();
  ContainerFilter filter = TRY(container_filter(config, context.store.cache()));
  inputs.filter = filter.filter;
  inputs.filter_flags = filter.flags;
  facts.has_filter = config.has_filter();
  facts.filter_listener = filter.listener;
  facts.keep_groups = config.extensions.keep_groups;
  inputs.listener = [&](pid_t pid, int fd) {
    return send_listener(config.seccomp, json::serialize(state_document(state, status_name(status))), pid,
                         fd);
  };
  Console console = TRY(make_console(options, process.terminal, detach));
  inputs.console_socket = console.give.get();
  inputs.plain_newlines = console.take.valid();
  LaunchPlan plan = TRY(plan_exec(process, facts));
  if (context.log->debugs()) context.log->debug_lines(plan.text());
  Launched launched = TRY(launch(plan, inputs));
  base::UniqueFd terminal = TRY(take_terminal(console));
  auto told = [&]() -> base::Status {
    if (options.has("pidfd-socket")) TRY(give_pidfd(options, config, launched));
    return write_pid_file(options, launched.pid);
  }();
  if (!told.ok()) {  // whoever asked for it can't know of the process
    base::ignore(sys::pidfd_send_signal(launched.pidfd.get(), SIGKILL), "it may have ended");
    return told.error();
  }
  if (detach) return 0;
  lock.reset();
  return stay(launched, signals.get(), std::move(terminal));
}

}  // namespace runtime
