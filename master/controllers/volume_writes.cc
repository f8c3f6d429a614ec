#include "master/controllers/volume_writes.h"

#include "base/json_lists.h"

namespace master::controllers {

namespace {
json::object body_of(json::object metadata, json::object spec) {
  json::object body;
  if (!metadata.empty()) body["metadata"] = std::move(metadata);
  if (!spec.empty()) body["spec"] = std::move(spec);
  return body;
}
}  // namespace

VolumeWrite patch_claim(const Claim& claim, json::object metadata, json::object spec, std::string text) {
  return {VolumeWrite::Verb::kPatch, VolumeWrite::Of::kClaim, claim.meta,
          body_of(std::move(metadata), std::move(spec)), fmt::format("claim {}: {}", claim.meta.key(), text)};
}
VolumeWrite patch_claim_status(const Claim& claim, json::object status, std::string text) {
  return {VolumeWrite::Verb::kPatchStatus, VolumeWrite::Of::kClaim, claim.meta,
          json::object{{"status", std::move(status)}}, fmt::format("claim {}: {}", claim.meta.key(), text)};
}
VolumeWrite patch_volume(const Volume& volume, json::object metadata, json::object spec, std::string text) {
  return {VolumeWrite::Verb::kPatch, VolumeWrite::Of::kVolume, volume.meta,
          body_of(std::move(metadata), std::move(spec)),
          fmt::format("volume {}: {}", volume.meta.name, text)};
}
VolumeWrite patch_volume_status(const Volume& volume, json::object status, std::string text) {
  return {VolumeWrite::Verb::kPatchStatus, VolumeWrite::Of::kVolume, volume.meta,
          json::object{{"status", std::move(status)}}, fmt::format("volume {}: {}", volume.meta.name, text)};
}

json::object finalizers_with(std::vector<std::string> finalizers, std::string_view added) {
  finalizers.emplace_back(added);
  return {{"finalizers", base::list_of(finalizers)}};
}
json::object finalizers_without(std::vector<std::string> finalizers, std::string_view removed) {
  std::erase(finalizers, removed);
  return {{"finalizers", base::list_of(finalizers)}};
}

std::string VolumePlan::text() const {
  std::string out;
  for (const PlanEvent& event : events)
    out += fmt::format("event {} {}: {}\n", event.type, event.reason, event.message);
  if (write) out += write->text + "\n";
  for (const PlanEvent& event : done_events)
    out += fmt::format("then event {} {}: {}\n", event.type, event.reason, event.message);
  return out;
}

}  // namespace master::controllers
