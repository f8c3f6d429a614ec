// Types, pruning and defaults of objects whose kind is known at run time.
#include "api/structural.h"
#include "api/unknown_fields.h"
#include "api/walk.h"
#include "base/json_erase.h"

namespace api {
namespace {

const Type& object_meta() {
  static const Type* type = find_type("io.k8s.apimachinery.pkg.apis.meta.v1", "ObjectMeta");
  return *type;
}

class StructuralPruner {
 public:
  explicit StructuralPruner(std::vector<std::string>* unknown) : unknown_(unknown) {}

  void value(const Structural& schema, json::value& in, bool resource) {
    if (json::array* list = in.if_array()) {
      if (!schema.items) return;
      for (size_t i = 0; i < list->size(); ++i) {
        size_t mark = path_.size();
        path_ += "[" + std::to_string(i) + "]";
        value(*schema.items, (*list)[i], schema.items->embedded);
        path_.resize(mark);
      }
      return;
    }
    json::object* object = in.if_object();
    // A schema that names no members of an int-or-string or of a scalar: validation refuses objects there.
    if (!object || schema.int_or_string) return;
    base::erase_if(*object, [&](auto& member) {
      std::string_view key(member.key().data(), member.key().size());
      size_t mark = enter(key);
      bool kept = true;
      if (resource && (key == "apiVersion" || key == "kind")) {
      } else if (resource && key == "metadata") {
        metadata(member.value());
      } else if (const Structural* property = schema.property(key)) {
        value(*property, member.value(), property->embedded);
      } else if (schema.additional) {
        value(*schema.additional, member.value(), schema.additional->embedded);
      } else if (!schema.preserve_unknown && !schema.any_members) {
        kept = false;
        if (unknown_) unknown_.add(path_);
      }
      path_.resize(mark);
      return !kept;
    });
  }

 private:
  size_t enter(std::string_view key) {
    size_t mark = path_.size();
    if (!path_.empty()) path_ += '.';
    path_ += key;
    return mark;
  }
  void metadata(json::value& in) {
    std::vector<std::string> unknown;
    prune(object_meta(), in, unknown_ ? &unknown : nullptr);
    for (const std::string& path : unknown) unknown_.add(path_ + "." + path);
  }
  std::string path_;
  UnknownFields unknown_;
};

}  // namespace

base::Status check_custom_types(const Type&, const json::value& object) {
  // The metadata of a custom resource decodes like any other's.
  static const Field kRows[] = {
      {"apiVersion", Shape::kString, Holder::kOne, false, false, false, nullptr, nullptr, nullptr, nullptr,
       nullptr, nullptr, nullptr, nullptr, "", nullptr, 0, 0, false},
      {"kind", Shape::kString, Holder::kOne, false, false, false, nullptr, nullptr, nullptr, nullptr, nullptr,
       nullptr, nullptr, nullptr, "", nullptr, 0, 0, false},
      {"metadata", Shape::kStruct, Holder::kOne, false, false, false, &object_meta(), nullptr, nullptr,
       nullptr, nullptr, nullptr, nullptr, nullptr, "", nullptr, 0, 0, false}};
  static const Type kHead{"ObjectMeta", "io.k8s.apimachinery.pkg.apis.meta.v1", false, kRows, ""};
  return check_types(kHead, object);
}

void prune_structural(const Structural& schema, json::value& value, std::vector<std::string>* unknown) {
  StructuralPruner(unknown).value(schema, value, schema.embedded);
}
void prune_custom(const Type& type, json::value& object, std::vector<std::string>* unknown) {
  StructuralPruner(unknown).value(type.custom->root, object, true);
}

void default_structural(const Structural& schema, json::value& in) {
  if (!schema.defaults_below) return;
  if (json::array* list = in.if_array()) {
    if (!schema.items) return;
    for (json::value& item : *list) {
      if (item.is_null() && !schema.items->nullable && schema.items->default_value)
        item = *schema.items->default_value;
      default_structural(*schema.items, item);
    }
    return;
  }
  json::object* object = in.if_object();
  if (!object) return;
  for (const auto& [name, property] : schema.properties) {
    if (!property.defaults_below) continue;
    json::value* found = object->if_contains(name);
    // A null where none is allowed counts as absent when there is a default.
    if (property.default_value && (!found || (found->is_null() && !property.nullable)))
      found = &((*object)[name] = *property.default_value);
    if (found) default_structural(property, *found);
  }
  if (!schema.additional || !schema.additional->defaults_below) return;
  for (auto& item : *object) {
    if (schema.property({item.key().data(), item.key().size()})) continue;
    if (item.value().is_null() && !schema.additional->nullable && schema.additional->default_value)
      item.value() = *schema.additional->default_value;
    default_structural(*schema.additional, item.value());
  }
}
void default_custom(const Type& type, json::value& object) { default_structural(type.custom->root, object); }

}  // namespace api
