// The tables behind every object: one Field per JSON field, one Type per object, generated from
// api/schema/*.schema. All walks (codec, pruning, defaults, validation, patches, OpenAPI) are
// written once over these rows. Immutable, safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace api {

namespace json = base::json;

enum class Shape : uint8_t {
  kString,
  kInt32,
  kInt64,
  kBool,
  kDouble,
  kTime,
  kMicroTime,
  kQuantity,
  kIntOrString,
  kBytes,
  kAny,
  kStruct,
};
enum class Holder : uint8_t { kOne, kList, kMap, kMapOfLists };

struct Type;
// How a struct's member is read and written; null where no struct has the field.
struct MemberOps {
  // Appends nothing when the member is absent (empty string, empty list, disengaged optional).
  void (*encode)(const struct Field&, const void* member, json::object& out);
  // A value of the wrong JSON type is an Error naming the field.
  base::Status (*decode)(const struct Field&, const json::value&, void* member);
};

struct Field {
  const char* name;
  Shape shape;
  Holder holder;
  bool required, immutable, merges;  // merges: strategic merge of lists and "replace keys" maps
  const Type* type;                  // for kStruct
  const char* default_json;          // null: none
  const char* enum_values;           // "A,B"; null: any
  const char* rule;                  // null: none
  const char* merge_key;             // strategic merge; null: none
  const char* strategy;              // "merge", "retainKeys", "merge,retainKeys"; null: replace
  const char* list_type;             // "atomic", "set", "map"; null: default (atomic for lists)
  const char* list_keys;             // "containerPort,protocol"
  const char* doc;                   // may be ""
  const MemberOps* ops;
  size_t offset;
  uint32_t wire;      // protobuf field numbers, a byte each, innermost last; 0: JSON only
  bool wire_pointer;  // there, absent and zero differ
};

struct CustomKind;
struct Type {
  const char* name;     // "Container"
  const char* package;  // "io.k8s.api.core.v1"
  bool is_kind;
  std::span<const Field> fields;  // sorted by name
  const char* doc;
  // Of a kind that a CustomResourceDefinition describes (structural.h): what its schema asks beyond
  // these rows. Null for built-in types, and for the parts of such a kind.
  const CustomKind* custom = nullptr;
  const Field* field(std::string_view name) const;
};

std::span<const Type* const> all_types();
const Type* find_type(std::string_view package, std::string_view name);

// ---- structs <-> JSON ------------------------------------------------------------------------
void encode_struct(const Type& type, const void* in, json::object& out);
base::Status decode_struct(const Type& type, const json::value& in, void* out);

template <typename T>
const Type& type_of();  // specialised in the generated header
template <typename T>
json::value encode(const T& object) {
  json::object out;
  encode_struct(type_of<T>(), &object, out);
  return out;
}
template <typename T>
base::Result<T> decode(const json::value& in) {
  T out;
  if (auto status = decode_struct(type_of<T>(), in, &out); !status.ok()) return status.error();
  return out;
}
template <typename T>
base::Result<T> decode_text(std::string_view text) {
  return decode<T>(TRY(base::parse_json(text)));
}

}  // namespace api
