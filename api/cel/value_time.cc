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
bool parse_timestamp(std::string_view text, int64_t* seconds, int32_t* nanos) {
  auto instant = base::parse_instant(text);
  if (!instant || instant->seconds < base::kZeroInstant.seconds) return false;  // CEL begins with the year 1
  *seconds = instant->seconds;
  *nanos = instant->nanos;
  return true;
}

}  // namespace api::cel
