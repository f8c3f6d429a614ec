#include "master/admission/plugins.h"

#include "master/admission/claim_resize.h"
#include "master/admission/default_class.h"
#include "master/admission/limit_ranger.h"
#include "master/admission/mutating_policies.h"
#include "master/admission/namespaces.h"
#include "master/admission/pod_security_admission.h"
#include "master/admission/policies.h"
#include "master/admission/priority.h"
#include "master/admission/quota.h"
#include "master/admission/service_account_admission.h"
#include "master/admission/service_address_admission.h"
#include "master/admission/storage_protection.h"
#include "master/admission/tolerations.h"
#include "master/admission/webhooks.h"
#include "master/registry/registry.h"

namespace master {

void add_admission_plugins(Registry& registry, const Authorizer& authorizer,
                           const AdmissionOptions& options) {
  AdmissionChain& chain = registry.admission();
  auto webhooks = std::make_shared<WebhookClient>(registry);
  chain.add(std::make_unique<NamespaceLifecycle>(registry));
  chain.add(std::make_unique<LimitRanger>(registry));
  if (options.admits_accounts)
    chain.add(make_service_account_admission(registry.loop(), registry.cache("", "serviceaccounts")));
  chain.add(std::make_unique<PodSecurity>(registry));
  chain.add(std::make_unique<Priority>(registry));
  chain.add(std::make_unique<DefaultTolerationSeconds>());
  chain.add(std::make_unique<DefaultClass>(registry, DefaultClass::Kind::kStorage));
  chain.add(std::make_unique<DefaultClass>(registry, DefaultClass::Kind::kIngress));
  chain.add(std::make_unique<StorageProtection>());
  chain.add(std::make_unique<ClaimResize>(registry));
  chain.add(std::make_unique<ServiceAddressAdmission>(registry, options.deny_external_ips));
  chain.add(std::make_unique<MutatingPolicies>(registry, authorizer));
  chain.add(std::make_unique<AdmissionWebhooks>(registry, authorizer, webhooks, true));
  chain.add(std::make_unique<ValidatingPolicies>(registry, authorizer));
  chain.add(std::make_unique<AdmissionWebhooks>(registry, authorizer, webhooks, false));
  chain.add(std::make_unique<ResourceQuota>(registry));  // last: what is refused elsewhere takes no room
}

}  // namespace master
