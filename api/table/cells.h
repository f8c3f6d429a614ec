// Pieces of table cells. Private to api/table*.cc.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "api/table/table.h"

namespace api::table {

struct Column {
  const char* name;
  const char* type;  // "string", "integer", "boolean", "date"
  int priority;      // 1: with -o wide only
  const char* doc;
};
struct Kind {
  std::vector<Column> columns;
  json::array (*cells)(const json::value& object, base::Time now);
};
inline constexpr Column kName{"Name", "string", 0, "Name of the object, unique within its namespace."};
inline constexpr Column kAge{"Age", "string", 0, "Time since the object was created."};
const std::map<std::string_view, Kind>& more_kinds();  // by gvk: "batch/v1/Job"

std::string joined(const std::vector<std::string>& list, const char* between);
std::string first_three(const std::vector<std::string>& list, const char* none);  // "a,b,c + 2 more..."
std::string labels_text(const json::value* labels);                               // "a=b,c=d" or "<none>"
std::string selector_text(const json::value* selector);                           // of a LabelSelector
json::array pod_cells(const json::value& pod, base::Time now);

}  // namespace api::table
