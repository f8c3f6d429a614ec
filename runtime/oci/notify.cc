#include "runtime/oci/notify.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/sys.h"

namespace runtime {
namespace {

namespace sys = base::sys;
constexpr const char* kInside = "/run/notify";
constexpr int kBarrierMs = 10'000;

base::Result<std::pair<sockaddr_un, socklen_t>> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return base::make_error(base::Kind::kInvalid, "use notify socket", path, "the path is too long");
  std::copy(path.begin(), path.end(), address.sun_path);
  if (path[0] == '@') address.sun_path[0] = 0;
  return std::pair(address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() +
                                                   (path[0] == '@' ? 0 : 1)));
}

// `fd`: passed along; -1: none.
base::Status send_to(int socket, const std::string& text, int fd) {
  iovec part{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  if (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0) return sys::last_error("send to", "NOTIFY_SOCKET");
  return {};
}

base::Status tell(const std::string& ready, pid_t main_pid) {
  const auto [address, size] = TRY(address_of(notify_host()));
  base::UniqueFd host(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!host.valid() || ::connect(host.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0)
    return sys::last_error("connect", "NOTIFY_SOCKET");
  TRY(send_to(host.get(), ready + "\n", -1));
  TRY(send_to(host.get(), fmt::format("MAINPID={}\n", main_pid), -1));
  // sd_notify_barrier(3): who ends at once may be gone before the manager looks who it was.
  sys::Pipe barrier = TRY(sys::pipe());
  TRY(send_to(host.get(), "BARRIER=1", barrier.write.get()));
  barrier.write.reset();
  pollfd closed{barrier.read.get(), 0, 0};
  ::poll(&closed, 1, kBarrierMs);
  return {};
}

}  // namespace

std::string notify_host() {
  const char* host = ::getenv("NOTIFY_SOCKET");
  return host ? host : "";
}

void add_notify(Config& config, const std::string& directory) {
  Mount mount;
  mount.destination = kInside;
  mount.type = "bind";
  mount.source = directory;
  mount.options = {"bind", "nosuid", "noexec", "nodev", "ro"};
  mount.field = "NOTIFY_SOCKET";
  config.mounts.push_back(std::move(mount));
  if (!config.process) return;
  config.process->env.push_back(std::string("NOTIFY_SOCKET=") + kInside + kNotifyName);
  clean_environment(config.process->env);
}

base::Result<NotifySocket> NotifySocket::listen(const std::string& directory) {
  NotifySocket out;
  if (notify_host().empty() || !sys::exists(directory)) return out;
  const std::string path = directory + kNotifyName;
  const auto [address, size] = TRY(address_of(path));
  out.socket_ = base::UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!out.socket_.valid() ||
      ::bind(out.socket_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::chmod(path.c_str(), 0777) != 0)
    return sys::last_error("bind", path);
  return out;
}

base::Result<bool> NotifySocket::take(pid_t main_pid) {
  char buffer[4096];
  ssize_t n = ::recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0)
    return errno == EINTR || errno == EAGAIN ? base::Result<bool>(false)
                                             : sys::last_error("receive", "NOTIFY_SOCKET");
  std::string_view rest(buffer, static_cast<size_t>(n));
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (!line.starts_with("READY=")) continue;
    TRY(tell(std::string(line), main_pid));
    return true;
  }
  return false;
}

base::Status NotifySocket::wait(int pidfd, pid_t main_pid) {
  while (socket_.valid()) {
    pollfd fds[2] = {{socket_.get(), POLLIN, 0}, {pidfd, POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return sys::last_error("poll");
    if (fds[0].revents && TRY(take(main_pid))) return {};
    if (fds[1].revents) return {};
  }
  return {};
}

}  // namespace runtime
