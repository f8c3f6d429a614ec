// The commands that look at containers and take them down.
#include "runtime/oci/commands.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <poll.h>
#include <regex.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <functional>

#include "base/clock.h"
#include "base/number.h"
#include "base/printable.h"
#include "base/process.h"
#include "base/signals.h"
#include "base/sys.h"
#include "runtime/cgroup/systemd.h"
#include "runtime/launch/launch.h"
#include "runtime/oci/launch.h"
#include "runtime/oci/rootless.h"
#include "runtime/runtime.h"
#include "runtime/spec/capabilities.h"
#include "runtime/spec/config.h"

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
base::Result<Loaded> load(const OciContext& context, const std::string& id) {
  Loaded out;
  out.lock = TRY(context.store.lock(id));
  out.state = TRY(context.store.read(id));
  out.layout = TRY(cgroup_layout());
  out.status = context.store.status(out.state, *out.layout);
  return out;
}
std::string owner_name(const std::string& directory) {
  struct stat info;
  if (::stat(directory.c_str(), &info) != 0) return "";
  std::string name = user_name(info.st_uid);
  return name.empty() ? fmt::format("#{}", info.st_uid) : name;
}
base::Status require_cgroup(const OciState& state, const char* operation) {
  if (!state.cgroup.empty()) return {};
  return base::make_error(Kind::kUnsupported, operation, state.id, "it has no cgroup of its own");
}
void print(const std::string& text) { std::fputs(text.c_str(), stdout); }
std::string time_text(int64_t nanoseconds) {
  return base::format_nano_time(base::Time(base::Duration(nanoseconds)));
}

}  // namespace

namespace {
void warn(const base::Error& error) {
  std::fprintf(stderr, "sampan-oci: warning: %s\n", base::printable_line(error.message()).c_str());
}
// The specification: log and go on; nothing here may stop the removal.
void run_poststop(const Config& config, const OciState& state) {
  auto files = open_hook_files(config, state.bundle);
  if (!files.ok()) warn(files.error());
  HookPlace place = files.ok() ? files->place : HookPlace{"/"};
  for (const Hook& hook : config.hooks.poststop)
    if (auto ran = run_hooks({hook}, "poststop", json::serialize(state_document(state, "stopped")), place);
        !ran.ok())
      warn(ran.error());
}
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
        return base::make_error(Kind::kTimeout, "kill container", state.id, "its process does not die",
                                "look for state D");
    }
  }
  if (!state.unit.empty()) {
    base::ignore(signal_cgroup(*layout, state.cgroup, SIGKILL), "so that systemd need not ask and wait");
    auto systemd = Systemd::connect(state.user_unit);
    if (systemd.ok())
      base::ignore(systemd->stop(state.unit),
                   "it ends by itself once it is empty, which the next line tells");
  }
  if (!state.cgroup.empty()) TRY(remove_cgroup(*layout, state.cgroup));
  // The root and all mounts were in the container's own mount namespace and are gone with it, unless
  // it had none.
  if (state.pid != 0 && !(state.namespaces & CLONE_NEWNS) && !state.rootfs.empty())
    while (::umount2(state.rootfs.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
    }
  if (state.poststop && state.pid != 0) {
    if (auto config = store.read_config(state.id); config.ok())
      if (auto parsed = parse_config(*config); parsed.ok()) run_poststop(*parsed, state);
  }
  return store.remove(state.id);
}

base::Result<int> oci_state(const OciContext& context) {
  Loaded c = TRY(load(context, context.options.arguments[0]));
  OciStatus status = c.status == OciStatus::kCreating ? OciStatus::kStopped : c.status;
  json::object out = state_document(c.state, status_name(status));
  if (status == OciStatus::kStopped) out["pid"] = 0;
  out["rootfs"] = c.state.rootfs;
  out["created"] = time_text(c.state.created_ns);
  print(json::serialize(out) + "\n");
  return 0;
}

