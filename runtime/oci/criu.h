// criu(8) by its remote procedures: one `criu swrk` a request, told in protocol buffers over a socket
// pair. Knows nothing of containers; the fields and their numbers are criu's rpc.proto. Blocks until
// criu ended; it is killed by nobody: when we die its socket closes, and it puts things back.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace runtime {

// Fields of one message, appended in any order.
class CriuMessage {
 public:
  CriuMessage& add(int field, int64_t value);  // integers, enumerations, bools
  CriuMessage& add(int field, std::string_view text);
  CriuMessage& add(int field, const CriuMessage& message) {
    return add(field, std::string_view(message.bytes_));
  }
  CriuMessage& add_if(bool given, int field) { return given ? add(field, 1) : *this; }
  const std::string& bytes() const { return bytes_; }

 private:
  void varint(uint64_t value);
  std::string bytes_;
};

enum class CriuRequest { kDump = 1, kRestore = 2, kPreDump = 4, kNotify = 6, kFeatureCheck = 9 };

struct CriuAnswer {
  CriuRequest type = CriuRequest::kNotify;
  bool success = false;
  int error = 0;  // an errno, as far as criu knows one
  std::string message;
  std::string script;                          // of a notification: "post-restore"
  int pid = 0;                                 // of a notification, or of what was restored
  bool mem_track = false, lazy_pages = false;  // features
};
base::Result<CriuAnswer> parse_criu_answer(std::string_view bytes);

struct CriuCall {
  std::string program = "criu";  // searched in PATH
  CriuRequest type = CriuRequest::kDump;
  CriuMessage options;                              // criu_opts, or criu_features
  std::vector<std::pair<int, int>> fds;             // {ours, number in criu}, from 4 on
  std::function<base::Status(pid_t criu)> started;  // before it is told what to do
  // What criu waits for at its points; a terminal's master comes with "orphan-pts-master".
  std::function<base::Status(const CriuAnswer&, base::UniqueFd)> notify;
};
// kUnsupported: criu is not installed.
base::Result<CriuAnswer> call_criu(const CriuCall& call);

}  // namespace runtime
