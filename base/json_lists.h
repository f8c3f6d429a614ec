// Lists and maps of a JSON value that may lack them or be something else: empty then.
#pragma once

#include <string_view>

#include "base/json.h"

namespace base {

inline const json::array& list_at(const json::value* value) {
  static const json::array kNone;
  return value && value->is_array() ? value->get_array() : kNone;
}
inline const json::array& list_at(const json::value& object, std::string_view key) { return list_at(find(object, key)); }
inline const json::object& map_at(const json::value* value) {
  static const json::object kNone;
  return value && value->is_object() ? value->get_object() : kNone;
}
inline const json::object& map_at(const json::value& object, std::string_view key) { return map_at(find(object, key)); }

}  // namespace base
