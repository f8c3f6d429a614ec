// Seeds of simulations: so many as a test asks for; SAMPAN_SIM_SEEDS=N runs N of each instead, SAMPAN_SEED=N
// that one alone. What fails prints its seed, and with it happens again.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

namespace simulated {

// Stops at the first seed that fails.
inline void each_seed(uint64_t count, const std::function<void(uint64_t seed)>& body) {
  uint64_t first = 1;
  if (const char* many = std::getenv("SAMPAN_SIM_SEEDS")) count = std::strtoull(many, nullptr, 10);
  if (const char* one = std::getenv("SAMPAN_SEED")) first = count = std::strtoull(one, nullptr, 10);
  for (uint64_t seed = first; seed <= count && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("SAMPAN_SEED={}", seed));
    body(seed);
  }
}

}  // namespace simulated
