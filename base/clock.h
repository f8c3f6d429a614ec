// Time as Kubernetes writes it. Plans take `now` as a value; only loops and mains read a clock.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace base {

using Duration = std::chrono::nanoseconds;
using Time = std::chrono::sys_time<std::chrono::nanoseconds>;  // wall clock, UTC

using Steady = std::chrono::steady_clock::time_point;  // monotonic; for intervals

// In a simulation (simulated.h) its clocks, else the host's.
Time wall_now();
Steady steady_now();
// metav1.Time: "2026-01-02T03:04:05Z"; MicroTime: six digits of fraction; CRI logs: nine.
std::string format_time(Time time);
std::string format_micro_time(Time time);
std::string format_nano_time(Time time);
std::optional<Time> parse_time(std::string_view text);  // RFC 3339, any fraction, any offset

}  // namespace base
