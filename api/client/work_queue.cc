#include <algorithm>
#include <unordered_set>

#include "api/client/client.h"
#include "base/backoff.h"

namespace api {

struct WorkQueue::Impl : std::enable_shared_from_this<Impl> {
  struct Later {
    base::Loop::Steady due;
    base::Loop::Handle timer;
  };
  base::Loop& loop;
  std::function<void(const std::string&)> work;
  base::Duration max_backoff;
  bool closed = false, round_posted = false;
  std::deque<std::string> ready;
  std::unordered_set<std::string> in_ready;
  std::unordered_map<std::string, Later> later;
  std::unordered_map<std::string, base::Backoff> failures;

  Impl(base::Loop& loop, std::function<void(const std::string&)> work, base::Duration max_backoff)
      : loop(loop), work(std::move(work)), max_backoff(max_backoff) {}

  void add(const std::string& key) {
    if (!in_ready.insert(key).second) return;
    ready.push_back(key);
    post_round();
  }
  void post_round() {
    if (round_posted) return;
    round_posted = true;
    loop.post([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->round();
    });
  }
  // Keys that are added meanwhile wait for the next round, so that the loop's other work goes on.
  void round() {
    round_posted = false;
    for (size_t left = ready.size(); left && !closed; --left) {
      std::string key = std::move(ready.front());
      ready.pop_front();
      in_ready.erase(key);
      work(key);
    }
    if (!closed && !ready.empty()) post_round();
  }
  void add_after(const std::string& key, base::Duration delay) {
    if (delay <= base::Duration::zero()) return add(key);
    auto due = base::steady_now() + delay;
    auto it = later.find(key);
    if (it != later.end() && it->second.due <= due) return;
    later[key] = {due, loop.after(delay, [weak = weak_from_this(), key] {
                    auto self = weak.lock();
                    if (!self || self->closed) return;
                    self->later.erase(key);
                    self->add(key);
                  })};
  }
};

WorkQueue::WorkQueue(base::Loop& loop, std::function<void(const std::string&)> work,
                     base::Duration max_backoff)
    : impl_(std::make_shared<Impl>(loop, std::move(work), max_backoff)) {}
WorkQueue::~WorkQueue() {
  impl_->closed = true;
  impl_->later.clear();
}
void WorkQueue::add(const std::string& key) { impl_->add(key); }
void WorkQueue::add_after(const std::string& key, base::Duration delay) { impl_->add_after(key, delay); }
void WorkQueue::failed(const std::string& key) {
  auto at = impl_->failures.try_emplace(key, std::chrono::milliseconds(5), impl_->max_backoff).first;
  impl_->add_after(key, at->second.next());
}
void WorkQueue::succeeded(const std::string& key) { impl_->failures.erase(key); }

}  // namespace api
