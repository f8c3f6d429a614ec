// What becomes of a CertificateSigningRequest: nodes' own are approved, approved ones are answered by the
// cluster's CA or told why not, old ones go. Pure. Source: kubernetes.io, "Certificates and Certificate
// Signing Requests".
#pragma once

#include <optional>
#include <string>

#include "api/certificates.h"
#include "base/tls_request.h"
#include "master/controllers/store.h"

namespace master::controllers {

extern const api::Resource kCertificateRequests;

struct CertificateRequest {
  Meta meta;
  api::CertificateSpec spec;
  std::string uid;  // of who asks, as are the groups
  std::vector<std::string> groups;
  json::value extra;
  bool approved = false, denied = false, failed = false, issued = false;

  static Store<CertificateRequest>::Reader reader(const api::Resource& resource);
};

// "" when `signer` may answer it with a certificate; else why not.
std::string signer_objection(const api::CertificateSpec& spec, const base::tls::RequestedName& name);
// The right that its asker needs for the request to be approved without anybody's doing:
// "selfnodeclient", "nodeclient", or "" when somebody has to look at it.
std::string_view approval_right(const api::CertificateSpec& spec, const base::tls::RequestedName& name);

struct CertificatePlan {
  enum class Kind { kNothing, kRemove, kApprove, kSign, kFail } kind = Kind::kNothing;
  std::string right, message;                // kApprove: if its asker has the right; what is then said
  std::string reason;                        // kFail, with a message
  base::Duration lifetime{};                 // kSign
  std::optional<base::Duration> again = {};  // when it is old
  std::string text() const;
};
CertificatePlan plan_certificate(const CertificateRequest& request, base::Time now);

}  // namespace master::controllers
