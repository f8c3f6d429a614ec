// Threads for what blocks: a call that never comes back holds up its lane and nothing else.
#include "kubelet/node/background.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/sys.h"

namespace kubelet {
namespace {

// A file that hangs who opens it for reading, until somebody opens it for writing.
class Fifo {
 public:
  Fifo() {
    char path[] = "/tmp/background-XXXXXX";
    dir_ = ::mkdtemp(path);
    path_ = dir_ + "/fifo";
    EXPECT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  }
  ~Fifo() {
    release();
    ::unlink(path_.c_str());
    ::rmdir(dir_.c_str());
  }
  const std::string& path() const { return path_; }
  void release() { base::UniqueFd(::open(path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC)); }

 private:
  std::string dir_, path_;
};

void until(base::Loop& loop, const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!done() && std::chrono::steady_clock::now() < end) loop.run_once(std::chrono::milliseconds(100));
  EXPECT_TRUE(done());
}

TEST(Background, StuckCallsHoldUpTheirLanesAlone) {
  base::Loop loop;
  Fifo fifo;
  std::atomic<int> stuck_done = 0;
  int queued_done = 0, others = 0;
  auto hang = [path = fifo.path()] { base::UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)); };
  {
    Background background(loop, 2, std::chrono::milliseconds(20));
    // More Pods hang than there are threads to share; of each more is asked.
    for (int pod = 0; pod < 5; ++pod) {
      background.run(
          hang, [&] { ++stuck_done; }, "stuck-" + std::to_string(pod));
      background.run([] {}, [&] { ++queued_done; }, "stuck-" + std::to_string(pod));
    }
    for (int pod = 0; pod < 20; ++pod) background.run([] {}, [&] { ++others; }, "pod-" + std::to_string(pod));
    until(loop, [&] { return others == 20; });
    EXPECT_EQ(stuck_done, 0);
    EXPECT_EQ(queued_done, 0);  // behind what hangs, and in order
    // The disk comes back: each reader that has opened is one that a writer let in.
    until(loop, [&] {
      fifo.release();
      return stuck_done == 5 && queued_done == 5;
    });
  }
}

TEST(Background, OneLaneIsDoneInOrder) {
  base::Loop loop;
  Background background(loop);
  std::atomic<int> at_once = 0, most = 0;
  std::vector<int> order;
  for (int i = 0; i < 50; ++i)
    background.call<int>(
        [&, i] {
          most = std::max(most.load(), ++at_once);
          --at_once;
          return i;
        },
        [&](int i) { order.push_back(i); }, "pod");
  until(loop, [&] { return order.size() == 50; });
  EXPECT_EQ(most, 1);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(Background, TheEndDoesNotWaitForWhatHangs) {
  base::Loop loop;
  auto fifo = std::make_unique<Fifo>();
  auto begun = std::make_shared<std::atomic<bool>>(false);
  auto ended = std::make_shared<std::atomic<bool>>(false);
  bool told = false;
  {
    Background background(loop, 1, std::chrono::milliseconds(20));
    background.run(
        [path = fifo->path(), begun, ended] {
          *begun = true;
          base::UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
          *ended = true;
        },
        [&] { told = true; });
    until(loop, [&] { return begun->load(); });
  }
  EXPECT_FALSE(*ended);
  until(loop, [&] {
    fifo->release();
    return ended->load();
  });
  loop.run_once({});
  EXPECT_FALSE(told);
}

}  // namespace
}  // namespace kubelet
