#include "runtime/pod/protocol.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "base/json_limits.h"
#include "base/sys.h"

namespace runtime::protocol {

namespace json = base::json;
namespace sys = base::sys;

namespace {
constexpr size_t kMaxInlineBytes = 32 << 10;
constexpr size_t kMaxBodyBytes = 8u << 20;

json::array strings(const std::vector<std::string>& list) {
  json::array out;
  for (const std::string& s : list) out.push_back(json::value(s));
  return out;
}
std::string text(const json::value& value, std::string_view key) {
  return std::string(base::string_at(value, key));
}
int64_t nanoseconds(base::Time time) { return time.time_since_epoch().count(); }
base::Time from_nanoseconds(int64_t value) { return base::Time(base::Duration(value)); }
}  // namespace

base::Status send(int socket, const json::object& body, std::span<const int> fds) {
  std::string data = json::serialize(body);
  if (data.size() <= kMaxInlineBytes) return sys::send_with_fds(socket, data, fds);
  base::UniqueFd memory(::memfd_create("packet", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.valid()) return sys::last_error("memfd_create");
  TRY(sys::write_all(memory.get(), data));
  ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
  std::vector<int> all{memory.get()};
  all.insert(all.end(), fds.begin(), fds.end());
  return sys::send_with_fds(socket, "@", all);
}

base::Result<Packet> receive(int socket) {
  sys::Message message = TRY(sys::recv_with_fds(socket));
  Packet packet;
  if (message.data.empty()) return packet;
  if (message.data == "@") {
    if (message.fds.empty()) return base::make_error(base::Kind::kInvalid, "receive packet", "", "no memfd");
    ::lseek(message.fds[0].get(), 0, SEEK_SET);
    message.data = TRY(sys::read_all(message.fds[0].get(), kMaxBodyBytes));
    message.fds.erase(message.fds.begin());
  }
  packet.body = TRY(base::parse_json_carrier(message.data));
  if (!packet.body.is_object())
    return base::make_error(base::Kind::kInvalid, "receive packet", "", "not an object");
  packet.fds = std::move(message.fds);
  return packet;
}

json::object encode(const base::Error& error) {
  // One level: the causes are in the text already.
  json::object out{{"kind", static_cast<int>(error.kind)},
                   {"errno", error.errno_value},
                   {"operation", error.operation},
                   {"subject", error.subject}};
  out["reason"] = error.reason;
  out["hint"] = error.hint;
  if (error.cause) out["cause"] = encode(*error.cause);
  return out;
}
base::Error decode_error(const json::value& value) {
  base::Error out;
  int64_t kind = base::as_int(base::find(value, "kind"), static_cast<int>(base::Kind::kInternal));
  if (kind >= 0 && kind <= static_cast<int>(base::Kind::kInternal)) out.kind = static_cast<base::Kind>(kind);
  out.errno_value = static_cast<int>(base::as_int(base::find(value, "errno")));
  out.operation = text(value, "operation");
  out.subject = text(value, "subject");
  out.reason = text(value, "reason");
  out.hint = text(value, "hint");
  if (const json::value* cause = base::find(value, "cause"))
    out.cause = std::make_shared<const base::Error>(decode_error(*cause));
  return out;
}

json::object encode(const ContainerState& state) {
  return {{"id", state.id},
          {"phase", static_cast<int>(state.phase)},
          {"pid", state.pid},
          {"started_at", nanoseconds(state.started_at)},
          {"finished_at", nanoseconds(state.finished_at)},
          {"exit_code", state.exit_code},
          {"signal", state.signal},
          {"oom_killed", state.oom_killed},
          {"paused", state.paused}};
}
ContainerState decode_state(const json::value& value) {
  ContainerState out;
  out.id = text(value, "id");
  int64_t phase = base::as_int(base::find(value, "phase"));
  out.phase = phase == 2 ? Phase::kExited : phase == 1 ? Phase::kRunning : Phase::kCreated;
  out.pid = static_cast<pid_t>(base::as_int(base::find(value, "pid")));
  out.started_at = from_nanoseconds(base::as_int(base::find(value, "started_at")));
  out.finished_at = from_nanoseconds(base::as_int(base::find(value, "finished_at")));
  out.exit_code = static_cast<int>(base::as_int(base::find(value, "exit_code")));
  out.signal = static_cast<int>(base::as_int(base::find(value, "signal")));
  out.oom_killed = base::as_bool(base::find(value, "oom_killed"));
  out.paused = base::as_bool(base::find(value, "paused"));
  return out;
}

json::object encode(const ContainerSpec& spec) {
  return {{"id", spec.id},
          {"config", spec.config},
          {"layers", strings(spec.layers)},
          {"work_dir", spec.work_dir},
          {"log_path", spec.log_path},
          {"open_stdin", spec.open_stdin},
          {"stdin_once", spec.stdin_once},
          {"keep_work_dir", spec.keep_work_dir}};
}
base::Result<ContainerSpec> decode_container(const json::value& value) {
  ContainerSpec out;
  out.id = text(value, "id");
  TRY(check_id(out.id));
  if (const json::value* config = base::find(value, "config")) out.config = *config;
  if (const json::value* layers = base::find(value, "layers"); layers && layers->is_array())
    for (const json::value& layer : layers->get_array()) out.layers.emplace_back(base::as_string(&layer));
  out.work_dir = text(value, "work_dir");
  out.log_path = text(value, "log_path");
  out.open_stdin = base::as_bool(base::find(value, "open_stdin"));
  out.stdin_once = base::as_bool(base::find(value, "stdin_once"));
  out.keep_work_dir = base::as_bool(base::find(value, "keep_work_dir"));
  if (!out.layers.empty() && (out.work_dir.empty() || out.work_dir[0] != '/'))
    return base::make_error(base::Kind::kInvalid, "start container", out.id, "work_dir must be absolute");
  return out;
}

json::object encode(const SandboxSpec& spec) {
  json::object sysctls;
  for (const auto& [key, value] : spec.sysctls) sysctls[key] = value;
  return {{"id", spec.id},
          {"run_dir", spec.run_dir},
          {"hostname", spec.hostname},
          {"cgroup", spec.cgroup},
          {"cgroup_resources", spec.cgroup_resources},
          {"host_network", spec.host_network},
          {"host_ipc", spec.host_ipc},
          {"host_pid", spec.host_pid},
          {"share_pid", spec.share_pid},
          {"sysctls", std::move(sysctls)},
          {"exit_command", strings(spec.exit_command)}};
}
SandboxSpec decode_sandbox(const json::value& value) {
  SandboxSpec out;
  out.id = text(value, "id");
  out.run_dir = text(value, "run_dir");
  out.hostname = text(value, "hostname");
  out.cgroup = text(value, "cgroup");
  if (const json::value* resources = base::find(value, "cgroup_resources")) out.cgroup_resources = *resources;
  out.host_network = base::as_bool(base::find(value, "host_network"));
  out.host_ipc = base::as_bool(base::find(value, "host_ipc"));
  out.host_pid = base::as_bool(base::find(value, "host_pid"));
  out.share_pid = base::as_bool(base::find(value, "share_pid"));
  if (const json::value* sysctls = base::find(value, "sysctls"); sysctls && sysctls->is_object())
    for (const auto& [key, v] : sysctls->get_object())
      out.sysctls[std::string(key)] = std::string(base::as_string(&v));
  if (const json::value* words = base::find(value, "exit_command"); words && words->is_array())
    for (const json::value& word : words->get_array()) out.exit_command.emplace_back(base::as_string(&word));
  return out;
}

std::string socket_path(const std::string& run_dir, const std::string& id) {
  return run_dir + "/" + id + ".sock";
}
std::string record_path(const std::string& run_dir, const std::string& id) {
  return run_dir + "/" + id + ".json";
}

namespace {
// sun_path holds 107 bytes; through the directory's fd only the name counts.
base::Result<base::UniqueFd> open_address(const std::string& run_dir, const std::string& id,
                                          sockaddr_un* address) {
  base::UniqueFd dir = TRY(sys::open(run_dir, O_PATH | O_DIRECTORY));
  std::string path = fmt::format("/proc/self/fd/{}/{}.sock", dir.get(), id);
  address->sun_family = AF_UNIX;
  if (path.size() >= sizeof address->sun_path) {
    return base::make_error(base::Kind::kInvalid, "bind", socket_path(run_dir, id), "the id is too long");
  }
  std::copy(path.begin(), path.end(), address->sun_path);
  return dir;
}
base::Result<base::UniqueFd> make_socket(int flags) {
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
  if (!fd.valid()) return sys::last_error("socket");
  return fd;
}
}  // namespace

base::Result<base::UniqueFd> listen(const std::string& run_dir, const std::string& id) {
  sockaddr_un address{};
  base::UniqueFd dir = TRY(open_address(run_dir, id, &address));
  base::UniqueFd fd = TRY(make_socket(SOCK_NONBLOCK));
  mode_t before = ::umask(0077);
  int bound = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  int error = errno;
  ::umask(before);
  if (bound != 0)
    return sys::error_from_errno(error, "bind", socket_path(run_dir, id),
                                 error == EADDRINUSE ? "the Pod exists: connect, or clean what died" : "");
  if (::listen(fd.get(), 16) != 0) return sys::last_error("listen", socket_path(run_dir, id));
  return fd;
}
base::Result<base::UniqueFd> connect(const std::string& run_dir, const std::string& id) {
  sockaddr_un address{};
  base::UniqueFd dir = TRY(open_address(run_dir, id, &address));
  base::UniqueFd fd = TRY(make_socket(0));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    base::Error error = sys::last_error("connect", socket_path(run_dir, id));
    // Nobody listens: the Pod died.
    if (error.errno_value == ECONNREFUSED) error.kind = base::Kind::kNotFound;
    return error;
  }
  return fd;
}
base::Status check_id(const std::string& id) {
  bool good = !id.empty() && id.size() <= 128 && id[0] != '.' &&
              id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
                  std::string::npos;
  if (good) return {};
  return base::make_error(base::Kind::kInvalid, "check id", id.substr(0, 128),
                          "must be letters, digits, '_', '.', '-'");
}

}  // namespace runtime::protocol