namespace {
// --regex, crun's: ID is an extended regular expression, for every container with a match in its id. What
// one of them fails with is a warning.
base::Result<int> for_matching(const OciContext& context,
                               const std::function<base::Status(const std::string&)>& act) {
  const std::string& pattern = context.options.arguments[0];
  regex_t regex;
  if (::regcomp(&regex, pattern.c_str(), REG_EXTENDED | REG_NOSUB) != 0)
    return base::make_error(Kind::kInvalid, "read option --regex", {},
                            "'" + pattern + "' is not a regular expression");
  auto ids = context.store.list();
  for (const std::string& id : ids.ok() ? *ids : std::vector<std::string>())
    if (::regexec(&regex, id.c_str(), 0, nullptr, 0) == 0)
      if (auto done = act(id); !done.ok()) warn(done.error());
  ::regfree(&regex);
  if (!ids.ok()) return ids.error();
  return 0;
}

base::Status kill_one(const OciContext& context, const std::string& id, int signal) {
  Loaded c = TRY(load(context, id));
  if (context.options.has("all") && !c.state.cgroup.empty()) {
    TRY(signal_cgroup(*c.layout, c.state.cgroup, signal));
    return {};
  }
  // Without a pid namespace others may live on when the first process is gone.
  bool others = signal == SIGKILL && !(c.state.namespaces & CLONE_NEWPID) && !c.state.cgroup.empty();
  if (others && c.status == OciStatus::kStopped && !cgroup_processes(*c.layout, c.state.cgroup).empty()) {
    TRY(signal_cgroup(*c.layout, c.state.cgroup, SIGKILL));
    return {};
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
  if (others) TRY(signal_cgroup(*c.layout, c.state.cgroup, SIGKILL));
  return {};
}

base::Status delete_one(const OciContext& context, const std::string& id) {
  bool force = context.options.has("force");
  auto loaded = load(context, id);
  if (!loaded.ok()) {
    if (force && loaded.error().kind == Kind::kNotFound) return {};
    return loaded.error();
  }
  if (!force && (loaded->status == OciStatus::kRunning || loaded->status == OciStatus::kPaused))
    return base::make_error(
        Kind::kConflict, "delete container", loaded->state.id,
        fmt::format("cannot delete container that is not stopped: {}", status_name(loaded->status)),
        "kill it or use --force");
  return destroy_container(context.store, loaded->state);
}
}  // namespace

base::Result<int> oci_kill(const OciContext& context) {
  std::string name = context.options.arguments.size() > 1 ? context.options.arguments[1] : "SIGTERM";
  const auto number = base::signal_number(name);
  if (!number) return base::make_error(Kind::kInvalid, "kill", name, "unknown signal");
  const int signal = *number;
  if (context.options.has("regex"))
    return for_matching(context, [&](const std::string& id) { return kill_one(context, id, signal); });
  TRY(kill_one(context, context.options.arguments[0], signal));
  return 0;
}

base::Result<int> oci_delete(const OciContext& context) {
  if (context.options.has("regex"))
    return for_matching(context, [&](const std::string& id) { return delete_one(context, id); });
  TRY(delete_one(context, context.options.arguments[0]));
  return 0;
}

base::Result<int> oci_list(const OciContext& context) {
  const CgroupLayout* layout = TRY(cgroup_layout());
  json::array all;
  std::string table = fmt::format("{:<32} {:<10} {:<10} {:<40} {:<32} {}\n", "ID", "PID", "STATUS", "BUNDLE",
                                  "CREATED", "OWNER");
  for (const std::string& id : TRY(context.store.list())) {
    auto state = context.store.read(id);
    if (!state.ok()) continue;  // removed meanwhile
    OciStatus status = context.store.status(*state, *layout);
    pid_t pid = status == OciStatus::kStopped || status == OciStatus::kCreating ? 0 : state->pid;
    if (context.options.has("quiet")) {
      print(id + "\n");
      continue;
    }
    table +=
        fmt::format("{:<32} {:<10} {:<10} {:<40} {:<32} {}\n", id, pid, status_name(status), state->bundle,
                    time_text(state->created_ns), owner_name(context.store.directory(id)));
    all.push_back(json::object{{"ociVersion", kOciVersion},
                               {"id", id},
                               {"pid", pid},
                               {"status", status_name(status)},
                               {"bundle", state->bundle},
                               {"rootfs", state->rootfs},
                               {"created", time_text(state->created_ns)},
                               {"owner", owner_name(context.store.directory(id))}});
  }
  if (context.options.has("quiet")) return 0;
  std::string format = context.options.get("format", "table");
  if (format != "table" && format != "json")
    return base::make_error(Kind::kInvalid, "list", format, "unknown format");
  print(format == "json" ? json::serialize(all) + "\n" : table);
  return 0;
}

base::Result<int> oci_ps(const OciContext& context) {
  Loaded c = TRY(load(context, context.options.arguments[0]));
  TRY(require_cgroup(c.state, "list processes of container"));
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
      if (column == std::string::npos)
        return base::make_error(Kind::kInvalid, "ps", {}, "couldn't find PID field in ps output");
      print(line + "\n");
    } else if (column < words.size() &&
               std::find(pids.begin(), pids.end(), base::parse_number<pid_t>(words[column]).value_or(-1)) !=
                   pids.end()) {
      print(line + "\n");
    }
  }
  return 0;
}

base::Result<int> oci_pause(const OciContext& context, bool pause) {
  Loaded c = TRY(load(context, context.options.arguments[0]));
  TRY(require_cgroup(c.state, "freeze container"));
  if (pause ? c.status != OciStatus::kRunning && c.status != OciStatus::kCreated
            : c.status != OciStatus::kPaused)
    return base::make_error(Kind::kConflict, pause ? "pause container" : "resume container", c.state.id,
                            fmt::format("container is {}", status_name(c.status)));
  TRY(freeze_cgroup(*c.layout, c.state.cgroup, pause));
  return 0;
}

}  // namespace runtime
