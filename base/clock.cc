#include "base/clock.h"

#include <algorithm>
#include <chrono>

#include "base/instant.h"
#include "base/simulated.h"

namespace base {
namespace {

// `count` decimal digits of `text` from `at`; -1 when one is missing.
int digits_at(std::string_view text, size_t at, size_t count) {
  if (text.size() < at + count) return -1;
  int out = 0;
  for (char c : text.substr(at, count)) {
    if (c < '0' || c > '9') return -1;
    out = out * 10 + (c - '0');
  }
  return out;
}
void put(std::string& out, int value, int width) {
  char digits[10];
  for (int i = width; i-- > 0; value /= 10) digits[i] = static_cast<char>('0' + value % 10);
  out.append(digits, static_cast<size_t>(width));
}

// Minutes east of UTC.
std::optional<int> parse_zone(std::string_view zone) {
  if (zone == "Z") return 0;
  if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':') return std::nullopt;
  int hours = digits_at(zone, 1, 2), minutes = digits_at(zone, 4, 2);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return std::nullopt;
  return (zone[0] == '-' ? -1 : 1) * (hours * 60 + minutes);
}

std::string format_with(Time time, int digits) {
  auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return format_instant({seconds.time_since_epoch().count(), static_cast<int32_t>((time - seconds).count())},
                        digits);
}

}  // namespace

std::optional<Instant> parse_instant(std::string_view text) {
  int year = digits_at(text, 0, 4), month = digits_at(text, 5, 2), day = digits_at(text, 8, 2);
  int hour = digits_at(text, 11, 2), minute = digits_at(text, 14, 2), second = digits_at(text, 17, 2);
  if (year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0) return std::nullopt;
  if (text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':')
    return std::nullopt;
  std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                   std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  size_t at = 19;
  Instant out;
  if (at < text.size() && (text[at] == '.' || text[at] == ',')) {
    int32_t scale = 100'000'000;
    size_t first = ++at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10)
      out.nanos += (text[at] - '0') * scale;
    if (at == first) return std::nullopt;
  }
  std::optional<int> zone = parse_zone(text.substr(at));
  if (!zone) return std::nullopt;
  int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  out.seconds = days * 86400 + hour * 3600 + minute * 60 + second - *zone * 60;
  if (out.seconds < kFirstInstant || out.seconds > kLastInstant) return std::nullopt;
  return out;
}

std::string format_instant(Instant instant, int digits) {
  auto days = std::chrono::floor<std::chrono::days>(std::chrono::seconds(instant.seconds));
  std::chrono::year_month_day date{std::chrono::sys_days(days)};
  int rest = static_cast<int>(instant.seconds - days.count() * 86400);
  std::string out;
  out.reserve(32);
  put(out, static_cast<int>(date.year()), 4);
  put(out += '-', static_cast<int>(static_cast<unsigned>(date.month())), 2);
  put(out += '-', static_cast<int>(static_cast<unsigned>(date.day())), 2);
  put(out += 'T', rest / 3600, 2);
  put(out += ':', rest / 60 % 60, 2);
  put(out += ':', rest % 60, 2);
  if (digits > 0) {
    put(out += '.', instant.nanos, 9);
    out.resize(out.size() - static_cast<size_t>(9 - std::min(digits, 9)));
  }
  return out += 'Z';
}

Time wall_now() {
  const Simulated* simulated = Simulated::current();
  return simulated ? simulated->wall() : std::chrono::system_clock::now();
}
Steady steady_now() {
  const Simulated* simulated = Simulated::current();
  return simulated ? simulated->steady() : std::chrono::steady_clock::now();
}
std::string format_time(Time time) { return format_with(time, 0); }
std::string format_micro_time(Time time) { return format_with(time, 6); }
std::string format_nano_time(Time time) { return format_with(time, 9); }

std::optional<Time> parse_time(std::string_view text) {
  std::optional<Instant> instant = parse_instant(text);
  if (!instant) return std::nullopt;
  // What 64 bits of nanoseconds can't hold is as far away as they reach.
  constexpr int64_t kMost = INT64_MAX / 1'000'000'000 - 1;
  int64_t seconds = std::clamp(instant->seconds, -kMost, kMost);
  return Time(std::chrono::seconds(seconds) + std::chrono::nanoseconds(instant->nanos));
}

}  // namespace base
