#include "base/backoff.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/random.h"

namespace base {
namespace {
constexpr auto kAskedOften = std::chrono::seconds(3);
}

Backoff::Backoff(Duration first, Duration last, uint64_t seed) : first_(first), last_(last), random_(seed) {
  if (random_ == 0) random_bytes(&random_, sizeof random_);
}

Duration Backoff::next() {
  // It was away and is there: what failed before that was another life of it.
  if (std::exchange(away_, std::nullopt)) failures_ = 0;
  int64_t most = first_.count() > 0 ? last_.count() / first_.count() : 1;
  int64_t factor = failures_ < 62 ? int64_t{1} << failures_ : most;
  if (failures_ < 62) ++failures_;
  return spread(factor >= most ? last_ : first_ * factor);
}

Duration Backoff::next(const Error& error, Steady now) {
  if (!refused(error)) return next();
  if (!away_) {
    away_ = now;
    failures_ = 0;
  }
  if (now - *away_ < kAskedOften) return spread(first_);
  std::optional<Steady> since = std::exchange(away_, std::nullopt);
  Duration delay = next();
  away_ = since;
  return delay;
}

void Backoff::reset() {
  failures_ = 0;
  away_.reset();
}

Duration Backoff::spread(Duration delay) {
  // splitmix64: good enough to spread, and small.
  uint64_t x = random_ += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  x ^= x >> 31;
  return delay / 4 * 3 + Duration(delay.count() / 1024 * static_cast<int64_t>(x % 512));
}

void Backoff::forget_beyond(int failures) { failures_ = std::min(failures_, failures); }

bool refused(const Error& error) {
  for (const Error* one = &error; one; one = one->cause.get())
    if (one->errno_value == ECONNREFUSED) return true;
  return false;
}

}  // namespace base
