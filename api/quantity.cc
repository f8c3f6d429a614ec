#include "api/quantity.h"

#include <algorithm>

namespace api {
namespace {

using Wide = unsigned __int128;
constexpr __int128 kNano = 1'000'000'000;
constexpr __int128 kMax = static_cast<__int128>(INT64_MAX) * kNano;

base::Error bad_quantity(std::string_view text, const char* reason) {
  return base::make_error(base::Kind::kInvalid, "parse quantity", std::string(text), reason);
}
constexpr char kForm[] =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
constexpr char kSuffix[] = "unable to parse quantity's suffix";

struct Suffix {
  int ten = 0, two = 0;  // powers
  Quantity::Format format = Quantity::Format::kDecimalSi;
};
bool parse_suffix(std::string_view text, Suffix* out) {
  using enum Quantity::Format;
  static constexpr std::string_view kLetters = "kMGTPE", kBinary = "KMGTPE", kSmall = "num";
  if (text.empty()) return true;
  if (text.size() == 1) {
    if (size_t i = kLetters.find(text[0]); i != kLetters.npos)
      return out->ten = 3 * (static_cast<int>(i) + 1), true;
    if (size_t i = kSmall.find(text[0]); i != kSmall.npos)
      return out->ten = 3 * (static_cast<int>(i) - 3), true;
    return false;
  }
  if (text.size() == 2 && text[1] == 'i') {
    size_t i = kBinary.find(text[0]);
    if (i == kBinary.npos) return false;
    *out = {0, 10 * (static_cast<int>(i) + 1), kBinarySi};
    return true;
  }
  if (text[0] != 'e' && text[0] != 'E') return false;
  text.remove_prefix(1);
  bool negative = text[0] == '-';
  if (text[0] == '-' || text[0] == '+') text.remove_prefix(1);
  if (text.empty() || text.size() > 6) return false;
  int n = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    n = n * 10 + (c - '0');
  }
  *out = {negative ? -n : n, 0, kDecimalExponent};
  return true;
}

// '[eEinumkKMGTP]*[-+]?[0-9]*': what is not of this form has another error than a suffix that nobody knows.
bool has_suffix_form(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of("eEinumkKMGTP"), text.size()));
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  return text.find_first_not_of("0123456789") == text.npos;
}

std::string digits(__int128 n) {
  if (n == 0) return "0";
  bool negative = n < 0;
  std::string out;
  for (Wide w = negative ? static_cast<Wide>(-n) : static_cast<Wide>(n); w; w /= 10)
    out.push_back(static_cast<char>('0' + static_cast<int>(w % 10)));
  if (negative) out.push_back('-');
  std::reverse(out.begin(), out.end());
  return out;
}
__int128 divide_away(__int128 n, __int128 by) {  // away from zero
  __int128 quotient = n / by;
  if (n % by) quotient += n > 0 ? 1 : -1;
  return quotient;
}

}  // namespace

base::Result<Quantity> Quantity::parse(std::string_view text) {
  std::string_view rest = text;
  bool negative = false;
  if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  Wide mantissa = 0;
  int exponent = 0;  // of ten
  bool any = false, point = false, lost = false;
  size_t at = std::min(rest.find_first_not_of("0123456789."), rest.size());
  Suffix suffix;
  std::string_view tail = rest.substr(at);
  bool suffix_right = parse_suffix(tail, &suffix);
  rest = rest.substr(0, at);
  const Wide most = Wide{1} << (suffix.two ? 60 : 120);  // leaves room for the power of two
  at = 0;
  for (; at < rest.size(); ++at) {
    char c = rest[at];
    if (c == '.') {
      if (point) return bad_quantity(text, kForm);
      point = true;
      continue;
    }
    any = true;
    if (mantissa < most) {
      mantissa = mantissa * 10 + static_cast<Wide>(c - '0');
      if (point) --exponent;
    } else {  // more digits than any quantity can hold: only their presence counts
      lost |= c != '0';
      if (!point) ++exponent;
    }
  }
  if (!any || !has_suffix_form(tail)) return bad_quantity(text, kForm);
  if (!suffix_right) return bad_quantity(text, kSuffix);
  Quantity out;
  out.format_ = suffix.format;
  mantissa <<= suffix.two;  // < 2^64 * 2^60
  exponent += suffix.ten + 9;
  for (; exponent > 0 && mantissa && mantissa <= static_cast<Wide>(kMax); --exponent) mantissa *= 10;
  for (; exponent < 0 && (mantissa || lost); ++exponent) {
    lost |= mantissa % 10 != 0;
    mantissa /= 10;
    if (!mantissa) break;
  }
  if (lost) ++mantissa;
  mantissa = std::min(mantissa, static_cast<Wide>(kMax));
  out.nanos_ = negative ? -static_cast<__int128>(mantissa) : static_cast<__int128>(mantissa);
  return out;
}

Quantity Quantity::of(int64_t units, Format format) {
  Quantity out;
  out.nanos_ = static_cast<__int128>(units) * kNano;
  out.format_ = format;
  out.cap();
  return out;
}
Quantity Quantity::of_milli(int64_t milli, Format format) {
  Quantity out;
  out.nanos_ = static_cast<__int128>(milli) * (kNano / 1000);
  out.format_ = format;
  return out;
}

int64_t Quantity::to_units() const { return static_cast<int64_t>(divide_away(nanos_, kNano)); }
int64_t Quantity::to_milli() const {
  __int128 milli = divide_away(nanos_, kNano / 1000);
  if (milli > INT64_MAX) return INT64_MAX;
  if (milli < -INT64_MAX) return -INT64_MAX;
  return static_cast<int64_t>(milli);
}

std::string Quantity::text() const {
  if (nanos_ == 0) return "0";
  Format format = format_;
  // Small or fractional binary amounts print as decimal ones, so that nothing is rounded.
  if (format == Format::kBinarySi && ((nanos_ > -1024 * kNano && nanos_ < 1024 * kNano) || nanos_ % kNano))
    format = Format::kDecimalSi;
  if (format == Format::kBinarySi) {
    __int128 n = nanos_ / kNano;
    size_t power = 0;
    for (; power < 6 && n % 1024 == 0; ++power) n /= 1024;
    static constexpr const char* kNames[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    return digits(n) + kNames[power];
  }
  __int128 n = nanos_;
  size_t power = 0;  // of a thousand, from nano
  for (; power < 9 && n % 1000 == 0; ++power) n /= 1000;
  static constexpr const char* kNames[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
  if (format == Format::kDecimalSi) return digits(n) + kNames[power];
  return digits(n) + (power == 3 ? "" : "e" + std::to_string(3 * (static_cast<int>(power) - 3)));
}

void Quantity::cap() { nanos_ = std::clamp(nanos_, -kMax, kMax); }
Quantity& Quantity::operator+=(const Quantity& other) {
  if (zero()) format_ = other.format_;
  nanos_ += other.nanos_;
  cap();
  return *this;
}
Quantity& Quantity::operator-=(const Quantity& other) {
  if (zero()) format_ = other.format_;
  nanos_ -= other.nanos_;
  cap();
  return *this;
}

int64_t milli_of(std::string_view text) {
  auto q = Quantity::parse(text);
  return q.ok() ? q->to_milli() : 0;
}
int64_t bytes_of(std::string_view text) {
  auto q = Quantity::parse(text);
  return q.ok() ? q->to_bytes() : 0;
}

}  // namespace api
