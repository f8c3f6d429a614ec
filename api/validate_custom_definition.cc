// What a CustomResourceDefinition must satisfy: names, versions, structural schemas.
#include <algorithm>
#include <set>

#include "api/structural.h"
#include "api/validate_rules.h"

namespace api {
namespace {

using rules::Errors;

const json::value kNone;
const json::value& at(const json::value& in, const char* name) {
  const json::value* found = base::find(in, name);
  return found ? *found : kNone;
}
const json::array& list_at(const json::value& in, const char* name) {
  static const json::array kEmpty;
  const json::value& found = at(in, name);
  return found.is_array() ? found.get_array() : kEmpty;
}
const json::object& map_at(const json::value& in, const char* name) {
  static const json::object kEmpty;
  const json::value& found = at(in, name);
  return found.is_object() ? found.get_object() : kEmpty;
}
std::string_view text_at(const json::value& in, const char* name) { return base::string_at(in, name); }
bool flag(const json::value& in, const char* name) { return base::as_bool(base::find(in, name)); }
std::string joined(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& one : list) out += (out.empty() ? "" : ",") + one;
  return out;
}
std::string key(const std::string& path, std::string_view name) { return path + "[" + std::string(name) + "]"; }

// ---- schemas -------------------------------------------------------------------------------------
class SchemaRules {
 public:
  SchemaRules(Errors& errors, std::string path) : e_(errors), root_(std::move(path)) {}

  void check(const json::value& schema) {
    if (!schema.is_object()) return;
    if (flag(schema, "nullable")) e_.forbidden(root_ + ".nullable", "nullable cannot be true at the root");
    size_t before = e_.list.size();
    structure(schema, Level::kRoot, root_);
    complete(schema, schema, root_, root_);
    keywords(schema, root_, Meta::kOutside, true);
    if (e_.list.size() == before) defaults(schema, root_, true);
  }

 private:
  enum class Level { kRoot, kItem, kField };
  enum class Meta { kOutside, kTop, kEmbedded };

