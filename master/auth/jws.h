// JSON Web Signatures in their compact form (RFC 7515): ES256 with P-256 keys, RS256 with RSA keys.
// Pure but for randomness. A Key is cheap to copy and may be used by any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace master::jws {

class Key {
 public:
  // A PEM private key, or a public one that only verifies.
  static base::Result<Key> read(const std::string& pem);
  // PEM of a new private key: P-256 for "ES256", RSA of 2048 bits for "RS256".
  static base::Result<std::string> make(std::string_view algorithm);

  const std::string& id() const { return id_; }  // base64url of SHA-256 of its public part
  const char* algorithm() const { return rsa_ ? "RS256" : "ES256"; }
  bool can_sign() const { return private_; }
  base::json::object jwk() const;  // its public part, as RFC 7517 has it
  base::Result<std::string> sign(std::string_view payload) const;
  bool verify(std::string_view signed_text, std::string_view signature) const;

 private:
  std::shared_ptr<void> key_;  // EVP_PKEY
  std::string id_;
  bool rsa_ = false, private_ = false;
};

// The payload of a token that one of `keys` signed; kDenied when none did, kInvalid when it is no token.
base::Result<std::string> verify(std::string_view token, const std::vector<Key>& keys);
// The payload without a look at the signature: whose token it says it is.
base::Result<base::json::value> peek(std::string_view token);

}  // namespace master::jws
