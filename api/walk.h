// Walks over an object and its table, before anything else looks at a request's body: types,
// unknown fields, defaults. Pure. Objects are JSON; nothing here knows a particular kind.
#pragma once

#include <string>
#include <vector>

#include "api/schema.h"

namespace api {

// Something wrong at one place of an object.
struct Problem {
  std::string path, reason, detail;  // "spec.containers[0].ports", "wrong type", the sentence
};

// The first field of a wrong JSON type, as clients know it from Go's decoder:
// "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool".
// Quantities and times must parse. null is allowed anywhere.
base::Status check_types(const Type& type, const json::value& object);

// Removes fields that the schema does not know and appends their paths ("spec.foo",
// "spec.containers[0].bar") to `unknown` unless it is null. Drops nulls, writes quantities in
// their canonical form and times in UTC, as a decode and encode in Go does. After check_types().
void prune(const Type& type, json::value& object, std::vector<std::string>* unknown = nullptr);

// The tables' default= marks, inside objects that are present; a default never makes its parent.
void apply_defaults(const Type& type, json::value& object);

// Splits "apps/v1/Deployment" or "v1/Pod". find_kind: null for a kind unknown here.
struct Gvk {
  std::string group, version, kind;
};
Gvk parse_gvk(std::string_view gvk);
const Type* find_kind(std::string_view gvk);
Gvk gvk_of(const Type& type);  // {"apps", "v1", "Deployment"}; of a package's other types, too

}  // namespace api
