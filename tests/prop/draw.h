// What property tests draw from. The seed of a failure is printed; SAMPAN_SEED runs it alone.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <random>

namespace prop {

struct Draw {
  std::mt19937_64 random;
  int upto(int n) { return static_cast<int>(random() % static_cast<uint64_t>(n + 1)); }
  bool chance(int percent) { return upto(99) < percent; }
};
// Stops at the first seed that fails.
inline void each_seed(int count, const std::function<void(Draw&)>& body) {
  if (const char* one = std::getenv("SAMPAN_SEED")) {
    Draw draw{std::mt19937_64(std::strtoull(one, nullptr, 10))};
    return body(draw);
  }
  for (int seed = 1; seed <= count && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("SAMPAN_SEED={}", seed));
    Draw draw{std::mt19937_64(static_cast<uint64_t>(seed))};
    body(draw);
  }
}

}  // namespace prop
