// Until the tables and documents are there: columns Name and Created At, empty OpenAPI.
#include "api/openapi.h"
#include "api/table.h"
#include "api/patch.h"
namespace api {
__attribute__((weak)) json::array table_columns(std::string_view){ return {}; }
__attribute__((weak)) json::array table_cells(std::string_view, const json::value&, base::Time){ return {}; }
__attribute__((weak)) json::value openapi_v3_index(const std::vector<std::pair<std::string, std::string>>&){ return nullptr; }
__attribute__((weak)) json::value openapi_v3(const ServedGroupVersion&){ return json::object(); }
__attribute__((weak)) json::value openapi_v2(const std::vector<ServedGroupVersion>&, std::string_view){ return json::object(); }
__attribute__((weak)) std::string ServedGroupVersion::path() const { return group.empty()?"api/"+version:"apis/"+group+"/"+version; }
__attribute__((weak)) base::Result<Applied> apply_patch(const Type&, const json::value&, const json::value&, const FieldManager&, bool){ return base::make_error(base::Kind::kUnsupported,"x"); }
}
