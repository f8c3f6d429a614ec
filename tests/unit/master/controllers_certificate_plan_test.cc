#include "master/controllers/certificate_plan.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace master::controllers {
namespace {

using api::CertificateSpec;
using base::tls::RequestedName;

TEST(CertificatePlan, WhatSignersTake) {
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

TEST(CertificatePlan, RequestsAreReadAndAnswered) {
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

constexpr base::Time kThen{std::chrono::seconds(1800000000)};
// `conditions`: "Approved", "Denied"…
std::string plan(const CertificateSpec& spec, std::initializer_list<const char*> conditions,
                 std::chrono::seconds age = {}, const char* certificate = "") {
  CertificateRequest request;
  request.meta.created = kThen - age;
  request.spec = spec;
  for (std::string_view condition : conditions) {
    request.approved |= condition == "Approved";
    request.denied |= condition == "Denied";
    request.failed |= condition == "Failed";
  }
  request.issued = *certificate != '\0';
  return plan_certificate(request, kThen).text();
}

TEST(CertificatePlan, NodesOwnAreApprovedAndWhatIsApprovedIsSigned) {
  const std::string pem =
      base::tls::make_signing_request({"system:node:n1", {"system:nodes"}, {}, {}, {}, {}})
          .value()
          .request_pem;
  CertificateSpec spec{
      std::string(api::kKubeletClientSigner), "system:node:n1", pem, {"digital signature", "client auth"}};
  EXPECT_EQ(plan(spec, {}),
            "approve who has selfnodeclient: Auto approving self kubelet client certificate after "
            "SubjectAccessReview.\nagain in 86400s\n");
  EXPECT_EQ(plan(spec, {"Approved"}), "sign for 31536000s\nagain in 3600s\n");
  spec.seconds = 600;
  EXPECT_EQ(plan(spec, {"Approved"}), "sign for 600s\nagain in 3600s\n");
  spec.seconds = INT64_MAX;
  EXPECT_EQ(plan(spec, {"Approved"}), "sign for 31536000s\nagain in 3600s\n");
  EXPECT_EQ(plan(spec, {"Approved"}, {}, "pem"), "again in 3600s\n");
  EXPECT_EQ(plan(spec, {"Denied"}), "again in 3600s\n");
  spec.usages = {"server auth"};
  EXPECT_EQ(plan(spec, {}), "again in 86400s\n") << "somebody has to look at it";
  EXPECT_EQ(plan(spec, {"Approved"}),
            "fail SignerValidationFailure: usages did not match [digital signature client auth]\nagain in "
            "3600s\n");
  EXPECT_EQ(plan(spec, {"Approved", "Failed"}), "again in 3600s\n");
  spec.request_pem = "no PEM";
  EXPECT_EQ(plan(spec, {}), "again in 86400s\n");
  EXPECT_EQ(plan(spec, {"Approved"}).substr(0, 29), "fail SignerValidationFailure:");
}
TEST(CertificatePlan, OldOnesGoAndOtherSignersAreLeftAlone) {
  CertificateSpec spec{"example.com/mine", "bob", "no PEM", {"client auth"}};
  EXPECT_EQ(plan(spec, {"Approved"}), "again in 3600s\n");
  EXPECT_EQ(plan(spec, {}, std::chrono::seconds(86399)), "again in 1s\n");
  EXPECT_EQ(plan(spec, {}, std::chrono::seconds(86400)), "remove\n");
  EXPECT_EQ(plan(spec, {"Approved"}, std::chrono::seconds(3600)), "remove\n");
  EXPECT_EQ(plan(spec, {}, std::chrono::seconds(3600), "pem"), "remove\n");
}

TEST(CertificatePlan, WhatIsKeptOfARequest) {
  auto read = [](const char* text) {
    auto request = CertificateRequest::reader({})(base::parse_json(text).value());
    return fmt::format("{} {} {} {} {}{}{}{}", request->spec.signer, request->spec.user, request->uid,
                       fmt::join(request->groups, ","), request->approved, request->denied, request->failed,
                       request->issued);
  };
  EXPECT_EQ(
      read(
          R"({"spec":{"signerName":"a/b","username":"bob","uid":"u","groups":["x","y"]},"status":{"certificate":"cGVt","conditions":[{"type":"Approved"}]}})"),
      "a/b bob u x,y truefalsefalsetrue");
  EXPECT_EQ(read(R"({"spec":[],"status":{"conditions":{"type":"Denied"}}})"), "    falsefalsefalsefalse");
  EXPECT_EQ(read(R"({"status":{"conditions":[7,{"type":"Failed"},{"type":"Denied"}]}})"),
            "    falsetruetruefalse");
}

}  // namespace
}  // namespace master::controllers
