// Timestamps and durations as texts.
#include <charconv>
#include <ctime>

#include "api/cel/value.h"
#include "base/clock.h"

namespace api::cel {

std::string duration_text(int64_t nanos) {
  std::string out = nanos < 0 ? "-" : "";
  uint64_t left = nanos < 0 ? 0 - static_cast<uint64_t>(nanos) : static_cast<uint64_t>(nanos);
  out += std::to_string(left / 1000000000);
  if (uint64_t part = left % 1000000000) {
    std::string digits = std::to_string(part);
    digits = "." + std::string(9 - digits.size(), '0') + digits;
    out += digits.substr(0, digits.find_last_not_of('0') + 1);
  }
  return out + "s";
}
std::string timestamp_text(int64_t seconds, int32_t nanos) {
  time_t clock = seconds;
  tm parts{};
  ::gmtime_r(&clock, &parts);
  std::string out = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  if (nanos) {
    std::string digits = fmt::format(".{:09}", nanos);
    out += digits.substr(0, digits.find_last_not_of('0') + 1);
  }
  return out + "Z";
}
bool parse_duration(std::string_view text, int64_t* nanos) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {{"ns", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text == "0") return *nanos = 0, true;
  if (text.empty()) return false;
  __int128 total = 0;
  while (!text.empty()) {
    uint64_t whole = 0, part = 0, scale = 1;
    size_t digits = 0, at = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits) {
      if (whole > (uint64_t{1} << 62) / 10) return false;
      whole = whole * 10 + static_cast<uint64_t>(text[at] - '0');
    }
    if (at < text.size() && text[at] == '.')
      for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits)
        if (scale < 1000000000000) part = part * 10 + static_cast<uint64_t>(text[at] - '0'), scale *= 10;
    if (!digits) return false;
    size_t end = at;
    while (end < text.size() && text[end] != '.' && !(text[end] >= '0' && text[end] <= '9')) ++end;
    std::string_view unit = text.substr(at, end - at);
    double factor = 0;
    for (const auto& [name, size] : kUnits)
      if (name == unit) factor = size;
    if (factor == 0) return false;
    total += static_cast<__int128>(whole) * static_cast<int64_t>(factor) + static_cast<__int128>(part) * static_cast<int64_t>(factor) / scale;
    if (total > INT64_MAX) return false;
    text.remove_prefix(end);
  }
  *nanos = static_cast<int64_t>(negative ? -total : total);
  return true;
}
bool parse_timestamp(std::string_view text, int64_t* seconds, int32_t* nanos) {
  // Years 1 to 9999 are more than base::Time spans: the calendar repeats after 400 years.
  constexpr int64_t kCycleSeconds = int64_t{146097} * 86400;
  int year = 0;
  if (text.size() < 4 || std::from_chars(text.data(), text.data() + 4, year).ptr != text.data() + 4 || year < 1) return false;
  int near = 1800 + ((year - 1800) % 400 + 400) % 400;
  std::string shifted = std::to_string(near) + std::string(text.substr(4));
  auto time = base::parse_time(shifted);
  if (!time) return false;
  int64_t all = std::chrono::duration_cast<std::chrono::nanoseconds>(time->time_since_epoch()).count();
  *seconds = all / 1000000000;
  *nanos = static_cast<int32_t>(all % 1000000000);
  if (*nanos < 0) *nanos += 1000000000, --*seconds;
  *seconds += (year - near) / 400 * kCycleSeconds;
  return *seconds >= -62135596800 && *seconds <= 253402300799;
}

}  // namespace api::cel
