#include "base/loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <thread>

#include "base/sys.h"

namespace base {
namespace {
using namespace std::chrono_literals;

TEST(Loop, RunsPostedTasksInOrderFromAnyThread) {
  Loop loop;
  std::vector<int> seen;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) loop.post([&, i] { seen.push_back(i); });
    loop.stop();
  });
  loop.run();
  other.join();
  ASSERT_EQ(seen.size(), 100u);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
}

TEST(Loop, TimersFireInOrderAndCancel) {
  Loop loop;
  std::string order;
  auto b = loop.after(2ms, [&] { order += 'b'; });
  auto a = loop.after(1ms, [&] { order += 'a'; });
  auto never = loop.after(1ms, [&] { order += 'x'; });
  auto end = loop.after(3ms, [&] { loop.stop(); });
  never.cancel();
  loop.run();
  EXPECT_EQ(order, "ab");
  EXPECT_FALSE(a.active());
}

TEST(Loop, WatchMayDestroyItself) {
  Loop loop;
  auto pipe = sys::pipe().value();
  int calls = 0;
  Loop::Handle handle;
  handle = loop.watch(pipe.read.get(), EPOLLIN, [&](uint32_t) {
    ++calls;
    handle.cancel();
    loop.stop();
  });
  ASSERT_TRUE(sys::write_all(pipe.write.get(), "x").ok());
  loop.run();
  loop.run_once(1ms);
  EXPECT_EQ(calls, 1);
}
}  // namespace
}  // namespace base
