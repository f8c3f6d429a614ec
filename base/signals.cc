#include "base/signals.h"

#include <algorithm>
#include <csignal>
#include <cstring>

#include "base/number.h"

namespace base {

std::optional<int> signal_number(std::string_view name) {
  constexpr int kLast = 64;  // signal(7): those of real time end there
  if (auto number = parse_number<int>(name)) return *number >= 0 && *number <= kLast ? number : std::nullopt;
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(::toupper(c)); });
  if (upper.starts_with("SIG")) upper.erase(0, 3);
  for (int i = 1; i < 32; ++i)
    if (const char* known = ::sigabbrev_np(i); known && upper == known) return i;
  const bool first = upper.starts_with("RTMIN"), last = upper.starts_with("RTMAX");
  if (!first && !last) return std::nullopt;
  const std::string_view offset = std::string_view(upper).substr(5);
  if (offset.empty()) return first ? SIGRTMIN : SIGRTMAX;
  const auto by = offset[0] == (first ? '+' : '-') ? parse_number<int>(offset.substr(1)) : std::nullopt;
  if (!by || *by < 0 || *by > SIGRTMAX - SIGRTMIN) return std::nullopt;
  return first ? SIGRTMIN + *by : SIGRTMAX - *by;
}

}  // namespace base
