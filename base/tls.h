// TLS contexts and the cluster's certificates, over OpenSSL 3. Keys are ECDSA P-256.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

struct ssl_ctx_st;
struct ssl_st;

namespace base::tls {

struct KeyPair {
  std::string certificate_pem, key_pem;
};
struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names, ip_addresses;  // subject alternative names
  bool client = false, server = false;               // extended key usages
  Duration lifetime = std::chrono::hours(24 * 365);
};
Result<KeyPair> make_ca(const std::string& common_name, Duration lifetime);
Result<KeyPair> sign(const KeyPair& ca, const CertificateRequest& request);

class Context {
 public:
  // Server: `certificate` is shown; a client certificate is verified against `client_ca_pem` when
  // one is sent, and is optional (the handler decides). Empty client_ca_pem: none is asked for.
  static Result<std::shared_ptr<Context>> server(const KeyPair& certificate,
                                                 const std::string& client_ca_pem);
  // Client: verifies the server against `ca_pem` ("" = the system's roots) and shows
  // `certificate` if it is not empty.
  static Result<std::shared_ptr<Context>> client(const std::string& ca_pem, const KeyPair& certificate);
  ~Context();
  ssl_ctx_st* get() const { return context_; }

 private:
  explicit Context(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;
};

// What a finished handshake proved about the other end: subject CN and every O.
struct PeerName {
  bool verified = false;  // false: it sent no certificate; the rest is empty then
  std::string common_name;
  std::vector<std::string> organizations;
};
PeerName peer_name(const ssl_st* ssl);

}  // namespace base::tls
