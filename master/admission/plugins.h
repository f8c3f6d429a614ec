// The admission plugins that every cluster has, in kube-apiserver's order.
#pragma once

namespace master {

class Authorizer;
class Registry;

struct AdmissionOptions {
  bool deny_external_ips = false;  // in Services: the plugin DenyServiceExternalIPs
  bool admits_accounts = false;    // ServiceAccount admission: needs the controllers that make accounts
};
// After the objects were loaded. `authorizer` outlives the registry's chain.
void add_admission_plugins(Registry& registry, const Authorizer& authorizer, const AdmissionOptions& options);

}  // namespace master
