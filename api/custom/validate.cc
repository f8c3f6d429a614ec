// Value validation by a structural schema, in the words of kube-apiserver.
#include <re2/re2.h>

#include <cmath>

#include "api/custom/custom.h"
#include "api/text_formats.h"
#include "base/base64.h"

namespace api {
namespace {

using Kind = Structural::Kind;
using Type_ = FieldError::Type;

const char* word(Kind kind) {
  switch (kind) {
    case Kind::kObject: return "object";
    case Kind::kArray: return "array";
    case Kind::kString: return "string";
    case Kind::kInteger: return "integer";
    case Kind::kNumber: return "number";
    case Kind::kBoolean: return "boolean";
    case Kind::kAny: return "";
  }
  return "";
}
Kind kind_of(const json::value& in) {
  if (in.is_object()) return Kind::kObject;
  if (in.is_array()) return Kind::kArray;
  if (in.is_string()) return Kind::kString;
  if (in.is_bool()) return Kind::kBoolean;
  if (const double* d = in.if_double())
    return std::floor(*d) == *d && std::abs(*d) < 9007199254740992.0 ? Kind::kInteger : Kind::kNumber;
  return Kind::kInteger;
}
std::string go_number(double in) {
  return std::floor(in) == in && std::abs(in) < 1e15 ? std::to_string(static_cast<int64_t>(in))
                                                     : fmt::format("{}", in);
}
bool same_value(const json::value& a, const json::value& b) {
  if (a.is_number() && b.is_number()) return a.to_number<double>() == b.to_number<double>();
  return a == b;
}
int64_t runes(std::string_view text) {
  int64_t out = 0;
  for (char c : text) out += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return out;
}

class Checker {
 public:
  explicit Checker(std::string path) : path_(std::move(path)) {}
  FieldErrors errors;

  void value(const Structural& schema, const json::value& in, const json::value* before) {
    if (bytes_ > kMaxBytes) return;
    if (before && *before == in) return;  // what was stored with an older schema may stay
    if (in.is_null()) {
      if (!schema.nullable && schema.kind != Kind::kAny) wrong_type(word(schema.kind), "null");
      return;
    }
    Kind kind = kind_of(in);
    if (schema.int_or_string) {
      if (kind != Kind::kInteger && kind != Kind::kString) return wrong_type("integer,string", word(kind));
    } else if (schema.kind != Kind::kAny && schema.kind != kind &&
               !(schema.kind == Kind::kNumber && kind == Kind::kInteger)) {
      return wrong_type(word(schema.kind), word(kind));
    }
    if (schema.checks) scalar_checks(*schema.checks, kind, in);
    if (kind == Kind::kObject) members(schema, in.get_object(), before);
    if (kind == Kind::kArray) items(schema, in.get_array(), before);
    if (schema.checks) combinations(*schema.checks, in);
  }

 private:
  // As many errors as anybody reads: a long key above many of them is in every path.
  static constexpr size_t kMaxBytes = 1 << 20;
  void add(FieldError error) {
    bytes_ += 64 + error.field.size() + error.value_text.size() + error.detail.size();
    if (bytes_ <= kMaxBytes) errors.push_back(std::move(error));
  }
  void add_all(FieldErrors some) {
    for (FieldError& error : some) add(std::move(error));
  }

  // Moves one step down for as long as it lives.
  struct Below {
    Below(std::string& path, std::string_view name) : path_(path), mark_(path.size()) {
      if (!path.empty()) path += '.';
      path += name;
    }
    Below(std::string& path, size_t index) : path_(path), mark_(path.size()) {
      path += "[" + std::to_string(index) + "]";
    }
    ~Below() { path_.resize(mark_); }
    std::string& path_;
    size_t mark_;
  };

  void invalid(std::string shown, const std::string& rest) {
    add({Type_::invalid, path_, std::move(shown), path_ + " in body " + rest});
  }
  void wrong_type(const std::string& wanted, const std::string& found) {
    std::string shown = "\"" + found + "\"";
    add({Type_::type_invalid, path_, shown, path_ + " in body must be of type " + wanted + ": " + shown});
  }

