#include "api/field_errors.h"

#include <algorithm>

#include "api/int_or_string.h"

namespace api {

std::string_view FieldError::reason() const {
  switch (type) {
    case Type::required: return "FieldValueRequired";
    case Type::invalid: return "FieldValueInvalid";
    case Type::duplicate: return "FieldValueDuplicate";
    case Type::not_supported: return "FieldValueNotSupported";
    case Type::forbidden: return "FieldValueForbidden";
    case Type::too_long: return "FieldValueTooLong";
    case Type::too_many: return "FieldValueTooMany";
    case Type::not_found: return "FieldValueNotFound";
    case Type::type_invalid: return "FieldValueTypeInvalid";
    case Type::internal: return "InternalError";
  }
  return "";
}
std::string FieldError::body() const {
  std::string out;
  switch (type) {
    case Type::required: out = "Required value"; break;
    case Type::invalid:
    case Type::type_invalid: out = "Invalid value"; break;
    case Type::duplicate: out = "Duplicate value"; break;
    case Type::not_supported: out = "Unsupported value"; break;
    case Type::forbidden: out = "Forbidden"; break;
    case Type::too_long: out = "Too long"; break;
    case Type::too_many: out = "Too many"; break;
    case Type::not_found: out = "Not found"; break;
    case Type::internal: out = "Internal error"; break;
  }
  if (!value_text.empty()) out += ": " + value_text;
  if (!detail.empty()) out += ": " + detail;
  return out;
}
std::string FieldError::message() const { return field + ": " + body(); }

json::array causes(const FieldErrors& errors) {
  json::array out;
  for (const FieldError& error : errors)
    out.push_back(
        json::object{{"reason", error.reason()}, {"message", error.body()}, {"field", error.field}});
  return out;
}

namespace rules {

std::string text_of(std::string_view value) { return base::to_json(json::value(value)); }
std::string text_of(const json::value& value) { return base::to_json(value); }
std::string text_of(const IntOrString& value) {
  return value.is_string ? text_of(std::string_view(value.text)) : std::to_string(value.number);
}
void Errors::not_supported(std::string field, std::string_view value, std::vector<std::string> supported) {
  std::sort(supported.begin(), supported.end());
  std::string detail = "supported values: ";
  for (size_t i = 0; i < supported.size(); ++i)
    detail += (i ? ", " : "") + text_of(std::string_view(supported[i]));
  list.push_back({Type::not_supported, std::move(field), text_of(value), std::move(detail)});
}

}  // namespace rules
}  // namespace api
