// Durations as Go's time.ParseDuration reads them. Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace api {

bool parse_duration(std::string_view text, int64_t* nanos);  // "1h15m30.5s"; false: none, or past 2^63 ns

}  // namespace api
