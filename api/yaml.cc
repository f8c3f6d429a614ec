#include "api/yaml.h"

#include <libfyaml.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "base/json_limits.h"

namespace api {
namespace {

namespace json = base::json;
constexpr size_t kMaxNodes = 1'000'000;  // aliases can multiply: "billion laughs"

base::Error bad(std::string reason) {
  return base::make_error(base::Kind::kInvalid, "parse YAML", {}, std::move(reason));
}

struct Number {
  bool ok = false;
  json::value value;
};
Number parse_number(std::string text) {
  std::erase(text, '_');
  const char* digits = text.c_str() + (text[0] == '-' || text[0] == '+');
  int base = 10;
  if (digits[0] == '0' && digits[1]) {
    if (digits[1] == 'x' || digits[1] == 'X') base = 16, digits += 2;
    else if (digits[1] == 'o') base = 8, digits += 2;
    else if (digits[1] == 'b') base = 2, digits += 2;
    else if (std::string(digits).find_first_not_of("01234567") == std::string::npos) base = 8;
  }
  if (*digits && std::isxdigit(static_cast<unsigned char>(*digits))) {
    char* end = nullptr;
    errno = 0;
    unsigned long long n = std::strtoull(digits, &end, base);
    if (!*end && errno == 0) {
      if (text[0] == '-') {
        if (n <= 1ull << 63) return {true, static_cast<int64_t>(0 - n)};
      } else if (n <= INT64_MAX) {
        return {true, static_cast<int64_t>(n)};
      } else {
        return {true, static_cast<uint64_t>(n)};
      }
    }
  }
  if (text.find_first_not_of("0123456789.eE+-") == std::string::npos &&
      text.find_first_of("0123456789") != std::string::npos) {
    char* end = nullptr;
    double d = std::strtod(text.c_str(), &end);
    if (!*end && std::isfinite(d)) return {true, d};
  }
  return {};
}

json::value plain_scalar(std::string_view text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  static constexpr std::string_view kTrue[] = {"y", "Y", "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"};
  static constexpr std::string_view kFalse[] = {"n", "N", "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"};
  for (auto word : kTrue) if (text == word) return true;
  for (auto word : kFalse) if (text == word) return false;
  char c = text[0];
  if ((c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.')
    if (Number n = parse_number(std::string(text)); n.ok) return n.value;
  return json::value(text);
}

std::string_view scalar_text(fy_node* node) {
  size_t size = 0;
  const char* text = fy_node_get_scalar(node, &size);
  return text ? std::string_view(text, size) : std::string_view();
}

class Converter {
 public:
  base::Result<json::value> convert(fy_node* node, size_t depth) {
    if (!node) return json::value(nullptr);
    if (++nodes_ > kMaxNodes) return bad("more than a million values: aliases that multiply?");
    bool is_container = fy_node_get_type(node) == FYNT_SEQUENCE || fy_node_get_type(node) == FYNT_MAPPING;
    if (depth > base::kMaxJsonDepth || (is_container && depth == base::kMaxJsonDepth)) return bad(base::kTooDeep);
    switch (fy_node_get_type(node)) {
      case FYNT_SEQUENCE: {
        json::array out;
        void* at = nullptr;
        while (fy_node* item = fy_node_sequence_iterate(node, &at))
          out.push_back(TRY(convert(item, depth + 1)));
        return json::value(std::move(out));
      }
      case FYNT_MAPPING: return convert_mapping(node, depth);
      case FYNT_SCALAR: break;
    }
    if (fy_node_is_alias(node)) {
      fy_node* target = fy_node_resolve_alias(node);
      if (!target) return bad("unknown anchor *" + std::string(scalar_text(node)));
      return convert(target, depth + 1);
    }
    size_t tag_size = 0;
    const char* tag = fy_node_get_tag(node, &tag_size);
    std::string_view text = scalar_text(node);
    if (tag && std::string_view(tag, tag_size) == "tag:yaml.org,2002:str") return json::value(text);
    if (fy_node_get_style(node) == FYNS_PLAIN) return plain_scalar(text);
    return json::value(text);
  }

 private:
  base::Result<json::value> convert_mapping(fy_node* node, size_t depth) {
    json::object out, merged;
    void* at = nullptr;
    while (fy_node_pair* pair = fy_node_mapping_iterate(node, &at)) {
      fy_node* key = fy_node_pair_key(pair);
      if (!key || fy_node_get_type(key) != FYNT_SCALAR) return bad("a mapping's key is not a scalar");
      std::string name(scalar_text(key));
      json::value value = TRY(convert(fy_node_pair_value(pair), depth + 1));
      if (name == "<<" && fy_node_get_style(key) == FYNS_PLAIN) {
        TRY(merge(value, merged));
        continue;
      }
      if (out.contains(name)) return bad("key \"" + name + "\" already set in map");
      out.emplace(name, std::move(value));
    }
    for (auto& item : merged)
      if (!out.contains(item.key())) out.emplace(item.key(), std::move(item.value()));
    return json::value(std::move(out));
  }
  static base::Status merge(const json::value& from, json::object& into) {
    if (const json::object* object = from.if_object()) {
      for (const auto& item : *object) into.emplace(item.key(), item.value());
      return {};
    }
    if (const json::array* list = from.if_array()) {
      for (const json::value& item : *list) {
        if (!item.is_object()) return bad("<< of something else than mappings");
        for (const auto& pair : item.get_object()) into.emplace(pair.key(), pair.value());
      }
      return {};
    }
    return bad("<< of something else than mappings");
  }
  size_t nodes_ = 0;
};

struct Free {
  void operator()(fy_parser* p) const { fy_parser_destroy(p); }
  void operator()(fy_diag* d) const { fy_diag_destroy(d); }
};

std::string first_error(fy_diag* diag) {
  void* at = nullptr;
  if (fy_diag_error* error = fy_diag_errors_iterate(diag, &at))
    return "line " + std::to_string(error->line) + ", column " + std::to_string(error->column) + ": " +
           (error->msg ? error->msg : "not YAML");
  return "not YAML";
}

}  // namespace

// RFC 3629: no overlong forms, no surrogates. libfyaml does not come back from some texts that are not.
static bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    auto byte = [&](size_t at) { return i + at < text.size() ? static_cast<unsigned char>(text[i + at]) : 0u; };
    unsigned first = byte(0);
    size_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (size == 0) return false;
    for (size_t at = 1; at < size; ++at)
      if ((byte(at) & 0xc0) != 0x80) return false;
    if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f) || (first == 0xf0 && byte(1) < 0x90) ||
        (first == 0xf4 && byte(1) > 0x8f))
      return false;
    i += size;
  }
  return true;
}

