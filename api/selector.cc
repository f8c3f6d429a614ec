#include "api/selector.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <functional>

#include "api/text_checks.h"
#include "api/types.h"

namespace api {
namespace {

using Op = Selector::Op;
constexpr size_t kMaxRequirements = 1000;

base::Error bad_selector(std::string reason) {
  return base::make_error(base::Kind::kInvalid, "unable to parse requirement", {}, std::move(reason));
}

bool to_number(std::string_view text, int64_t* out) {
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return ec == std::errc() && end == text.data() + text.size() && !text.empty();
}

template <typename Lookup>
bool holds(const Selector::Requirement& r, const Lookup& lookup) {
  std::optional<std::string_view> value = lookup(r.key);
  switch (r.op) {
    case Op::kExists: return value.has_value();
    case Op::kDoesNotExist: return !value;
    case Op::kIn: return value && std::binary_search(r.values.begin(), r.values.end(), *value, std::less<>());
    case Op::kNotIn:
      return !value || !std::binary_search(r.values.begin(), r.values.end(), *value, std::less<>());
    case Op::kGreater:
    case Op::kLess: {
      int64_t have = 0, limit = 0;
      if (!value || r.values.empty() || !to_number(*value, &have) || !to_number(r.values[0], &limit))
        return false;
      return r.op == Op::kGreater ? have > limit : have < limit;
    }
  }
  return false;
}
template <typename Lookup>
bool all_hold(const Selector& s, const Lookup& lookup) {
  if (s.nothing) return false;
  for (const auto& r : s.requirements)
    if (!holds(r, lookup)) return false;
  return true;
}

// "a=b, c in (d,e)": words are separated by spaces and the characters of !=,()<>
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  base::Result<Selector> parse() {
    Selector out;
    skip();
    if (done()) return out;
    while (true) {
      out.requirements.push_back(TRY(requirement()));
      if (out.requirements.size() > kMaxRequirements) return bad_selector("more than 1000 requirements");
      skip();
      if (done()) break;
      if (!take(','))
        return bad_selector("found '" + std::string(1, text_[at_]) + "', expected: ',' or 'end of string'");
      skip();
      if (done()) return bad_selector("found '', expected: identifier after ','");
    }
    return out;
  }

