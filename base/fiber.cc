#include "base/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "base/simulated.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SAMPAN_ASAN_FIBERS
#endif
#if __has_feature(thread_sanitizer)
#define SAMPAN_TSAN_FIBERS
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SAMPAN_ASAN_FIBERS
#endif
#ifdef __SANITIZE_THREAD__
#define SAMPAN_TSAN_FIBERS
#endif
#ifdef SAMPAN_ASAN_FIBERS
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef SAMPAN_TSAN_FIBERS
#include <sanitizer/tsan_interface.h>
#endif

namespace base {
namespace {

constexpr size_t kStackBytes = 1 << 20;  // of address space; a page below it faults
constexpr size_t kMaxSpare = 8;
constexpr auto kTurn = std::chrono::milliseconds(5);

}  // namespace

struct Fibers::Fiber {
  Fibers* owner = nullptr;
  std::string flow;
  std::function<void()> body;
  const std::function<void()>* work = nullptr;
  bool begun = false, ended = false;
  std::chrono::steady_clock::time_point entered{};
  ucontext_t own{}, back{};
  char* memory = nullptr;
  size_t page = 0;
#ifdef SAMPAN_ASAN_FIBERS
  void *fake_own = nullptr, *fake_back = nullptr;
  const void* back_stack = nullptr;
  size_t back_size = 0;
#endif
#ifdef SAMPAN_TSAN_FIBERS
  void *tsan_own = nullptr, *tsan_back = nullptr;
#endif

  Fiber() : page(static_cast<size_t>(::sysconf(_SC_PAGESIZE))) {
    void* made = ::mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (made == MAP_FAILED) return;
    memory = static_cast<char*>(made);
    (void)::mprotect(memory, page, PROT_NONE);
  }
  ~Fiber() {
#ifdef SAMPAN_TSAN_FIBERS
    if (tsan_own) __tsan_destroy_fiber(tsan_own);
#endif
    if (memory) ::munmap(memory, kStackBytes + page);
  }
};

namespace {
thread_local void* t_current = nullptr;  // the Fibers::Fiber whose code this thread runs
}

void compute(const std::function<void()>& work) {
  auto* fiber = static_cast<Fibers::Fiber*>(t_current);
  if (!fiber) return work();
  fiber->owner->compute_aside(*fiber, work);
}

void give_way() {
  auto* fiber = static_cast<Fibers::Fiber*>(t_current);
  if (!fiber || std::chrono::steady_clock::now() - fiber->entered < kTurn) return;
  fiber->owner->done(*fiber);
  Fibers::leave(*fiber, false);
}

bool on_fiber() { return t_current != nullptr; }

Fibers::Fibers(Loop& loop, unsigned threads)
    : loop_(loop), max_threads_(std::max(1u, threads)), self_(std::make_shared<Fibers*>(this)) {}

Fibers::~Fibers() {
  while (running_ > 0) {
    Fiber* fiber = nullptr;
    {
      std::unique_lock lock(mutex_);
      finished_.wait(lock, [&] { return !done_.empty(); });
      fiber = done_.front();
      done_.pop_front();
    }
    enter(*fiber);
  }
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  *self_ = nullptr;
}

void Fibers::start(std::string flow, std::function<void()> body) {
  if (Simulated::current()) return body();  // which knows no other threads
  std::unique_ptr<Fiber> fiber;
  if (spare_.empty()) {
    fiber = std::make_unique<Fiber>();
  } else {
    fiber = std::move(spare_.back());
    spare_.pop_back();
  }
  if (!fiber->memory) return body();  // no memory for a stack: it holds the loop for once
  fiber->owner = this;
  fiber->flow = std::move(flow);
  fiber->body = std::move(body);
  fiber->begun = fiber->ended = false;
  ::getcontext(&fiber->own);
  fiber->own.uc_stack.ss_sp = fiber->memory + fiber->page;
  fiber->own.uc_stack.ss_size = kStackBytes;
  fiber->own.uc_link = nullptr;
  ::makecontext(&fiber->own, &Fibers::entry, 0);
#ifdef SAMPAN_ASAN_FIBERS
  fiber->fake_own = nullptr;
#endif
#ifdef SAMPAN_TSAN_FIBERS
  if (!fiber->tsan_own) fiber->tsan_own = __tsan_create_fiber(0);
#endif
  ++running_;
  enter(*fiber.release());
}

// Goes on with a fiber until it ends or waits.
void Fibers::enter(Fiber& fiber) {
  void* outer = std::exchange(t_current, &fiber);
  fiber.entered = std::chrono::steady_clock::now();
#ifdef SAMPAN_ASAN_FIBERS
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, fiber.memory + fiber.page, kStackBytes);
#endif
#ifdef SAMPAN_TSAN_FIBERS
  fiber.tsan_back = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(fiber.tsan_own, 0);
#endif
  ::swapcontext(&fiber.back, &fiber.own);
#ifdef SAMPAN_ASAN_FIBERS
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
  t_current = outer;
  if (!fiber.ended) return;
  --running_;
  std::unique_ptr<Fiber> ended(&fiber);
  if (spare_.size() < kMaxSpare) spare_.push_back(std::move(ended));
}

