// One exec with its output in a pipe. State is shared with the callbacks, which may come late.
#include "kubelet/pod/exec_run.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>

#include "base/sys.h"

namespace kubelet {

namespace {

constexpr size_t kMaxOutput = 10 << 10;

struct PipedState {
  runtime::Pod* pod = nullptr;  // null once we let go of it
  std::string exec_id, output;
  base::UniqueFd out;
  base::Loop::Handle reading, timer;
  std::function<void(Outcome)> done;
  bool timed_out = false;

  void drain() {
    char buffer[4096];
    ssize_t n;
    while ((n = ::read(out.get(), buffer, sizeof buffer)) > 0)
      if (output.size() < kMaxOutput) output.append(buffer, static_cast<size_t>(n));
    if (n == 0) reading.cancel();
  }
  void finish(Outcome outcome) {
    timer.cancel();
    reading.cancel();
    if (auto call = std::move(done)) call(std::move(outcome));
    done = nullptr;
  }
  void kill() {
    if (pod && !exec_id.empty())
      pod->signal_exec(exec_id, SIGKILL,
                       [](base::Status s) { base::ignore(s, "it may have ended by itself"); });
  }
};

class PipedRun final : public ExecRun {
 public:
  explicit PipedRun(std::shared_ptr<PipedState> state) : state_(std::move(state)) {}
  ~PipedRun() override {
    if (state_->done) state_->kill();
    state_->done = nullptr;
    state_->pod = nullptr;
    state_->timer.cancel();
    state_->reading.cancel();
  }

 private:
  std::shared_ptr<PipedState> state_;
};

}  // namespace

std::unique_ptr<ExecRun> run_exec(base::Loop& loop, runtime::Pod& pod, const std::string& container,
                                  base::json::value process, base::Duration timeout,
                                  std::function<void(Outcome)> done) {
  auto state = std::make_shared<PipedState>();
  state->pod = &pod;
  state->done = std::move(done);
  auto pipe = base::sys::pipe();
  if (!pipe.ok()) {
    state->timer = loop.after({}, [state, message = pipe.error().message()] {
      state->finish({.success = false, .message = message});
    });
    return std::make_unique<PipedRun>(state);
  }
  state->out = std::move(pipe->read);
  ::fcntl(state->out.get(), F_SETFL, O_NONBLOCK);
  state->reading = loop.watch(state->out.get(), EPOLLIN, [state = state.get()](uint32_t) { state->drain(); });
  if (timeout > base::Duration::zero())
    state->timer = loop.after(timeout, [weak = std::weak_ptr(state), timeout] {
      auto state = weak.lock();
      if (!state) return;
      state->timed_out = true;
      state->kill();
      const auto s = std::chrono::duration_cast<std::chrono::seconds>(timeout).count();
      state->finish({.success = false, .message = "command timed out after " + std::to_string(s) + "s"});
    });
  runtime::Pod::Exec exec;
  exec.container = container;
  exec.process = std::move(process);
  exec.stdout_fd = exec.stderr_fd = pipe->write.get();
  pod.exec(
      std::move(exec),
      [state](base::Result<runtime::Pod::ExecStarted> started) {
        if (!started.ok()) return state->finish({.success = false, .message = started.error().message()});
        state->exec_id = started->exec_id;
        if (state->timed_out || !state->done) state->kill();
      },
      [state](int code) {
        if (!state->done) return;
        state->drain();
        std::string message = state->output;
        while (!message.empty() && message.back() == '\n') message.pop_back();
        if (message.empty() && code != 0) message = "command ended with code " + std::to_string(code);
        state->finish({.success = code == 0, .message = code == 0 ? "" : message});
      });
  return std::make_unique<PipedRun>(state);
}

}  // namespace kubelet
