#include "master/admission/namespaces.h"

#include "api/status.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

json::value NamespaceLifecycle::mutate(AdmissionAttributes& attributes) {
  if (attributes.operation != Operation::kCreate || !attributes.resource->namespaced) return nullptr;
  ResourcePtr namespaces = registry_.resources().find_stored("", "namespaces");
  ObjectRef ns = namespaces->objects->find(object_key("", attributes.ns));
  if (!ns) return api::not_found(namespaces->named(), attributes.ns);
  if (ns->text->find("\"deletionTimestamp\":") == std::string::npos) return nullptr;
  json::value refusal = api::forbidden(
      attributes.resource->named(), attributes.name,
      "unable to create new content in namespace " + attributes.ns + " because it is being terminated");
  json::object cause{{"reason", "NamespaceTerminating"},
                     {"message", "namespace " + attributes.ns + " is being terminated"},
                     {"field", "metadata.namespace"}};
  base::object_at(refusal.get_object(), "details")["causes"] = json::array{std::move(cause)};
  return refusal;
}

json::value NamespaceLifecycle::validate(AdmissionAttributes& attributes) {
  if (attributes.operation != Operation::kDelete || !attributes.is("", "namespaces")) return nullptr;
  const std::string& name = attributes.name;
  if (name == "default" || name == "kube-system" || name == "kube-public")
    return api::forbidden(attributes.resource->named(), name, "this namespace may not be deleted");
  return nullptr;
}

}  // namespace master
