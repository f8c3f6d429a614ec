// What sampan-oci says about itself: an error once, to stderr and to --log; with --debug (or
// --log-level debug) also each action of a launch, a line each, to --log or else to stderr. Lines are
// logrus's, text or JSON, because that is what engines read back from runc. A log that can't be opened is
// the call's error; one that can't be written later stops nothing. An error is one line, whatever it quotes.
#pragma once

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/oci/options.h"

namespace runtime {

class OciLog {
 public:
  OciLog() = default;
  static base::Result<OciLog> make(
      const Options& global);  // kInvalid: a wrong format or level; or why it can't be opened
  void error(std::string_view message) const;
  void debug(std::string_view message) const;
  void debug_lines(std::string_view text) const;  // a message each
  bool debugs() const { return debug_; }

 private:
  void write(const char* level, std::string_view message) const;
  std::string path_;
  bool json_ = false, debug_ = false;
  base::UniqueFd file_;
};

}  // namespace runtime
