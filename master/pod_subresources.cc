// What is done to a Pod besides reading and writing it.
#include "api/status.h"
#include "master/server.h"

namespace master {

namespace json = base::json;

// POST bindings: the older form of pods/NAME/binding, with the Pod's name in the body.
void ApiServer::create_binding(RequestPtr request) {
  static const api::Type* type = api::find_type("io.k8s.api.core.v1", "Binding");
  json::value binding;
  if (!decode_body(*request, *type, "Binding", &binding)) return;
  request->name = base::string_at(binding, "metadata", "name");
  if (request->name.empty())
    return request->reply_status(api::invalid("", "Binding", "", {{api::FieldError::Type::required, "metadata.name", "", "name or generateName is required"}}));
  request->resource = resources_.find("", "v1", "pods");
  request->subresource = "binding";
  bind_pod(std::move(request));
}

}  // namespace master
