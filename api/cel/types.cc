#include "api/cel/types.h"

#include <algorithm>
#include <array>

namespace api::cel {
namespace {

const char* word(Kind kind) {
  switch (kind) {
    case Kind::dyn: return "dyn";
    case Kind::null: return "null";
    case Kind::boolean: return "bool";
    case Kind::integer: return "int";
    case Kind::uinteger: return "uint";
    case Kind::real: return "double";
    case Kind::string: return "string";
    case Kind::bytes: return "bytes";
    case Kind::timestamp: return "timestamp";
    case Kind::duration: return "duration";
    case Kind::type: return "type";
    case Kind::object: return "object";
    default: return "";
  }
}
TypeRef make(Kind kind, TypeRef key = nullptr, TypeRef element = nullptr) {
  auto made = std::make_shared<Type>();
  made->kind = kind;
  made->key = std::move(key);
  made->element = std::move(element);
  return made;
}
bool is_identifier(std::string_view text) {
  if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}
Structural string_node() {
  Structural node;
  node.kind = Structural::Kind::kString;
  return node;
}

}  // namespace

std::string Type::text() const {
  switch (kind) {
    case Kind::list: return "list(" + element->text() + ")";
    case Kind::map: return "map(" + key->text() + ", " + element->text() + ")";
    case Kind::optional: return "optional_type(" + element->text() + ")";
    case Kind::opaque:
    case Kind::parameter: return name;
    default: return word(kind);
  }
}

TypeRef simple(Kind kind) {
  static const auto all = [] {
    std::array<TypeRef, static_cast<size_t>(Kind::parameter) + 1> made;
    for (size_t i = 0; i < made.size(); ++i) made[i] = make(static_cast<Kind>(i));
    return made;
  }();
  return all[static_cast<size_t>(kind)];
}
TypeRef list_of(TypeRef element) { return make(Kind::list, nullptr, std::move(element)); }
TypeRef map_of(TypeRef key, TypeRef element) { return make(Kind::map, std::move(key), std::move(element)); }
TypeRef optional_of(TypeRef element) { return make(Kind::optional, nullptr, std::move(element)); }
TypeRef opaque(std::string_view name) {
  auto made = std::make_shared<Type>();
  made->kind = Kind::opaque;
  made->name = name;
  return made;
}

TypeRef type_of(const Structural& schema, bool resource) {
  if (schema.int_or_string) return simple(Kind::dyn);
  switch (schema.kind) {
    case Structural::Kind::kBoolean: return simple(Kind::boolean);
    case Structural::Kind::kInteger: return simple(Kind::integer);
    case Structural::Kind::kNumber: return simple(Kind::real);
    case Structural::Kind::kString: {
      std::string_view format = schema.checks ? std::string_view(schema.checks->format) : std::string_view();
      if (format == "date" || format == "date-time") return simple(Kind::timestamp);
      if (format == "duration") return simple(Kind::duration);
      if (format == "byte") return simple(Kind::bytes);
      return simple(Kind::string);
    }
    case Structural::Kind::kArray: {
      TypeRef item = schema.items ? type_of(*schema.items, schema.items->embedded) : nullptr;
      return item ? list_of(std::move(item)) : nullptr;
    }
    case Structural::Kind::kObject: {
      if (schema.additional) {
        TypeRef value = type_of(*schema.additional, schema.additional->embedded);
        return value ? map_of(simple(Kind::string), std::move(value)) : nullptr;
      }
      auto made = std::make_shared<Type>();
      made->kind = Kind::object;
      made->schema = &schema;
      made->resource = resource || schema.embedded;
      return made;
    }
    case Structural::Kind::kAny: return nullptr;
  }
  return nullptr;
}

bool is_reserved(std::string_view word) {
  static constexpr std::string_view kReserved[] = {
      "true",     "false",   "null",      "in",       "as",  "break",  "const",
      "continue", "else",    "for",       "function", "if",  "import", "let",
      "loop",     "package", "namespace", "return",   "var", "void",   "while"};
  return std::find(std::begin(kReserved), std::end(kReserved), word) != std::end(kReserved);
}
std::optional<std::string> escaped(std::string_view property) {
  if (is_reserved(property)) return "__" + std::string(property) + "__";
  std::string out;
  for (size_t i = 0; i < property.size(); ++i) {
    char c = property[i];
    if (c == '_' && i + 1 < property.size() && property[i + 1] == '_') {
      out += "__underscores__";
      ++i;
    } else if (c == '.') {
      out += "__dot__";
    } else if (c == '-') {
      out += "__dash__";
    } else if (c == '/') {
      out += "__slash__";
    } else {
      out += c;
    }
  }
  if (!is_identifier(out)) return std::nullopt;
  return out;
}

const Structural& string_schema() {
  static const Structural node = string_node();
  return node;
}
const Structural& metadata_schema() {
  static const Structural node = [] {
    Structural made;
    made.kind = Structural::Kind::kObject;
    made.properties.push_back({"generateName", string_node()});
    made.properties.push_back({"name", string_node()});
    return made;
  }();
  return node;
}
const Structural* member_schema(const Structural* schema, bool resource, std::string_view property) {
  if (resource && (property == "apiVersion" || property == "kind")) return &string_schema();
  if (resource && property == "metadata") return &metadata_schema();
  if (!schema) return nullptr;
  if (const Structural* found = schema->property(property)) return found;
  return schema->additional.get();
}

std::optional<FieldOf> field_of(const Type& object, std::string_view identifier) {
  if (object.resource) {
    for (std::string_view name : {"apiVersion", "kind"})
      if (identifier == name) return FieldOf{name, simple(Kind::string)};
    if (identifier == "metadata") return FieldOf{"metadata", type_of(metadata_schema(), false)};
  }
  for (const auto& property : object.schema->properties) {
    // A reserved word is a name all the same after a dot: `self.namespace` beside `self.__namespace__`, as
    // kube-apiserver recognizes it.
    auto name = escaped(property.name);
    if (!name || (*name != identifier && !(is_reserved(identifier) && property.name == identifier))) continue;
    TypeRef type = type_of(property.schema, property.schema.embedded);
    if (!type) return std::nullopt;
    return FieldOf{property.name, std::move(type)};
  }
  return std::nullopt;
}

}  // namespace api::cel
