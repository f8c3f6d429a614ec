#include "api/duration.h"

#include <utility>

namespace api {

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

}  // namespace api
