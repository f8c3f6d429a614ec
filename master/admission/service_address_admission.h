// The admission plugin that refuses spec.externalIPs that are parts of the cluster (the danger of
// CVE-2020-8554), and on request all; an update may keep what was there. Loop thread only.
#pragma once

#include "api/cluster_addresses.h"
#include "master/registry/admission.h"
#include "master/registry/object_cache.h"

namespace master {

class Registry;

// The addresses that are parts of the cluster before any node is.
api::ClusterAddresses reserved_addresses(const Registry& registry);

class ServiceAddressAdmission final : public AdmissionPlugin {
 public:
  // `deny_all`: no Service has external addresses.
  ServiceAddressAdmission(Registry& registry, bool deny_all);
  std::string_view name() const override { return "DenyServiceExternalIPs"; }
  ~ServiceAddressAdmission() override;
  base::json::value validate(AdmissionAttributes& attributes) override;

 private:
  void count(const StoredObject& node, int by);
  ObjectCache& nodes_;
  api::ClusterAddresses cluster_;
  bool deny_all_;
  uint64_t listener_;
};

}  // namespace master
