// Text of others on somebody's terminal: one line, of what can be shown, not without end; and what JSON can
// hold.
#pragma once

#include <string>
#include <string_view>

namespace base {

constexpr size_t kMaxLineBytes = 4096;

// Control characters, and bytes that are no UTF-8, as \n, \t or \x1b; at most `most` bytes, cut with "…".
std::string printable_line(std::string_view text, size_t most = kMaxLineBytes);
// Bytes that are no UTF-8 become U+FFFD each, as Go's encoders do it.
std::string coerced_utf8(std::string text);

}  // namespace base
