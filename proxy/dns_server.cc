// See dns_server.h.
#include "proxy/dns_server.h"

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
constexpr int kQueriesPerSecond = 2000;  // over the connections of one client: the others wait
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
  auto address = base::Ip::parse_v4(ip);
  if (!address)
    return base::make_error(base::Kind::kInvalid, "bind DNS server", subject, "not an IPv4 address");
  to.sin_addr.s_addr = htonl(address->v4_bits());
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
    return base::sys::last_error("bind DNS server", subject, "another DNS server has the port?");
  if (type == SOCK_STREAM && ::listen(fd.get(), 128) != 0)
    return base::sys::last_error("listen DNS server", subject);
  return fd;
}

}  // namespace

struct Server::Connection {
  base::UniqueFd fd;
  base::Loop::Handle ready, idle, resume;
  std::string in, out;
  Client client = 0;
  bool waits = false;  // with a whole query, for its turn or for the next second
  uint32_t events = EPOLLIN;
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
      if (!upstream_.has_servers(outside)) return reply(encode_answer(query, found, config_, limit));
    } else if (found.ours) {
      return reply(encode_answer(query, found, config_, limit, static_cast<uint32_t>(queries_)));
    }
  }
  if (!upstream_.has_servers(outside) || !query.recursion_desired)
    return reply(encode_error(query, kRefused));
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

// A place among the clients: those that neither wait nor are counted make room.
bool Server::room_for(Client client, std::chrono::steady_clock::time_point now) {
  if (senders_.size() < kMaxClients || senders_.contains(client)) return true;
  std::erase_if(senders_, [&](const auto& one) {
    return one.second.queue.empty() && one.second.connections == 0 && now - one.second.second >= kSecond;
  });
  return senders_.size() < kMaxClients;
}

void Server::queue(Client client, Task task) {
  std::deque<Task>& queue = senders_[client].queue;
  if (queue.empty()) turns_.push_back(client);
  queue.push_back(std::move(task));
  if (!next_turn_.active()) next_turn_ = loop_.after(base::Duration(0), [this] { on_udp(); });
}

