// Task: a chain of calls that answer later, written as one function. A function that returns Task and says
// co_await runs on the loop's thread until it waits, and goes on from the callback that it waits for; nothing
// blocks and no thread is involved.
//
// Who starts a chain owns it by a Tasks member: its destructor ends what still waits, and an answer that
// comes afterwards finds nobody. What a chain uses by reference must outlive that member, so it stands last
// in its class. Parameters of a coroutine are values: a reference may be gone when it goes on.
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <utility>

namespace base {

namespace task_detail {
struct Promise {
  std::coroutine_handle<> continuation;
  std::suspend_always initial_suspend() noexcept { return {}; }
  struct Final {
    bool await_ready() const noexcept { return false; }
    template <typename P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> ended) const noexcept {
      return ended.promise().continuation;
    }
    void await_resume() const noexcept {}
  };
  Final final_suspend() noexcept { return {}; }
  [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }  // as in any other function of ours
};
template <typename T>
struct PromiseOf : Promise {
  std::optional<T> value;
  void return_value(T result) { value.emplace(std::move(result)); }
  T take() { return std::move(*value); }
};
template <>
struct PromiseOf<void> : Promise {
  void return_void() noexcept {}
  void take() noexcept {}
};
}  // namespace task_detail

// Begins when it is awaited or started; awaited once.
template <typename T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type : task_detail::PromiseOf<T> {
    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
  };
  Task(Task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, {})) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (coroutine_) coroutine_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiting) noexcept {
    coroutine_.promise().continuation = waiting;
    return coroutine_;
  }
  T await_resume() { return coroutine_.promise().take(); }

 private:
  explicit Task(std::coroutine_handle<promise_type> coroutine) : coroutine_(coroutine) {}
  std::coroutine_handle<promise_type> coroutine_;
};

// The answer of a call that takes a callback: co_await later<Result<int>>([&](auto done) { ask(…, done); });
// `start` is called at once and may answer at once. Answers after the first are ignored.
template <typename T>
class [[nodiscard]] later {
 public:
  using Done = std::function<void(T)>;
  template <typename Start>
  explicit later(Start start) : start_(std::move(start)) {}
  later(const later&) = delete;
  ~later() {
    if (call_) call_->waiting = {};
  }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> waiting) {
    call_ = std::make_shared<Call>();
    // Not this: what the call does may end the chain.
    auto call = call_;
    auto start = std::move(start_);
    start([call](T value) {
      if (call->value) return;
      call->value.emplace(std::move(value));
      if (auto go_on = std::exchange(call->waiting, {})) go_on.resume();
    });
    if (call->value) return false;
    call->waiting = waiting;
    return true;
  }
  T await_resume() { return std::move(*call_->value); }

 private:
  struct Call {
    std::coroutine_handle<> waiting;
    std::optional<T> value;
  };
  std::function<void(Done)> start_;
  std::shared_ptr<Call> call_;
};

// The chains that somebody started. Single-threaded.
class Tasks {
 public:
  Tasks() = default;
  Tasks(const Tasks&) = delete;
  Tasks& operator=(const Tasks&) = delete;
  ~Tasks() {
    while (!running_.empty()) running_.front().destroy();
  }
  // Runs it until it waits for the first time.
  void start(Task<void> task) { run(*this, std::move(task)); }
  size_t running() const { return running_.size(); }

 private:
  struct Root {
    struct promise_type {
      Tasks& owner;
      std::list<std::coroutine_handle<>>::iterator place;
      promise_type(Tasks& tasks, Task<void>&) : owner(tasks) {
        place = owner.running_.insert(owner.running_.end(),
                                      std::coroutine_handle<promise_type>::from_promise(*this));
      }
      ~promise_type() { owner.running_.erase(place); }
      Root get_return_object() noexcept { return {}; }
      std::suspend_never initial_suspend() noexcept { return {}; }
      std::suspend_never final_suspend() noexcept { return {}; }
      void return_void() noexcept {}
      [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
    };
  };
  static Root run(Tasks&, Task<void> task) { co_await task; }
  std::list<std::coroutine_handle<>> running_;
};

}  // namespace base
