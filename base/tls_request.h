// Certificate signing requests (PKCS#10): what one asks for, a new one, and the certificate that
// answers it. The key stays with whoever asks.
#pragma once

#include <string>
#include <vector>

#include "base/tls.h"

namespace base::tls {

// What a request asks for; its signature proved that the asker holds the key.
struct RequestedName {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names, ip_addresses, emails, uris;  // subject alternative names
};
// kInvalid says what is wrong: not PEM, several blocks, a signature that does not fit.
Result<RequestedName> read_signing_request(const std::string& pem);

// A new P-256 key and the request for it.
struct SigningRequest {
  std::string request_pem, key_pem;
};
Result<SigningRequest> make_signing_request(const RequestedName& name);

// `usages` as certificates.k8s.io/v1 names them: "client auth", "digital signature"…; an unknown one
// is kInvalid. The result is one PEM certificate of the requested subject and names.
Result<std::string> sign_request(const KeyPair& ca, const std::string& request_pem,
                                 const std::vector<std::string>& usages, Duration lifetime);
bool known_usage(const std::string& usage);

}  // namespace base::tls
