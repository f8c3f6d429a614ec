// Talks to systemd: makes, changes and stops the scope of a container.
#include "runtime/cgroup/systemd.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "base/sys.h"

namespace runtime {
namespace {

namespace sys = base::sys;
using base::Kind;

constexpr const char* kService = "org.freedesktop.systemd1";
constexpr const char* kManagerPath = "/org/freedesktop/systemd1";
constexpr const char* kManager = "org.freedesktop.systemd1.Manager";

struct IdMapLine {
  unsigned long inside = 0, outside = 0, count = 0;
};
IdMapLine first_id_map() {
  IdMapLine out;
  if (auto text = sys::read_file("/proc/self/uid_map"); text.ok())
    std::sscanf(text->c_str(), "%lu %lu %lu", &out.inside, &out.outside, &out.count);
  return out;
}
std::string user_bus_path() {
  const char* address = std::getenv("DBUS_SESSION_BUS_ADDRESS");
  constexpr std::string_view kUnixPath = "unix:path=";
  if (address && std::string_view(address).starts_with(kUnixPath)) {
    std::string path = address + kUnixPath.size();
    return path.substr(0, path.find_first_of(",;"));
  }
  const char* directory = std::getenv("XDG_RUNTIME_DIR");
  if (directory && *directory) return std::string(directory) + "/bus";
  unsigned long uid = ::geteuid();
  IdMapLine map = first_id_map();
  if (uid >= map.inside && uid - map.inside < map.count) uid = map.outside + (uid - map.inside);
  return fmt::format("/run/user/{}/bus", uid);
}
std::string unit_object(const std::string& unit) {
  std::string out = "/org/freedesktop/systemd1/unit/";
  for (size_t i = 0; i < unit.size(); ++i) {
    char c = unit[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9' && i > 0);
    if (plain) out += c;
    else out += fmt::format("_{:02x}", static_cast<unsigned char>(c));
  }
  return out;
}
// A process that does nothing: a scope can't be made, nor stay, without one.
base::Result<pid_t> start_holder() {
  pid_t parent = ::getpid(), pid = ::fork();
  if (pid < 0) return sys::last_error("fork", "the scope's first process");
  if (pid > 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != parent) ::_exit(0);
  for (;;) ::pause();
}

}  // namespace

bool systemd_is_ours() {
  constexpr ino_t kFirstUserNamespace = 0xEFFFFFFD;  // PROC_USER_INIT_INO, fixed since kernel 3.8
  struct stat info;
  return ::geteuid() == 0 && ::stat("/proc/self/ns/user", &info) == 0 && info.st_ino == kFirstUserNamespace;
}

ScopeHolder::~ScopeHolder() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);  // our child and not yet waited for: the pid is its own
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

base::Result<Systemd> Systemd::connect(bool user) {
  std::string bus = user ? user_bus_path() : "/run/dbus/system_bus_socket";
  auto connection = DbusConnection::connect(bus, true);
  if (!connection.ok()) {
    // No bus: the manager also listens itself.
    std::string own = user ? bus.substr(0, bus.rfind('/')) + "/systemd/private" : "/run/systemd/private";
    auto direct = DbusConnection::connect(own, false);
    if (direct.ok()) return Systemd(std::move(*direct));
    base::Error error =
        base::wrap(connection.error(), "connect to systemd", user ? "of the user" : "of the system");
    error.hint = user ? "has the user a session, or loginctl enable-linger? drop --systemd-cgroup otherwise"
                      : "is this host run by systemd? drop --systemd-cgroup otherwise";
    return error;
  }
  DbusBody match;
  match.add(
      std::string("type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',"
                  "interface='org.freedesktop.systemd1.Manager',member='JobRemoved'"));
  TRY(connection->call(
      {"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", match}));
  return Systemd(std::move(*connection));
}

base::Result<DbusMessage> Systemd::call(const char* member, DbusBody body) {
  return connection_.call({kService, kManagerPath, kManager, member, std::move(body)});
}

base::Status Systemd::wait_job(const DbusMessage& reply, const std::string& unit) {
  auto job = reply.strings();
  if (job.empty()) return base::make_error(Kind::kInternal, "ask systemd for", unit, "no job was named");
  for (;;) {
    DbusMessage signal = TRY_WRAP(connection_.next_signal(), "wait for systemd's job on", unit);
    if (signal.member != "JobRemoved") continue;
    auto values = signal.strings();  // id, job, unit, result
    if (values.size() < 4 || values[1] != job[0]) continue;
    if (values[3] == "done") return {};
    return base::make_error(Kind::kInternal, "ask systemd for", unit,
                            "the job ended with '" + values[3] + "'", "see journalctl -u " + unit);
  }
}

base::Result<std::string> Systemd::cgroup_of(const SystemdScope& scope) {
  // The manager's own: empty for the system's, /user.slice/…/user@1000.service for a user's.
  DbusBody body;
  body.add(std::string(kManager)).add(std::string("ControlGroup"));
  DbusMessage reply =
      TRY_WRAP(connection_.call({kService, kManagerPath, "org.freedesktop.DBus.Properties", "Get", body}),
               "ask for the cgroup of", "systemd");
  auto root = reply.strings();
  if (root.empty())
    return base::make_error(Kind::kInternal, "ask for the cgroup of", "systemd", "the answer is no path");
  std::string slice = TRY(slice_path(scope.slice));
  return root[0] + (slice == "/" ? "" : slice) + "/" + scope.unit;
}

base::Status Systemd::check_free(const std::string& unit) {
  DbusBody body;
  body.add(std::string("org.freedesktop.systemd1.Unit")).add(std::string("ActiveState"));
  DbusMessage reply = TRY_WRAP(
      connection_.call({kService, unit_object(unit), "org.freedesktop.DBus.Properties", "Get", body}),
      "ask for the state of", unit);
  auto state = reply.strings();
  if (state.empty() || state[0] == "inactive" || state[0] == "failed") return {};
  return base::make_error(Kind::kExists, "start", unit, "a unit of that name is " + state[0],
                          "give another cgroupsPath");
}

base::Result<ScopeHolder> Systemd::start(const SystemdScope& scope, std::vector<DbusProperty> properties) {
  pid_t pid = TRY(start_holder());
  ScopeHolder holder(pid);
  properties.push_back({"PIDs", std::vector<uint32_t>{static_cast<uint32_t>(pid)}});
  DbusBody body;
  body.add(scope.unit).add(std::string("replace")).add_properties(properties).add_no_units();
  auto reply = call("StartTransientUnit", body);
  if (!reply.ok() && reply.error().kind == Kind::kExists) {
    // One that failed keeps its name until it is forgotten.
    DbusBody name;
    name.add(scope.unit);
    base::ignore(call("ResetFailedUnit", name), "the second try tells");
    reply = call("StartTransientUnit", body);
  }
  if (!reply.ok()) return base::wrap(reply.error(), "start", scope.unit);
  TRY(wait_job(*reply, scope.unit));
  return holder;
}

base::Status Systemd::set_properties(const std::string& unit, const std::vector<DbusProperty>& properties) {
  if (properties.empty()) return {};
  DbusBody body;
  body.add(unit).add(true).add_properties(properties);  // at run time only: it is transient
  TRY_WRAP(call("SetUnitProperties", body), "change", unit);
  return {};
}

base::Status Systemd::stop(const std::string& unit) {
  DbusBody body;
  body.add(unit).add(std::string("replace"));
  auto reply = call("StopUnit", body);
  if (reply.ok()) TRY(wait_job(*reply, unit));
  else if (reply.error().kind != Kind::kNotFound) return base::wrap(reply.error(), "stop", unit);
  DbusBody name;
  name.add(unit);
  base::ignore(call("ResetFailedUnit", name), "most did not fail and are forgotten already");
  return {};
}

}  // namespace runtime
