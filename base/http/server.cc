// Listeners, the TLS handshake, and which protocol a connection goes on with.
#include "base/http/server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "base/http/connection.h"
#include "base/sys.h"

namespace base::http {
using namespace std::chrono_literals;

// The Date header, formatted once a second.
const std::string& date_line() {
  thread_local std::time_t made = 0;
  thread_local std::string line;
  std::time_t now = std::time(nullptr);
  if (now != made) {
    char text[64];
    std::tm parts;
    ::gmtime_r(&now, &parts);
    std::strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
    line = text;
    made = now;
  }
  return line;
}
namespace {
using Io = Transport::Io;

// A connection until its handshake is done; then it is handed on as what ALPN chose.
class Handshake final : public ServerConnection {
 public:
  explicit Handshake(Accepted accepted) : accepted_(std::move(accepted)) {}
  void open() override {
    accepted_.transport->set_ready([this](uint32_t) {
      auto keep = shared_from_this();
      ready();
    });
    accepted_.transport->want_read(true);
    accepted_.standing.is(weak_from_this());
    deadline_ = accepted_.transport->loop().after(accepted_.head_timeout, [this] {
      auto keep = shared_from_this();
      close();
    });
  }
  void close() override {
    if (!accepted_.transport) return;
    auto keep = shared_from_this();
    deadline_.cancel();
    auto transport = std::move(accepted_.transport);
    if (auto server = accepted_.server.lock()) server->gone(keep);
    accepted_.count.reset();
  }
  void flush() override {}
  bool stale(Loop::Steady) override { return false; }  // it has its deadline
  void shut_down() override { close(); }
  bool busy_for_shutdown() const override { return false; }

 private:
  void ready() {
    if (!accepted_.transport) return;
    switch (accepted_.transport->handshake()) {
      case Io::kBlocked: return;
      case Io::kOk: break;
      default: return close();
    }
    auto server = accepted_.server.lock();
    if (!server) return close();
    deadline_.cancel();
    ssl_st* ssl = accepted_.transport->ssl();
    tls::PeerName name = tls::peer_name(ssl);
    accepted_.peer.has_certificate = name.verified;
    accepted_.peer.common_name = std::move(name.common_name);
    accepted_.peer.organizations = std::move(name.organizations);
    if (name.verified) accepted_.standing.known();
    const unsigned char* protocol = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl, &protocol, &size);
    bool is_http2 = std::string_view(reinterpret_cast<const char*>(protocol), size) == "h2";
    server->gone(shared_from_this());
    server->add(is_http2 ? make_http2_connection(std::move(accepted_))
                         : make_http1_connection(std::move(accepted_)));
  }
  Accepted accepted_;
  Loop::Handle deadline_;
};
}  // namespace

void Server::Impl::add(std::shared_ptr<ServerConnection> connection) {
  connections.insert(connection);
  connection->open();
  if (!sweeper.active()) sweep();
}
void Server::Impl::gone(const std::shared_ptr<ServerConnection>& connection) {
  connections.erase(connection);
  if (stopping) end_if_quiet();
}

void Server::Impl::dirty(const std::shared_ptr<ServerConnection>& connection) {
  // One system call for all that a round of the loop wrote.
  if (connection->flush_queued) return;
  connection->flush_queued = true;
  to_flush.push_back(connection);
  if (to_flush.size() > 1) return;
  loop.post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    auto all = std::move(self->to_flush);
    self->to_flush.clear();
    for (auto& one : all)
      if (auto held = one.lock()) {
        held->flush_queued = false;
        held->flush();
      }
  });
}

void Server::Impl::sweep() {
  if (connections.empty()) return;
  sweeper = loop.after(kIdleTimeout / 2, [this] {
    auto before = std::chrono::steady_clock::now() - kIdleTimeout;
    std::vector<std::shared_ptr<ServerConnection>> all(connections.begin(), connections.end());
    for (const auto& connection : all)
      if (connection->stale(before)) connection->close();
    sweep();
  });
}

void Server::Impl::accept(UniqueFd fd, const sockaddr_storage& address) {
  // Closed at once.
  if (open >= options.max_connections || !limits->make_room(address)) return;
  if (address.ss_family != AF_UNIX) {
    // A peer that vanished without a word is noticed within two minutes.
    int on = 1, idle = 60, interval = 15, probes = 4, unacknowledged_ms = 60'000;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
  }
  Accepted accepted;
  accepted.server = weak_from_this();
  accepted.transport = std::make_unique<Transport>(loop, std::move(fd), context.get(), true);
  accepted.peer.address = format_address(address);
  if (address.ss_family != AF_UNIX) accepted.standing = Standing(limits, address);
  accepted.max_body_bytes = options.max_body_bytes;
  accepted.head_timeout = options.head_timeout;
  accepted.body_timeout = options.body_timeout;
  // Released when the connection is really gone, also after an upgrade took it away.
  ++open;
  accepted.count = std::shared_ptr<void>(nullptr, [weak = weak_from_this()](void*) {
    if (auto held = weak.lock()) --held->open;
  });
  add(context ? std::make_shared<Handshake>(std::move(accepted))
              : make_http1_connection(std::move(accepted)));
}

