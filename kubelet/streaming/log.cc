#include "kubelet/streaming/log.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "kubelet/streaming/streaming.h"

namespace kubelet {
namespace {
using namespace std::chrono_literals;
constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kMaxLineBytes = 1 << 20;  // beyond it a line without newline is printed in pieces
// A rename or exit that no event told of, if ever: not how anything is noticed normally.
constexpr auto kSafety = 10s;

// Of a piece's beginning: false when the tag says that its line goes on. What is no CRI line is one.
bool ends_line(std::string_view head) {
  const size_t first = head.find(' ');
  const size_t second = first == head.npos ? first : head.find(' ', first + 1);
  if (second == head.npos || second + 1 >= head.size()) return true;
  const std::string_view stream = head.substr(first + 1, second - first - 1);
  return (stream != "stdout" && stream != "stderr") || head[second + 1] != 'P';
}
}  // namespace

std::string render_log_line(std::string_view line, const LogOptions& options, bool line_start) {
  auto word = [&](size_t from) { return line.find(' ', from); };
  size_t first = word(0), second = first == line.npos ? first : word(first + 1);
  size_t third = second == line.npos ? second : word(second + 1);
  if (second == line.npos) return std::string(line) + "\n";
  std::string_view time = line.substr(0, first);
  std::string_view stream = line.substr(first + 1, second - first - 1);
  std::string_view tags = line.substr(second + 1, third == line.npos ? third : third - second - 1);
  std::string_view text = third == line.npos ? std::string_view{} : line.substr(third + 1);
  if (stream != "stdout" && stream != "stderr") return std::string(line) + "\n";
  if ((stream == "stdout" && !options.out) || (stream == "stderr" && !options.err)) return {};
  if (options.since) {
    auto at = base::parse_time(time);
    if (at && *at < *options.since) return {};
  }
  std::string out;
  out.reserve(line.size() + 1);
  if (options.timestamps && line_start) {
    out += time;
    out += ' ';
  }
  out += text;
  // "F" ends a line, "P" is a part of a longer one; more tags may follow after a colon.
  if (tags.empty() || tags[0] != 'P') out += '\n';
  return out;
}

base::Result<uint64_t> tail_offset(int fd, uint64_t size, int64_t lines) {
  if (lines < 0) return uint64_t{0};
  if (lines == 0) return size;
  constexpr uint64_t kHeadBytes = 64;  // time, stream and tag of a piece
  std::string block(kReadBytes, '\0');
  uint64_t end = size;
  // The newline of the piece whose beginning is looked for: a line begins behind it if the piece ended one.
  std::optional<uint64_t> closing;
  int64_t seen = 0;
  auto begins = [&](uint64_t piece, std::string_view head) {
    return closing && ends_line(head.substr(0, std::min<uint64_t>(*closing - piece, kHeadBytes))) &&
           ++seen == lines;
  };
  while (end > 0) {
    uint64_t from = end > kReadBytes ? end - kReadBytes : 0;
    ssize_t n = ::pread(fd, block.data(), end - from, static_cast<off_t>(from));
    if (n < 0) return base::sys::last_error("read log");
    for (ssize_t i = n - 1; i >= 0; --i) {
      uint64_t at = from + static_cast<uint64_t>(i);
      // The newline at the very end closes the last line and begins none.
      if (block[static_cast<size_t>(i)] != '\n' || at + 1 == size) continue;
      const auto inside = static_cast<size_t>(i) + 1;
      char head[kHeadBytes];
      std::string_view known(block.data() + inside, static_cast<size_t>(n) - inside);
      if (closing && known.size() < std::min(*closing - at, kHeadBytes)) {
        const ssize_t got = ::pread(fd, head, sizeof head, static_cast<off_t>(at + 1));
        if (got < 0) return base::sys::last_error("read log");
        known = std::string_view(head, static_cast<size_t>(got));
      }
      if (begins(at + 1, known)) return *closing + 1;
      closing = at;
    }
    end = from;
  }
  char head[kHeadBytes];
  const ssize_t got = ::pread(fd, head, sizeof head, 0);
  if (got < 0) return base::sys::last_error("read log");
  return begins(0, std::string_view(head, static_cast<size_t>(got))) ? *closing + 1 : uint64_t{0};
}

base::Result<std::unique_ptr<LogFollower>> LogFollower::open(base::Loop& loop, std::string path,
                                                             LogOptions options,
                                                             std::function<bool()> ended) {
  std::unique_ptr<LogFollower> follower(
      new LogFollower(loop, std::move(path), std::move(options), std::move(ended)));
  follower->left_bytes_ = follower->options_.limit_bytes;
  // The watch first: what is written after it cannot be missed.
  if (follower->options_.follow) TRY(follower->watch());
  auto file = base::sys::open(follower->path_, O_RDONLY | O_NONBLOCK);
  if (!file.ok()) return base::wrap(std::move(file).error(), "open log");
  follower->file_ = std::move(*file);
  struct stat status;
  if (::fstat(follower->file_.get(), &status) != 0) return base::sys::last_error("stat log");
  if (follower->options_.tail_lines >= 0)
    follower->offset_ = TRY(tail_offset(follower->file_.get(), static_cast<uint64_t>(status.st_size),
                                        follower->options_.tail_lines));
  return follower;
}
LogFollower::~LogFollower() { *alive_ = false; }

base::Status LogFollower::watch() {
  inotify_ = base::UniqueFd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify_.valid())
    return base::sys::last_error("inotify_init1", path_, "raise fs.inotify.max_user_instances");
  // The directory: it tells of writes to the file and of its replacement by a rotation.
  std::string directory = path_.substr(0, path_.rfind('/'));
  if (::inotify_add_watch(inotify_.get(), directory.c_str(),
                          IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE) < 0)
    return base::sys::last_error("inotify_add_watch", directory);
  return {};
}

