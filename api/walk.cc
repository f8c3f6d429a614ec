#include "api/walk.h"

#include <unordered_map>

#include "api/quantity.h"
#include "api/structural.h"
#include "api/unknown_fields.h"
#include "base/base64.h"
#include "base/instant.h"
#include "base/json_erase.h"

namespace api {

namespace {

// ---- names of Go's types, for messages ---------------------------------------------------------
std::string short_package(const Type& type) {
  std::string_view package = type.package;
  return std::string(package.substr(package.rfind('.') + 1));
}
std::string go_type(const Field& field) {
  std::string one;
  switch (field.shape) {
    case Shape::kString: one = "string"; break;
    case Shape::kInt32: one = "int32"; break;
    case Shape::kInt64: one = "int64"; break;
    case Shape::kBool: one = "bool"; break;
    case Shape::kDouble: one = "float64"; break;
    case Shape::kTime: one = "v1.Time"; break;
    case Shape::kMicroTime: one = "v1.MicroTime"; break;
    case Shape::kQuantity: one = "resource.Quantity"; break;
    case Shape::kIntOrString: one = "int32"; break;
    case Shape::kBytes: one = "[]uint8"; break;
    case Shape::kAny: one = "interface {}"; break;
    case Shape::kStruct: one = short_package(*field.type) + "." + field.type->name; break;
  }
  switch (field.holder) {
    case Holder::kOne: return one;
    case Holder::kList: return "[]" + one;
    case Holder::kMap: return "map[string]" + one;
    case Holder::kMapOfLists: return "map[string][]" + one;
  }
  return one;
}
std::string json_word(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null: return "null";
    case json::kind::bool_: return "bool";
    case json::kind::int64:
    case json::kind::uint64: return "number";
    case json::kind::double_: {
      char text[40];
      snprintf(text, sizeof text, "number %g", value.get_double());
      return text;
    }
    case json::kind::string: return "string";
    case json::kind::array: return "array";
    case json::kind::object: return "object";
  }
  return "value";
}

base::Error refuse(std::string sentence) {
  return base::make_error(base::Kind::kInvalid, {}, {}, std::move(sentence));  // shown as it is
}

class TypeCheck {
 public:
  base::Status object(const Type& type, const json::object& in) {
    for (const auto& item : in) {
      if (item.value().is_null()) continue;
      const Field* field = type.field({item.key().data(), item.key().size()});
      if (!field) continue;
      size_t mark = path_.size();
      path_ += path_.empty() ? "" : ".";
      path_ += field->name;
      auto status = holder(type, *field, item.value());
      if (!status.ok()) return status;
      path_.resize(mark);
    }
    return {};
  }

 private:
  base::Status wrong(const Type& owner, const std::string& go, const json::value& found) {
    return refuse("json: cannot unmarshal " + json_word(found) + " into Go struct field " + owner.name + "." +
                  path_ + " of type " + go);
  }
  base::Status list(const Type& owner, const Field& field, const json::value& in) {
    const json::array* array = in.if_array();
    if (!array) {
      std::string go = go_type(field);
      return wrong(owner, go.starts_with("map[string][]") ? go.substr(11) : go, in);
    }
    for (const json::value& one : *array)
      if (auto status = single(owner, field, one); !status.ok()) return status;
    return {};
  }
  base::Status holder(const Type& owner, const Field& field, const json::value& in) {
    if (field.holder == Holder::kOne) return single(owner, field, in);
    if (field.holder == Holder::kList) return list(owner, field, in);
    const json::object* map = in.if_object();
    if (!map) return wrong(owner, go_type(field), in);
    for (const auto& item : *map) {
      if (item.value().is_null()) continue;
      auto status = field.holder == Holder::kMap ? single(owner, field, item.value())
                                                 : list(owner, field, item.value());
      if (!status.ok()) return status;
    }
    return {};
  }
  base::Status single(const Type& owner, const Field& field, const json::value& in) {
    if (in.is_null()) return {};
    auto go = [&] {
      Field one = field;
      one.holder = Holder::kOne;
      return go_type(one);
    };
    switch (field.shape) {
      case Shape::kAny: return {};
      case Shape::kString: return in.is_string() ? base::Status() : wrong(owner, go(), in);
      case Shape::kBool: return in.is_bool() ? base::Status() : wrong(owner, go(), in);
      case Shape::kDouble: return in.is_number() ? base::Status() : wrong(owner, go(), in);
      case Shape::kInt32:
      case Shape::kInt64: {
        const int64_t* n = in.if_int64();
        bool fits = n && (field.shape == Shape::kInt64 || (*n >= INT32_MIN && *n <= INT32_MAX));
        if (fits) return {};
        if (n || in.is_uint64())
          return refuse("json: cannot unmarshal number " + base::to_json(in) + " into Go struct field " +
                        owner.name + "." + path_ + " of type " + go());
        return wrong(owner, go(), in);
      }
      case Shape::kIntOrString:
        if (in.is_string() || (in.if_int64() && *in.if_int64() >= INT32_MIN && *in.if_int64() <= INT32_MAX))
          return {};
        return wrong(owner, go(), in);
      case Shape::kQuantity: {
        std::string text = in.is_string() ? std::string(base::as_string(&in)) : base::to_json(in);
        if (const double* d = in.if_double()) text = fmt::format("{}", *d);
        auto quantity = Quantity::parse(text);
        return quantity.ok() ? base::Status() : refuse(quantity.error().reason);
      }
      case Shape::kTime:
      case Shape::kMicroTime: {
        if (!in.is_string()) return wrong(owner, go(), in);
        std::string text(base::as_string(&in));
        if (base::parse_instant(text)) return {};
        const char* layout =
            field.shape == Shape::kTime ? "2006-01-02T15:04:05Z07:00" : "2006-01-02T15:04:05.000000Z07:00";
        return refuse("parsing time " + base::to_json(in) + " as \"" + layout + "\": cannot parse " +
                      base::to_json(in));
      }
      case Shape::kBytes: {
        if (!in.is_string()) return wrong(owner, go(), in);
        auto wrong = base::base64_error(base::as_string(&in));
        return wrong ? refuse("illegal base64 data at input byte " + std::to_string(*wrong)) : base::Status();
      }
      case Shape::kStruct: {
        if (!in.is_object()) return wrong(owner, go(), in);
        return object(*field.type, in.get_object());
      }
    }
    return {};
  }
  std::string path_;
};

class Pruner {
 public:
  explicit Pruner(std::vector<std::string>* unknown) : unknown_(unknown) {}

