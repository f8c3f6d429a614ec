#include "master/controllers/volume_provision_plan.h"

#include <algorithm>

#include "api/local_volumes.h"
#include "base/json_lists.h"

namespace master::controllers {

namespace names = api::local_volumes;

namespace {

constexpr const char* kHostname = "kubernetes.io/hostname";

VolumePlan provisioning_failed(std::string message) {
  VolumePlan plan;
  plan.events.push_back({"Warning", "ProvisioningFailed", std::move(message)});
  return plan;
}

bool allows(const StorageClass& storage_class, const Node& node) {
  const auto& topologies = storage_class.topologies;
  return topologies.empty() || std::any_of(topologies.begin(), topologies.end(),
                                           [&](const Selector& one) { return one.matches(node.labels); });
}

// Where the scheduler has not chosen: a node that can take Pods, with the fewest volumes.
std::shared_ptr<const Node> choose(const ClaimView& view) {
  std::shared_ptr<const Node> best;
  auto count = [&](const Node& node) {
    auto at = view.volumes_on.find(node.meta.name);
    return at == view.volumes_on.end() ? 0 : at->second;
  };
  for (const auto& node : view.nodes) {
    if (node->local_volumes.empty() || node->unschedulable || node->meta.deleting || !is_ready(*node) ||
        !allows(*view.storage_class, *node))
      continue;
    if (!best || count(*node) < count(*best) ||
        (count(*node) == count(*best) && node->meta.name < best->meta.name))
      best = node;
  }
  return best;
}

// What a claim asks for that a local volume is not; empty: nothing.
std::string lacks(const ClaimView& view) {
  const Claim& claim = *view.claim;
  if (claim.selector)
    return "claim.Spec.Selector is not supported for dynamic provisioning on sampan.io/local";
  if (claim.request > max_local_size())
    return fmt::format("requested {}, and a volume of sampan.io/local holds 15Ti at most",
                       claim.request_text);
  if (claim.has_source) return "sampan.io/local is not capable to provision a volume with a data source";
  if (view.storage_class->has_mount_options) return "sampan.io/local does not support mount options";
  std::string modes;
  bool others = false;
  for (const std::string& mode : claim.access_modes) {
    modes += (modes.empty() ? "" : " ") + mode;
    others |= mode != "ReadWriteOnce" && mode != "ReadWriteOncePod";
  }
  if (others)
    return fmt::format(
        "invalid AccessModes [{}]: only AccessModes [ReadWriteOnce ReadWriteOncePod] are supported", modes);
  return {};
}

json::object volume_for(const ClaimView& view, const Node& node, const std::string& name) {
  const Claim& claim = *view.claim;
  const std::string_view hostname = label(node.labels, kHostname);
  const std::string capacity = claim.request < api::Quantity::of(1 << 20) ? "1Mi" : claim.request_text;
  json::value affinity =
      json::object{{"required",
                    {{"nodeSelectorTerms",
                      json::array{json::object{
                          {"matchExpressions",
                           json::array{json::object{
                               {"key", kHostname},
                               {"operator", "In"},
                               {"values", json::array{hostname.empty() ? node.meta.name : hostname}}}}}}}}}}};
  return {{"apiVersion", "v1"},
          {"kind", "PersistentVolume"},
          {"metadata",
           {{"name", name},
            {"annotations",
             {{kProvisionedBy, names::kProvisioner},
              {kBoundByController, "yes"},
              {names::kSizeAnnotation, capacity}}},
            {"labels", {{names::kNodeLabel, names::node_label(node.meta.name)}}},
            {"finalizers", json::array{names::kDataFinalizer}}}},
          {"spec",
           {{"capacity", {{"storage", capacity}}},
            {"accessModes", base::list_of(claim.access_modes)},
            {"persistentVolumeReclaimPolicy", view.storage_class->reclaim},
            {"storageClassName", view.storage_class->meta.name},
            {"volumeMode", claim.volume_mode},
            {"local", {{"path", fmt::format("{}/{}", node.local_volumes, name)}}},
            {"nodeAffinity", std::move(affinity)},
            {"claimRef",
             {{"apiVersion", "v1"},
              {"kind", "PersistentVolumeClaim"},
              {"namespace", claim.meta.ns},
              {"name", claim.meta.name},
              {"uid", claim.meta.uid},
              {"resourceVersion", std::to_string(claim.meta.revision)}}}}}};
}

VolumePlan make(const ClaimView& view) {
  const Claim& claim = *view.claim;
  const StorageClass& storage_class = *view.storage_class;
  const std::string prefix =
      fmt::format("Failed to provision volume with StorageClass \"{}\": ", storage_class.meta.name);
  if (std::string why = lacks(view); !why.empty()) return provisioning_failed(prefix + why);
  const std::string selected(label(claim.annotations, kSelectedNode));
  std::shared_ptr<const Node> node;
  if (selected.empty()) {
    if (!(node = choose(view)))
      return provisioning_failed(prefix + "no node that is ready offers local volumes");
  } else {
    for (const auto& one : view.nodes)
      if (one->meta.name == selected) node = one;
    const std::string why =
        !node                           ? fmt::format("node \"{}\" not found", selected)
        : !allows(storage_class, *node) ? fmt::format("node \"{}\" is not in allowedTopologies", selected)
        : node->local_volumes.empty()   ? fmt::format("node \"{}\" offers no local volumes", selected)
                                        : "";
    if (!why.empty()) {  // the scheduler chooses again
      VolumePlan plan = provisioning_failed(prefix + why);
      plan.write = patch_claim(claim, {{"annotations", json::object{{kSelectedNode, nullptr}}}}, {},
                               "forget the selected node");
      return plan;
    }
  }
  const std::string name = "pvc-" + claim.meta.uid;
  VolumePlan plan;
  Meta meta;
  meta.name = name;
  plan.write =
      VolumeWrite{VolumeWrite::Verb::kCreate, VolumeWrite::Of::kVolume, meta, volume_for(view, *node, name),
                  fmt::format("volume {}: create for {} on {}", name, claim.meta.key(), node->meta.name)};
  plan.done_events.push_back(
      {"Normal", "ProvisioningSucceeded",
       fmt::format("Successfully provisioned volume {} using {}", name, names::kProvisioner)});
  return plan;
}

}  // namespace

// A file of ext4 is a block short of 16 TiB at most.
api::Quantity max_local_size() { return api::Quantity::of(int64_t{15} << 40); }

VolumePlan plan_provision(const ClaimView& view) {
  const Claim& claim = *view.claim;
  if (!view.storage_class)
    return provisioning_failed(
        fmt::format("storageclass.storage.k8s.io \"{}\" not found", claim.storage_class.value_or("")));
  const std::string& provisioner = view.storage_class->provisioner;
  if (provisioner.starts_with("kubernetes.io/"))
    return provisioning_failed("no volume plugin matched name: " + provisioner);
  if (label(claim.annotations, kStorageProvisioner) != provisioner ||
      label(claim.annotations, kBetaStorageProvisioner) != provisioner) {
    VolumePlan plan;
    plan.write = patch_claim(
        claim,
        {{"annotations", {{kStorageProvisioner, provisioner}, {kBetaStorageProvisioner, provisioner}}}}, {},
        "provisioner " + provisioner);
    return plan;
  }
  if (provisioner == names::kProvisioner) return make(view);
  VolumePlan plan;
  plan.events.push_back(
      {"Normal", "ExternalProvisioning",
       fmt::format(
           "Waiting for a volume to be created either by the external provisioner '{}' or manually by "
           "the system administrator. If volume creation is delayed, please verify that the "
           "provisioner is running and correctly registered.",
           provisioner)});
  return plan;
}

}  // namespace master::controllers
