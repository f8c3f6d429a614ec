#include "base/clock.h"

#include <cstdio>
#include <ctime>

namespace base {
namespace {
std::string format_with(Time time, int digits) {
  auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  time_t whole = seconds.time_since_epoch().count();
  long long nanos = (time - seconds).count();
  tm parts;
  ::gmtime_r(&whole, &parts);
  char text[64];
  size_t n = ::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::string out(text, n);
  if (digits > 0) {
    char fraction[16];
    std::snprintf(fraction, sizeof fraction, ".%09lld", nanos);
    out.append(fraction, static_cast<size_t>(digits) + 1);
  }
  return out + "Z";
}
}  // namespace

Time wall_now() { return std::chrono::system_clock::now(); }
std::string format_time(Time time) { return format_with(time, 0); }
std::string format_micro_time(Time time) { return format_with(time, 6); }
std::string format_nano_time(Time time) { return format_with(time, 9); }

std::optional<Time> parse_time(std::string_view text) {
  int year, month, day, hour, minute, second, used = 0;
  std::string copy(text);
  if (std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute,
                  &second, &used) != 6 || used != 19)
    return std::nullopt;
  if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
    return std::nullopt;
  size_t at = 19;
  long long nanos = 0;
  if (at < copy.size() && copy[at] == '.') {
    long long scale = 100'000'000;
    size_t digits = 0;
    for (++at; at < copy.size() && copy[at] >= '0' && copy[at] <= '9'; ++at, ++digits) {
      nanos += (copy[at] - '0') * scale;
      scale /= 10;
    }
    if (digits == 0) return std::nullopt;
  }
  std::string zone = copy.substr(at);
  int offset_minutes = 0;
  if (zone != "Z" && zone != "z") {
    int h, m;
    char sign;
    if (zone.size() != 6 || std::sscanf(zone.c_str(), "%c%2d:%2d", &sign, &h, &m) != 3 ||
        (sign != '+' && sign != '-'))
      return std::nullopt;
    offset_minutes = (sign == '-' ? -1 : 1) * (h * 60 + m);
  }
  tm parts{};
  parts.tm_year = year - 1900;
  parts.tm_mon = month - 1;
  parts.tm_mday = day;
  parts.tm_hour = hour;
  parts.tm_min = minute;
  parts.tm_sec = second;
  time_t whole = ::timegm(&parts) - offset_minutes * 60;
  return Time(std::chrono::seconds(whole) + std::chrono::nanoseconds(nanos));
}

}  // namespace base
