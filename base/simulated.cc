#include "base/simulated.h"

#include <algorithm>
#include <cstring>

namespace base {
namespace {
thread_local Simulated* t_simulated = nullptr;
}

Simulated::Simulated(uint64_t seed, Time start) : start_(start), random_(seed), outer_(t_simulated) {
  t_simulated = this;
}
Simulated::~Simulated() { t_simulated = outer_; }
Simulated* Simulated::current() { return t_simulated; }

void Simulated::advance(Duration by) { elapsed_ += std::max(by, Duration::zero()); }
void Simulated::advance_to(Steady when) { advance(when - steady()); }

void Simulated::fill(void* bytes, size_t count) {
  auto* at = static_cast<unsigned char*>(bytes);
  while (count > 0) {
    const uint64_t some = random_();
    const size_t taken = std::min(count, sizeof some);
    std::memcpy(at, &some, taken);
    at += taken;
    count -= taken;
  }
}

}  // namespace base
