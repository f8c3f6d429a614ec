// The writes that plans of volumes ask for, as values: at most one a round, each bound to the revision that
// was judged, so that a crash or a lost answer after any of them leaves what the next round goes on from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "master/controllers/events.h"
#include "master/controllers/volumes.h"

namespace master::controllers {

struct VolumeWrite {
  enum class Verb { kPatch, kPatchStatus, kCreate, kRemove } verb = Verb::kPatch;
  enum class Of { kClaim, kVolume } of = Of::kClaim;
  Meta judged;        // of kCreate: name and namespace alone
  json::object body;  // a merge patch, or the new object
  std::string text;   // one line: "volume pv1: bind to default/c"
};

struct VolumePlan {
  std::optional<VolumeWrite> write;
  std::vector<PlanEvent> events;       // at once
  std::vector<PlanEvent> done_events;  // once the write is acknowledged
  std::string text() const;
};

VolumeWrite patch_claim(const Claim& claim, json::object metadata, json::object spec, std::string text);
VolumeWrite patch_claim_status(const Claim& claim, json::object status, std::string text);
VolumeWrite patch_volume(const Volume& volume, json::object metadata, json::object spec, std::string text);
VolumeWrite patch_volume_status(const Volume& volume, json::object status, std::string text);
// metadata.finalizers with or without one.
json::object finalizers_with(std::vector<std::string> finalizers, std::string_view added);
json::object finalizers_without(std::vector<std::string> finalizers, std::string_view removed);

}  // namespace master::controllers
