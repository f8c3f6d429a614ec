#include "api/time_zone.h"

#define USE_OS_TZDB 1  // as Debian builds the library
#include <date/tz.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace api {

base::Result<TimeZone> TimeZone::find(std::string_view name) {
  if (name == "UTC") return utc();
  try {
    return TimeZone(date::locate_zone(std::string(name)));
  } catch (const std::exception&) {  // the library's only way to say so; also where there is no zone data
    return base::make_error(base::Kind::kNotFound, "", "", "unknown time zone " + std::string(name));
  }
}

TimeZone TimeZone::local() {
  try {
    return TimeZone(date::current_zone());
  } catch (const std::exception&) {
    return utc();
  }
}

namespace {
// Where `at` lies beyond what the library can compute with, the offset of the last rule it knows.
date::sys_info zone_info(const date::time_zone& zone, std::chrono::seconds at) {
  constexpr std::chrono::seconds kFirst{-62135596800}, kLast{253402300799};  // years 1 to 9999
  try {
    return zone.get_info(date::sys_seconds(std::clamp(at, kFirst, kLast)));
  } catch (const std::exception&) {  // its file is damaged or went: then as UTC
    return {date::sys_seconds::min(), date::sys_seconds::max(), {}, {}, "UTC"};
  }
}
std::chrono::seconds whole(base::Time at) {
  return std::chrono::floor<std::chrono::seconds>(at.time_since_epoch());
}
}  // namespace

int64_t TimeZone::offset_at(base::Time at) const {
  return zone_ ? zone_info(*zone_, whole(at)).offset.count() : 0;
}

std::string TimeZone::format(base::Time at) const {
  const int64_t ahead = offset_at(at);
  std::string out = base::format_time(base::Time(whole(at) + std::chrono::seconds(ahead)));
  if (ahead == 0) return out;
  out.pop_back();  // the Z
  return out + fmt::format("{}{:02}:{:02}", ahead < 0 ? '-' : '+', std::abs(ahead) / 3600,
                           std::abs(ahead) / 60 % 60);
}

base::Time TimeZone::from_local(base::Time local) const {
  if (!zone_) return local;
  const std::chrono::seconds shown = whole(local);
  date::sys_info info = zone_info(*zone_, shown);
  const date::sys_seconds guess(shown - info.offset);
  if (guess < info.begin || guess >= info.end) info = zone_info(*zone_, guess.time_since_epoch());
  return local - info.offset;
}

}  // namespace api
