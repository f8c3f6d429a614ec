// The threads behind Background. They own nothing but the queue.
#include "kubelet/node/background.h"

#include <pthread.h>
#include <signal.h>

namespace kubelet {

struct Background::State {
  explicit State(base::Loop& loop) : loop(loop) {}
  base::Loop& loop;
  std::mutex mutex;
  std::condition_variable wake, ended;
  std::deque<std::pair<std::function<void()>, std::function<void()>>> queue;
  size_t threads = 0, idle = 0;
  bool stopping = false;
};

Background::Background(base::Loop& loop, size_t max_threads)
    : state_(std::make_shared<State>(loop)), max_threads_(max_threads) {}

Background::~Background() {
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  state_->queue.clear();
  state_->wake.notify_all();
  state_->ended.wait(lock, [&] { return state_->threads == 0; });
}

void Background::run(std::function<void()> work, std::function<void()> done) {
  std::lock_guard lock(state_->mutex);
  state_->queue.emplace_back(std::move(work), std::move(done));
  if (state_->idle > 0 || state_->threads >= max_threads_) {
    state_->wake.notify_one();
    return;
  }
  ++state_->threads;
  std::thread([state = state_] {
    std::unique_lock lock(state->mutex);
    while (!state->stopping) {
      if (state->queue.empty()) {
        ++state->idle;
        const bool more = state->wake.wait_for(lock, std::chrono::seconds(2),
                                               [&] { return state->stopping || !state->queue.empty(); });
        --state->idle;
        if (!more) break;
        continue;
      }
      auto [work, done] = std::move(state->queue.front());
      state->queue.pop_front();
      lock.unlock();
      work();
      work = nullptr;
      state->loop.post(std::move(done));
      lock.lock();
    }
    --state->threads;
    state->ended.notify_all();
  }).detach();
}

}  // namespace kubelet
