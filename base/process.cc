#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>

#include "base/sys.h"

extern char** environ;

namespace base {

Result<Child> spawn(const Command& command) {
  SAMPAN_CHECK(!command.argv.empty());
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  auto place = [&](int fd, int target) {
    if (fd >= 0) posix_spawn_file_actions_adddup2(&actions, fd, target);
  };
  if (command.stdin_fd < 0) posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  place(command.stdin_fd, 0);
  place(command.stdout_fd, 1);
  place(command.stderr_fd, 2);
  for (auto [ours, theirs] : command.extra_fds) place(ours, theirs);
  if (!command.directory.empty()) posix_spawn_file_actions_addchdir_np(&actions, command.directory.c_str());
  // The child starts with no signal blocked and default handlers, whatever our loop blocked.
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (command.new_session) flags |= POSIX_SPAWN_SETSID;
  posix_spawnattr_setflags(&attributes, flags);

  std::vector<char*> argv, env;
  for (const std::string& arg : command.argv) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  if (command.environment) {
    for (const std::string& entry : *command.environment) env.push_back(const_cast<char*>(entry.c_str()));
    env.push_back(nullptr);
  }
  Child child;
  const char* program = command.program.empty() ? argv[0] : command.program.c_str();
  int error = ::posix_spawnp(&child.pid, program, &actions, &attributes, argv.data(),
                             command.environment ? env.data() : environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return sys::error_from_errno(error, "start", program);
  child.pidfd = TRY(sys::pidfd_open(child.pid));
  return child;
}

Result<ExitStatus> wait_child(const Child& child) {
  int status = 0;
  pid_t pid;
  do pid = ::waitpid(child.pid, &status, 0);
  while (pid < 0 && errno == EINTR);
  if (pid < 0) return sys::last_error("waitpid", std::to_string(child.pid));
  if (WIFSIGNALED(status)) return ExitStatus{-1, WTERMSIG(status)};
  return ExitStatus{WEXITSTATUS(status), 0};
}

Result<Output> run_command(const std::vector<std::string>& argv, std::string_view input, size_t limit_bytes) {
  sys::Pipe in = TRY(sys::pipe()), out = TRY(sys::pipe()), err = TRY(sys::pipe());
  Command command;
  command.argv = argv;
  command.stdin_fd = in.read.get();
  command.stdout_fd = out.write.get();
  command.stderr_fd = err.write.get();
  Child child = TRY(spawn(command));
  in.read.reset();
  out.write.reset();
  err.write.reset();
  ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
  if (input.empty()) in.write.reset();
  Output result;
  while (out.read.valid() || err.read.valid()) {
    pollfd fds[3] = {{in.write.get(), POLLOUT, 0}, {out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}};
    if (::poll(fds, 3, -1) < 0 && errno != EINTR) return sys::last_error("poll");
    if (fds[0].revents != 0) {
      // A child that closed its stdin makes this EPIPE; SIGPIPE is ignored by every main.
      ssize_t n = ::write(in.write.get(), input.data(), input.size());
      if (n > 0) input.remove_prefix(static_cast<size_t>(n));
      if ((n < 0 && errno != EAGAIN && errno != EINTR) || input.empty()) in.write.reset();
    }
    auto drain = [&](UniqueFd& fd, short revents, std::string& text) {
      if (revents == 0) return;
      char buffer[16384];
      ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
      if (n > 0 && text.size() < limit_bytes) text.append(buffer, static_cast<size_t>(n));
      if (n == 0 || (n < 0 && errno != EINTR)) fd.reset();
    };
    drain(out.read, fds[1].revents, result.out);
    drain(err.read, fds[2].revents, result.err);
  }
  result.status = TRY(wait_child(child));
  return result;
}

}  // namespace base
