// Lists and maps of a JSON value that may lack them or be something else: empty then. And the way back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace base {

inline const json::array& list_at(const json::value* value) {
  static const json::array kNone;
  return value && value->is_array() ? value->get_array() : kNone;
}
inline const json::array& list_at(const json::value& object, std::string_view key) {
  return list_at(find(object, key));
}
inline const json::object& map_at(const json::value* value) {
  static const json::object kNone;
  return value && value->is_object() ? value->get_object() : kNone;
}
inline const json::object& map_at(const json::value& object, std::string_view key) {
  return map_at(find(object, key));
}
// The texts of a list; what is no text counts as "".
inline std::vector<std::string> texts_of(const json::value* list) {
  std::vector<std::string> out;
  for (const json::value& item : list_at(list)) out.emplace_back(as_string(&item));
  return out;
}
inline json::array list_of(const std::vector<std::string>& texts) {
  return json::array(texts.begin(), texts.end());
}
// A member as a list, to be added to; whatever else stood there is replaced by an empty one.
inline json::array& list_in(json::object& object, std::string_view key) {
  json::value& value = object[key];
  if (!value.is_array()) value = json::array();
  return value.get_array();
}
// `to` has the member as `from` has it, or not at all.
inline void copy_member(const json::object& from, json::object& to, std::string_view key) {
  if (const json::value* value = from.if_contains(key)) to[key] = *value;
  else to.erase(key);
}

}  // namespace base
