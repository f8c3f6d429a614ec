#include "master/auth/certificate_admission.h"

#include <algorithm>
#include <set>

#include "api/certificates.h"
#include "api/status.h"
#include "api/validate/validate.h"
#include "base/base64.h"
#include "base/tls_request.h"

namespace master {

namespace json = base::json;
using api::CertificateSpec;
using api::FieldError;
using base::find;
using base::find_path;
using base::string_at;

namespace {

constexpr const char* kCertificatesGroup = "certificates.k8s.io";
const json::value* condition(const json::value& object, std::string_view type) {
  const json::value* list = find_path(object, "status", "conditions");
  if (list && list->is_array())
    for (const json::value& item : list->get_array())
      if (string_at(item, "type") == type) return &item;
  return nullptr;
}
json::array& conditions_of(json::value& object) {
  json::value& list = base::object_at(object.get_object(), "status")["conditions"];
  if (!list.is_array()) list = json::array();
  return list.get_array();
}
class CertificateAdmission final : public AdmissionPlugin {
 public:
  explicit CertificateAdmission(const Authorizer& authorizer) : authorizer_(authorizer) {}
  std::string_view name() const override { return "CertificateApproval"; }
  using AdmissionPlugin::mutate;
  using AdmissionPlugin::validate;

  json::value mutate(AdmissionAttributes& attributes) override {
    if (!attributes.is(kCertificatesGroup, "certificatesigningrequests") || !attributes.object.is_object())
      return nullptr;
    json::object& object = attributes.object.get_object();
    if (attributes.operation == Operation::kUpdate) {
      if (const json::value* spec = find(attributes.old, "spec")) object["spec"] = *spec;
    } else if (attributes.operation == Operation::kCreate) {
      // Who asks is what the server knows, never what the body says.
      json::object& spec = base::object_at(object, "spec");
      for (const char* own : {"username", "uid", "groups", "extra"}) spec.erase(own);
      json::object user = user_info(attributes.request->user);
      for (auto& [key, value] : user) spec[key] = value;
    }
    if (attributes.subresource == "approval")
      for (json::value& item : conditions_of(attributes.object)) {
        if (!item.is_object()) continue;
        json::object& condition = item.get_object();
        for (const char* time : {"lastUpdateTime", "lastTransitionTime"})
          if (base::as_string(condition.if_contains(time)).empty())
            condition[time] = base::format_time(base::wall_now());
      }
    return nullptr;
  }

  json::value validate(AdmissionAttributes& attributes) override {
    if (!attributes.is(kCertificatesGroup, "certificatesigningrequests") || !attributes.object.is_object())
      return nullptr;
    const ResourceInfo& resource = *attributes.resource;
    CertificateSpec spec = api::read_certificate_spec(attributes.object);
    auto may = [&](const char* verb, std::string_view signer) {
      Access access{true, verb, "", kCertificatesGroup, "signers", "", signer, {}, {}};
      return authorizer_.allows(attributes.request->user, access);
    };
    auto permitted = [&](const char* verb) {
      return may(verb, spec.signer) || may(verb, spec.signer.substr(0, spec.signer.find('/')) + "/*");
    };
    auto refuse = [&](const std::string& text) {
      return api::forbidden(resource.named(), attributes.name, text);
    };
    if (attributes.operation == Operation::kCreate) {
      base::tls::RequestedName name;
      if (api::FieldErrors errors = check_spec(spec, &name); !errors.empty())
        return api::invalid(resource.group, resource.kind, attributes.name, errors);
      const auto& groups = name.organizations;
      if (spec.signer == api::kClientSigner &&
          std::find(groups.begin(), groups.end(), "system:masters") != groups.end())
        return refuse(
            "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed");
      return nullptr;
    }
    if (attributes.subresource == "approval") {
      if (condition(attributes.object, "Approved") && condition(attributes.object, "Denied"))
        return api::invalid(resource.group, resource.kind, attributes.name,
                            {{FieldError::Type::invalid, "status.conditions", "\"Denied\"",
                              "Approved and Denied conditions are mutually exclusive"}});
      if (!permitted("approve"))
        return refuse("user not permitted to approve requests with signerName \"" + spec.signer + "\"");
    }
    const json::value *before = find(attributes.old, "status"), *after = find(attributes.object, "status");
    bool changed = before && after ? *before != *after : before != after;
    if (attributes.subresource == "status" && changed && !permitted("sign"))
      return refuse("user not permitted to sign requests with signerName \"" + spec.signer + "\"");
    return nullptr;
  }

 private:
  static api::FieldErrors check_spec(const CertificateSpec& spec, base::tls::RequestedName* name) {
    api::FieldErrors errors;
    auto invalid = [&](const char* field, std::string value, std::string text) {
      errors.push_back({FieldError::Type::invalid, field, std::move(value), std::move(text)});
    };
    auto quoted = [](const std::string& text) { return base::to_json(json::value(text)); };
    auto parsed = base::tls::read_signing_request(spec.request_pem);
    if (parsed.ok()) *name = std::move(*parsed);
    else invalid("spec.request", quoted(base::base64_encode(spec.request_pem)), parsed.error().message());
    size_t slash = spec.signer.find('/');
    if (slash == spec.signer.npos || slash == 0 || slash + 1 == spec.signer.size())
      invalid("spec.signerName", quoted(spec.signer),
              "must be a fully qualified domain and path of the form 'example.com/signer-name'");
    if (spec.signer == api::kLegacySigner)
      invalid("spec.signerName", quoted(spec.signer),
              "the legacy signerName is not allowed via this API version");
    if (spec.usages.empty())
      errors.push_back({FieldError::Type::required, "spec.usages", "", "usages must be specified"});
    std::set<std::string> seen;
    for (size_t i = 0; i < spec.usages.size(); ++i) {
      std::string path = "spec.usages[" + std::to_string(i) + "]";
      if (!base::tls::known_usage(spec.usages[i]))
        errors.push_back({FieldError::Type::not_supported, path, quoted(spec.usages[i]), ""});
      if (!seen.insert(spec.usages[i]).second)
        errors.push_back({FieldError::Type::duplicate, path, quoted(spec.usages[i]), ""});
    }
    if (spec.seconds != 0 && spec.seconds < 600)
      invalid("spec.expirationSeconds", std::to_string(spec.seconds),
              "may not specify a duration less than 600 seconds (10 minutes)");
    return errors;
  }

  const Authorizer& authorizer_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_certificate_admission(const Authorizer& authorizer) {
  return std::make_unique<CertificateAdmission>(authorizer);
}

}  // namespace master