void LogFollower::start(std::function<bool(std::string)> write, std::function<void()> done) {
  write_ = std::move(write);
  done_ = std::move(done);
  if (inotify_.valid()) {
    inotify_watch_ = loop_.watch(inotify_.get(), EPOLLIN, [this](uint32_t) {
      alignas(inotify_event) char events[4096];
      while (::read(inotify_.get(), events, sizeof events) > 0) {
      }
      soon();
    });
  }
  soon();
}
void LogFollower::resume() {
  if (!std::exchange(waiting_, false)) return;
  soon();
}
void LogFollower::look_again() { soon(); }
void LogFollower::soon() {
  if (posted_ || over_ || !write_) return;
  posted_ = true;
  loop_.post([this, alive = alive_] {
    if (!*alive) return;
    posted_ = false;
    step();
  });
}

std::string LogFollower::piece(std::string_view line) {
  std::string out = render_log_line(line, options_, line_start_);
  if (!out.empty()) line_start_ = out.back() == '\n';
  return out;
}
void LogFollower::render(std::string_view data, std::string* out) {
  std::string whole;
  if (!partial_.empty()) {
    whole = std::move(partial_);
    partial_.clear();
    whole.append(data);
    data = whole;
  }
  size_t newline;
  while ((newline = data.find('\n')) != data.npos) {
    *out += piece(data.substr(0, newline));
    data.remove_prefix(newline + 1);
  }
  partial_.assign(data);
  if (partial_.size() > kMaxLineBytes) {
    *out += piece(partial_);
    partial_.clear();
  }
}
bool LogFollower::read_some() {
  static thread_local std::string block(kReadBytes, '\0');
  ssize_t n = ::pread(file_.get(), block.data(), block.size(), static_cast<off_t>(offset_));
  if (n <= 0) {
    struct stat status;
    if (n == 0 && ::fstat(file_.get(), &status) == 0 && static_cast<uint64_t>(status.st_size) < offset_) {
      offset_ = 0;  // truncated in place
      partial_.clear();
      return status.st_size > 0;
    }
    return false;
  }
  offset_ += static_cast<uint64_t>(n);
  std::string out;
  render(std::string_view(block.data(), static_cast<size_t>(n)), &out);
  if (left_bytes_ >= 0) {
    if (out.size() > static_cast<size_t>(left_bytes_)) out.resize(static_cast<size_t>(left_bytes_));
    left_bytes_ -= static_cast<int64_t>(out.size());
  }
  if (!out.empty() && !write_(std::move(out))) waiting_ = true;
  return true;
}
bool LogFollower::next_file() {
  struct stat now, at_path;
  if (::fstat(file_.get(), &now) != 0 || ::stat(path_.c_str(), &at_path) != 0 ||
      (now.st_ino == at_path.st_ino && now.st_dev == at_path.st_dev))
    return false;
  auto file = base::sys::open(path_, O_RDONLY | O_NONBLOCK);
  if (!file.ok()) return false;
  file_ = std::move(*file);
  offset_ = 0;
  return true;
}
void LogFollower::step() {
  auto alive = alive_;
  for (int rounds = 0; rounds < 16; ++rounds) {
    if (waiting_) return;
    if (left_bytes_ == 0) return finish();
    // Asked before reading: what the writer wrote before its exit is then in the file.
    bool ended = !options_.follow || !ended_ || ended_();
    if (read_some()) {
      if (!*alive) return;
      continue;
    }
    if (options_.follow && next_file()) continue;
    if (ended) return finish();
    safety_ = loop_.after(kSafety, [this] { soon(); });
    return;
  }
  soon();
}
void LogFollower::finish() {
  if (over_) return;
  over_ = true;
  safety_.cancel();
  inotify_watch_.cancel();
  if (!partial_.empty()) {
    // Its newline never came: the writer was killed.
    std::string out = piece(partial_);
    if (left_bytes_ >= 0 && out.size() > static_cast<size_t>(left_bytes_))
      out.resize(static_cast<size_t>(left_bytes_));
    if (!out.empty()) (void)write_(std::move(out));
  }
  auto done = std::move(done_);
  if (done) done();
}

