#include "master/auth/certificates.h"

#include <gtest/gtest.h>

namespace master {
namespace {

using base::tls::RequestedName;

TEST(Certificates, WhatSignersTake) {
  RequestedName node{"system:node:n1", {"system:nodes"}, {}, {}, {}, {}},
      user{"bob", {"dev"}, {}, {}, {}, {}};
  std::string client = "kubernetes.io/kube-apiserver-client", kubelet = client + "-kubelet",
              serving = "kubernetes.io/kubelet-serving";
  auto spec = [](std::string signer, std::vector<std::string> usages, std::string asker = "bob") {
    return CertificateSpec{std::move(signer), std::move(asker), "", std::move(usages)};
  };
  EXPECT_EQ(signer_objection(spec(client, {"client auth", "digital signature"}), user), "");
  EXPECT_NE(signer_objection(spec(client, {"server auth"}), user), "");
  EXPECT_NE(signer_objection(spec(client, {"digital signature"}), user), "");
  EXPECT_EQ(signer_objection(spec(kubelet, {"client auth", "digital signature"}), node), "");
  EXPECT_EQ(signer_objection(spec(kubelet, {"client auth", "digital signature", "key encipherment"}), node),
            "");
  EXPECT_NE(signer_objection(spec(kubelet, {"client auth"}), node), "");
  EXPECT_EQ(signer_objection(spec(kubelet, {"client auth", "digital signature"}), user),
            "subject organization is not system:nodes");
  RequestedName named = node;
  named.dns_names = {"n1"};
  EXPECT_EQ(signer_objection(spec(kubelet, {"client auth", "digital signature"}), named),
            "subjectAltNames are not allowed");
  EXPECT_EQ(signer_objection(spec(serving, {"server auth", "digital signature"}), named), "");
  EXPECT_EQ(signer_objection(spec(serving, {"server auth", "digital signature"}), node),
            "DNS or IP subjectAltName is required");
  EXPECT_EQ(approval_right(spec(kubelet, {"client auth", "digital signature"}, "system:node:n1"), node),
            "selfnodeclient");
  EXPECT_EQ(
      approval_right(spec(kubelet, {"client auth", "digital signature"}, "system:bootstrap:abcdef"), node),
      "nodeclient");
  EXPECT_EQ(approval_right(spec(kubelet, {"client auth"}, "system:node:n1"), node), "");
  EXPECT_EQ(approval_right(spec(client, {"client auth"}), user), "");
}

TEST(Certificates, RequestsAreReadAndAnswered) {
  auto ca = base::tls::make_ca("test", std::chrono::hours(24)).value();
  RequestedName wanted{
      "system:node:n1", {"system:nodes"}, {"n1.example"}, {"192.0.2.1", "2001:db8::1"}, {}, {}};
  auto made = base::tls::make_signing_request(wanted).value();
  auto read = base::tls::read_signing_request(made.request_pem).value();
  EXPECT_EQ(read.common_name, wanted.common_name);
  EXPECT_EQ(read.organizations, wanted.organizations);
  EXPECT_EQ(read.dns_names, wanted.dns_names);
  EXPECT_EQ(read.ip_addresses, wanted.ip_addresses);
  auto certificate = base::tls::sign_request(ca, made.request_pem, {"server auth", "digital signature"},
                                             std::chrono::hours(1));
  ASSERT_TRUE(certificate.ok()) << certificate.error().message();
  EXPECT_TRUE(base::tls::Context::client(ca.certificate_pem, {*certificate, made.key_pem})
                  .ok());  // they belong together
  EXPECT_FALSE(base::tls::sign_request(ca, made.request_pem, {"flying"}, std::chrono::hours(1)).ok());
  std::string broken = made.request_pem;
  broken[broken.size() / 2] = broken[broken.size() / 2] == 'A' ? 'B' : 'A';
  EXPECT_FALSE(base::tls::read_signing_request(broken).ok());
  EXPECT_FALSE(base::tls::read_signing_request("no PEM").ok());
}

}  // namespace
}  // namespace master
