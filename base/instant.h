// A moment as the API writes it: RFC 3339, the years 0 to 9999. base::Time counts nanoseconds in 64 bits and
// ends in 2262; what is only checked and printed again goes through this. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace base {

struct Instant {
  int64_t seconds = 0;  // since 1970, UTC
  int32_t nanos = 0;    // 0 to 999,999,999, added to them
  bool operator==(const Instant&) const = default;
};
constexpr int64_t kFirstInstant = -62167219200,
                  kLastInstant = 253402300799;    // 0000-01-01T00:00:00Z, 9999-12-31T23:59:59Z
constexpr Instant kZeroInstant{-62135596800, 0};  // Go's time.Time{}: year 1

// As Go's time.Parse(time.RFC3339): any fraction of up to nine digits that count, any offset; nothing when
// the text is no such moment or lies outside of the years in UTC.
std::optional<Instant> parse_instant(std::string_view text);
// In UTC, with `digits` (0 to 9) of the second's fraction, truncated. The instant lies within the years.
std::string format_instant(Instant instant, int digits);

}  // namespace base
