// Backoff: how long to wait before what failed is tried again: `first`, doubling with each failure in a
// row up to `last`, each time between three quarters and five quarters of it, so that what failed
// together does not come back together.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace base {

class Backoff {
 public:
  // `seed` 0: another spread in every process.
  Backoff(Duration first, Duration last, uint64_t seed = 0);
  Duration next();                   // after one more failure
  void reset() { failures_ = 0; }    // it worked
  void forget_beyond(int failures);  // it worked a little: as if so many had failed in a row at most
  int failures() const { return failures_; }

 private:
  Duration first_, last_;
  uint64_t random_;
  int failures_ = 0;
};

}  // namespace base
