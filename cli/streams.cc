#include "cli/streams.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace cli {

namespace {

constexpr size_t kChunk = 32 << 10;

// Our own descriptors may be shared and non-blocking: waited for, never changed.
bool write_fully(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EAGAIN) {
      pollfd wait{fd, POLLOUT, 0};
      ::poll(&wait, 1, -1);
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    data.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

WindowSize window_size() {
  for (int fd : {1, 0, 2}) {
    winsize size{};
    if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0) return {size.ws_row, size.ws_col};
  }
  return {};
}

std::vector<int> passed_signals() {
  return {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,   SIGALRM,
          SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGIO,   SIGVTALRM, SIGPROF};
}

Streams::Streams(base::Loop& loop, runtime::Pod::Attached ends, StreamOptions options)
    : loop_(loop), options_(std::move(options)), terminal_(std::move(ends.terminal)),
      has_terminal_(terminal_.valid()) {
  start_output(out_, std::move(ends.out), 1);
  start_output(err_, std::move(ends.err), 2);
  if (terminal_.valid()) {
    resize();
    if (options_.interactive) in_ = base::UniqueFd(::fcntl(terminal_.get(), F_DUPFD_CLOEXEC, 0));
    termios now{};
    if (options_.interactive && ::tcgetattr(0, &now) == 0) {
      saved_ = now;
      ::cfmakeraw(&now);
      ::tcsetattr(0, TCSANOW, &now);
    }
  } else {
    in_ = std::move(ends.in);
    if (!options_.interactive) in_.reset();
  }
  if (!in_.valid()) return;
  ::fcntl(in_.get(), F_SETFL, ::fcntl(in_.get(), F_GETFL) | O_NONBLOCK);
  struct stat st {};
  // What epoll does not take never blocks either.
  stdin_is_file_ = ::fstat(0, &st) != 0 || S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ||
                   (S_ISCHR(st.st_mode) && !::isatty(0));
  if (stdin_is_file_) in_watch_ = loop_.watch(in_.get(), EPOLLOUT, [this](uint32_t) { write_input(); });
  else stdin_watch_ = loop_.watch(0, EPOLLIN, [this](uint32_t) { read_input(); });
}

Streams::~Streams() { restore(); }

void Streams::restore() {
  if (saved_) ::tcsetattr(0, TCSADRAIN, &*saved_);
  saved_.reset();
}

void Streams::start_output(Output& output, base::UniqueFd from, int to) {
  output.from = std::move(from);
  output.to = to;
  if (!output.from.valid()) return;
  ::fcntl(output.from.get(), F_SETFL, ::fcntl(output.from.get(), F_GETFL) | O_NONBLOCK);
  output.watch = loop_.watch(output.from.get(), EPOLLIN, [this, &output](uint32_t) { copy(output); });
}

bool Streams::copy(Output& output) {
  if (!output.from.valid()) return false;
  static char buffer[kChunk];
  ssize_t n = ::read(output.from.get(), buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  // EIO of a terminal: the last process that had it is gone. Nobody reads us: we need no more of it.
  if (n > 0 && write_fully(output.to, {buffer, static_cast<size_t>(n)})) return true;
  broken_ |= n > 0;
  output.watch.cancel();
  output.from.reset();
  return false;
}

void Streams::drain() {
  for (Output* output : {&out_, &err_})
    while (copy(*output)) {
    }
}

void Streams::resize() {
  WindowSize size = window_size();
  if (!terminal_.valid() || size.rows == 0) return;
  winsize set{};
  set.ws_row = static_cast<unsigned short>(size.rows);
  set.ws_col = static_cast<unsigned short>(size.columns);
  ::ioctl(terminal_.get(), TIOCSWINSZ, &set);
}

std::string Streams::without_detach_keys(std::string_view typed, bool* detach) {
  const std::string& keys = options_.detach_keys;
  std::string out;
  for (char c : typed) {
    if (c == keys[keys_matched_]) {
      if (++keys_matched_ == keys.size()) {
        *detach = true;
        return out;
      }
      continue;
    }
    // What looked like the beginning was meant for the container.
    out += keys.substr(0, keys_matched_);
    keys_matched_ = c == keys[0] ? 1 : 0;
    if (keys_matched_ == 0) out += c;
    else if (keys.size() == 1) *detach = true;
  }
  return out;
}

void Streams::read_input() {
  char buffer[kChunk];
  ssize_t n = ::read(0, buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    stdin_watch_.cancel();
    stdin_ended_ = true;
  } else {
    std::string_view typed(buffer, static_cast<size_t>(n));
    bool detach = false;
    if (has_terminal_ && !options_.detach_keys.empty()) pending_ += without_detach_keys(typed, &detach);
    else pending_ += typed;
    if (detach) {
      stdin_watch_.cancel();
      if (on_detach) on_detach();
      return;
    }
  }
  write_input();
}

void Streams::write_input() {
  if (!in_.valid()) return;
  if (pending_.empty() && stdin_is_file_ && !stdin_ended_) {
    char buffer[kChunk];
    ssize_t n = ::read(0, buffer, sizeof buffer);
    if (n > 0) pending_.assign(buffer, static_cast<size_t>(n));
    else stdin_ended_ = true;
  }
  if (!pending_.empty()) {
    ssize_t n = ::write(in_.get(), pending_.data(), pending_.size());
    if (n < 0 && errno != EAGAIN && errno != EINTR) return end_input();  // it reads no more
    if (n > 0) pending_.erase(0, static_cast<size_t>(n));
  }
  if (pending_.empty() && stdin_ended_) return end_input();
  if (stdin_is_file_) return;
  // Nothing more is read while the container does not take what was read.
  if (!pending_.empty() && !in_watch_.active()) {
    stdin_watch_.cancel();
    in_watch_ = loop_.watch(in_.get(), EPOLLOUT, [this](uint32_t) { write_input(); });
  } else if (pending_.empty() && in_watch_.active()) {
    in_watch_.cancel();
    stdin_watch_ = loop_.watch(0, EPOLLIN, [this](uint32_t) { read_input(); });
  }
}

void Streams::end_input() {
  stdin_watch_.cancel();
  in_watch_.cancel();
  if (has_terminal_ && in_.valid()) return type_end();
  in_.reset();
}

// A terminal has no end of its own: the character that stands for it. Whoever changes the terminal's mode
// loses what was typed before, so it is typed again while the container has that terminal.
void Streams::type_end() {
  if (!in_.valid() || !out_.from.valid()) return;
  (void)!::write(in_.get(), "\x04", 1);
  end_again_ = loop_.after(std::chrono::milliseconds(500), [this] { type_end(); });
}

}  // namespace cli
