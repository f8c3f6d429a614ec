#include "api/validate/validate.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "api/quantity.h"
#include "api/structural.h"
#include "api/validate/rules.h"
#include "api/walk.h"

namespace api {
namespace rules {

void labels(Errors& e, const std::string& field, const json::value& labels) {
  if (!labels.is_object()) return;
  for (const auto& item : labels.get_object()) {
    e.all(field, item.key(), check_qualified_name(item.key()));
    std::string_view value = base::as_string(&item.value());
    e.all(field, value, check_label_value(value));
  }
}
void quantity(Errors& e, const std::string& field, const std::string& value) {
  auto parsed = Quantity::parse(value);
  if (!parsed.ok()) e.invalid(field, value, parsed.error().reason);
  else if (parsed->negative()) e.invalid(field, value, "must be greater than or equal to 0");
}

namespace {

// Whether "A,B" names `wanted`.
bool names(const char* list, std::string_view wanted) {
  for (std::string_view rest = list;;) {
    size_t comma = rest.find(',');
    if (rest.substr(0, comma) == wanted) return true;
    if (comma == rest.npos) return false;
    rest.remove_prefix(comma + 1);
  }
}
std::vector<std::string> split(const char* text) {
  std::vector<std::string> out(1);
  for (; *text; ++text) {
    if (*text == ',') out.emplace_back();
    else out.back().push_back(*text);
  }
  return out;
}

void config_keys(Errors& e, const std::string& field, const json::value& map) {
  if (!map.is_object()) return;
  for (const auto& item : map.get_object()) {
    std::string_view key(item.key().data(), item.key().size());
    std::string at = field + "[" + std::string(key) + "]";
    if (key.size() > 253) e.invalid(at, key, "must be no more than 253 characters");
    bool form = !key.empty() && std::all_of(key.begin(), key.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '-' || c == '_' || c == '.';
    });
    if (!form)
      e.invalid(
          at, key,
          "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
          "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')");
    if (key == "." || key == "..") e.invalid(at, key, "must not be '" + std::string(key) + "'");
    else if (key.starts_with("..")) e.invalid(at, key, "must not start with '..'");
  }
}

void apply_rule(Errors& e, std::string_view rule, const std::string& field, const json::value& value) {
  std::string_view text = base::as_string(&value);
  int64_t number = base::as_int(&value);
  if (rule == "labels") return labels(e, field, value);
  if (rule == "config-keys") return config_keys(e, field, value);
  if (rule == "annotations") {
    if (!value.is_object()) return;
    size_t total = 0;
    for (const auto& item : value.get_object()) {
      std::string key(item.key());
      total += key.size() + base::as_string(&item.value()).size();
      std::transform(key.begin(), key.end(), key.begin(), [](unsigned char c) { return std::tolower(c); });
      e.all(field, item.key(), check_qualified_name(key));
    }
    if (total > 256 * 1024) e.too_long(field, 256 * 1024);
    return;
  }
  if (rule == "non-negative") {
    if (number < 0) e.invalid(field, number, "must be greater than or equal to 0");
    return;
  }
  if (rule == "port" || rule == "port-or-zero") {
    if ((number < 1 || number > 65535) && !(rule == "port-or-zero" && number == 0))
      e.invalid(field, number, "must be between 1 and 65535, inclusive");
    return;
  }
  if (text.empty()) return;  // absent
  if (rule == "dns1123-label") return e.all(field, text, check_dns1123_label(text));
  if (rule == "dns1123-subdomain") return e.all(field, text, check_dns1123_subdomain(text));
  if (rule == "port-name") return e.all(field, text, check_port_name(text));
  if (rule == "env-name") {
    if (!std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return c >= 0x20 && c < 0x7f && c != '='; }))
      e.invalid(
          field, text,
          "a valid environment variable name must consist only of printable ASCII characters other than '='");
    return;
  }
}

bool empty(const json::value& value) {
  if (const auto* text = value.if_string()) return text->empty();
  if (const auto* list = value.if_array()) return list->empty();
  return false;
}
// "required" of the API's documents, which Go's types cannot tell from "".
bool may_be_empty(const Type& type, const Field& field) {
  std::string_view t = type.name, f = field.name;
  return f == "value" && (t == "HTTPHeader" || t == "Sysctl");
}

class SchemaCheck {
 public:
  explicit SchemaCheck(Errors& e) : e_(e) {}

