#include "master/controllers/ephemeral_volume_controller.h"

#include <algorithm>

#include "master/controllers/workloads.h"

namespace master::controllers {

json::object claim_of_pod(const Pod& pod, const PodVolumes::Ephemeral& volume) {
  json::object metadata{
      {"name", ephemeral_claim(pod.meta.name, volume.volume)},
      {"namespace", pod.meta.ns},
      {"ownerReferences", json::array{controller_reference("v1", "Pod", pod.meta.name, pod.meta.uid)}}};
  for (const char* member : {"labels", "annotations"})
    if (const json::value* given = base::find_path(volume.claim_template, "metadata", member))
      metadata[member] = *given;
  return {{"apiVersion", "v1"},
          {"kind", "PersistentVolumeClaim"},
          {"metadata", std::move(metadata)},
          {"spec", copy_of(base::find(volume.claim_template, "spec"))}};
}
bool is_claim_of(const Claim& claim, const Pod& pod) {
  return std::any_of(claim.owners.begin(), claim.owners.end(),
                     [&](const OwnerRef& owner) { return owner.controller && owner.uid == pod.meta.uid; });
}

EphemeralVolumeController::EphemeralVolumeController(Hub& hub)
    : hub_(hub), account_(hub.account("ephemeral-volume-controller")),
      pods_(hub.follow<Pod>(api::resources::pods)), claims_(hub.follow<Claim>(kPersistentVolumeClaims)),
      reconciler_(hub, {&pods_, &claims_}, [this](const std::string& key, Reconciler::Finish finish) {
        sync(key, std::move(finish));
      }) {
  pods_.on_change([this](const auto& before, const auto& after) {
    if (!after) return reconciler_.gate.forget(before->meta.key());
    if (!before && after->volumes && !after->volumes->ephemeral.empty()) reconciler_.add(after->meta.key());
  });
  claims_.on_change([this](const auto& before, const auto& after) {
    if (after) return;
    for (const OwnerRef& owner : before->owners)
      if (owner.kind == "Pod" && owner.controller)
        if (const std::string key = key_of(before->meta.ns, owner.name); pods_.get(key)) reconciler_.add(key);
  });
}

void EphemeralVolumeController::sync(const std::string& key, Reconciler::Finish finish) {
  auto pod = pods_.get(key);
  if (!pod || pod->meta.deleting || !pod->volumes) return finish(Reconciler::Outcome::kDone);
  std::vector<Step> steps;
  for (const PodVolumes::Ephemeral& volume : pod->volumes->ephemeral) steps.push_back(make(key, pod, volume));
  all(std::move(steps), [key, finish = std::move(finish)](base::Status status) {
    Reconciler::end("Pod", key, status, finish);
  });
}

Step EphemeralVolumeController::make(const std::string& key, std::shared_ptr<const Pod> pod,
                                     const PodVolumes::Ephemeral& volume) {
  return [this, key, pod, volume](std::function<void(base::Status)> done) {
    const std::string name = ephemeral_claim(pod->meta.name, volume.volume);
    auto failed = [this, pod, volume, done](const base::Error& error) {
      account_.events.record(
          {"v1", "Pod", pod->meta.ns, pod->meta.name, pod->meta.uid}, "Warning", "FailedBinding",
          fmt::format("ephemeral volume {}: {}", volume.volume, answered(error)), "ephemeral_volume");
      done(error);
    };
    if (auto claim = claims_.get(key_of(pod->meta.ns, name))) {
      if (is_claim_of(*claim, *pod)) return done({});
      return failed(base::make_error(base::Kind::kExists, "make claim", name,
                                     fmt::format("PVC {} was not created for pod {} (pod is not owner)",
                                                 claim->meta.key(), pod->meta.key())));
    }
    account_.client.create(kPersistentVolumeClaims, pod->meta.ns, claim_of_pod(*pod, volume),
                           [this, key, failed, done](base::Result<json::value> result) {
                             if (!result.ok()) return failed(result.error());
                             reconciler_.gate.wrote(key, claims_, revision_of(*result), hub_.now());
                             done({});
                           });
  };
}

}  // namespace master::controllers