base::Result<std::vector<json::value>> parse_yaml(std::string_view text) {
  // Most of what is sent as YAML is JSON, as kubectl's applies are.
  if (size_t first = text.find_first_not_of(" \t\r\n"); first != text.npos && text[first] == '{') {
    std::vector<std::string> duplicates;
    auto object = base::parse_json(text, &duplicates);
    if (object.ok() && !duplicates.empty()) return bad("key \"" + duplicates[0] + "\" already set in map");
    if (object.ok()) return std::vector<json::value>{std::move(*object)};
    if (object.error().reason == base::kTooDeep) return bad(base::kTooDeep);
  }
  if (!is_utf8(text)) return bad("not UTF-8");
  fy_diag_cfg diag_config;
  fy_diag_cfg_default(&diag_config);
  diag_config.fp = nullptr;
  diag_config.output_fn = [](fy_diag*, void*, const char*, size_t) {};
  std::unique_ptr<fy_diag, Free> diag(fy_diag_create(&diag_config));
  if (!diag) return bad("out of memory");
  fy_diag_set_collect_errors(diag.get(), true);
  fy_parse_cfg config{};
  config.flags = static_cast<fy_parse_cfg_flags>(FYPCF_QUIET | FYPCF_COLLECT_DIAG |
                                                 FYPCF_ALLOW_DUPLICATE_KEYS);
  config.diag = diag.get();
  std::unique_ptr<fy_parser, Free> parser(fy_parser_create(&config));
  if (!parser || fy_parser_set_string(parser.get(), text.data(), text.size()))
    return bad("out of memory");
  std::vector<json::value> out;
  while (fy_document* document = fy_parse_load_document(parser.get())) {
    auto value = Converter().convert(fy_document_root(document), 0);
    fy_parse_document_destroy(parser.get(), document);
    if (!value.ok()) return std::move(value).error();
    if (!value->is_null()) out.push_back(std::move(value).value());
  }
  if (fy_parser_get_stream_error(parser.get())) return bad(first_error(diag.get()));
  return out;
}

}  // namespace api
