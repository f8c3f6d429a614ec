// Backoff: how long to wait before what failed is tried again: `first`, doubling with each failure in a
// row up to `last`, each time between three quarters and five quarters of it, so that what failed
// together does not come back together. Where nobody listens there is nobody to spare: for the first
// seconds such a server is asked every `first`, and so found within that time of its coming back. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/result.h"

namespace base {

class Backoff {
 public:
  using Steady = std::chrono::steady_clock::time_point;
  // `seed` 0: another spread in every process.
  Backoff(Duration first, Duration last, uint64_t seed = 0);
  Duration next();  // after one more failure
  // After one more failure of a call to a server: `error` says whether anybody was there.
  Duration next(const Error& error, Steady now);
  void reset();                      // it worked
  void forget_beyond(int failures);  // it worked a little: as if so many had failed in a row at most
  int failures() const { return failures_; }

 private:
  Duration spread(Duration delay);
  Duration first_, last_;
  uint64_t random_;
  int failures_ = 0;
  std::optional<Steady> away_;  // since when nobody listens
};

// Nobody listens at the address: the process is not there, its host is.
bool refused(const Error& error);

}  // namespace base