 private:
  base::Result<Selector::Requirement> requirement() {
    Selector::Requirement r;
    skip();
    bool negated = take('!');
    r.key = word();
    if (r.key.empty())
      return bad_selector("found '" + (done() ? std::string() : std::string(1, text_[at_])) +
                          "', expected: !, identifier, or 'end of string'");
    if (auto wrong = check_qualified_name(r.key); !wrong.empty())
      return bad_selector("key: Invalid value: \"" + r.key + "\": " + wrong[0]);
    skip();
    if (negated) {
      r.op = Op::kDoesNotExist;
      return r;
    }
    if (done() || text_[at_] == ',') {
      r.op = Op::kExists;
      return r;
    }
    if (take('!')) {
      if (!take('=')) return bad_selector("found '!', expected: in, notin, =, ==, !=, gt, lt");
      r.op = Op::kNotIn;
      return one_value(std::move(r));
    }
    if (take('=')) {
      take('=');
      r.op = Op::kIn;
      return one_value(std::move(r));
    }
    if (take('>')) return r.op = Op::kGreater, number_value(std::move(r));
    if (take('<')) return r.op = Op::kLess, number_value(std::move(r));
    std::string op = word();
    if (op == "in") r.op = Op::kIn;
    else if (op == "notin") r.op = Op::kNotIn;
    else return bad_selector("found '" + op + "', expected: in, notin, =, ==, !=, gt, lt");
    skip();
    if (!take('(')) return bad_selector("found '" + word() + "', expected: '('");
    do {
      skip();
      r.values.push_back(word());
      if (auto status = check(r, r.values.back()); !status.ok()) return std::move(status).error();
      skip();
    } while (take(','));
    if (!take(')')) return bad_selector("found '" + word() + "', expected: ',' or ')'");
    std::sort(r.values.begin(), r.values.end());
    r.values.erase(std::unique(r.values.begin(), r.values.end()), r.values.end());
    return r;
  }
  base::Result<Selector::Requirement> one_value(Selector::Requirement r) {
    skip();
    r.values.push_back(word());
    if (auto status = check(r, r.values.back()); !status.ok()) return std::move(status).error();
    return r;
  }
  base::Result<Selector::Requirement> number_value(Selector::Requirement r) {
    skip();
    r.values.push_back(word());
    int64_t n;
    if (!to_number(r.values[0], &n))
      return bad_selector("values[0]: Invalid value: \"" + r.values[0] +
                          "\": for 'Gt', 'Lt' operators, the value must be an integer");
    return r;
  }
  static base::Status check(const Selector::Requirement& r, const std::string& value) {
    auto wrong = check_label_value(value);
    if (wrong.empty()) return {};
    return bad_selector("values[0][" + r.key + "]: Invalid value: \"" + value + "\": " + wrong[0]);
  }
  bool done() const { return at_ >= text_.size(); }
  void skip() {
    while (!done() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }
  bool take(char c) {
    if (done() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string word() {
    size_t begin = at_;
    while (!done() && !strchr("!=,()<> \t\n\r", text_[at_])) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  std::string_view text_;
  size_t at_ = 0;
};

base::Result<Selector> from_parts(const std::vector<std::pair<std::string, std::string>>& labels,
                                  const std::vector<LabelSelectorRequirement>& expressions) {
  Selector out;
  for (const auto& [key, value] : labels) out.requirements.push_back({key, Op::kIn, {value}});
  for (const auto& e : expressions) {
    Selector::Requirement r{e.key, Op::kIn, e.values};
    std::sort(r.values.begin(), r.values.end());
    if (e.operator_ == "In") r.op = Op::kIn;
    else if (e.operator_ == "NotIn") r.op = Op::kNotIn;
    else if (e.operator_ == "Exists") r.op = Op::kExists;
    else if (e.operator_ == "DoesNotExist") r.op = Op::kDoesNotExist;
    else
      return base::make_error(base::Kind::kInvalid, "convert label selector", e.key,
                              "\"" + e.operator_ + "\" is not a valid label selector operator");
    out.requirements.push_back(std::move(r));
  }
  return out;
}

}  // namespace

bool Selector::matches(const std::map<std::string, std::string>& labels) const {
  return all_hold(*this, [&](const std::string& key) -> std::optional<std::string_view> {
    auto it = labels.find(key);
    if (it == labels.end()) return std::nullopt;
    return it->second;
  });
}
bool Selector::matches(const json::value* labels) const {
  return all_hold(*this, [&](const std::string& key) -> std::optional<std::string_view> {
    const json::value* value = labels ? base::find(*labels, key) : nullptr;
    if (!value) return std::nullopt;
    return base::as_string(value);
  });
}

std::string Selector::text() const {
  std::string out;
  for (const Requirement& r : requirements) {
    if (!out.empty()) out += ',';
    auto list = [&] {
      std::string values;
      for (const auto& v : r.values) values += (values.empty() ? "" : ",") + v;
      return values;
    };
    switch (r.op) {
      case Op::kExists: out += r.key; break;
      case Op::kDoesNotExist: out += "!" + r.key; break;
      case Op::kIn:
        out += r.values.size() == 1 ? r.key + "=" + r.values[0] : r.key + " in (" + list() + ")";
        break;
      case Op::kNotIn:
        out += r.values.size() == 1 ? r.key + "!=" + r.values[0] : r.key + " notin (" + list() + ")";
        break;
      case Op::kGreater: out += r.key + ">" + list(); break;
      case Op::kLess: out += r.key + "<" + list(); break;
    }
  }
  return out;
}

base::Result<Selector> parse_selector(std::string_view text) { return Parser(text).parse(); }

Selector selector_of(const std::map<std::string, std::string>& labels) {
  Selector out;
  for (const auto& [key, value] : labels) out.requirements.push_back({key, Op::kIn, {value}});
  return out;
}
base::Result<Selector> selector_of(const LabelSelector& selector) {
  return from_parts({selector.match_labels.begin(), selector.match_labels.end()}, selector.match_expressions);
}
base::Result<Selector> selector_of_json(const json::value* selector) {
  if (!selector || selector->is_null()) {
    Selector out;
    out.nothing = true;
    return out;
  }
  return selector_of(TRY(decode<LabelSelector>(*selector)));
}
Selector selector_of_map(const json::value* labels) {
  Selector out;
  if (labels && labels->is_object())
    for (const auto& item : labels->get_object())
      out.requirements.push_back(
          {std::string(item.key()), Op::kIn, {std::string(base::as_string(&item.value()))}});
  return out;
}

bool FieldSelector::matches(const std::map<std::string, std::string>& fields) const {
  for (const Term& term : terms) {
    auto it = fields.find(term.field);
    if (((it == fields.end() ? std::string_view() : it->second) == term.value) != term.equal) return false;
  }
  return true;
}
const std::string* FieldSelector::required_value(std::string_view field) const {
  for (const Term& term : terms)
    if (term.equal && term.field == field) return &term.value;
  return nullptr;
}
base::Result<FieldSelector> parse_field_selector(std::string_view text) {
  FieldSelector out;
  // A backslash quotes ',', '=' and itself.
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) parts.back().append(text.substr(i++, 2));
    else if (text[i] == ',') parts.emplace_back();
    else parts.back().push_back(text[i]);
  }
  for (const std::string& part : parts) {
    if (part.empty()) continue;
    size_t at = part.find('=');
    while (at != std::string::npos && at && part[at - 1] == '\\') at = part.find('=', at + 1);
    if (at == std::string::npos || at == 0)
      return base::make_error(
          base::Kind::kInvalid, {}, {},
          "invalid selector: '" + std::string(text) + "'; can't understand '" + part + "'");
    FieldSelector::Term term;
    size_t end = at, begin = at + 1;
    if (part[at - 1] == '!') term.equal = false, --end;
    else if (begin < part.size() && part[begin] == '=') ++begin;
    term.field = part.substr(0, end);
    for (size_t i = begin; i < part.size(); ++i) {
      if (part[i] == '\\' && i + 1 < part.size()) ++i;
      term.value.push_back(part[i]);
    }
    out.terms.push_back(std::move(term));
  }
  return out;
}

}  // namespace api
