#include "runtime/oci_launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>

#include "base/number.h"
#include "base/sys.h"
#include "runtime/oci_listener.h"

namespace runtime {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

base::Error invalid_option(std::string what, std::string why, std::string hint) {
  return base::make_error(Kind::kInvalid, std::move(what), {}, std::move(why), std::move(hint));
}
base::Result<std::string> absolute_path(const std::string& path) {
  if (!path.empty() && path[0] == '/') return path;
  char cwd[PATH_MAX];
  if (!::getcwd(cwd, sizeof cwd)) return sys::last_error("getcwd");
  return std::string(cwd) + "/" + path;
}

namespace {
base::Result<int> number(const Options& options, std::string_view name) {
  std::string text = options.get(name, "0");
  auto value = base::parse_number<int>(text, 0);
  if (!value) return invalid_option("read option --" + std::string(name), "'" + text + "' is not a number");
  return *value;
}

base::Result<base::UniqueFd> connect_console(const std::string& path) {
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return invalid_option("console socket " + path, "the path is too long");
  std::copy(path.begin(), path.end(), address.sun_path);
  if (!fd.valid() || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return sys::last_error("connect console socket", path);
  return fd;
}
}  // namespace

base::Result<Console> make_console(const Options& options, bool terminal, bool detach) {
  Console out;
  std::string path = options.get("console-socket");
  if (!terminal) {
    if (!path.empty()) return invalid_option("use console socket", "the process has no terminal");
    return out;
  }
  if (!path.empty()) {
    if (!detach) return invalid_option("use console socket", "without --detach the terminal is ours");
    out.give = TRY(connect_console(path));
    return out;
  }
  if (detach) return invalid_option("allocate terminal", "nobody would hold it", "give --console-socket");
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
  // sd_listen_fds(3): they are ours only where LISTEN_PID names us, which a re-execution keeps.
  auto variable = [](const char* name) { return std::string_view(::getenv(name) ? ::getenv(name) : ""); };
  constexpr int kMostFds = 1 << 16;
  auto listen = base::parse_number<int>(variable("LISTEN_FDS"), 1, kMostFds);
  if (listen && base::parse_number<pid_t>(variable("LISTEN_PID")) == ::getpid()) {
    if (count > kMostFds) return invalid_option("read option --preserve-fds", fmt::format("must be at most {}", kMostFds));
    count += *listen;
    process.env.push_back(fmt::format("LISTEN_FDS={}", *listen));
    process.env.push_back("LISTEN_PID=1");
    if (std::string_view names = variable("LISTEN_FDNAMES"); !names.empty()) process.env.push_back("LISTEN_FDNAMES=" + std::string(names));
  }
  for (int fd = 3; fd < 3 + count; ++fd) {
    // One of ours may sit at a number that the caller did not fill: it must not get in.
    int flags = ::fcntl(fd, F_GETFD);
    if (flags < 0 || (flags & FD_CLOEXEC))
      return invalid_option("preserve fds", fmt::format("fd {} is not open", fd));
  }
  return count;
}
base::Status run_poststart(const Config& config, const OciState& state) {
  if (config.hooks.poststart.empty()) return {};
  return run_hooks(config.hooks.poststart, "poststart", json::serialize(state_document(state, "running")));
}

}  // namespace runtime