  // What makes a schema structural: types outside of logical junctors, and the extensions' rules.
  void structure(const json::value& s, Level level, const std::string& path) {
    if (!s.is_object()) return;
    std::string_view type = text_at(s, "type");
    bool embedded = flag(s, "x-kubernetes-embedded-resource"), int_or_string = flag(s, "x-kubernetes-int-or-string");
    bool preserve = flag(s, "x-kubernetes-preserve-unknown-fields");
    const json::value& items = at(s, "items");
    if (type == "array" && items.is_null()) e_.required(path + ".items", "must be specified");
    structure(items, Level::kItem, path + ".items");
    for (const auto& p : map_at(s, "properties")) structure(p.value(), Level::kField, key(path + ".properties", p.key()));
    const json::value& additional = at(s, "additionalProperties");
    if (!additional.is_null()) {
      if (level == Level::kRoot) e_.forbidden(path + ".additionalProperties", "must not be used at the root");
      structure(additional, Level::kField, path + ".additionalProperties");
    }
    if (int_or_string && preserve)
      e_.invalid(path + ".x-kubernetes-preserve-unknown-fields", json::value(true), "must be false if x-kubernetes-int-or-string is true");
    if (int_or_string && embedded)
      e_.invalid(path + ".x-kubernetes-embedded-resource", json::value(true), "must be false if x-kubernetes-int-or-string is true");
    const json::array& any = list_at(s, "anyOf");
    const json::array& all = list_at(s, "allOf");
    junctors(s, path, is_int_or_string(any), !all.empty() && is_int_or_string(list_at(all[0], "anyOf")));
    if (embedded && type != "object") {
      if (type.empty()) e_.required(path + ".type", "must be object if x-kubernetes-embedded-resource is true");
      else e_.invalid(path + ".type", type, "must be object if x-kubernetes-embedded-resource is true");
    } else if (type.empty() && !int_or_string && !preserve) {
      e_.required(path + ".type", level == Level::kRoot   ? "must not be empty at the root"
                                  : level == Level::kItem ? "must not be empty for specified array items"
                                                          : "must not be empty for specified object fields");
    }
    if (embedded && !additional.is_null()) e_.forbidden(path + ".additionalProperties", "must not be used if x-kubernetes-embedded-resource is set");
    if (level == Level::kRoot && !type.empty() && type != "object") e_.invalid(path + ".type", type, "must be object at the root");
    if (level == Level::kRoot || embedded) resource_fields(s, level, path);
    if (embedded && !preserve && map_at(s, "properties").empty())
      e_.required(path + ".properties", "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields");
  }
  void resource_fields(const json::value& s, Level level, const std::string& path) {
    const json::object& properties = map_at(s, "properties");
    for (const char* name : {"kind", "apiVersion"})
      if (const json::value* p = properties.if_contains(name); p && text_at(*p, "type") != "string")
        e_.invalid(key(path + ".properties", name) + ".type", text_at(*p, "type"), "must be string");
    const json::value* metadata = properties.if_contains("metadata");
    if (!metadata) return;
    std::string here = key(path + ".properties", "metadata");
    if (text_at(*metadata, "type") != "object") e_.invalid(here + ".type", text_at(*metadata, "type"), "must be object");
    if (level != Level::kRoot || !metadata->is_object()) return;
    bool plain = true;
    for (const auto& member : metadata->get_object()) plain &= member.key() == "type" || member.key() == "properties" || member.key() == "description";
    for (const auto& p : map_at(*metadata, "properties")) plain &= p.key() == "name" || p.key() == "generateName";
    if (!plain) e_.forbidden(here, "must not specify anything other than name and generateName, but metadata is implicitly specified");
  }
  static bool is_int_or_string(const json::array& any) {
    auto only = [](const json::value& s, const char* type) { return s.is_object() && s.get_object().size() == 1 && text_at(s, "type") == type; };
    return any.size() == 2 && only(any[0], "integer") && only(any[1], "string");
  }
  void junctors(const json::value& s, const std::string& path, bool skip_any, bool skip_first_all) {
    if (!skip_any)
      for (size_t i = 0; i < list_at(s, "anyOf").size(); ++i) nested(list_at(s, "anyOf")[i], rules::at(path + ".anyOf", i), false);
    for (size_t i = 0; i < list_at(s, "allOf").size(); ++i) nested(list_at(s, "allOf")[i], rules::at(path + ".allOf", i), skip_first_all && i == 0);
    for (size_t i = 0; i < list_at(s, "oneOf").size(); ++i) nested(list_at(s, "oneOf")[i], rules::at(path + ".oneOf", i), false);
    nested(at(s, "not"), path + ".not", false);
    if (std::string_view pattern = text_at(s, "pattern"); !pattern.empty())
      if (auto compiled = compile_structural(json::object{{"pattern", pattern}}); !compiled.ok())
        e_.invalid(path + ".pattern", pattern, "must be a valid regular expression, but isn't: " + compiled.error().reason);
  }
  void nested(const json::value& s, const std::string& path, bool skip_any) {
    if (!s.is_object()) return;
    junctors(s, path, skip_any, false);
    nested(at(s, "items"), path + ".items", false);
    for (const auto& p : map_at(s, "properties")) nested(p.value(), key(path + ".properties", p.key()), false);
    auto empty = [&](const char* name, const char* why) {
      const json::value& found = at(s, name);
      bool unset = found.is_null() || (found.is_string() && found.get_string().empty()) || (found.is_bool() && !found.get_bool()) ||
                   (found.is_array() && found.get_array().empty());
      if (!unset) e_.forbidden(path + "." + name, why);
    };
    empty("type", "must be empty to be structural");
    empty("additionalProperties", "must be undefined to be structural");
    empty("default", "must be undefined to be structural");
    empty("title", "must be empty to be structural");
    empty("description", "must be empty to be structural");
    empty("nullable", "must be false to be structural");
    empty("x-kubernetes-preserve-unknown-fields", "must be false to be structural");
    empty("x-kubernetes-embedded-resource", "must be false to be structural");
    empty("x-kubernetes-int-or-string", "must be false to be structural");
    empty("x-kubernetes-list-map-keys", "must be empty to be structural");
    empty("x-kubernetes-list-type", "must be undefined to be structural");
    empty("x-kubernetes-map-type", "must be undefined to be structural");
    if (map_at(s, "properties").contains("metadata"))
      e_.forbidden(key(path + ".properties", "metadata"), "must not be specified in a nested context");
  }

