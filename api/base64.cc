#include "api/base64.h"

#include <openssl/evp.h>

namespace api {

std::string base64_encode(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');  // EVP writes a final NUL
  int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<size_t>(size));
  return out;
}

std::optional<size_t> base64_error(std::string_view text) {
  auto line_end = [&](size_t at) { return text[at] == '\n' || text[at] == '\r'; };
  int held = 0;  // characters of the group of four
  for (size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    if (line_end(at)) continue;
    bool alphabet =
        (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
    if (alphabet) {
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
  std::string clean;
  clean.reserve(text.size());
  size_t padding = 0;
  for (char c : text) {
    if (c == '\n' || c == '\r') continue;
    bool alphabet =
        (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
    if (c == '=') ++padding;
    else if (!alphabet || padding) return std::nullopt;
    clean.push_back(c);
  }
  if (clean.size() % 4 || padding > 2) return std::nullopt;
  std::string out(clean.size() / 4 * 3, '\0');
  int size =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(clean.data()), static_cast<int>(clean.size()));
  if (size < 0) return std::nullopt;
  out.resize(static_cast<size_t>(size) - padding);
  return out;
}

}  // namespace api