  void scalar_checks(const Structural::Checks& c, Kind kind, const json::value& in) {
    std::string shown = kind == Kind::kObject || kind == Kind::kArray ? std::string() : base::to_json(in);
    if (kind == Kind::kInteger || kind == Kind::kNumber) {
      double n = in.to_number<double>();
      if (c.multiple_of && *c.multiple_of > 0 && std::abs(std::remainder(n, *c.multiple_of)) > 1e-9)
        invalid(shown, "should be a multiple of " + go_number(*c.multiple_of));
      if (c.maximum && (n > *c.maximum || (c.exclusive_maximum && n == *c.maximum)))
        invalid(shown, (c.exclusive_maximum ? "should be less than " : "should be less than or equal to ") +
                           go_number(*c.maximum));
      if (c.minimum && (n < *c.minimum || (c.exclusive_minimum && n == *c.minimum)))
        invalid(shown,
                (c.exclusive_minimum ? "should be greater than " : "should be greater than or equal to ") +
                    go_number(*c.minimum));
      if (c.format == "int32" && (n > INT32_MAX || n < INT32_MIN))
        add({Type_::invalid, path_, shown,
             "Checked value must be of type integer with format int32 in " + path_});
    }
    if (kind == Kind::kString) {
      std::string_view text = base::as_string(&in);
      int64_t length = c.max_length || c.min_length ? runes(text) : 0;
      if (c.max_length && length > *c.max_length)
        add({Type_::too_long, path_, {}, "may not be more than " + std::to_string(*c.max_length) + " bytes"});
      if (c.min_length && length < *c.min_length)
        invalid(shown, "should be at least " + std::to_string(*c.min_length) + " chars long");
      if (c.regex && !re2::RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *c.regex))
        invalid(shown, "should match '" + c.pattern + "'");
      if (!c.format.empty() && !has_format(c.format, text))
        add({Type_::type_invalid, path_, shown,
             path_ + " in body must be of type " + c.format + ": " + shown});
    }
    if (c.enumeration.empty()) return;
    for (const json::value& one : c.enumeration)
      if (same_value(one, in)) return;
    std::string supported;
    for (const json::value& one : c.enumeration) {
      std::string text = one.is_string() ? std::string(base::as_string(&one)) : base::to_json(one);
      supported += (supported.empty() ? "" : ", ") + rules::text_of(std::string_view(text));
    }
    add({Type_::not_supported, path_, base::to_json(in), "supported values: " + supported});
  }

  void members(const Structural& schema, const json::object& in, const json::value* before) {
    if (const Structural::Checks* c = schema.checks.get()) {
      int64_t count = static_cast<int64_t>(in.size());
      if (c->max_properties && count > *c->max_properties)
        add({Type_::too_many, path_, std::to_string(count),
             "must have at most " + std::to_string(*c->max_properties) + " items"});
      if (c->min_properties && count < *c->min_properties)
        invalid(std::to_string(count),
                "should have at least " + std::to_string(*c->min_properties) + " properties");
      for (const std::string& name : c->required)
        if (!in.contains(name)) {
          Below here(path_, name);
          add({Type_::required, path_, {}, {}});
        }
    }
    if (schema.embedded)
      for (const char* name : {"apiVersion", "kind"})
        if (base::as_string(in.if_contains(name)).empty()) {
          Below here(path_, name);
          add({Type_::required, path_, {}, "must not be empty"});
        }
    if (schema.properties.empty() && !schema.additional) return;
    for (const auto& item : in) {
      std::string_view name(item.key().data(), item.key().size());
      const Structural* property = schema.property(name);
      if (!property) property = schema.additional.get();
      if (!property) continue;
      Below here(path_, name);
      value(*property, item.value(), before ? base::find(*before, name) : nullptr);
    }
  }

