// When an informer asks its server again: a list that came or a watch that told something, or lasted, was no
// failure; a server that is being restarted is found within a fraction of a second of its coming back, one
// that cuts every watch at once is asked about once a second. Pure: the caller brings the time.
#pragma once

#include "base/backoff.h"

namespace api {

class WatchPace {
 public:
  using Steady = base::Backoff::Steady;
  explicit WatchPace(uint64_t seed = 0);

  void list_page() { backoff_.reset(); }
  base::Duration list_failed(const base::Error& error, Steady now) { return backoff_.next(error, now); }
  base::Duration refused() { return backoff_.next(); }  // by a status, or with what makes no sense

  void watch_begins(Steady now);
  void watch_opened() { opened_ = true; }
  void watch_told();
  bool told() const { return told_; }
  // `error`: null when the server ended it in good order.
  base::Duration watch_ended(const base::Error* error, Steady now);

 private:
  base::Backoff backoff_;
  bool opened_ = false, told_ = false;
  Steady began_{};
};

}  // namespace api
