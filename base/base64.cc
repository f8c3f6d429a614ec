#include "base/base64.h"

#include <array>
#include <cstdint>

namespace base {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::array<int8_t, 256> kDigits = [] {
  std::array<int8_t, 256> out{};
  out.fill(-1);
  for (size_t i = 0; i < kAlphabet.size(); ++i)
    out[static_cast<unsigned char>(kAlphabet[i])] = static_cast<int8_t>(i);
  return out;
}();
int digit_of(char c) { return kDigits[static_cast<unsigned char>(c)]; }

}  // namespace

std::string base64_encode(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t left = bytes.size() - at;
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i)
      group = group << 8 | (i < left ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    for (size_t i = 0; i < 4; ++i) out.push_back(i <= left ? kAlphabet[group >> (18 - 6 * i) & 63] : '=');
  }
  return out;
}

std::optional<size_t> base64_error(std::string_view text) {
  auto line_end = [&](size_t at) { return text[at] == '\n' || text[at] == '\r'; };
  int held = 0;  // characters of the group of four
  for (size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    if (line_end(at)) continue;
    if (digit_of(c) >= 0) {
      held = (held + 1) % 4;
      continue;
    }
    if (c != '=' || held < 2) return at;
    // Padding: a second one after two characters, and then the end.
    size_t next = at + 1;
    auto skip = [&] {
      while (next < text.size() && line_end(next)) ++next;
    };
    skip();
    if (held == 2) {
      if (next == text.size()) return next;
      if (text[next] != '=') return next - 1;
      ++next;
      skip();
    }
    return next < text.size() ? std::optional<size_t>(next) : std::nullopt;
  }
  return held == 0 ? std::nullopt : std::optional<size_t>(text.size() - static_cast<size_t>(held));
}

std::optional<std::string> base64_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size() / 4 * 3);
  uint32_t held = 0;
  size_t count = 0, padding = 0;
  for (char c : text) {
    if (c == '\n' || c == '\r') continue;
    ++count;
    if (c == '=') {
      ++padding;
      continue;
    }
    const int digit = digit_of(c);
    if (digit < 0 || padding) return std::nullopt;
    held = held << 6 | static_cast<uint32_t>(digit);
    // The first digit of a group is no byte yet; each further one completes the next.
    if (const size_t bits = count % 4; bits != 1)
      out.push_back(static_cast<char>(held >> (bits == 2 ? 4 : bits == 3 ? 2 : 0) & 0xff));
  }
  // What a shorter last group carries beyond its bytes is not looked at, as Go does not.
  if (count % 4 || padding > 2) return std::nullopt;
  return out;
}

std::string base64url_encode(std::string_view bytes) {
  std::string out = base64_encode(bytes);
  while (out.ends_with('=')) out.pop_back();
  for (char& c : out) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return out;
}
std::optional<std::string> base64url_decode(std::string_view text) {
  if (text.find_first_of("+/=\r\n") != text.npos) return std::nullopt;
  std::string plain(text);
  for (char& c : plain) c = c == '-' ? '+' : c == '_' ? '/' : c;
  plain.append((4 - plain.size() % 4) % 4, '=');
  return base64_decode(plain);
}

}  // namespace base
