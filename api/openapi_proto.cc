#include "api/openapi_proto.h"

#include <cstdint>

#include "api/wire_format.h"

namespace api {
namespace {

namespace json = base::json;

// Wire format (protobuf.dev/programming-guides/encoding): varints and length-delimited fields.
void put_text(std::string& out, uint32_t field, const json::value* value) {
  if (std::string_view text = base::as_string(value); !text.empty()) put_bytes(out, field, text);
}
void put_bool(std::string& out, uint32_t field, bool value) {
  if (!value) return;
  put_varint(out, static_cast<uint64_t>(field) << 3);
  out += '\1';
}
void put_texts(std::string& out, uint32_t field, const json::value* list) {
  if (!list || !list->is_array()) return;
  for (const json::value& item : list->get_array()) put_bytes(out, field, base::as_string(&item));
}
// message Any { string yaml = 2; }: JSON is YAML.
std::string any(const json::value& value) {
  std::string out;
  put_bytes(out, 2, base::to_json(value));
  return out;
}
// message Named… { string name = 1; … value = 2; }
void put_named(std::string& out, uint32_t field, std::string_view name, const std::string& value) {
  std::string entry;
  put_bytes(entry, 1, name);
  put_bytes(entry, 2, value);
  put_bytes(out, field, entry);
}
void put_extensions(std::string& out, uint32_t field, const json::object& object) {
  for (const auto& item : object)
    if (std::string_view(item.key()).starts_with("x-")) put_named(out, field, item.key(), any(item.value()));
}

std::string schema(const json::value& in) {
  std::string out;
  const json::object* object = in.if_object();
  if (!object) return out;
  put_text(out, 1, object->if_contains("$ref"));
  put_text(out, 2, object->if_contains("format"));
  put_text(out, 4, object->if_contains("description"));
  if (const json::value* value = object->if_contains("default")) put_bytes(out, 5, any(*value));
  put_texts(out, 19, object->if_contains("required"));
  if (const json::value* list = object->if_contains("enum"); list && list->is_array())
    for (const json::value& item : list->get_array()) put_bytes(out, 20, any(item));
  if (const json::value* more = object->if_contains("additionalProperties")) {
    std::string item;
    if (more->is_bool()) put_bool(item, 2, more->get_bool());
    else put_bytes(item, 1, schema(*more));
    put_bytes(out, 21, item);
  }
  if (const json::value* type = object->if_contains("type")) {
    std::string item;
    put_text(item, 1, type);
    put_bytes(out, 22, item);
  }
  if (const json::value* items = object->if_contains("items")) {
    std::string item;
    put_bytes(item, 1, schema(*items));
    put_bytes(out, 23, item);
  }
  if (const json::value* all = object->if_contains("allOf"); all && all->is_array())
    for (const json::value& part : all->get_array()) put_bytes(out, 24, schema(part));
  if (const json::value* properties = object->if_contains("properties");
      properties && properties->is_object()) {
    std::string item;
    for (const auto& property : properties->get_object())
      put_named(item, 1, property.key(), schema(property.value()));
    put_bytes(out, 25, item);
  }
  put_extensions(out, 31, *object);
  return out;
}

// ParametersItem { Parameter { BodyParameter | NonBodyParameter { query = 3, path = 4 } } }
std::string parameter(const json::value& in) {
  std::string_view place = base::string_at(in, "in");
  std::string inner, outer, item;
  if (place == "body") {
    put_text(inner, 1, base::find(in, "description"));
    put_text(inner, 2, base::find(in, "name"));
    put_text(inner, 3, base::find(in, "in"));
    put_bool(inner, 4, base::as_bool(base::find(in, "required")));
    if (const json::value* body = base::find(in, "schema")) put_bytes(inner, 5, schema(*body));
    put_bytes(outer, 1, inner);
  } else {
    bool query = place == "query";
    put_bool(inner, 1, base::as_bool(base::find(in, "required")));
    put_text(inner, 2, base::find(in, "in"));
    put_text(inner, 3, base::find(in, "description"));
    put_text(inner, 4, base::find(in, "name"));
    put_text(inner, query ? 6 : 5, base::find(in, "type"));
    std::string non_body;
    put_bytes(non_body, query ? 3 : 4, inner);
    put_bytes(outer, 2, non_body);
  }
  put_bytes(item, 1, outer);
  return item;
}

std::string operation(const json::value& in) {
  std::string out;
  const json::object* object = in.if_object();
  if (!object) return out;
  put_texts(out, 1, object->if_contains("tags"));
  put_text(out, 3, object->if_contains("description"));
  put_text(out, 5, object->if_contains("operationId"));
  put_texts(out, 6, object->if_contains("produces"));
  put_texts(out, 7, object->if_contains("consumes"));
  if (const json::value* list = object->if_contains("parameters"); list && list->is_array())
    for (const json::value& item : list->get_array()) put_bytes(out, 8, parameter(item));
  put_extensions(out, 13, *object);
  return out;
}

std::string path_item(const json::value& in) {
  std::string out;
  static constexpr std::pair<const char*, int> kMethods[] = {
      {"get", 2}, {"put", 3}, {"post", 4}, {"delete", 5}, {"options", 6}, {"head", 7}, {"patch", 8}};
  for (auto [name, field] : kMethods)
    if (const json::value* found = base::find(in, name)) put_bytes(out, field, operation(*found));
  if (const json::value* list = base::find(in, "parameters"); list && list->is_array())
    for (const json::value& item : list->get_array()) put_bytes(out, 9, parameter(item));
  return out;
}

}  // namespace

std::string openapi_v2_protobuf(const json::value& document) {
  std::string out, info, paths, definitions;
  put_text(out, 1, base::find(document, "swagger"));
  put_text(info, 1, base::find_path(document, "info", "title"));
  put_text(info, 2, base::find_path(document, "info", "version"));
  put_bytes(out, 2, info);
  if (const json::value* all = base::find(document, "paths"); all && all->is_object())
    for (const auto& item : all->get_object()) put_named(paths, 2, item.key(), path_item(item.value()));
  put_bytes(out, 8, paths);
  if (const json::value* all = base::find(document, "definitions"); all && all->is_object())
    for (const auto& item : all->get_object()) put_named(definitions, 1, item.key(), schema(item.value()));
  put_bytes(out, 9, definitions);
  return out;
}

}  // namespace api