  void object(const Type& type, const json::object& in, bool root) {
    for (const Field& field : type.fields) {
      // Most fields ask for nothing but their type, which check_types() has seen.
      if (!field.required && !field.rule && !field.enum_values && field.shape != Shape::kStruct) continue;
      std::string_view name = field.name;
      if (root && (name == "metadata" || name == "status" || name == "apiVersion" || name == "kind"))
        continue;
      const json::value* value = in.if_contains(name);
      bool absent = !value || value->is_null() || (field.required && empty(*value));
      if (absent && (!field.required || may_be_empty(type, field))) continue;
      size_t mark = path_.size();
      if (mark) path_ += '.';
      path_ += name;
      if (absent) e_.required(path_);
      else present(field, *value);
      path_.resize(mark);
    }
  }

 private:
  void present(const Field& field, const json::value& value) {
    if (field.rule) apply_rule(e_, field.rule, path_, value);
    size_t mark = path_.size();
    if (const json::array* list = value.if_array(); list && field.holder == Holder::kList) {
      for (size_t i = 0; i < list->size(); ++i) {
        path_.append("[").append(std::to_string(i)).append("]");
        single(field, (*list)[i]);
        path_.resize(mark);
      }
    } else if (const json::object* map = value.if_object(); map && field.holder == Holder::kMap) {
      for (const auto& item : *map) {
        path_.append("[").append(item.key()).append("]");
        single(field, item.value());
        path_.resize(mark);
      }
    } else {
      single(field, value);
    }
  }
  void single(const Field& field, const json::value& one) {
    if (field.shape == Shape::kStruct && one.is_object()) return object(*field.type, one.get_object(), false);
    if (!field.enum_values) return;
    std::string_view text = base::as_string(&one);
    if (text.empty() || names(field.enum_values, text)) return;  // empty: absent
    auto allowed = split(field.enum_values);
    std::erase(allowed, "");
    e_.not_supported(path_, text, std::move(allowed));
  }

  Errors& e_;
  std::string path_;  // of what is looked at
};

void immutable_metadata(Errors& e, const json::value& after, const json::value& before) {
  for (const char* name : {"name", "namespace", "uid", "creationTimestamp"}) {
    std::string_view now = base::string_at(after, "metadata", name),
                     was = base::string_at(before, "metadata", name);
    if (now != was && !was.empty()) e.invalid(std::string("metadata.") + name, now, "field is immutable");
  }
  if (base::string_at(before, "metadata", "deletionTimestamp").empty()) return;
  const json::value* old_list = base::find_path(before, "metadata", "finalizers");
  const json::value* new_list = base::find_path(after, "metadata", "finalizers");
  if (!new_list || !new_list->is_array()) return;
  std::string added;
  for (const json::value& one : new_list->get_array()) {
    bool known = false;
    if (old_list && old_list->is_array())
      for (const json::value& old : old_list->get_array()) known |= old == one;
    if (!known) added += (added.empty() ? "" : ", ") + text_of(one);
  }
  if (!added.empty())
    e.forbidden(
        "metadata.finalizers",
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{" +
            added + "}");
}

}  // namespace
}  // namespace rules

using rules::Errors;

FieldErrors validate_schema(const Type& type, const json::value& object) {
  Errors e;
  if (object.is_object()) rules::SchemaCheck(e).object(type, object.get_object(), true);
  return std::move(e.list);
}

NameRule name_rule(std::string_view gvk) {
  if (gvk.starts_with("rbac.authorization.k8s.io/")) return NameRule::kPathSegment;
  const rules::KindRules* kind = rules::kind_rules(gvk);
  return kind ? kind->name : NameRule::kDns1123Subdomain;
}

