// See dns_server.h.
#include "proxy/dns_server.h"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/sys.h"

namespace proxy::dns {
namespace {

constexpr size_t kMaxConnections = 512, kMaxQueued = 256 << 10, kTcpBytes = 0xffff;
constexpr size_t kConnectionsOfOne = 32, kWaitingOfOne = 200;  // of one client address
constexpr auto kIdle = std::chrono::seconds(10);  // between whole queries: a slow one is as good as none
constexpr auto kSecond = std::chrono::seconds(1);
constexpr int kQueriesPerSecond = 1000;  // of one connection
constexpr int kPerWake = 512;            // datagrams taken from the socket at once
constexpr size_t kQueuedOfOne = 64, kMaxClients = 4096;
constexpr auto kTurn = std::chrono::milliseconds(2);  // then other events have theirs

base::Result<base::UniqueFd> bind_socket(int type, const std::string& ip, uint16_t port) {
  std::string subject = fmt::format("{}:{}/{}", ip, port, type == SOCK_DGRAM ? "udp" : "tcp");
  base::UniqueFd fd(::socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return base::sys::last_error("open DNS socket", subject);
  int on = 1, size = 4 << 20;
  if (type == SOCK_STREAM) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  else if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)  // beyond rmem_max
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  if (::inet_pton(AF_INET, ip.c_str(), &to.sin_addr) != 1)
    return base::make_error(base::Kind::kInvalid, "bind DNS server", subject, "not an IPv4 address");
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
    return base::sys::last_error("bind DNS server", subject, "another DNS server has the port?");
  if (type == SOCK_STREAM && ::listen(fd.get(), 128) != 0)
    return base::sys::last_error("listen DNS server", subject);
  return fd;
}

}  // namespace

struct Server::Connection {
  base::UniqueFd fd;
  base::Loop::Handle ready, idle;
  std::string in, out;
  Client client = 0;
  std::chrono::steady_clock::time_point second{};  // in which `queries` were counted
  int queries = 0;
};

Server::Server(base::Loop& loop, Config config, Upstream& upstream, Lookup lookup)
    : loop_(loop), config_(std::move(config)), upstream_(upstream), lookup_(std::move(lookup)) {}
Server::~Server() { *alive_ = false; }

base::Status Server::listen(const std::string& ip, uint16_t port) {
  udp_ = TRY(bind_socket(SOCK_DGRAM, ip, port));
  sockaddr_in bound{};
  socklen_t size = sizeof bound;
  if (::getsockname(udp_.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0)
    return base::sys::last_error("getsockname");
  port_ = ntohs(bound.sin_port);
  tcp_ = TRY(bind_socket(SOCK_STREAM, ip, port_));
  return {};
}
void Server::start() {
  udp_ready_ = loop_.watch(udp_.get(), EPOLLIN, [this](uint32_t) { on_udp(); });
  acceptor_.emplace(
      loop_, tcp_.get(), SOCK_NONBLOCK,
      [this](base::UniqueFd fd, const sockaddr_storage& from) { on_accept(std::move(fd), from); });
}

void Server::handle(std::string_view wire, Client client, size_t limit, Reply reply) {
  ++queries_;
  auto parsed = parse_query(wire);
  if (!parsed.ok()) return reply(encode_format_error(wire));
  const Query& query = *parsed;
  if (limit == 0) limit = query.udp_bytes;
  if (query.opcode != 0) return reply(encode_error(query, kNotImp));
  if (!query.has_question) return reply(encode_error(query, kFormErr));
  if (query.edns && query.edns_version != 0) return reply(encode_error(query, kNoError));  // BADVERS
  std::string outside = query.name;
  std::vector<Record> before;
  if (query.dns_class == 1) {
    Answer found = lookup_(query.lower_name, query.type);
    if (found.ours && !found.continue_at.empty()) {
      outside = found.continue_at;
      before = found.answers;
      Answer target = lookup_(outside, query.type);  // an ExternalName may name another Service
      if (target.ours) {
        for (Record& record : target.answers) {
          if (record.name.empty()) record.name = outside;
          found.answers.push_back(record);
        }
        return reply(encode_answer(query, found, config_, limit));
      }
      if (!upstream_.has_servers()) return reply(encode_answer(query, found, config_, limit));
    } else if (found.ours) {
      return reply(encode_answer(query, found, config_, limit, static_cast<uint32_t>(queries_)));
    }
  }
  if (!upstream_.has_servers() || !query.recursion_desired) return reply(encode_error(query, kRefused));
  // One that asks for what nobody answers must not take the place of all others.
  if (waiting_[client] >= kWaitingOfOne) return reply(encode_error(query, kRefused));
  ++waiting_[client];
  upstream_.resolve(query, outside,
                    [this, client, query, limit, before, reply = std::move(reply), alive = alive_](
                        std::string_view answer, uint32_t age) {
                      if (!*alive) return;
                      if (--waiting_[client] == 0) waiting_.erase(client);
                      reply(answer.empty() ? encode_error(query, kServFail)
                                           : adapt_upstream(answer, query, age, limit, before));
                    });
}

void Server::on_udp() {
  char buffer[4096];
  for (int i = 0; i < kPerWake; ++i) {
    sockaddr_in from{};
    socklen_t size = sizeof from;
    ssize_t n = ::recvfrom(udp_.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (n < 0) break;  // EAGAIN, or an ICMP error of an earlier answer: the next round reads on
    Client client = from.sin_addr.s_addr;
    if (turns_.size() >= kMaxClients && !queued_.contains(client)) continue;
    std::deque<Datagram>& queue = queued_[client];
    if (queue.size() >= kQueuedOfOne) continue;
    if (queue.empty()) turns_.push_back(client);
    queue.push_back({from, std::string(buffer, static_cast<size_t>(n))});
  }
  serve_turns();
}

void Server::serve_turns() {
  auto end = std::chrono::steady_clock::now() + kTurn;
  while (!turns_.empty()) {
    Client client = turns_.front();
    turns_.pop_front();
    auto queue = queued_.find(client);
    Datagram next = std::move(queue->second.front());
    queue->second.pop_front();
    if (queue->second.empty()) queued_.erase(queue);
    else turns_.push_back(client);
    handle(next.wire, client, 0, [this, from = next.from](std::string wire) {
      if (wire.empty()) return;
      // UDP may lose it; the client asks again.
      (void)::sendto(udp_.get(), wire.data(), wire.size(), MSG_NOSIGNAL,
                     reinterpret_cast<const sockaddr*>(&from), sizeof from);
    });
    if (std::chrono::steady_clock::now() >= end) break;
  }
  // The socket first: whoever comes meanwhile has his turn before the rest of a long queue.
  next_turn_.cancel();
  if (!turns_.empty()) next_turn_ = loop_.after(base::Duration(0), [this] { on_udp(); });
}

void Server::on_accept(base::UniqueFd fd, const sockaddr_storage& from) {
  const Client client =
      from.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in&>(from).sin_addr.s_addr : 0;
  if (connections_.size() >= kMaxConnections || connections_of(client) >= kConnectionsOfOne) return;
  auto connection = std::make_shared<Connection>();
  int number = fd.get();
  connection->client = client;
  connection->fd = std::move(fd);
  connection->ready = loop_.watch(number, EPOLLIN, [this, weak = std::weak_ptr(connection)](uint32_t events) {
    if (auto strong = weak.lock()) on_connection(strong, events);
  });
  connection->idle = loop_.after(kIdle, [this, number] { close(number); });
  connections_[number] = connection;
}
void Server::close(int fd) { connections_.erase(fd); }
size_t Server::connections_of(Client client) const {
  return static_cast<size_t>(std::count_if(connections_.begin(), connections_.end(),
                                           [&](const auto& one) { return one.second->client == client; }));
}

void Server::flush(const std::shared_ptr<Connection>& connection) {
  int fd = connection->fd.get();
  ssize_t n = ::send(fd, connection->out.data(), connection->out.size(), MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return close(fd);
  if (n > 0) connection->out.erase(0, static_cast<size_t>(n));
  if (connection->out.size() > kMaxQueued) return close(fd);
  loop_.change(connection->ready, connection->out.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

void Server::on_connection(const std::shared_ptr<Connection>& connection, uint32_t events) {
  int fd = connection->fd.get();
  if (events & EPOLLOUT) flush(connection);
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  char buffer[4096];
  ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return close(fd);
  connection->in.append(buffer, static_cast<size_t>(n));
  while (connection->in.size() >= 2) {
    size_t length = static_cast<size_t>(static_cast<uint8_t>(connection->in[0])) << 8 |
                    static_cast<uint8_t>(connection->in[1]);
    if (connection->in.size() < 2 + length) return;
    std::string wire = connection->in.substr(2, length);
    connection->in.erase(0, 2 + length);
    auto now = std::chrono::steady_clock::now();
    if (now - connection->second >= kSecond) connection->second = now, connection->queries = 0;
    if (++connection->queries > kQueriesPerSecond) return close(fd);
    connection->idle = loop_.after(kIdle, [this, fd] { close(fd); });
    handle(wire, connection->client, kTcpBytes, [this, weak = std::weak_ptr(connection)](std::string reply) {
      auto strong = weak.lock();
      if (!strong || reply.empty() || reply.size() > kTcpBytes) return;
      strong->out += {static_cast<char>(reply.size() >> 8), static_cast<char>(reply.size())};
      strong->out += reply;
      flush(strong);
    });
  }
}

}  // namespace proxy::dns
