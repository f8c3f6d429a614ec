// Gives Services of type LoadBalancer their addresses (load_balancer_plan.h) and says so in status and
// Events. All of them are one plan: who gets an address hangs on who has one. Never announces an address:
// that is the proxies', by what the condition says.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "master/controllers/load_balancer_plan.h"
#include "master/controllers/namespaces.h"
#include "master/controllers/nodes.h"
#include "master/controllers/reconciler.h"
#include "master/controllers/status_writer.h"

namespace master::controllers {

class LoadBalancerController {
 public:
  explicit LoadBalancerController(Hub& hub);

 private:
  void sync(Reconciler::Finish finish);
  BalancerWorld observe();
  Step publish(std::shared_ptr<const Service> service, const BalancerOutcome& outcome);
  void tell_errors(const AddressPools& pools);
  bool concerns(const Service* service) const;

  Hub& hub_;
  Hub::Account& account_;
  Store<Service>& services_;
  Store<Whole>& slices_;
  Store<Node>& nodes_;
  Store<ConfigMap>& config_maps_;
  std::vector<base::Cidr> taken_;
  std::set<std::string> balanced_;  // keys of the Services that concern us
  std::set<std::string> told_;      // errors of pools
  std::map<std::string, std::string> pools_text_;
  std::optional<AddressPools> pools_;  // of that text: it may be long, and changes seldom
  Reconciler reconciler_;
  StatusWriter status_;
};

}  // namespace master::controllers
