#include "base/json.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <cmath>
#include <unordered_set>

#include "base/json_file.h"
#include "base/json_limits.h"
#include "base/sys.h"

namespace base {
namespace {

// Finds keys that one object has twice. Boost.JSON's own parser keeps the last silently.
struct DuplicateFinder {
  static constexpr size_t max_object_size = static_cast<size_t>(-1);
  static constexpr size_t max_array_size = static_cast<size_t>(-1);
  static constexpr size_t max_key_size = static_cast<size_t>(-1);
  static constexpr size_t max_string_size = static_cast<size_t>(-1);

  struct Level {
    bool is_array = false;
    size_t index = 0;
    std::unordered_set<std::string> keys;
    std::string key;
  };
  std::vector<Level> levels;
  std::string partial;
  std::vector<std::string>* found = nullptr;

  void value_done() {
    if (!levels.empty() && levels.back().is_array) ++levels.back().index;
  }
  std::string path() const {
    std::string out;
    for (const Level& level : levels) {
      if (level.is_array) out += "[" + std::to_string(level.index) + "]";
      else out += (out.empty() ? "" : ".") + level.key;
    }
    return out;
  }
  using ec = boost::system::error_code;
  using sv = boost::json::string_view;
  bool on_document_begin(ec&) { return true; }
  bool on_document_end(ec&) { return true; }
  bool on_object_begin(ec&) {
    levels.emplace_back();
    return true;
  }
  bool on_object_end(size_t, ec&) {
    levels.pop_back();
    value_done();
    return true;
  }
  bool on_array_begin(ec&) {
    levels.emplace_back().is_array = true;
    return true;
  }
  bool on_array_end(size_t, ec&) {
    levels.pop_back();
    value_done();
    return true;
  }
  bool on_key_part(sv part, size_t, ec&) {
    partial.append(part.data(), part.size());
    return true;
  }
  bool on_key(sv part, size_t, ec&) {
    partial.append(part.data(), part.size());
    Level& level = levels.back();
    level.key = partial;
    if (!level.keys.insert(partial).second && found->size() < 100) found->push_back(path());
    partial.clear();
    return true;
  }
  bool on_string_part(sv, size_t, ec&) { return true; }
  bool on_string(sv, size_t, ec&) {
    value_done();
    return true;
  }
  bool on_number_part(sv, ec&) { return true; }
  bool on_int64(int64_t, sv, ec&) {
    value_done();
    return true;
  }
  bool on_uint64(uint64_t, sv, ec&) {
    value_done();
    return true;
  }
  bool on_double(double, sv, ec&) {
    value_done();
    return true;
  }
  bool on_bool(bool, ec&) {
    value_done();
    return true;
  }
  bool on_null(ec&) {
    value_done();
    return true;
  }
  bool on_comment_part(sv, ec&) { return true; }
  bool on_comment(sv, ec&) { return true; }
};

// Numbers beyond a double's range become infinite in Boost.JSON, and would be written as what no reader
// takes; Go's decoder refuses them, too. Counts the members of all objects on the way.
bool is_finite(const json::value& value, size_t* members) {
  if (const double* number = value.if_double()) return std::isfinite(*number);
  if (const json::array* array = value.if_array())
    return std::all_of(array->begin(), array->end(),
                       [&](const json::value& item) { return is_finite(item, members); });
  if (const json::object* object = value.if_object()) {
    *members += object->size();
    return std::all_of(object->begin(), object->end(),
                       [&](const auto& item) { return is_finite(item.value(), members); });
  }
  return true;
}

// The keys that a valid document's text writes: each is followed by a colon outside of strings.
size_t count_keys(std::string_view text) {
  size_t count = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ':') ++count;
    if (text[i] != '"') continue;
    while (text[++i] != '"')
      if (text[i] == '\\') ++i;
  }
  return count;
}

}  // namespace

bool nests_within(const json::value& value, size_t levels) {
  const json::array* array = value.if_array();
  const json::object* object = value.if_object();
  if (!array && !object) return true;
  if (levels == 0) return false;
  if (array)
    return std::all_of(array->begin(), array->end(),
                       [&](const json::value& item) { return nests_within(item, levels - 1); });
  return std::all_of(object->begin(), object->end(),
                     [&](const auto& item) { return nests_within(item.value(), levels - 1); });
}

Result<json::value> parse_checked_json(std::string_view text, json::storage_ptr storage, size_t max_depth) {
  boost::system::error_code ec;
  json::parse_options options;
  options.max_depth = max_depth;
  json::value value(storage);
  try {
    value = json::parse({text.data(), text.size()}, ec, storage, options);
  } catch (const std::exception& e) {  // std::bad_alloc and length errors of the library
    return make_error(Kind::kExhausted, "parse JSON", {}, e.what());
  }
  if (ec)
    return make_error(Kind::kInvalid, "parse JSON", {},
                      ec == json::error::too_deep ? kTooDeep : ec.message());
  return value;
}

