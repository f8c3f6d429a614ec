// Whole numbers out of text that somebody else wrote: the text is the number and nothing besides, in range,
// or there is none. For every command line, file and variable; never atoi(), sscanf() or strtoul(), which
// take "0x1" for 0, "-1" for 4294967295, and "abc" for 0.
#pragma once

#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace base {

// Decimal digits, with '-' before them where T has a sign.
template <typename T>
std::optional<T> parse_number(std::string_view text, T least = std::numeric_limits<T>::min(),
                              T most = std::numeric_limits<T>::max()) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
    return std::nullopt;
  return value;
}

// A user's or a group's id. 4294967295 is none: to setresuid(2) it means "leave it as it is", which is root.
constexpr uint32_t kMaxId = UINT32_MAX - 1;
inline std::optional<uint32_t> parse_id(std::string_view text) {
  return parse_number<uint32_t>(text, 0, kMaxId);
}

}  // namespace base
