#include "base/http/limits.h"

#include <malloc.h>
#include <netinet/in.h>

#include "base/http/connection.h"

// Where the program stands on mimalloc, memory is its to give back.
extern "C" void mi_collect(bool force) __attribute__((weak));

namespace base::http {
namespace {
using namespace std::chrono_literals;
constexpr auto kYoung = 1s;              // a stranger of less is not pushed out by others
constexpr size_t kMuchBytes = 4u << 20;  // held at once: worth giving back
constexpr size_t kManyConnections = 256;
constexpr auto kTrimDelay = 500ms;

std::string key_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET)
    return {reinterpret_cast<const char*>(&reinterpret_cast<const sockaddr_in&>(address).sin_addr), 4};
  if (address.ss_family != AF_INET6) return "unix";
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  const char* raw = reinterpret_cast<const char*>(&v6);
  return IN6_IS_ADDR_V4MAPPED(&v6) ? std::string(raw + 12, 4) : std::string(raw, 8);
}
void give_memory_back() {
  if (mi_collect) mi_collect(true);
  else ::malloc_trim(0);
}
}  // namespace

std::shared_ptr<AddressUse> Limits::use_of(const sockaddr_storage& address) {
  std::weak_ptr<AddressUse>& slot = addresses[key_of(address)];
  auto use = slot.lock();
  if (!use) {
    use = std::shared_ptr<AddressUse>(
        new AddressUse, [weak = weak_from_this(), key = key_of(address)](AddressUse* dead) {
          if (auto self = weak.lock())
            if (auto it = self->addresses.find(key); it != self->addresses.end() && it->second.expired())
              self->addresses.erase(it);
          delete dead;
        });
    slot = use;
  }
  return use;
}

bool Limits::make_room(const sockaddr_storage& address) {
  auto use = use_of(address);
  bool here = use->strangers >= options.max_strangers_per_address;
  if (!here && strangers.size() < options.max_strangers) return true;
  auto before = std::chrono::steady_clock::now() - kYoung;
  for (auto it = strangers.begin(); it != strangers.end() && it->second.since < before; ++it) {
    if (here && it->second.use != use) continue;
    if (auto connection = it->second.connection.lock()) {
      connection->close();  // takes itself off the list
      return true;
    }
  }
  return false;
}

void Limits::fell() {
  if (ended || trim.active() || !((peak > kMuchBytes && bytes < peak / 2) || gone > kManyConnections)) return;
  trim = loop.after(kTrimDelay, [this] {
    peak = bytes;
    gone = 0;
    give_memory_back();
  });
}

Standing::Standing(std::shared_ptr<Limits> limits, const sockaddr_storage& address)
    : limits_(std::move(limits)) {
  use_ = limits_->use_of(address);
  id_ = limits_->next++;
  limits_->strangers[id_] = {{}, use_, std::chrono::steady_clock::now()};
  ++use_->strangers;
}
Standing& Standing::operator=(Standing&& other) noexcept {
  if (this == &other) return *this;
  end();
  limits_ = std::move(other.limits_);
  use_ = std::move(other.use_);
  id_ = std::exchange(other.id_, 0);
  known_ = other.known_;
  requests_ = other.requests_;
  return *this;
}
void Standing::leave() {
  if (id_ == 0) return;
  limits_->strangers.erase(id_);
  --use_->strangers;
  id_ = 0;
}
void Standing::end() {
  leave();
  if (!limits_) return;
  ++limits_->gone;
  limits_->fell();
  limits_.reset();
}
void Standing::is(std::weak_ptr<ServerConnection> connection) {
  if (id_ != 0) limits_->strangers[id_].connection = std::move(connection);
}
void Standing::known() {
  if (std::exchange(known_, true)) return;
  leave();
}
bool Standing::count_request() {
  return known_ || !limits_ || ++requests_ < limits_->options.max_stranger_requests;
}

Charge& Charge::operator=(Charge&& other) noexcept {
  if (this == &other) return *this;
  release();
  limits_ = std::move(other.limits_);
  use_ = std::move(other.use_);
  bytes_ = std::exchange(other.bytes_, 0);
  known_ = other.known_;
  return *this;
}
bool Charge::grow(const Standing& standing, size_t bytes) {
  if (!standing.limits_ || bytes == 0) return true;
  if (bytes_ == 0) {
    limits_ = standing.limits_;
    use_ = standing.use_;
    known_ = standing.known_;
  } else if (standing.known_) {
    known();
  }
  const Server::Options& options = limits_->options;
  size_t& held = known_ ? use_->known_bytes : use_->stranger_bytes;
  size_t limit = known_ ? options.max_request_bytes_per_address : options.max_stranger_bytes_per_address;
  if (held + bytes > limit || limits_->bytes + bytes > options.max_request_bytes) return false;
  held += bytes;
  bytes_ += bytes;
  limits_->bytes += bytes;
  limits_->peak = std::max(limits_->peak, limits_->bytes);
  return true;
}
void Charge::take(Charge other) {
  if (other.bytes_ == 0) return;
  if (bytes_ == 0) {
    *this = std::move(other);
    return;
  }
  if (known_ && !other.known_) other.known();
  if (other.known_ && !known_) known();
  bytes_ += std::exchange(other.bytes_, 0);
}
void Charge::known() {
  if (bytes_ == 0 || std::exchange(known_, true)) return;
  use_->stranger_bytes -= bytes_;
  use_->known_bytes += bytes_;
}
void Charge::release() {
  if (bytes_ > 0) {
    (known_ ? use_->known_bytes : use_->stranger_bytes) -= bytes_;
    limits_->bytes -= std::exchange(bytes_, 0);
    limits_->fell();
  }
  use_.reset();
  limits_.reset();
}

}  // namespace base::http
