// A server that restarts again and again, on a clock of the test's own: what changes in one of its lives is
// known within two more of them; and one that is away for long, or cuts all watches, is not asked often.
#include "api/client/watch_pace.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <random>

namespace api {
namespace {

using namespace std::chrono_literals;
using Steady = WatchPace::Steady;

base::Error failure(int error) {
  base::Error made = base::make_error(base::Kind::kUnavailable, "connect");
  made.errno_value = error;
  return base::wrap(made, "watch");
}

// Lives of `lives` in each `period`, the first at zero. What an answer takes is random.
struct Server {
  base::Duration period, lives;
  bool alive(Steady at) const { return at.time_since_epoch() % period < lives; }
  Steady death_after(Steady at) const { return at - at.time_since_epoch() % period + lives; }
};

// From `now` on, when a watcher that has just lost its server knows what changed at `change`.
Steady known(const Server& server, std::mt19937& random, Steady now, Steady change) {
  WatchPace pace(random());
  for (;;) {
    pace.watch_begins(now);
    Steady opened = now + std::chrono::milliseconds(1 + random() % 30);
    if (!server.alive(now)) {
      base::Error error = failure(ECONNREFUSED);
      now += pace.watch_ended(&error, now);
    } else if (server.death_after(now) < opened) {  // in the middle of its handshake
      now = server.death_after(now);
      base::Error error = failure(random() % 2 ? ECONNRESET : 0);
      now += pace.watch_ended(&error, now);
    } else {
      pace.watch_opened();
      Steady end = server.death_after(now);
      if (change <= opened) return opened;
      if (change < end) return change;
      base::Error error = failure(0);
      now = end + pace.watch_ended(&error, end);
    }
  }
}

TEST(WatchPaceProperty, AChangeIsKnownWithinTwoLivesOfItsServer) {
  base::Duration worst{};
  for (uint32_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    Server server{1s, 300ms};
    Steady began{std::chrono::milliseconds(random() % 1000)};
    // After as many lives as it likes, within one.
    Steady change{std::chrono::seconds(2 + random() % 30) + std::chrono::milliseconds(random() % 300)};
    base::Duration late = known(server, random, began, change) - change;
    worst = std::max(worst, late);
    ASSERT_LE(late, 2s);
  }
  std::printf("latest: %.2f s\n", std::chrono::duration<double>(worst).count());
}

TEST(WatchPaceProperty, AServerThatIsAwayOrCutsAllWatchesIsAskedSeldom) {
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    for (bool away : {true, false}) {
      WatchPace pace(seed);
      int asked = 0;
      for (Steady now{}; now < Steady(100s); ++asked) {
        pace.watch_begins(now);
        if (!away) pace.watch_opened();
        base::Error error = failure(away ? ECONNREFUSED : 0);
        now += pace.watch_ended(&error, now);
      }
      EXPECT_LT(asked, away ? 60 : 180);
    }
  }
}

}  // namespace
}  // namespace api
