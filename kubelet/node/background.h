// A few threads for calls that block (netlink, mounts, files of a Pod): started when needed, ended
// when idle for a while, so that an idle node has one thread. Work must not touch the loop's data.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/loop.h"

namespace kubelet {

class Background {
 public:
  explicit Background(base::Loop& loop, size_t max_threads = 4);
  ~Background();  // waits for what runs; what has not begun is dropped
  // `work` on some thread, then `done` on the loop's. Called on the loop's thread.
  void run(std::function<void()> work, std::function<void()> done);
  // The common case: a call with a result.
  template <typename T>
  void call(std::function<T()> work, std::function<void(T)> done) {
    auto slot = std::make_shared<std::optional<T>>();
    run([slot, work = std::move(work)] { slot->emplace(work()); },
        [slot, done = std::move(done)] { done(std::move(**slot)); });
  }

 private:
  struct State;
  std::shared_ptr<State> state_;
  size_t max_threads_;
};

}  // namespace kubelet
