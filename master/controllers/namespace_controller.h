// Gives each namespace its ServiceAccount `default` and ConfigMap `kube-root-ca.crt`, and empties a
// namespace that is being deleted: every object of every namespaced kind the API server lists,
// then the finalizer. Never forces: what has finalizers or a grace period is waited for.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "master/controllers/namespaces.h"
#include "master/controllers/reconciler.h"

namespace master::controllers {

class NamespaceController {
 public:
  explicit NamespaceController(Hub& hub);

 private:
  struct Purge;
  void sync(const std::string& name, Reconciler::Finish finish);
  void furnish(const std::string& name, Reconciler::Finish finish);
  void list_next(std::shared_ptr<Purge> purge);
  void remove_listed(std::shared_ptr<Purge> purge);
  void finalize(std::shared_ptr<Purge> purge);

  Hub& hub_;
  Store<Namespace>& namespaces_;
  Store<ConfigMap>& config_maps_;
  Store<ServiceAccount>& service_accounts_;
  Hub::Account &account_, &accounts_account_, &ca_account_;  // empties namespaces; furnishes them
  size_t ca_hash_;
  Reconciler reconciler_;
};

}  // namespace master::controllers
