#include "master/controllers/volumes.h"

#include <algorithm>

#include "api/local_volumes.h"
#include "base/json_lists.h"

namespace master::controllers {
using base::as_bool;
using base::find;
using base::find_path;
using base::list_at;
using base::string_at;

const api::Resource kPersistentVolumes = {"", "v1", "persistentvolumes", "PersistentVolume", false};
const api::Resource kPersistentVolumeClaims = {"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim",
                                               true};
const api::Resource kStorageClasses = {"storage.k8s.io", "v1", "storageclasses", "StorageClass", false};

namespace {
constexpr const char* kBetaClass = "volume.beta.kubernetes.io/storage-class";

api::Quantity amount_of(std::string_view text) {
  auto amount = api::Quantity::parse(text);
  return amount.ok() ? *amount : api::Quantity();
}
std::string mode_of(const json::value& object) {
  std::string_view mode = string_at(object, "spec", "volumeMode");
  return std::string(mode.empty() ? "Filesystem" : mode);
}
// Of volumes an empty selector means every one, unlike an owner's of Pods.
Selector volume_selector(const json::value* in) {
  auto selector = api::selector_of_json(in);
  if (selector.ok()) return *selector;
  Selector nothing;
  nothing.nothing = true;
  return nothing;
}
}  // namespace

Store<Claim>::Reader Claim::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const Claim> {
    auto claim = std::make_shared<Claim>();
    claim->meta = read_meta(object);
    claim->labels = read_labels(find_path(object, "metadata", "labels"));
    claim->annotations = read_labels(find_path(object, "metadata", "annotations"));
    claim->owners = read_owners(object);
    claim->finalizers = base::texts_of(find_path(object, "metadata", "finalizers"));
    claim->access_modes = base::texts_of(find_path(object, "spec", "accessModes"));
    if (auto beta = claim->annotations.find(kBetaClass); beta != claim->annotations.end())
      claim->storage_class = beta->second;
    else if (const json::value* name = find_path(object, "spec", "storageClassName");
             name && name->is_string())
      claim->storage_class = base::as_string(name);
    if (const json::value* selector = find_path(object, "spec", "selector"); selector && !selector->is_null())
      claim->selector = volume_selector(selector);
    claim->volume = string_at(object, "spec", "volumeName");
    claim->volume_mode = mode_of(object);
    claim->phase = string_at(object, "status", "phase");
    claim->request_text = string_at(object, "spec", "resources", "requests", "storage");
    claim->request = amount_of(claim->request_text);
    claim->status = copy_of(find(object, "status"));
    for (const char* member : {"dataSource", "dataSourceRef"})
      if (const json::value* source = find_path(object, "spec", member); source && source->is_object())
        claim->has_source = true;
    return claim;
  };
}
std::vector<std::string> Claim::terms(const Claim& claim) {
  if (claim.volume.empty()) return {unbound_of_class(claim.storage_class)};
  return {naming_volume(claim.volume)};
}

Store<Volume>::Reader Volume::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const Volume> {
    auto volume = std::make_shared<Volume>();
    volume->meta = read_meta(object);
    volume->labels = read_labels(find_path(object, "metadata", "labels"));
    volume->annotations = read_labels(find_path(object, "metadata", "annotations"));
    volume->finalizers = base::texts_of(find_path(object, "metadata", "finalizers"));
    volume->access_modes = base::texts_of(find_path(object, "spec", "accessModes"));
    if (auto beta = volume->annotations.find(kBetaClass); beta != volume->annotations.end())
      volume->storage_class = beta->second;
    else volume->storage_class = string_at(object, "spec", "storageClassName");
    volume->volume_mode = mode_of(object);
    volume->phase = string_at(object, "status", "phase");
    volume->reclaim = string_at(object, "spec", "persistentVolumeReclaimPolicy");
    if (volume->reclaim.empty()) volume->reclaim = "Retain";
    volume->capacity_text = string_at(object, "spec", "capacity", "storage");
    volume->capacity = amount_of(volume->capacity_text);
    if (const json::value* claim = find_path(object, "spec", "claimRef"); claim && claim->is_object())
      volume->claim = {std::string(string_at(*claim, "namespace")), std::string(string_at(*claim, "name")),
                       std::string(string_at(*claim, "uid"))};
    volume->csi_driver = string_at(object, "spec", "csi", "driver");
    volume->csi_handle = string_at(object, "spec", "csi", "volumeHandle");
    volume->nodes = api::volume_node_terms(object);
    return volume;
  };
}
std::vector<std::string> Volume::terms(const Volume& volume) {
  std::vector<std::string> terms;
  if (volume.claim) terms.push_back(claimed_by(volume.claim->ns, volume.claim->name));
  else terms.push_back(free_of_class(volume.storage_class));
  if (auto at = volume.labels.find(std::string(api::local_volumes::kNodeLabel)); at != volume.labels.end())
    terms.push_back(fmt::format("local:{}", at->second));
  return terms;
}
bool Volume::admits(const Labels& node_labels, const std::string& node) const {
  return api::admits(nodes, node_labels, node);
}

