// Tables of custom resources: the columns that the definition asks for.
#include "api/structural.h"
#include "api/table/table.h"

namespace api {
namespace {

json::value cell(const PrinterColumn& column, const json::value& object, base::Time now) {
  const json::value* value = column.path.first(object);
  if (!value || value->is_null()) return nullptr;
  if (column.type == "string") return value->is_string() ? *value : json::value(base::to_json(*value));
  if (column.type == "integer" && value->is_number())
    return value->is_int64() ? *value : json::value(static_cast<int64_t>(value->to_number<double>()));
  if (column.type == "number" && value->is_number()) return *value;
  if (column.type == "boolean" && value->is_bool()) return *value;
  if (column.type == "date" && value->is_string()) {
    std::string age = human_age(base::as_string(value), now);
    return json::value(age == "<unknown>" ? "<invalid>" : age);
  }
  return nullptr;
}

}  // namespace

json::array table_columns(const CustomKind& kind) {
  json::array out{json::object{{"name", "Name"},
                               {"type", "string"},
                               {"format", "name"},
                               {"description", "Name of the object, unique within its namespace."},
                               {"priority", 0}}};
  for (const PrinterColumn& column : kind.columns)
    out.push_back(json::object{{"name", column.name},
                               {"type", column.type},
                               {"format", column.format},
                               {"description", column.description},
                               {"priority", column.priority}});
  return out;
}
json::array table_cells(const CustomKind& kind, const json::value& object, base::Time now) {
  json::array out{json::value(base::string_at(object, "metadata", "name"))};
  for (const PrinterColumn& column : kind.columns) out.push_back(cell(column, object, now));
  return out;
}

}  // namespace api
