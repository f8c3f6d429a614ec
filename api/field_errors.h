// What is wrong with an object, field by field, in Kubernetes' words: api/validate and api/custom collect it,
// a 422 answer carries it. Pure.
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <vector>

#include "api/schema.h"

namespace api {

struct FieldError {
  enum class Type {
    required,
    invalid,
    duplicate,
    not_supported,
    forbidden,
    too_long,
    too_many,
    not_found,
    type_invalid,
    internal,
  };
  Type type = Type::invalid;
  std::string field;       // "spec.containers[0].name"
  std::string value_text;  // as printed: "\"x\"", "5"; empty: not shown
  std::string detail;

  std::string_view reason() const;  // StatusCause.reason: "FieldValueInvalid"
  std::string body() const;         // StatusCause.message: "Invalid value: \"x\": must be …"
  std::string message() const;      // "spec.foo: Invalid value: …"
};
using FieldErrors = std::vector<FieldError>;
json::array causes(const FieldErrors& errors);

struct IntOrString;

namespace rules {

std::string text_of(std::string_view value);  // as an error shows it: quoted
inline std::string text_of(const char* value) { return text_of(std::string_view(value)); }
std::string text_of(const json::value& value);
template <std::integral T>
std::string text_of(T value) {
  return std::to_string(value);
}
std::string text_of(const IntOrString& value);

struct Errors {
  FieldErrors list;
  using Type = FieldError::Type;
  void required(std::string field, std::string detail = {}) {
    list.push_back({Type::required, std::move(field), {}, std::move(detail)});
  }
  void forbidden(std::string field, std::string detail) {
    list.push_back({Type::forbidden, std::move(field), {}, std::move(detail)});
  }
  template <typename T>
  void invalid(std::string field, const T& value, std::string detail) {
    list.push_back({Type::invalid, std::move(field), text_of(value), std::move(detail)});
  }
  template <typename T>
  void duplicate(std::string field, const T& value) {
    list.push_back({Type::duplicate, std::move(field), text_of(value), {}});
  }
  template <typename T>
  void not_found(std::string field, const T& value) {
    list.push_back({Type::not_found, std::move(field), text_of(value), {}});
  }
  void not_supported(std::string field, std::string_view value, std::vector<std::string> supported);
  void too_long(std::string field, size_t limit) {
    list.push_back(
        {Type::too_long, std::move(field), {}, "may not be more than " + std::to_string(limit) + " bytes"});
  }
  void too_many(std::string field, size_t have, size_t limit) {
    list.push_back({Type::too_many, std::move(field), std::to_string(have),
                    "must have at most " + std::to_string(limit) + " items"});
  }
  // Each sentence of a check of validate.h becomes one error.
  void all(const std::string& field, std::string_view value, const std::vector<std::string>& wrong) {
    for (const auto& sentence : wrong) invalid(field, value, sentence);
  }
};
inline std::string at(const std::string& list, size_t i) { return list + "[" + std::to_string(i) + "]"; }

}  // namespace rules
}  // namespace api
