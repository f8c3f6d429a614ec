// AccountSecrets: Secrets of type kubernetes.io/service-account-token hold a token of the account
// they name, the CA and the namespace; without the account they go. Level-triggered, by the caches of
// Secrets and accounts. Loop thread only.
#pragma once

#include <set>
#include <string>

#include "api/client/client.h"
#include "master/auth/service_account_tokens.h"
#include "master/registry/registry.h"

namespace master {

class AccountSecrets {
 public:
  AccountSecrets(Registry& registry, const ServiceAccountTokens& tokens, std::string ca_pem);
  ~AccountSecrets();

 private:
  void look(const StoredObject& secret);
  void sync(const std::string& key);

  const ServiceAccountTokens& tokens_;
  const std::string ca_pem_;
  api::Client client_;
  ObjectCache &secrets_, &accounts_;
  uint64_t secrets_listener_, accounts_listener_;
  api::WorkQueue queue_;
};

}  // namespace master
