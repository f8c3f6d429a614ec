#include "base/backoff.h"

#include <sys/random.h>

#include <algorithm>

namespace base {

Backoff::Backoff(Duration first, Duration last, uint64_t seed) : first_(first), last_(last), random_(seed) {
  if (random_ == 0 && ::getrandom(&random_, sizeof random_, GRND_NONBLOCK) != sizeof random_)
    random_ = reinterpret_cast<uintptr_t>(this);
}

Duration Backoff::next() {
  int64_t most = first_.count() > 0 ? last_.count() / first_.count() : 1;
  int64_t factor = failures_ < 62 ? int64_t{1} << failures_ : most;
  if (failures_ < 62) ++failures_;
  Duration delay = factor >= most ? last_ : first_ * factor;
  // splitmix64: good enough to spread, and small.
  uint64_t x = random_ += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  x ^= x >> 31;
  return delay / 4 * 3 + Duration(delay.count() / 1024 * static_cast<int64_t>(x % 512));
}

void Backoff::forget_beyond(int failures) { failures_ = std::min(failures_, failures); }

}  // namespace base
