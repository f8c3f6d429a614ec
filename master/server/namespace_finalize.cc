#include "api/status.h"
#include "base/json_lists.h"
#include "master/server/handlers.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;

// PUT namespaces/NAME/finalize: the namespace controller's last word.
static void finalize_namespace(ApiServer& server, RequestPtr request) {
  json::value sent;
  if (!decode_body(*request, *request->resource->type, "Namespace", &sent)) return;
  auto finalizers = std::make_shared<json::array>(base::list_at(base::find_path(sent, "spec", "finalizers")));
  server.registry().update(
      request, "finalize",
      [finalizers](const json::value& current, json::value* updated) {
        *updated = current;
        base::object_at(updated->get_object(), "spec")["finalizers"] = *finalizers;
        return json::value(nullptr);
      },
      [request](Registry::Outcome outcome) { reply_written(request, 200, outcome); });
}

void add_namespace_handlers(ApiServer& server) {
  server.handle_with("", "namespaces", "finalize",
                     [&server](RequestPtr request) { finalize_namespace(server, std::move(request)); });
}

}  // namespace master
