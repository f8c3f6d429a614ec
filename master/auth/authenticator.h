// Authenticator: who asks. In this order: a client certificate of the cluster's CA (common name is
// the user, organizations are groups), a bearer token (static, of a service account, bootstrap), or
// nobody: system:anonymous. A token that is sent must be good. Loop thread only.
// Source: kubernetes.io, "Authenticating".
#pragma once

#include <map>
#include <string>
#include <vector>

#include "master/auth/service_account_tokens.h"
#include "master/registry/object_cache.h"
#include "master/registry/request.h"

namespace master {

constexpr std::string_view kAnonymous = "system:anonymous";

// `token,user,uid[,"group1,group2"]` a line, as --token-auth-file has it; kInvalid names the line.
base::Result<std::map<std::string, User>> read_token_file(std::string_view text);

class Authenticator {
 public:
  // Neither may end before this. `tokens` may be null.
  Authenticator(std::map<std::string, User> static_tokens, ServiceAccountTokens* tokens,
                const ObjectCache& secrets)
      : static_tokens_(std::move(static_tokens)), tokens_(tokens), secrets_(secrets) {}

  // kDenied: what was sent proves nothing.
  base::Result<User> authenticate(const base::http::Request& request);
  // One token, whatever it is for: empty audiences are the API server's.
  base::Result<ServiceAccountTokens::Identity> check_token(const std::string& token);

 private:
  base::Result<User> check_bootstrap_token(std::string_view token) const;

  std::map<std::string, User> static_tokens_;
  ServiceAccountTokens* tokens_;
  const ObjectCache& secrets_;
};

}  // namespace master
