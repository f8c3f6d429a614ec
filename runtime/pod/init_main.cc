// sampan-init: process 1 of a container that asked for one. Passes signals on to its only child,
// collects whoever dies, and ends as the child did. Static and without allocation: it is mapped
// into containers of any image.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace {

[[noreturn]] void run(char** command, const sigset_t& before) {
  // Its own process group, in the foreground of the terminal if there is one: job control works.
  ::setpgid(0, 0);
  ::signal(SIGTTOU, SIG_IGN);
  ::tcsetpgrp(0, ::getpid());
  ::signal(SIGTTOU, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::execvp(command[0], command);
  int error = errno;
  std::fprintf(stderr, "sampan-init: %s: %s\n", command[0], std::strerror(error));
  ::_exit(error == ENOENT ? 127 : 126);
}

}  // namespace

int main(int argc, char** argv) {
  int first = argc > 1 && std::strcmp(argv[1], "--") == 0 ? 2 : 1;
  if (first >= argc) {
    std::fputs("usage: sampan-init [--] COMMAND [ARGUMENT...]\n", stderr);
    return 2;
  }
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  pid_t child = ::fork();
  if (child < 0) {
    std::perror("sampan-init: fork");
    return 126;
  }
  if (child == 0) run(argv + first, before);
  for (;;) {
    siginfo_t info;
    int signal = ::sigwaitinfo(&all, &info);
    if (signal < 0) continue;
    if (signal != SIGCHLD) {
      ::kill(child, signal);
      continue;
    }
    int status;
    for (pid_t dead; (dead = ::waitpid(-1, &status, WNOHANG)) > 0;)
      if (dead == child) return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}
