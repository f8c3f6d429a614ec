// --format: the part of Go's templates that people use with ps and inspect: {{.Field}},
// {{.Field.Sub}}, {{json .Field}}, and "table …" with tabs between the columns. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace cli {

// `headings`: what stands above a column that is not its field's name in capitals.
base::Result<std::string> format_rows(const std::string& format,
                                      const std::vector<std::map<std::string, std::string>>& rows,
                                      const std::map<std::string, std::string>& headings, bool heading);
base::Result<std::string> format_value(const std::string& format, const base::json::value& value);
std::string pretty_json(const base::json::value& value, int indent = 0);  // as a person reads it

}  // namespace cli