Status Server::Impl::add_listener(UniqueFd fd) {
  auto listener = std::make_unique<Listener>();
  int number = fd.get();
  listener->fd = std::move(fd);
  listener->acceptor = std::make_unique<Acceptor>(
      loop, number, SOCK_NONBLOCK,
      [this](UniqueFd taken, const sockaddr_storage& from) { accept(std::move(taken), from); });
  listeners.push_back(std::move(listener));
  return {};
}

Server::Server(Loop& loop, std::shared_ptr<tls::Context> context, Options options, Handler handler)
    : impl_(std::make_shared<Impl>(loop, std::move(context), options, std::move(handler))) {}
Server::~Server() {
  impl_->listeners.clear();
  impl_->stopping = nullptr;
  auto all = std::move(impl_->connections);
  impl_->connections.clear();
  for (const auto& connection : all) connection->close();
  impl_->sweeper.cancel();
  impl_->limits->ended = true;
  impl_->limits->trim.cancel();
}

Status Server::listen(const std::string& address) {
  SocketAddress where;
  if (address.starts_with("unix:")) {
    where = TRY(parse_address(address, 0));
    ::unlink(address.c_str() + 5);
  } else {
    size_t colon = address.rfind(':');
    if (colon == std::string::npos || colon + 1 == address.size() ||
        address.find_first_not_of("0123456789", colon + 1) != std::string::npos || address.size() - colon > 6)
      return make_error(Kind::kInvalid, "listen", address, "no port",
                        "write ADDRESS:PORT, [ADDRESS]:PORT or unix:/PATH");
    where = TRY_WRAP(parse_address(address.substr(0, colon), std::stoi(address.substr(colon + 1))), "listen",
                     address);
  }
  UniqueFd fd(::socket(where.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return sys::last_error("socket", address);
  int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&where.storage), where.size) != 0)
    return sys::last_error("bind", address, "is another program on this address?");
  if (::listen(fd.get(), 1024) != 0) return sys::last_error("listen", address);
  return impl_->add_listener(std::move(fd));
}
Status Server::adopt(UniqueFd listening_socket) {
  int accepting = 0;
  socklen_t size = sizeof accepting;
  if (::getsockopt(listening_socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &accepting, &size) != 0 || !accepting)
    return make_error(Kind::kInvalid, "adopt listening socket",
                      "fd " + std::to_string(listening_socket.get()), "it is not listening");
  int flags = ::fcntl(listening_socket.get(), F_GETFL);
  ::fcntl(listening_socket.get(), F_SETFL, flags | O_NONBLOCK);
  ::fcntl(listening_socket.get(), F_SETFD, FD_CLOEXEC);
  return impl_->add_listener(std::move(listening_socket));
}
std::vector<int> Server::ports() const {
  std::vector<int> ports;
  for (const auto& listener : impl_->listeners) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    ::getsockname(listener->fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
    ports.push_back(address.ss_family == AF_INET ? ntohs(reinterpret_cast<sockaddr_in&>(address).sin_port)
                    : address.ss_family == AF_INET6
                        ? ntohs(reinterpret_cast<sockaddr_in6&>(address).sin6_port)
                        : 0);
  }
  return ports;
}
size_t Server::connections() const { return impl_->open; }

void Server::shut_down(Duration limit, std::function<void()> done) {
  impl_->listeners.clear();
  impl_->stopping = std::move(done);
  auto all = impl_->connections;
  for (const auto& connection : all) connection->shut_down();
  impl_->stop_limit = impl_->loop.after(limit, [impl = impl_.get()] {
    if (auto callback = std::exchange(impl->stopping, nullptr)) callback();
  });
  impl_->end_if_quiet();
}
void Server::Impl::end_if_quiet() {
  for (const auto& connection : connections)
    if (connection->busy_for_shutdown()) return;
  // From a fresh stack: the caller may be inside one of the connections.
  loop.post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self || !self->stopping) return;
    self->stop_limit.cancel();
    std::exchange(self->stopping, nullptr)();
  });
}

}  // namespace base::http
