// Hooks of the runtime's own namespaces: prestart, createRuntime, poststart, poststop.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>

#include "base/process.h"
#include "base/sys.h"
#include "runtime/launch/launch.h"
#include "runtime/launch/parent.h"

namespace runtime {

namespace sys = base::sys;

namespace {
constexpr size_t kMaxComplaintBytes = 4096;

// Until the program is gone, not until its stderr is closed: a hook may leave a daemon behind. False
// when it takes too long.
bool wait_for(const base::Child& child, int complaint, int timeout_s, std::string* said) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(timeout_s);
  auto drain = [&] {
    char buffer[4096];
    ssize_t n = ::read(complaint, buffer, sizeof buffer);
    if (n > 0 && said->size() < kMaxComplaintBytes)
      said->append(buffer, std::min(static_cast<size_t>(n), kMaxComplaintBytes - said->size()));
    return n > 0;
  };
  ::fcntl(complaint, F_SETFL, O_NONBLOCK);
  pollfd wait[2] = {{child.pidfd.get(), POLLIN, 0}, {complaint, POLLIN, 0}};
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    if (timeout_s > 0 && left <= 0) return false;
    int ready = ::poll(wait, 2, timeout_s > 0 ? static_cast<int>(left) : -1);
    if (ready < 0 && errno != EINTR) return true;
    if (wait[1].revents && !drain() && errno != EAGAIN) wait[1].fd = -1;
    if (ready > 0 && wait[0].revents) {
      while (drain()) {
      }
      return true;
    }
  }
}
}  // namespace

base::Status run_hooks(const std::vector<Hook>& hooks, const char* name, const std::string& state,
                       const HookPlace& place) {
  for (size_t i = 0; i < hooks.size(); ++i) {
    const Hook& hook = hooks[i];
    // runc's words, which its callers look for.
    auto failed = [&](const std::string& why) {
      return base::make_error(base::Kind::kInternal, fmt::format("error running {} hook #{}", name, i), {},
                              hook.path + ": " + why);
    };
    base::Command command;
    command.argv = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
    command.program = hook.path;  // its name, argv[0], may be another: Docker's own binary goes by it
    if (hook.has_env) command.environment = hook.env;
    command.directory = place.directory;
    command.stdout_fd = place.out;
    sys::Pipe input = TRY(sys::pipe()), complaint = TRY(sys::pipe());
    command.stdin_fd = input.read.get();
    command.stderr_fd = place.err >= 0 ? place.err : complaint.write.get();
    auto spawned = base::spawn(command);
    if (!spawned.ok()) return failed(spawned.error().message());
    base::Child child = std::move(*spawned);
    input.read.reset();
    complaint.write.reset();
    (void)!::write(input.write.get(), state.data(), state.size());  // a hook need not read it
    input.write.reset();
    std::string said;
    if (!wait_for(child, complaint.read.get(), hook.timeout_s, &said)) {
      base::ignore(sys::pidfd_send_signal(child.pidfd.get(), SIGKILL), "it may be dead already");
      base::ignore(base::wait_child(child), "killed");
      return failed(fmt::format("still runs after {} s", hook.timeout_s));
    }
    base::ExitStatus status = TRY(base::wait_child(child));
    if (status.signal) return failed(signal_text(status.signal));
    while (said.ends_with('\n')) said.pop_back();
    if (status.code)
      return failed(fmt::format("exit code {}{}{}", status.code, said.empty() ? "" : ": ", said));
    if (!said.empty()) (void)!::write(2, (said + "\n").c_str(), said.size() + 1);
  }
  return {};
}

}  // namespace runtime
