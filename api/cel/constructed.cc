#include "api/cel/constructed.h"

#include <cmath>

#include "base/base64.h"

namespace api::cel {

namespace {

constexpr size_t kMaxMadeValues = 200'000, kMaxMadeBytes = 3u << 20;

class JsonMaker {
 public:
  std::string error;

  // `path`: of the fields to here from the outermost object; empty outside of one.
  bool make(const Value& in, const std::string& path, size_t depth, json::value* out) {
    if (++values_ > kMaxMadeValues || bytes_ > kMaxMadeBytes) return fail("the value is too large");
    if (depth > base::kMaxJsonDepth) return fail("the value is too deep");
    switch (in.kind) {
      case Kind::null: *out = nullptr; return true;
      case Kind::boolean: *out = in.boolean; return true;
      case Kind::integer: *out = in.integer; return true;
      case Kind::uinteger: *out = in.uinteger; return true;
      case Kind::real:
        if (!std::isfinite(in.real)) return fail("a number that JSON cannot write: " + shown(in));
        *out = in.real;
        return true;
      case Kind::string: return text(std::string(in.text), out);
      case Kind::bytes: return text(base::base64_encode(in.text), out);
      case Kind::timestamp: return text(timestamp_text(in.integer, in.nanos), out);
      case Kind::duration: return text(duration_text(in.integer), out);
      case Kind::list: return list(in, path, depth, out);
      case Kind::map: return map(in, path, depth, out);
      case Kind::opaque: return object(in, path, depth, out);
      default: return fail("a value of type " + type_name(in) + " cannot be written as JSON");
    }
  }

 private:
  bool fail(std::string why) {
    if (error.empty()) error = std::move(why);
    return false;
  }
  bool text(std::string in, json::value* out) {
    bytes_ += in.size();
    *out = std::move(in);
    return true;
  }
  bool list(const Value& in, const std::string& path, size_t depth, json::value* out) {
    json::array items;
    for (size_t i = 0; i < size_of(in); ++i)
      if (!make(item_at(in, i), path, depth + 1, &items.emplace_back(nullptr))) return false;
    *out = std::move(items);
    return true;
  }
  bool map(const Value& in, const std::string& path, size_t depth, json::value* out) {
    json::object members;
    bool right = true;
    each_entry(in, [&](const Value& key, const Value& value) {
      if (key.kind != Kind::string)
        return right = fail("map key " + shown(key) + " is of type " + type_name(key) + ", not string");
      bytes_ += key.text.size();
      return right = make(value, path, depth + 1, &members[key.text]);
    });
    *out = std::move(members);
    return right;
  }
  bool object(const Value& in, const std::string& path, size_t depth, json::value* out) {
    const auto* made = opaque_as<Constructed>(in);
    if (!made || made->name == "JSONPatch")
      return fail("a value of type " + type_name(in) + " cannot be written as JSON");
    if (!path.empty() && path != made->name)
      return fail("type mismatch: unexpected type name \"" + made->name + "\", expected \"" + path +
                  "\", which matches field name path from root Object type");
    json::object members;
    for (const auto& [field, value] : made->fields) {
      bytes_ += field.size();
      if (!make(value, made->name + "." + field, depth + 1, &members[field])) return false;
    }
    *out = std::move(members);
    return true;
  }
  size_t values_ = 0, bytes_ = 0;
};

}  // namespace

bool Constructed::equals(const Opaque& in) const {
  const auto* other = dynamic_cast<const Constructed*>(&in);
  if (!other || fields.size() != other->fields.size()) return false;
  for (const auto& [field, value] : fields)
    if (auto at = other->fields.find(field); at == other->fields.end() || !equal(value, at->second))
      return false;
  return true;
}

base::Result<json::value> json_of(const Value& value) {
  JsonMaker maker;
  json::value out;
  if (!maker.make(value, "", 1, &out))
    return base::make_error(base::Kind::kInvalid, "make JSON", "", std::move(maker.error));
  return out;
}

}  // namespace api::cel
