#include "master/controllers/account_secret_plan.h"

namespace master::controllers {

std::string AccountSecretPlan::text() const {
  if (kind == Kind::kNothing) return "";
  if (kind == Kind::kRemove) return "remove\n";
  return fmt::format("fill for {}{}\n", account_uid, needs_token ? " with a token" : "");
}

AccountSecretPlan plan_account_secret(const Secret& secret, const ServiceAccount* account) {
  using Kind = AccountSecretPlan::Kind;
  if (!secret.is_token || secret.meta.deleting) return {};
  const bool bound = !secret.account_uid.empty();
  if (!account || (bound && secret.account_uid != account->meta.uid)) {
    // A new Secret may come before its account; what had a token loses its ground with the account.
    return bound ? AccountSecretPlan{Kind::kRemove, "", false} : AccountSecretPlan{};
  }
  if (bound && secret.has_token && secret.has_ca && secret.has_namespace) return {};
  return {Kind::kFill, account->meta.uid, !secret.has_token};
}

}  // namespace master::controllers
