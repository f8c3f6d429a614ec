// One container as sampan-pod holds it: its pipes, its log, who is attached, its state. Owns
// nothing of the kernel's objects but fds; never blocks on a client.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/loop.h"
#include "runtime/runtime.h"

namespace runtime {

// CRI log format: "<RFC 3339 time with 9 digits> <stream> <P|F> <line>\n"; lines over 16 KiB are
// cut into P pieces. Bounded, whoever reads it: a file that is full becomes PATH.1, in place of the one
// before.
class CriLog {
 public:
  base::Status open(const std::string& path);  // "" = nowhere
  base::Status reopen();
  void write(int stream, std::string_view data, base::Time now);  // 1 stdout, 2 stderr
  void finish(int stream, base::Time now);                        // what has no newline yet

 private:
  void append(int stream, std::string_view line, bool full);
  void flush();
  std::string path_, partial_[2], batch_, stamp_;
  base::UniqueFd fd_;
  off_t size_ = 0;  // of the file
};

class PodContainer {
 public:
  PodContainer(base::Loop& loop, ContainerSpec spec) : loop_(loop), spec_(std::move(spec)) {}

  // The container's ends, for the launch; close them (drop the result) after it.
  struct Ends {
    base::UniqueFd in, out, err, console;
  };
  base::Result<Ends> open(bool terminal);
  base::Status take_terminal();  // after the launch: the master has been sent
  void watch();
  void drain();  // at exit: what is still in the pipes
  base::Result<Pod::Attached> attach(Pod::SlowReader slow);

  const ContainerSpec& spec() const { return spec_; }
  ContainerState state;
  std::string cgroup;
  uint64_t namespaces = 0;  // CLONE_NEW… in which it differs from sampan-pod
  base::UniqueFd pidfd;
  CriLog log;

 private:
  // A client's copy of a stream.
  struct Copy {
    base::UniqueFd fd;
    bool awaited = false;
    std::string pending;  // of an awaited copy: nothing more is read until it is gone
    base::Loop::Handle writable;
  };
  bool read(int stream);  // false: nothing more now
  void forward(int stream, std::string_view data);
  bool push(Copy& copy, std::string_view data, size_t at);  // false: its reader is gone
  void flush(size_t at);
  void end_copies(size_t at);
  bool blocked(size_t at) const;
  void watch_source(size_t at);

  base::Loop& loop_;
  ContainerSpec spec_;
  base::UniqueFd stdin_, console_socket_, terminal_;
  std::array<base::UniqueFd, 2> sources_;  // stdout or the master, stderr
  std::array<base::Loop::Handle, 2> watches_;
  std::array<std::vector<Copy>, 2> copies_;
  bool ended_ = false;  // the container has: copies end once they are written
};

}  // namespace runtime
