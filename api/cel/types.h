// The types of CEL expressions: what the checker infers and what an overload's signature names.
// Immutable, shared, safe from any thread. A schema that a type points to must outlive it.
// Source of the rules: the CEL language definition; k8s.io/apiserver/pkg/cel for names and schemas.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/structural.h"

namespace api::cel {

enum class Kind : uint8_t {
  dyn,
  null,
  boolean,
  integer,
  uinteger,
  real,
  string,
  bytes,
  timestamp,
  duration,
  type,
  list,
  map,
  object,
  optional,
  opaque,
  parameter,  // of a signature: "A"
};

struct Type;
using TypeRef = std::shared_ptr<const Type>;
struct Type {
  Kind kind = Kind::dyn;
  std::string name;                    // of an opaque type ("kubernetes.Quantity") or a parameter
  TypeRef key, element;                // of maps, lists and optionals
  const Structural* schema = nullptr;  // of an object
  bool resource = false;               // an object that has apiVersion, kind and metadata beside its schema

  std::string text() const;  // "list(string)", as cel-go prints it
};

TypeRef simple(Kind kind);  // one shared instance for each kind without parameters
TypeRef list_of(TypeRef element);
TypeRef map_of(TypeRef key, TypeRef element);
TypeRef optional_of(TypeRef element);
TypeRef opaque(std::string_view name);

// Null for what expressions cannot see: a field without a type.
TypeRef type_of(const Structural& schema, bool resource);

// A property's name as an identifier: "a-b" is a__dash__b, "in" is __in__. Source: the page on
// CustomResourceDefinitions, "Validation rules". None when no identifier can stand for it.
std::optional<std::string> escaped(std::string_view property);

// A field of an object by its identifier; null when there is none. The view is of the schema's name.
struct FieldOf {
  std::string_view property;
  TypeRef type;
};
std::optional<FieldOf> field_of(const Type& object, std::string_view identifier);

// Schemas of what every resource has: {name, generateName}, and a plain string.
const Structural& metadata_schema();
const Structural& string_schema();
// The schema of a member of a value with this schema; null when it is not known.
const Structural* member_schema(const Structural* schema, bool resource, std::string_view property);

}  // namespace api::cel
