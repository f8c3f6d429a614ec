// The connection: who we are by the socket's credentials, calls and their replies, signals kept.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "runtime/cgroup/dbus.h"

namespace runtime {
namespace {

namespace sys = base::sys;
using base::Kind;
using Clock = std::chrono::steady_clock;
constexpr auto kReplyTimeout = std::chrono::seconds(30);  // systemd answers in milliseconds, or is stuck

}  // namespace

base::Result<DbusConnection> DbusConnection::connect(const std::string& socket_path, bool is_bus) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path)
    return base::make_error(Kind::kInvalid, "connect to D-Bus", socket_path, "the path is too long");
  std::copy(socket_path.begin(), socket_path.end(), address.sun_path);
  DbusConnection out;
  out.fd_ = base::UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!out.fd_.valid()) return sys::last_error("socket");
  if (::connect(out.fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return sys::last_error("connect to D-Bus", socket_path);
  TRY_WRAP(out.authenticate(), "connect to D-Bus", socket_path);
  if (is_bus)
    TRY(out.call({"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello"}));
  return out;
}

base::Status DbusConnection::send(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys::last_error("send to D-Bus");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

base::Status DbusConnection::fill(Clock::time_point deadline) {
  for (;;) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd wait{fd_.get(), POLLIN, 0};
    int ready = ::poll(&wait, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return sys::last_error("poll");
    if (ready == 0) return base::make_error(Kind::kTimeout, "read from D-Bus", {}, "no answer");
    char buffer[8192];
    ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys::last_error("read from D-Bus");
    if (n == 0)
      return base::make_error(Kind::kUnavailable, "read from D-Bus", {}, "the connection was closed");
    received_.append(buffer, static_cast<size_t>(n));
    return {};
  }
}

base::Status DbusConnection::authenticate() {
  using namespace std::string_view_literals;
  // All at once, as sd-bus does; no identity is named, the socket's credentials hold.
  TRY(send("\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"sv));
  auto deadline = Clock::now() + kReplyTimeout;
  for (;;) {
    size_t end = received_.find("\r\n");
    if (end == std::string::npos) {
      if (received_.size() > 4096)
        return base::make_error(Kind::kInvalid, "authenticate", {}, "the answer is no line");
      TRY(fill(deadline));
      continue;
    }
    std::string line = received_.substr(0, end);
    received_.erase(0, end + 2);
    if (line.starts_with("OK")) return {};
    if (!line.starts_with("DATA"))
      return base::make_error(Kind::kDenied, "authenticate", {}, "answered '" + line.substr(0, 100) + "'");
  }
}

base::Result<DbusMessage> DbusConnection::receive() {
  auto deadline = Clock::now() + kReplyTimeout;
  for (;;) {
    size_t size = TRY(dbus_message_size(received_));
    if (size != 0 && received_.size() >= size) {
      auto message = parse_dbus_message(std::string_view(received_).substr(0, size));
      received_.erase(0, size);
      return message;
    }
    TRY(fill(deadline));
  }
}

base::Result<DbusMessage> DbusConnection::call(const DbusCall& call) {
  uint32_t serial = ++serial_;
  TRY(send(dbus_call_bytes(call, serial)));
  for (;;) {
    DbusMessage message = TRY(receive());
    if (message.type == 4) signals_.push_back(std::move(message));
    else if (message.reply_serial == serial && message.type == 2) return message;
    else if (message.reply_serial == serial && message.type == 3) {
      auto text = message.strings();
      Kind kind = message.error_name.ends_with("AccessDenied") ||
                          message.error_name.ends_with("InteractiveAuthorizationRequired")
                      ? Kind::kDenied
                  : message.error_name.ends_with("NoSuchUnit") ? Kind::kNotFound
                  : message.error_name.ends_with("UnitExists") ? Kind::kExists
                                                               : Kind::kInternal;
      return base::make_error(kind, call.member, message.error_name, text.empty() ? "refused" : text[0]);
    }
  }
}

base::Result<DbusMessage> DbusConnection::next_signal() {
  while (signals_.empty()) {
    DbusMessage message = TRY(receive());
    if (message.type == 4) signals_.push_back(std::move(message));
  }
  DbusMessage out = std::move(signals_.front());
  signals_.pop_front();
  return out;
}

}  // namespace runtime
