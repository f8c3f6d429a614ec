// Operators, conversions and what the language itself has.
#include <charconv>
#include <cmath>

#include "api/cel/functions.h"

namespace api::cel {
namespace {

using C = Context&;
using A = const Value*;

bool overflow(C c) { return c.fail("integer overflow"); }

template <bool (*Builtin)(int64_t, int64_t, int64_t*)>
bool on_ints(C c, const Node&, A a, size_t, Value* out) {
  int64_t result;
  return Builtin(a[0].integer, a[1].integer, &result) ? overflow(c) : give(out, Value::of(result));
}
template <bool (*Builtin)(uint64_t, uint64_t, uint64_t*)>
bool on_uints(C c, const Node&, A a, size_t, Value* out) {
  uint64_t result;
  return Builtin(a[0].uinteger, a[1].uinteger, &result) ? c.fail("unsigned integer overflow")
                                                        : give(out, Value::of(result));
}
bool add_int(int64_t a, int64_t b, int64_t* out) { return __builtin_add_overflow(a, b, out); }
bool take_int(int64_t a, int64_t b, int64_t* out) { return __builtin_sub_overflow(a, b, out); }
bool times_int(int64_t a, int64_t b, int64_t* out) { return __builtin_mul_overflow(a, b, out); }
bool add_uint(uint64_t a, uint64_t b, uint64_t* out) { return __builtin_add_overflow(a, b, out); }
bool take_uint(uint64_t a, uint64_t b, uint64_t* out) { return __builtin_sub_overflow(a, b, out); }
bool times_uint(uint64_t a, uint64_t b, uint64_t* out) { return __builtin_mul_overflow(a, b, out); }

bool divide_ints(C c, const Node&, A a, size_t, Value* out) {
  if (a[1].integer == 0) return c.fail("division by zero");
  if (a[0].integer == INT64_MIN && a[1].integer == -1) return overflow(c);
  return give(out, Value::of(a[0].integer / a[1].integer));
}
bool divide_uints(C c, const Node&, A a, size_t, Value* out) {
  return a[1].uinteger == 0 ? c.fail("division by zero")
                            : give(out, Value::of(a[0].uinteger / a[1].uinteger));
}
bool modulo_ints(C c, const Node&, A a, size_t, Value* out) {
  if (a[1].integer == 0) return c.fail("modulus by zero");
  if (a[0].integer == INT64_MIN && a[1].integer == -1) return overflow(c);
  return give(out, Value::of(a[0].integer % a[1].integer));
}
bool modulo_uints(C c, const Node&, A a, size_t, Value* out) {
  return a[1].uinteger == 0 ? c.fail("modulus by zero") : give(out, Value::of(a[0].uinteger % a[1].uinteger));
}
bool add_reals(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(a[0].real + a[1].real));
}
bool take_reals(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(a[0].real - a[1].real));
}
bool times_reals(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(a[0].real * a[1].real));
}
bool divide_reals(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(a[0].real / a[1].real));
}
bool negate_int(C c, const Node&, A a, size_t, Value* out) {
  return a[0].integer == INT64_MIN ? overflow(c) : give(out, Value::of(-a[0].integer));
}
bool negate_real(C, const Node&, A a, size_t, Value* out) { return give(out, Value::of(-a[0].real)); }
bool negate_bool(C, const Node&, A a, size_t, Value* out) { return give(out, Value::of(!a[0].boolean)); }
bool add_texts(C c, const Node&, A a, size_t, Value* out) {
  std::string whole(a[0].text);
  whole += a[1].text;
  if (!c.charge(tenth(whole.size()))) return false;
  return give(
      out, a[0].kind == Kind::bytes ? Value::of_bytes(std::move(whole)) : Value::of_text(std::move(whole)));
}
// Of sets: the union; of map lists: the right side's items replace those of like keys. Kubernetes' rule.
bool add_lists(C c, const Node&, A a, size_t, Value* out) {
  size_t left = size_of(a[0]), right = size_of(a[1]);
  if (!c.charge(tenth(left + right))) return false;
  std::vector<Value> items;
  for (size_t i = 0; i < left; ++i) items.push_back(item_at(a[0], i));
  std::string_view type = a[0].schema ? std::string_view(a[0].schema->list_type) : std::string_view();
  auto like = [&](const Value& x, const Value& y) {
    if (type == "set") return equal(x, y);
    for (const std::string& key : a[0].schema->list_keys) {
      Value one, other;
      bool first = find_key(x, Value::of_view(key), &one), second = find_key(y, Value::of_view(key), &other);
      if (first != second || (first && !equal(one, other))) return false;
    }
    return true;
  };
  for (size_t i = 0; i < right; ++i) {
    Value item = item_at(a[1], i);
    if (type == "set" || (type == "map" && item.kind == Kind::map)) {
      if (!c.charge(left)) return false;
      bool found = false;
      for (size_t k = 0; k < left && !found; ++k)
        if ((found = like(items[k], item))) items[k] = item;
      if (found) continue;
    }
    items.push_back(std::move(item));
  }
  return give(out, Value::of_list(std::move(items)));
}

