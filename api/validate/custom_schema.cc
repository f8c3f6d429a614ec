// What a schema of a CustomResourceDefinition must be: structural, with values that fit themselves.
#include <algorithm>
#include <set>

#include "api/custom/custom.h"
#include "api/structural.h"
#include "api/validate/custom.h"

namespace api::custom {
namespace {

using rules::Errors;

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
    if (e_.list.size() != before) return;
    auto compiled = compile_structural(schema);
    if (!compiled.ok()) return e_.invalid(root_, std::string_view(), compiled.error().message());
    for (FieldError& error : compile_rules(*compiled, root_)) e_.list.push_back(std::move(error));
  }

 private:
  enum class Level { kRoot, kItem, kField };
  enum class Meta { kOutside, kTop, kEmbedded };

  // What makes a schema structural: types outside of logical junctors, and the extensions' rules.
  void structure(const json::value& s, Level level, const std::string& path) {
    if (!s.is_object()) return;
    std::string_view type = text_at(s, "type");
    bool embedded = flag(s, "x-kubernetes-embedded-resource"),
         int_or_string = flag(s, "x-kubernetes-int-or-string");
    bool preserve = flag(s, "x-kubernetes-preserve-unknown-fields");
    const json::value& items = at(s, "items");
    if (type == "array" && items.is_null()) e_.required(path + ".items", "must be specified");
    structure(items, Level::kItem, path + ".items");
    for (const auto& p : map_at(s, "properties"))
      structure(p.value(), Level::kField, key(path + ".properties", p.key()));
    const json::value& additional = at(s, "additionalProperties");
    if (!additional.is_null()) {
      if (level == Level::kRoot) e_.forbidden(path + ".additionalProperties", "must not be used at the root");
      structure(additional, Level::kField, path + ".additionalProperties");
    }
    if (int_or_string && preserve)
      e_.invalid(path + ".x-kubernetes-preserve-unknown-fields", json::value(true),
                 "must be false if x-kubernetes-int-or-string is true");
    if (int_or_string && embedded)
      e_.invalid(path + ".x-kubernetes-embedded-resource", json::value(true),
                 "must be false if x-kubernetes-int-or-string is true");
    const json::array& any = list_at(s, "anyOf");
    const json::array& all = list_at(s, "allOf");
    junctors(s, path, is_int_or_string(any), !all.empty() && is_int_or_string(list_at(all[0], "anyOf")));
    if (embedded && type != "object") {
      if (type.empty())
        e_.required(path + ".type", "must be object if x-kubernetes-embedded-resource is true");
      else e_.invalid(path + ".type", type, "must be object if x-kubernetes-embedded-resource is true");
    } else if (type.empty() && !int_or_string && !preserve) {
      e_.required(path + ".type", level == Level::kRoot   ? "must not be empty at the root"
                                  : level == Level::kItem ? "must not be empty for specified array items"
                                                          : "must not be empty for specified object fields");
    }
    if (embedded && !additional.is_null())
      e_.forbidden(path + ".additionalProperties",
                   "must not be used if x-kubernetes-embedded-resource is set");
    if (level == Level::kRoot && !type.empty() && type != "object")
      e_.invalid(path + ".type", type, "must be object at the root");
    if (level == Level::kRoot || embedded) resource_fields(s, level, path);
    if (embedded && !preserve && map_at(s, "properties").empty())
      e_.required(path + ".properties",
                  "must not be empty if x-kubernetes-embedded-resource is true without "
                  "x-kubernetes-preserve-unknown-fields");
  }
  void resource_fields(const json::value& s, Level level, const std::string& path) {
    const json::object& properties = map_at(s, "properties");
    for (const char* name : {"kind", "apiVersion"})
      if (const json::value* p = properties.if_contains(name); p && text_at(*p, "type") != "string")
        e_.invalid(key(path + ".properties", name) + ".type", text_at(*p, "type"), "must be string");
    const json::value* metadata = properties.if_contains("metadata");
    if (!metadata) return;
    std::string here = key(path + ".properties", "metadata");
    if (text_at(*metadata, "type") != "object")
      e_.invalid(here + ".type", text_at(*metadata, "type"), "must be object");
    if (level != Level::kRoot || !metadata->is_object()) return;
    bool plain = true;
    for (const auto& member : metadata->get_object())
      plain &= member.key() == "type" || member.key() == "properties" || member.key() == "description";
    for (const auto& p : map_at(*metadata, "properties"))
      plain &= p.key() == "name" || p.key() == "generateName";
    if (!plain)
      e_.forbidden(
          here,
          "must not specify anything other than name and generateName, but metadata is implicitly specified");
  }
  static bool is_int_or_string(const json::array& any) {
    auto only = [](const json::value& s, const char* type) {
      return s.is_object() && s.get_object().size() == 1 && text_at(s, "type") == type;
    };
    return any.size() == 2 && only(any[0], "integer") && only(any[1], "string");
  }
  void junctors(const json::value& s, const std::string& path, bool skip_any, bool skip_first_all) {
    if (!skip_any)
      for (size_t i = 0; i < list_at(s, "anyOf").size(); ++i)
        nested(list_at(s, "anyOf")[i], rules::at(path + ".anyOf", i), false);
    for (size_t i = 0; i < list_at(s, "allOf").size(); ++i)
      nested(list_at(s, "allOf")[i], rules::at(path + ".allOf", i), skip_first_all && i == 0);
    for (size_t i = 0; i < list_at(s, "oneOf").size(); ++i)
      nested(list_at(s, "oneOf")[i], rules::at(path + ".oneOf", i), false);
    nested(at(s, "not"), path + ".not", false);
    if (std::string_view pattern = text_at(s, "pattern"); !pattern.empty())
      if (auto compiled = compile_structural(json::object{{"pattern", pattern}}); !compiled.ok())
        e_.invalid(path + ".pattern", pattern,
                   "must be a valid regular expression, but isn't: " + compiled.error().reason);
  }
  void nested(const json::value& s, const std::string& path, bool skip_any) {
    if (!s.is_object()) return;
    junctors(s, path, skip_any, false);
    nested(at(s, "items"), path + ".items", false);
    for (const auto& p : map_at(s, "properties"))
      nested(p.value(), key(path + ".properties", p.key()), false);
    auto empty = [&](const char* name, const char* why) {
      const json::value& found = at(s, name);
      bool unset = found.is_null() || (found.is_string() && found.get_string().empty()) ||
                   (found.is_bool() && !found.get_bool()) || (found.is_array() && found.get_array().empty());
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
    empty("x-kubernetes-validations", "must be empty to be structural");
    if (map_at(s, "properties").contains("metadata"))
      e_.forbidden(key(path + ".properties", "metadata"), "must not be specified in a nested context");
  }

  // What a junctor speaks of must also be specified outside of it.
  void complete(const json::value& s, const json::value& v, const std::string& s_path,
                const std::string& v_path) {
    if (!s.is_object() || !v.is_object()) return;
    for (const char* name : {"allOf", "anyOf", "oneOf"})
      for (size_t i = 0; i < list_at(v, name).size(); ++i)
        covers(s, list_at(v, name)[i], s_path, rules::at(v_path + "." + name, i));
    covers(s, at(v, "not"), s_path, v_path + ".not");
    if (&s != &v) return;
    complete(at(s, "items"), at(s, "items"), s_path + ".items", s_path + ".items");
    complete(at(s, "additionalProperties"), at(s, "additionalProperties"), s_path + ".additionalProperties",
             s_path + ".additionalProperties");
    for (const auto& p : map_at(s, "properties"))
      complete(p.value(), p.value(), key(s_path + ".properties", p.key()),
               key(s_path + ".properties", p.key()));
  }
  void covers(const json::value& s, const json::value& v, const std::string& s_path,
              const std::string& v_path) {
    if (!v.is_object()) return;
    complete(s, v, s_path, v_path);
    if (const json::value& items = at(v, "items"); items.is_object()) {
      if (at(s, "items").is_null())
        e_.required(s_path + ".items", "because it is defined in " + v_path + ".items");
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
    static const std::set<std::string_view> kTypes = {"",       "array",  "boolean", "integer",
                                                      "number", "object", "string"};
    std::string_view type = text_at(s, "type");
    if (type == "null")
      e_.forbidden(path + ".type", "type cannot be set to null, use nullable as an alternative");
    else if (!kTypes.contains(type))
      e_.not_supported(path + ".type", type, {"array", "boolean", "integer", "number", "object", "string"});
    if (flag(s, "uniqueItems"))
      e_.forbidden(path + ".uniqueItems",
                   "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
    for (const char* name :
         {"id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"})
      if (const json::value& found = at(s, name);
          !found.is_null() && !(found.is_string() && found.get_string().empty()))
        e_.forbidden(path + "." + name, std::string(name) + " is not supported");
    if (at(s, "items").is_array())
      e_.forbidden(path + ".items", "items must be a schema object and not an array");
    if (meta != Meta::kOutside && flag(s, "x-kubernetes-embedded-resource"))
      e_.forbidden(path + ".x-kubernetes-embedded-resource", "must not be used inside of resource meta");
    if (meta == Meta::kTop && !at(s, "default").is_null())
      e_.forbidden(path + ".default", "must not be set in top-level metadata, kind or apiVersion");
    if (const json::value& preserve = at(s, "x-kubernetes-preserve-unknown-fields");
        preserve.is_bool() && !preserve.get_bool())
      e_.invalid(path + ".x-kubernetes-preserve-unknown-fields", preserve, "must be true or undefined");
    for (size_t i = 0; i < list_at(s, "x-kubernetes-validations").size(); ++i)
      rule(s, list_at(s, "x-kubernetes-validations")[i], rules::at(path + ".x-kubernetes-validations", i));
    const json::value& additional = at(s, "additionalProperties");
    if (!map_at(s, "properties").empty() &&
        (additional.is_object() || (additional.is_bool() && !additional.get_bool())))
      e_.forbidden(path + ".additionalProperties",
                   "additionalProperties and properties are mutual exclusive");
    lists_and_maps(s, path);
    keywords(additional, path + ".additionalProperties", meta, false);
    keywords(at(s, "items"), path + ".items", meta, false);
    keywords(at(s, "not"), path + ".not", meta, false);
    for (const char* name : {"allOf", "anyOf", "oneOf"})
      for (size_t i = 0; i < list_at(s, name).size(); ++i)
        keywords(list_at(s, name)[i], rules::at(path + "." + name, i), meta, false);
    bool embedded = flag(s, "x-kubernetes-embedded-resource");
    for (const auto& p : map_at(s, "properties")) {
      bool inside =
          (root || embedded) && (p.key() == "metadata" || p.key() == "kind" || p.key() == "apiVersion");
      keywords(p.value(), key(path + ".properties", p.key()),
               inside ? (root ? Meta::kTop : Meta::kEmbedded) : meta, false);
    }
  }
  // What can be said of a CEL rule before it is compiled.
  void rule(const json::value& s, const json::value& in, const std::string& path) {
    auto blank = [](std::string_view text) { return text.find_first_not_of(" \t\r\n") == text.npos; };
    auto broken = [](std::string_view text) { return text.find('\n') != text.npos; };
    std::string_view text = text_at(in, "rule"), message = text_at(in, "message"),
                     expression = text_at(in, "messageExpression");
    std::string_view field = text_at(in, "fieldPath"), reason = text_at(in, "reason");
    if (blank(text)) e_.required(path + ".rule", "rule is not specified");
    else if (!message.empty() && blank(message))
      e_.invalid(path + ".message", message, "must be non-empty if specified");
    else if (broken(message)) e_.invalid(path + ".message", message, "must not contain line breaks");
    else if (message.empty() && broken(text))
      e_.required(path + ".message", "message must be specified if rule contains line breaks");
    if (!expression.empty() && blank(expression))
      e_.required(path + ".messageExpression", "messageExpression must be non-empty if specified");
    if (!reason.empty() && reason != "FieldValueForbidden" && reason != "FieldValueInvalid" &&
        reason != "FieldValueRequired" && reason != "FieldValueDuplicate")
      e_.not_supported(
          path + ".reason", reason,
          {"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"});
    if (!field.empty() && blank(field))
      e_.invalid(path + ".fieldPath", field, "must be non-empty if specified");
    else if (broken(field)) e_.invalid(path + ".fieldPath", field, "must not contain line breaks");
    else if (!field.empty() && !names_field(s, field))
      e_.invalid(path + ".fieldPath", field, "must be a valid path");
  }
  // ".a.b['c-d']": of properties and members that the schema has; list items have no name.
  static bool names_field(const json::value& s, std::string_view path) {
    const json::value* at_schema = &s;
    while (!path.empty()) {
      std::string name;
      if (path.starts_with('.')) {
        size_t end = std::min(path.find_first_of(".[", 1), path.size());
        name = path.substr(1, end - 1);
        path.remove_prefix(end);
      } else if (size_t end = path.find("']"); path.starts_with("['") && end != path.npos) {
        name = path.substr(2, end - 2);
        path.remove_prefix(end + 2);
      } else {
        return false;
      }
      const json::value* next = map_at(*at_schema, "properties").if_contains(name);
      if (!next && map_at(*at_schema, "properties").empty()) next = &at(*at_schema, "additionalProperties");
      if (!next || !next->is_object()) return false;
      at_schema = next;
    }
    return true;
  }
  void lists_and_maps(const json::value& s, const std::string& path) {
    std::string_view type = text_at(s, "type"), map_type = text_at(s, "x-kubernetes-map-type"),
                     list_type = text_at(s, "x-kubernetes-list-type");
    auto typed = [&](const char* wanted, const char* extension) {
      std::string why = std::string("must be ") + wanted + " if " + extension + " is specified";
      if (type.empty()) e_.required(path + ".type", why);
      else if (type != wanted) e_.invalid(path + ".type", type, why);
    };
    if (!map_type.empty()) {
      typed("object", "x-kubernetes-map-type");
      if (map_type != "atomic" && map_type != "granular")
        e_.not_supported(path + ".x-kubernetes-map-type", map_type, {"atomic", "granular"});
    }
    const json::value& items = at(s, "items");
    const json::array& keys = list_at(s, "x-kubernetes-list-map-keys");
    if (!list_type.empty()) {
      typed("array", "x-kubernetes-list-type");
      if (list_type != "atomic" && list_type != "set" && list_type != "map")
        e_.not_supported(path + ".x-kubernetes-list-type", list_type, {"atomic", "set", "map"});
    }
    if (list_type == "set" && type == "array" && items.is_object()) {
      std::string_view inner = text_at(items, "x-kubernetes-list-type"),
                       why = "must be atomic as item of a list with x-kubernetes-list-type=set";
      if (text_at(items, "type") == "array" && !inner.empty() && inner != "atomic")
        e_.invalid(path + ".items.x-kubernetes-list-type", inner, std::string(why));
      if (text_at(items, "type") == "object" && text_at(items, "x-kubernetes-map-type") != "atomic")
        e_.invalid(path + ".items.x-kubernetes-map-type", text_at(items, "x-kubernetes-map-type"),
                   std::string(why));
    }
    if (!keys.empty() && list_type != "map") {
      if (list_type.empty())
        e_.required(path + ".x-kubernetes-list-type",
                    "must be map if x-kubernetes-list-map-keys is non-empty");
      else
        e_.invalid(path + ".x-kubernetes-list-type", list_type,
                   "must be map if x-kubernetes-list-map-keys is non-empty");
    }
    if ((list_type == "set" || list_type == "map") && flag(items, "nullable"))
      e_.forbidden(path + ".items.nullable",
                   "cannot be nullable when x-kubernetes-list-type is " + std::string(list_type));
    if (list_type != "map") return;
    if (keys.empty())
      e_.required(path + ".x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map");
    if (items.is_null())
      return e_.required(path + ".items", "must have a schema if x-kubernetes-list-type is map");
    if (text_at(items, "type") != "object")
      return e_.invalid(path + ".items.type", text_at(items, "type"),
                        "must be object if parent array's x-kubernetes-list-type is map");
    std::set<std::string_view> seen, required;
    for (const json::value& name : list_at(items, "required")) required.insert(base::as_string(&name));
    for (const json::value& one : keys) {
      std::string_view name = base::as_string(&one);
      if (!seen.insert(name).second)
        e_.invalid(path + ".x-kubernetes-list-map-keys", at(s, "x-kubernetes-list-map-keys"),
                   "must not contain duplicate entries");
      const json::value* p = map_at(items, "properties").if_contains(name);
      if (!p) {
        e_.invalid(path + ".x-kubernetes-list-map-keys", at(s, "x-kubernetes-list-map-keys"),
                   "entries must all be names of item properties");
        continue;
      }
      std::string here = key(path + ".items.properties", name);
      if (text_at(*p, "type") == "array" || text_at(*p, "type") == "object")
        e_.invalid(here + ".type", text_at(*p, "type"),
                   "must be a scalar type if parent array's x-kubernetes-list-type is map");
      if (!required.contains(name) && at(*p, "default").is_null())
        e_.required(here + ".default",
                    "this property is in x-kubernetes-list-map-keys, so it must have a default or be a "
                    "required property");
      if (flag(*p, "nullable"))
        e_.forbidden(here + ".nullable",
                     "this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
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
      for (FieldError& error : validate_structural(*compiled, pruned, path + ".default"))
        e_.list.push_back(std::move(error));
    }
    defaults(at(s, "items"), path + ".items", false);
    defaults(at(s, "additionalProperties"), path + ".additionalProperties", false);
    for (const auto& p : map_at(s, "properties"))
      defaults(p.value(), key(path + ".properties", p.key()), false);
  }

  Errors& e_;
  std::string root_;
};

}  // namespace

void schema(Errors& errors, std::string path, const json::value& schema) {
  SchemaRules(errors, std::move(path)).check(schema);
}

}  // namespace api::custom
