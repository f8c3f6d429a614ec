#include "api/cel/value.h"
#include "api/duration.h"

#include <cmath>
#include <unordered_map>

#include "base/base64.h"

namespace api::cel {
namespace {

struct List : Heap {
  std::vector<Value> items;
};
struct Map : Heap {
  std::vector<std::pair<Value, Value>> entries;
  std::unordered_map<std::string, size_t> by_key;
};
struct Optional : Heap {
  std::optional<Value> in;
};

// Like keys have like texts: 1, 1u and 1.0 are one key.
std::string key_text(const Value& key) {
  switch (key.kind) {
    case Kind::boolean: return key.boolean ? "b1" : "b0";
    case Kind::integer: return "n" + std::to_string(key.integer);
    case Kind::uinteger: return "n" + std::to_string(key.uinteger);
    case Kind::real:
      if (std::floor(key.real) == key.real && std::abs(key.real) < 9e18)
        return "n" + std::to_string(static_cast<int64_t>(key.real));
      return "d" + std::to_string(key.real);
    default: return "s" + std::string(key.text);
  }
}
template <typename T>
const T* as(const Value& in) {
  return static_cast<const T*>(in.heap.get());
}
bool is_number(const Value& in) {
  return in.kind == Kind::integer || in.kind == Kind::uinteger || in.kind == Kind::real;
}
int order(auto a, auto b) { return a < b ? -1 : a > b ? 1 : 0; }
double as_real(const Value& in) {  // as cel-go compares: large ints lose their last digits
  return in.kind == Kind::real      ? in.real
         : in.kind == Kind::integer ? static_cast<double>(in.integer)
                                    : static_cast<double>(in.uinteger);
}
int compare_numbers(const Value& a, const Value& b) {
  if (a.kind == Kind::real || b.kind == Kind::real) {
    double x = as_real(a), y = as_real(b);
    return std::isnan(x) || std::isnan(y) ? 2 : order(x, y);
  }
  __int128 x = a.kind == Kind::integer ? static_cast<__int128>(a.integer) : static_cast<__int128>(a.uinteger);
  __int128 y = b.kind == Kind::integer ? static_cast<__int128>(b.integer) : static_cast<__int128>(b.uinteger);
  return order(x, y);
}
std::string quoted(std::string_view text) { return base::to_json(json::value(text)); }

}  // namespace

Value Value::of(bool in) {
  Value out;
  out.kind = Kind::boolean;
  out.boolean = in;
  return out;
}
Value Value::of(int64_t in) {
  Value out;
  out.kind = Kind::integer;
  out.integer = in;
  return out;
}
Value Value::of(uint64_t in) {
  Value out;
  out.kind = Kind::uinteger;
  out.uinteger = in;
  return out;
}
Value Value::of(double in) {
  Value out;
  out.kind = Kind::real;
  out.real = in;
  return out;
}
Value Value::of_view(std::string_view text) {
  Value out;
  out.kind = Kind::string;
  out.text = text;
  return out;
}
Value Value::of_text(std::string text) {
  auto kept = std::make_shared<Text>(std::move(text));
  Value out = of_view(kept->text);
  out.heap = std::move(kept);
  return out;
}
Value Value::of_bytes(std::string bytes) {
  Value out = of_text(std::move(bytes));
  out.kind = Kind::bytes;
  return out;
}
Value Value::of_timestamp(int64_t seconds, int32_t nanos) {
  Value out;
  out.kind = Kind::timestamp;
  out.integer = seconds;
  out.nanos = nanos;
  return out;
}
Value Value::of_duration(int64_t nanos) {
  Value out;
  out.kind = Kind::duration;
  out.integer = nanos;
  return out;
}
Value Value::of_type(std::string_view name) {
  Value out = of_text(std::string(name));
  out.kind = Kind::type;
  return out;
}
Value Value::of_list(std::vector<Value> items) {
  auto list = std::make_shared<List>();
  list->items = std::move(items);
  Value out;
  out.kind = Kind::list;
  out.heap = std::move(list);
  return out;
}
Value Value::of_map(std::vector<std::pair<Value, Value>> entries) {
  auto map = std::make_shared<Map>();
  for (auto& entry : entries)
    if (map->by_key.emplace(key_text(entry.first), map->entries.size()).second)
      map->entries.push_back(std::move(entry));
  Value out;
  out.kind = Kind::map;
  out.heap = std::move(map);
  return out;
}
Value Value::of_optional(std::optional<Value> in) {
  auto kept = std::make_shared<Optional>();
  kept->in = std::move(in);
  Value out;
  out.kind = Kind::optional;
  out.heap = std::move(kept);
  return out;
}
Value of_opaque(std::shared_ptr<const Opaque> in) {
  Value out;
  out.kind = Kind::opaque;
  out.heap = std::move(in);
  return out;
}
Value of_lazy(std::shared_ptr<const Lazy> in) {
  Value out;
  out.kind = Kind::parameter;  // of no value: only a frame holds it
  out.heap = std::move(in);
  return out;
}

Value Value::of_json(const json::value& in, const Structural* schema, bool resource) {
  using S = Structural::Kind;
  Value out;
  if (const auto* text = in.if_string()) {
    out = of_view({text->data(), text->size()});
    if (!schema || schema->kind != S::kString || !schema->checks || schema->checks->format.empty())
      return out;
    std::string_view format = schema->checks->format;
    if (format == "date" || format == "date-time") {
      int64_t seconds;
      int32_t nanos;
      std::string whole(out.text);
      if (format == "date") whole += "T00:00:00Z";
      if (parse_timestamp(whole, &seconds, &nanos)) return of_timestamp(seconds, nanos);
    } else if (format == "duration") {
      int64_t nanos;
      if (parse_duration(out.text, &nanos)) return of_duration(nanos);
    } else if (format == "byte") {
      if (auto decoded = base::base64_decode(out.text)) return of_bytes(std::move(*decoded));
    }
    return out;
  }
  if (in.is_number()) {
    if (schema && schema->kind == S::kNumber && !schema->int_or_string) return of(in.to_number<double>());
    if (in.is_int64()) return of(in.get_int64());
    if (in.is_uint64()) return of(in.get_uint64());
    double real = in.get_double();
    if (schema && (schema->kind == S::kInteger || schema->int_or_string))
      return of(static_cast<int64_t>(real));
    return of(real);
  }
  if (in.is_bool()) return of(in.get_bool());
  if (in.is_null()) return out;
  out.kind = in.is_array() ? Kind::list : Kind::map;
  out.from = &in;
  out.schema = schema;
  out.resource = resource || (schema && schema->embedded);
  return out;
}

size_t size_of(const Value& in) {
  if (in.from) return in.from->is_array() ? in.from->get_array().size() : in.from->get_object().size();
  if (in.kind == Kind::list) return as<List>(in)->items.size();
  return as<Map>(in)->entries.size();
}
Value item_at(const Value& list, size_t index) {
  if (!list.from) return as<List>(list)->items[index];
  const Structural* item = list.schema ? list.schema->items.get() : nullptr;
  return Value::of_json(list.from->get_array()[index], item);
}
bool find_key(const Value& map, const Value& key, Value* out) {
  if (map.from) {
    if (key.kind != Kind::string) return false;
    const json::value* found = map.from->get_object().if_contains(key.text);
    if (!found) return false;
    *out = Value::of_json(*found, member_schema(map.schema, map.resource, key.text));
    return true;
  }
  auto found = as<Map>(map)->by_key.find(key_text(key));
  if (found == as<Map>(map)->by_key.end()) return false;
  *out = as<Map>(map)->entries[found->second].second;
  return true;
}
void each_entry(const Value& map, const std::function<bool(const Value&, const Value&)>& entry) {
  if (map.from) {
    for (const auto& member : map.from->get_object()) {
      std::string_view name(member.key().data(), member.key().size());
      if (!entry(Value::of_view(name),
                 Value::of_json(member.value(), member_schema(map.schema, map.resource, name))))
        return;
    }
  } else {
    for (const auto& [key, value] : as<Map>(map)->entries)
      if (!entry(key, value)) return;
  }
}
const Value* inside(const Value& optional) {
  const auto& in = as<Optional>(optional)->in;
  return in ? &*in : nullptr;
}

namespace {
bool equal_lists(const Value& a, const Value& b) {
  size_t n = size_of(a);
  if (n != size_of(b)) return false;
  // Kubernetes: the order of a set or a map list says nothing.
  bool unordered = a.schema && b.schema && (a.schema->list_type == "set" || a.schema->list_type == "map");
  if (!unordered) {
    for (size_t i = 0; i < n; ++i)
      if (!equal(item_at(a, i), item_at(b, i))) return false;
    return true;
  }
  std::vector<bool> taken(n);
  for (size_t i = 0; i < n; ++i) {
    Value one = item_at(a, i);
    size_t at = 0;
    while (at < n && (taken[at] || !equal(one, item_at(b, at)))) ++at;
    if (at == n) return false;
    taken[at] = true;
  }
  return true;
}
}  // namespace

bool equal(const Value& a, const Value& b) {
  if (is_number(a) && is_number(b)) return compare_numbers(a, b) == 0;
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::null: return true;
    case Kind::boolean: return a.boolean == b.boolean;
    case Kind::string:
    case Kind::bytes:
    case Kind::type: return a.text == b.text;
    case Kind::timestamp: return a.integer == b.integer && a.nanos == b.nanos;
    case Kind::duration: return a.integer == b.integer;
    case Kind::list: return equal_lists(a, b);
    case Kind::map: {
      if (size_of(a) != size_of(b)) return false;
      bool same = true;
      each_entry(a, [&](const Value& key, const Value& value) {
        Value other;
        return same = find_key(b, key, &other) && equal(value, other);
      });
      return same;
    }
    case Kind::optional: {
      const Value *x = inside(a), *y = inside(b);
      return x && y ? equal(*x, *y) : x == y;
    }
    case Kind::opaque: {
      const auto *x = opaque_as<Opaque>(a), *y = opaque_as<Opaque>(b);
      return x->type_name() == y->type_name() && x->equals(*y);
    }
    default: return false;
  }
}
int compare(const Value& a, const Value& b) {
  if (is_number(a) && is_number(b)) return compare_numbers(a, b);
  if (a.kind != b.kind) return 2;
  switch (a.kind) {
    case Kind::boolean: return order(a.boolean, b.boolean);
    case Kind::string:
    case Kind::bytes: return order(a.text.compare(b.text), 0);
    case Kind::duration: return order(a.integer, b.integer);
    case Kind::timestamp:
      return a.integer != b.integer ? order(a.integer, b.integer) : order(a.nanos, b.nanos);
    default: return 2;
  }
}