  static json::value key_of(const Structural& schema, const json::value& item) {
    json::object key;
    for (const std::string& name : schema.list_keys)
      if (const json::value* found = base::find(item, name)) key[name] = *found;
    return key;
  }
  void items(const Structural& schema, const json::array& in, const json::value* before) {
    if (const Structural::Checks* c = schema.checks.get()) {
      int64_t count = static_cast<int64_t>(in.size());
      if (c->max_items && count > *c->max_items)
        add({Type_::too_many, path_, std::to_string(count),
             "must have at most " + std::to_string(*c->max_items) + " items"});
      if (c->min_items && count < *c->min_items)
        invalid(std::to_string(count), "should have at least " + std::to_string(*c->min_items) + " items");
    }
    bool set = schema.list_type == "set", map = schema.list_type == "map";
    if (set || map) {
      std::map<std::string, bool> seen;
      for (size_t i = 0; i < in.size(); ++i) {
        std::string key = base::to_json(map ? key_of(schema, in[i]) : in[i]);
        if (seen.emplace(key, true).second) continue;
        Below here(path_, i);
        add({Type_::duplicate, path_, key, {}});
      }
    }
    if (!schema.items) return;
    const json::array* old = map && before ? before->if_array() : nullptr;
    std::map<std::string, const json::value*> by_key;
    if (old)
      for (const json::value& item : *old) by_key.emplace(base::to_json(key_of(schema, item)), &item);
    for (size_t i = 0; i < in.size(); ++i) {
      Below here(path_, i);
      auto found = old ? by_key.find(base::to_json(key_of(schema, in[i]))) : by_key.end();
      value(*schema.items, in[i], found == by_key.end() ? nullptr : found->second);
    }
  }

  FieldErrors alone(const Structural& schema, const json::value& in) {
    Checker inner(path_);
    inner.value(schema, in, nullptr);
    return std::move(inner.errors);
  }
  void composite(std::string sentence) {
    add({Type_::invalid, "<nil>", "\"\"", rules::text_of(std::string_view(path_)) + " " + sentence});
  }
  void combinations(const Structural::Checks& c, const json::value& in) {
    if (!c.any_of.empty()) {
      FieldErrors first;
      bool fits = false;
      for (const Structural& one : c.any_of) {
        FieldErrors wrong = alone(one, in);
        if (wrong.empty()) {
          fits = true;
          break;
        }
        if (first.empty()) first = std::move(wrong);
      }
      if (!fits) {
        composite("must validate at least one schema (anyOf)");
        add_all(std::move(first));
      }
    }
    if (!c.one_of.empty()) {
      FieldErrors first;
      size_t fitting = 0;
      for (const Structural& one : c.one_of) {
        FieldErrors wrong = alone(one, in);
        if (wrong.empty()) ++fitting;
        else if (first.empty()) first = std::move(wrong);
      }
      if (fitting != 1) {
        composite("must validate one and only one schema (oneOf). " +
                  (fitting == 0 ? std::string("Found none valid")
                                : "Found " + std::to_string(fitting) + " valid alternatives"));
        if (fitting == 0) add_all(std::move(first));
      }
    }
    size_t fitting = 0;
    for (const Structural& one : c.all_of) {
      FieldErrors wrong = alone(one, in);
      if (wrong.empty()) ++fitting;
      add_all(std::move(wrong));
    }
    if (fitting < c.all_of.size())
      composite("must validate all the schemas (allOf)" +
                std::string(fitting == 0 ? ". None validated" : ""));
    if (c.none_of && alone(*c.none_of, in).empty()) composite("must not validate the schema (not)");
  }

  std::string path_;
  size_t bytes_ = 0;
};

}  // namespace

FieldErrors validate_structural(const Structural& schema, const json::value& value, const std::string& path) {
  Checker checker(path);
  checker.value(schema, value, nullptr);
  return std::move(checker.errors);
}
FieldErrors validate_custom_object(const Type& type, const json::value& object, const json::value* before) {
  Checker checker("");
  checker.value(type.custom->root, object, before);
  FieldErrors errors = std::move(checker.errors);
  if (!type.custom->root.rules_below) return errors;
  // Rules may count on what the schema says.
  for (const FieldError& error : errors)
    if (error.type == Type_::not_supported || error.type == Type_::required ||
        error.type == Type_::too_long || error.type == Type_::too_many || error.type == Type_::type_invalid) {
      errors.push_back({Type_::invalid, "<nil>", "null",
                        "some validation rules were not checked because the object was invalid; correct the "
                        "existing errors to complete validation"});
      return errors;
    }
  for (FieldError& error : validate_rules(type.custom->root, object, before))
    errors.push_back(std::move(error));
  return errors;
}

}  // namespace api