uint64_t weight(const Value& in) {
  if (in.kind == Kind::string || in.kind == Kind::bytes) return tenth(in.text.size());
  if (in.kind == Kind::list || in.kind == Kind::map) return size_of(in) + 1;
  return 0;
}
bool equals(C c, const Node&, A a, size_t, Value* out) {
  return c.charge(std::min(weight(a[0]), weight(a[1]))) && give(out, Value::of(equal(a[0], a[1])));
}
bool differs(C c, const Node&, A a, size_t, Value* out) {
  return c.charge(std::min(weight(a[0]), weight(a[1]))) && give(out, Value::of(!equal(a[0], a[1])));
}
template <typename Verdict>
bool ordered(C c, A a, Value* out, Verdict verdict) {
  int order = compare(a[0], a[1]);
  bool nan = order == 2 && (a[0].kind == Kind::real || a[1].kind == Kind::real);
  if (order == 2 && !nan) return c.fail("no such overload");
  return c.charge(std::min(weight(a[0]), weight(a[1]))) && give(out, Value::of(!nan && verdict(order)));
}
bool less(C c, const Node&, A a, size_t, Value* out) {
  return ordered(c, a, out, [](int o) { return o < 0; });
}
bool at_most(C c, const Node&, A a, size_t, Value* out) {
  return ordered(c, a, out, [](int o) { return o <= 0; });
}
bool more(C c, const Node&, A a, size_t, Value* out) {
  return ordered(c, a, out, [](int o) { return o > 0; });
}
bool at_least(C c, const Node&, A a, size_t, Value* out) {
  return ordered(c, a, out, [](int o) { return o >= 0; });
}

