// Tells by Events what older Services or the cluster already have of what a Service claims: one voice for all
// proxies, which only leave such rules out. Writes nothing else.
#pragma once

#include <map>
#include <set>
#include <string>

#include "master/controllers/nodes.h"
#include "master/controllers/reconciler.h"
#include "master/controllers/service_address_plan.h"

namespace master::controllers {

class ServiceAddressController {
 public:
  explicit ServiceAddressController(Hub& hub);

 private:
  void sync(const std::string& key);

  Hub::Account& account_;
  Store<Service>& services_;
  Store<Node>& nodes_;
  api::ClusterAddresses cluster_;
  AddressBook book_;
  std::map<std::string, std::set<AddressEvent>> said_;  // by Service; only while it lasts
  Reconciler reconciler_;
};

}  // namespace master::controllers
