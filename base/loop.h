// Loop: one epoll event loop for every program, the static sampan-pod included. Single-threaded:
// everything but post() and stop() is called on the loop's own thread. Idle means blocked in
// epoll_wait without a timeout: no tick exists.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"

namespace base {

class Loop {
 public:
  using Task = std::function<void()>;
  using Steady = base::Steady;

  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(). Tasks posted before run() run first.
  void run();
  // Runs what is ready and waits at most `timeout`; for tests and for sampan-oci.
  void run_once(Duration timeout);
  // Runs one round of what is ready, without waiting; whether anything may be ready still. With next_timer()
  // a simulation drives a loop: rounds until none is left, then the clock to the next timer.
  bool run_ready();
  std::optional<Steady> next_timer() const;
  void stop();           // any thread
  void post(Task task);  // any thread; runs on the loop's thread, in order

  // A timer or a watch lives as long as its handle; destroying it inside its own callback is fine.
  class Handle {
   public:
    Handle() = default;
    Handle(Handle&& other) noexcept;
    Handle& operator=(Handle&& other) noexcept;
    ~Handle() { cancel(); }
    void cancel();
    bool active() const;

   private:
    friend class Loop;
    Handle(Loop* loop, uint64_t id, bool is_timer) : loop_(loop), id_(id), is_timer_(is_timer) {}
    Loop* loop_ = nullptr;
    uint64_t id_ = 0;
    bool is_timer_ = false;
  };

  [[nodiscard]] Handle after(Duration delay, Task task);  // once, monotonic
  // `events` are EPOLLIN, EPOLLOUT…, level-triggered; the fd stays the caller's and must outlive
  // the handle. One watch per fd.
  [[nodiscard]] Handle watch(int fd, uint32_t events, std::function<void(uint32_t)> ready);
  void change(const Handle& handle, uint32_t events);
  // Calls `handler` on the loop's thread when one of the signals arrives; blocks them in the
  // calling thread, so call it before any thread is started.
  [[nodiscard]] Result<Handle> on_signals(std::vector<int> signals, std::function<void(int)> handler);

 private:
  struct Watch {
    int fd;
    uint32_t events;
    std::shared_ptr<std::function<void(uint32_t)>> ready;
  };
  void wait(int timeout_ms);
  void drain_posted();
  void run_timers();
  int next_timeout_ms() const;
  void remove(uint64_t id, bool is_timer);

  UniqueFd epoll_, wake_, signals_;
  bool stopping_ = false;
  uint64_t next_id_ = 1;
  std::unordered_map<uint64_t, Watch> watches_;
  std::map<std::pair<Steady, uint64_t>, Task> timers_;
  std::unordered_map<uint64_t, Steady> timer_due_;
  std::mutex mutex_;  // guards posted_
  std::vector<Task> posted_;
};

}  // namespace base
