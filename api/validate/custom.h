// What the checks of a CustomResourceDefinition share: reading JSON that may lack anything, and the
// rules of its schemas. Private to api/validate/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/validate/custom.h"
#include "api/validate/rules.h"
#include "base/json_lists.h"

namespace api::custom {

inline const json::value& at(const json::value& in, const char* name) {
  static const json::value kNone;
  const json::value* found = base::find(in, name);
  return found ? *found : kNone;
}
using base::list_at;
using base::map_at;
inline std::string_view text_at(const json::value& in, const char* name) { return base::string_at(in, name); }
inline bool flag(const json::value& in, const char* name) { return base::as_bool(base::find(in, name)); }
inline std::string joined(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& one : list) out += (out.empty() ? "" : ",") + one;
  return out;
}
inline std::string key(const std::string& path, std::string_view name) {
  return path + "[" + std::string(name) + "]";
}

// The errors of a schema (`path` names it), in kube-apiserver's words.
void schema(rules::Errors& errors, std::string path, const json::value& schema);

}  // namespace api::custom

namespace api {

// What tables cannot say about a CustomResourceDefinition; `before` is null for a create.
FieldErrors validate_custom_resource_definition(const json::value& definition, const json::value* before);

}  // namespace api
