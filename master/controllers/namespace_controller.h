// Gives each namespace its ServiceAccount `default` and ConfigMap `kube-root-ca.crt`, and empties a
// namespace that is being deleted: every object of every namespaced kind the API server lists,
// then the finalizer. Never forces: what has finalizers or a grace period is waited for.
#pragma once

#include <set>
#include <string>
#include <vector>

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
  Hub::Account &account_, &accounts_account_, &ca_account_;  // empties namespaces; furnishes them
  size_t ca_hash_;
  Reconciler reconciler_;
};

// The namespaced kinds that can be listed and deleted, from the server's discovery documents.
void discover_namespaced(api::Client& client, std::function<void(base::Result<std::vector<api::Resource>>)> done);

}  // namespace master::controllers
