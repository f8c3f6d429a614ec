// What a Secret of type kubernetes.io/service-account-token lacks, or that it has to go because its account
// did. Pure.
// Source: kubernetes.io, "Manually create a long-lived API token for a ServiceAccount".
#pragma once

#include <string>

#include "master/controllers/namespaces.h"
#include "master/controllers/secrets.h"

namespace master::controllers {

struct AccountSecretPlan {
  enum class Kind { kNothing, kRemove, kFill } kind = Kind::kNothing;
  std::string account_uid;  // kFill: what it is bound to
  bool needs_token = false;
  std::string text() const;
};
// `account`: the one that the Secret names, null when there is none.
AccountSecretPlan plan_account_secret(const Secret& secret, const ServiceAccount* account);

}  // namespace master::controllers
