// Kubernetes' own: quantities, semantic versions, named formats, keys of JSON patches.
#include <charconv>

#include "api/cel/functions.h"
#include "api/quantity.h"
#include "api/text_checks.h"
#include "api/text_formats.h"
#include "base/base64.h"

namespace api::cel {
namespace {

using C = Context&;
using A = const Value*;

struct Amount : Opaque {
  Quantity quantity;
  std::string_view type_name() const override { return "kubernetes.Quantity"; }
  bool equals(const Opaque& other) const override {
    return quantity == static_cast<const Amount&>(other).quantity;
  }
};
const Quantity& amount_of(const Value& in) { return opaque_as<Amount>(in)->quantity; }
bool give_amount(Value* out, const Quantity& quantity) {
  auto made = std::make_shared<Amount>();
  made->quantity = quantity;
  return give(out, of_opaque(std::move(made)));
}
bool to_quantity(C c, const Node&, A a, size_t, Value* out) {
  auto parsed = Quantity::parse(a[0].text);
  return parsed.ok() ? give_amount(out, *parsed)
                     : c.fail(
                           "quantities must match the regular expression "
                           "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}
bool is_quantity(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(Quantity::parse(a[0].text).ok()));
}
bool sign(C, const Node&, A a, size_t, Value* out) {
  const Quantity& q = amount_of(a[0]);
  return give(out, Value::of(int64_t{q.zero() ? 0 : q.negative() ? -1 : 1}));
}
Quantity amount(const Value& in) {
  return in.kind == Kind::integer ? Quantity::of(in.integer) : amount_of(in);
}
bool add_quantity(C, const Node&, A a, size_t, Value* out) {
  return give_amount(out, amount(a[0]) + amount(a[1]));
}
bool subtract_quantity(C, const Node&, A a, size_t, Value* out) {
  return give_amount(out, amount(a[0]) - amount(a[1]));
}
bool less_quantity(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(amount(a[0]) < amount(a[1])));
}
bool more_quantity(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(amount(a[0]) > amount(a[1])));
}
bool order_quantities(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(int64_t{amount(a[0]) < amount(a[1])   ? -1
                                     : amount(a[0]) > amount(a[1]) ? 1
                                                                   : 0}));
}
bool whole(const Quantity& q) { return Quantity::of(q.to_units()) == q; }
bool is_integer(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(whole(amount_of(a[0]))));
}
bool as_integer(C c, const Node&, A a, size_t, Value* out) {
  return whole(amount_of(a[0])) ? give(out, Value::of(amount_of(a[0]).to_units()))
                                : c.fail("cannot convert value to integer");
}
bool quantity_as_real(C, const Node&, A a, size_t, Value* out) {
  const Quantity& q = amount_of(a[0]);
  return give(out, Value::of(whole(q) ? static_cast<double>(q.to_units())
                                      : static_cast<double>(q.to_milli()) / 1000));
}

