// How each C++ member type of the generated structs is read from and written to JSON. Included by
// the generated sources only.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/int_or_string.h"
#include "api/schema.h"

namespace api::members {

base::Error wrong_type(const Field& field, const char* wanted, const json::value& found);

inline json::value put(const std::string& v) { return json::value(v); }
inline json::value put(int32_t v) { return json::value(v); }
inline json::value put(int64_t v) { return json::value(v); }
inline json::value put(bool v) { return json::value(v); }
inline json::value put(double v) { return json::value(v); }
inline json::value put(const json::value& v) { return v; }
inline json::value put(const IntOrString& v) {
  return v.is_string ? json::value(v.text) : json::value(v.number);
}
base::Status get(const Field& field, const json::value& in, std::string& out);
base::Status get(const Field& field, const json::value& in, int32_t& out);
base::Status get(const Field& field, const json::value& in, int64_t& out);
base::Status get(const Field& field, const json::value& in, bool& out);
base::Status get(const Field& field, const json::value& in, double& out);
base::Status get(const Field& field, const json::value& in, json::value& out);
base::Status get(const Field& field, const json::value& in, IntOrString& out);

// A struct of the object model, through its own table.
template <typename T>
requires requires { type_of<T>(); } && std::is_class_v<T> && T::kIsApiStruct json::value put(const T& v) {
  json::object out;
  encode_struct(type_of<T>(), &v, out);
  return out;
}
template <typename T>
requires std::is_class_v<T> && T::kIsApiStruct base::Status get(const Field& field, const json::value& in,
                                                                T& out) {
  if (!in.is_object()) return wrong_type(field, "an object", in);
  return decode_struct(type_of<T>(), in, &out);
}
template <typename T>
json::value put(const std::vector<T>& v) {
  json::array out;
  out.reserve(v.size());
  for (const auto& item : v) out.push_back(put(static_cast<const T&>(item)));
  return out;
}
template <typename T>
base::Status get(const Field& field, const json::value& in, std::vector<T>& out) {
  const json::array* array = in.if_array();
  if (!array) return wrong_type(field, "a list", in);
  out.clear();
  out.reserve(array->size());
  for (const json::value& item : *array) {
    T value{};
    if (auto status = get(field, item, value); !status.ok()) return status;
    out.push_back(std::move(value));
  }
  return {};
}
template <typename T>
json::value put(const std::map<std::string, T>& v) {
  json::object out;
  for (const auto& [key, item] : v) out.emplace(key, put(item));
  return out;
}
template <typename T>
base::Status get(const Field& field, const json::value& in, std::map<std::string, T>& out) {
  const json::object* object = in.if_object();
  if (!object) return wrong_type(field, "a map", in);
  out.clear();
  for (const auto& item : *object) {
    T value{};
    if (auto status = get(field, item.value(), value); !status.ok()) return status;
    out.emplace(std::string(item.key()), std::move(value));
  }
  return {};
}

// What counts as absent: the zero value of a plain member, a disengaged optional.
template <typename T>
bool absent(const T& v) {
  if constexpr (requires { v.empty(); }) return v.empty();
  else return false;
}
inline bool absent(const json::value& v) { return v.is_null(); }

template <typename T>
struct Ops {
  static void encode(const Field& field, const void* member, json::object& out) {
    const T& v = *static_cast<const T*>(member);
    if (absent(v) && !field.required) return;
    out.emplace(field.name, put(v));
  }
  static base::Status decode(const Field& field, const json::value& in, void* member) {
    return get(field, in, *static_cast<T*>(member));
  }
  static constexpr MemberOps value{&encode, &decode};
};
template <typename T>
struct Ops<std::optional<T>> {
  static void encode(const Field& field, const void* member, json::object& out) {
    const auto& v = *static_cast<const std::optional<T>*>(member);
    if (v) out.emplace(field.name, put(*v));
  }
  static base::Status decode(const Field& field, const json::value& in, void* member) {
    return get(field, in, static_cast<std::optional<T>*>(member)->emplace());
  }
  static constexpr MemberOps value{&encode, &decode};
};

}  // namespace api::members