TypeRef type_of(const Value& in) {
  switch (in.kind) {
    case Kind::list: return list_of(simple(Kind::dyn));
    case Kind::map: return map_of(simple(Kind::dyn), simple(Kind::dyn));
    case Kind::optional: return optional_of(simple(Kind::dyn));
    case Kind::opaque: return opaque(opaque_as<Opaque>(in)->type_name());
    default: return simple(in.kind);
  }
}
std::string type_name(const Value& in) {
  switch (in.kind) {
    case Kind::null: return "null_type";
    case Kind::list: return "list";
    case Kind::map: return "map";
    case Kind::optional: return "optional_type";
    case Kind::timestamp: return "google.protobuf.Timestamp";
    case Kind::duration: return "google.protobuf.Duration";
    case Kind::opaque: return std::string(opaque_as<Opaque>(in)->type_name());
    default: return simple(in.kind)->text();
  }
}
std::string shown(const Value& in) {
  switch (in.kind) {
    case Kind::null: return "null";
    case Kind::boolean: return in.boolean ? "true" : "false";
    case Kind::integer: return std::to_string(in.integer);
    case Kind::uinteger: return std::to_string(in.uinteger) + "u";
    case Kind::real:
      return std::isnan(in.real)   ? "NaN"
             : std::isinf(in.real) ? (in.real > 0 ? "+Inf" : "-Inf")
                                   : fmt::format("{}", in.real);
    case Kind::string: return quoted(in.text);
    case Kind::bytes: return "b" + quoted(in.text);
    case Kind::timestamp: return "timestamp(" + quoted(timestamp_text(in.integer, in.nanos)) + ")";
    case Kind::duration: return "duration(" + quoted(duration_text(in.integer)) + ")";
    case Kind::list: {
      std::string out = "[";
      for (size_t i = 0; i < size_of(in); ++i) out += (i ? ", " : "") + shown(item_at(in, i));
      return out + "]";
    }
    case Kind::map: {
      std::string out = "{";
      each_entry(in, [&](const Value& key, const Value& value) {
        out += (out.size() > 1 ? ", " : "") + shown(key) + ": " + shown(value);
        return true;
      });
      return out + "}";
    }
    case Kind::optional: return inside(in) ? "optional.of(" + shown(*inside(in)) + ")" : "optional.none()";
    default: return type_name(in);
  }
}

int64_t runes_in(std::string_view text) {
  int64_t out = 0;
  for (char c : text) out += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return out;
}

}  // namespace api::cel
