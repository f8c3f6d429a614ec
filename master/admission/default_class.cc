#include "master/admission/default_class.h"

#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

json::value DefaultClass::mutate(AdmissionAttributes& attributes) {
  bool storage = kind_ == Kind::kStorage;
  if (attributes.operation != Operation::kCreate || !attributes.subresource.empty()) return nullptr;
  if (storage ? !attributes.is("", "persistentvolumeclaims")
              : !attributes.is("networking.k8s.io", "ingresses"))
    return nullptr;
  json::object& object = attributes.object.get_object();
  json::object& spec = base::object_at(object, "spec");
  const char* member = storage ? "storageClassName" : "ingressClassName";
  const char* older = storage ? "volume.beta.kubernetes.io/storage-class" : "kubernetes.io/ingress.class";
  const json::value* named = spec.if_contains(member);  // "" is a choice: no class
  if ((named && !named->is_null()) || base::find_path(attributes.object, "metadata", "annotations", older))
    return nullptr;
  const char* marks[] = {
      storage ? "storageclass.kubernetes.io/is-default-class" : "ingressclass.kubernetes.io/is-default-class",
      storage ? "storageclass.beta.kubernetes.io/is-default-class" : ""};
  std::string chosen, made;
  for (const auto& [key, each] : registry_
                                     .cache(storage ? "storage.k8s.io" : "networking.k8s.io",
                                            storage ? "storageclasses" : "ingressclasses")
                                     .objects()) {
    json::value one = parse_object(*each->text);
    bool marked = false;
    for (const char* mark : marks)
      marked |= *mark && base::string_at(one, "metadata", "annotations", mark) == "true";
    std::string_view when = base::string_at(one, "metadata", "creationTimestamp");
    if (!marked || (!chosen.empty() && when <= made)) continue;
    chosen = each->name();
    made = when;
  }
  if (!chosen.empty()) spec[member] = chosen;
  return nullptr;
}

}  // namespace master
