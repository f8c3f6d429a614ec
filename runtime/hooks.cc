// Hooks of the runtime's own namespaces: prestart, createRuntime, poststart, poststop.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <csignal>

#include "base/process.h"
#include "base/sys.h"
#include "runtime/launch.h"
#include "runtime/launch_parent.h"

namespace runtime {

namespace sys = base::sys;

base::Status run_hooks(const std::vector<Hook>& hooks, const char* name, const std::string& state) {
  for (size_t i = 0; i < hooks.size(); ++i) {
    const Hook& hook = hooks[i];
    // runc's words, which its callers look for.
    auto failed = [&](const std::string& why) {
      return base::make_error(base::Kind::kInternal, fmt::format("error running {} hook #{}", name, i), {}, hook.path + ": " + why);
    };
    base::Command command;
    command.argv = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
    std::string argv0 = command.argv[0];
    command.argv[0] = hook.path;
    if (hook.has_env) command.environment = hook.env;
    sys::Pipe input = TRY(sys::pipe());
    command.stdin_fd = input.read.get();
    auto spawned = base::spawn(command);
    if (!spawned.ok()) return failed(spawned.error().message());
    base::Child child = std::move(*spawned);
    input.read.reset();
    (void)!::write(input.write.get(), state.data(), state.size());  // a hook need not read it
    input.write.reset();
    if (hook.timeout_s > 0) {
      pollfd wait{child.pidfd.get(), POLLIN, 0};
      if (::poll(&wait, 1, hook.timeout_s * 1000) == 0) {
        base::ignore(sys::pidfd_send_signal(child.pidfd.get(), SIGKILL), "it may be dead already");
        base::ignore(base::wait_child(child), "killed");
        return failed(fmt::format("still runs after {} s", hook.timeout_s));
      }
    }
    base::ExitStatus status = TRY(base::wait_child(child));
    if (status.signal) return failed(signal_text(status.signal));
    if (status.code) return failed(fmt::format("exit code {}", status.code));
  }
  return {};
}

}  // namespace runtime
