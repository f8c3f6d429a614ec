// sampan logs: what a container has printed, from its log in CRI's format.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/number.h"
#include "base/sys.h"
#include "cli/container_commands.h"
#include "cli/container_life.h"
#include "cli/container_store.h"

namespace cli {

namespace sys = base::sys;
using base::Kind;

namespace {

struct LogOptions {
  std::string name, tail = "all", since, until;
  bool follow = false, timestamps = false;
};

// "2026-01-02T03:04:05.123456789Z stdout F the line"
struct Line {
  std::string_view time, text;
  bool err = false, full = true;
};
bool parse_line(std::string_view line, Line* out) {
  size_t one = line.find(' '), two = line.find(' ', one + 1), three = line.find(' ', two + 1);
  if (one == std::string_view::npos || two == std::string_view::npos || three == std::string_view::npos)
    return false;
  out->time = line.substr(0, one);
  out->err = line.substr(one + 1, two - one - 1) == "stderr";
  out->full = line.substr(two + 1, three - two - 1) == "F";
  out->text = line.substr(three + 1);
  return true;
}

// "10m", "1h30m" ago, a time, or seconds since 1970.
base::Result<std::optional<base::Time>> moment(const std::string& text, base::Time now) {
  if (text.empty()) return std::optional<base::Time>();
  if (auto time = base::parse_time(text)) return time;
  char* end = nullptr;
  double value = 0;
  base::Duration ago{};
  const char* at = text.c_str();
  bool any = false;
  while (*at) {
    value = std::strtod(at, &end);
    if (end == at) break;
    double unit = *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : 0;
    if (unit == 0 && *end == 0 && !any)
      return std::optional<base::Time>(
          base::Time(std::chrono::duration_cast<base::Duration>(std::chrono::duration<double>(value))));
    if (unit == 0) break;
    ago += std::chrono::duration_cast<base::Duration>(std::chrono::duration<double>(value * unit));
    at = end + 1;
    any = true;
  }
  if (!any || *at)
    return base::make_error(Kind::kInvalid, "read time", text,
                            "write it as 2026-01-02T03:04:05Z, 10m or seconds since 1970");
  return std::optional<base::Time>(now - ago);
}

class LogPrinter {
 public:
  LogPrinter(const LogOptions& options, std::optional<base::Time> since, std::optional<base::Time> until)
      : options_(options), since_(since), until_(until) {}
  // Whole lines are printed; what follows the last newline is kept.
  void take(std::string_view data) {
    rest_ += data;
    size_t at = 0;
    for (size_t end; (end = rest_.find('\n', at)) != std::string::npos; at = end + 1)
      print_line(std::string_view(rest_).substr(at, end - at));
    rest_.erase(0, at);
    flush();
  }
  bool broken() const { return broken_; }  // nobody reads us any more

 private:
  void print_line(std::string_view text) {
    Line line;
    if (!parse_line(text, &line)) return;
    if (since_ || until_) {
      auto time = base::parse_time(line.time);
      if (time && ((since_ && *time < *since_) || (until_ && *time > *until_))) return;
    }
    if (line.err != err_) flush();
    err_ = line.err;
    if (options_.timestamps && begins_[err_]) out_ += std::string(line.time) + " ";
    out_ += line.text;
    if (line.full) out_ += '\n';
    begins_[err_] = line.full;
  }
  void flush() {
    broken_ |= !out_.empty() && !sys::write_all(err_ ? 2 : 1, out_).ok();
    out_.clear();
  }
  const LogOptions& options_;
  std::optional<base::Time> since_, until_;
  std::string rest_, out_;
  bool err_ = false, broken_ = false, begins_[2] = {true, true};
};

// Where the last `lines` lines begin; pieces of a cut line count as one. What is not found is left in
// `lines`.
base::Result<off_t> tail_offset(int fd, int64_t& lines) {
  off_t at = ::lseek(fd, 0, SEEK_END);
  std::string block;
  std::string carry;  // the beginning of the block after
  int64_t seen = 0;
  bool last = true;  // the last piece is a line's end whatever its tag: its newline may never have come
  off_t last_begin = at;
  while (at > 0) {
    size_t size = static_cast<size_t>(std::min<off_t>(at, 64 << 10));
    block.resize(size);
    at -= static_cast<off_t>(size);
    if (::pread(fd, block.data(), size, at) != static_cast<ssize_t>(size)) return sys::last_error("read log");
    std::string text = block + carry;
    size_t end = text.size();
    while (end > 0) {
      size_t newline = end >= 2 ? text.rfind('\n', end - 2) : std::string::npos;
      size_t begin = newline == std::string::npos ? 0 : newline + 1;
      if (newline == std::string::npos && at > 0) break;
      Line line;
      std::string_view whole = std::string_view(text).substr(begin, end - begin);
      if (parse_line(whole.substr(0, whole.find('\n')), &line)) {
        if ((line.full || last) && ++seen > lines) {
          lines = 0;
          return last_begin;
        }
        last = false;
      }
      last_begin = at + static_cast<off_t>(begin);
      end = begin;
    }
    carry = text.substr(0, end);
  }
  lines -= seen;
  return 0;
}

// The log, and the file before it: sampan-pod renames the one to the other when it is full.
class LogFiles {
 public:
  explicit LogFiles(std::string path) : path_(std::move(path)) {}

