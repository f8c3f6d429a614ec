// JSON that a person wrote into a file: an error says where it stands.
#pragma once

#include <string>

#include "base/json.h"

namespace base {

// As parse_json; what is wrong is "line 3, column 14: syntax error", counted from 1, columns in bytes.
Result<json::value> parse_json_file(std::string_view text, const std::string& path);
Result<json::value> read_json_file(const std::string& path);

}  // namespace base
