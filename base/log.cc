#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace base::log {
namespace {
spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarning: return spdlog::level::warn;
    case Level::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}
std::shared_ptr<spdlog::logger>& logger() {
  static auto instance =
      std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  return instance;
}
}  // namespace

void init(std::string program, Level level) {
  logger() =
      std::make_shared<spdlog::logger>(std::move(program), std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger()->set_level(to_spdlog(level));
  logger()->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %n: %v", spdlog::pattern_time_type::utc);
  logger()->flush_on(spdlog::level::debug);
}
bool parse_level(std::string_view text, Level* level) {
  if (text == "debug") *level = Level::kDebug;
  else if (text == "info") *level = Level::kInfo;
  else if (text == "warning") *level = Level::kWarning;
  else if (text == "error") *level = Level::kError;
  else return false;
  return true;
}
bool enabled(Level level) { return logger()->should_log(to_spdlog(level)); }
namespace {
bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }
constexpr size_t kMaxLineBytes = 16 << 10;

std::string one_line(std::string_view text) {
  std::string out;
  const bool cut = text.size() > kMaxLineBytes;
  text = text.substr(0, kMaxLineBytes);
  out.reserve(text.size() + 16);
  for (char c : text) {
    if (c == '\n') out += "\\n";
    else if (c == '\r') out += "\\r";
    else if (is_control(c)) {
      constexpr char kHex[] = "0123456789abcdef";
      out += {'\\', 'x', kHex[static_cast<unsigned char>(c) >> 4], kHex[c & 15]};
    } else {
      out += c;
    }
  }
  return cut ? out + "…" : out;
}
}  // namespace
void write(Level level, std::string_view line) {
  // Names, messages and answers of strangers come by here: none of them begins a line, or moves a cursor.
  if (line.size() <= kMaxLineBytes && std::none_of(line.begin(), line.end(), is_control)) {
    logger()->log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
    return;
  }
  const std::string safe = one_line(line);
  logger()->log(to_spdlog(level), spdlog::string_view_t(safe.data(), safe.size()));
}

}  // namespace base::log
