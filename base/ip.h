// Ip: an address of either family in 16 bytes, and Cidr, a range of them by prefix. Text is taken as
// inet_pton(3) takes it and nothing else: no leading zeros, no zone, no blanks; written in the canonical form
// (RFC 5952). An IPv4 address lies in ::ffff:0:0/96, so ::ffff:10.0.0.1 is 10.0.0.1. Pure values; no I/O.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace base {

class Ip {
 public:
  constexpr Ip() = default;  // "::"
  static constexpr Ip v4(uint32_t host_order) { return Ip(0, kMapped | host_order); }
  static constexpr Ip v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    return v4(uint32_t{a} << 24 | uint32_t{b} << 16 | uint32_t{c} << 8 | d);
  }
  static constexpr Ip v6(uint64_t high, uint64_t low) { return Ip(high, low); }  // host order
  static constexpr Ip from_bytes(const std::array<uint8_t, 16>& bytes) {
    uint64_t halves[2] = {};
    for (size_t i = 0; i < 16; ++i) halves[i / 8] = halves[i / 8] << 8 | bytes[i];
    return Ip(halves[0], halves[1]);
  }
  static std::optional<Ip> parse(std::string_view text);     // either family
  static std::optional<Ip> parse_v4(std::string_view text);  // "10.0.0.1" alone
  static std::optional<Ip> parse_v6(std::string_view text);  // with colons; a mapped address is_v4()

  constexpr bool is_v4() const { return high_ == 0 && low_ >> 32 == kMapped >> 32; }
  constexpr int width() const { return is_v4() ? 32 : 128; }
  constexpr uint32_t v4_bits() const { return static_cast<uint32_t>(low_); }  // host order
  constexpr uint64_t high() const { return high_; }
  constexpr uint64_t low() const { return low_; }
  constexpr std::array<uint8_t, 16> bytes() const {
    std::array<uint8_t, 16> out{};
    for (size_t i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>((i < 8 ? high_ : low_) >> (56 - i % 8 * 8));
    return out;
  }
  std::string text() const;

  constexpr bool is_unspecified() const { return high_ == 0 && (low_ == 0 || low_ == kMapped); }
  constexpr bool is_loopback() const { return is_v4() ? v4_bits() >> 24 == 127 : high_ == 0 && low_ == 1; }
  constexpr bool is_link_local() const {
    return is_v4() ? v4_bits() >> 16 == 0xa9fe : high_ >> 54 == 0xfe80 >> 6;
  }
  constexpr bool is_multicast() const { return is_v4() ? v4_bits() >> 28 == 0xe : high_ >> 56 == 0xff; }

  // `count` addresses further on; past the last of all it goes on at "::".
  constexpr Ip plus(uint64_t count) const { return Ip(high_ + (low_ + count < low_), low_ + count); }
  // How many addresses `other` lies behind this one; more than UINT64_MAX reads as that, none as 0.
  constexpr uint64_t distance_to(Ip other) const {
    if (other < *this) return 0;
    uint64_t high = other.high_ - high_ - (other.low_ < low_);
    return high ? UINT64_MAX : other.low_ - low_;
  }
  // The first `bits` (of width()) kept, the others all 0 or all 1.
  constexpr Ip first_of(int bits) const { return Ip(high_ & ~host(bits).high_, low_ & ~host(bits).low_); }
  constexpr Ip last_of(int bits) const { return Ip(high_ | host(bits).high_, low_ | host(bits).low_); }

  constexpr auto operator<=>(const Ip&) const = default;
  constexpr uint64_t hash() const {
    uint64_t mixed = (high_ ^ low_ * 0x9e3779b97f4a7c15) * 0xc2b2ae3d27d4eb4f;
    return mixed ^ mixed >> 29;
  }

 private:
  static constexpr uint64_t kMapped = uint64_t{0xffff} << 32;
  constexpr Ip(uint64_t high, uint64_t low) : high_(high), low_(low) {}
  constexpr Ip host(int bits) const {
    int kept = bits + (is_v4() ? 96 : 0);
    uint64_t high = kept >= 64 ? 0 : ~uint64_t{0} >> kept;
    uint64_t low = kept >= 128 ? 0 : kept <= 64 ? ~uint64_t{0} : ~uint64_t{0} >> (kept - 64);
    return Ip(high, low);
  }
  uint64_t high_ = 0, low_ = 0;
};
static_assert(sizeof(Ip) == 16);

struct Cidr {
  Ip address;      // as it was written: may have host bits
  int prefix = 0;  // of address.width()

  // "10.0.0.0/8": no leading zeros in the prefix. A mapped address is refused: its prefix would be of which?
  static std::optional<Cidr> parse(std::string_view text);
  static std::optional<Cidr> parse_v4(std::string_view text);
  constexpr bool contains(Ip ip) const {
    return ip.is_v4() == address.is_v4() && ip.first_of(prefix) == first();
  }
  constexpr bool overlaps(const Cidr& other) const {
    return contains(other.first()) || other.contains(first());
  }
  constexpr Ip first() const { return address.first_of(prefix); }
  constexpr Ip last() const { return address.last_of(prefix); }
  constexpr Cidr canonical() const { return {first(), prefix}; }
  constexpr bool is_canonical() const { return first() == address; }
  std::string text() const;  // with the host bits that it has
  constexpr auto operator<=>(const Cidr&) const = default;
};

}  // namespace base

template <>
struct std::hash<base::Ip> {
  size_t operator()(const base::Ip& ip) const noexcept { return ip.hash(); }
};