bool in_list(C c, const Node&, A a, size_t, Value* out) {
  size_t count = size_of(a[1]);
  for (size_t i = 0; i < count; ++i) {
    if (!c.charge(1)) return false;
    if (equal(a[0], item_at(a[1], i))) return give(out, Value::of(true));
  }
  return give(out, Value::of(false));
}
bool in_map(C, const Node&, A a, size_t, Value* out) {
  Value found;
  return give(out, Value::of(find_key(a[1], a[0], &found)));
}
// An index may be a uint, or a double without a fraction.
bool as_index(const Value& in, int64_t* out) {
  if (in.kind == Kind::integer) return *out = in.integer, true;
  if (in.kind == Kind::uinteger)
    return *out = static_cast<int64_t>(std::min<uint64_t>(in.uinteger, INT64_MAX)), true;
  if (in.kind != Kind::real || std::floor(in.real) != in.real || std::abs(in.real) > 1e18) return false;
  return *out = static_cast<int64_t>(in.real), true;
}
bool lookup(C c, const Value& from, const Value& at, std::optional<Value>* out, bool strict) {
  if (from.kind == Kind::list) {
    int64_t index;
    if (!as_index(at, &index)) return c.fail("unsupported index type '" + type_name(at) + "' in list");
    if (index >= 0 && static_cast<size_t>(index) < size_of(from))
      return *out = item_at(from, static_cast<size_t>(index)), true;
    return strict ? c.fail("index out of bounds: " + std::to_string(index)) : true;
  }
  if (from.kind != Kind::map) return c.fail("no such overload");
  Value found;
  if (find_key(from, at, &found)) return *out = std::move(found), true;
  return strict ? c.fail("no such key: " + (at.kind == Kind::string ? std::string(at.text) : shown(at)))
                : true;
}
bool element(C c, const Node&, A a, size_t, Value* out) {
  bool optional = a[0].kind == Kind::optional;
  const Value* from = optional ? inside(a[0]) : &a[0];
  std::optional<Value> found;
  if (from && !lookup(c, *from, a[1], &found, !optional)) return false;
  return give(out, optional ? Value::of_optional(std::move(found)) : std::move(*found));
}
bool optional_element(C c, const Node&, A a, size_t, Value* out) {
  const Value* from = a[0].kind == Kind::optional ? inside(a[0]) : &a[0];
  std::optional<Value> found;
  if (from && !lookup(c, *from, a[1], &found, false)) return false;
  return give(out, Value::of_optional(std::move(found)));
}
bool size(C, const Node&, A a, size_t, Value* out) {
  int64_t n = a[0].kind == Kind::string  ? runes_in(a[0].text)
              : a[0].kind == Kind::bytes ? static_cast<int64_t>(a[0].text.size())
                                         : static_cast<int64_t>(size_of(a[0]));
  return give(out, Value::of(n));
}

// ---- conversions ---------------------------------------------------------------------------------
bool same(C, const Node&, A a, size_t, Value* out) { return give(out, a[0]); }
bool type(C, const Node&, A a, size_t, Value* out) { return give(out, Value::of_type(type_name(a[0]))); }
template <typename Number>
bool parsed(std::string_view text, Number* out) {
  if (text.starts_with('+')) text.remove_prefix(1);
  auto end = std::from_chars(text.data(), text.data() + text.size(), *out);
  return end.ec == std::errc() && end.ptr == text.data() + text.size();
}
bool wrong_text(C c, A a, const char* to) {
  return c.fail("strconv." + std::string(to) + ": parsing " + shown(a[0]) + ": invalid syntax");
}
bool to_int(C c, const Node&, A a, size_t, Value* out) {
  switch (a[0].kind) {
    case Kind::uinteger:
      return a[0].uinteger > INT64_MAX ? overflow(c)
                                       : give(out, Value::of(static_cast<int64_t>(a[0].uinteger)));
    case Kind::real:
      if (!(a[0].real > -9223372036854775808.0 && a[0].real < 9223372036854775808.0)) return overflow(c);
      return give(out, Value::of(static_cast<int64_t>(a[0].real)));
    case Kind::timestamp: return give(out, Value::of(a[0].integer));
    case Kind::string: {
      int64_t value;
      return parsed(a[0].text, &value) ? give(out, Value::of(value)) : wrong_text(c, a, "ParseInt");
    }
    default: return give(out, Value::of(a[0].integer));
  }
}
bool to_uint(C c, const Node&, A a, size_t, Value* out) {
  switch (a[0].kind) {
    case Kind::integer:
      return a[0].integer < 0 ? c.fail("unsigned integer overflow")
                              : give(out, Value::of(static_cast<uint64_t>(a[0].integer)));
    case Kind::real:
      if (!(a[0].real >= 0 && a[0].real < 18446744073709551616.0)) return c.fail("unsigned integer overflow");
      return give(out, Value::of(static_cast<uint64_t>(a[0].real)));
    case Kind::string: {
      uint64_t value;
      return parsed(a[0].text, &value) ? give(out, Value::of(value)) : wrong_text(c, a, "ParseUint");
    }
    default: return give(out, a[0]);
  }
}
bool to_real(C c, const Node&, A a, size_t, Value* out) {
  switch (a[0].kind) {
    case Kind::integer: return give(out, Value::of(static_cast<double>(a[0].integer)));
    case Kind::uinteger: return give(out, Value::of(static_cast<double>(a[0].uinteger)));
    case Kind::string: {
      double value;
      return parsed(a[0].text, &value) ? give(out, Value::of(value)) : wrong_text(c, a, "ParseFloat");
    }
    default: return give(out, a[0]);
  }
}
bool to_bool(C c, const Node&, A a, size_t, Value* out) {
  std::string_view text = a[0].text;
  for (std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == yes) return give(out, Value::of(true));
  for (std::string_view no : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return give(out, Value::of(false));
  return wrong_text(c, a, "ParseBool");
}
bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    unsigned char lead = static_cast<unsigned char>(text[i]);
    size_t length = lead < 0x80                   ? 1
                    : lead >= 0xc2 && lead < 0xe0 ? 2
                    : lead >= 0xe0 && lead < 0xf0 ? 3
                    : lead >= 0xf0 && lead < 0xf5 ? 4
                                                  : 0;
    if (!length || i + length > text.size()) return false;
    for (size_t k = 1; k < length; ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    i += length;
  }
  return true;
}
bool to_text(C c, const Node&, A a, size_t, Value* out) {
  switch (a[0].kind) {
    case Kind::timestamp: return give(out, Value::of_text(timestamp_text(a[0].integer, a[0].nanos)));
    case Kind::duration: return give(out, Value::of_text(duration_text(a[0].integer)));
    case Kind::uinteger: return give(out, Value::of_text(std::to_string(a[0].uinteger)));
    case Kind::bytes:
      if (!c.charge(tenth(a[0].text.size()))) return false;
      return is_utf8(a[0].text) ? give(out, Value::of_text(std::string(a[0].text)))
                                : c.fail("invalid UTF-8 in bytes, cannot convert to string");
    default: return give(out, Value::of_text(shown(a[0])));
  }
}
bool to_bytes(C c, const Node&, A a, size_t, Value* out) {
  return c.charge(tenth(a[0].text.size())) && give(out, Value::of_bytes(std::string(a[0].text)));
}

