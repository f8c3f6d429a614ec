#include "api/yaml.h"

#include <fmt/format.h>
#include <yaml.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>

#include "base/base64.h"
#include "base/json_limits.h"
#include "base/printable.h"

namespace api {
namespace {

namespace json = base::json;

// What anchors and aliases may copy, in all: "billion laughs". Bytes of memory, roughly.
constexpr size_t kMaxAliasedBytes = 16u << 20;
// libyaml looks through all of a document's %TAG lines for each of them.
constexpr size_t kMaxTagDirectives = 100;
constexpr size_t kMaxDuplicates = 100;
constexpr std::string_view kTagPrefix = "tag:yaml.org,2002:";

base::Error bad_yaml(std::string reason) {
  return base::make_error(base::Kind::kInvalid, "parse YAML", {}, std::move(reason));
}

// As Go writes a float64 in JSON: one that is whole is an integer.
json::value finite(double d) {
  constexpr double kWhole = 9.2e18;
  return std::floor(d) == d && std::abs(d) <= kWhole ? json::value(static_cast<int64_t>(d)) : json::value(d);
}

// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
bool looks_like_float(std::string_view text) {
  size_t at = 0;
  auto digits = [&] {
    size_t from = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    return at - from;
  };
  auto sign = [&] {
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
  };
  sign();
  size_t whole = digits(), part = 0;
  if (at < text.size() && text[at] == '.') {
    ++at;
    part = digits();
  }
  if (whole + part == 0) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    sign();
    if (digits() == 0) return false;
  }
  return at == text.size();
}

struct Number {
  bool ok = false;
  json::value value = {};
};
// strconv.ParseInt(text, 0, 64), ParseUint, then ParseFloat.
Number parse_number(std::string text) {
  std::erase(text, '_');
  if (text.empty()) return {};
  const char* digits = text.c_str() + (text[0] == '-' || text[0] == '+');
  int base = 10;
  if (digits[0] == '0' && digits[1]) {
    switch (digits[1]) {
      case 'x':
      case 'X': base = 16, digits += 2; break;
      case 'o':
      case 'O': base = 8, digits += 2; break;
      case 'b':
      case 'B': base = 2, digits += 2; break;
      default: base = 8;
    }
  }
  if (*digits && std::isxdigit(static_cast<unsigned char>(*digits))) {
    char* end = nullptr;
    errno = 0;
    unsigned long long n = std::strtoull(digits, &end, base);
    // In base 16 strtoull() takes a second "0x".
    if (!*end && errno == 0 && !(base == 16 && (digits[1] == 'x' || digits[1] == 'X'))) {
      if (text[0] == '-') {
        if (n <= 1ull << 63) return {true, static_cast<int64_t>(0 - n)};
      } else if (n <= INT64_MAX) {
        return {true, static_cast<int64_t>(n)};
      } else if (text[0] != '+') {
        return {true, static_cast<uint64_t>(n)};
      }
    }
  }
  if (!looks_like_float(text)) return {};
  double d = std::strtod(text.c_str(), nullptr);
  return std::isfinite(d) ? Number{true, finite(d)} : Number{};
}

// Values that JSON lacks; Go's encoder refuses them.
bool is_not_finite(std::string_view text) {
  if (text == ".nan" || text == ".NaN" || text == ".NAN") return true;
  if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
  return text == ".inf" || text == ".Inf" || text == ".INF";
}

json::value plain_scalar(std::string_view text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  static constexpr std::string_view kTrue[] = {"y",   "Y",   "true", "True", "TRUE", "yes",
                                               "Yes", "YES", "on",   "On",   "ON"};
  static constexpr std::string_view kFalse[] = {"n",  "N",  "false", "False", "FALSE", "no",
                                                "No", "NO", "off",   "Off",   "OFF"};
  for (auto word : kTrue)
    if (text == word) return true;
  for (auto word : kFalse)
    if (text == word) return false;
  char c = text[0];
  if ((c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.')
    if (Number n = parse_number(std::string(text)); n.ok) return n.value;
  return json::value(text);
}

const char* tag_word(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null: return "null";
    case json::kind::bool_: return "bool";
    case json::kind::int64:
    case json::kind::uint64: return "int";
    case json::kind::double_: return "float";
    default: return "str";
  }
}

base::Result<json::value> scalar(const yaml_event_t& event) {
  const auto& in = event.data.scalar;
  std::string_view text(reinterpret_cast<const char*>(in.value), in.length);
  std::string_view tag = in.tag ? reinterpret_cast<const char*>(in.tag) : "";
  if (tag.empty() && in.style == YAML_PLAIN_SCALAR_STYLE) {
    if (is_not_finite(text)) return bad_yaml("json: unsupported value: " + std::string(text));
    return plain_scalar(text);
  }
  if (!tag.starts_with(kTagPrefix)) return json::value(text);
  std::string_view wanted = tag.substr(kTagPrefix.size());
  if (wanted == "binary") {
    auto decoded = base::base64_decode(text);
    // Go's encoder writes U+FFFD for what JSON can't have.
    return decoded ? base::Result<json::value>(json::value(base::coerced_utf8(std::move(*decoded))))
                   : bad_yaml("!!binary value contains invalid base64 data");
  }
  if (wanted != "int" && wanted != "float" && wanted != "bool" && wanted != "null") return json::value(text);
  json::value value = plain_scalar(text);
  std::string_view found = tag_word(value);
  if (found == wanted || (wanted == "float" && found == "int")) return value;
  return bad_yaml("cannot decode !!" + std::string(found) + " `" + std::string(text.substr(0, 100)) +
                  "` as a !!" + std::string(wanted));
}

// As sigs.k8s.io/yaml writes a key that is no text.
base::Result<std::string> key_text(const json::value& key) {
  switch (key.kind()) {
    case json::kind::string: return std::string(key.get_string());
    case json::kind::bool_:
    case json::kind::int64:
    case json::kind::uint64: return base::to_json(key);
    case json::kind::double_: return fmt::format("{}", static_cast<float>(key.get_double()));
    default: return bad_yaml("a mapping's key is not a scalar");
  }
}

struct Extent {
  size_t bytes = 0, depth = 0;
};
Extent extent_of(const json::value& value) {
  Extent out{32, 0};
  auto below = [&](const json::value& child) {
    Extent inner = extent_of(child);
    out.bytes += inner.bytes;
    out.depth = std::max(out.depth, inner.depth);
  };
  if (const json::string* text = value.if_string()) out.bytes += text->size();
  if (const json::array* list = value.if_array()) {
    for (const json::value& item : *list) below(item);
    ++out.depth;
  }
  if (const json::object* object = value.if_object()) {
    for (const auto& member : *object) {
      out.bytes += member.key().size();
      below(member.value());
    }
    ++out.depth;
  }
  return out;
}

// From the parser's events to values, without a tree in between.
class Builder {
 public:
  explicit Builder(std::vector<std::string>* duplicates) : duplicates_(duplicates) {}

  base::Status take(const yaml_event_t& event) {
    switch (event.type) {
      case YAML_DOCUMENT_START_EVENT: anchors_.clear(); return {};
      case YAML_SCALAR_EVENT:
        return put(TRY(scalar(event)), name_of(event.data.scalar.anchor), is_merge(event));
      case YAML_ALIAS_EVENT: return alias(name_of(event.data.alias.anchor));
      case YAML_SEQUENCE_START_EVENT: return open(false, name_of(event.data.sequence_start.anchor));
      case YAML_MAPPING_START_EVENT: return open(true, name_of(event.data.mapping_start.anchor));
      case YAML_SEQUENCE_END_EVENT:
      case YAML_MAPPING_END_EVENT: return close();
      default: return {};
    }
  }
  std::vector<json::value> documents;

 private:
  struct Frame {
    bool is_map = false, has_key = false, merges = false;
    std::string key, anchor;
    json::array list;
    json::object map, merged;
  };
  struct Anchor {
    json::value value;
    Extent extent;
  };

  static std::string name_of(const yaml_char_t* anchor) {
    return anchor ? reinterpret_cast<const char*>(anchor) : "";
  }
  static bool is_merge(const yaml_event_t& event) {
    const auto& in = event.data.scalar;
    return in.style == YAML_PLAIN_SCALAR_STYLE && in.length == 2 && in.value[0] == '<' &&
           in.value[1] == '<' && !in.tag;
  }
  bool wants_key() const { return !frames_.empty() && frames_.back().is_map && !frames_.back().has_key; }

  base::Status open(bool is_map, std::string anchor) {
    if (wants_key()) return bad_yaml("a mapping's key is not a scalar");
    if (frames_.size() >= base::kMaxJsonDepth) return bad_yaml(base::kTooDeep);
    Frame& frame = frames_.emplace_back();
    frame.is_map = is_map;
    frame.anchor = std::move(anchor);
    return {};
  }
  base::Status close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    if (!frame.is_map) return put(std::move(frame.list), frame.anchor, false);
    for (auto& item : frame.merged)
      if (!frame.map.contains(item.key())) frame.map.emplace(item.key(), std::move(item.value()));
    return put(std::move(frame.map), frame.anchor, false);
  }
  base::Status alias(const std::string& name) {
    for (const Frame& frame : frames_)
      if (frame.anchor == name) return bad_yaml("anchor '" + name + "' value contains itself");
    auto it = anchors_.find(name);
    if (it == anchors_.end()) return bad_yaml("unknown anchor '" + name + "' referenced");
    if (frames_.size() + it->second.extent.depth > base::kMaxJsonDepth) return bad_yaml(base::kTooDeep);
    TRY(copies(it->second.extent.bytes));
    return put(it->second.value, "", false);
  }
  base::Status copies(size_t bytes) {
    copied_ += bytes;
    return copied_ > kMaxAliasedBytes ? base::Status(bad_yaml("document contains excessive aliasing"))
                                      : base::Status();
  }
  base::Status put(json::value value, const std::string& anchor, bool is_merge) {
    if (!anchor.empty()) {
      Extent extent = extent_of(value);
      TRY(copies(extent.bytes));
      anchors_.insert_or_assign(anchor, Anchor{value, extent});
    }
    if (frames_.empty()) {
      if (!value.is_null()) documents.push_back(std::move(value));
      return {};
    }
    Frame& frame = frames_.back();
    if (!frame.is_map) {
      frame.list.push_back(std::move(value));
    } else if (!frame.has_key) {
      frame.key = TRY(key_text(value));
      frame.has_key = true;
      frame.merges = is_merge;
    } else {
      frame.has_key = false;
      if (frame.merges) return merge(std::move(value), frame.merged);
      if (frame.map.contains(frame.key)) {
        if (!duplicates_) return bad_yaml("key \"" + frame.key.substr(0, 256) + "\" already set in map");
        if (duplicates_->size() < kMaxDuplicates) duplicates_->push_back(path());
      }
      frame.map.insert_or_assign(frame.key, std::move(value));
    }
    return {};
  }
  std::string path() const {
    std::string out;
    for (const Frame& frame : frames_) {
      if (frame.is_map) out += (out.empty() ? "" : ".") + frame.key.substr(0, 256);
      else out += "[" + std::to_string(frame.list.size()) + "]";
    }
    return out;
  }
  // What stands in the mapping itself, and in an earlier source, wins.
  static base::Status merge(json::value from, json::object& into) {
    auto take = [&](json::value& source) {
      json::object* object = source.if_object();
      if (!object) return false;
      for (auto& item : *object) into.emplace(item.key(), std::move(item.value()));
      return true;
    };
    bool ok = true;
    if (json::array* list = from.if_array())
      for (json::value& item : *list) ok = ok && take(item);
    else ok = take(from);
    return ok ? base::Status()
              : base::Status(bad_yaml("map merge requires map or sequence of maps as the value"));
  }

  std::vector<std::string>* duplicates_;
  std::vector<Frame> frames_;
  std::map<std::string, Anchor, std::less<>> anchors_;
  size_t copied_ = 0;
};

size_t tag_directives(std::string_view text) {
  size_t count = 0;
  for (size_t at = text.find("%TAG"); at != text.npos; at = text.find("%TAG", at + 4))
    count += at == 0 || text[at - 1] == '\n' || text[at - 1] == '\r';
  return count;
}

std::string problem_of(const yaml_parser_t& parser) {
  std::string out;
  const yaml_mark_t& mark = parser.problem_mark;
  if (parser.error == YAML_SCANNER_ERROR || parser.error == YAML_PARSER_ERROR)
    out = "line " + std::to_string(mark.line + 1) + ", column " + std::to_string(mark.column + 1) + ": ";
  if (parser.error == YAML_READER_ERROR) out = "offset " + std::to_string(parser.problem_offset) + ": ";
  return out + (parser.problem                      ? parser.problem
                : parser.error == YAML_MEMORY_ERROR ? "out of memory"
                                                    : "not YAML");
}

}  // namespace

