// Which addresses Services may not claim, as the cluster's nodes come and go, and the admission plugin that
// refuses spec.externalIPs that are parts of the cluster (the danger of CVE-2020-8554), and on request all;
// an update may keep what was there. Loop thread only.
#pragma once

#include <map>
#include <string>

#include "master/admission/service_address_plan.h"
#include "master/registry/admission.h"
#include "master/registry/object_cache.h"

namespace master {

class Registry;

// ClusterAddresses, kept as Nodes change.
class FollowedAddresses {
 public:
  explicit FollowedAddresses(Registry& registry, std::function<void()> changed = {});
  ~FollowedAddresses();
  const ClusterAddresses& now() const { return cluster_; }

 private:
  void count_node(const StoredObject& node, int by);
  ObjectCache& nodes_;
  std::function<void()> changed_;
  ClusterAddresses cluster_;
  std::map<std::string, int> counts_;  // how many nodes say so
  uint64_t listener_;
};

class ServiceAddressAdmission final : public AdmissionPlugin {
 public:
  // `deny_all`: no Service has external addresses.
  ServiceAddressAdmission(Registry& registry, bool deny_all);
  std::string_view name() const override { return "DenyServiceExternalIPs"; }
  base::json::value validate(AdmissionAttributes& attributes) override;

 private:
  FollowedAddresses cluster_;
  bool deny_all_;
};

}  // namespace master
