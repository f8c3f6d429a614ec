#include "base/printable.h"

namespace base {

namespace {
// The length of the UTF-8 sequence at the beginning, 0 where there is none (RFC 3629).
size_t sequence(std::string_view text) {
  auto byte = [&](size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
  const unsigned first = byte(0);
  const size_t size = first < 0x80   ? 1
                      : first < 0xc2 ? 0
                      : first < 0xe0 ? 2
                      : first < 0xf0 ? 3
                      : first < 0xf5 ? 4
                                     : 0;
  for (size_t at = 1; at < size; ++at)
    if ((byte(at) & 0xc0) != 0x80) return 0;
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f) ||
      (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f))
    return 0;
  return size;
}
}  // namespace

std::string coerced_utf8(std::string text) {
  size_t at = 0;
  while (at < text.size())
    if (size_t size = sequence(std::string_view(text).substr(at))) at += size;
    else break;
  if (at == text.size()) return text;
  std::string out = text.substr(0, at);
  for (std::string_view rest = std::string_view(text).substr(at); !rest.empty();) {
    const size_t size = sequence(rest);
    if (size) out += rest.substr(0, size);
    else out += "\xef\xbf\xbd";
    rest.remove_prefix(std::max<size_t>(size, 1));
  }
  return out;
}

std::string printable_line(std::string_view text, size_t most) {
  constexpr std::string_view kCut = "…";
  constexpr const char* kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(std::min(text.size(), most));
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text[0]);
    const size_t size = sequence(text);
    std::string part;
    // C1 controls (U+0080 to U+009F) move a terminal's cursor, too.
    const bool control = size == 0 || first < 0x20 || first == 0x7f ||
                         (size == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0);
    if (!control) part = text.substr(0, size);
    else if (first == '\n') part = "\\n";
    else if (first == '\t') part = "\\t";
    else if (first == '\r') part = "\\r";
    else
      for (size_t at = 0; at < std::max<size_t>(size, 1); ++at) {
        const auto byte = static_cast<unsigned char>(text[at]);
        part += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
      }
    if (out.size() + part.size() > most - kCut.size()) return out.append(kCut);
    out += part;
    text.remove_prefix(std::max<size_t>(size, 1));
  }
  return out;
}

}  // namespace base