namespace {
Result<json::value> parse(std::string_view text, size_t max_depth, std::vector<std::string>* duplicates) {
  json::value value = TRY(parse_checked_json(text, {}, max_depth));
  size_t members = 0;
  if (!is_finite(value, &members)) return make_error(Kind::kInvalid, "parse JSON", {}, "number out of range");
  if (duplicates && members != count_keys(text)) {  // rarely: the finder costs more than the parser
    json::parse_options options;
    options.max_depth = max_depth;
    boost::system::error_code ec;
    json::basic_parser<DuplicateFinder> parser(options);
    parser.handler().found = duplicates;
    parser.write_some(false, text.data(), text.size(), ec);
  }
  return value;
}
}  // namespace

Result<json::value> parse_json(std::string_view text, std::vector<std::string>* duplicates) {
  return parse(text, kMaxJsonDepth, duplicates);
}

namespace {
// Of a document that is not wanted.
struct Ignore {
  static constexpr size_t max_object_size = size_t(-1), max_array_size = size_t(-1),
                          max_key_size = size_t(-1), max_string_size = size_t(-1);
  using ec = boost::system::error_code;
  using sv = boost::json::string_view;
  bool on_document_begin(ec&) { return true; }
  bool on_document_end(ec&) { return true; }
  bool on_object_begin(ec&) { return true; }
  bool on_object_end(size_t, ec&) { return true; }
  bool on_array_begin(ec&) { return true; }
  bool on_array_end(size_t, ec&) { return true; }
  bool on_key_part(sv, size_t, ec&) { return true; }
  bool on_key(sv, size_t, ec&) { return true; }
  bool on_string_part(sv, size_t, ec&) { return true; }
  bool on_string(sv, size_t, ec&) { return true; }
  bool on_number_part(sv, ec&) { return true; }
  bool on_int64(int64_t, sv, ec&) { return true; }
  bool on_uint64(uint64_t, sv, ec&) { return true; }
  bool on_double(double, sv, ec&) { return true; }
  bool on_bool(bool, ec&) { return true; }
  bool on_null(ec&) { return true; }
  bool on_comment_part(sv, ec&) { return true; }
  bool on_comment(sv, ec&) { return true; }
};
}  // namespace

Result<json::value> parse_json_file(std::string_view text, const std::string& path) {
  auto value = parse_json(text);
  if (value.ok()) return value;
  json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  boost::system::error_code ec;
  json::basic_parser<Ignore> parser(options);
  size_t offset = parser.write_some(false, text.data(), text.size(), ec);
  Error error = std::move(value).error();
  error.operation = "read";
  error.subject = path;
  if (!ec && parser.done()) {  // one document, and then more; or a number that no reader takes
    while (offset < text.size() && std::string_view(" \t\r\n").find(text[offset]) != std::string_view::npos)
      ++offset;
    if (offset == text.size()) return error;
  }
  std::string_view before = text.substr(0, std::min(offset, text.size()));
  size_t line = 1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
  size_t column = 1 + before.size() - (before.rfind('\n') + 1);  // npos + 1 is 0
  error.reason = "line " + std::to_string(line) + ", column " + std::to_string(column) + ": " + error.reason;
  return error;
}
Result<json::value> read_json_file(const std::string& path) {
  return parse_json_file(TRY(base::sys::read_file(path)), path);
}

Result<json::value> parse_json_carrier(std::string_view text) {
  return parse(text, kMaxCarrierDepth, nullptr);
}

std::string to_json(const json::value& value) { return json::serialize(value); }
std::string quoted(std::string_view text) { return json::serialize(json::value(text)); }

const json::value* find(const json::value& value, std::string_view key) {
  const json::object* object = value.if_object();
  return object ? object->if_contains({key.data(), key.size()}) : nullptr;
}
std::string_view as_string(const json::value* value) {
  const json::string* text = value ? value->if_string() : nullptr;
  return text ? std::string_view(text->data(), text->size()) : std::string_view();
}
int64_t as_int(const json::value* value, int64_t fallback) {
  if (!value) return fallback;
  if (const int64_t* n = value->if_int64()) return *n;
  if (const uint64_t* n = value->if_uint64(); n && *n <= INT64_MAX) return static_cast<int64_t>(*n);
  return fallback;
}
bool as_bool(const json::value* value, bool fallback) {
  const bool* flag = value ? value->if_bool() : nullptr;
  return flag ? *flag : fallback;
}

}  // namespace base
