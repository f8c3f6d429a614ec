#include "master/admission/claim_resize.h"

#include "api/quantity.h"
#include "api/status.h"
#include "master/registry/registry.h"

namespace master {

using base::string_at;

namespace {
api::Quantity requested(const base::json::value& claim) {
  auto amount = api::Quantity::parse(string_at(claim, "spec", "resources", "requests", "storage"));
  return amount.ok() ? *amount : api::Quantity();
}
std::string_view class_of_claim(const base::json::value& claim) {
  std::string_view beta =
      string_at(claim, "metadata", "annotations", "volume.beta.kubernetes.io/storage-class");
  return beta.empty() ? string_at(claim, "spec", "storageClassName") : beta;
}
}  // namespace

base::json::value ClaimResize::validate(AdmissionAttributes& attributes) {
  if (attributes.operation != Operation::kUpdate || !attributes.subresource.empty() ||
      !attributes.is("", "persistentvolumeclaims") ||
      requested(attributes.object) <= requested(attributes.old))
    return nullptr;
  auto refuse = [&](std::string why) {
    return api::forbidden({"", "persistentvolumeclaims"}, attributes.name, std::move(why));
  };
  if (string_at(attributes.old, "status", "phase") != "Bound")
    return refuse("Only bound persistent volume claims can be expanded");
  const std::string_view name = class_of_claim(attributes.object);
  const ObjectRef found =
      name.empty() || name != class_of_claim(attributes.old)
          ? nullptr
          : registry_.cache("storage.k8s.io", "storageclasses").find(object_key("", name));
  if (found && base::as_bool(base::find(parse_object(*found->text), "allowVolumeExpansion"))) return nullptr;
  return refuse(
      "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
      "support resize");
}

}  // namespace master
