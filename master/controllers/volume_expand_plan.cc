#include "master/controllers/volume_expand_plan.h"

#include "api/local_volumes.h"
#include "base/json_lists.h"
#include "master/controllers/volume_provision_plan.h"

namespace master::controllers {

using base::string_at;

namespace {

constexpr const char* kResizing = "Resizing";
constexpr const char* kFileSystemPending = "FileSystemResizePending";

bool is_expansion(std::string_view type) {
  return type == kResizing || type == kFileSystemPending || type == "ControllerResizeError" ||
         type == "NodeResizeError";
}
bool has_condition(const Claim& claim, std::string_view type) {
  for (const json::value& one : base::list_at(base::find(claim.status, "conditions")))
    if (string_at(one, "type") == type && string_at(one, "status") == "True") return true;
  return false;
}
// All others, and this one, unless there is none.
json::array conditions_with(const Claim& claim, const char* type, const char* message, base::Time now) {
  json::array out;
  for (const json::value& one : base::list_at(base::find(claim.status, "conditions")))
    if (!is_expansion(string_at(one, "type"))) out.push_back(one);
  if (!type) return out;
  json::object condition{{"type", type}, {"status", "True"}, {"lastTransitionTime", base::format_time(now)}};
  if (*message) condition["message"] = message;
  out.push_back(std::move(condition));
  return out;
}
std::string_view step_of(const Claim& claim) {
  return string_at(claim.status, "allocatedResourceStatuses", "storage");
}
json::object in_step(const char* step) { return {{"storage", step ? json::value(step) : json::value()}}; }
// A merge patch replaces lists whole, and an empty one is none.
void set_conditions(json::object& status, json::array conditions) {
  status["conditions"] = conditions.empty() ? json::value() : json::value(std::move(conditions));
}

VolumePlan raise(const Claim& claim, const Volume& volume, base::Time now) {
  VolumePlan plan;
  if (!is_provisioned_locally(volume)) {
    plan.events.push_back(
        {"Normal", "ExternalExpanding", "waiting for an external controller to expand this PVC"});
    return plan;
  }
  if (claim.request > max_local_size()) {
    plan.events.push_back({"Warning", "VolumeResizeFailed",
                           fmt::format("requested {}, and a volume of sampan.io/local holds 15Ti at most",
                                       claim.request_text)});
    return plan;
  }
  if (has_condition(claim, kResizing) &&
      string_at(claim.status, "allocatedResources", "storage") == claim.request_text) {
    plan.write = patch_volume(volume, {}, {{"capacity", json::object{{"storage", claim.request_text}}}},
                              fmt::format("capacity {}", claim.request_text));
    return plan;
  }
  json::object status{{"allocatedResources", {{"storage", claim.request_text}}},
                      {"allocatedResourceStatuses", in_step("ControllerResizeInProgress")}};
  set_conditions(status, conditions_with(claim, kResizing, "", now));
  plan.write =
      patch_claim_status(claim, std::move(status), fmt::format("resizing to {}", claim.request_text));
  plan.done_events.push_back(
      {"Normal", "Resizing", fmt::format("External resizer is resizing volume {}", volume.meta.name)});
  return plan;
}

}  // namespace

VolumePlan plan_expansion(const Claim& claim, const Volume& volume, base::Time now) {
  VolumePlan plan;
  if (claim.meta.deleting || volume.meta.deleting || claim.phase != "Bound") return plan;
  auto amount = api::Quantity::parse(string_at(claim.status, "capacity", "storage"));
  const api::Quantity had = amount.ok() ? *amount : api::Quantity();
  if (volume.capacity < claim.request) return raise(claim, volume, now);
  if (!is_provisioned_locally(volume)) return plan;
  const bool told =
      label(volume.annotations, std::string(api::local_volumes::kSizeAnnotation)) == volume.capacity_text;
  const bool pending = has_condition(claim, kResizing) || has_condition(claim, kFileSystemPending);
  if (told && (had < volume.capacity || pending)) {
    json::object status{{"capacity", {{"storage", volume.capacity_text}}},
                        {"allocatedResources", {{"storage", volume.capacity_text}}},
                        {"allocatedResourceStatuses", in_step(nullptr)}};
    set_conditions(status, conditions_with(claim, nullptr, "", now));
    plan.write =
        patch_claim_status(claim, std::move(status), fmt::format("capacity {}", volume.capacity_text));
    plan.done_events.push_back(
        {"Normal", "FileSystemResizeSuccessful",
         fmt::format("MountVolume.NodeExpandVolume succeeded for volume \"{}\"", volume.meta.name)});
    return plan;
  }
  if (told || !(had < volume.capacity)) return plan;
  if (has_condition(claim, kFileSystemPending) && step_of(claim) == "NodeResizePending") return plan;
  json::object status{{"allocatedResourceStatuses", in_step("NodeResizePending")}};
  set_conditions(
      status, conditions_with(claim, kFileSystemPending,
                              "Waiting for user to (re-)start a pod to finish file system resize of volume "
                              "on node.",
                              now));
  plan.write = patch_claim_status(claim, std::move(status), "file system resize pending");
  plan.done_events.push_back(
      {"Normal", "FileSystemResizeRequired", "Require file system resize of volume on node"});
  return plan;
}

}  // namespace master::controllers
