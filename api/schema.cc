#include "api/schema.h"

#include "api/member_ops.h"

namespace api {

namespace {
// As strcmp(), against a text that no zero ends. A name is not measured first: names differ early.
int compare_names(const char* name, std::string_view wanted) {
  for (char c : wanted) {
    if (*name == '\0') return -1;  // also where the text has a zero of its own
    if (*name != c) return static_cast<unsigned char>(*name) - static_cast<unsigned char>(c);
    ++name;
  }
  return static_cast<unsigned char>(*name);
}
}  // namespace

const Field* Type::field(std::string_view wanted) const {
  for (size_t first = 0, last = fields.size(); first < last;) {
    size_t middle = (first + last) / 2;
    int order = compare_names(fields[middle].name, wanted);
    if (order == 0) return &fields[middle];
    if (order < 0) first = middle + 1;
    else last = middle;
  }
  return nullptr;
}

const Type* find_type(std::string_view package, std::string_view name) {
  for (const Type* type : all_types())
    if (type->name == name && type->package == package) return type;
  return nullptr;
}

void encode_struct(const Type& type, const void* in, json::object& out) {
  for (const Field& field : type.fields)
    if (field.ops) field.ops->encode(field, static_cast<const char*>(in) + field.offset, out);
}

base::Status decode_struct(const Type& type, const json::value& in, void* out) {
  const json::object* object = in.if_object();
  if (!object) return base::make_error(base::Kind::kInvalid, "decode", type.name, "not an object");
  for (const auto& item : *object) {
    if (item.value().is_null()) continue;
    const Field* field = type.field({item.key().data(), item.key().size()});
    if (!field || !field->ops) continue;
    if (auto status = field->ops->decode(*field, item.value(), static_cast<char*>(out) + field->offset);
        !status.ok())
      return status;
  }
  return {};
}

namespace members {

base::Error wrong_type(const Field& field, const char* wanted, const json::value& found) {
  return base::make_error(
      base::Kind::kInvalid, "decode field", field.name,
      std::string("expected ") + wanted + ", found " + std::string(json::to_string(found.kind())));
}
base::Status get(const Field& field, const json::value& in, std::string& out) {
  const json::string* text = in.if_string();
  if (!text) {
    // Quantities may be written as numbers: "cpu: 1".
    if (field.shape != Shape::kQuantity || !in.is_number()) return wrong_type(field, "a string", in);
    out = base::to_json(in);
    return {};
  }
  out.assign(text->data(), text->size());
  return {};
}
base::Status get(const Field& field, const json::value& in, int64_t& out) {
  if (const int64_t* n = in.if_int64()) {
    out = *n;
    return {};
  }
  if (const double* d = in.if_double(); d && *d == static_cast<double>(static_cast<int64_t>(*d))) {
    out = static_cast<int64_t>(*d);
    return {};
  }
  return wrong_type(field, "an integer", in);
}
base::Status get(const Field& field, const json::value& in, int32_t& out) {
  int64_t wide = 0;
  if (auto status = get(field, in, wide); !status.ok()) return status;
  if (wide < INT32_MIN || wide > INT32_MAX) return wrong_type(field, "a 32-bit integer", in);
  out = static_cast<int32_t>(wide);
  return {};
}
base::Status get(const Field& field, const json::value& in, bool& out) {
  const bool* flag = in.if_bool();
  if (!flag) return wrong_type(field, "a boolean", in);
  out = *flag;
  return {};
}
base::Status get(const Field& field, const json::value& in, double& out) {
  if (!in.is_number()) return wrong_type(field, "a number", in);
  out = in.to_number<double>();
  return {};
}
base::Status get(const Field&, const json::value& in, json::value& out) {
  out = in;
  return {};
}
base::Status get(const Field& field, const json::value& in, IntOrString& out) {
  if (const json::string* text = in.if_string()) {
    out = {true, 0, std::string(text->data(), text->size())};
    return {};
  }
  if (const int64_t* n = in.if_int64()) {
    out = {false, *n, {}};
    return {};
  }
  return wrong_type(field, "an integer or a string", in);
}

}  // namespace members
}  // namespace api
