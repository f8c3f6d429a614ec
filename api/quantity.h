// Quantity: "500m", "1Gi", "1e3", exact to the nano, as Kubernetes' resource.Quantity prints and
// compares it. A plain value; magnitudes past 2^63-1 are capped, below a nano rounded away from 0.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace api {

class Quantity {
 public:
  enum class Format : uint8_t { kDecimalSi, kBinarySi, kDecimalExponent };

  Quantity() = default;
  static base::Result<Quantity> parse(std::string_view text);
  static Quantity of(int64_t units, Format format = Format::kDecimalSi);
  static Quantity of_milli(int64_t milli, Format format = Format::kDecimalSi);

  int64_t to_units() const;  // rounded up
  int64_t to_milli() const;  // rounded up
  int64_t to_bytes() const { return to_units(); }
  std::string text() const;  // canonical
  bool zero() const { return nanos_ == 0; }
  bool negative() const { return nanos_ < 0; }

  Quantity& operator+=(const Quantity& other);
  Quantity& operator-=(const Quantity& other);
  friend Quantity operator+(Quantity a, const Quantity& b) { return a += b; }
  friend Quantity operator-(Quantity a, const Quantity& b) { return a -= b; }
  // By amount; the format does not count.
  friend bool operator==(const Quantity& a, const Quantity& b) { return a.nanos_ == b.nanos_; }
  friend auto operator<=>(const Quantity& a, const Quantity& b) { return a.nanos_ <=> b.nanos_; }

 private:
  void cap();
  __int128 nanos_ = 0;
  Format format_ = Format::kDecimalSi;
};

// 0 for what does not parse: for objects that have passed validation.
int64_t milli_of(std::string_view text);
int64_t bytes_of(std::string_view text);

}  // namespace api
