// What Services may claim, enforced and said. The admission plugin refuses spec.externalIPs that are
// parts of the cluster (the danger of CVE-2020-8554), and with DenyServiceExternalIPs all; an update may
// keep what was there. The controller tells by Events what older Services or the cluster already have:
// one voice for all proxies, which only leave such rules out. Loop thread only.
#pragma once

#include <map>
#include <set>
#include <string>

#include "api/client/client.h"
#include "master/admission.h"
#include "master/controllers/events.h"
#include "master/object_cache.h"
#include "master/service_address_plan.h"

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

class ServiceAddressController {
 public:
  explicit ServiceAddressController(Registry& registry);
  ~ServiceAddressController();

 private:
  void follow(const StoredObject& service);
  void sync(const std::string& key);

  ObjectCache& services_;
  api::Client client_;
  controllers::EventRecorder events_;
  api::WorkQueue queue_;
  AddressBook book_;
  FollowedAddresses cluster_;
  std::map<std::string, std::set<AddressEvent>> said_;  // by Service; only while it lasts
  uint64_t listener_;
};

}  // namespace master
