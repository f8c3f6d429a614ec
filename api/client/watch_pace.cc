#include "api/client/watch_pace.h"

namespace api {
namespace {
constexpr auto kFirstPause = std::chrono::milliseconds(200);
constexpr auto kLongestPause = std::chrono::seconds(5);
constexpr auto kShortWatch = std::chrono::milliseconds(200);
// A server that lets watches begin is there again.
constexpr int kFailuresOfShortWatch = 2;
}  // namespace

WatchPace::WatchPace(uint64_t seed) : backoff_(kFirstPause, kLongestPause, seed) {}

void WatchPace::watch_begins(Steady now) {
  opened_ = told_ = false;
  began_ = now;
}
void WatchPace::watch_told() {
  told_ = true;
  backoff_.reset();
}

base::Duration WatchPace::watch_ended(const base::Error* error, Steady now) {
  bool lasted = opened_ && now - began_ >= kShortWatch;
  if (told_ || lasted) backoff_.reset();
  else if (opened_) backoff_.forget_beyond(kFailuresOfShortWatch);
  if (error) return backoff_.next(*error, now);
  return told_ || lasted ? base::Duration::zero() : backoff_.next();
}

}  // namespace api
