#include "runtime/pod/container.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"

namespace runtime {
namespace {
namespace sys = base::sys;
constexpr size_t kMaxLineBytes = 16 << 10;
constexpr size_t kReadBytes = 32 << 10;
constexpr int kReadsPerWake = 4;
constexpr off_t kMaxLogBytes = 10 << 20;  // the kubelet's containerLogMaxSize
}  // namespace

base::Status CriLog::open(const std::string& path) {
  path_ = path;
  return reopen();
}
base::Status CriLog::reopen() {
  if (path_.empty()) return {};
  fd_ = TRY(sys::open(path_, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0640));
  struct stat info;
  size_ = ::fstat(fd_.get(), &info) == 0 ? info.st_size : 0;
  return {};
}
// A full disk loses lines; it must not stop the container.
void CriLog::flush() {
  if (batch_.empty()) return;
  auto bytes = static_cast<off_t>(batch_.size());
  if (size_ > 0 && size_ + bytes > kMaxLogBytes && ::rename(path_.c_str(), (path_ + ".1").c_str()) == 0)
    base::ignore(reopen(), "then it goes on in the older file");
  if (sys::write_all(fd_.get(), batch_).ok()) size_ += bytes;
  batch_.clear();
}
void CriLog::append(int stream, std::string_view line, bool full) {
  batch_ += stamp_;
  batch_ += stream == 1 ? (full ? " stdout F " : " stdout P ") : (full ? " stderr F " : " stderr P ");
  batch_ += line;
  batch_ += '\n';
}
void CriLog::write(int stream, std::string_view data, base::Time now) {
  if (!fd_.valid()) return;
  stamp_ = base::format_nano_time(now);
  std::string& partial = partial_[stream - 1];
  while (!data.empty()) {
    size_t newline = data.find('\n');
    bool full = newline != std::string_view::npos;
    std::string_view piece = full ? data.substr(0, newline) : data;
    data.remove_prefix(full ? newline + 1 : data.size());
    while (partial.size() + piece.size() > kMaxLineBytes) {
      size_t take = kMaxLineBytes - partial.size();
      partial.append(piece.substr(0, take));
      piece.remove_prefix(take);
      append(stream, partial, false);
      partial.clear();
    }
    if (!full) {
      partial.append(piece);
    } else if (partial.empty()) {
      append(stream, piece, true);
    } else {
      partial.append(piece);
      append(stream, partial, true);
      partial.clear();
    }
  }
  flush();
  if (batch_.capacity() > kReadBytes) batch_.shrink_to_fit();
}
void CriLog::finish(int stream, base::Time now) {
  std::string& partial = partial_[stream - 1];
  if (partial.empty() || !fd_.valid()) return;
  stamp_ = base::format_nano_time(now);
  append(stream, partial, false);  // its newline never came, and nobody is to see one
  flush();
  partial.clear();
}

base::Result<PodContainer::Ends> PodContainer::open(bool terminal) {
  Ends ends;
  TRY(log.open(spec_.log_path));
  if (terminal) {
    sys::Pipe sockets = TRY(sys::socketpair(SOCK_SEQPACKET));
    console_socket_ = std::move(sockets.read);
    ends.console = std::move(sockets.write);
    return ends;
  }
  if (spec_.open_stdin) {
    sys::Pipe in = TRY(sys::pipe());
    stdin_ = std::move(in.write);
    ends.in = std::move(in.read);
  } else {
    ends.in = TRY(sys::open("/dev/null", O_RDONLY));
  }
  for (int i = 0; i < 2; ++i) {
    sys::Pipe pipe = TRY(sys::pipe());
    ::fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK);
    sources_[static_cast<size_t>(i)] = std::move(pipe.read);
    (i == 0 ? ends.out : ends.err) = std::move(pipe.write);
  }
  return ends;
}
base::Status PodContainer::take_terminal() {
  if (!console_socket_.valid()) return {};
  sys::Message message = TRY(sys::recv_with_fds(console_socket_.get()));
  console_socket_.reset();
  if (message.fds.empty())
    return base::make_error(base::Kind::kInternal, "take terminal of", spec_.id, "no fd came");
  terminal_ = std::move(message.fds[0]);
  ::fcntl(terminal_.get(), F_SETFL, O_NONBLOCK);
  sources_[0] = base::UniqueFd(::fcntl(terminal_.get(), F_DUPFD_CLOEXEC, 0));
  if (!sources_[0].valid()) return sys::last_error("dup", "terminal");
  return {};
}
void PodContainer::watch() {
  for (size_t at : {0, 1}) watch_source(at);
}
void PodContainer::watch_source(size_t at) {
  if (!sources_[at].valid()) return;
  watches_[at] = loop_.watch(sources_[at].get(), EPOLLIN, [this, at](uint32_t) {
    for (int n = 0; n < kReadsPerWake && !blocked(at) && read(static_cast<int>(at) + 1); ++n) {
    }
    if (blocked(at)) watches_[at].cancel();
  });
}
bool PodContainer::blocked(size_t at) const {
  return std::any_of(copies_[at].begin(), copies_[at].end(),
                     [](const Copy& copy) { return !copy.pending.empty(); });
}
bool PodContainer::read(int stream) {
  auto at = static_cast<size_t>(stream - 1);
  if (!sources_[at].valid()) return false;
  static char buffer[kReadBytes];
  ssize_t n = ::read(sources_[at].get(), buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  base::Time now = base::wall_now();
  if (n <= 0) {  // EIO of a master: the last slave was closed
    log.finish(stream, now);
    watches_[at].cancel();
    sources_[at].reset();
    end_copies(at);
    return false;
  }
  std::string_view data(buffer, static_cast<size_t>(n));
  log.write(stream, data, now);
  forward(stream, data);
  return true;
}
void PodContainer::forward(int stream, std::string_view data) {
  auto at = static_cast<size_t>(stream - 1);
  std::erase_if(copies_[at], [&](Copy& copy) { return !push(copy, data, at); });
}
bool PodContainer::push(Copy& copy, std::string_view data, size_t at) {
  if (!copy.pending.empty()) {  // the rest of a dead container's output
    copy.pending += data;
    return true;
  }
  ssize_t n = ::write(copy.fd.get(), data.data(), data.size());
  if (n < 0 && errno != EAGAIN && errno != EINTR) return false;  // EPIPE: detached
  data.remove_prefix(n > 0 ? static_cast<size_t>(n) : 0);
  if (!copy.awaited || data.empty()) return true;
  copy.pending = data;
  copy.writable = loop_.watch(copy.fd.get(), EPOLLOUT, [this, at](uint32_t) { flush(at); });
  return true;
}
void PodContainer::flush(size_t at) {
  std::erase_if(copies_[at], [&](Copy& copy) {
    if (copy.pending.empty()) return false;
    ssize_t n = ::write(copy.fd.get(), copy.pending.data(), copy.pending.size());
    if (n < 0) return errno != EAGAIN && errno != EINTR;
    copy.pending.erase(0, static_cast<size_t>(n));
    if (!copy.pending.empty()) return false;
    copy.writable.cancel();
    return ended_ || !sources_[at].valid();
  });
  if (!blocked(at) && !watches_[at].active()) watch_source(at);
}
void PodContainer::end_copies(size_t at) {
  std::erase_if(copies_[at], [](const Copy& copy) { return copy.pending.empty(); });
}
void PodContainer::drain() {
  // What the container wrote before it died is in the pipes already; who else holds them (a
  // process outside its pid namespace) may write on and is still watched.
  ended_ = true;
  for (int stream : {1, 2}) {
    while (read(stream)) {
    }
    end_copies(static_cast<size_t>(stream - 1));
  }
}

base::Result<Pod::Attached> PodContainer::attach(Pod::SlowReader slow) {
  Pod::Attached out;
  auto copy = [&](size_t at, base::UniqueFd& end) -> base::Status {
    if (!sources_[at].valid()) return {};
    sys::Pipe pipe = TRY(sys::pipe());
    ::fcntl(pipe.write.get(), F_SETFL, O_NONBLOCK);
    ::fcntl(pipe.write.get(), F_SETPIPE_SZ, 1 << 20);  // only a wish
    copies_[at].push_back({std::move(pipe.write), slow == Pod::SlowReader::kIsAwaited, {}, {}});
    end = std::move(pipe.read);
    return {};
  };
  TRY(copy(0, out.out));
  TRY(copy(1, out.err));
  if (terminal_.valid()) {
    out.terminal = base::UniqueFd(::fcntl(terminal_.get(), F_DUPFD_CLOEXEC, 0));
  } else if (stdin_.valid()) {
    // With stdin_once the first who attaches holds the only end: when it closes, the container
    // reads its end of file.
    if (spec_.stdin_once) out.in = std::move(stdin_);
    else out.in = base::UniqueFd(::fcntl(stdin_.get(), F_DUPFD_CLOEXEC, 0));
  }
  return out;
}

}  // namespace runtime