FieldErrors validate_metadata(const json::value& object, bool namespaced, NameRule rule) {
  Errors e;
  auto check = [&](const std::string& field, std::string_view value, std::string_view shown) {
    switch (rule) {
      case NameRule::kDns1123Subdomain: return e.all(field, shown, check_dns1123_subdomain(value));
      case NameRule::kDns1123Label: return e.all(field, shown, check_dns1123_label(value));
      case NameRule::kDns1035Label: return e.all(field, shown, check_dns1035_label(value));
      case NameRule::kPathSegment: return e.all(field, shown, check_path_segment(value));
    }
  };
  const json::value* metadata = base::find(object, "metadata");
  static const json::value kNone = json::object();
  if (!metadata || !metadata->is_object()) metadata = &kNone;
  std::string_view prefix = base::string_at(*metadata, "generateName");
  if (!prefix.empty()) {
    std::string masked(prefix);  // what will follow may not start with '-'
    if (masked.back() == '-') masked.back() = 'a';
    check("metadata.generateName", masked, prefix);
  }
  std::string_view name = base::string_at(*metadata, "name");
  if (!name.empty()) check("metadata.name", name, name);
  else if (prefix.empty()) e.required("metadata.name", "name or generateName is required");
  std::string_view ns = base::string_at(*metadata, "namespace");
  if (namespaced) {
    if (ns.empty()) e.required("metadata.namespace");
    else e.all("metadata.namespace", ns, check_dns1123_label(ns));
  } else if (!ns.empty()) {
    e.forbidden("metadata.namespace", "not allowed on this type");
  }
  static const Type& meta_type = type_of<ObjectMeta>();
  for (FieldError& error : validate_schema(meta_type, *metadata)) {  // labels, annotations, references
    error.field = "metadata." + error.field;
    e.list.push_back(std::move(error));
  }
  if (const json::value* list = base::find(*metadata, "finalizers"); list && list->is_array())
    for (const json::value& one : list->get_array())
      e.all("metadata.finalizers", base::as_string(&one), check_qualified_name(base::as_string(&one)));
  std::string controller;
  if (const json::value* list = base::find(*metadata, "ownerReferences"); list && list->is_array())
    for (const json::value& one : list->get_array()) {
      if (!base::as_bool(base::find(one, "controller"))) continue;
      std::string who =
          std::string(base::string_at(one, "kind")) + "/" + std::string(base::string_at(one, "name"));
      if (!controller.empty())
        e.invalid("metadata.ownerReferences", *list,
                  "Only one reference can have Controller set to true. Found \"true\" in references for " +
                      controller + " and " + who);
      controller = who;
    }
  return std::move(e.list);
}

FieldErrors validate_create(std::string_view gvk, const json::value& object, bool namespaced) {
  Errors e;
  e.list = validate_metadata(object, namespaced, name_rule(gvk));
  if (const Type* type = find_kind(gvk))
    for (FieldError& error : validate_schema(*type, object)) e.list.push_back(std::move(error));
  if (const auto* kind = rules::kind_rules(gvk); kind && kind->check) kind->check(e, object, nullptr);
  return std::move(e.list);
}

FieldErrors validate_update(std::string_view gvk, const json::value& after, const json::value& before,
                            bool namespaced) {
  Errors e;
  e.list = validate_metadata(after, namespaced, name_rule(gvk));
  rules::immutable_metadata(e, after, before);
  if (const Type* type = find_kind(gvk))
    for (FieldError& error : validate_schema(*type, after)) e.list.push_back(std::move(error));
  if (const auto* kind = rules::kind_rules(gvk); kind && kind->check) kind->check(e, after, &before);
  return std::move(e.list);
}

FieldErrors validate_status_update(std::string_view gvk, const json::value& after,
                                   const json::value& before) {
  Errors e;
  rules::immutable_metadata(e, after, before);
  if (const auto* kind = rules::kind_rules(gvk); kind && kind->status) kind->status(e, after, before);
  return std::move(e.list);
}

FieldErrors validate_subresource_update(std::string_view gvk, std::string_view subresource,
                                        const json::value& after, const json::value& before,
                                        bool namespaced) {
  if (subresource == "status") {
    FieldErrors errors;  // most kinds take metadata at this door
    if (const json::value* now = base::find(after, "metadata"), *was = base::find(before, "metadata");
        now && was && *now != *was)
      errors = validate_metadata(after, namespaced, name_rule(gvk));
    for (FieldError& error : validate_status_update(gvk, after, before)) errors.push_back(std::move(error));
    return errors;
  }
  rules::Check check = gvk != "v1/Pod"                        ? nullptr
                       : subresource == "ephemeralcontainers" ? rules::ephemeral_containers
                       : subresource == "resize"              ? rules::pod_resize
                                                              : nullptr;
  if (!check) return validate_update(gvk, after, before, namespaced);
  Errors e;
  check(e, after, &before);
  return std::move(e.list);
}

}  // namespace api
