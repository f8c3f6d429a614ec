// See dns_upstream.h.
#include "proxy/dns_upstream.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/sys.h"

namespace proxy::dns {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kAttempts = 3;
constexpr int kMaxGuesses = 8;        // packets that were no answer: somebody tries ids (RFC 5452)
constexpr uint32_t kStaleTtl = 30;    // RFC 8767
constexpr size_t kMaxKept = 8 << 10;  // bytes of an answer that is remembered

uint16_t random_id() {
  uint16_t id = 0;
  SAMPAN_CHECK(::getrandom(&id, sizeof id, 0) == sizeof id);
  return id;
}
// So old that what is left of the shortest TTL is kStaleTtl.
uint32_t stale_age(Clock::time_point stored, Clock::time_point expires) {
  auto kept = std::chrono::duration_cast<std::chrono::seconds>(expires - stored).count();
  return kept > kStaleTtl ? static_cast<uint32_t>(kept) - kStaleTtl : 0;
}
// Whether a server said what is, and not merely that it can't say.
bool tells(std::string_view wire) {
  const int code = wire.size() < 4 ? kServFail : wire[3] & 15;
  return code == kNoError || code == kNxDomain;
}
base::UniqueFd connected_socket(int type, const std::string& ip, uint16_t port) {
  base::UniqueFd fd(::socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  auto address = base::Ip::parse_v4(ip);
  if (!fd || !address) return {};
  to.sin_addr.s_addr = htonl(address->v4_bits());
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS)
    return {};
  return fd;
}

}  // namespace

std::vector<std::string> parse_resolv_conf(std::string_view text, const std::string& own) {
  std::vector<std::string> servers;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    constexpr std::string_view kWord = "nameserver";
    if (!line.starts_with(kWord)) continue;
    line.remove_prefix(kWord.size());
    size_t from = line.find_first_not_of(" \t");
    if (from == 0 || from == std::string_view::npos) continue;
    line = line.substr(from, line.find_first_of(" \t\r", from) - from);
    if (base::Ip::parse_v4(line) && line != own && servers.size() < 3) servers.emplace_back(line);
  }
  return servers;
}

struct Upstream::InFlight {
  std::string key, name;
  Query query;
  std::vector<std::string> servers;
  std::vector<Done> waiting;
  int attempt = 0, guesses = 0;
  uint16_t id = 0;
  base::UniqueFd fd;
  base::Loop::Handle ready, timer;
  std::string out, in;  // TCP
};

Upstream::Upstream(base::Loop& loop, Options options) : loop_(loop), options_(std::move(options)) {}
Upstream::~Upstream() = default;

void Upstream::set_servers_of(ServersOf servers_of) {
  servers_of_ = std::move(servers_of);
  while (!cache_.empty()) forget(cache_.begin());
}

std::vector<std::string> Upstream::servers_for(std::string name) {
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (const auto* servers = servers_of_ ? servers_of_(name) : nullptr) return *servers;
  struct stat info {};
  if (options_.resolv_conf.empty() || ::stat(options_.resolv_conf.c_str(), &info) != 0) return servers_;
  std::pair<int64_t, int64_t> changed{info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
  if (changed != read_at_) {
    auto text = base::sys::read_file(options_.resolv_conf, 64 << 10);
    if (text.ok()) {
      servers_ = parse_resolv_conf(*text, options_.own_address);
      read_at_ = changed;
    }
  }
  return servers_;
}

void Upstream::resolve(const Query& query, const std::string& name, Done done) {
  std::string key = name;
  for (char& c : key)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  key += fmt::format("/{}/{}/{}", query.type, query.dns_class, query.dnssec_ok);
  auto now = Clock::now();
  if (auto it = cache_.find(key); it != cache_.end()) {
    if (it->second.expires > now) {
      ++hits_;
      auto age = std::chrono::duration_cast<std::chrono::seconds>(now - it->second.stored).count();
      return done(it->second.wire, static_cast<uint32_t>(age));
    }
    if (it->second.expires + options_.stale <= now) {
      forget(it);
    } else if (it->second.retry > now) {
      ++stale_;
      return done(it->second.wire, stale_age(it->second.stored, it->second.expires));
    }
  }
  if (auto it = in_flight_.find(key); it != in_flight_.end())
    return it->second->waiting.push_back(std::move(done));
  std::vector<std::string> servers = servers_for(name);
  if (servers.empty() || in_flight_.size() >= options_.max_in_flight) return done({}, 0);
  auto flight = std::make_unique<InFlight>();
  flight->key = key;
  flight->name = name;
  flight->query = query;
  flight->servers = std::move(servers);
  flight->waiting.push_back(std::move(done));
  InFlight& started = *flight;
  in_flight_.emplace(key, std::move(flight));
  send(started);
}

void Upstream::send(InFlight& flight) {
  flight.ready.cancel();
  flight.id = random_id();
  const std::string& server = flight.servers[static_cast<size_t>(flight.attempt) % flight.servers.size()];
  flight.fd = connected_socket(SOCK_DGRAM, server, options_.port);
  std::string wire = encode_upstream_query(flight.query, flight.name, flight.id);
  if (!flight.fd || ::send(flight.fd.get(), wire.data(), wire.size(), MSG_NOSIGNAL) < 0) {
    // Not from within resolve(): its caller may not be ready for the answer yet.
    flight.timer = loop_.after(base::Duration(0), [this, &flight] { next_server(flight); });
    return;
  }
  flight.ready = loop_.watch(flight.fd.get(), EPOLLIN, [this, &flight](uint32_t) { on_udp(flight); });
  flight.timer = loop_.after(options_.timeout, [this, &flight] { next_server(flight); });
}

void Upstream::next_server(InFlight& flight) {
  answer_stale(flight);  // the servers have had their time
  if (++flight.attempt >= kAttempts) return finish(flight, {}, 0);
  send(flight);
}

void Upstream::on_udp(InFlight& flight) {
  char buffer[4096];
  ssize_t n = ::recv(flight.fd.get(), buffer, sizeof buffer, 0);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) next_server(flight);  // ECONNREFUSED: nobody there
    return;
  }
  std::string_view wire(buffer, static_cast<size_t>(n));
  auto checked = check_upstream(wire, flight.id, flight.name, flight.query.type, flight.query.dns_class);
  if (!checked) {  // not the answer to this: keep waiting, but not for the right guess
    if (++flight.guesses >= kMaxGuesses) start_tcp(flight);
    return;
  }
  if (checked->truncated) return start_tcp(flight);
  finish(flight, std::string(wire), checked->keep_seconds);
}

