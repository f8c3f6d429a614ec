// Tells by Events what older Services or the cluster already have of what a Service claims: one voice for all
// proxies, which only leave such rules out. Loop thread only.
#pragma once

#include <map>
#include <set>
#include <string>

#include "api/client/client.h"
#include "master/admission/service_address_admission.h"
#include "master/controllers/events.h"

namespace master {

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
