// Timestamps and durations as texts.

#include <ctime>

#include "api/cel/value.h"
#include "base/instant.h"

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
  std::string out = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1,
                                parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  if (nanos) {
    std::string digits = fmt::format(".{:09}", nanos);
    out += digits.substr(0, digits.find_last_not_of('0') + 1);
  }
  return out + "Z";
}
bool parse_duration(std::string_view text, int64_t* nanos) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ns", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
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
    total += static_cast<__int128>(whole) * static_cast<int64_t>(factor) +
             static_cast<__int128>(part) * static_cast<int64_t>(factor) / scale;
    if (total > INT64_MAX) return false;
    text.remove_prefix(end);
  }
  *nanos = static_cast<int64_t>(negative ? -total : total);
  return true;
}
bool parse_timestamp(std::string_view text, int64_t* seconds, int32_t* nanos) {
  auto instant = base::parse_instant(text);
  if (!instant || instant->seconds < base::kZeroInstant.seconds) return false;  // CEL begins with the year 1
  *seconds = instant->seconds;
  *nanos = instant->nanos;
  return true;
}

}  // namespace api::cel
