// A few threads for calls that block (netlink, mounts, files of a Pod): started when needed, ended
// when idle for a while, so that an idle node has one thread. Work must not touch the loop's data, and owns
// what it looks at: one that never comes back (a disk that hangs) is left behind at the end.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/loop.h"

namespace kubelet {

class Background {
 public:
  // Work that has run for `stuck_after` has no share of `max_threads` any more: others go on without it.
  explicit Background(base::Loop& loop, size_t max_threads = 4,
                      base::Duration stuck_after = std::chrono::seconds(1));
  ~Background();  // waits for what runs, unless it is stuck; what has not begun is dropped
  // `work` on some thread, then `done` on the loop's. Called on the loop's thread. Work of one lane (a Pod)
  // is done in order, one after the other: it holds one thread at most, whatever hangs. No lane: on its own.
  void run(std::function<void()> work, std::function<void()> done, std::string lane = {});
  // The common case: a call with a result.
  template <typename T>
  void call(std::function<T()> work, std::function<void(T)> done, std::string lane = {}) {
    auto slot = std::make_shared<std::optional<T>>();
    run([slot, work = std::move(work)] { slot->emplace(work()); },
        [slot, done = std::move(done)] { done(std::move(**slot)); }, std::move(lane));
  }

 private:
  struct State;
  void watch();

  std::shared_ptr<State> state_;
  base::Loop::Handle watch_;  // while work waits for a thread
};

}  // namespace kubelet
