// What controllers keep of PersistentVolumes, PersistentVolumeClaims and StorageClasses, and of the Pods that
// use claims. Read straight from JSON. Shapes of core/v1 and storage.k8s.io/v1.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/quantity.h"
#include "master/controllers/node_terms.h"
#include "master/controllers/store.h"

namespace master::controllers {

extern const api::Resource kPersistentVolumes, kPersistentVolumeClaims, kStorageClasses;

constexpr const char* kBindCompleted = "pv.kubernetes.io/bind-completed";
constexpr const char* kBoundByController = "pv.kubernetes.io/bound-by-controller";
constexpr const char* kProvisionedBy = "pv.kubernetes.io/provisioned-by";
constexpr const char* kSelectedNode = "volume.kubernetes.io/selected-node";
constexpr const char* kStorageProvisioner = "volume.kubernetes.io/storage-provisioner";
constexpr const char* kBetaStorageProvisioner = "volume.beta.kubernetes.io/storage-provisioner";
constexpr const char* kClaimProtection = "kubernetes.io/pvc-protection";
constexpr const char* kVolumeProtection = "kubernetes.io/pv-protection";

struct Claim {
  Meta meta;
  Labels labels, annotations;
  std::vector<OwnerRef> owners;
  std::vector<std::string> finalizers, access_modes;
  std::optional<std::string> storage_class;  // absent: the default one; "": none
  std::optional<Selector> selector;          // of volumes
  std::string volume, volume_mode, phase;
  api::Quantity request;
  std::string request_text;
  json::value status;
  bool has_source = false;  // dataSource or dataSourceRef

  static Store<Claim>::Reader reader(const api::Resource& resource);
  static std::vector<std::string> terms(const Claim& claim);
};

struct Volume {
  struct Reference {
    std::string ns, name, uid;
  };
  Meta meta;
  Labels labels, annotations;
  std::vector<std::string> finalizers, access_modes;
  std::string storage_class, volume_mode, phase, reclaim;
  std::optional<Reference> claim;
  api::Quantity capacity;
  std::string capacity_text;
  std::string csi_driver, csi_handle;  // empty: another kind
  std::vector<NodeTerm> nodes;         // any of them; none: every node

  bool admits(const Labels& node_labels, const std::string& node) const;
  static Store<Volume>::Reader reader(const api::Resource& resource);
  static std::vector<std::string> terms(const Volume& volume);
};

struct StorageClass {
  Meta meta;
  std::string provisioner, reclaim = "Delete";
  bool is_default = false, waits_for_consumer = false, expands = false, has_mount_options = false;
  std::vector<Selector> topologies;  // any of them; none: everywhere

  static Store<StorageClass>::Reader reader(const api::Resource& resource);
};
// The newest of those that are marked; of two that are as new, the first by name. Null: none.
std::shared_ptr<const StorageClass> default_class(const Store<StorageClass>& classes);

struct PodVolumes {
  struct Ephemeral {
    std::string volume;
    json::value claim_template;
  };
  std::vector<std::string> claims;  // names, with those of ephemeral volumes
  std::vector<Ephemeral> ephemeral;
  bool operator==(const PodVolumes& other) const { return claims == other.claims; }
};
std::shared_ptr<const PodVolumes> read_pod_volumes(const json::value& pod);  // null: no claims
std::string ephemeral_claim(std::string_view pod, std::string_view volume);

// Terms (store.h): Pods by claim; volumes by whose they are and, of those that are nobody's, by class; claims
// without a volume by class, and all by the volume that they name.
std::string using_claim(std::string_view ns, std::string_view claim);
std::string claimed_by(std::string_view ns, std::string_view claim);
std::string free_of_class(std::string_view storage_class);
std::string unbound_of_class(const std::optional<std::string>& storage_class);
std::string naming_volume(std::string_view volume);
std::string local_to(std::string_view node);  // volumes of ours by the node that has them

// Whether a volume that is nobody's, or the claim's already, is what the claim asks for, wherever it lies.
bool fits(const Volume& volume, const Claim& claim);
bool is_provisioned_locally(const Volume& volume);
bool has_finalizer(const std::vector<std::string>& finalizers, std::string_view finalizer);

}  // namespace master::controllers