namespace {
using base::http::Exchange;
constexpr size_t kHighLogBytes = 1 << 20;

class LogSession final : public StreamSession {
 public:
  LogSession(Streaming& owner, std::shared_ptr<Exchange> exchange, std::unique_ptr<LogFollower> follower)
      : owner_(owner), exchange_(std::move(exchange)), follower_(std::move(follower)) {}
  ~LogSession() override {
    if (exchange_) exchange_->on_close({});
  }
  void run() {
    base::http::Headers headers;
    headers.add("Content-Type", "text/plain");
    exchange_->on_close([this] { owner_.remove(this); });
    exchange_->on_drain([this] { follower_->resume(); });
    exchange_->start(200, std::move(headers));
    follower_->start(
        [this](std::string text) {
          exchange_->write(base::http::bytes(std::move(text)));
          return exchange_->queued_bytes() < kHighLogBytes;
        },
        [this] {
          exchange_->finish();
          owner_.remove(this);
        });
  }
  void container_exited() override { follower_->look_again(); }

 private:
  Streaming& owner_;
  std::shared_ptr<Exchange> exchange_;
  std::unique_ptr<LogFollower> follower_;
};

std::optional<int64_t> number(std::string_view text) {
  if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != text.npos)
    return std::nullopt;
  return std::stoll(std::string(text));
}
}  // namespace

void Streaming::logs(const std::shared_ptr<Exchange>& exchange, const std::vector<std::string>& path) {
  LogOptions options;
  bool previous = false;
  std::string bad;
  for (const auto& [key, value] : base::http::parse_query(exchange->request().query())) {
    bool on = value == "true" || value == "1" || value.empty();
    if (key == "follow") options.follow = on;
    else if (key == "timestamps") options.timestamps = on;
    else if (key == "previous") previous = on;
    else if (key == "tailLines") {
      auto lines = number(value);
      if (!lines) bad = key;
      else options.tail_lines = *lines;
    } else if (key == "limitBytes") {
      auto limit = number(value);
      if (!limit || *limit < 1) bad = key;
      else options.limit_bytes = *limit;
    } else if (key == "sinceSeconds") {
      auto seconds = number(value);
      if (!seconds || *seconds > 1'000'000'000) bad = key;
      else options.since = base::wall_now() - std::chrono::seconds(*seconds);
    } else if (key == "sinceTime") {
      options.since = base::parse_time(value);
      if (!options.since) bad = key;
    } else if (key == "stream") {
      if (value != "All" && value != "Stdout" && value != "Stderr") bad = key;
      options.out = value != "Stderr";
      options.err = value != "Stdout";
    }
  }
  if (!bad.empty())
    return answer_error(
        exchange, base::make_error(base::Kind::kInvalid, "read log", path[2] + "/" + path[3], "bad " + bad));
  auto target = backend_.log_target(path[1], path[2], path[3], previous);
  if (!target.ok()) return answer_error(exchange, target.error());
  auto follower = LogFollower::open(loop_, std::move(target->path), options, std::move(target->ended));
  if (!follower.ok()) return answer_error(exchange, follower.error());
  auto session = std::make_shared<LogSession>(*this, exchange, std::move(*follower));
  add(session);
  session->run();
}

}  // namespace kubelet
