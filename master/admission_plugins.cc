#include "master/admission_plugins.h"

#include "master/admission_default_class.h"
#include "master/admission_limit_ranger.h"
#include "master/admission_namespaces.h"
#include "master/admission_pod_security.h"
#include "master/admission_policies.h"
#include "master/admission_priority.h"
#include "master/admission_quota.h"
#include "master/admission_tolerations.h"
#include "master/admission_webhooks.h"
#include "master/server.h"
#include "master/service_account_admission.h"
#include "master/service_addresses.h"

namespace master {

void add_admission_plugins(ApiServer& server) {
  AdmissionChain& chain = server.admission();
  auto webhooks = std::make_shared<WebhookClient>(server);
  chain.add(std::make_unique<NamespaceLifecycle>(server));
  chain.add(std::make_unique<LimitRanger>(server));
  if (server.options().admits_accounts)
    chain.add(make_service_account_admission(server.loop(), server.cache("", "serviceaccounts")));
  chain.add(std::make_unique<PodSecurity>(server));
  chain.add(std::make_unique<Priority>(server));
  chain.add(std::make_unique<DefaultTolerationSeconds>());
  chain.add(std::make_unique<DefaultClass>(server, DefaultClass::Kind::kStorage));
  chain.add(std::make_unique<DefaultClass>(server, DefaultClass::Kind::kIngress));
  chain.add(std::make_unique<ServiceAddressAdmission>(server));
  chain.add(std::make_unique<AdmissionWebhooks>(server, webhooks, true));
  chain.add(std::make_unique<ValidatingPolicies>(server));
  chain.add(std::make_unique<AdmissionWebhooks>(server, webhooks, false));
  chain.add(std::make_unique<ResourceQuota>(server));  // last: what is refused elsewhere takes no room
}

}  // namespace master
