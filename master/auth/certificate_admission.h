// CertificateSigningRequests: what a request must look like, and who may approve or sign it. Loop thread
// only. Source: kubernetes.io, "Certificates and Certificate Signing Requests".
#pragma once

#include <memory>

#include "master/auth/authorizer.h"
#include "master/registry/admission.h"

namespace master {

std::unique_ptr<AdmissionPlugin> make_certificate_admission(const Authorizer& authorizer);

}  // namespace master