void Server::on_udp() {
  char buffer[4096];
  auto now = std::chrono::steady_clock::now();
  for (int i = 0; i < kPerWake; ++i) {
    sockaddr_in from{};
    socklen_t size = sizeof from;
    ssize_t n = ::recvfrom(udp_.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (n < 0) break;  // EAGAIN, or an ICMP error of an earlier answer: the next round reads on
    Client client = from.sin_addr.s_addr;
    if (!room_for(client, now) || senders_[client].queue.size() >= kQueuedOfOne) continue;
    queue(client, {std::string(buffer, static_cast<size_t>(n)), 0, [this, from](std::string wire) {
                     if (wire.empty()) return;
                     // UDP may lose it; the client asks again.
                     (void)::sendto(udp_.get(), wire.data(), wire.size(), MSG_NOSIGNAL,
                                    reinterpret_cast<const sockaddr*>(&from), sizeof from);
                   }});
  }
  serve_turns();
}

void Server::serve_turns() {
  auto end = std::chrono::steady_clock::now() + kTurn;
  while (!turns_.empty()) {
    Client client = turns_.front();
    turns_.pop_front();
    auto sender = senders_.find(client);
    Task next = std::move(sender->second.queue.front());
    sender->second.queue.pop_front();
    if (!sender->second.queue.empty()) turns_.push_back(client);
    else if (sender->second.connections == 0 && sender->second.queries == 0) senders_.erase(sender);
    handle(next.wire, client, next.limit, std::move(next.reply));
    if (next.then) next.then();
    if (std::chrono::steady_clock::now() >= end) break;
  }
  // The socket first: whoever comes meanwhile has his turn before the rest of a long queue.
  next_turn_.cancel();
  if (!turns_.empty()) next_turn_ = loop_.after(base::Duration(0), [this] { on_udp(); });
}

void Server::on_accept(base::UniqueFd fd, const sockaddr_storage& from) {
  const Client client =
      from.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in&>(from).sin_addr.s_addr : 0;
  if (connections_.size() >= kMaxConnections || !room_for(client, std::chrono::steady_clock::now()) ||
      senders_[client].connections >= kConnectionsOfOne)
    return;
  auto connection = std::make_shared<Connection>();
  int number = fd.get();
  connection->client = client;
  connection->fd = std::move(fd);
  connection->ready = loop_.watch(number, EPOLLIN, [this, weak = std::weak_ptr(connection)](uint32_t events) {
    if (auto strong = weak.lock()) on_connection(strong, events);
  });
  connection->idle = loop_.after(kIdle, [this, number] { close(number); });
  connections_[number] = connection;
  ++senders_[client].connections;
}
void Server::close(int fd) {
  auto connection = connections_.find(fd);
  if (connection == connections_.end()) return;
  --senders_[connection->second->client].connections;  // its entry goes when its place is wanted
  connections_.erase(connection);
}

// Nothing is read while a query waits: the client's own sending waits then.
void Server::follow(const std::shared_ptr<Connection>& connection) {
  uint32_t events =
      (connection->waits ? 0u : uint32_t{EPOLLIN}) | (connection->out.empty() ? 0u : uint32_t{EPOLLOUT});
  if (std::exchange(connection->events, events) != events) loop_.change(connection->ready, events);
}

void Server::flush(const std::shared_ptr<Connection>& connection) {
  int fd = connection->fd.get();
  ssize_t n = ::send(fd, connection->out.data(), connection->out.size(), MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return close(fd);
  if (n > 0) connection->out.erase(0, static_cast<size_t>(n));
  if (connection->out.size() > kMaxQueued) return close(fd);
  follow(connection);
}

void Server::on_connection(const std::shared_ptr<Connection>& connection, uint32_t events) {
  int fd = connection->fd.get();
  if (events & EPOLLOUT) flush(connection);
  if (!connections_.contains(fd)) return;
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  if (connection->waits) return close(fd);  // it has hung up
  char buffer[4096];
  ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return close(fd);
  connection->in.append(buffer, static_cast<size_t>(n));
  next_query(connection);
}

// One query of a connection at a time, so that others have their turns between a client's.
void Server::next_query(const std::shared_ptr<Connection>& connection) {
  auto bytes = [&](size_t at) { return static_cast<size_t>(static_cast<uint8_t>(connection->in[at])); };
  const size_t length = connection->in.size() < 2 ? 0 : bytes(0) << 8 | bytes(1);
  connection->waits = connection->in.size() >= 2 && connection->in.size() >= 2 + length;
  follow(connection);
  if (!connection->waits) return;
  int fd = connection->fd.get();
  connection->idle = loop_.after(kIdle, [this, fd] { close(fd); });
  Sender& sender = senders_[connection->client];
  auto now = std::chrono::steady_clock::now();
  if (now - sender.second >= kSecond) sender.second = now, sender.queries = 0;
  std::weak_ptr<Connection> weak = connection;
  if (sender.queries >= kQueriesPerSecond) {
    connection->resume = loop_.after(sender.second + kSecond - now, [this, weak] {
      if (auto strong = weak.lock()) next_query(strong);
    });
    return;
  }
  ++sender.queries;
  std::string wire = connection->in.substr(2, length);
  connection->in.erase(0, 2 + length);
  Reply reply = [this, weak](std::string text) {
    auto strong = weak.lock();
    if (!strong || text.empty() || text.size() > kTcpBytes) return;
    strong->out += {static_cast<char>(text.size() >> 8), static_cast<char>(text.size())};
    strong->out += text;
    flush(strong);
  };
  queue(connection->client, {std::move(wire), kTcpBytes, std::move(reply), [this, weak] {
                               if (auto strong = weak.lock()) next_query(strong);
                             }});
}

}  // namespace proxy::dns
