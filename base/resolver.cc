#include "base/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <thread>

namespace base {

namespace {

constexpr size_t kMaxWaiting = 64, kMaxKnown = 256;
constexpr auto kLifetime = std::chrono::seconds(30);
using Clock = std::chrono::steady_clock;

bool is_address(const std::string& host) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, host.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

Result<std::string> look_up(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (int failure = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); failure != 0)
    return make_error(Kind::kUnavailable, "resolve", host, ::gai_strerror(failure));
  char text[INET6_ADDRSTRLEN] = "";
  const void* address =
      found->ai_family == AF_INET
          ? static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_addr)
          : &reinterpret_cast<sockaddr_in6*>(found->ai_addr)->sin6_addr;
  ::inet_ntop(found->ai_family, address, text, sizeof text);
  ::freeaddrinfo(found);
  return std::string(text);
}

}  // namespace

// The thread holds it too; whatever is behind `mutex` is both sides', the rest the loop's alone.
struct Resolver::Shared {
  std::mutex mutex;
  std::condition_variable wake;
  Loop* loop;  // null: the Resolver is gone
  std::deque<std::string> names;
  bool started = false;
  struct Known {
    Result<std::string> address;
    Clock::time_point until;
  };
  std::map<std::string, Known> known;
  std::map<std::string, std::vector<Done>> waiting;

  void learn(const std::string& host, Result<std::string> address) {
    if (known.size() >= kMaxKnown) known.clear();
    known.insert_or_assign(host, Known{address, Clock::now() + kLifetime});
    auto node = waiting.extract(host);
    if (node.empty()) return;
    for (Done& done : node.mapped()) done(address);
  }
  static void work(const std::shared_ptr<Shared>& self) {
    for (;;) {
      std::unique_lock lock(self->mutex);
      self->wake.wait(lock, [&] { return !self->names.empty() || !self->loop; });
      if (!self->loop) return;
      std::string host = std::move(self->names.front());
      self->names.pop_front();
      lock.unlock();
      Result<std::string> address = look_up(host);
      lock.lock();
      if (self->loop) self->loop->post([self, host, address] { self->learn(host, address); });
    }
  }
};

Resolver::Resolver(Loop& loop) : shared_(std::make_shared<Shared>()) { shared_->loop = &loop; }
Resolver::~Resolver() {
  shared_->waiting.clear();
  std::lock_guard lock(shared_->mutex);
  shared_->loop = nullptr;
  shared_->wake.notify_all();
}

void Resolver::resolve(const std::string& host, Done done) {
  if (is_address(host)) return done(host);
  if (auto it = shared_->known.find(host); it != shared_->known.end()) {
    if (Clock::now() < it->second.until) return done(it->second.address);
    shared_->known.erase(it);
  }
  auto& waiting = shared_->waiting[host];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1) return;
  std::lock_guard lock(shared_->mutex);
  if (shared_->names.size() >= kMaxWaiting) {
    shared_->loop->post([shared = shared_, host] {
      shared->learn(host,
                    make_error(Kind::kExhausted, "resolve", host, "too many names wait for the resolver"));
    });
    return;
  }
  shared_->names.push_back(host);
  shared_->wake.notify_one();
  if (std::exchange(shared_->started, true)) return;
  std::thread([shared = shared_] { Shared::work(shared); }).detach();
}

}  // namespace base