base::Result<std::vector<json::value>> parse_yaml(std::string_view text,
                                                  std::vector<std::string>* duplicates) {
  // Clients that apply send JSON, for which there is a faster parser. Its words for what is wrong are not
  // these, so what it refuses comes here again.
  if (size_t first = text.find_first_not_of(" \t\r\n"); first != text.npos && text[first] == '{') {
    std::vector<std::string> twice;
    auto parsed = base::parse_json(text, &twice);
    if (parsed.ok() && twice.empty()) {
      std::vector<json::value> out;
      out.push_back(std::move(*parsed));
      return out;
    }
    if (!parsed.ok() && parsed.error().reason == base::kTooDeep) return bad_yaml(base::kTooDeep);
  }
  if (tag_directives(text) > kMaxTagDirectives) return bad_yaml("more than 100 %TAG directives");
  yaml_parser_t parser;
  if (!yaml_parser_initialize(&parser)) return bad_yaml("out of memory");
  std::unique_ptr<yaml_parser_t, void (*)(yaml_parser_t*)> end_parser(&parser, yaml_parser_delete);
  yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&parser, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  Builder builder(duplicates);
  for (;;) {
    yaml_event_t event;
    if (!yaml_parser_parse(&parser, &event)) return bad_yaml(problem_of(parser));
    std::unique_ptr<yaml_event_t, void (*)(yaml_event_t*)> end_event(&event, yaml_event_delete);
    if (event.type == YAML_STREAM_END_EVENT) break;
    if (auto status = builder.take(event); !status.ok()) {
      const base::Error& error = status.error();
      return bad_yaml("line " + std::to_string(event.start_mark.line + 1) + ": " + error.reason);
    }
  }
  return std::move(builder.documents);
}

}  // namespace api
