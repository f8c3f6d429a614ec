// Kinds known only at run time: a structural OpenAPI schema of a CustomResourceDefinition, compiled
// once into nodes that the walks (walk.h, custom/custom.h, openapi.h, table/table.h) follow instead of
// table rows. Immutable after compile_custom_kind(), safe from any thread.
// Source of the rules: kubernetes.io, "Extend the Kubernetes API with CustomResourceDefinitions".
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/json_path.h"
#include "api/schema.h"

namespace re2 {
class RE2;
}

namespace api {

namespace cel {
class Program;
}

struct Structural {
  enum class Kind : uint8_t { kAny, kObject, kArray, kString, kInteger, kNumber, kBoolean };
  Kind kind = Kind::kAny;
  bool nullable = false, preserve_unknown = false, embedded = false, int_or_string = false;
  bool any_members = false;     // additionalProperties: true
  bool defaults_below = false;  // this node or one below it has a default
  bool rules_below = false;     // this node or one below it has a CEL rule
  struct Property;
  std::vector<Property> properties;        // sorted by name
  std::unique_ptr<Structural> additional;  // schema of additionalProperties
  std::unique_ptr<Structural> items;
  std::optional<json::value> default_value;
  std::string list_type;  // "", "atomic", "set", "map"
  std::vector<std::string> list_keys;
  bool map_is_atomic = false;
  struct Checks;
  struct Rule;
  std::unique_ptr<Checks> checks;  // null: none
  std::vector<Rule> rules;         // x-kubernetes-validations

  Structural();
  Structural(Structural&&) noexcept;
  Structural& operator=(Structural&&) noexcept;
  ~Structural();
  const Structural* property(std::string_view name) const;
};
struct Structural::Property {
  std::string name;
  Structural schema;
};
// A CEL rule. The programs are compiled by compile_rules(), once the tree stays where it is: they look
// into it. Variables: self, oldSelf.
struct Structural::Rule {
  std::string rule, message, message_expression, reason, field_path;
  bool optional_old_self = false;
  std::shared_ptr<const cel::Program> program, message_program;  // null: did not compile, or none
};
struct Structural::Checks {
  std::optional<double> minimum, maximum, multiple_of;
  bool exclusive_minimum = false, exclusive_maximum = false;
  std::optional<int64_t> min_length, max_length, min_items, max_items, min_properties, max_properties;
  std::string pattern, format;
  std::unique_ptr<re2::RE2> regex;
  json::array enumeration;  // empty: any value
  std::vector<std::string> required;
  std::vector<Structural> all_of, any_of, one_of;
  std::unique_ptr<Structural> none_of;  // "not"
};
struct PrinterColumn {
  std::string name, type, format, description;
  int priority = 0;
  JsonPath path;
};

// One version of one CustomResourceDefinition.
struct CustomKind {
  std::string group, version, kind, list_kind;
  json::value schema;  // openAPIV3Schema as it was written
  Structural root;
  std::vector<PrinterColumn> columns;
  // scale subresource: JSON paths, "" without one.
  std::string spec_replicas_path, status_replicas_path, label_selector_path;
  bool has_status = false;
  std::string deprecation_warning;  // "" when the version is not deprecated
  Type type;                        // the same schema as rows, for server-side apply

  CustomKind() = default;
  CustomKind(const CustomKind&) = delete;

  // What the rows of `type` point to.
  std::deque<Type> types;
  std::deque<std::vector<Field>> rows;
  std::deque<std::string> texts;
};
// ---- the walks; walk.h comes here for types with `custom` ---------------------------------------
// Types of apiVersion, kind and metadata only: the rest is validate_custom_object()'s, as 422.
base::Status check_custom_types(const Type& type, const json::value& object);
void prune_custom(const Type& type, json::value& object, std::vector<std::string>* unknown);
void default_custom(const Type& type, json::value& object);
void prune_structural(const Structural& schema, json::value& value, std::vector<std::string>* unknown);
void default_structural(const Structural& schema, json::value& value);

}  // namespace api
