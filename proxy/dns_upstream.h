// Names outside the cluster: asks the servers of a resolv.conf, over UDP from a fresh port with a
// random id, over TCP when the answer was cut or somebody guesses at it, the next server after a silence;
// and remembers the answers, each for its own question alone. Where no server answers, an answer that was
// good once is good still (RFC 8767). On the loop's thread. With no server it never sends a byte.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/loop.h"
#include "proxy/dns_wire.h"

namespace proxy::dns {

// "nameserver" lines with IPv4 addresses, at most three (resolv.conf(5)); `own` is left out, so that
// a host that uses this very server makes no circle.
std::vector<std::string> parse_resolv_conf(std::string_view text, const std::string& own);

class Upstream {
 public:
  struct Options {
    std::string resolv_conf;  // path; "" = no upstream. Read anew when its time of change differs.
    std::string own_address;
    uint16_t port = 53;
    std::chrono::milliseconds timeout{1500};  // of one attempt; three in all
    std::chrono::seconds stale{24 * 3600};    // how long beyond its time an answer may serve
    std::chrono::seconds recheck{30};         // and how long before the servers are asked again
    size_t max_entries = 10'000, max_bytes = 4 << 20, max_in_flight = 1000;
  };
  Upstream(base::Loop& loop, Options options);
  ~Upstream();

  // `done` gets the answer as it came and its age, or an empty text: no server, or none answered.
  using Done = std::function<void(std::string_view wire, uint32_t age_seconds)>;
  void resolve(const Query& query, const std::string& name, Done done);
  bool has_servers(const std::string& name) { return !servers_for(name).empty(); }
  // Servers of some domains (null: those of resolv.conf). What is remembered may be others' word: forgotten.
  using ServersOf = std::function<const std::vector<std::string>*(std::string_view lower_name)>;
  void set_servers_of(ServersOf servers_of);
  size_t entries() const { return cache_.size(); }
  size_t bytes() const { return bytes_; }
  uint64_t hits() const { return hits_; }
  uint64_t stale() const { return stale_; }

 private:
  struct InFlight;
  std::vector<std::string> servers_for(std::string name);
  struct Entry {
    std::string wire;
    std::chrono::steady_clock::time_point stored, expires;
    std::list<std::string>::iterator age;
    std::chrono::steady_clock::time_point retry{};  // no server is asked before
  };
  void send(InFlight& flight);
  void on_udp(InFlight& flight);
  void start_tcp(InFlight& flight);
  void on_tcp(InFlight& flight, uint32_t events);
  void next_server(InFlight& flight);
  void finish(InFlight& flight, std::string wire, uint32_t keep_seconds);
  void remember(const std::string& key, std::string wire, uint32_t keep_seconds);
  void answer_stale(InFlight& flight);
  void forget(std::unordered_map<std::string, Entry>::iterator entry);

  base::Loop& loop_;
  Options options_;
  std::vector<std::string> servers_;  // of resolv.conf
  ServersOf servers_of_;
  std::pair<int64_t, int64_t> read_at_{0, 0};  // the file's mtime
  std::unordered_map<std::string, Entry> cache_;
  std::list<std::string> by_age_;  // keys, oldest first
  size_t bytes_ = 0;               // of all answers
  std::map<std::string, std::unique_ptr<InFlight>> in_flight_;
  uint64_t hits_ = 0, stale_ = 0;
};

}  // namespace proxy::dns
