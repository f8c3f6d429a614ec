// What expressions construct to change an object: Object.spec{…} and JSONPatch{…}, and how any value becomes
// JSON.
// Source: kubernetes.io, "Mutating Admission Policy"; the sentences are kube-apiserver's.
#pragma once

#include <map>
#include <string>

#include "api/cel/value.h"
#include "base/result.h"

namespace api::cel {

struct Constructed : Opaque {
  std::string name;  // "Object", "Object.spec.template", "JSONPatch"
  std::map<std::string, Value> fields;
  std::string_view type_name() const override { return name; }
  bool equals(const Opaque& other) const override;
};

// Bounded, since an expression may put one value into itself many times over. An object's type has to be the
// path of fields on which it stands below the outermost one: Object.spec{selector: Object.spec.selector{…}};
// lists and maps between them count for nothing.
base::Result<json::value> json_of(const Value& value);

}  // namespace api::cel