void Upstream::start_tcp(InFlight& flight) {
  const std::string& server = flight.servers[static_cast<size_t>(flight.attempt) % flight.servers.size()];
  flight.ready.cancel();
  flight.fd = connected_socket(SOCK_STREAM, server, options_.port);
  if (!flight.fd) return next_server(flight);
  std::string wire = encode_upstream_query(flight.query, flight.name, flight.id);
  flight.out = {static_cast<char>(wire.size() >> 8), static_cast<char>(wire.size())};
  flight.out += wire;
  flight.in.clear();
  flight.ready =
      loop_.watch(flight.fd.get(), EPOLLOUT, [this, &flight](uint32_t events) { on_tcp(flight, events); });
}

void Upstream::on_tcp(InFlight& flight, uint32_t) {
  if (!flight.out.empty()) {
    ssize_t n = ::send(flight.fd.get(), flight.out.data(), flight.out.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return next_server(flight);
    if (n > 0) flight.out.erase(0, static_cast<size_t>(n));
    if (flight.out.empty()) loop_.change(flight.ready, EPOLLIN);
    return;
  }
  char buffer[16384];
  ssize_t n = ::recv(flight.fd.get(), buffer, sizeof buffer, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return next_server(flight);
  flight.in.append(buffer, static_cast<size_t>(n));
  if (flight.in.size() < 2) return;
  size_t length =
      static_cast<size_t>(static_cast<uint8_t>(flight.in[0])) << 8 | static_cast<uint8_t>(flight.in[1]);
  if (flight.in.size() < 2 + length) return;
  std::string wire = flight.in.substr(2, length);
  auto checked = check_upstream(wire, flight.id, flight.name, flight.query.type, flight.query.dns_class);
  if (!checked) return next_server(flight);
  finish(flight, std::move(wire), checked->keep_seconds);
}

// Who waits gets what was true once; the servers are asked on, for those who come later.
void Upstream::answer_stale(InFlight& flight) {
  auto entry = cache_.find(flight.key);
  if (entry == cache_.end()) return;
  entry->second.retry = Clock::now() + options_.recheck;
  const uint32_t age = stale_age(entry->second.stored, entry->second.expires);
  const std::string wire = entry->second.wire;  // whoever gets it may ask for more
  stale_ += flight.waiting.size();
  for (Done& done : std::exchange(flight.waiting, {})) done(wire, age);
}

void Upstream::finish(InFlight& flight, std::string wire, uint32_t keep_seconds) {
  auto it = in_flight_.find(flight.key);
  std::unique_ptr<InFlight> ended = std::move(it->second);
  in_flight_.erase(it);
  if (!tells(wire)) answer_stale(*ended);
  else if (auto old = cache_.find(ended->key); old != cache_.end()) forget(old);
  if (keep_seconds) remember(ended->key, wire, keep_seconds);
  for (Done& done : ended->waiting) done(wire, 0);
}

void Upstream::forget(std::unordered_map<std::string, Entry>::iterator entry) {
  bytes_ -= entry->second.wire.size();
  by_age_.erase(entry->second.age);
  cache_.erase(entry);
}

void Upstream::remember(const std::string& key, std::string wire, uint32_t keep_seconds) {
  if (auto old = cache_.find(key); old != cache_.end()) forget(old);
  if (wire.size() > kMaxKept) return;
  while (!cache_.empty() &&
         (cache_.size() >= options_.max_entries || bytes_ + wire.size() > options_.max_bytes))
    forget(cache_.find(by_age_.front()));
  auto now = Clock::now();
  by_age_.push_back(key);
  bytes_ += wire.size();
  cache_[key] = {std::move(wire), now, now + std::chrono::seconds(keep_seconds), std::prev(by_age_.end())};
}

}  // namespace proxy::dns
