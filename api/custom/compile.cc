// Compiling: a JSON schema into nodes, and the nodes into rows.
#include "api/custom/custom.h"

#include <re2/re2.h>

#include <algorithm>

namespace api {

Structural::Structural() = default;
Structural::Structural(Structural&&) noexcept = default;
Structural& Structural::operator=(Structural&&) noexcept = default;
Structural::~Structural() = default;

const Structural* Structural::property(std::string_view name) const {
  auto it = std::lower_bound(properties.begin(), properties.end(), name,
                             [](const Property& p, std::string_view n) { return p.name < n; });
  return it != properties.end() && it->name == name ? &it->schema : nullptr;
}

namespace {

const json::value& member(const json::value& in, const char* name) {
  static const json::value kNone;
  const json::value* found = base::find(in, name);
  return found ? *found : kNone;
}
bool flag(const json::value& in, const char* name) { return base::as_bool(base::find(in, name)); }
std::optional<double> number_at(const json::value& in, const char* name) {
  const json::value& v = member(in, name);
  return v.is_number() ? std::optional(v.to_number<double>()) : std::nullopt;
}
std::optional<int64_t> integer(const json::value& in, const char* name) {
  const json::value& v = member(in, name);
  return v.is_int64() ? std::optional(v.get_int64()) : std::nullopt;
}
std::vector<std::string> texts(const json::value& list) {
  std::vector<std::string> out;
  if (list.is_array())
    for (const json::value& item : list.get_array()) out.emplace_back(base::as_string(&item));
  return out;
}
Structural::Kind kind_named(std::string_view type) {
  if (type == "object") return Structural::Kind::kObject;
  if (type == "array") return Structural::Kind::kArray;
  if (type == "string") return Structural::Kind::kString;
  if (type == "integer") return Structural::Kind::kInteger;
  if (type == "number") return Structural::Kind::kNumber;
  if (type == "boolean") return Structural::Kind::kBoolean;
  return Structural::Kind::kAny;
}

base::Result<std::vector<Structural>> compile_all(const json::value& list) {
  std::vector<Structural> out;
  if (list.is_array())
    for (const json::value& item : list.get_array()) out.push_back(TRY(compile_structural(item)));
  return out;
}

base::Result<std::unique_ptr<Structural::Checks>> compile_checks(const json::value& in) {
  auto c = std::make_unique<Structural::Checks>();
  c->minimum = number_at(in, "minimum");
  c->maximum = number_at(in, "maximum");
  c->multiple_of = number_at(in, "multipleOf");
  c->exclusive_minimum = flag(in, "exclusiveMinimum");
  c->exclusive_maximum = flag(in, "exclusiveMaximum");
  c->min_length = integer(in, "minLength");
  c->max_length = integer(in, "maxLength");
  c->min_items = integer(in, "minItems");
  c->max_items = integer(in, "maxItems");
  c->min_properties = integer(in, "minProperties");
  c->max_properties = integer(in, "maxProperties");
  c->pattern = base::string_at(in, "pattern");
  c->format = base::string_at(in, "format");
  if (!c->pattern.empty()) {
    re2::RE2::Options options(re2::RE2::Quiet);
    options.set_max_mem(8 << 20);
    c->regex = std::make_unique<re2::RE2>(c->pattern, options);
    if (!c->regex->ok())
      return base::make_error(base::Kind::kInvalid, "compile pattern", c->pattern, c->regex->error());
  }
  if (member(in, "enum").is_array()) c->enumeration = member(in, "enum").get_array();
  c->required = texts(member(in, "required"));
  c->all_of = TRY(compile_all(member(in, "allOf")));
  c->any_of = TRY(compile_all(member(in, "anyOf")));
  c->one_of = TRY(compile_all(member(in, "oneOf")));
  if (const json::value& none = member(in, "not"); none.is_object())
    c->none_of = std::make_unique<Structural>(TRY(compile_structural(none)));
  bool any = c->minimum || c->maximum || c->multiple_of || c->min_length || c->max_length || c->min_items ||
             c->max_items || c->min_properties || c->max_properties || c->regex || !c->format.empty() ||
             !c->enumeration.empty() || !c->required.empty() || !c->all_of.empty() || !c->any_of.empty() ||
             !c->one_of.empty() || c->none_of;
  if (!any) c.reset();
  return c;
}

}  // namespace

namespace {
std::vector<Structural::Rule> rules_in(const json::value& list) {
  std::vector<Structural::Rule> out;
  if (!list.is_array()) return out;
  for (const json::value& in : list.get_array()) {
    Structural::Rule& rule = out.emplace_back();
    rule.rule = base::string_at(in, "rule");
    rule.message = base::string_at(in, "message");
    rule.message_expression = base::string_at(in, "messageExpression");
    rule.reason = base::string_at(in, "reason");
    rule.field_path = base::string_at(in, "fieldPath");
    rule.optional_old_self = flag(in, "optionalOldSelf");
  }
  return out;
}
}  // namespace

base::Result<Structural> compile_structural(const json::value& in) {
  Structural out;
  out.kind = kind_named(base::string_at(in, "type"));
  out.nullable = flag(in, "nullable");
  out.preserve_unknown = flag(in, "x-kubernetes-preserve-unknown-fields");
  out.embedded = flag(in, "x-kubernetes-embedded-resource");
  out.int_or_string = flag(in, "x-kubernetes-int-or-string");
  out.list_type = base::string_at(in, "x-kubernetes-list-type");
  out.list_keys = texts(member(in, "x-kubernetes-list-map-keys"));
  out.map_is_atomic = base::string_at(in, "x-kubernetes-map-type") == "atomic";
  if (const json::value* value = base::find(in, "default"); value && !value->is_null())
    out.default_value = *value;
  out.defaults_below = out.default_value.has_value();
  if (const json::value& properties = member(in, "properties"); properties.is_object()) {
    for (const auto& item : properties.get_object())
      out.properties.push_back({std::string(item.key()), TRY(compile_structural(item.value()))});
    std::sort(out.properties.begin(), out.properties.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
  }
  const json::value& additional = member(in, "additionalProperties");
  if (additional.is_object())
    out.additional = std::make_unique<Structural>(TRY(compile_structural(additional)));
  else out.any_members = base::as_bool(&additional);
  if (const json::value& items = member(in, "items"); items.is_object())
    out.items = std::make_unique<Structural>(TRY(compile_structural(items)));
  out.checks = TRY(compile_checks(in));
  out.rules = rules_in(member(in, "x-kubernetes-validations"));
  out.rules_below = !out.rules.empty();
  auto below = [&](const Structural& child) {
    out.defaults_below |= child.defaults_below;
    out.rules_below |= child.rules_below;
  };
  for (const auto& p : out.properties) below(p.schema);
  if (out.additional) below(*out.additional);
  if (out.items) below(*out.items);
  return out;
}

namespace {

// Rows for the walks that need no more than types and list kinds: server-side apply.
class Rows {
 public:
  explicit Rows(CustomKind& kind) : kind_(kind) {}

  const Type* type(const Structural& in, std::string_view name, bool root) {
    std::vector<Field> fields;
    auto plain = [&](const char* field_name, Shape shape, const Type* of) {
      fields.push_back({field_name, shape, Holder::kOne, false, false, false, of, nullptr, nullptr, nullptr,
                        nullptr, nullptr, nullptr, nullptr, "", nullptr, 0, 0, false});
    };
    if (root || in.embedded) {
      plain("apiVersion", Shape::kString, nullptr);
      plain("kind", Shape::kString, nullptr);
      plain("metadata", Shape::kStruct, find_type("io.k8s.apimachinery.pkg.apis.meta.v1", "ObjectMeta"));
    }
    for (const auto& p : in.properties) {
      if ((root || in.embedded) && (p.name == "apiVersion" || p.name == "kind" || p.name == "metadata"))
        continue;
      fields.push_back(field(p.name, p.schema));
    }
    std::sort(fields.begin(), fields.end(),
              [](const Field& a, const Field& b) { return std::string_view(a.name) < b.name; });
    kind_.rows.push_back(std::move(fields));
    kind_.types.push_back({text(name), kind_.type.package, false, kind_.rows.back(), ""});
    return &kind_.types.back();
  }

 private:
  const char* text(std::string_view in) {
    kind_.texts.emplace_back(in);
    return kind_.texts.back().c_str();
  }
  Field field(const std::string& name, const Structural& in) {
    Field out{text(name), Shape::kAny, Holder::kOne, false,   false,   false,   nullptr, nullptr,
              nullptr,    nullptr,     nullptr,      nullptr, nullptr, nullptr, "",      nullptr,
              0,          0,           false};
    if (in.default_value) out.default_json = text(base::to_json(*in.default_value));
    const Structural* one = &in;
    if (in.kind == Structural::Kind::kArray && in.items) {
      out.holder = Holder::kList;
      one = in.items.get();
      out.list_type = in.list_type.empty() ? "atomic" : text(in.list_type);
      if (in.list_type == "map") {
        std::string keys;
        for (const std::string& key : in.list_keys) keys += (keys.empty() ? "" : ",") + key;
        out.list_keys = text(keys);
      }
    } else if (in.kind == Structural::Kind::kObject && in.additional) {
      out.holder = Holder::kMap;
      one = in.additional.get();
    }
    if (in.map_is_atomic) out.list_type = "atomic";
    switch (one->kind) {
      case Structural::Kind::kString: out.shape = Shape::kString; break;
      case Structural::Kind::kInteger: out.shape = Shape::kInt64; break;
      case Structural::Kind::kNumber: out.shape = Shape::kDouble; break;
      case Structural::Kind::kBoolean: out.shape = Shape::kBool; break;
      case Structural::Kind::kObject:
        if (!one->map_is_atomic && (!one->properties.empty() || one->embedded)) {
          out.shape = Shape::kStruct;
          out.type = type(*one, name, false);
        }
        break;
      default:
        if (one->int_or_string) out.shape = Shape::kIntOrString;
    }
    return out;
  }
  CustomKind& kind_;
};

std::string reversed(std::string_view group) {  // "stable.example.com": "com.example.stable"
  std::string out;
  while (!group.empty()) {
    size_t dot = group.rfind('.');
    if (!out.empty()) out += '.';
    out += dot == group.npos ? group : group.substr(dot + 1);
    group = dot == group.npos ? std::string_view() : group.substr(0, dot);
  }
  return out;
}

base::Result<std::vector<PrinterColumn>> compile_columns(const json::value& list) {
  std::vector<PrinterColumn> out;
  if (!list.is_array() || list.get_array().empty()) {
    out.push_back({"Age", "date", "", "When the object was created.", 0,
                   TRY(JsonPath::parse(".metadata.creationTimestamp"))});
    return out;
  }
  for (const json::value& in : list.get_array()) {
    std::string path(base::string_at(in, "jsonPath")), doc(base::string_at(in, "description"));
    if (doc.empty()) doc = "Custom resource definition column (in JSONPath format): " + path;
    out.push_back({std::string(base::string_at(in, "name")), std::string(base::string_at(in, "type")),
                   std::string(base::string_at(in, "format")), doc,
                   static_cast<int>(base::as_int(base::find(in, "priority"))), TRY(JsonPath::parse(path))});
  }
  return out;
}

}  // namespace

base::Result<std::shared_ptr<const CustomKind>> compile_custom_kind(const json::value& definition,
                                                                    std::string_view version) {
  const json::value& versions = member(member(definition, "spec"), "versions");
  const json::value* mine = nullptr;
  if (versions.is_array())
    for (const json::value& one : versions.get_array())
      if (base::string_at(one, "name") == version) mine = &one;
  if (!mine)
    return base::make_error(base::Kind::kInvalid, "compile schema", std::string(version), "no such version");
  auto out = std::make_shared<CustomKind>();
  out->group = base::string_at(definition, "spec", "group");
  out->version = version;
  out->kind = base::string_at(definition, "spec", "names", "kind");
  out->list_kind = base::string_at(definition, "spec", "names", "listKind");
  if (out->list_kind.empty()) out->list_kind = out->kind + "List";
  out->schema = member(member(*mine, "schema"), "openAPIV3Schema");
  out->root = TRY(compile_structural(out->schema));
  (void)compile_rules(out->root,
                      "");  // was right when the definition was stored; a rule without a program refuses
  out->columns = TRY(compile_columns(member(*mine, "additionalPrinterColumns")));
  const json::value& subresources = member(*mine, "subresources");
  out->has_status = member(subresources, "status").is_object();
  out->spec_replicas_path = base::string_at(subresources, "scale", "specReplicasPath");
  out->status_replicas_path = base::string_at(subresources, "scale", "statusReplicasPath");
  out->label_selector_path = base::string_at(subresources, "scale", "labelSelectorPath");
  if (flag(*mine, "deprecated")) {
    out->deprecation_warning = base::string_at(*mine, "deprecationWarning");
    if (out->deprecation_warning.empty())
      out->deprecation_warning = out->group + "/" + out->version + " " + out->kind + " is deprecated";
  }
  out->texts.push_back(reversed(out->group) + "." + out->version);
  out->type.package = out->texts.back().c_str();
  const Type* rows = Rows(*out).type(out->root, out->kind, true);
  out->type = *rows;
  out->type.is_kind = true;
  out->texts.emplace_back(base::string_at(out->schema, "description"));
  out->type.doc = out->texts.back().c_str();
  out->type.custom = out.get();
  return std::shared_ptr<const CustomKind>(std::move(out));
}

}  // namespace api
