#include "master/controllers/certificate_plan.h"

#include <algorithm>
#include <set>

#include "base/json_lists.h"

namespace master::controllers {

const api::Resource kCertificateRequests = {"certificates.k8s.io", "v1", "certificatesigningrequests",
                                            "CertificateSigningRequest", false};

namespace {

constexpr base::Duration kLongestLife = std::chrono::hours(24 * 365);
// Nobody needs one that was answered an hour ago, or that nobody looked at for a day.
constexpr base::Duration kKeepDecided = std::chrono::hours(1), kKeepPending = std::chrono::hours(24);

bool usages_are(const api::CertificateSpec& spec, const char* what) {
  std::set<std::string> usages(spec.usages.begin(), spec.usages.end());
  usages.erase("key encipherment");  // of RSA keys only
  return usages == std::set<std::string>{"digital signature", what};
}
bool signs_here(std::string_view signer) {
  return signer == api::kClientSigner || signer == api::kKubeletClientSigner ||
         signer == api::kKubeletServingSigner;
}

}  // namespace

Store<CertificateRequest>::Reader CertificateRequest::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const CertificateRequest> {
    auto request = std::make_shared<CertificateRequest>();
    request->meta = read_meta(object);
    request->spec = api::read_certificate_spec(object);
    if (const json::value* spec = base::find(object, "spec")) {
      request->uid = base::string_at(*spec, "uid");
      request->groups = base::texts_of(base::find(*spec, "groups"));
      request->extra = copy_of(base::find(*spec, "extra"));
    }
    for (const json::value& condition : base::list_at(base::find_path(object, "status", "conditions"))) {
      const std::string_view type = base::string_at(condition, "type");
      request->approved |= type == "Approved";
      request->denied |= type == "Denied";
      request->failed |= type == "Failed";
    }
    request->issued = !base::string_at(object, "status", "certificate").empty();
    return request;
  };
}

std::string signer_objection(const api::CertificateSpec& spec, const base::tls::RequestedName& name) {
  bool no_names =
      name.dns_names.empty() && name.ip_addresses.empty() && name.emails.empty() && name.uris.empty();
  bool of_node = name.organizations == std::vector<std::string>{"system:nodes"};
  bool named_node = name.common_name.starts_with("system:node:") && name.common_name.size() > 12;
  if (spec.signer == api::kClientSigner) {
    const std::set<std::string> allowed{"digital signature", "key encipherment", "client auth"};
    bool client = false;
    for (const std::string& usage : spec.usages) {
      client |= usage == "client auth";
      if (!allowed.contains(usage)) return "usages did not match: \"" + usage + "\" is not allowed";
    }
    return client ? "" : "usages did not match: \"client auth\" is missing";
  }
  if (!of_node) return "subject organization is not system:nodes";
  if (!named_node) return "subject common name does not begin with system:node:";
  if (spec.signer == api::kKubeletClientSigner) {
    if (!no_names) return "subjectAltNames are not allowed";
    return usages_are(spec, "client auth") ? "" : "usages did not match [digital signature client auth]";
  }
  if (name.dns_names.empty() && name.ip_addresses.empty()) return "DNS or IP subjectAltName is required";
  if (!name.emails.empty() || !name.uris.empty()) return "Email and URI subjectAltNames are not allowed";
  return usages_are(spec, "server auth") ? "" : "usages did not match [digital signature server auth]";
}

std::string_view approval_right(const api::CertificateSpec& spec, const base::tls::RequestedName& name) {
  if (spec.signer != api::kKubeletClientSigner || !signer_objection(spec, name).empty()) return {};
  return spec.user == name.common_name ? "selfnodeclient" : "nodeclient";
}

std::string CertificatePlan::text() const {
  std::string out;
  if (kind == Kind::kRemove) out = "remove\n";
  if (kind == Kind::kApprove) out = fmt::format("approve who has {}: {}\n", right, message);
  if (kind == Kind::kSign)
    out = fmt::format("sign for {}s\n", std::chrono::duration_cast<std::chrono::seconds>(lifetime).count());
  if (kind == Kind::kFail) out = fmt::format("fail {}: {}\n", reason, message);
  if (again)
    out += fmt::format("again in {}s\n", std::chrono::duration_cast<std::chrono::seconds>(*again).count());
  return out;
}

CertificatePlan plan_certificate(const CertificateRequest& request, base::Time now) {
  using Kind = CertificatePlan::Kind;
  CertificatePlan plan;
  const bool over = request.denied || request.failed || request.issued;
  const base::Duration age = now - request.meta.created,
                       keep = request.approved || over ? kKeepDecided : kKeepPending;
  if (age >= keep) {
    plan.kind = Kind::kRemove;
    return plan;
  }
  plan.again = keep - age;
  const api::CertificateSpec& spec = request.spec;
  if (over || !signs_here(spec.signer)) return plan;
  auto asked = base::tls::read_signing_request(spec.request_pem);
  if (!request.approved) {
    if (!asked.ok()) return plan;
    plan.right = approval_right(spec, *asked);
    if (plan.right.empty()) return plan;
    plan.kind = Kind::kApprove;
    plan.message = plan.right == "selfnodeclient"
                       ? "Auto approving self kubelet client certificate after SubjectAccessReview."
                       : "Auto approving kubelet client certificate after SubjectAccessReview.";
    return plan;
  }
  plan.message = asked.ok() ? signer_objection(spec, *asked) : asked.error().message();
  if (!plan.message.empty()) {
    plan.kind = Kind::kFail;
    plan.reason = "SignerValidationFailure";
    return plan;
  }
  plan.kind = Kind::kSign;
  plan.lifetime =
      spec.seconds > 0 ? std::min<base::Duration>(seconds_of(spec.seconds), kLongestLife) : kLongestLife;
  return plan;
}

}  // namespace master::controllers
