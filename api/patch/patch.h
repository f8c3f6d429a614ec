// The patches of the API over JSON documents. Pure; an Error is what the client did wrong.
// Kinds: kInvalid = the patch is malformed (400), kConflict = a `test` failed or it does not apply
// (422 for JSON patch, as kube-apiserver).
#pragma once

#include <string>
#include <vector>

#include "api/schema.h"
#include "base/clock.h"

namespace api {

constexpr size_t kMaxJsonPatchOperations = 10000;

base::Result<json::value> json_patch(const json::value& document, const json::value& patch);  // RFC 6902
json::value merge_patch(json::value document, const json::value& patch);                      // RFC 7386
// Lists with a merge key merge by it; $patch: replace|delete|merge, $retainKeys,
// $setElementOrder/…, $deleteFromPrimitiveList/…, null deletes.
base::Result<json::value> strategic_merge_patch(const Type& type, json::value document,
                                                const json::value& patch);
// The JSON merge patch that turns `before` into `after`.
json::value diff_merge_patch(const json::value& before, const json::value& after);

// ---- server-side apply -------------------------------------------------------------------------
struct FieldManager {
  std::string name;         // "kubectl", from ?fieldManager= or the user agent
  std::string api_version;  // "apps/v1"
  std::string subresource;  // "", "status", "scale"
  base::Time now;
};
struct ApplyConflict {
  std::string manager, field;  // "\"kubectl-edit\" using apps/v1", ".spec.replicas"
};
// "Apply failed with 1 conflict: …", as clients know it.
std::string conflict_text(const std::vector<ApplyConflict>& conflicts);
struct Applied {
  json::value object;                    // with metadata.managedFields; unset when conflicts
  std::vector<ApplyConflict> conflicts;  // none when `force`
};
// `live` is null when the object does not exist. `applied` is the manifest sent.
base::Result<Applied> apply_patch(const Type& type, const json::value& live, const json::value& applied,
                                  const FieldManager& manager, bool force);
// `live` with the fields that `configuration` has, merged as an apply merges them, but nobody's:
// managedFields stay. kInvalid, as kube-apiserver says it: fields that the type does not know, or has
// otherwise; lists, maps and structures that can only be replaced as a whole.
base::Result<json::value> merge_configuration(const Type& type, json::value live,
                                              const json::value& configuration);
// Sets after.metadata.managedFields after a create (`before` null), update or patch by `manager`.
// `part`: of the object, what this write can set.
enum class Part : uint8_t { kAll, kStatus, kAllButStatus };
void track_update(const Type& type, const json::value& before, json::value& after,
                  const FieldManager& manager, Part part = Part::kAll);

}  // namespace api
