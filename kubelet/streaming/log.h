// Reads CRI log files ("2026-01-02T15:04:05.123456789Z stdout F text"): selection and the offset of
// the last lines are pure; LogFollower reads on as the file grows, over rotations, woken by inotify.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>

#include "base/clock.h"
#include "base/loop.h"
#include "base/result.h"

namespace kubelet {

struct LogOptions {
  bool follow = false, timestamps = false;
  bool out = true, err = true;
  int64_t tail_lines = -1;   // < 0: all
  int64_t limit_bytes = -1;  // < 0: none
  std::optional<base::Time> since;
};

// What to print of one line of the file (without its newline); a broken line is printed as it is.
// `line_start`: the piece before it ended a line; later pieces of a line have no timestamp.
std::string render_log_line(std::string_view line, const LogOptions& options, bool line_start = true);
// Where the last `lines` lines of the first `size` bytes begin; the pieces of a long line are one.
base::Result<uint64_t> tail_offset(int fd, uint64_t size, int64_t lines);

class LogFollower {
 public:
  // `ended`: the writer has exited. Opens at once: kNotFound when there is no file and it will not
  // be made any more.
  static base::Result<std::unique_ptr<LogFollower>> open(base::Loop& loop, std::string path,
                                                         LogOptions options, std::function<bool()> ended);
  // `write` gets rendered text and returns false to be left alone until resume(); `done` is called
  // once at the end. Neither is called inside start().
  void start(std::function<bool(std::string)> write, std::function<void()> done);
  void resume();
  void look_again();  // the writer may have exited
  ~LogFollower();

 private:
  LogFollower(base::Loop& loop, std::string path, LogOptions options, std::function<bool()> ended)
      : loop_(loop), path_(std::move(path)), options_(std::move(options)), ended_(std::move(ended)) {}
  base::Status watch();
  void soon();
  void step();
  bool read_some();  // false: nothing new
  bool next_file();  // the file at the path is another one now
  void render(std::string_view data, std::string* out);
  std::string piece(std::string_view line);
  void finish();

  base::Loop& loop_;
  std::string path_;
  LogOptions options_;
  std::function<bool()> ended_;
  std::function<bool(std::string)> write_;
  std::function<void()> done_;
  base::UniqueFd file_, inotify_;
  base::Loop::Handle inotify_watch_, safety_;
  uint64_t offset_ = 0;
  int64_t left_bytes_ = -1;
  std::string partial_;     // a line whose newline has not been written yet
  bool line_start_ = true;  // what was printed last ended a line
  bool waiting_ = false, posted_ = false, over_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kubelet