// ---- optionals -----------------------------------------------------------------------------------
bool some(C, const Node&, A a, size_t, Value* out) { return give(out, Value::of_optional(a[0])); }
bool none(C, const Node&, A, size_t, Value* out) { return give(out, Value::of_optional(std::nullopt)); }
bool some_unless_zero(C, const Node&, A a, size_t, Value* out) {
  bool zero = false;
  switch (a[0].kind) {
    case Kind::null: zero = true; break;
    case Kind::boolean: zero = !a[0].boolean; break;
    case Kind::integer:
    case Kind::uinteger:
    case Kind::duration: zero = a[0].integer == 0; break;
    case Kind::real: zero = a[0].real == 0; break;
    case Kind::string:
    case Kind::bytes: zero = a[0].text.empty(); break;
    case Kind::list:
    case Kind::map: zero = size_of(a[0]) == 0; break;
    default: break;
  }
  return give(out, Value::of_optional(zero ? std::nullopt : std::optional<Value>(a[0])));
}
bool has_value(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(inside(a[0]) != nullptr));
}
bool value(C c, const Node&, A a, size_t, Value* out) {
  const Value* in = inside(a[0]);
  return in ? give(out, *in) : c.fail("optional.none() dereference");
}
bool or_value(C, const Node&, A a, size_t, Value* out) {
  return give(out, inside(a[0]) ? *inside(a[0]) : a[1]);
}
bool or_other(C, const Node&, A a, size_t, Value* out) { return give(out, inside(a[0]) ? a[0] : a[1]); }

