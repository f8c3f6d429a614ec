// Signals by their names.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace base {

// "TERM", "SIGTERM" in any case, "15", "0", "RTMIN+3", "SIGRTMAX-1"; nothing for what is none.
std::optional<int> signal_number(std::string_view name);

}  // namespace base
