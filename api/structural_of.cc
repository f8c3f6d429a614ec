#include "api/structural_of.h"

#include <re2/re2.h>

#include <algorithm>

namespace api {

namespace {

class SchemaMaker {
 public:
  Structural of_type(const Type& type) {
    if (std::find(open_.begin(), open_.end(), &type) != open_.end()) return any();
    open_.push_back(&type);
    Structural out;
    out.kind = Structural::Kind::kObject;
    for (const Field& field : type.fields)  // sorted by name, as properties are
      out.properties.push_back({field.name, of_field(field)});
    open_.pop_back();
    return out;
  }

 private:
  static Structural any() {
    Structural out;
    out.int_or_string = true;  // what expressions take for any type
    return out;
  }
  static Structural plain(Structural::Kind kind, const char* format = "") {
    Structural out;
    out.kind = kind;
    if (*format) {
      out.checks = std::make_unique<Structural::Checks>();
      out.checks->format = format;
    }
    return out;
  }
  static Structural around(Structural::Kind kind, Structural item) {
    Structural out;
    out.kind = kind;
    auto& holder = kind == Structural::Kind::kArray ? out.items : out.additional;
    holder = std::make_unique<Structural>(std::move(item));
    return out;
  }
  Structural one(const Field& field) {
    using Kind = Structural::Kind;
    switch (field.shape) {
      case Shape::kString: return plain(Kind::kString);
      case Shape::kInt32:
      case Shape::kInt64: return plain(Kind::kInteger);
      case Shape::kBool: return plain(Kind::kBoolean);
      case Shape::kDouble: return plain(Kind::kNumber);
      case Shape::kTime:
      case Shape::kMicroTime: return plain(Kind::kString, "date-time");
      case Shape::kBytes: return plain(Kind::kString, "byte");
      case Shape::kStruct: return field.type ? of_type(*field.type) : any();
      case Shape::kQuantity:
      case Shape::kIntOrString:
      case Shape::kAny: return any();
    }
    return any();
  }
  Structural of_field(const Field& field) {
    using Kind = Structural::Kind;
    switch (field.holder) {
      case Holder::kOne: return one(field);
      case Holder::kList: return around(Kind::kArray, one(field));
      case Holder::kMap: return around(Kind::kObject, one(field));
      case Holder::kMapOfLists: return around(Kind::kObject, around(Kind::kArray, one(field)));
    }
    return any();
  }
  std::vector<const Type*> open_;
};

}  // namespace

Structural structural_of(const Type& type) { return SchemaMaker().of_type(type); }

}  // namespace api