// Back to whoever entered this fiber.
void Fibers::leave([[maybe_unused]] Fiber& fiber, [[maybe_unused]] bool for_good) {
#ifdef SAMPAN_ASAN_FIBERS
  __sanitizer_start_switch_fiber(for_good ? nullptr : &fiber.fake_own, fiber.back_stack, fiber.back_size);
#endif
#ifdef SAMPAN_TSAN_FIBERS
  __tsan_switch_to_fiber(fiber.tsan_back, 0);
#endif
  ::swapcontext(&fiber.own, &fiber.back);
#ifdef SAMPAN_ASAN_FIBERS
  __sanitizer_finish_switch_fiber(fiber.fake_own, &fiber.back_stack, &fiber.back_size);
#endif
}

void Fibers::entry() {
  auto& fiber = *static_cast<Fiber*>(t_current);
#ifdef SAMPAN_ASAN_FIBERS
  __sanitizer_finish_switch_fiber(nullptr, &fiber.back_stack, &fiber.back_size);
#endif
  fiber.body();
  fiber.body = nullptr;
  fiber.ended = true;
  leave(fiber, true);
}

void Fibers::compute_aside(Fiber& fiber, const std::function<void()>& work) {
  fiber.work = &work;
  {
    std::lock_guard lock(mutex_);
    auto flow =
        std::find_if(flows_.begin(), flows_.end(), [&](const Flow& f) { return f.name == fiber.flow; });
    if (flow == flows_.end()) flow = flows_.insert(flows_.end(), Flow{fiber.flow, {}});
    // Who has computed before holds what it made.
    if (std::exchange(fiber.begun, true)) flow->waiting.push_front(&fiber);
    else flow->waiting.push_back(&fiber);
    if (idle_ == 0 && threads_.size() < max_threads_) threads_.emplace_back([this] { this->work(); });
  }
  wake_.notify_one();
  leave(fiber, false);
}

Fibers::Fiber* Fibers::take() {
  if (flows_.empty()) return nullptr;
  Flow flow = std::move(flows_.front());
  flows_.pop_front();
  Fiber* fiber = flow.waiting.front();
  flow.waiting.pop_front();
  if (!flow.waiting.empty()) flows_.push_back(std::move(flow));
  return fiber;
}

void Fibers::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    Fiber* fiber = nullptr;
    ++idle_;
    wake_.wait(lock, [&] { return stopping_ || (fiber = take()); });
    --idle_;
    if (!fiber) return;
    lock.unlock();
    (*fiber->work)();
    done(*fiber);
    lock.lock();
  }
}

void Fibers::done(Fiber& fiber) {
  {
    std::lock_guard lock(mutex_);
    done_.push_back(&fiber);
    finished_.notify_one();
  }
  loop_.post([self = self_] {
    Fibers* fibers = *self;
    if (!fibers) return;
    Fiber* next = nullptr;
    {
      std::lock_guard guard(fibers->mutex_);
      if (fibers->done_.empty()) return;
      next = fibers->done_.front();
      fibers->done_.pop_front();
    }
    fibers->enter(*next);
  });
}

}  // namespace base
