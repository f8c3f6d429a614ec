// Timestamps and durations, in UTC or in the zone that is asked for.
#include <ctime>

#include "api/cel/functions.h"
#include "api/duration.h"
#include "api/time_zone.h"

namespace api::cel {
namespace {

using C = Context&;
using A = const Value*;

constexpr int64_t kFirstSecond = -62135596800, kLastSecond = 253402300799;  // years 1 to 9999

bool to_timestamp(C c, const Node&, A a, size_t, Value* out) {
  if (a[0].kind == Kind::timestamp) return give(out, a[0]);
  if (a[0].kind == Kind::integer) {
    if (a[0].integer < kFirstSecond || a[0].integer > kLastSecond) return c.fail("timestamp overflow");
    return give(out, Value::of_timestamp(a[0].integer, 0));
  }
  int64_t seconds;
  int32_t nanos;
  return parse_timestamp(a[0].text, &seconds, &nanos)
             ? give(out, Value::of_timestamp(seconds, nanos))
             : c.fail("cannot parse " + shown(a[0]) + " as a timestamp");
}
bool to_duration(C c, const Node&, A a, size_t, Value* out) {
  if (a[0].kind == Kind::duration) return give(out, a[0]);
  int64_t nanos;
  return parse_duration(a[0].text, &nanos) ? give(out, Value::of_duration(nanos))
                                           : c.fail("time: invalid duration " + shown(a[0]));
}
bool moved(C c, const Value& from, __int128 by, Value* out) {
  __int128 all = static_cast<__int128>(from.integer) * 1000000000 + from.nanos + by;
  int64_t seconds = static_cast<int64_t>(all / 1000000000), nanos = static_cast<int64_t>(all % 1000000000);
  if (nanos < 0) nanos += 1000000000, --seconds;
  if (seconds < kFirstSecond || seconds > kLastSecond) return c.fail("timestamp overflow");
  return give(out, Value::of_timestamp(seconds, static_cast<int32_t>(nanos)));
}
bool later(C c, const Node&, A a, size_t, Value* out) {
  bool first = a[0].kind == Kind::timestamp;
  return moved(c, a[first ? 0 : 1], a[first ? 1 : 0].integer, out);
}
bool earlier(C c, const Node&, A a, size_t, Value* out) {
  return moved(c, a[0], -static_cast<__int128>(a[1].integer), out);
}
bool between(C c, const Node&, A a, size_t, Value* out) {
  __int128 nanos =
      (static_cast<__int128>(a[0].integer) - a[1].integer) * 1000000000 + a[0].nanos - a[1].nanos;
  if (nanos > INT64_MAX || nanos < INT64_MIN) return c.fail("duration overflow");
  return give(out, Value::of_duration(static_cast<int64_t>(nanos)));
}
bool add_times(C c, const Node&, A a, size_t, Value* out) {
  int64_t sum;
  return __builtin_add_overflow(a[0].integer, a[1].integer, &sum) ? c.fail("duration overflow")
                                                                  : give(out, Value::of_duration(sum));
}
bool subtract_times(C c, const Node&, A a, size_t, Value* out) {
  int64_t rest;
  return __builtin_sub_overflow(a[0].integer, a[1].integer, &rest) ? c.fail("duration overflow")
                                                                   : give(out, Value::of_duration(rest));
}
bool negate(C c, const Node&, A a, size_t, Value* out) {
  return a[0].integer == INT64_MIN ? c.fail("duration overflow")
                                   : give(out, Value::of_duration(-a[0].integer));
}

// A zone's offset from UTC, as "+01:30" or a name of the zone data base.
bool zone_offset(C c, std::string_view zone, const Value& at, int64_t* seconds) {
  if (zone == "UTC" || zone == "" || zone == "Z") return *seconds = 0, true;
  if (zone.size() >= 5 && zone[zone.size() - 3] == ':') {
    bool negative = zone[0] == '-';
    std::string_view digits = zone.substr(zone[0] == '-' || zone[0] == '+');
    if (digits.size() == 5 && digits.find_first_not_of("0123456789:") == digits.npos) {
      int64_t minutes =
          ((digits[0] - '0') * 10 + digits[1] - '0') * 60 + (digits[3] - '0') * 10 + digits[4] - '0';
      return *seconds = (negative ? -minutes : minutes) * 60, true;
    }
  }
  auto found = TimeZone::find(zone);
  if (!found.ok()) return c.fail("unknown time zone " + std::string(zone));
  *seconds = found->offset_at(base::Time(std::chrono::seconds(at.integer)));
  return true;
}
enum class Part {
  year,
  month,
  day_of_year,
  day_of_month,
  date,
  day_of_week,
  hours,
  minutes,
  seconds,
  millis
};
template <Part part>
bool part_of(C c, const Node&, A a, size_t n, Value* out) {
  int64_t offset = 0;
  if (n > 1 && !zone_offset(c, a[1].text, a[0], &offset)) return false;
  time_t clock = a[0].integer + offset;
  tm parts{};
  ::gmtime_r(&clock, &parts);
  int64_t value = 0;
  switch (part) {
    case Part::year: value = parts.tm_year + 1900; break;
    case Part::month: value = parts.tm_mon; break;
    case Part::day_of_year: value = parts.tm_yday; break;
    case Part::day_of_month: value = parts.tm_mday - 1; break;
    case Part::date: value = parts.tm_mday; break;
    case Part::day_of_week: value = parts.tm_wday; break;
    case Part::hours: value = parts.tm_hour; break;
    case Part::minutes: value = parts.tm_min; break;
    case Part::seconds: value = parts.tm_sec; break;
    case Part::millis: value = a[0].nanos / 1000000; break;
  }
  return give(out, Value::of(value));
}
template <int64_t Unit>
bool whole_units(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(a[0].integer / Unit));
}
bool whole_millis(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(a[0].integer / 1000000 % 1000));
}