Store<StorageClass>::Reader StorageClass::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const StorageClass> {
    auto out = std::make_shared<StorageClass>();
    out->meta = read_meta(object);
    out->provisioner = string_at(object, "provisioner");
    if (std::string_view policy = string_at(object, "reclaimPolicy"); !policy.empty()) out->reclaim = policy;
    for (const char* mark :
         {"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"})
      out->is_default |= string_at(object, "metadata", "annotations", mark) == "true";
    out->waits_for_consumer = string_at(object, "volumeBindingMode") == "WaitForFirstConsumer";
    out->expands = as_bool(find(object, "allowVolumeExpansion"));
    out->has_mount_options = !list_at(object, "mountOptions").empty();
    for (const json::value& term : list_at(object, "allowedTopologies")) {
      Selector selector;
      for (const json::value& one : list_at(term, "matchLabelExpressions")) {
        Selector::Requirement requirement{std::string(string_at(one, "key")), Selector::Op::kIn,
                                          base::texts_of(find(one, "values"))};
        std::sort(requirement.values.begin(), requirement.values.end());
        selector.requirements.push_back(std::move(requirement));
      }
      out->topologies.push_back(std::move(selector));
    }
    return out;
  };
}
std::shared_ptr<const StorageClass> default_class(const Store<StorageClass>& classes) {
  std::shared_ptr<const StorageClass> newest;
  for (const auto& [name, one] : classes.all())
    if (one->is_default && (!newest || one->meta.created > newest->meta.created)) newest = one;
  return newest;
}

std::string ephemeral_claim(std::string_view pod, std::string_view volume) {
  return fmt::format("{}-{}", pod, volume);
}
std::shared_ptr<const PodVolumes> read_pod_volumes(const json::value& pod) {
  std::shared_ptr<PodVolumes> out;
  for (const json::value& volume : list_at(find_path(pod, "spec", "volumes"))) {
    const json::value *claim = find(volume, "persistentVolumeClaim"), *ephemeral = find(volume, "ephemeral");
    if (!claim && !ephemeral) continue;
    if (!out) out = std::make_shared<PodVolumes>();
    if (claim) {
      out->claims.emplace_back(string_at(*claim, "claimName"));
    } else {
      const std::string_view name = string_at(volume, "name");
      out->claims.push_back(ephemeral_claim(string_at(pod, "metadata", "name"), name));
      out->ephemeral.push_back({std::string(name), copy_of(find(*ephemeral, "volumeClaimTemplate"))});
    }
  }
  return out;
}

std::string using_claim(std::string_view ns, std::string_view claim) {
  return fmt::format("claim:{}/{}", ns, claim);
}
std::string claimed_by(std::string_view ns, std::string_view claim) {
  return fmt::format("claim:{}/{}", ns, claim);
}
std::string free_of_class(std::string_view storage_class) { return fmt::format("free:{}", storage_class); }
std::string unbound_of_class(const std::optional<std::string>& storage_class) {
  return storage_class ? fmt::format("unbound:{}", *storage_class) : "unbound";
}
std::string naming_volume(std::string_view volume) { return fmt::format("volume:{}", volume); }
std::string local_to(std::string_view node) {
  return fmt::format("local:{}", api::local_volumes::node_label(node));
}

bool fits(const Volume& volume, const Claim& claim) {
  if (volume.meta.deleting || volume.volume_mode != claim.volume_mode || volume.capacity < claim.request)
    return false;
  for (const std::string& mode : claim.access_modes)
    if (std::find(volume.access_modes.begin(), volume.access_modes.end(), mode) == volume.access_modes.end())
      return false;
  // Who is bound by name is not asked about class and labels.
  return volume.claim || (volume.storage_class == claim.storage_class.value_or("") &&
                          (!claim.selector || claim.selector->matches(volume.labels)));
}
bool is_provisioned_locally(const Volume& volume) {
  return label(volume.annotations, kProvisionedBy) == api::local_volumes::kProvisioner;
}
bool has_finalizer(const std::vector<std::string>& finalizers, std::string_view finalizer) {
  return std::find(finalizers.begin(), finalizers.end(), finalizer) != finalizers.end();
}

}  // namespace master::controllers
