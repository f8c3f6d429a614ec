// Logs: one line per event to stderr (journald adds the time when it is the reader).
// Libraries return errors and stay silent; loops and mains log once.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>

namespace base::log {

enum class Level { kDebug, kInfo, kWarning, kError };
// `program` stands in every line. Level from --log-level: debug, info, warning, error.
void init(std::string program, Level level);
bool parse_level(std::string_view text, Level* level);
bool enabled(Level level);
void write(Level level, std::string_view line);  // any thread

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kDebug)) write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kInfo)) write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace base::log
