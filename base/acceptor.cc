#include "base/acceptor.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include <cerrno>

namespace base {
namespace {
constexpr int kPerRound = 64;  // connections taken before the loop's other work has its turn
constexpr auto kRest = std::chrono::seconds(1);
}  // namespace

struct Acceptor::State : std::enable_shared_from_this<State> {
  Loop& loop;
  const int listener, flags;
  const Taken taken;
  Loop::Handle watch, again;

  State(Loop& loop, int listener, int flags, Taken taken)
      : loop(loop), listener(listener), flags(flags | SOCK_CLOEXEC), taken(std::move(taken)) {}
  void start() {
    watch = loop.watch(listener, EPOLLIN, [weak = weak_from_this()](uint32_t) {
      if (auto self = weak.lock()) self->ready();
    });
  }
  void ready() {
    std::weak_ptr<State> alive = weak_from_this();
    for (int i = 0; i < kPerRound; ++i) {
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      UniqueFd fd(::accept4(listener, reinterpret_cast<sockaddr*>(&from), &size, flags));
      if (!fd.valid()) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno == EAGAIN) return;
        watch.cancel();
        again = loop.after(kRest, [this] { start(); });
        return;
      }
      taken(std::move(fd), from);
      if (alive.use_count() <= 1) return;  // only the watch's callback is left
    }
  }
};

Acceptor::Acceptor(Loop& loop, int listener, int flags, Taken taken)
    : state_(std::make_shared<State>(loop, listener, flags, std::move(taken))) {
  ::fcntl(listener, F_SETFL, ::fcntl(listener, F_GETFL) | O_NONBLOCK);
  state_->start();
}

}  // namespace base
