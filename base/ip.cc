// See ip.h.
#include "base/ip.h"

#include <arpa/inet.h>
#include <fmt/core.h>

#include "base/number.h"

namespace base {

// By hand: it is on the way of every endpoint of every Service.
std::optional<Ip> Ip::parse_v4(std::string_view text) {
  uint32_t address = 0;
  size_t at = 0;
  for (int part = 0; part < 4; ++part) {
    if (part > 0 && (at == text.size() || text[at++] != '.')) return std::nullopt;
    size_t begin = at;
    uint32_t value = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
      // A leading zero is refused: some libraries read such parts as octal.
      if (at > begin && (value == 0 || at - begin == 3)) return std::nullopt;
      value = value * 10 + static_cast<uint32_t>(text[at] - '0');
    }
    if (at == begin || value > 255) return std::nullopt;
    address = address << 8 | value;
  }
  if (at != text.size()) return std::nullopt;
  return v4(address);
}
std::optional<Ip> Ip::parse_v6(std::string_view text) {
  // inet_pton() reads to the first zero: what stands behind one would go unread.
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != text.npos) return std::nullopt;
  char copy[INET6_ADDRSTRLEN] = {};
  text.copy(copy, text.size());
  std::array<uint8_t, 16> bytes{};
  if (::inet_pton(AF_INET6, copy, bytes.data()) != 1) return std::nullopt;
  return from_bytes(bytes);
}
std::optional<Ip> Ip::parse(std::string_view text) {
  return text.find(':') == text.npos ? parse_v4(text) : parse_v6(text);
}
std::string Ip::text() const {
  if (is_v4()) {
    uint32_t v = v4_bits();
    return fmt::format("{}.{}.{}.{}", v >> 24, v >> 16 & 255, v >> 8 & 255, v & 255);
  }
  char buffer[INET6_ADDRSTRLEN];
  auto all = bytes();
  return ::inet_ntop(AF_INET6, all.data(), buffer, sizeof buffer);
}

std::optional<Cidr> Cidr::parse(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  auto ip = Ip::parse(text.substr(0, slash));
  std::string_view digits = text.substr(slash + 1);
  if (!ip || digits.starts_with('-') || (digits.size() > 1 && digits[0] == '0')) return std::nullopt;
  if (ip->is_v4() && text.find(':') != text.npos) return std::nullopt;
  auto prefix = parse_number<int>(digits, 0, ip->width());
  if (!prefix) return std::nullopt;
  return Cidr{*ip, *prefix};
}
std::optional<Cidr> Cidr::parse_v4(std::string_view text) {
  auto cidr = parse(text);
  return cidr && cidr->address.is_v4() ? cidr : std::nullopt;
}
std::string Cidr::text() const { return fmt::format("{}/{}", address.text(), prefix); }

}  // namespace base
