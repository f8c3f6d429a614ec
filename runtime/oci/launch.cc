#include "runtime/oci/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "base/number.h"
#include "base/sys.h"
#include "runtime/oci/listener.h"

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
  if (path.size() >= sizeof address.sun_path)
    return invalid_option("console socket " + path, "the path is too long");
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
  return sys::replace_file(path, std::to_string(pid));
}
base::Status give_pidfd(const Options& options, const Config& config, const Launched& launched) {
  if (options.has("pidfd-socket"))
    return send_fd(options.get("pidfd-socket"), "pidfd", launched.pidfd.get(), "--pidfd-socket");
  const std::string& receiver = config.extensions.pidfd_receiver;
  return receiver.empty()
             ? base::Status{}
             : send_fd(receiver, "pidfd", launched.pidfd.get(), "annotations[run.oci.pidfd_receiver]");
}
base::Result<ContainerFilter> container_filter(const Config& config, const std::string& cache) {
  ContainerFilter out;
  if (const std::string& bytes = config.extensions.filter; !bytes.empty()) {
    auto program = std::make_shared<std::vector<sock_filter>>(bytes.size() / sizeof(sock_filter));
    std::memcpy(program->data(), bytes.data(), bytes.size());
    out.filter = std::move(program);
    return out;
  }
  if (config.seccomp.is_null()) return out;
  if (config.extensions.known_calls_only) TRY(check_known_calls(config.seccomp));
  out.filter = TRY(load_seccomp(config.seccomp, cache));
  out.flags = seccomp_flags(config.seccomp);
  out.listener = has_listener(config.seccomp);
  return out;
}
base::Result<HookFiles> open_hook_files(const Config& config, const std::string& bundle) {
  HookFiles out;
  const Hooks& all = config.hooks;
  const std::vector<Hook>* const kLists[] = {&all.prestart,        &all.create_runtime, &all.create_container,
                                             &all.start_container, &all.poststart,      &all.poststop};
  if (std::all_of(std::begin(kLists), std::end(kLists), [](const auto* list) { return list->empty(); }))
    return out;
  out.place.directory = sys::exists(bundle) ? bundle : "/";
  auto open = [](const std::string& path) -> base::Result<base::UniqueFd> {
    if (path.empty()) return base::UniqueFd();
    return sys::open(path, O_WRONLY | O_CREAT | O_APPEND, 0700);
  };
  out.out = TRY_WRAP(open(config.extensions.hooks_stdout), "open annotations[run.oci.hooks.stdout]",
                     config.extensions.hooks_stdout);
  out.err = TRY_WRAP(open(config.extensions.hooks_stderr), "open annotations[run.oci.hooks.stderr]",
                     config.extensions.hooks_stderr);
  out.place.out = out.out.valid() ? out.out.get() : -1;
  out.place.err = out.err.valid() ? out.err.get() : -1;
  return out;
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
    if (count > kMostFds)
      return invalid_option("read option --preserve-fds", fmt::format("must be at most {}", kMostFds));
    count += *listen;
    process.env.push_back(fmt::format("LISTEN_FDS={}", *listen));
    process.env.push_back("LISTEN_PID=1");
    if (std::string_view names = variable("LISTEN_FDNAMES"); !names.empty())
      process.env.push_back("LISTEN_FDNAMES=" + std::string(names));
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
  HookFiles files = TRY(open_hook_files(config, state.bundle));
  return run_hooks(config.hooks.poststart, "poststart", json::serialize(state_document(state, "running")),
                   files.place);
}

}  // namespace runtime