  // What a junctor speaks of must also be specified outside of it.
  void complete(const json::value& s, const json::value& v, const std::string& s_path, const std::string& v_path) {
    if (!s.is_object() || !v.is_object()) return;
    for (const char* name : {"allOf", "anyOf", "oneOf"})
      for (size_t i = 0; i < list_at(v, name).size(); ++i) covers(s, list_at(v, name)[i], s_path, rules::at(v_path + "." + name, i));
    covers(s, at(v, "not"), s_path, v_path + ".not");
    if (&s != &v) return;
    complete(at(s, "items"), at(s, "items"), s_path + ".items", s_path + ".items");
    complete(at(s, "additionalProperties"), at(s, "additionalProperties"), s_path + ".additionalProperties", s_path + ".additionalProperties");
    for (const auto& p : map_at(s, "properties"))
      complete(p.value(), p.value(), key(s_path + ".properties", p.key()), key(s_path + ".properties", p.key()));
  }
  void covers(const json::value& s, const json::value& v, const std::string& s_path, const std::string& v_path) {
    if (!v.is_object()) return;
    complete(s, v, s_path, v_path);
    if (const json::value& items = at(v, "items"); items.is_object()) {
      if (at(s, "items").is_null()) e_.required(s_path + ".items", "because it is defined in " + v_path + ".items");
      else covers(at(s, "items"), items, s_path + ".items", v_path + ".items");
    }
    for (const auto& p : map_at(v, "properties")) {
      const json::value* own = map_at(s, "properties").if_contains(p.key());
      std::string here = key(s_path + ".properties", p.key()), there = key(v_path + ".properties", p.key());
      const json::value& additional = at(s, "additionalProperties");
      if (own) covers(*own, p.value(), here, there);
      else if (additional.is_object()) covers(additional, p.value(), s_path + ".additionalProperties", there);
      else e_.required(here, "because it is defined in " + there);
    }
  }

