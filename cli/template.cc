#include "cli/template.h"

#include <algorithm>
#include <sstream>

#include "cli/command.h"

namespace cli {

namespace json = base::json;

namespace {

// Calls `field` for what stands in each {{…}}, with "json" taken off.
base::Result<std::string> expand(
    const std::string& format,
    const std::function<base::Result<std::string>(const std::string& path, bool as_json)>& field) {
  std::string out;
  size_t at = 0;
  for (size_t open; (open = format.find("{{", at)) != std::string::npos;) {
    out += format.substr(at, open - at);
    size_t close = format.find("}}", open);
    if (close == std::string::npos)
      return base::make_error(base::Kind::kInvalid, "read --format", format, "'{{' is not closed");
    std::istringstream words(format.substr(open + 2, close - open - 2));
    std::string word, path;
    bool as_json = false;
    while (words >> word) {
      if (word == "json") as_json = true;
      else if (word.starts_with(".") && path.empty()) path = word.substr(1);
      else
        return base::make_error(base::Kind::kInvalid, "read --format", format,
                                "only {{.Field}} and {{json .Field}} are known");
    }
    out += TRY(field(path, as_json));
    at = close + 2;
  }
  out += format.substr(at);
  for (auto [from, to] : {std::pair("\\t", "\t"), std::pair("\\n", "\n")})
    for (size_t i; (i = out.find(from)) != std::string::npos;) out.replace(i, 2, to);
  return out;
}

std::string plain(const json::value& value) {
  return value.is_string() ? std::string(value.get_string()) : base::to_json(value);
}

}  // namespace

base::Result<std::string> format_rows(const std::string& format,
                                      const std::vector<std::map<std::string, std::string>>& rows,
                                      const std::map<std::string, std::string>& headings, bool heading) {
  bool table = format.starts_with("table ");
  std::string line = table ? format.substr(6) : format;
  std::vector<std::vector<std::string>> cells;
  std::string out;
  auto columns = [](const std::string& text) {
    std::vector<std::string> parts;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, '\t');) parts.push_back(part);
    return parts;
  };
  if (table && heading)
    cells.push_back(columns(TRY(expand(line, [&](const std::string& path, bool) -> base::Result<std::string> {
      if (auto known = headings.find(path); known != headings.end()) return known->second;
      std::string name = path;
      std::transform(name.begin(), name.end(), name.begin(), ::toupper);
      return name;
    }))));
  for (const auto& row : rows) {
    std::string text =
        TRY(expand(line, [&](const std::string& path, bool as_json) -> base::Result<std::string> {
          auto field = row.find(path);
          if (field == row.end())
            return base::make_error(base::Kind::kInvalid, "read --format", format,
                                    "there is no field '" + path + "'");
          return as_json ? base::to_json(json::value(field->second)) : field->second;
        }));
    if (table) cells.push_back(columns(text));
    else out += text + "\n";
  }
  return table ? format_table(cells) : out;
}

base::Result<std::string> format_value(const std::string& format, const json::value& value) {
  return expand(format, [&](const std::string& path, bool as_json) -> base::Result<std::string> {
    const json::value* at = &value;
    std::istringstream parts(path);
    for (std::string part; std::getline(parts, part, '.');) {
      at = base::find(*at, part);
      if (!at)
        return base::make_error(base::Kind::kInvalid, "read --format", format,
                                "there is no field '" + path + "'");
    }
    return as_json ? base::to_json(*at) : plain(*at);
  });
}

std::string pretty_json(const json::value& value, int indent) {
  std::string pad(static_cast<size_t>(indent + 2), ' '), out;
  const char* separator = "\n";
  if (value.is_object() && !value.get_object().empty()) {
    for (const auto& [key, item] : value.get_object()) {
      out += separator + pad + base::to_json(json::value(key)) + ": " + pretty_json(item, indent + 2);
      separator = ",\n";
    }
    return "{" + out + "\n" + pad.substr(2) + "}";
  }
  if (value.is_array() && !value.get_array().empty()) {
    for (const json::value& item : value.get_array()) {
      out += separator + pad + pretty_json(item, indent + 2);
      separator = ",\n";
    }
    return "[" + out + "\n" + pad.substr(2) + "]";
  }
  return base::to_json(value);
}

}  // namespace cli
