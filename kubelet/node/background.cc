// The threads behind Background. They own nothing but the queue.
#include "kubelet/node/background.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>

#include "base/log.h"

namespace kubelet {

namespace {
// Threads in all, stuck ones included: of a node's Pods each holds one at most.
constexpr size_t kMostThreads = 512;
}  // namespace

struct Background::State {
  using Steady = std::chrono::steady_clock::time_point;
  struct Job {
    std::string lane;
    std::function<void()> work, done;
  };

  State(base::Loop& loop, size_t max_threads, base::Duration stuck_after)
      : loop(loop), max_threads(max_threads), stuck_after(stuck_after) {}
  base::Loop& loop;
  const size_t max_threads;
  const base::Duration stuck_after;
  std::mutex mutex;
  std::condition_variable wake, ended;
  std::deque<Job> queue;
  std::set<std::string> busy;  // lanes
  std::list<Steady> running;   // when each call began
  size_t threads = 0, idle = 0;
  bool stopping = false;

  std::deque<Job>::iterator next() {
    return std::find_if(queue.begin(), queue.end(),
                        [&](const Job& job) { return job.lane.empty() || !busy.contains(job.lane); });
  }
  size_t stuck() const {
    const Steady now = std::chrono::steady_clock::now();
    return static_cast<size_t>(std::count_if(running.begin(), running.end(),
                                             [&](Steady began) { return now - began >= stuck_after; }));
  }
  size_t waiting() const {
    std::set<std::string_view> lanes;
    size_t out = 0;
    for (const Job& job : queue)
      out += job.lane.empty() || (!busy.contains(job.lane) && lanes.insert(job.lane).second);
    return out;
  }
  // True when there is a thread for all that can be begun.
  static bool staff(const std::shared_ptr<State>& state) {
    const size_t waiting = state->waiting();
    while (waiting > state->idle && state->threads - state->stuck() < state->max_threads &&
           state->threads < kMostThreads) {
      ++state->threads;
      ++state->idle;
      std::thread([state] { serve(*state); }).detach();
    }
    state->wake.notify_one();  // called once for each job
    return waiting <= state->idle;
  }
  static void serve(State& state) {
    std::unique_lock lock(state.mutex);
    --state.idle;
    while (!state.stopping) {
      auto found = state.next();
      if (found == state.queue.end()) {
        ++state.idle;
        const bool more = state.wake.wait_for(lock, std::chrono::seconds(2), [&] {
          return state.stopping || state.next() != state.queue.end();
        });
        --state.idle;
        if (!more) break;
        continue;
      }
      Job job = std::move(*found);
      state.queue.erase(found);
      if (!job.lane.empty()) state.busy.insert(job.lane);
      auto began = state.running.insert(state.running.end(), std::chrono::steady_clock::now());
      lock.unlock();
      job.work();
      job.work = nullptr;
      lock.lock();
      state.running.erase(began);
      if (!job.lane.empty()) state.busy.erase(job.lane);
      // The loop may be gone by now, if this was left behind.
      if (!state.stopping) state.loop.post(std::move(job.done));
    }
    --state.threads;
    state.ended.notify_all();
  }
};

Background::Background(base::Loop& loop, size_t max_threads, base::Duration stuck_after)
    : state_(std::make_shared<State>(loop, max_threads, stuck_after)) {}

Background::~Background() {
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  state_->queue.clear();
  state_->wake.notify_all();
  state_->ended.wait_for(lock, state_->stuck_after, [&] { return state_->threads == 0; });
  if (state_->threads > 0)
    base::log::warning("{} calls on disks have not come back: they are left behind", state_->threads);
}

void Background::run(std::function<void()> work, std::function<void()> done, std::string lane) {
  std::lock_guard lock(state_->mutex);
  state_->queue.push_back({std::move(lane), std::move(work), std::move(done)});
  if (!State::staff(state_) && !watch_.active()) watch();
}

// All threads work. Whether some of them are stuck shows later.
void Background::watch() {
  watch_ = state_->loop.after(state_->stuck_after, [this] {
    std::lock_guard lock(state_->mutex);
    watch_.cancel();
    if (!State::staff(state_)) watch();
  });
}

}  // namespace kubelet
