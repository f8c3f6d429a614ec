// Pieces of table cells. Private to api/table*.cc.
#pragma once

#include <string>
#include <vector>

#include "api/table.h"

namespace api::table {

std::string joined(const std::vector<std::string>& list, const char* between);
std::string first_three(const std::vector<std::string>& list, const char* none);  // "a,b,c + 2 more..."
std::string labels_text(const json::value* labels);      // "a=b,c=d" or "<none>"
std::string selector_text(const json::value* selector);  // of a LabelSelector
json::array pod_cells(const json::value& pod, base::Time now);

}  // namespace api::table
