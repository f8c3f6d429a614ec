#include "base/simulated.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/backoff.h"
#include "base/fiber.h"
#include "base/loop.h"
#include "base/random.h"
#include "base/uuid.h"

namespace base {
namespace {

using namespace std::chrono_literals;

TEST(Simulated, ItsClocksMoveWhenTheyAreMoved) {
  const Time real = wall_now();
  Simulated time(1, Time(1'000'000s));
  EXPECT_EQ(wall_now(), Time(1'000'000s));
  const Steady before = steady_now();
  EXPECT_EQ(steady_now(), before);
  time.advance(5s);
  EXPECT_EQ(steady_now() - before, 5s);
  EXPECT_EQ(wall_now(), Time(1'000'005s));
  time.advance(-1s);
  time.advance_to(before);
  EXPECT_EQ(steady_now() - before, 5s) << "never back";
  std::thread([&] { EXPECT_GE(wall_now(), real) << "other threads have the host's"; }).join();
}

TEST(Simulated, OneMayStandInAnother) {
  Simulated outer(1, Time(10s));
  {
    Simulated inner(2, Time(20s));
    EXPECT_EQ(wall_now(), Time(20s));
  }
  EXPECT_EQ(wall_now(), Time(10s));
}

TEST(Simulated, ASeedIsTheSameChance) {
  auto draw = [](uint64_t seed) {
    Simulated chance(seed);
    unsigned char bytes[13];
    random_bytes(bytes, sizeof bytes);
    return std::pair(new_uuid() + std::string(bytes, bytes + sizeof bytes), Backoff(1s, 10s).next());
  };
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
  EXPECT_NE(new_uuid(), new_uuid());
}

TEST(Simulated, ALoopIsDrivenFromTimerToTimer) {
  Simulated time(1);
  Loop loop;
  std::string said;
  EXPECT_FALSE(loop.next_timer());
  auto late = loop.after(3600s, [&] { said += "late "; });
  auto soon = loop.after(10s, [&] {
    said += "soon ";
    loop.post([&] { said += "posted "; });
  });
  EXPECT_FALSE(loop.run_ready());
  EXPECT_EQ(said, "");
  time.advance_to(*loop.next_timer());
  while (loop.run_ready()) {
  }
  EXPECT_EQ(said, "soon posted ");
  ASSERT_TRUE(loop.next_timer());
  EXPECT_EQ(*loop.next_timer() - steady_now(), 3590s);
  time.advance_to(*loop.next_timer());
  while (loop.run_ready()) {
  }
  EXPECT_EQ(said, "soon posted late ");
  EXPECT_FALSE(loop.next_timer());
}

TEST(Simulated, AFiberRunsInPlace) {
  Simulated time(1);
  Loop loop;
  Fibers fibers(loop);
  const auto here = std::this_thread::get_id();
  bool done = false;
  fibers.start("someone", [&] {
    compute([&] { EXPECT_EQ(std::this_thread::get_id(), here); });
    done = true;
  });
  EXPECT_TRUE(done);
  EXPECT_EQ(fibers.running(), 0u);
}

}  // namespace
}  // namespace base