  void object(const Type& type, json::object& in) {
    base::erase_if(in, [&](auto& member) {
      const Field* field = type.field({member.key().data(), member.key().size()});
      bool keeps = field && !member.value().is_null();
      if (!keeps && (field || !unknown_)) return true;
      size_t mark = enter(member.key());
      if (keeps) holder(*field, member.value());
      else unknown_.add(path_);
      path_.resize(mark);
      return !keeps;
    });
  }

 private:
  size_t enter(std::string_view key) {
    size_t mark = path_.size();
    if (!path_.empty()) path_ += '.';
    path_ += key;
    return mark;
  }
  void holder(const Field& field, json::value& in) {
    if (field.holder == Holder::kOne) return single(field, in);
    if (field.holder == Holder::kList) return list(field, in);
    if (!in.is_object()) return;
    for (auto& item : in.get_object()) {
      size_t mark = enter(item.key());
      if (field.holder == Holder::kMap) single(field, item.value());
      else list(field, item.value());
      path_.resize(mark);
    }
  }
  void list(const Field& field, json::value& in) {
    if (!in.is_array()) return;
    size_t i = 0;
    for (json::value& item : in.get_array()) {
      size_t mark = path_.size();
      path_ += "[" + std::to_string(i++) + "]";
      single(field, item);
      path_.resize(mark);
    }
  }
  void single(const Field& field, json::value& in) {
    if (in.is_null()) {  // only inside lists and maps: Go leaves a zero value there
      switch (field.shape) {
        case Shape::kStruct: in = json::object(); break;
        case Shape::kInt32:
        case Shape::kInt64:
        case Shape::kIntOrString: in = 0; break;
        case Shape::kBool: in = false; break;
        case Shape::kQuantity: in = "0"; break;
        case Shape::kAny: break;
        default: in = "";
      }
      return;
    }
    switch (field.shape) {
      case Shape::kStruct:
        if (in.is_object()) object(*field.type, in.get_object());
        break;
      case Shape::kQuantity: {
        std::string text = in.is_string() ? std::string(base::as_string(&in)) : base::to_json(in);
        if (const double* d = in.if_double()) text = fmt::format("{}", *d);
        if (auto quantity = Quantity::parse(text); quantity.ok()) in = quantity->text();
        break;
      }
      case Shape::kTime:
      case Shape::kMicroTime: {
        std::string_view text = base::as_string(&in);
        size_t canonical = field.shape == Shape::kTime ? 20 : 27;
        if (text.size() == canonical && text.back() == 'Z' && !text.starts_with("0001-")) break;
        if (auto time = base::parse_instant(text)) {
          if (*time == base::kZeroInstant) in = nullptr;  // Go's unset time, which it writes as null
          else in = base::format_instant(*time, field.shape == Shape::kTime ? 0 : 6);
        }
        break;
      }
      default: break;
    }
  }
  std::string path_;
  UnknownFields unknown_;
};

// Most defaults are words, for which the parser is too much.
json::value default_value(std::string_view literal) {
  if (literal.size() >= 2 && literal.front() == '"' && literal.find('\\') == literal.npos)
    return json::value(literal.substr(1, literal.size() - 2));
  return base::parse_json(literal).value();
}

void defaults_in(const Type& type, json::object& in);
void defaults_of(const Field& field, json::value& in) {
  auto one = [&](json::value& value) {
    if (value.is_object()) defaults_in(*field.type, value.get_object());
  };
  if (field.holder == Holder::kOne) return one(in);
  if (field.holder == Holder::kList) {
    if (in.is_array())
      for (json::value& item : in.get_array()) one(item);
  } else if (in.is_object()) {
    for (auto& item : in.get_object()) one(item.value());
  }
}
void defaults_in(const Type& type, json::object& in) {
  for (const Field& field : type.fields) {
    json::value* value = in.if_contains(field.name);
    if (field.default_json) {
      // An empty text is Go's way to leave a field out.
      bool absent = !value || value->is_null() || (value->is_string() && value->get_string().empty());
      if (absent) {
        in[field.name] = default_value(field.default_json);
        value = in.if_contains(field.name);
      }
    }
    if (value && field.shape == Shape::kStruct) defaults_of(field, *value);
  }
}

const std::map<std::string_view, std::string_view>& full_groups() {
  static const std::map<std::string_view, std::string_view> groups = {
      {"core", ""},
      {"meta", ""},
      {"admissionregistration", "admissionregistration.k8s.io"},
      {"apiextensions", "apiextensions.k8s.io"},
      {"apiregistration", "apiregistration.k8s.io"},
      {"authentication", "authentication.k8s.io"},
      {"authorization", "authorization.k8s.io"},
      {"certificates", "certificates.k8s.io"},
      {"coordination", "coordination.k8s.io"},
      {"discovery", "discovery.k8s.io"},
      {"events", "events.k8s.io"},
      {"flowcontrol", "flowcontrol.apiserver.k8s.io"},
      {"networking", "networking.k8s.io"},
      {"node", "node.k8s.io"},
      {"rbac", "rbac.authorization.k8s.io"},
      {"resource", "resource.k8s.io"},
      {"scheduling", "scheduling.k8s.io"},
      {"storage", "storage.k8s.io"}};
  return groups;
}

}  // namespace