  // Prints what there is from the last `lines` lines on; -1: all.
  base::Status begin(LogPrinter& printer, int64_t lines) {
    base::UniqueFd before;
    for (int tries = 0; tries < 10; ++tries) {  // until both are of one moment
      now_ = TRY(open(path_));
      before = TRY(open(path_ + ".1"));
      if (!same(now_, before)) break;
    }
    if (lines >= 0 && now_.valid()) ::lseek(now_.get(), TRY(tail_offset(now_.get(), lines)), SEEK_SET);
    if (before.valid() && lines != 0) {
      if (lines > 0) ::lseek(before.get(), TRY(tail_offset(before.get(), lines)), SEEK_SET);
      print(before, printer);
    }
    print(now_, printer);
    return {};
  }
  base::Status go_on(LogPrinter& printer) {
    if (!now_.valid()) now_ = TRY(open(path_));
    print(now_, printer);
    base::UniqueFd newer = TRY(open(path_));
    if (!newer.valid() || same(now_, newer)) return {};
    print(now_, printer);  // what came before the change of name
    now_ = std::move(newer);
    print(now_, printer);
    return {};
  }

 private:
  static base::Result<base::UniqueFd> open(const std::string& path) {
    auto fd = sys::open(path, O_RDONLY | O_NOFOLLOW);
    if (!fd.ok() && fd.error().kind == Kind::kNotFound) return base::UniqueFd();
    return fd;
  }
  static bool same(const base::UniqueFd& one, const base::UniqueFd& other) {
    struct stat a {
    }, b{};
    return one.valid() && other.valid() && ::fstat(one.get(), &a) == 0 && ::fstat(other.get(), &b) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
  }
  static void print(const base::UniqueFd& fd, LogPrinter& printer) {
    if (!fd.valid()) return;
    std::string buffer(64 << 10, '\0');
    for (ssize_t n; !printer.broken() && (n = ::read(fd.get(), buffer.data(), buffer.size())) > 0;)
      printer.take(std::string_view(buffer).substr(0, static_cast<size_t>(n)));
  }
  const std::string path_;
  base::UniqueFd now_;
};

base::Status logs(const Places& places, const LogOptions& options) {
  std::string id = TRY(find_container(places, options.name));
  TRY(read_record(places, id));
  auto since = TRY(moment(options.since, base::wall_now())),
       until = TRY(moment(options.until, base::wall_now()));
  int64_t lines = -1;
  if (options.tail != "all") {
    auto parsed = base::parse_number<int64_t>(options.tail);
    if (!parsed)
      return base::make_error(Kind::kInvalid, "read --tail", options.tail, "it is a number or all");
    lines = *parsed;
  }
  std::string path = places.container(id) + "/log";
  base::Loop loop;
  base::UniqueFd notify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!notify.valid() || ::inotify_add_watch(notify.get(), places.container(id).c_str(),
                                             IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
    return sys::last_error("watch log", path);
  Seen seen = TRY(observe_container(loop, places, id));
  LogPrinter printer(options, since, until);
  LogFiles files(path);
  base::Status status = files.begin(printer, lines);
  auto watch = loop.watch(notify.get(), EPOLLIN, [&](uint32_t) {
    char events[4096];
    while (::read(notify.get(), events, sizeof events) > 0) {
    }
    status = files.go_on(printer);
  });
  // A reader that goes while nothing is printed is seen by its end of the pipe.
  bool hung_up = false;
  base::Loop::Handle reader;
  struct stat output {};
  if (options.follow && ::fstat(1, &output) == 0 && (S_ISFIFO(output.st_mode) || S_ISSOCK(output.st_mode)))
    reader = loop.watch(1, EPOLLERR, [&](uint32_t) { hung_up = true; });
  auto gone = [&] { return hung_up || printer.broken(); };
  while (!gone() && options.follow && seen.runs() && !seen.ending->over() && status.ok())
    loop.run_once(std::chrono::hours(1));
  // Its exit is told after its last line was written.
  if (status.ok() && !gone()) status = files.go_on(printer);
  if (status.ok() && gone())
    return base::make_error(Kind::kUnavailable, "write output", {}, "nobody reads it any more");
  return status;
}

}  // namespace

void add_logs(CLI::App& app, Outcome& outcome, Places& places) {
  auto options = std::make_shared<LogOptions>();
  CLI::App* command = app.add_subcommand("logs", "What a container has printed");
  command->add_flag("-f,--follow", options->follow, "And what it prints from now on, until it ends");
  command->add_flag("-t,--timestamps", options->timestamps, "With the time of each line");
  command->add_option("-n,--tail", options->tail, "Only the last lines, by number");
  command->add_option("--since", options->since, "Only after this time, or this long ago: 10m");
  command->add_option("--until", options->until, "Only before");
  command->add_option("container", options->name, "Name or id")->required();
  command->callback([=, &outcome, &places] {
    if (auto done = logs(places, *options); !done.ok()) fail(outcome, done.error());
  });
}

}  // namespace cli
