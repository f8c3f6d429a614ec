#include "master/admission/storage_protection.h"

#include <algorithm>

#include "base/json_lists.h"

namespace master {

base::json::value StorageProtection::mutate(AdmissionAttributes& attributes) {
  if (attributes.operation != Operation::kCreate || !attributes.subresource.empty()) return nullptr;
  std::string_view finalizer;
  if (attributes.is("", "persistentvolumeclaims")) finalizer = "kubernetes.io/pvc-protection";
  else if (attributes.is("", "persistentvolumes")) finalizer = "kubernetes.io/pv-protection";
  else return nullptr;
  base::json::array& list =
      base::list_in(base::object_at(attributes.object.get_object(), "metadata"), "finalizers");
  if (std::none_of(list.begin(), list.end(),
                   [&](const base::json::value& one) { return base::as_string(&one) == finalizer; }))
    list.push_back(base::json::value(finalizer));
  return nullptr;
}

}  // namespace master
