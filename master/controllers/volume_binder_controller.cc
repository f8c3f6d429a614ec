#include "master/controllers/volume_binder_controller.h"

#include <algorithm>

#include "api/local_volumes.h"
#include "base/log.h"

namespace master::controllers {

VolumeBinderController::VolumeBinderController(Hub& hub)
    : hub_(hub), account_(hub.account("persistent-volume-binder")),
      claims_(hub.follow<Claim>(kPersistentVolumeClaims)), volumes_(hub.follow<Volume>(kPersistentVolumes)),
      classes_(hub.follow<StorageClass>(kStorageClasses)), nodes_(hub.follow<Node>(api::resources::nodes)),
      pods_(hub.follow<Pod>(api::resources::pods)), writer_(hub, account_, claims_, volumes_),
      claim_rounds_(
          hub, {&claims_, &volumes_, &classes_, &nodes_, &pods_},
          [this](const std::string& key, Reconciler::Finish finish) { sync_claim(key, std::move(finish)); }),
      volume_rounds_(hub, {&claims_, &volumes_, &nodes_},
                     [this](const std::string& key, Reconciler::Finish finish) {
                       sync_volume(key, std::move(finish));
                     }) {
  claims_.on_change(
      [this](const auto& before, const auto& after) { claim_changed(before.get(), after.get()); });
  volumes_.on_change(
      [this](const auto& before, const auto& after) { volume_changed(before.get(), after.get()); });
  classes_.on_change([this](const auto& before, const auto& after) { class_changed(before, after); });
  nodes_.on_change(
      [this](const auto& before, const auto& after) { node_changed(before.get(), after.get()); });
  // Only what a waiting claim says of its Pods hangs on them.
  pods_.on_change([this](const auto& before, const auto& after) {
    const auto& pod = after ? after : before;
    if (!pod->volumes || (before && after && before->node == after->node)) return;
    for (const std::string& name : pod->volumes->claims)
      if (auto claim = claims_.get(key_of(pod->meta.ns, name)); claim && claim->volume.empty())
        claim_rounds_.add(claim->meta.key());
  });
}

void VolumeBinderController::claim_changed(const Claim* before, const Claim* after) {
  const Claim& claim = after ? *after : *before;
  if (!after) claim_rounds_.gate.forget(claim.meta.key());
  else claim_rounds_.add(claim.meta.key());
  for (const auto& volume : volumes_.find(claimed_by(claim.meta.ns, claim.meta.name)))
    volume_rounds_.add(volume->meta.name);
  for (const Claim* one : {before, after})
    if (one && !one->volume.empty() && volumes_.get(one->volume)) volume_rounds_.add(one->volume);
}

void VolumeBinderController::volume_changed(const Volume* before, const Volume* after) {
  const Volume& volume = after ? *after : *before;
  if (!after) volume_rounds_.gate.forget(volume.meta.name);
  else volume_rounds_.add(volume.meta.name);
  for (const Volume* one : {before, after})
    if (one && one->claim)
      if (const std::string key = key_of(one->claim->ns, one->claim->name); claims_.get(key))
        claim_rounds_.add(key);
  wake_claims(naming_volume(volume.meta.name));
  if (after && !after->claim) {
    wake_claims(unbound_of_class(after->storage_class));
    if (after->storage_class.empty()) wake_claims(unbound_of_class({}));
  }
}

void VolumeBinderController::class_changed(const std::shared_ptr<const StorageClass>& before,
                                           const std::shared_ptr<const StorageClass>& after) {
  wake_claims(unbound_of_class((after ? after : before)->meta.name));
  if (after && after->is_default) wake_claims(unbound_of_class({}));
}

void VolumeBinderController::node_changed(const Node* before, const Node* after) {
  const bool same = before && after && before->local_volumes == after->local_volumes &&
                    before->unschedulable == after->unschedulable && before->labels == after->labels &&
                    before->conditions == after->conditions;
  if (same) return;
  const std::string& name = (after ? after : before)->meta.name;
  for (const auto& [key, one] : classes_.all())
    if (one->provisioner == api::local_volumes::kProvisioner) wake_claims(unbound_of_class(key));
  for (const auto& volume : volumes_.find(local_to(name)))
    if (volume->meta.deleting) volume_rounds_.add(volume->meta.name);
}

void VolumeBinderController::wake_claims(const std::string& term) {
  for (const auto& claim : claims_.find(term)) claim_rounds_.add(claim->meta.key());
}

void VolumeBinderController::sync_claim(const std::string& key, Reconciler::Finish finish) {
  auto claim = claims_.get(key);
  if (!claim) return finish(Reconciler::Outcome::kDone);
  ClaimView view;
  view.claim = claim;
  view.now = hub_.now();
  if (!claim->volume.empty()) {
    view.named = volumes_.get(claim->volume);
  } else {
    view.volumes = volumes_.find(claimed_by(claim->meta.ns, claim->meta.name));
    for (auto& volume : volumes_.find(free_of_class(claim->storage_class.value_or(""))))
      view.volumes.push_back(std::move(volume));
    if (claim->storage_class) view.storage_class = classes_.get(*claim->storage_class);
    else view.by_default = default_class(classes_);
    for (const auto& pod : pods_.find(using_claim(claim->meta.ns, claim->meta.name)))
      if (!pod->active()) continue;
      else if (pod->node.empty()) view.waiting_pods.push_back(pod->meta.name);
      else if (view.consumer_node.empty()) view.consumer_node = pod->node;
    const bool selected = claim->annotations.count(kSelectedNode) != 0;
    if (view.storage_class &&
        (selected || view.storage_class->provisioner == api::local_volumes::kProvisioner))
      for (const auto& [name, node] : nodes_.all()) {
        view.nodes.push_back(node);
        view.volumes_on[name] = static_cast<int>(volumes_.find(local_to(name)).size());
      }
  }
  writer_.carry_out(claim_rounds_, key, ref_of(*claim), plan_claim(view), std::move(finish));
}

bool VolumeBinderController::node_is_gone(const Volume& volume) const {
  auto at = volume.labels.find(std::string(api::local_volumes::kNodeLabel));
  return at != volume.labels.end() &&
         std::none_of(nodes_.all().begin(), nodes_.all().end(), [&](const auto& item) {
           return api::local_volumes::node_label(item.first) == at->second;
         });
}

void VolumeBinderController::sync_volume(const std::string& key, Reconciler::Finish finish) {
  auto volume = volumes_.get(key);
  if (!volume) return finish(Reconciler::Outcome::kDone);
  VolumeView view{volume, nullptr, false, volume->meta.deleting && node_is_gone(*volume), hub_.now()};
  if (volume->claim) view.claim = claims_.get(key_of(volume->claim->ns, volume->claim->name));
  auto go_on = [this, key, finish](const VolumeView& seen) {
    writer_.carry_out(volume_rounds_, key, ref_of(*seen.volume), plan_volume(seen), finish);
  };
  if (!needs_proof(view)) return go_on(view);
  account_.client.get(kPersistentVolumeClaims, volume->claim->ns, volume->claim->name,
                      [view, key, go_on, finish](base::Result<json::value> result) mutable {
                        if (!result.ok() && result.error().kind != base::Kind::kNotFound)
                          return Reconciler::end("PersistentVolume", key, result.error(), finish);
                        view.claim_is_gone =
                            !result.ok() || read_meta(*result).uid != view.volume->claim->uid;
                        go_on(view);
                      });
}

}  // namespace master::controllers
