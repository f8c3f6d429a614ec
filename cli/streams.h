// Our own terminal or pipes joined to a container's: standard input and output, window size, raw
// mode, the keys that let go, signals passed on. Everything on the loop's thread. The terminal is
// given back as it was when the object goes.
#pragma once

#include <termios.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/loop.h"
#include "runtime/runtime.h"

namespace cli {

struct WindowSize {
  int rows = 0, columns = 0;  // 0: we have no terminal
};
WindowSize window_size();

struct StreamOptions {
  bool interactive = false;  // our stdin is read
  std::string detach_keys;   // as bytes; empty: none
};

class Streams {
 public:
  // `ends` as they came from sampan-pod. `on_detach`: the keys were typed.
  Streams(base::Loop& loop, runtime::Pod::Attached ends, StreamOptions options);
  ~Streams();
  std::function<void()> on_detach;
  // All output has arrived: its writers are gone.
  bool finished() const { return !out_.from.valid() && !err_.from.valid(); }
  // Whoever reads our output is gone.
  bool broken() const { return broken_; }
  // What is there now, for a stream that somebody else may hold open for ever.
  void drain();
  void resize();   // after SIGWINCH
  void restore();  // the terminal; also done by the destructor

 private:
  struct Output {
    base::UniqueFd from;
    int to = -1;
    base::Loop::Handle watch;
  };
  bool copy(Output& output);  // false: nothing more now
  void start_output(Output& output, base::UniqueFd from, int to);
  void read_input();
  void write_input();
  void end_input();
  void type_end();
  std::string without_detach_keys(std::string_view typed, bool* detach);

  base::Loop& loop_;
  StreamOptions options_;
  Output out_, err_;
  base::UniqueFd in_, terminal_;  // in_: what we write to; terminal_: to resize
  bool has_terminal_ = false, stdin_is_file_ = false, stdin_ended_ = false, broken_ = false;
  std::string pending_;  // read, not yet written
  size_t keys_matched_ = 0;
  base::Loop::Handle stdin_watch_, in_watch_, end_again_;
  std::optional<termios> saved_;
};

// The signals that a command in the foreground passes on: all that can be caught but those about
// children, pipes, the terminal and ourselves.
std::vector<int> passed_signals();

}  // namespace cli
