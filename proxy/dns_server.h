// The node's DNS server: UDP and TCP on one address, answers from memory, the rest from upstream.
// On the loop's thread. Bounded: TCP connections, of each client and in all, the rate of a client's queries
// over them, the time for each query, what waits for a slow reader, and what each client waits for from
// upstream. Queries are served in turns, one of each client, whatever way they came: who sends more than can
// be served waits for itself. Datagrams are taken from the socket at once; a connection is read when its last
// query was served. A rate beyond all need is cut by the rules before (skeleton.cc).
#pragma once

#include <netinet/in.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/acceptor.h"
#include "base/loop.h"
#include "proxy/dns_upstream.h"
#include "proxy/dns_wire.h"

namespace proxy::dns {

class Server {
 public:
  using Lookup = std::function<Answer(std::string_view lower_name, uint16_t type)>;
  Server(base::Loop& loop, Config config, Upstream& upstream, Lookup lookup);
  ~Server();

  // Binds. Queries wait in the sockets until start(): a proxy that does not know the cluster yet
  // must not say that a name does not exist.
  base::Status listen(const std::string& ip, uint16_t port = 53);
  void start();
  uint16_t port() const { return port_; }
  uint64_t queries() const { return queries_; }

 private:
  struct Connection;
  using Reply = std::function<void(std::string wire)>;
  using Client = uint32_t;  // address
  struct Task {
    std::string wire;
    size_t limit;  // 0: what the client's EDNS allows (UDP)
    Reply reply;
    std::function<void()> then = {};  // when it was served, though its answer may come later
  };
  struct Sender {
    std::deque<Task> queue;
    size_t connections = 0;
    std::chrono::steady_clock::time_point second{};  // in which `queries` came over connections
    int queries = 0;
  };
  void on_udp();
  void serve_turns();
  bool room_for(Client client, std::chrono::steady_clock::time_point now);
  void queue(Client client, Task task);
  void on_accept(base::UniqueFd fd, const sockaddr_storage& from);
  void on_connection(const std::shared_ptr<Connection>& connection, uint32_t events);
  void next_query(const std::shared_ptr<Connection>& connection);
  void flush(const std::shared_ptr<Connection>& connection);
  void follow(const std::shared_ptr<Connection>& connection);
  void close(int fd);
  void handle(std::string_view wire, Client client, size_t limit, Reply reply);

  base::Loop& loop_;
  Config config_;
  Upstream& upstream_;
  Lookup lookup_;
  base::UniqueFd udp_, tcp_;
  base::Loop::Handle udp_ready_;
  std::optional<base::Acceptor> acceptor_;
  std::map<int, std::shared_ptr<Connection>> connections_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  uint16_t port_ = 0;
  uint64_t queries_ = 0;
  std::unordered_map<Client, Sender> senders_;
  std::deque<Client> turns_;  // those with something queued
  base::Loop::Handle next_turn_;
  std::unordered_map<Client, size_t> waiting_;  // for upstream
};

}  // namespace proxy::dns
