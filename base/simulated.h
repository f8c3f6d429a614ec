// Simulated: while one lives, the clocks of its thread stand still unless it moves them, the thread's random
// bytes come from a seed, and no fiber runs aside: a loop can be driven step by step, and does the same
// twice. For simulations; no program makes one.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

#include "base/clock.h"

namespace base {

class Simulated {
 public:
  explicit Simulated(uint64_t seed, Time start = Time(std::chrono::seconds(1'800'000'000)));
  ~Simulated();
  Simulated(const Simulated&) = delete;
  Simulated& operator=(const Simulated&) = delete;

  void advance(Duration by);
  void advance_to(Steady when);  // never back
  Time wall() const { return start_ + elapsed_; }
  Steady steady() const { return Steady(std::chrono::hours(1) + elapsed_); }
  void fill(void* bytes, size_t count);

  static Simulated* current();  // of this thread; null: time passes and chance is the kernel's

 private:
  const Time start_;
  Duration elapsed_{};
  std::mt19937_64 random_;
  Simulated* const outer_;
};

}  // namespace base
