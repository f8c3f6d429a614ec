// Strings: the language's own, the strings extension (version 2, as Kubernetes enables it) and regular
// expressions. Positions count code points.
#include <re2/re2.h>

#include <algorithm>
#include <cmath>

#include "api/cel/functions.h"

namespace api::cel {
namespace {

using C = Context&;
using A = const Value*;

// Byte offset of a code point; npos past the end.
size_t offset_of(std::string_view text, int64_t rune) {
  size_t at = 0;
  for (; rune > 0 && at < text.size(); --rune)
    for (++at; at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;) ++at;
  return rune == 0 ? at : std::string_view::npos;
}
bool out_of_range(C c, int64_t index) { return c.fail("index out of range: " + std::to_string(index)); }

bool starts_with(C c, const Node&, A a, size_t, Value* out) {
  return c.charge(tenth(a[1].text.size())) && give(out, Value::of(a[0].text.starts_with(a[1].text)));
}
bool ends_with(C c, const Node&, A a, size_t, Value* out) {
  return c.charge(tenth(a[1].text.size())) && give(out, Value::of(a[0].text.ends_with(a[1].text)));
}
bool text_contains(C c, const Node&, A a, size_t, Value* out) {
  return c.charge(tenth(a[0].text.size()) * tenth(a[1].text.size())) &&
         give(out, Value::of(a[0].text.find(a[1].text) != std::string_view::npos));
}
bool matches(C c, const Node& call, A a, size_t, Value* out) {
  if (!c.charge(tenth(a[0].text.size()) * (a[1].text.size() / 4 + 1))) return false;
  auto pattern = pattern_of(c, call, a[1].text);
  return pattern && give(out, Value::of(re2::RE2::PartialMatch(
                                  re2::StringPiece(a[0].text.data(), a[0].text.size()), *pattern)));
}
bool find(C c, const Node& call, A a, size_t, Value* out) {
  if (!c.charge(tenth(a[0].text.size()) * (a[1].text.size() / 4 + 1))) return false;
  auto pattern = pattern_of(c, call, a[1].text);
  if (!pattern) return false;
  re2::StringPiece whole(a[0].text.data(), a[0].text.size()), found;
  bool has = pattern->Match(whole, 0, whole.size(), re2::RE2::UNANCHORED, &found, 1);
  return give(out, Value::of_text(has ? std::string(found.data(), found.size()) : ""));
}
bool find_all(C c, const Node& call, A a, size_t n, Value* out) {
  if (!c.charge(tenth(a[0].text.size()) * (a[1].text.size() / 4 + 1))) return false;
  auto pattern = pattern_of(c, call, a[1].text);
  if (!pattern) return false;
  int64_t limit = n > 2 ? a[2].integer : -1;
  re2::StringPiece whole(a[0].text.data(), a[0].text.size()), found;
  std::vector<Value> all;
  for (size_t at = 0; at <= whole.size() && (limit < 0 || static_cast<int64_t>(all.size()) < limit);) {
    if (!pattern->Match(whole, at, whole.size(), re2::RE2::UNANCHORED, &found, 1)) break;
    all.push_back(Value::of_text(std::string(found.data(), found.size())));
    size_t end = static_cast<size_t>(found.data() - whole.data()) + found.size();
    at = found.empty() ? end + 1 : end;
    if (!c.charge(1)) return false;
  }
  return give(out, Value::of_list(std::move(all)));
}

bool char_at(C c, const Node&, A a, size_t, Value* out) {
  int64_t index = a[1].integer, count = runes_in(a[0].text);
  if (index < 0 || index > count) return out_of_range(c, index);
  size_t at = offset_of(a[0].text, index), end = index == count ? at : offset_of(a[0].text, index + 1);
  return give(out, Value::of_text(std::string(a[0].text.substr(at, end - at))));
}
bool text_index_of(C c, const Node&, A a, size_t n, Value* out) {
  if (!c.charge(tenth(a[0].text.size()) * tenth(a[1].text.size()))) return false;
  int64_t from = n > 2 ? a[2].integer : 0;
  size_t at = from < 0 ? std::string_view::npos : offset_of(a[0].text, from);
  if (at == std::string_view::npos) return out_of_range(c, from);
  size_t found = a[0].text.find(a[1].text, at);
  return give(
      out, Value::of(found == std::string_view::npos ? int64_t{-1} : runes_in(a[0].text.substr(0, found))));
}
bool text_last_index_of(C c, const Node&, A a, size_t n, Value* out) {
  if (!c.charge(tenth(a[0].text.size()) * tenth(a[1].text.size()))) return false;
  int64_t from = n > 2 ? a[2].integer : runes_in(a[0].text);
  size_t at = from < 0 ? std::string_view::npos : offset_of(a[0].text, from);
  if (at == std::string_view::npos) return out_of_range(c, from);
  size_t found = a[0].text.rfind(a[1].text, at);
  return give(
      out, Value::of(found == std::string_view::npos ? int64_t{-1} : runes_in(a[0].text.substr(0, found))));
}
bool substring(C c, const Node&, A a, size_t n, Value* out) {
  int64_t count = runes_in(a[0].text), begin = a[1].integer, end = n > 2 ? a[2].integer : count;
  if (!c.charge(tenth(a[0].text.size()))) return false;
  if (begin < 0 || begin > count) return out_of_range(c, begin);
  if (end < 0 || end > count) return out_of_range(c, end);
  if (begin > end)
    return c.fail("invalid substring range. start: " + std::to_string(begin) +
                  ", end: " + std::to_string(end));
  size_t at = offset_of(a[0].text, begin);
  return give(out, Value::of_text(std::string(a[0].text.substr(at, offset_of(a[0].text, end) - at))));
}
template <char Low, char High, int Shift>
bool ascii_case(C c, const Node&, A a, size_t, Value* out) {
  std::string text(a[0].text);
  for (char& one : text)
    if (one >= Low && one <= High) one = static_cast<char>(one + Shift);
  return c.charge(tenth(text.size())) && give(out, Value::of_text(std::move(text)));
}
bool replace(C c, const Node&, A a, size_t n, Value* out) {
  std::string_view text = a[0].text, from = a[1].text, to = a[2].text;
  int64_t left = n > 3 ? a[3].integer : -1;
  std::string result;
  size_t at = 0;
  while (left != 0) {
    size_t found = from.empty() ? at : text.find(from, at);
    if (found == std::string_view::npos || found > text.size()) break;
    result += text.substr(at, found - at);
    result += to;
    if (!c.charge(tenth(found - at + to.size()))) return false;
    at = found + from.size();
    if (from.empty()) {  // between all code points, as Go does
      if (at >= text.size()) {
        at = text.size() + 1;
        break;
      }
      size_t next = at + offset_of(text.substr(at), 1);
      result += text.substr(at, next - at);
      at = next;
    }
    if (left > 0) --left;
  }
  if (at <= text.size()) result += text.substr(at);
  return c.charge(tenth(result.size())) && give(out, Value::of_text(std::move(result)));
}
bool split(C c, const Node&, A a, size_t n, Value* out) {
  std::string_view text = a[0].text, by = a[1].text;
  int64_t limit = n > 2 ? a[2].integer : -1;
  if (!c.charge(tenth(text.size()))) return false;
  std::vector<Value> parts;
  auto push = [&](std::string_view part) { parts.push_back(Value::of_text(std::string(part))); };
  if (limit == 0) return give(out, Value::of_list({}));
  size_t at = 0;
  while (limit < 0 || static_cast<int64_t>(parts.size()) + 1 < limit) {
    if (by.empty() && at >= text.size()) break;
    size_t found = by.empty() ? at + offset_of(text.substr(at), 1) : text.find(by, at);
    if (found == std::string_view::npos || (by.empty() && found >= text.size())) break;
    push(text.substr(at, found - at));
    if (!c.charge(1)) return false;
    at = found + by.size();
  }
  if (!(by.empty() && text.empty())) push(text.substr(at));
  return give(out, Value::of_list(std::move(parts)));
}
// Unicode's white space.
size_t blank_at(std::string_view text) {
  static constexpr std::string_view kBlank[] = {
      " ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\u0085", "\u00a0", "\u1680",
      "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008",
      "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};
  for (std::string_view one : kBlank)
    if (text.starts_with(one)) return one.size();
  return 0;
}
bool trim(C c, const Node&, A a, size_t, Value* out) {
  std::string_view text = a[0].text;
  while (size_t blank = blank_at(text)) text.remove_prefix(blank);
  for (;;) {
    size_t begin = text.size();
    while (begin > 0 && (static_cast<unsigned char>(text[--begin]) & 0xc0) == 0x80) {
    }
    if (text.empty() || blank_at(text.substr(begin)) != text.size() - begin) break;
    text = text.substr(0, begin);
  }
  return c.charge(tenth(a[0].text.size())) && give(out, Value::of_text(std::string(text)));
}
bool reverse_text(C c, const Node&, A a, size_t, Value* out) {
  std::string_view text = a[0].text;
  std::string result;
  for (size_t end = text.size(); end > 0;) {
    size_t at = end - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
    result += text.substr(at, end - at);
    end = at;
  }
  return c.charge(tenth(text.size())) && give(out, Value::of_text(std::move(result)));
}
bool join(C c, const Node&, A a, size_t n, Value* out) {
  std::string result;
  size_t count = size_of(a[0]);
  for (size_t i = 0; i < count; ++i) {
    Value one = item_at(a[0], i);
    if (one.kind != Kind::string) return c.fail("no such overload");
    if (i && n > 1) result += a[1].text;
    result += one.text;
    if (!c.charge(tenth(one.text.size()))) return false;
  }
  return give(out, Value::of_text(std::move(result)));
}
bool quote(C c, const Node&, A a, size_t, Value* out) {
  std::string result = "\"";
  for (char one : a[0].text) {
    constexpr std::string_view kFrom = "\a\b\f\n\r\t\v\\\"", kTo = "abfnrtv\\\"";
    if (size_t known = kFrom.find(one); known != kFrom.npos) result += '\\', result += kTo[known];
    else result += one;
  }
  return c.charge(tenth(result.size())) && give(out, Value::of_text(result + "\""));
}
// "%s of %d": as the strings extension formats.
std::string format_real(double in, const char* form, int precision) {
  if (std::isnan(in)) return "NaN";
  if (std::isinf(in)) return in > 0 ? "Infinity" : "-Infinity";
  return fmt::format(fmt::runtime(form), in, precision);
}
std::string format_one(const Value& in) {
  switch (in.kind) {
    case Kind::string:
    case Kind::bytes: return std::string(in.text);
    case Kind::real: return format_real(in.real, "{0}", 0);
    case Kind::timestamp: return timestamp_text(in.integer, in.nanos);
    case Kind::duration: return duration_text(in.integer);
    case Kind::uinteger: return std::to_string(in.uinteger);
    case Kind::type: return std::string(in.text);
    case Kind::list: {
      std::string out = "[";
      for (size_t i = 0; i < size_of(in); ++i) out += (i ? ", " : "") + format_one(item_at(in, i));
      return out + "]";
    }
    case Kind::map: {
      std::vector<std::string> parts;
      each_entry(in, [&](const Value& k, const Value& v) {
        return parts.push_back(format_one(k) + ": " + format_one(v)), true;
      });
      std::sort(parts.begin(), parts.end());
      std::string out = "{";
      for (const auto& part : parts) out += (out.size() > 1 ? ", " : "") + part;
      return out + "}";
    }
    default: return shown(in);
  }
}
bool format(C c, const Node&, A a, size_t, Value* out) {
  std::string result;
  std::string_view text = a[0].text;
  size_t next = 0;
  if (!c.charge(tenth(text.size()))) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    if (++i >= text.size()) return c.fail("unexpected end of string");
    if (text[i] == '%') {
      result += '%';
      continue;
    }
    int precision = 6;
    if (text[i] == '.') {
      precision = 0;
      for (++i; i < text.size() && text[i] >= '0' && text[i] <= '9' && precision < 1000; ++i)
        precision = precision * 10 + (text[i] - '0');
      if (i >= text.size() || precision > 100) return c.fail("invalid precision");
    }
    if (next >= size_of(a[1])) return c.fail("index " + std::to_string(next) + " out of range");
    Value one = item_at(a[1], next++);
    bool number = one.kind == Kind::integer || one.kind == Kind::uinteger, real = one.kind == Kind::real;
    double as_real = real                        ? one.real
                     : one.kind == Kind::integer ? static_cast<double>(one.integer)
                                                 : static_cast<double>(one.uinteger);
    auto based = [&](const char* form) {
      bool negative = one.kind == Kind::integer && one.integer < 0;
      return (negative ? "-" : "") +
             fmt::format(fmt::runtime(form), negative ? 0 - one.uinteger : one.uinteger);
    };
    auto bad = [&](const char* wanted) {
      return c.fail("error during formatting: " + std::string(wanted) + " but got " + type_name(one));
    };
    switch (text[i]) {
      case 's': result += format_one(one); break;
      case 'd':
        if (!number && !real) return bad("decimal clause can only be used on integers");
        result += format_one(one);
        break;
      case 'f':
        if (!number && !real) return bad("fixed-point clause can only be used on doubles");
        result += format_real(as_real, "{0:.{1}f}", precision);
        break;
      case 'e':
        if (!number && !real) return bad("scientific clause can only be used on doubles");
        result += format_real(as_real, "{0:.{1}e}", precision);
        break;
      case 'b':
        if (one.kind == Kind::boolean) result += one.boolean ? "1" : "0";
        else if (number) result += based("{:b}");
        else return bad("only integers and bools can be formatted as binary");
        break;
      case 'o':
        if (!number) return bad("octal clause can only be used on integers");
        result += based("{:o}");
        break;
      case 'x':
      case 'X':
        if (number) result += based(text[i] == 'x' ? "{:x}" : "{:X}");
        else if (one.kind == Kind::string || one.kind == Kind::bytes)
          for (unsigned char byte : one.text)
            result += text[i] == 'x' ? fmt::format("{:02x}", byte) : fmt::format("{:02X}", byte);
        else return bad("only integers, byte buffers, and strings can be formatted as hex");
        break;
      default:
        return c.fail("could not parse formatting clause: unrecognized formatting clause \"" +
                      std::string(1, text[i]) + "\"");
    }
    if (!c.charge(tenth(result.size()))) return false;
  }
  return give(out, Value::of_text(std::move(result)));
}

constexpr Row kTextRows[] = {
    {"string.startsWith(string) bool", starts_with},
    {"string.endsWith(string) bool", ends_with},
    {"string.contains(string) bool", text_contains},
    {"matches(string, string) bool", matches},
    {"string.matches(string) bool", matches},
    {"string.find(string) string", find},
    {"string.findAll(string) list(string)", find_all},
    {"string.findAll(string, int) list(string)", find_all},
    {"string.charAt(int) string", char_at},
    {"string.indexOf(string) int", text_index_of},
    {"string.indexOf(string, int) int", text_index_of},
    {"string.lastIndexOf(string) int", text_last_index_of},
    {"string.lastIndexOf(string, int) int", text_last_index_of},
    {"string.substring(int) string", substring},
    {"string.substring(int, int) string", substring},
    {"string.lowerAscii() string", ascii_case<'A', 'Z', 32>},
    {"string.upperAscii() string", ascii_case<'a', 'z', -32>},
    {"string.replace(string, string) string", replace},
    {"string.replace(string, string, int) string", replace},
    {"string.split(string) list(string)", split},
    {"string.split(string, int) list(string)", split},
    {"string.trim() string", trim},
    {"string.reverse() string", reverse_text},
    {"list(string).join() string", join},
    {"list(string).join(string) string", join},
    {"strings.quote(string) string", quote},
    {"string.format(list(dyn)) string", format},
};

}  // namespace

std::span<const Row> text_functions() { return kTextRows; }

}  // namespace api::cel