// ---- semantic versions ---------------------------------------------------------------------------
struct Semver : Opaque {
  uint64_t major = 0, minor = 0, patch = 0;
  std::vector<std::string> before;  // identifiers of a pre-release
  std::string_view type_name() const override { return "kubernetes.Semver"; }
  bool equals(const Opaque& other) const override { return compare(static_cast<const Semver&>(other)) == 0; }
  int compare(const Semver& other) const {
    for (auto [a, b] :
         {std::pair(major, other.major), std::pair(minor, other.minor), std::pair(patch, other.patch)})
      if (a != b) return a < b ? -1 : 1;
    if (before.empty() != other.before.empty()) return before.empty() ? 1 : -1;
    for (size_t i = 0; i < before.size() && i < other.before.size(); ++i) {
      const std::string &a = before[i], &b = other.before[i];
      bool x = a.find_first_not_of("0123456789") == a.npos, y = b.find_first_not_of("0123456789") == b.npos;
      if (x != y) return x ? -1 : 1;
      if (x && a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
      if (a != b) return a < b ? -1 : 1;
    }
    return before.size() == other.before.size() ? 0 : before.size() < other.before.size() ? -1 : 1;
  }
};
bool identifiers(std::string_view text, bool numbers_plain, std::vector<std::string>* out) {
  for (;;) {
    std::string part(text.substr(0, text.find('.')));
    bool digits = part.find_first_not_of("0123456789") == part.npos;
    if (part.empty() || part.find_first_not_of(
                            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != part.npos)
      return false;
    if (numbers_plain && digits && part.size() > 1 && part[0] == '0') return false;
    if (out) out->push_back(part);
    if (part.size() == text.size()) return true;
    text.remove_prefix(part.size() + 1);
  }
}
// With `tolerant`: "v1.0" and "01.2" are right too.
bool parse_semver(std::string_view text, bool tolerant, Semver* out) {
  if (tolerant && text.starts_with('v')) text.remove_prefix(1);
  if (size_t plus = text.find('+'); plus != text.npos) {
    if (!identifiers(text.substr(plus + 1), false, nullptr)) return false;
    text = text.substr(0, plus);
  }
  if (size_t dash = text.find('-'); dash != text.npos) {
    if (!identifiers(text.substr(dash + 1), true, &out->before)) return false;
    text = text.substr(0, dash);
  }
  uint64_t* parts[] = {&out->major, &out->minor, &out->patch};
  for (size_t i = 0; i < 3; ++i) {
    std::string_view digits = text.substr(0, text.find('.'));
    bool last = digits.size() == text.size();
    auto end = std::from_chars(digits.data(), digits.data() + digits.size(), *parts[i]);
    if (end.ec != std::errc() || end.ptr != digits.data() + digits.size() ||
        (!tolerant && digits.size() > 1 && digits[0] == '0'))
      return false;
    if (last) return i == 2 || tolerant;
    text.remove_prefix(digits.size() + 1);
  }
  return false;
}
const Semver& semver_of(const Value& in) { return *opaque_as<Semver>(in); }
bool to_semver(C c, const Node&, A a, size_t n, Value* out) {
  auto made = std::make_shared<Semver>();
  return parse_semver(a[0].text, n > 1 && a[1].boolean, made.get())
             ? give(out, of_opaque(std::move(made)))
             : c.fail("semver parse error during conversion from string: " + shown(a[0]));
}
bool is_semver(C, const Node&, A a, size_t n, Value* out) {
  Semver made;
  return give(out, Value::of(parse_semver(a[0].text, n > 1 && a[1].boolean, &made)));
}
bool major(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(static_cast<int64_t>(semver_of(a[0]).major)));
}
bool minor(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(static_cast<int64_t>(semver_of(a[0]).minor)));
}
bool patch(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(static_cast<int64_t>(semver_of(a[0]).patch)));
}
bool newer(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(semver_of(a[0]).compare(semver_of(a[1])) > 0));
}
bool older(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(semver_of(a[0]).compare(semver_of(a[1])) < 0));
}
bool versions(C, const Node&, A a, size_t, Value* out) {
  return give(out, Value::of(int64_t{semver_of(a[0]).compare(semver_of(a[1]))}));
}

// ---- formats -------------------------------------------------------------------------------------
using Sentences = std::vector<std::string>;
template <Sentences (*Check)(std::string_view)>
Sentences prefix_of(std::string_view text) {  // what generateName may be
  std::string whole(text);
  if (whole.ends_with('-')) whole.back() = 'a';
  return Check(whole);
}
template <const char* const& Name, const char* const& Why>
Sentences by_format(std::string_view text) {
  return has_format(Name, text) ? Sentences() : Sentences{Why};
}
constexpr const char *kUri = "uri", *kUuid = "uuid", *kDate = "date", *kDateTime = "date-time";
constexpr const char *kNotUri = "invalid URI", *kNotUuid = "does not match the UUID format",
                     *kNotDate = "invalid date", *kNotDateTime = "invalid datetime";
Sentences bytes(std::string_view text) {
  return base::base64_decode(text) ? Sentences() : Sentences{"invalid base64"};
}

struct NamedFormat {
  const char* name;
  Sentences (*check)(std::string_view);
};
constexpr NamedFormat kFormats[] = {
    {"dns1123Label", check_dns1123_label},
    {"dns1123Subdomain", check_dns1123_subdomain},
    {"dns1035Label", check_dns1035_label},
    {"qualifiedName", check_qualified_name},
    {"dns1123LabelPrefix", prefix_of<check_dns1123_label>},
    {"dns1123SubdomainPrefix", prefix_of<check_dns1123_subdomain>},
    {"dns1035LabelPrefix", prefix_of<check_dns1035_label>},
    {"labelValue", check_label_value},
    {"uri", by_format<kUri, kNotUri>},
    {"uuid", by_format<kUuid, kNotUuid>},
    {"byte", bytes},
    {"date", by_format<kDate, kNotDate>},
    {"datetime", by_format<kDateTime, kNotDateTime>},
};
struct Format : Opaque {
  const NamedFormat* format = nullptr;
  std::string_view type_name() const override { return "kubernetes.NamedFormat"; }
  bool equals(const Opaque& other) const override {
    return format == static_cast<const Format&>(other).format;
  }
};
Value format_at(const NamedFormat& row) {
  auto made = std::make_shared<Format>();
  made->format = &row;
  return of_opaque(std::move(made));
}
template <size_t I>
bool one_format(C, const Node&, A, size_t, Value* out) {
  return give(out, format_at(kFormats[I]));
}
bool named_format(C, const Node&, A a, size_t, Value* out) {
  for (const NamedFormat& row : kFormats)
    if (row.name == a[0].text) return give(out, Value::of_optional(format_at(row)));
  return give(out, Value::of_optional(std::nullopt));
}
bool validate(C c, const Node&, A a, size_t, Value* out) {
  if (!c.charge(tenth(a[1].text.size()))) return false;
  std::vector<Value> wrong;
  for (std::string& sentence : opaque_as<Format>(a[0])->format->check(a[1].text))
    wrong.push_back(Value::of_text(std::move(sentence)));
  return give(out,
              Value::of_optional(wrong.empty() ? std::nullopt
                                               : std::optional<Value>(Value::of_list(std::move(wrong)))));
}

