#include "base/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/sys.h"

namespace base {

Loop::Handle::Handle(Handle&& other) noexcept
    : loop_(std::exchange(other.loop_, nullptr)), id_(other.id_), is_timer_(other.is_timer_) {}
Loop::Handle& Loop::Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    cancel();
    loop_ = std::exchange(other.loop_, nullptr);
    id_ = other.id_;
    is_timer_ = other.is_timer_;
  }
  return *this;
}
void Loop::Handle::cancel() {
  if (Loop* loop = std::exchange(loop_, nullptr)) loop->remove(id_, is_timer_);
}
bool Loop::Handle::active() const {
  if (!loop_) return false;
  return is_timer_ ? loop_->timer_due_.count(id_) != 0 : loop_->watches_.count(id_) != 0;
}

Loop::Loop() {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  SAMPAN_CHECK(epoll_.valid() && wake_.valid());
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 0;  // id 0 is the wake-up
  SAMPAN_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) == 0);
}
Loop::~Loop() {
  // Closures may own handles of this loop: while they die, there must still be a loop to ask.
  while (!posted_.empty() || !timers_.empty() || !watches_.empty()) {
    auto posted = std::exchange(posted_, {});
    auto timers = std::exchange(timers_, {});
    auto watches = std::exchange(watches_, {});
    timer_due_.clear();
  }
}

void Loop::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(task));
    if (posted_.size() > 1) return;  // the wake-up for the first is still unread
  }
  uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}
void Loop::stop() {
  post([this] { stopping_ = true; });
}

void Loop::run() {
  stopping_ = false;
  while (!stopping_) wait(next_timeout_ms());
}
void Loop::run_once(Duration timeout) {
  int limit = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(timeout).count());
  int timer = next_timeout_ms();
  wait(timer < 0 ? limit : std::min(timer, limit));
}

bool Loop::run_ready() {
  wait(0);
  const auto due = next_timer();
  if (due && *due <= steady_now()) return true;
  std::lock_guard lock(mutex_);
  return !posted_.empty();
}
std::optional<Loop::Steady> Loop::next_timer() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first.first;
}

int Loop::next_timeout_ms() const {
  if (timers_.empty()) return -1;
  auto delay = timers_.begin()->first.first - steady_now();
  auto ms = std::chrono::ceil<std::chrono::milliseconds>(delay).count();
  return ms < 0 ? 0 : ms > 1'000'000'000 ? 1'000'000'000 : static_cast<int>(ms);
}

void Loop::wait(int timeout_ms) {
  epoll_event events[64];
  int n = ::epoll_wait(epoll_.get(), events, 64, timeout_ms);
  SAMPAN_CHECK(n >= 0 || errno == EINTR);
  for (int i = 0; i < n; ++i) {
    uint64_t id = events[i].data.u64;  // the struct is packed: no reference into it
    if (id == 0) {
      uint64_t count;
      (void)!::read(wake_.get(), &count, sizeof count);
      continue;
    }
    auto it = watches_.find(id);
    if (it == watches_.end()) continue;  // cancelled by an earlier callback of this round
    auto ready = it->second.ready;       // keeps the closure alive if it cancels itself
    (*ready)(events[i].events);
  }
  run_timers();
  drain_posted();
}
void Loop::drain_posted() {
  std::vector<Task> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(posted_);
  }
  for (Task& task : tasks) task();
}
void Loop::run_timers() {
  auto now = steady_now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    auto first = timers_.begin();
    Task task = std::move(first->second);
    timer_due_.erase(first->first.second);
    timers_.erase(first);
    task();
  }
}

Loop::Handle Loop::after(Duration delay, Task task) {
  uint64_t id = next_id_++;
  Steady due = steady_now() + delay;
  timers_.emplace(std::pair(due, id), std::move(task));
  timer_due_.emplace(id, due);
  return Handle(this, id, true);
}
Loop::Handle Loop::watch(int fd, uint32_t events, std::function<void(uint32_t)> ready) {
  uint64_t id = next_id_++;
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  // Regular files are always ready and refused by epoll (EPERM); nobody may watch one.
  SAMPAN_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  watches_.emplace(id, Watch{fd, events, std::make_shared<std::function<void(uint32_t)>>(std::move(ready))});
  return Handle(this, id, false);
}
void Loop::change(const Handle& handle, uint32_t events) {
  auto it = watches_.find(handle.id_);
  if (handle.loop_ != this || it == watches_.end() || it->second.events == events) return;
  it->second.events = events;
  epoll_event event{};
  event.events = events;
  event.data.u64 = handle.id_;
  SAMPAN_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, it->second.fd, &event) == 0);
}
void Loop::remove(uint64_t id, bool is_timer) {
  if (is_timer) {
    auto it = timer_due_.find(id);
    if (it == timer_due_.end()) return;
    timers_.erase({it->second, id});
    timer_due_.erase(it);
    return;
  }
  auto it = watches_.find(id);
  if (it == watches_.end()) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, it->second.fd, nullptr);
  watches_.erase(it);
}

Result<Loop::Handle> Loop::on_signals(std::vector<int> signals, std::function<void(int)> handler) {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : signals) sigaddset(&set, signal);
  if (::pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) return sys::last_error("pthread_sigmask");
  signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return sys::last_error("signalfd");
  return watch(signals_.get(), EPOLLIN, [this, handler = std::move(handler)](uint32_t) {
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info))
      handler(static_cast<int>(info.ssi_signo));
  });
}

}  // namespace base
