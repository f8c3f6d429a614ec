// Keeps Secrets of type kubernetes.io/service-account-token filled with a token of the account that they
// name, the CA and the namespace; without the account they go. Acts, as Kubernetes' tokens controller does,
// by the name that the controllers read by: the accounts of all others hang on this one. Decides nothing
// itself.
#pragma once

#include <string>

#include "master/controllers/account_secret_plan.h"
#include "master/controllers/reconciler.h"

namespace master::controllers {

class AccountSecretController {
 public:
  explicit AccountSecretController(Hub& hub);

 private:
  void sync(const std::string& key, Reconciler::Finish finish);
  void act(std::shared_ptr<const Secret> secret, const AccountSecretPlan& plan,
           std::function<void(base::Status)> done);
  void fill(std::shared_ptr<const Secret> secret, const AccountSecretPlan& plan,
            std::function<void(base::Status)> done);

  Hub& hub_;
  Hub::Account account_;
  Store<Secret>& secrets_;
  Store<ServiceAccount>& accounts_;
  Reconciler reconciler_;
};

}  // namespace master::controllers
