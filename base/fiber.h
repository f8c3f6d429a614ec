// Fibers: work that would hold a loop too long, written as if it ran there in one go. A fiber's code runs
// on the loop's thread, on a stack of its own; where it calls compute(), what it hands over runs on another
// thread, and the loop serves everybody else until that is done.
//
// For requests that cost more than a few milliseconds only: a hand-over takes some 30 µs and each fiber a
// stack. Everything but what compute() runs belongs to the loop's thread.
#pragma once

#include <ucontext.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/loop.h"

namespace base {

// Runs `work` and returns when it is done: called on a fiber, on another thread while the loop goes on, so
// `work` may touch only what nobody else does meanwhile, and what the caller holds by reference into the
// loop's own state (iterators of caches) may be gone afterwards; called elsewhere, at once.
void compute(const std::function<void()>& work);
// For a fiber's loops over much of the loop's own state: when it has held the loop for 5 ms, all else that
// is ready goes first. Elsewhere nothing.
void give_way();
bool on_fiber();

class Fibers {
 public:
  // `threads` compute at a time, started when the first has something to do. At the loop's priority: on one
  // processor of its own a nicer thread gains the loop half a millisecond (p99), on one that others use it
  // gets a sixth of what it should.
  explicit Fibers(Loop& loop, unsigned threads = 1);
  // Brings everything begun to its end, so that nothing waits for a loop that is gone.
  ~Fibers();
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;

  // Runs `body` as a fiber, at once, and returns when it has ended or waits in compute(). Those of one
  // `flow` (a user's name) compute in turn with those of the others, whoever has begun before who has not.
  void start(std::string flow, std::function<void()> body);
  size_t running() const { return running_; }

 private:
  struct Fiber;
  friend void compute(const std::function<void()>& work);
  friend void give_way();
  void compute_aside(Fiber& fiber, const std::function<void()>& work);
  void enter(Fiber& fiber);
  static void leave(Fiber& fiber, bool for_good);
  static void entry();
  void work();
  void done(Fiber& fiber);  // any thread: it may go on
  Fiber* take();            // the next to compute; null: none

  Loop& loop_;
  const unsigned max_threads_;
  size_t running_ = 0;
  std::vector<std::unique_ptr<Fiber>> spare_;  // ended; their stacks are used again

  std::mutex mutex_;  // guards what follows
  struct Flow {
    std::string name;
    std::deque<Fiber*> waiting;
  };
  std::deque<Flow> flows_;  // the next to compute first
  std::deque<Fiber*> done_;
  unsigned idle_ = 0;
  bool stopping_ = false;
  std::condition_variable wake_, finished_;
  std::vector<std::thread> threads_;
  std::shared_ptr<Fibers*> self_;  // emptied at the end: the loop may outlive this
};

}  // namespace base
