// Reading config.json field by field: each wrong one is a line under its full name, and reading
// goes on. For the oci*.cc files alone.
#pragma once

#include <fmt/format.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "runtime/spec/config.h"

namespace runtime {

namespace json = base::json;
using Errors = std::vector<std::string>;

struct NamedValue {
  std::string_view name;
  uint64_t value;
};
template <size_t N>
std::optional<uint64_t> lookup(const NamedValue (&table)[N], std::string_view name) {
  for (const NamedValue& row : table)
    if (row.name == name) return row.value;
  return std::nullopt;
}

// One JSON object being read. A member of the wrong type or range is noted under its full name;
// reading goes on, so that all wrong fields are told at once.
class Reader {
 public:
  Reader(const json::value* value, std::string path, Errors& errors)
      : path_(std::move(path)), errors_(errors) {
    if (!value || value->is_null()) return;
    object_ = value->if_object();
    if (!object_) fail("", "must be an object");
  }
  explicit operator bool() const { return object_ != nullptr; }

  std::string name(std::string_view key) const {
    if (key.empty()) return path_.empty() ? "config" : path_;
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }
  void fail(std::string_view key, std::string_view why) {
    errors_.push_back(fmt::format("{}: {}", name(key), why));
  }
  const json::value* get(std::string_view key) const {
    const json::value* v = object_ ? object_->if_contains({key.data(), key.size()}) : nullptr;
    return v && !v->is_null() ? v : nullptr;
  }
  Reader child(std::string_view key) { return Reader(get(key), name(key), errors_); }

  void string(std::string_view key, std::string& out, bool required = false) {
    const json::value* v = get(key);
    if (!v) {
      if (required) fail(key, "is required");
      return;
    }
    if (!v->is_string()) return fail(key, "must be a string");
    out.assign(v->get_string().data(), v->get_string().size());
    if (out.find('\0') != std::string::npos) fail(key, "contains a NUL byte");
    if (required && out.empty()) fail(key, "must not be empty");
  }
  void boolean(std::string_view key, bool& out) {
    const json::value* v = get(key);
    if (!v) return;
    if (!v->is_bool()) return fail(key, "must be true or false");
    out = v->get_bool();
  }
  template <typename T>
  void number(std::string_view key, T& out, bool required = false) {
    const json::value* v = get(key);
    if (!v) {
      if (required) fail(key, "is required");
      return;
    }
    bool fits = false;
    if (const int64_t* n = v->if_int64()) {
      fits = std::in_range<T>(*n);
      if (fits) out = static_cast<T>(*n);
    } else if (const uint64_t* u = v->if_uint64()) {
      fits = std::in_range<T>(*u);
      if (fits) out = static_cast<T>(*u);
    }
    if (!fits)
      fail(key, fmt::format("must be an integer from {} to {}", std::numeric_limits<T>::min(),
                            std::numeric_limits<T>::max()));
  }
  template <typename T>
  void number(std::string_view key, std::optional<T>& out) {
    if (!get(key)) return;
    T value{};
    size_t before = errors_.size();
    number(key, value);
    if (errors_.size() == before) out = value;
  }
  void boolean(std::string_view key, std::optional<bool>& out) {
    if (!get(key)) return;
    bool value = false;
    boolean(key, value);
    out = value;
  }
  // Calls `item(value, "path[3]")` for every element.
  template <typename F>
  void each(std::string_view key, F item) {
    const json::value* v = get(key);
    if (!v) return;
    if (!v->is_array()) return fail(key, "must be an array");
    size_t i = 0;
    for (const json::value& element : v->get_array()) item(element, fmt::format("{}[{}]", name(key), i++));
  }
  void strings(std::string_view key, std::vector<std::string>& out) {
    each(key, [&](const json::value& v, const std::string& at) {
      if (!v.is_string()) return errors_.push_back(at + ": must be a string");
      out.emplace_back(v.get_string().data(), v.get_string().size());
      if (out.back().find('\0') != std::string::npos) errors_.push_back(at + ": contains a NUL byte");
    });
  }
  void string_map(std::string_view key, std::map<std::string, std::string>& out) {
    const json::value* v = get(key);
    if (!v) return;
    if (!v->is_object()) return fail(key, "must be an object");
    for (const auto& [k, value] : v->get_object()) {
      std::string at = fmt::format("{}[{}]", name(key), std::string_view(k.data(), k.size()));
      if (!value.is_string()) errors_.push_back(at + ": must be a string");
      else out[std::string(k)] = std::string(value.get_string());
    }
  }
  // Fields of the specification that this runtime does not implement.
  void refuse(std::initializer_list<std::string_view> keys) {
    for (std::string_view key : keys) {
      const json::value* v = get(key);
      if (!v) continue;
      bool empty = (v->is_array() && v->get_array().empty()) || (v->is_object() && v->get_object().empty()) ||
                   (v->is_string() && v->get_string().empty()) || (v->is_bool() && !v->get_bool()) ||
                   (v->is_int64() && v->get_int64() == 0);
      if (!empty) fail(key, "is not supported: remove it");
    }
  }
  Errors& errors() { return errors_; }

 private:
  const json::object* object_ = nullptr;
  std::string path_;
  Errors& errors_;
};

// The parts of the config; `warnings` are what the specification wants said and not refused.
Process read_process(Reader r, std::vector<std::string>& warnings);
Hooks read_hooks(Reader r);
Resources read_resources(Reader r);
void read_linux(Reader r, Config& config);
void read_annotations(Config& config, Errors& errors);      // after linux: they change parts of it
void check_together(const Config& config, Errors& errors);  // fields that depend on each other
void read_id_map(Reader& r, std::string_view key, std::vector<IdMap>& out);
base::Error errors_as_one(const Errors& errors, std::string subject);
// "0-3,7" as the bytes of a bit mask; false: not such a list, or a number past `limit`.
bool parse_number_list(std::string_view text, size_t limit, std::string& mask);

}  // namespace runtime