  // Keywords that no CustomResourceDefinition may use, and the list and map extensions.
  void keywords(const json::value& s, const std::string& path, Meta meta, bool root) {
    if (!s.is_object()) return;
    static const std::set<std::string_view> kTypes = {"", "array", "boolean", "integer", "number", "object", "string"};
    std::string_view type = text_at(s, "type");
    if (type == "null") e_.forbidden(path + ".type", "type cannot be set to null, use nullable as an alternative");
    else if (!kTypes.contains(type)) e_.not_supported(path + ".type", type, {"array", "boolean", "integer", "number", "object", "string"});
    if (flag(s, "uniqueItems")) e_.forbidden(path + ".uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
    for (const char* name : {"id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"})
      if (const json::value& found = at(s, name); !found.is_null() && !(found.is_string() && found.get_string().empty()))
        e_.forbidden(path + "." + name, std::string(name) + " is not supported");
    if (at(s, "items").is_array()) e_.forbidden(path + ".items", "items must be a schema object and not an array");
    if (meta != Meta::kOutside && flag(s, "x-kubernetes-embedded-resource"))
      e_.forbidden(path + ".x-kubernetes-embedded-resource", "must not be used inside of resource meta");
    if (meta == Meta::kTop && !at(s, "default").is_null()) e_.forbidden(path + ".default", "must not be set in top-level metadata, kind or apiVersion");
    if (const json::value& preserve = at(s, "x-kubernetes-preserve-unknown-fields"); preserve.is_bool() && !preserve.get_bool())
      e_.invalid(path + ".x-kubernetes-preserve-unknown-fields", preserve, "must be true or undefined");
    if (!list_at(s, "x-kubernetes-validations").empty())
      e_.forbidden(path + ".x-kubernetes-validations",
                   "CEL rules are not supported by this server: leave them out, or use a validating webhook");
    const json::value& additional = at(s, "additionalProperties");
    if (!map_at(s, "properties").empty() && (additional.is_object() || (additional.is_bool() && !additional.get_bool())))
      e_.forbidden(path + ".additionalProperties", "additionalProperties and properties are mutual exclusive");
    lists_and_maps(s, path);
    keywords(additional, path + ".additionalProperties", meta, false);
    keywords(at(s, "items"), path + ".items", meta, false);
    keywords(at(s, "not"), path + ".not", meta, false);
    for (const char* name : {"allOf", "anyOf", "oneOf"})
      for (size_t i = 0; i < list_at(s, name).size(); ++i) keywords(list_at(s, name)[i], rules::at(path + "." + name, i), meta, false);
    bool embedded = flag(s, "x-kubernetes-embedded-resource");
    for (const auto& p : map_at(s, "properties")) {
      bool inside = (root || embedded) && (p.key() == "metadata" || p.key() == "kind" || p.key() == "apiVersion");
      keywords(p.value(), key(path + ".properties", p.key()), inside ? (root ? Meta::kTop : Meta::kEmbedded) : meta, false);
    }
  }
  void lists_and_maps(const json::value& s, const std::string& path) {
    std::string_view type = text_at(s, "type"), map_type = text_at(s, "x-kubernetes-map-type"), list_type = text_at(s, "x-kubernetes-list-type");
    auto typed = [&](const char* wanted, const char* extension) {
      std::string why = std::string("must be ") + wanted + " if " + extension + " is specified";
      if (type.empty()) e_.required(path + ".type", why);
      else if (type != wanted) e_.invalid(path + ".type", type, why);
    };
    if (!map_type.empty()) {
      typed("object", "x-kubernetes-map-type");
      if (map_type != "atomic" && map_type != "granular") e_.not_supported(path + ".x-kubernetes-map-type", map_type, {"atomic", "granular"});
    }
    const json::value& items = at(s, "items");
    const json::array& keys = list_at(s, "x-kubernetes-list-map-keys");
    if (!list_type.empty()) {
      typed("array", "x-kubernetes-list-type");
      if (list_type != "atomic" && list_type != "set" && list_type != "map")
        e_.not_supported(path + ".x-kubernetes-list-type", list_type, {"atomic", "set", "map"});
    }
    if (list_type == "set" && type == "array" && items.is_object()) {
      std::string_view inner = text_at(items, "x-kubernetes-list-type"), why = "must be atomic as item of a list with x-kubernetes-list-type=set";
      if (text_at(items, "type") == "array" && !inner.empty() && inner != "atomic") e_.invalid(path + ".items.x-kubernetes-list-type", inner, std::string(why));
      if (text_at(items, "type") == "object" && text_at(items, "x-kubernetes-map-type") != "atomic")
        e_.invalid(path + ".items.x-kubernetes-map-type", text_at(items, "x-kubernetes-map-type"), std::string(why));
    }
    if (!keys.empty() && list_type != "map") {
      if (list_type.empty()) e_.required(path + ".x-kubernetes-list-type", "must be map if x-kubernetes-list-map-keys is non-empty");
      else e_.invalid(path + ".x-kubernetes-list-type", list_type, "must be map if x-kubernetes-list-map-keys is non-empty");
    }
    if ((list_type == "set" || list_type == "map") && flag(items, "nullable"))
      e_.forbidden(path + ".items.nullable", "cannot be nullable when x-kubernetes-list-type is " + std::string(list_type));
    if (list_type != "map") return;
    if (keys.empty()) e_.required(path + ".x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map");
    if (items.is_null()) return e_.required(path + ".items", "must have a schema if x-kubernetes-list-type is map");
    if (text_at(items, "type") != "object")
      return e_.invalid(path + ".items.type", text_at(items, "type"), "must be object if parent array's x-kubernetes-list-type is map");
    std::set<std::string_view> seen, required;
    for (const json::value& name : list_at(items, "required")) required.insert(base::as_string(&name));
    for (const json::value& one : keys) {
      std::string_view name = base::as_string(&one);
      if (!seen.insert(name).second) e_.invalid(path + ".x-kubernetes-list-map-keys", at(s, "x-kubernetes-list-map-keys"), "must not contain duplicate entries");
      const json::value* p = map_at(items, "properties").if_contains(name);
      if (!p) {
        e_.invalid(path + ".x-kubernetes-list-map-keys", at(s, "x-kubernetes-list-map-keys"), "entries must all be names of item properties");
        continue;
      }
      std::string here = key(path + ".items.properties", name);
      if (text_at(*p, "type") == "array" || text_at(*p, "type") == "object")
        e_.invalid(here + ".type", text_at(*p, "type"), "must be a scalar type if parent array's x-kubernetes-list-type is map");
      if (!required.contains(name) && at(*p, "default").is_null())
        e_.required(here + ".default", "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
      if (flag(*p, "nullable")) e_.forbidden(here + ".nullable", "this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
    }
  }

  // A default must be valid, and pruning must leave it as it is.
  void defaults(const json::value& s, const std::string& path, bool root) {
    if (!s.is_object()) return;
    if (const json::value& value = at(s, "default"); !value.is_null() && !root) {
      auto compiled = compile_structural(s);
      if (!compiled.ok()) return e_.invalid(path, std::string_view(), compiled.error().message());
      json::value pruned = value;
      prune_structural(*compiled, pruned, nullptr);
      if (pruned != value) e_.invalid(path + ".default", value, "must not have unknown fields");
      default_structural(*compiled, pruned);
      for (FieldError& error : validate_structural(*compiled, pruned, path + ".default")) e_.list.push_back(std::move(error));
    }
    defaults(at(s, "items"), path + ".items", false);
    defaults(at(s, "additionalProperties"), path + ".additionalProperties", false);
    for (const auto& p : map_at(s, "properties")) defaults(p.value(), key(path + ".properties", p.key()), false);
  }

  Errors& e_;
  std::string root_;
};

// ---- the rest of a version ---------------------------------------------------------------------------
void simple_path(Errors& e, const std::string& field, std::string_view path) {
  if (path.empty()) e.invalid(field, path, "must not be empty");
  else if (path[0] != '.') e.invalid(field, path, "must be a simple json path starting with .");
  else if (auto parsed = JsonPath::parse(path); !parsed.ok()) e.invalid(field, path, parsed.error().message());
}

void columns(Errors& e, const std::string& field, const json::array& list) {
  for (size_t i = 0; i < list.size(); ++i) {
    std::string here = rules::at(field, i);
    std::string_view type = text_at(list[i], "type"), format = text_at(list[i], "format");
    if (!type.empty() && type != "integer" && type != "number" && type != "string" && type != "boolean" && type != "date")
      e.invalid(here + ".type", type, "must be one of boolean,date,integer,number,string");
    static const std::set<std::string_view> kFormats = {"", "int32", "int64", "float", "double", "byte", "date", "date-time", "password"};
    if (!kFormats.contains(format)) e.invalid(here + ".format", format, "must be one of byte,date,date-time,double,float,int32,int64,password");
    if (std::string_view path = text_at(list[i], "jsonPath"); !path.empty()) simple_path(e, here + ".JSONPath", path);
  }
}

void scale(Errors& e, const std::string& field, const json::value& scale) {
  if (!scale.is_object()) return;
  auto path = [&](const char* name, std::vector<std::string> under, const char* why) {
    std::string_view value = text_at(scale, name);
    if (value.empty()) return;  // the table requires what is required
    size_t before = e.list.size();
    simple_path(e, field + "." + name, value);
    if (e.list.size() != before) return;
    for (const std::string& prefix : under)
      if (value.starts_with(prefix)) return;
    e.invalid(field + "." + name, value, why);
  };
  path("specReplicasPath", {".spec."}, "should be a json path under .spec");
  path("statusReplicasPath", {".status."}, "should be a json path under .status");
  path("labelSelectorPath", {".spec.", ".status."}, "should be a json path under either .spec or .status");
}

void selectable_fields(Errors& e, const std::string& field, const json::value& version) {
  const json::array& list = list_at(version, "selectableFields");
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    std::string here = rules::at(field, i) + ".jsonPath";
    std::string_view path = text_at(list[i], "jsonPath");
    if (path.empty()) continue;  // required by the table
    auto parsed = JsonPath::parse(path);
    std::vector<std::string> names = parsed.ok() ? parsed->plain_names() : std::vector<std::string>();
    if (names.empty() || !path.starts_with('.')) {
      e.invalid(here, path, "is an invalid path: it must name one member after the other, as in .spec.color");
      continue;
    }
    const json::value* schema = base::find_path(version, "schema", "openAPIV3Schema");
    for (const std::string& name : names) schema = schema ? map_at(*schema, "properties").if_contains(name) : nullptr;
    if (names[0] == "metadata") e.invalid(here, path, "must not point to fields in metadata");
    else if (!schema) e.invalid(here, path, "is an invalid path: does not refer to a valid field");
    else if (std::string_view type = text_at(*schema, "type"); type != "string" && type != "boolean" && type != "integer")
      e.invalid(here, path, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.");
    if (!seen.insert(std::string(path)).second) e.duplicate(here, path);
  }
  if (seen.size() > 8) e.too_many(field, seen.size(), 8);
}

void names(Errors& e, const std::string& field, const json::value& names) {
  auto lower = [](std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
    return out;
  };
  for (const char* name : {"plural", "singular"})
    if (std::string_view text = text_at(names, name); !text.empty())
      if (auto wrong = check_dns1035_label(text); !wrong.empty()) e.invalid(field + "." + name, text, joined(wrong));
  for (const char* name : {"kind", "listKind"})
    if (std::string_view text = text_at(names, name); !text.empty())
      if (auto wrong = check_dns1035_label(lower(text)); !wrong.empty())
        e.invalid(field + "." + name, text, "may have mixed case, but should otherwise match: " + joined(wrong));
  for (const char* name : {"shortNames", "categories"})
    for (size_t i = 0; i < list_at(names, name).size(); ++i) {
      std::string_view text = base::as_string(&list_at(names, name)[i]);
      if (auto wrong = check_dns1035_label(text); !wrong.empty()) e.invalid(rules::at(field + "." + name, i), text, joined(wrong));
    }
  if (std::string_view kind = text_at(names, "kind"); !kind.empty() && kind == text_at(names, "listKind"))
    e.invalid(field + ".listKind", kind, "kind and listKind may not be the same");
}

void versions(Errors& e, const json::array& list) {
  std::set<std::string_view> seen;
  int stored = 0;
  bool unique = true, same_schemas = true;
  for (const json::value& version : list) same_schemas &= at(version, "schema") == at(list[0], "schema");
  for (size_t i = 0; i < list.size(); ++i) {
    const json::value& version = list[i];
    std::string here = rules::at("spec.versions", i);
    stored += flag(version, "storage");
    unique &= seen.insert(text_at(version, "name")).second;
    if (std::string_view name = text_at(version, "name"); !name.empty())
      if (auto wrong = check_dns1035_label(name); !wrong.empty()) e.invalid(here + ".name", name, joined(wrong));
    if (const json::value* warning = base::find(version, "deprecationWarning"); warning && warning->is_string()) {
      std::string_view text = base::as_string(warning);
      if (!flag(version, "deprecated")) e.invalid(here + ".deprecationWarning", text, "can only be set for deprecated versions");
      if (text.size() > 256) e.invalid(here + ".deprecationWarning", text, "must be <= 256 characters long");
      if (text.empty()) e.invalid(here + ".deprecationWarning", text, "must not be an empty string");
    }
    const json::value* schema = base::find_path(version, "schema", "openAPIV3Schema");
    // One schema for all versions counts as the definition's own.
    if (!schema || !schema->is_object()) e.required(here + ".schema.openAPIV3Schema");
    else if (!same_schemas || i == 0)
      SchemaRules(e, same_schemas ? "spec.validation.openAPIV3Schema" : here + ".schema.openAPIV3Schema").check(*schema);
    columns(e, here + ".additionalPrinterColumns", list_at(version, "additionalPrinterColumns"));
    scale(e, here + ".subresources.scale", at(at(version, "subresources"), "scale"));
    selectable_fields(e, here + ".selectableFields", version);
  }
  if (!unique) e.invalid("spec.versions", json::value(list), "must contain unique version names");
  if (stored != 1) e.invalid("spec.versions", json::value(list), "must have exactly one version marked as storage version");
}

void conversion(Errors& e, const json::value& conversion) {
  if (!conversion.is_object()) return;
  std::string_view strategy = text_at(conversion, "strategy");
  if (strategy == "Webhook")
    return e.invalid("spec.conversion.strategy", strategy,
                     "conversion webhooks are not supported by this server: let all versions have one form, with strategy None");
  if (!strategy.empty() && strategy != "None") e.not_supported("spec.conversion.strategy", strategy, {"None", "Webhook"});
  if (!at(conversion, "webhook").is_null()) e.forbidden("spec.conversion.webhookClientConfig", "should not be set when strategy is not set to Webhook");
}

bool is_protected(std::string_view group) {
  return group == "k8s.io" || group.ends_with(".k8s.io") || group == "kubernetes.io" || group.ends_with(".kubernetes.io");
}
void approval(Errors& e, const json::value& definition, const json::value* before) {
  if (!is_protected(base::string_at(definition, "spec", "group"))) return;
  auto read = [](const json::value& in) { return base::string_at(in, "metadata", "annotations", "api-approved.kubernetes.io"); };
  std::string_view text = read(definition);
  if (before && read(*before) == text) return;
  std::string field = "metadata.annotations[api-approved.kubernetes.io]", see = "see https://github.com/kubernetes/enhancements/pull/1111";
  if (text.empty()) e.required(field, "protected groups must have approval annotation \"api-approved.kubernetes.io\", " + see);
  else if (!text.starts_with("unapproved") && text.find("://") == text.npos)
    e.invalid(field, text, "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or a reason starting with \"unapproved\", " + see);
}

void updated(Errors& e, const json::value& definition, const json::value& before) {
  auto same = [&](const char* first, const char* second, const std::string& field) {
    const json::value *now = &at(at(definition, "spec"), first), *was = &at(at(before, "spec"), first);
    if (second) now = &at(*now, second), was = &at(*was, second);
    if (*now != *was) e.invalid(field, *now, "field is immutable");
  };
  bool established = false;
  for (const json::value& condition : list_at(at(before, "status"), "conditions"))
    established |= text_at(condition, "type") == "Established" && text_at(condition, "status") == "True";
  if (established) same("scope", nullptr, "spec.scope"), same("names", "kind", "spec.names.kind");
  same("group", nullptr, "spec.group");
  same("names", "plural", "spec.names.plural");
  std::set<std::string_view> served;
  for (const json::value& version : list_at(at(definition, "spec"), "versions")) served.insert(text_at(version, "name"));
  const json::array& stored = list_at(at(before, "status"), "storedVersions");
  for (size_t i = 0; i < stored.size(); ++i) {
    std::string name(base::as_string(&stored[i]));
    if (!served.contains(name))
      e.invalid(rules::at("status.storedVersions", i), std::string_view(name),
                "missing from spec.versions; " + name + " was previously a storage version, and must remain in spec.versions until a storage "
                "migration ensures no data remains persisted in " + name + " and removes " + name + " from status.storedVersions");
  }
}

}  // namespace

FieldErrors validate_custom_resource_definition(const json::value& definition, const json::value* before) {
  Errors e;
  const json::value& spec = at(definition, "spec");
  std::string_view group = text_at(spec, "group"), scope = text_at(spec, "scope");
  std::string name(base::string_at(spec, "names", "plural"));
  if (name + "." + std::string(group) != base::string_at(definition, "metadata", "name"))
    e.invalid("metadata.name", base::string_at(definition, "metadata", "name"), "must be spec.names.plural+\".\"+spec.group");
  if (!group.empty()) {
    if (auto wrong = check_dns1123_subdomain(group); !wrong.empty()) e.invalid("spec.group", group, joined(wrong));
    else if (group.find('.') == group.npos) e.invalid("spec.group", group, "should be a domain with at least one dot");
  }
  if (!scope.empty() && scope != "Cluster" && scope != "Namespaced") e.not_supported("spec.scope", scope, {"Cluster", "Namespaced"});
  versions(e, list_at(spec, "versions"));
  names(e, "spec.names", at(spec, "names"));
  conversion(e, at(spec, "conversion"));
  approval(e, definition, before);
  if (flag(spec, "preserveUnknownFields"))
    e.invalid("spec.preserveUnknownFields", json::value(true),
              "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead");
  if (before) updated(e, definition, *before);
  return std::move(e.list);
}

void default_custom_resource_definition(json::value& definition) {
  json::value* spec = definition.is_object() ? definition.get_object().if_contains("spec") : nullptr;
  if (!spec || !spec->is_object()) return;
  json::object& object = spec->get_object();
  json::object& conversion = base::object_at(object, "conversion");
  if (base::as_string(conversion.if_contains("strategy")).empty()) conversion["strategy"] = "None";
  json::value* names = object.if_contains("names");
  if (!names || !names->is_object()) return;
  std::string kind(base::string_at(*names, "kind"));
  if (kind.empty()) return;
  json::object& named = names->get_object();
  if (base::as_string(named.if_contains("listKind")).empty()) named["listKind"] = kind + "List";
  std::transform(kind.begin(), kind.end(), kind.begin(), [](unsigned char c) { return std::tolower(c); });
  if (base::as_string(named.if_contains("singular")).empty()) named["singular"] = kind;
}

}  // namespace api
