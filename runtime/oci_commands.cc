// The commands that look at containers and take them down.
#include "runtime/oci_commands.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>

#include "base/clock.h"
#include "base/process.h"
#include "base/sys.h"
#include "runtime/capabilities.h"
#include "runtime/launch.h"
#include "runtime/oci.h"
#include "runtime/runtime.h"
#include "runtime/systemd_cgroup.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

struct Loaded {
  base::UniqueFd lock;
  OciState state;
  const CgroupLayout* layout = nullptr;
  OciStatus status = OciStatus::kStopped;
};
base::Result<Loaded> load(const OciContext& context) {
  Loaded out;
  const std::string& id = context.options.arguments[0];
  out.lock = TRY(context.store.lock(id));
  out.state = TRY(context.store.read(id));
  out.layout = TRY(cgroup_layout());
  out.status = context.store.status(out.state, *out.layout);
  return out;
}
void print(const std::string& text) { std::fputs(text.c_str(), stdout); }
std::string time_text(int64_t nanoseconds) { return base::format_nano_time(base::Time(base::Duration(nanoseconds))); }

}  // namespace

base::Status destroy_container(const OciStore& store, const OciState& state) {
  const CgroupLayout* layout = TRY(cgroup_layout());
  if (state.pid != 0 && process_identity(state.pid) == state.pid_identity && state.pid_identity != 0) {
    auto pidfd = sys::pidfd_open(state.pid);
    if (pidfd.ok()) {
      base::ignore(sys::pidfd_send_signal(pidfd->get(), SIGKILL), "it may be dead");
      if (!state.cgroup.empty() && cgroup_frozen(*layout, state.cgroup))
        base::ignore(freeze_cgroup(*layout, state.cgroup, false), "a v2 kill passes through");
      pollfd wait{pidfd->get(), POLLIN, 0};
      if (::poll(&wait, 1, 10'000) == 0)
        return base::make_error(Kind::kTimeout, "kill container", state.id, "its process does not die", "look for state D");
    }
  }
  if (!state.unit.empty()) {
    base::ignore(signal_cgroup(*layout, state.cgroup, SIGKILL), "so that systemd need not ask and wait");
    auto systemd = Systemd::connect(state.user_unit);
    if (systemd.ok()) base::ignore(systemd->stop(state.unit), "it ends by itself once it is empty, which the next line tells");
  }
  if (!state.cgroup.empty()) TRY(remove_cgroup(*layout, state.cgroup));
  // The root and all mounts were in the container's own mount namespace and are gone with it, unless
  // it had none.
  if (state.pid != 0 && !(state.namespaces & CLONE_NEWNS) && !state.rootfs.empty())
    while (::umount2(state.rootfs.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {}
  if (state.poststop && state.pid != 0) {
    if (auto config = store.read_config(state.id); config.ok())
      if (auto parsed = parse_config(*config); parsed.ok())
        base::ignore(run_hooks(parsed->hooks.poststop, "poststop", json::serialize(state_document(state, "stopped"))),
                     "the specification: log and go on; nothing here may stop the removal");
  }
  return store.remove(state.id);
}

base::Result<int> oci_state(const OciContext& context) {
  Loaded c = TRY(load(context));
  OciStatus status = c.status == OciStatus::kCreating ? OciStatus::kStopped : c.status;
  json::object out = state_document(c.state, status_name(status));
  if (status == OciStatus::kStopped) out["pid"] = 0;
  out["rootfs"] = c.state.rootfs;
  out["created"] = time_text(c.state.created_ns);
  print(json::serialize(out) + "\n");
  return 0;
}

base::Result<int> oci_kill(const OciContext& context) {
  std::string name = context.options.arguments.size() > 1 ? context.options.arguments[1] : "SIGTERM";
  int signal = signal_number(name);
  if (signal < 0) return base::make_error(Kind::kInvalid, "kill", name, "unknown signal");
  Loaded c = TRY(load(context));
  if (context.options.has("all")) {
    TRY(signal_cgroup(*c.layout, c.state.cgroup, signal));
    return 0;
  }
  if (c.status == OciStatus::kStopped || c.status == OciStatus::kCreating)
    return base::make_error(Kind::kNotFound, "kill container", c.state.id, "container not running");
  base::UniqueFd pidfd = TRY(sys::pidfd_open(c.state.pid));
  if (process_identity(c.state.pid) != c.state.pid_identity)
    return base::make_error(Kind::kNotFound, "kill container", c.state.id, "container not running");
  TRY(sys::pidfd_send_signal(pidfd.get(), signal));
  // So that a `delete` right behind finds it stopped; a process in state D is not waited for.
  pollfd wait{pidfd.get(), POLLIN, 0};
  if (signal == SIGKILL && c.status != OciStatus::kPaused) ::poll(&wait, 1, 1000);
  // Without a pid namespace the others do not die with the first process.
  if (signal == SIGKILL && !(c.state.namespaces & CLONE_NEWPID)) TRY(signal_cgroup(*c.layout, c.state.cgroup, SIGKILL));
  return 0;
}

base::Result<int> oci_delete(const OciContext& context) {
  bool force = context.options.has("force");
  auto loaded = load(context);
  if (!loaded.ok()) {
    if (force && loaded.error().kind == Kind::kNotFound) return 0;
    return loaded.error();
  }
  if (!force && (loaded->status == OciStatus::kRunning || loaded->status == OciStatus::kPaused))
    return base::make_error(Kind::kConflict, "delete container", loaded->state.id,
                            fmt::format("cannot delete container that is not stopped: {}", status_name(loaded->status)),
                            "kill it or use --force");
  TRY(destroy_container(context.store, loaded->state));
  return 0;
}

base::Result<int> oci_list(const OciContext& context) {
  const CgroupLayout* layout = TRY(cgroup_layout());
  json::array all;
  std::string table = fmt::format("{:<32} {:<10} {:<10} {:<40} {}\n", "ID", "PID", "STATUS", "BUNDLE", "CREATED");
  for (const std::string& id : TRY(context.store.list())) {
    auto state = context.store.read(id);
    if (!state.ok()) continue;  // removed meanwhile
    OciStatus status = context.store.status(*state, *layout);
    pid_t pid = status == OciStatus::kStopped || status == OciStatus::kCreating ? 0 : state->pid;
    if (context.options.has("quiet")) {
      print(id + "\n");
      continue;
    }
    table += fmt::format("{:<32} {:<10} {:<10} {:<40} {}\n", id, pid, status_name(status), state->bundle, time_text(state->created_ns));
    all.push_back(json::object{{"ociVersion", kOciVersion}, {"id", id}, {"pid", pid}, {"status", status_name(status)},
                               {"bundle", state->bundle}, {"rootfs", state->rootfs},
                               {"created", time_text(state->created_ns)}, {"owner", "root"}});
  }
  if (context.options.has("quiet")) return 0;
  std::string format = context.options.get("format", "table");
  if (format != "table" && format != "json") return base::make_error(Kind::kInvalid, "list", format, "unknown format");
  print(format == "json" ? json::serialize(all) + "\n" : table);
  return 0;
}

base::Result<int> oci_ps(const OciContext& context) {
  Loaded c = TRY(load(context));
  std::vector<pid_t> pids = cgroup_processes(*c.layout, c.state.cgroup);
  std::string format = context.options.get("format", "table");
  if (format == "json") {
    json::array out;
    for (pid_t pid : pids) out.push_back(pid);
    print(json::serialize(out) + "\n");
    return 0;
  }
  if (format != "table") return base::make_error(Kind::kInvalid, "ps", format, "unknown format");
  std::vector<std::string> argv{"ps"};
  argv.insert(argv.end(), context.options.arguments.begin() + 1, context.options.arguments.end());
  if (argv.size() == 1) argv.push_back("-ef");
  base::Output output = TRY(base::run_command(argv));
  if (output.status.signal || output.status.code)
    return base::make_error(Kind::kInternal, "run ps", {}, output.err.substr(0, 200));
  size_t column = std::string::npos;
  std::string_view rest = output.out;
  for (bool first = true; !rest.empty(); first = false) {
    std::string line(rest.substr(0, rest.find('\n')));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    std::vector<std::string> words;
    for (size_t at = 0; (at = line.find_first_not_of(' ', at)) != std::string::npos;) {
      size_t end = std::min(line.find(' ', at), line.size());
      words.push_back(line.substr(at, end - at));
      at = end;
    }
    if (first) {
      for (size_t i = 0; i < words.size(); ++i)
        if (words[i] == "PID") column = i;
      if (column == std::string::npos) return base::make_error(Kind::kInvalid, "ps", {}, "couldn't find PID field in ps output");
      print(line + "\n");
    } else if (column < words.size() &&
               std::find(pids.begin(), pids.end(), std::atoi(words[column].c_str())) != pids.end()) {
      print(line + "\n");
    }
  }
  return 0;
}

base::Result<int> oci_pause(const OciContext& context, bool pause) {
  Loaded c = TRY(load(context));
  if (pause ? c.status != OciStatus::kRunning && c.status != OciStatus::kCreated : c.status != OciStatus::kPaused)
    return base::make_error(Kind::kConflict, pause ? "pause container" : "resume container", c.state.id,
                            fmt::format("container is {}", status_name(c.status)));
  TRY(freeze_cgroup(*c.layout, c.state.cgroup, pause));
  return 0;
}

base::Result<int> oci_update(const OciContext& context) {
  const Options& options = context.options;
  Loaded c = TRY(load(context));
  if (c.status == OciStatus::kStopped || c.status == OciStatus::kCreating)
    return base::make_error(Kind::kNotFound, "update container", c.state.id, "container not running");
  json::object document;
  if (options.has("resources")) {
    std::string path = options.get("resources");
    json::value value = TRY_WRAP(base::parse_json(path == "-" ? TRY(sys::read_all(0)) : TRY(sys::read_file(path))), "read", path);
    if (!value.is_object()) return base::make_error(Kind::kInvalid, "read", path, "must be an object");
    document = value.as_object();
  }
  struct Row {
    const char *option, *section, *field;
  };
  constexpr Row kRows[] = {{"memory", "memory", "limit"}, {"memory-reservation", "memory", "reservation"},
                           {"memory-swap", "memory", "swap"}, {"cpu-shares", "cpu", "shares"},
                           {"cpu-share", "cpu", "shares"}, {"cpu-quota", "cpu", "quota"},
                           {"cpu-period", "cpu", "period"}, {"cpu-burst", "cpu", "burst"},
                           {"cpu-idle", "cpu", "idle"}, {"pids-limit", "pids", "limit"},
                           {"blkio-weight", "blockIO", "weight"}};
  for (const Row& row : kRows)
    if (options.has(row.option)) {
      json::value number = TRY_WRAP(base::parse_json(options.get(row.option)), "read option", std::string("--") + row.option);
      base::object_at(document, row.section)[row.field] = number;
    }
  for (auto [option, field] : {std::pair{"cpuset-cpus", "cpus"}, std::pair{"cpuset-mems", "mems"}})
    if (options.has(option)) base::object_at(document, "cpu")[field] = options.get(option);
  Resources resources = TRY(parse_resources(document));
  if (!resources.devices.empty())
    return base::make_error(Kind::kUnsupported, "update container", c.state.id, "devices can't be changed");
  CgroupPlan plan = TRY(plan_cgroup_update(*c.layout, c.state.cgroup, resources));
  if (!c.state.unit.empty()) {
    // systemd writes what it was told again whenever it likes: it must know.
    auto properties = TRY(systemd_resource_properties(*c.layout, resources));
    TRY(TRY(Systemd::connect(c.state.user_unit)).set_properties(c.state.unit, properties));
  }
  auto done = act_cgroup(plan);
  if (!done.ok() && done.error().errno_value == EINVAL && resources.memory_limit && resources.memory_swap) {
    // v1: memory may never exceed memory and swap: when both grow, the second goes first.
    for (size_t i = 0; i + 1 < plan.actions.size(); ++i)
      if (plan.actions[i].path.ends_with("/memory.limit_in_bytes")) std::swap(plan.actions[i], plan.actions[i + 1]);
    done = act_cgroup(plan);
  }
  TRY(std::move(done));
  return 0;
}

base::Result<int> oci_spec(const OciContext& context) {
  std::string path = context.options.get("bundle", ".") + "/config.json";
  if (sys::exists(path)) return base::make_error(Kind::kExists, "write", path, "file exists", "remove it first");
  json::object config = default_config();
  base::object_at(config, "process")["terminal"] = true;
  base::object_at(config, "root")["readonly"] = true;
  config["hostname"] = "sampan";
  TRY(sys::write_file_atomic(path, json::serialize(config) + "\n"));
  return 0;
}

base::Result<int> oci_features() {
  json::array capabilities;
  for (int i = 0; i <= last_capability(); ++i) capabilities.push_back(json::value(capability_name(i)));
  auto list = [](std::initializer_list<const char*> names) {
    json::array out;
    for (const char* name : names) out.push_back(json::value(name));
    return out;
  };
  bool v1 = false, v2 = false;
  if (auto layout = cgroup_layout(); layout.ok()) {
    v1 = !(*layout)->v1.empty();
    v2 = (*layout)->pure_v2();
  }
  json::object out{
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", kOciVersion},
      {"hooks", list({"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"})},
      {"mountOptions",
       list({"async", "atime", "bind", "defaults", "dev", "diratime", "exec", "noatime", "nodev", "nodiratime", "noexec",
             "norelatime", "nostrictatime", "nosuid", "nosymfollow", "private", "ratime", "rbind", "rdev", "relatime",
             "rexec", "rnoatime", "rnodev", "rnoexec", "rnosuid", "ro", "rprivate", "rro", "rshared", "rslave",
             "runbindable", "rw", "shared", "slave", "strictatime", "suid", "symfollow", "unbindable"})},
      {"linux",
       json::object{{"namespaces", list({"cgroup", "ipc", "mount", "network", "pid", "uts"})},
                    {"capabilities", std::move(capabilities)},
                    {"cgroup", json::object{{"v1", v1}, {"v2", v2}, {"systemd", true}, {"systemdUser", true}}},
                    {"seccomp", json::object{{"enabled", true},
                                             {"actions", list({"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL",
                                                               "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
                                                               "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"})}}},
                    {"apparmor", json::object{{"enabled", true}}},
                    {"selinux", json::object{{"enabled", true}}}}}};
  print(json::serialize(out) + "\n");
  return 0;
}

}  // namespace runtime
