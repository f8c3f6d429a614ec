// JSON as Boost.JSON values, with the limits and the strictness that a server needs.
// Bad input is an Error, never an exception.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace base {
namespace json = boost::json;

constexpr size_t kMaxJsonDepth = 128;  // Kubernetes refuses deeper objects too (json decoder limit)

// Parses exactly one UTF-8 document. With `duplicates`, the paths of keys given twice in one
// object are appended to it ("spec.replicas"); the last value wins, as in Kubernetes.
Result<json::value> parse_json(std::string_view text, std::vector<std::string>* duplicates = nullptr);
std::string to_json(const json::value& value);
std::string quoted(std::string_view text);  // as a JSON string

// Lookups that never fail: an absent or wrongly typed member is null, "", 0, or false.
const json::value* find(const json::value& value, std::string_view key);
// find_path(pod, "spec", "nodeName")
template <typename... Keys>
const json::value* find_path(const json::value& value, Keys... keys) {
  const json::value* at = &value;
  ((at = at ? find(*at, keys) : nullptr), ...);
  return at;
}
std::string_view as_string(const json::value* value);
int64_t as_int(const json::value* value, int64_t fallback = 0);
bool as_bool(const json::value* value, bool fallback = false);
template <typename... Keys>
std::string_view string_at(const json::value& value, Keys... keys) {
  return as_string(find_path(value, keys...));
}
// The object at a path, made where it is absent or of another type.
template <typename... Keys>
json::object& object_at(json::object& root, Keys... keys) {
  json::object* at = &root;
  ((at =
        [](json::object& in, std::string_view key) {
          json::value& child = in[key];
          if (!child.is_object()) child = json::object();
          return &child.get_object();
        }(*at, keys)),
   ...);
  return *at;
}

}  // namespace base
