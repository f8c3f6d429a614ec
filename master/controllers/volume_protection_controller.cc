#include "master/controllers/volume_protection_controller.h"

#include <algorithm>

#include "base/json_lists.h"

namespace master::controllers {

bool keeps_claims(const Pod& pod) { return pod.volumes && !pod.node.empty(); }

VolumePlan plan_claim_protection(const Claim& claim, bool in_use) {
  VolumePlan plan;
  const bool has = has_finalizer(claim.finalizers, kClaimProtection);
  if (!claim.meta.deleting && !has)
    plan.write = patch_claim(claim, finalizers_with(claim.finalizers, kClaimProtection), {}, "protect");
  else if (claim.meta.deleting && has && !in_use)
    plan.write = patch_claim(claim, finalizers_without(claim.finalizers, kClaimProtection), {}, "let go");
  return plan;
}
VolumePlan plan_volume_protection(const Volume& volume) {
  VolumePlan plan;
  const bool has = has_finalizer(volume.finalizers, kVolumeProtection);
  if (!volume.meta.deleting && !has)
    plan.write = patch_volume(volume, finalizers_with(volume.finalizers, kVolumeProtection), {}, "protect");
  else if (volume.meta.deleting && has && volume.phase != "Bound")
    plan.write = patch_volume(volume, finalizers_without(volume.finalizers, kVolumeProtection), {}, "let go");
  return plan;
}

VolumeProtectionController::VolumeProtectionController(Hub& hub)
    : hub_(hub), claim_account_(hub.account("pvc-protection-controller")),
      volume_account_(hub.account("pv-protection-controller")),
      claims_(hub.follow<Claim>(kPersistentVolumeClaims)), volumes_(hub.follow<Volume>(kPersistentVolumes)),
      pods_(hub.follow<Pod>(api::resources::pods)), claim_writer_(hub, claim_account_, claims_, volumes_),
      volume_writer_(hub, volume_account_, claims_, volumes_),
      claim_rounds_(
          hub, {&claims_, &pods_},
          [this](const std::string& key, Reconciler::Finish finish) { sync_claim(key, std::move(finish)); }),
      volume_rounds_(hub, {&volumes_}, [this](const std::string& key, Reconciler::Finish finish) {
        sync_volume(key, std::move(finish));
      }) {
  claims_.on_change([this](const auto& before, const auto& after) {
    if (after) claim_rounds_.add(after->meta.key());
    else claim_rounds_.gate.forget(before->meta.key());
  });
  volumes_.on_change([this](const auto& before, const auto& after) {
    if (after) volume_rounds_.add(after->meta.name);
    else volume_rounds_.gate.forget(before->meta.name);
  });
  pods_.on_change([this](const auto& before, const auto& after) {
    if (after || !before->volumes) return;  // only a Pod that is gone frees a claim
    for (const std::string& name : before->volumes->claims)
      if (auto claim = claims_.get(key_of(before->meta.ns, name)); claim && claim->meta.deleting)
        claim_rounds_.add(claim->meta.key());
  });
}

void VolumeProtectionController::sync_claim(const std::string& key, Reconciler::Finish finish) {
  auto claim = claims_.get(key);
  if (!claim) return finish(Reconciler::Outcome::kDone);
  bool in_use = false;
  for (const auto& pod : pods_.find(using_claim(claim->meta.ns, claim->meta.name)))
    in_use |= keeps_claims(*pod);
  VolumePlan plan = plan_claim_protection(*claim, in_use);
  if (!plan.write || !claim->meta.deleting)
    return claim_writer_.carry_out(claim_rounds_, key, ref_of(*claim), std::move(plan), std::move(finish));
  // A Pod that was just given to a node may be on its way to the cache: the API server knows.
  claim_account_.client.list(
      api::resources::pods, claim->meta.ns, "",
      [this, key, claim, finish = std::move(finish)](base::Result<json::value> result) {
        if (!result.ok()) return Reconciler::end("PersistentVolumeClaim", key, result.error(), finish);
        bool in_use = false;
        for (const json::value& pod : base::list_at(*result, "items")) {
          auto volumes = read_pod_volumes(pod);
          if (volumes && !base::string_at(pod, "spec", "nodeName").empty())
            in_use |= std::find(volumes->claims.begin(), volumes->claims.end(), claim->meta.name) !=
                      volumes->claims.end();
        }
        claim_writer_.carry_out(claim_rounds_, key, ref_of(*claim), plan_claim_protection(*claim, in_use),
                                finish);
      });
}

void VolumeProtectionController::sync_volume(const std::string& key, Reconciler::Finish finish) {
  auto volume = volumes_.get(key);
  if (!volume) return finish(Reconciler::Outcome::kDone);
  volume_writer_.carry_out(volume_rounds_, key, ref_of(*volume), plan_volume_protection(*volume),
                           std::move(finish));
}

}  // namespace master::controllers