base::Status check_types(const Type& type, const json::value& object) {
  if (type.custom && object.is_object()) return check_custom_types(type, object);
  if (!object.is_object())
    return refuse("json: cannot unmarshal " + json_word(object) + " into Go value of type " +
                  short_package(type) + "." + type.name);
  return TypeCheck().object(type, object.get_object());
}

void prune(const Type& type, json::value& object, std::vector<std::string>* unknown) {
  if (type.custom) prune_custom(type, object, unknown);
  else if (object.is_object()) Pruner(unknown).object(type, object.get_object());
}

void apply_defaults(const Type& type, json::value& object) {
  if (type.custom) default_custom(type, object);
  else if (object.is_object()) defaults_in(type, object.get_object());
}

Gvk parse_gvk(std::string_view gvk) {
  Gvk out;
  size_t last = gvk.rfind('/');
  if (last == std::string_view::npos) return {"", "", std::string(gvk)};
  out.kind = gvk.substr(last + 1);
  gvk = gvk.substr(0, last);
  size_t first = gvk.find('/');
  if (first != std::string_view::npos) {
    out.group = gvk.substr(0, first);
    gvk.remove_prefix(first + 1);
  }
  out.version = gvk;
  return out;
}

Gvk gvk_of(const Type& type) {
  if (type.custom) return {type.custom->group, type.custom->version, type.custom->kind};
  std::string_view package = type.package;
  size_t dot = package.rfind('.');
  Gvk out{"", std::string(package.substr(dot + 1)), type.name};
  package = package.substr(0, dot);
  std::string_view group = package.substr(package.rfind('.') + 1);
  auto it = full_groups().find(group);
  out.group = it == full_groups().end() ? group : it->second;
  return out;
}

const Type* find_kind(std::string_view gvk) {
  static const auto* kinds = [] {
    auto* out = new std::unordered_map<std::string, const Type*>;
    for (const Type* type : all_types()) {
      if (!type->is_kind) continue;
      Gvk name = gvk_of(*type);
      out->emplace((name.group.empty() ? "" : name.group + "/") + name.version + "/" + name.kind, type);
    }
    return out;
  }();
  auto it = kinds->find(std::string(gvk));
  return it == kinds->end() ? nullptr : it->second;
}

}  // namespace api
