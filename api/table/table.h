// The columns of `kubectl get`, for server-side tables (application/json;as=Table). Pure; the
// clock is an argument.
#pragma once

#include <string>
#include <string_view>

#include "api/schema.h"
#include "base/clock.h"

namespace api {

// columnDefinitions of the kind ("v1/Pod"), and one row's cells in the same order. Kinds without
// columns of their own show Name and Created At.
json::array table_columns(std::string_view gvk);
json::array table_cells(std::string_view gvk, const json::value& object, base::Time now);
// The same of a custom resource: additionalPrinterColumns, or the age.
json::array table_columns(const CustomKind& kind);
json::array table_cells(const CustomKind& kind, const json::value& object, base::Time now);

// A built-in object's cells as JSON text that lasts as long as the object does not change: ages are left
// open, and append_cells() writes them as they are at `now`.
std::string open_cells(std::string_view gvk, const json::value& object);
void append_cells(std::string& out, std::string_view open, base::Time now);

// "5s", "3m20s", "2d4h", "3y10d": kubectl's ages.
std::string human_duration(base::Duration age);
// Age of an RFC 3339 time, "<unknown>" when it is absent.
std::string human_age(std::string_view timestamp, base::Time now);

}  // namespace api
