#include "runtime/oci/foreground.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/sys.h"

namespace runtime {
namespace {

namespace sys = base::sys;

class RawTerminal {
 public:
  RawTerminal() {
    if (!::isatty(0) || ::tcgetattr(0, &before_) != 0) return;
    termios raw = before_;
    ::cfmakeraw(&raw);
    raw.c_oflag |= OPOST;  // the container's terminal adds no carriage returns (child_console)
    changed_ = ::tcsetattr(0, TCSANOW, &raw) == 0;
  }
  ~RawTerminal() {
    if (changed_) ::tcsetattr(0, TCSANOW, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
  bool changed_ = false;
};

void copy_window_size(int terminal) {
  winsize size;
  if (::ioctl(0, TIOCGWINSZ, &size) == 0) ::ioctl(terminal, TIOCSWINSZ, &size);
}
// One read's worth; false at the end.
bool copy(int from, int to) {
  char buffer[16384];
  ssize_t n = ::read(from, buffer, sizeof buffer);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (n <= 0) return false;
  return sys::write_all(to, {buffer, static_cast<size_t>(n)}).ok();
}

}  // namespace

base::Result<base::UniqueFd> block_signals() {
  sigset_t set;
  sigfillset(&set);
  // Faults stay ours; a child's end is told by its pidfd.
  for (int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGCHLD}) sigdelset(&set, own);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return sys::last_error("sigprocmask");
  base::UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return sys::last_error("signalfd");
  return fd;
}

base::Result<int> stay(const Launched& launched, int signals, base::UniqueFd terminal, NotifySocket* notify) {
  std::optional<RawTerminal> raw;
  if (terminal.valid()) {
    raw.emplace();
    copy_window_size(terminal.get());
  }
  int in = terminal.valid() ? 0 : -1;
  for (bool running = true; running;) {
    pollfd fds[5] = {{launched.pidfd.get(), POLLIN, 0},
                     {signals, POLLIN, 0},
                     {terminal.get(), POLLIN, 0},
                     {in, POLLIN, 0},
                     {notify ? notify->fd() : -1, POLLIN, 0}};
    if (::poll(fds, 5, -1) < 0 && errno != EINTR) return sys::last_error("poll");
    if (fds[1].revents) {
      signalfd_siginfo info;
      while (::read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        int signal = static_cast<int>(info.ssi_signo);
        if (signal == SIGPIPE || signal == SIGURG) continue;
        if (signal == SIGWINCH) {
          if (terminal.valid()) copy_window_size(terminal.get());
          continue;
        }
        base::ignore(sys::pidfd_send_signal(launched.pidfd.get(), signal), "it may be dead");
      }
    }
    if (fds[3].revents && !copy(0, terminal.get())) in = -1;
    if (fds[2].revents && !copy(terminal.get(), 1)) terminal.reset();
    if (fds[4].revents) base::ignore(notify->take(::getpid()), "a manager that is gone is no reason to end");
    if (fds[0].revents) running = false;
  }
  // What it printed before it died; EIO or EAGAIN ends it.
  if (terminal.valid()) {
    ::fcntl(terminal.get(), F_SETFL, O_NONBLOCK);
    char buffer[16384];
    for (ssize_t n; (n = ::read(terminal.get(), buffer, sizeof buffer)) > 0;)
      if (!sys::write_all(1, {buffer, static_cast<size_t>(n)}).ok()) break;
  }
  int status = 0;
  while (::waitpid(launched.pid, &status, 0) < 0)
    if (errno != EINTR) return sys::last_error("waitpid");
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace runtime
