// Who wrote which field of an object (KEP-555).
#include "api/patch/patch.h"
#include "base/json_limits.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

// Who writes: ?fieldManager=, else the program's name from its User-Agent ("kubectl/v1.32…"), else,
// for what runs inside the master, the user's.
static std::string manager_name(const RequestInfo& request) {
  if (std::string_view name = request.param("fieldManager"); !name.empty()) return std::string(name);
  std::string_view agent = request.http().headers.get("User-Agent");
  if (agent.empty()) {
    agent = request.user.name;
    if (agent.starts_with("system:")) agent.remove_prefix(7);
  }
  return std::string(agent.substr(0, std::min(agent.find('/'), kMaxManagerName)));
}
api::FieldManager field_manager(const RequestInfo& request) {
  return {manager_name(request), std::string(request.resource->worked().group_version()), request.subresource,
          base::wall_now()};
}

void track_fields(const RequestInfo& request, const json::value& before, json::value& after) {
  if (request.applies) return;
  const ResourceInfo& resource = request.resource->worked();
  // Status is another's to write, except through its own door.
  api::Part part = request.subresource == "status" ? api::Part::kStatus
                   : resource.has_status           ? api::Part::kAllButStatus
                                                   : api::Part::kAll;
  api::track_update(*resource.type, before, after, field_manager(request), part);
  // The owners' paths are some levels deeper than the fields: as in Kubernetes, an object whose owners can't
  // be kept is kept without.
  json::object& metadata = base::object_at(after.get_object(), "metadata");
  if (const json::value* managed = metadata.if_contains("managedFields");
      managed && !base::nests_within(*managed, base::kMaxJsonDepth - 2))
    metadata.erase("managedFields");
}

}  // namespace master
