// A CertificateSigningRequest's spec as who admits and who signs reads it, and the signers of Kubernetes.
// Values only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace api {

constexpr std::string_view kClientSigner = "kubernetes.io/kube-apiserver-client",
                           kKubeletClientSigner = "kubernetes.io/kube-apiserver-client-kubelet",
                           kKubeletServingSigner = "kubernetes.io/kubelet-serving",
                           kLegacySigner = "kubernetes.io/legacy-unknown";

struct CertificateSpec {
  std::string signer, user, request_pem;
  std::vector<std::string> usages;
  int64_t seconds = 0;  // 0: as long as the signer likes
};
CertificateSpec read_certificate_spec(const base::json::value& object);

}  // namespace api