constexpr Row kCoreRows[] = {
    {"_+_(int, int) int", on_ints<add_int>},
    {"_+_(uint, uint) uint", on_uints<add_uint>},
    {"_+_(double, double) double", add_reals},
    {"_+_(string, string) string", add_texts},
    {"_+_(bytes, bytes) bytes", add_texts},
    {"_+_(list(A), list(A)) list(A)", add_lists},
    {"_-_(int, int) int", on_ints<take_int>},
    {"_-_(uint, uint) uint", on_uints<take_uint>},
    {"_-_(double, double) double", take_reals},
    {"_*_(int, int) int", on_ints<times_int>},
    {"_*_(uint, uint) uint", on_uints<times_uint>},
    {"_*_(double, double) double", times_reals},
    {"_/_(int, int) int", divide_ints},
    {"_/_(uint, uint) uint", divide_uints},
    {"_/_(double, double) double", divide_reals},
    {"_%_(int, int) int", modulo_ints},
    {"_%_(uint, uint) uint", modulo_uints},
    {"-_(int) int", negate_int},
    {"-_(double) double", negate_real},
    {"!_(bool) bool", negate_bool},
    {"_==_(A, A) bool", equals},
    {"_!=_(A, A) bool", differs},
#define COMPARED(symbol, function)                                                          \
  {symbol "(int, int) bool", function}, {symbol "(uint, uint) bool", function},             \
      {symbol "(double, double) bool", function}, {symbol "(int, uint) bool", function},    \
      {symbol "(int, double) bool", function}, {symbol "(uint, int) bool", function},       \
      {symbol "(uint, double) bool", function}, {symbol "(double, int) bool", function},    \
      {symbol "(double, uint) bool", function}, {symbol "(string, string) bool", function}, \
      {symbol "(bytes, bytes) bool", function}, {symbol "(bool, bool) bool", function},     \
      {symbol "(timestamp, timestamp) bool", function}, {                                   \
    symbol "(duration, duration) bool", function                                            \
  }
    COMPARED("_<_", less),
    COMPARED("_<=_", at_most),
    COMPARED("_>_", more),
    COMPARED("_>=_", at_least),
#undef COMPARED
    {"@in(A, list(A)) bool", in_list},
    {"@in(A, map(A, B)) bool", in_map},
    {"@in(string, object) bool", in_map},
    {"_[_](list(A), int) A", element},
    {"_[_](map(A, B), A) B", element},
    {"_[_](object, string) dyn", element},
    {"_[_](dyn, dyn) dyn", element},
    {"_[?_](list(A), int) optional(A)", optional_element},
    {"_[?_](map(A, B), A) optional(B)", optional_element},
    {"_[?_](optional(A), dyn) optional(dyn)", optional_element},
    {"size(string) int", size},
    {"size(bytes) int", size},
    {"size(list(A)) int", size},
    {"size(map(A, B)) int", size},
    {"string.size() int", size},
    {"bytes.size() int", size},
    {"list(A).size() int", size},
    {"map(A, B).size() int", size},
    {"type(A) type", type},
    {"dyn(A) dyn", same},
    {"int(int) int", to_int},
    {"int(uint) int", to_int},
    {"int(double) int", to_int},
    {"int(string) int", to_int},
    {"int(timestamp) int", to_int},
    {"uint(uint) uint", to_uint},
    {"uint(int) uint", to_uint},
    {"uint(double) uint", to_uint},
    {"uint(string) uint", to_uint},
    {"double(double) double", to_real},
    {"double(int) double", to_real},
    {"double(uint) double", to_real},
    {"double(string) double", to_real},
    {"bool(bool) bool", same},
    {"bool(string) bool", to_bool},
    {"string(string) string", same},
    {"string(bool) string", to_text},
    {"string(int) string", to_text},
    {"string(uint) string", to_text},
    {"string(double) string", to_text},
    {"string(bytes) string", to_text},
    {"string(timestamp) string", to_text},
    {"string(duration) string", to_text},
    {"bytes(bytes) bytes", same},
    {"bytes(string) bytes", to_bytes},
    {"optional.of(A) optional(A)", some},
    {"optional.none() optional(dyn)", none},
    {"optional.ofNonZeroValue(A) optional(A)", some_unless_zero},
    {"optional(A).hasValue() bool", has_value},
    {"optional(A).value() A", value},
    {"optional(A).orValue(A) A", or_value},
    {"optional(A).or(optional(A)) optional(A)", or_other},
};

}  // namespace

std::span<const Row> core_functions() { return kCoreRows; }

}  // namespace api::cel
