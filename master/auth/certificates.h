// CertificateSigningRequests: what a request must look like and who may approve or sign it
// (admission), and the controller that approves nodes' own requests, signs approved ones with the
// cluster's CA and clears old ones away. Loop thread only.
// Source: kubernetes.io, "Certificates and Certificate Signing Requests".
#pragma once

#include <memory>
#include <string>

#include "api/client/client.h"
#include "base/tls_request.h"
#include "master/auth/authorizer.h"
#include "master/registry/admission.h"
#include "master/registry/registry.h"

namespace master {

// Spec of a request as the signers read it.
struct CertificateSpec {
  std::string signer, user, request_pem;
  std::vector<std::string> usages;
  int64_t seconds = 0;  // 0: as long as the signer likes
};
CertificateSpec read_certificate_spec(const base::json::value& object);

// "" when `signer` may answer it with a certificate; else why not. Pure.
std::string signer_objection(const CertificateSpec& spec, const base::tls::RequestedName& name);
// The right that its asker needs for the request to be approved without anybody's doing:
// "selfnodeclient", "nodeclient", or "" when somebody has to look at it. Pure.
std::string_view approval_right(const CertificateSpec& spec, const base::tls::RequestedName& name);

std::unique_ptr<AdmissionPlugin> make_certificate_admission(const Authorizer& authorizer);

class CertificateController {
 public:
  CertificateController(Registry& registry, const Authorizer& authorizer, base::tls::KeyPair ca);
  ~CertificateController();

 private:
  void sync(const std::string& key);
  void approve(const std::string& name, base::json::value object, std::string_view right,
               base::json::value& spec);
  static void fail(base::json::value& object, const std::string& reason, const std::string& message);
  void write(const std::string& name, base::json::value object, std::string_view subresource);

  const Authorizer& authorizer_;
  const base::tls::KeyPair ca_;
  api::Client client_;
  ObjectCache& requests_;
  uint64_t listener_;
  api::WorkQueue queue_;
};

}  // namespace master
