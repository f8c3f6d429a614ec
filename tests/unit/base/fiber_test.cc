#include "base/fiber.h"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>

namespace base {
namespace {
using namespace std::chrono_literals;

void run_until(Loop& loop, const std::function<bool()>& done) {
  for (int i = 0; i < 1000 && !done(); ++i) loop.run_once(100ms);
  ASSERT_TRUE(done());
}

TEST(Fibers, WhatIsComputedRunsOnAnotherThreadWhileTheLoopGoesOn) {
  Loop loop;
  Fibers fibers(loop);
  std::thread::id loops = std::this_thread::get_id(), before, computing, after;
  std::atomic<bool> served = false;
  bool ended = false;
  fibers.start("a", [&] {
    std::string held = "on the fiber's stack";
    before = std::this_thread::get_id();
    compute([&] {
      computing = std::this_thread::get_id();
      while (!served) std::this_thread::yield();  // the loop serves somebody else in the middle of it
    });
    after = std::this_thread::get_id();
    EXPECT_EQ(held, "on the fiber's stack");
    ended = true;
  });
  EXPECT_FALSE(ended);
  EXPECT_EQ(fibers.running(), 1u);
  loop.post([&] { served = true; });
  run_until(loop, [&] { return ended; });
  EXPECT_EQ(before, loops);
  EXPECT_EQ(after, loops);
  EXPECT_NE(computing, loops);
  EXPECT_EQ(fibers.running(), 0u);
}

// A nicer thread would get next to nothing where others use the processors.
TEST(Fibers, WhatIsComputedIsAsImportantAsTheLoop) {
  Loop loop;
  Fibers fibers(loop);
  int beside = 99;
  fibers.start("a", [&] {
    compute([&] { beside = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid())); });
    loop.stop();
  });
  loop.run();
  EXPECT_EQ(beside, ::getpriority(PRIO_PROCESS, 0));
}

TEST(Fibers, OutsideOfAFiberWorkIsDoneAtOnce) {
  std::thread::id where;
  compute([&] { compute([&] { where = std::this_thread::get_id(); }); });
  EXPECT_EQ(where, std::this_thread::get_id());
}

TEST(Fibers, FlowsTakeTurnsAndWhoHasBegunGoesFirst) {
  Loop loop;
  Fibers fibers(loop);
  std::mutex mutex;
  std::string order;
  std::atomic<bool> go = false;
  int ended = 0;
  auto body = [&](char name, int pieces) {
    return [&, name, pieces] {
      for (int i = 0; i < pieces; ++i)
        compute([&] {
          std::lock_guard lock(mutex);
          order += name;
        });
      ++ended;
    };
  };
  fibers.start("first", [&] {
    compute([&] {
      while (!go) std::this_thread::yield();
    });
    ++ended;
  });
  for (char name : {'a', 'b', 'c'}) fibers.start("greedy", body(name, 1));
  fibers.start("modest", body('x', 1));
  go = true;
  run_until(loop, [&] { return ended == 5; });
  EXPECT_LE(order.find('x'), 1u) << order;  // it waits for one of the greedy flow's at most
}

TEST(Fibers, ManyEndAndTheirStacksAreUsedAgain) {
  Loop loop;
  Fibers fibers(loop, 2);
  int ended = 0;
  for (int i = 0; i < 500; ++i)
    fibers.start(std::to_string(i % 7), [&, i] {
      int sum = 0;
      for (int k = 0; k < 3; ++k) compute([&] { sum += i; });
      EXPECT_EQ(sum, 3 * i);
      ++ended;
    });
  run_until(loop, [&] { return ended == 500; });
}

TEST(Fibers, WhoGivesWayLetsTheLoopGoFirst) {
  Loop loop;
  int others = 0, ended = 0;
  std::function<void()> other = [&] {
    ++others;
    if (!ended) loop.post(other);
  };
  {
    Fibers fibers(loop);
    auto began = std::chrono::steady_clock::now();
    fibers.start("a", [&] {
      while (others < 5 && std::chrono::steady_clock::now() - began < 10s) give_way();
      ++ended;
    });
    EXPECT_EQ(ended, 0);
    loop.post(other);
    run_until(loop, [&] { return ended == 1; });
    EXPECT_GE(others, 5);
    began = std::chrono::steady_clock::now();
    fibers.start("a", [&] {
      while (std::chrono::steady_clock::now() - began < 30ms) give_way();
      ++ended;
    });
  }
  EXPECT_EQ(ended, 2);  // also where it gave way when all ended
  give_way();
}

TEST(Fibers, WhatWasBegunIsBroughtToItsEnd) {
  Loop loop;
  int ended = 0;
  auto witness = std::make_shared<int>(1);
  {
    Fibers fibers(loop);
    for (int i = 0; i < 20; ++i)
      fibers.start("a", [&, witness] {
        compute([&] { std::this_thread::yield(); });
        compute([&] { std::this_thread::yield(); });
        ++ended;
      });
  }
  EXPECT_EQ(ended, 20);
  EXPECT_EQ(witness.use_count(), 1);
  loop.run_once(0ms);  // what the threads posted finds nobody
}

}  // namespace
}  // namespace base
