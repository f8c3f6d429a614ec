#include "runtime/oci/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/clock.h"
#include "base/json.h"
#include "base/printable.h"
#include "base/sys.h"

namespace runtime {

namespace sys = base::sys;

base::Result<OciLog> OciLog::make(const Options& global) {
  OciLog out;
  out.path_ = global.get("log");
  std::string format = global.get("log-format", "text"), level = global.get("log-level", "info");
  out.json_ = format == "json";
  out.debug_ = level == "debug" || level == "trace" || global.has("debug");
  if (!out.json_ && format != "text")
    return base::make_error(base::Kind::kInvalid, "read option --log-format", {}, "must be text or json");
  // At once: whoever asks for a log must not find out by an error that was not written.
  if (!out.path_.empty())
    out.file_ = TRY_WRAP(sys::open(out.path_, O_WRONLY | O_CREAT | O_APPEND, 0644), "open --log", out.path_);
  constexpr std::string_view kLevels[] = {"trace",   "debug", "info",  "warn",
                                          "warning", "error", "fatal", "panic"};
  for (std::string_view known : kLevels)
    if (level == known) return out;
  return base::make_error(base::Kind::kInvalid, "read option --log-level", {},
                          "must be debug, info, warning or error");
}

void OciLog::write(const char* level, std::string_view message) const {
  int fd = STDERR_FILENO;
  if (!path_.empty()) {
    fd = file_.get();
  }
  std::string time = base::format_time(base::wall_now());
  std::string line =
      json_ ? base::json::serialize(base::json::object{{"level", level}, {"msg", message}, {"time", time}})
            : fmt::format("time=\"{}\" level={} msg={}", time, level,
                          base::json::serialize(base::json::value(message)));
  base::ignore(sys::write_all(fd, line + "\n"), "there is nowhere else to say it");
}

void OciLog::error(std::string_view whole) const {
  const std::string message = base::printable_line(whole);
  std::fprintf(stderr, "sampan-oci: %.*s\n", static_cast<int>(message.size()), message.data());
  if (!path_.empty()) write("error", message);
}
void OciLog::debug(std::string_view message) const {
  if (debug_) write("debug", message);
}
void OciLog::debug_lines(std::string_view text) const {
  while (debug_ && !text.empty()) {
    size_t end = text.find('\n');
    write("debug", text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

}  // namespace runtime
