// What CEL expressions compute with. A value of JSON is looked at where it lies, with the schema that
// types it (a date-time is a timestamp, a number a double); without a schema it is what JSON says.
// Views into JSON, programs and arguments live as long as those do. Not shared between threads.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/cel/types.h"
#include "base/json.h"

namespace api::cel {

struct Value;

// What a value owns. One class for each thing that is not plain.
struct Heap {
  virtual ~Heap() = default;
};
struct Text : Heap {
  explicit Text(std::string in) : text(std::move(in)) {}
  std::string text;
};

struct Value {
  Kind kind = Kind::null;
  bool resource = false;  // of JSON: an object with apiVersion, kind and metadata
  int32_t nanos = 0;      // of a timestamp
  union {
    bool boolean;
    int64_t integer = 0;  // also a timestamp's seconds since 1970 and a duration's nanoseconds
    uint64_t uinteger;
    double real;
  };
  std::string_view text;               // of strings, bytes; a type's name
  const json::value* from = nullptr;   // lists and maps of JSON
  const Structural* schema = nullptr;  // theirs; null: not known
  std::shared_ptr<const Heap> heap;    // owned text, List, Map, Optional, opaque things

  static Value of_null() { return {}; }
  static Value of(bool in);
  static Value of(int64_t in);
  static Value of(uint64_t in);
  static Value of(double in);
  static Value of_view(std::string_view text);  // the caller keeps it
  static Value of_text(std::string text);
  static Value of_bytes(std::string bytes);
  static Value of_timestamp(int64_t seconds, int32_t nanos);
  static Value of_duration(int64_t nanos);
  static Value of_type(std::string_view name);
  static Value of_list(std::vector<Value> items);
  static Value of_map(std::vector<std::pair<Value, Value>> entries);  // of two like keys, the first
  static Value of_optional(std::optional<Value> in);
  static Value of_json(const json::value& in, const Structural* schema = nullptr, bool resource = false);
};

// An opaque thing of a library: an address, a quantity, a URL.
struct Opaque : Heap {
  virtual std::string_view type_name() const = 0;
  virtual bool equals(const Opaque& other) const = 0;
};
Value of_opaque(std::shared_ptr<const Opaque> in);
template <typename T>
const T* opaque_as(const Value& in) {
  return in.kind == Kind::opaque ? dynamic_cast<const T*>(in.heap.get()) : nullptr;
}

// A variable that is computed when it is first asked for, such as one of a policy's variables.
struct Lazy : Heap {
  virtual bool get(uint64_t budget, uint64_t* cost, Value* out, std::string* error) const = 0;
};
Value of_lazy(std::shared_ptr<const Lazy> in);

// ---- lists and maps, whoever keeps them -----------------------------------------------------------
size_t size_of(const Value& list_or_map);
Value item_at(const Value& list, size_t index);
bool find_key(const Value& map, const Value& key, Value* out);
void each_entry(const Value& map,
                const std::function<bool(const Value& key, const Value& value)>& entry);  // until false
const Value* inside(const Value& optional);                                               // null: none

bool equal(const Value& a, const Value& b);
// -1, 0, 1; 2 when the two cannot be compared.
int compare(const Value& a, const Value& b);
std::string type_name(const Value& in);
TypeRef type_of(const Value& in);    // without what is inside: for a literal
std::string shown(const Value& in);  // for messages: "name", 3, {...}
int64_t runes_in(std::string_view text);
std::string duration_text(int64_t nanos);
std::string timestamp_text(int64_t seconds, int32_t nanos);
bool parse_timestamp(std::string_view text, int64_t* seconds, int32_t* nanos);

}  // namespace api::cel
