#include "master/registry/field_labels.h"

#include <algorithm>

#include "base/result.h"

namespace master {
namespace {

namespace json = base::json;
using Path = std::vector<std::string_view>;

// each(part) of a text between separators.
template <typename F>
void each_part(std::string_view text, char separator, F each) {
  while (!text.empty()) {
    size_t end = text.find(separator);
    each(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
}

std::string_view zero_text(const api::Type& type, std::string_view path) {
  const api::Type* at = &type;
  const api::Field* field = nullptr;
  each_part(path, '.', [&](std::string_view part) {
    field = at ? at->field(part) : nullptr;
    SAMPAN_CHECK(field != nullptr);  // a row of builtin_resources.cc names what is not in the schema
    at = field->type;
  });
  switch (field->shape) {
    case api::Shape::kBool: return "false";
    case api::Shape::kInt32:
    case api::Shape::kInt64: return "0";
    default: return {};
  }
}

std::string label_text(const json::value* value) {
  if (!value || value->is_null()) return {};
  return value->is_string() ? std::string(value->get_string()) : base::to_json(*value);
}

// The first label with this path.
size_t first_of(const ResourceInfo& info, size_t index) {
  return static_cast<size_t>(
      std::find(info.selector_paths.begin(), info.selector_paths.end(), info.selector_paths[index]) -
      info.selector_paths.begin());
}

}  // namespace

void read_field_labels(ResourceInfo& info) {
  each_part(info.field_selectors, ',', [&](std::string_view entry) {
    size_t equals = entry.find('=');
    std::string_view sources = equals == entry.npos ? entry : entry.substr(equals + 1),
                     first = sources.substr(0, sources.find('|'));
    Path path;
    each_part(sources, '|', [&](std::string_view source) {
      if (!path.empty()) path.push_back("|");
      each_part(source, '.', [&](std::string_view part) { path.push_back(part); });
    });
    if (!info.type->custom && !first.empty())
      if (std::string_view zero = zero_text(*info.type, first); !zero.empty())
        path.insert(path.end(), {"=", zero});
    info.selector_names.push_back(entry.substr(0, equals));
    info.selector_paths.push_back(std::move(path));
  });
}

std::optional<int> field_index(const ResourceInfo& info, std::string_view label) {
  auto found = std::find(info.selector_names.begin(), info.selector_names.end(), label);
  if (found == info.selector_names.end()) return std::nullopt;
  size_t index = static_cast<size_t>(found - info.selector_names.begin());
  return info.selector_paths[index].empty() ? kAlwaysEmpty : static_cast<int>(first_of(info, index));
}

size_t kept_fields(const ResourceInfo& info) {
  size_t count = 0;
  while (count < info.selector_paths.size() && !info.selector_paths[count].empty() &&
         first_of(info, count) == count)
    ++count;
  return count;
}

std::string field_text(const json::value& object, const Path& path) {
  const json::value* at = &object;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] != "|" && path[i] != "=") {
      at = at ? base::find(*at, path[i]) : nullptr;
      continue;
    }
    if (std::string text = label_text(at); !text.empty()) return text;
    if (path[i] == "=") return std::string(path[i + 1]);
    at = &object;
  }
  return label_text(at);
}

}  // namespace master
