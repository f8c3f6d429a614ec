// Tokens of service accounts: made (TokenRequest, and for Secrets of type
// kubernetes.io/service-account-token), and checked against the objects they are bound to. A token
// that was checked once costs a look-up afterwards, no signature. Loop thread only.
// Source: kubernetes.io, "Managing Service Accounts", "Configure Service Accounts for Pods".
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "master/auth/jws.h"
#include "master/registry/object_cache.h"
#include "master/registry/request.h"

namespace master {

struct TokenKeys {
  std::string issuer;          // "https://kubernetes.default.svc.cluster.local": of the tokens that are made
  std::vector<jws::Key> keys;  // the first signs; all verify. Empty: no tokens are made or taken
  std::vector<std::string> former_issuers =
      {};                                   // whose tokens are taken as well: what a change of issuer leaves
  std::vector<std::string> audiences = {};  // of the API; empty: the issuer
  std::string jwks_uri = {};                // in the OIDC discovery document; "": this server's
};
// <dir>/sa.key, made when absent, and what only verifies: sa-old.key, which a rotation leaves until the last
// token it signed is gone. A sa.key of another algorithm than the one asked for ("RS256", which every
// validator knows, or "ES256") becomes sa-es256.key or sa-rs256.key, and a new one signs.
base::Result<std::vector<jws::Key>> load_or_make_account_keys(const std::string& dir,
                                                              std::string_view algorithm);

struct TokenClaims {
  struct Named {
    std::string name, uid;
  };
  std::string ns;
  Named account;
  std::optional<Named> pod, node, secret;
  std::vector<std::string> audiences;
  int64_t seconds = 3600, warn_after_seconds = 0;  // 0: no warning
};

class ServiceAccountTokens {
 public:
  ServiceAccountTokens(TokenKeys keys, const ObjectCache& accounts, const ObjectCache& pods,
                       const ObjectCache& secrets, const ObjectCache& nodes,
                       std::function<base::Time()> now = base::wall_now);

  const TokenKeys& keys() const { return keys_; }  // with its audiences filled in
  base::Result<std::string> issue(const TokenClaims& claims) const;
  // The kind without an end, for a Secret.
  base::Result<std::string> issue_for_secret(const std::string& ns, const TokenClaims::Named& account,
                                             const std::string& secret) const;

  struct Identity {
    User user;
    std::vector<std::string> audiences;
  };
  // kInvalid: not a token of ours, another authenticator may know it; kDenied: ours and not valid.
  base::Result<Identity> check(const std::string& token);

 private:
  // An object that a token stands or falls with, as it was when it was last looked at.
  struct Bound {
    const ObjectCache* cache;
    std::string key, uid, what;
    ObjectRef seen;
  };
  struct Checked {
    Identity identity;
    int64_t not_before = 0, expires = 0;  // Unix seconds; expires 0: never
    std::vector<Bound> bound;
  };
  base::Result<Checked> read(const std::string& token) const;
  base::Result<Checked> read_legacy(const std::string& token, const base::json::value& claims) const;
  base::Status still_valid(Checked& checked) const;

  const TokenKeys keys_;
  const ObjectCache &accounts_, &pods_, &secrets_, &nodes_;
  std::function<base::Time()> now_;
  std::unordered_map<std::string, Checked> checked_;
};

}  // namespace master
