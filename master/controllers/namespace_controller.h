// Gives each namespace its ServiceAccount `default` and ConfigMap `kube-root-ca.crt`, and empties a
// namespace that is being deleted, in the order of namespace_plan.h.
#pragma once

#include <string>
#include <vector>

#include "base/task.h"
#include "master/controllers/namespace_plan.h"
#include "master/controllers/reconciler.h"
#include "master/controllers/status_writer.h"

namespace master::controllers {

class NamespaceController {
 public:
  explicit NamespaceController(Hub& hub);

 private:
  void sync(const std::string& name, Reconciler::Finish finish);
  void furnish(const std::string& name, Reconciler::Finish finish);
  base::Task<> purge(std::shared_ptr<const Namespace> ns, Reconciler::Finish finish);
  base::Task<NamespaceContent::Kind> list(api::Resource kind, std::string ns,
                                          std::vector<std::string>& failures);
  base::Task<> remove(std::string ns, const NamespacePlan& plan, const std::vector<api::Resource>& kinds,
                      NamespaceContent& content);
  base::Task<base::Status> finalize(std::string name, std::string uid);

  Hub& hub_;
  Store<Namespace>& namespaces_;
  Store<ConfigMap>& config_maps_;
  Store<ServiceAccount>& service_accounts_;
  Hub::Account &account_, &accounts_account_, &ca_account_;  // empties namespaces; furnishes them
  size_t ca_hash_;
  Reconciler reconciler_;
  StatusWriter status_;
  base::Tasks purges_;
};

}  // namespace master::controllers