bool escape_key(C c, const Node&, A a, size_t, Value* out) {
  std::string result;
  for (char one : a[0].text) result += one == '~' ? "~0" : one == '/' ? "~1" : std::string(1, one);
  return c.charge(tenth(result.size())) && give(out, Value::of_text(std::move(result)));
}

constexpr Row kKubernetesRows[] = {
    {"quantity(string) kubernetes.Quantity", to_quantity},
    {"isQuantity(string) bool", is_quantity},
    {"kubernetes.Quantity.sign() int", sign},
    {"kubernetes.Quantity.add(kubernetes.Quantity) kubernetes.Quantity", add_quantity},
    {"kubernetes.Quantity.add(int) kubernetes.Quantity", add_quantity},
    {"kubernetes.Quantity.sub(kubernetes.Quantity) kubernetes.Quantity", subtract_quantity},
    {"kubernetes.Quantity.sub(int) kubernetes.Quantity", subtract_quantity},
    {"kubernetes.Quantity.isLessThan(kubernetes.Quantity) bool", less_quantity},
    {"kubernetes.Quantity.isGreaterThan(kubernetes.Quantity) bool", more_quantity},
    {"kubernetes.Quantity.compareTo(kubernetes.Quantity) int", order_quantities},
    {"kubernetes.Quantity.isInteger() bool", is_integer},
    {"kubernetes.Quantity.asInteger() int", as_integer},
    {"kubernetes.Quantity.asApproximateFloat() double", quantity_as_real},
    {"semver(string) kubernetes.Semver", to_semver},
    {"semver(string, bool) kubernetes.Semver", to_semver},
    {"isSemver(string) bool", is_semver},
    {"isSemver(string, bool) bool", is_semver},
    {"kubernetes.Semver.major() int", major},
    {"kubernetes.Semver.minor() int", minor},
    {"kubernetes.Semver.patch() int", patch},
    {"kubernetes.Semver.isGreaterThan(kubernetes.Semver) bool", newer},
    {"kubernetes.Semver.isLessThan(kubernetes.Semver) bool", older},
    {"kubernetes.Semver.compareTo(kubernetes.Semver) int", versions},
    {"format.named(string) optional(kubernetes.NamedFormat)", named_format},
    {"format.dns1123Label() kubernetes.NamedFormat", one_format<0>},
    {"format.dns1123Subdomain() kubernetes.NamedFormat", one_format<1>},
    {"format.dns1035Label() kubernetes.NamedFormat", one_format<2>},
    {"format.qualifiedName() kubernetes.NamedFormat", one_format<3>},
    {"format.dns1123LabelPrefix() kubernetes.NamedFormat", one_format<4>},
    {"format.dns1123SubdomainPrefix() kubernetes.NamedFormat", one_format<5>},
    {"format.dns1035LabelPrefix() kubernetes.NamedFormat", one_format<6>},
    {"format.labelValue() kubernetes.NamedFormat", one_format<7>},
    {"format.uri() kubernetes.NamedFormat", one_format<8>},
    {"format.uuid() kubernetes.NamedFormat", one_format<9>},
    {"format.byte() kubernetes.NamedFormat", one_format<10>},
    {"format.date() kubernetes.NamedFormat", one_format<11>},
    {"format.datetime() kubernetes.NamedFormat", one_format<12>},
    {"kubernetes.NamedFormat.validate(string) optional(list(string))", validate},
    {"jsonpatch.escapeKey(string) string", escape_key},
};

}  // namespace

std::span<const Row> kubernetes_functions() { return kKubernetesRows; }

}  // namespace api::cel