constexpr Row kTimeRows[] = {
    {"timestamp(string) timestamp", to_timestamp},
    {"timestamp(int) timestamp", to_timestamp},
    {"timestamp(timestamp) timestamp", to_timestamp},
    {"duration(string) duration", to_duration},
    {"duration(duration) duration", to_duration},
    {"_+_(timestamp, duration) timestamp", later},
    {"_+_(duration, timestamp) timestamp", later},
    {"_+_(duration, duration) duration", add_times},
    {"_-_(timestamp, timestamp) duration", between},
    {"_-_(timestamp, duration) timestamp", earlier},
    {"_-_(duration, duration) duration", subtract_times},
    {"-_(duration) duration", negate},
    {"timestamp.getFullYear() int", part_of<Part::year>},
    {"timestamp.getFullYear(string) int", part_of<Part::year>},
    {"timestamp.getMonth() int", part_of<Part::month>},
    {"timestamp.getMonth(string) int", part_of<Part::month>},
    {"timestamp.getDayOfYear() int", part_of<Part::day_of_year>},
    {"timestamp.getDayOfYear(string) int", part_of<Part::day_of_year>},
    {"timestamp.getDayOfMonth() int", part_of<Part::day_of_month>},
    {"timestamp.getDayOfMonth(string) int", part_of<Part::day_of_month>},
    {"timestamp.getDate() int", part_of<Part::date>},
    {"timestamp.getDate(string) int", part_of<Part::date>},
    {"timestamp.getDayOfWeek() int", part_of<Part::day_of_week>},
    {"timestamp.getDayOfWeek(string) int", part_of<Part::day_of_week>},
    {"timestamp.getHours() int", part_of<Part::hours>},
    {"timestamp.getHours(string) int", part_of<Part::hours>},
    {"timestamp.getMinutes() int", part_of<Part::minutes>},
    {"timestamp.getMinutes(string) int", part_of<Part::minutes>},
    {"timestamp.getSeconds() int", part_of<Part::seconds>},
    {"timestamp.getSeconds(string) int", part_of<Part::seconds>},
    {"timestamp.getMilliseconds() int", part_of<Part::millis>},
    {"timestamp.getMilliseconds(string) int", part_of<Part::millis>},
    {"duration.getHours() int", whole_units<3600000000000>},
    {"duration.getMinutes() int", whole_units<60000000000>},
    {"duration.getSeconds() int", whole_units<1000000000>},
    {"duration.getMilliseconds() int", whole_millis},
};

}  // namespace

std::span<const Row> time_functions() { return kTimeRows; }

}  // namespace api::cel
