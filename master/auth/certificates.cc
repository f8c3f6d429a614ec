#include "master/auth/certificates.h"

#include <algorithm>
#include <set>

#include "api/status.h"
#include "api/validate/validate.h"
#include "base/base64.h"
#include "base/json_lists.h"
#include "base/log.h"

namespace master {

namespace json = base::json;
using api::FieldError;
using base::find;
using base::find_path;
using base::string_at;

namespace {

constexpr const char* kCertificatesGroup = "certificates.k8s.io";
constexpr std::string_view kClient = "kubernetes.io/kube-apiserver-client",
                           kKubeletClient = "kubernetes.io/kube-apiserver-client-kubelet",
                           kKubeletServing = "kubernetes.io/kubelet-serving",
                           kLegacy = "kubernetes.io/legacy-unknown";
constexpr auto kLifetime = std::chrono::hours(24 * 365);
constexpr auto kKeepDecided = std::chrono::hours(1), kKeepPending = std::chrono::hours(24);
const api::Resource kRequests{kCertificatesGroup, "v1", "certificatesigningrequests",
                              "CertificateSigningRequest", false};

bool usages_are(const CertificateSpec& spec, const char* what) {
  std::set<std::string> usages(spec.usages.begin(), spec.usages.end());
  usages.erase("key encipherment");  // of RSA keys only
  return usages == std::set<std::string>{"digital signature", what};
}
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
bool signs_here(std::string_view signer) {
  return signer == kClient || signer == kKubeletClient || signer == kKubeletServing;
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
    CertificateSpec spec = read_certificate_spec(attributes.object);
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
      if (spec.signer == kClient && std::find(groups.begin(), groups.end(), "system:masters") != groups.end())
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
    if (spec.signer == kLegacy)
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

CertificateSpec read_certificate_spec(const json::value& object) {
  const json::value none;
  const json::value* spec = find(object, "spec");
  if (!spec) spec = &none;
  return {std::string(string_at(*spec, "signerName")), std::string(string_at(*spec, "username")),
          base::base64_decode(string_at(*spec, "request")).value_or(""),
          base::texts_of(find(*spec, "usages")), base::as_int(find(*spec, "expirationSeconds"))};
}

std::string signer_objection(const CertificateSpec& spec, const base::tls::RequestedName& name) {
  bool no_names =
      name.dns_names.empty() && name.ip_addresses.empty() && name.emails.empty() && name.uris.empty();
  bool of_node = name.organizations == std::vector<std::string>{"system:nodes"};
  bool named_node = name.common_name.starts_with("system:node:") && name.common_name.size() > 12;
  if (spec.signer == kClient) {
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
  if (spec.signer == kKubeletClient) {
    if (!no_names) return "subjectAltNames are not allowed";
    return usages_are(spec, "client auth") ? "" : "usages did not match [digital signature client auth]";
  }
  if (name.dns_names.empty() && name.ip_addresses.empty()) return "DNS or IP subjectAltName is required";
  if (!name.emails.empty() || !name.uris.empty()) return "Email and URI subjectAltNames are not allowed";
  return usages_are(spec, "server auth") ? "" : "usages did not match [digital signature server auth]";
}

std::string_view approval_right(const CertificateSpec& spec, const base::tls::RequestedName& name) {
  if (spec.signer != kKubeletClient || !signer_objection(spec, name).empty()) return {};
  return spec.user == name.common_name ? "selfnodeclient" : "nodeclient";
}

std::unique_ptr<AdmissionPlugin> make_certificate_admission(const Authorizer& authorizer) {
  return std::make_unique<CertificateAdmission>(authorizer);
}

CertificateController::CertificateController(Registry& registry, const Authorizer& authorizer,
                                             base::tls::KeyPair ca)
    : authorizer_(authorizer), ca_(std::move(ca)),
      client_(registry.transport({"system:serviceaccount:kube-system:certificate-controller",
                                  {"system:serviceaccounts", "system:authenticated"}}),
              "kube-controller-manager"),
      requests_(registry.cache(kCertificatesGroup, "certificatesigningrequests")),
      queue_(registry.loop(), [this](const std::string& key) { sync(key); }) {
  for (const auto& [key, object] : requests_.objects()) queue_.add(key);
  listener_ = requests_.subscribe([this](const WatchEvent& event) {
    if (event.type != WatchEvent::Type::kDeleted) queue_.add(event.object->key);
  });
}
CertificateController::~CertificateController() { requests_.unsubscribe(listener_); }

void CertificateController::write(const std::string& name, json::value object, std::string_view subresource) {
  std::string key = object_key("", name);
  client_.update(
      kRequests, "", name, std::move(object),
      [this, key](base::Result<json::value> result) {
        if (result.ok() || result.error().kind == base::Kind::kNotFound) return queue_.succeeded(key);
        if (result.error().kind != base::Kind::kConflict)
          base::log::warning("CertificateSigningRequest {}: {}", key.substr(1), result.error().message());
        queue_.failed(key);
      },
      subresource);
}

void CertificateController::approve(const std::string& name, json::value object, std::string_view right,
                                    json::value& spec) {
  User asker{std::string(string_at(spec, "username")), base::texts_of(find(spec, "groups")),
             std::string(string_at(spec, "uid"))};
  Access access{true, "create", "", kCertificatesGroup, "certificatesigningrequests", right, "", {}, {}};
  if (!authorizer_.allows(asker, access)) return;
  std::string message = right == "selfnodeclient"
                            ? "Auto approving self kubelet client certificate after SubjectAccessReview."
                            : "Auto approving kubelet client certificate after SubjectAccessReview.";
  conditions_of(object).push_back(json::object{
      {"type", "Approved"}, {"status", "True"}, {"reason", "AutoApproved"}, {"message", std::move(message)}});
  write(name, std::move(object), "approval");
}

void CertificateController::fail(json::value& object, const std::string& reason, const std::string& message) {
  std::string now = base::format_time(base::wall_now());
  conditions_of(object).push_back(json::object{{"type", "Failed"},
                                               {"status", "True"},
                                               {"reason", reason},
                                               {"message", message},
                                               {"lastUpdateTime", now},
                                               {"lastTransitionTime", now}});
}

void CertificateController::sync(const std::string& key) {
  ObjectRef stored = requests_.find(key);
  if (!stored) return;
  json::value object = parse_object(*stored->text);
  std::string name(stored->name());
  bool approved = condition(object, "Approved"), over = condition(object, "Denied") ||
                                                        condition(object, "Failed") ||
                                                        !string_at(object, "status", "certificate").empty();
  // Nobody needs one that was answered an hour ago, or that nobody looked at for a day.
  base::Time made =
      base::parse_time(string_at(object, "metadata", "creationTimestamp")).value_or(base::wall_now());
  base::Duration age = base::wall_now() - made,
                 keep = approved || over ? base::Duration(kKeepDecided) : base::Duration(kKeepPending);
  if (age >= keep) {
    return client_.remove(kRequests, "", name, nullptr, [](base::Result<json::value> result) {
      base::ignore(result, "gone already, or its next change brings us back");
    });
  }
  queue_.add_after(key, keep - age);
  CertificateSpec spec = read_certificate_spec(object);
  if (over || !signs_here(spec.signer)) return;
  auto asked = base::tls::read_signing_request(spec.request_pem);
  if (!approved) {
    if (!asked.ok()) return;
    std::string_view right = approval_right(spec, *asked);
    json::value own = *find(object, "spec");
    if (!right.empty()) approve(name, std::move(object), right, own);
    return;
  }
  std::string objection = asked.ok() ? signer_objection(spec, *asked) : asked.error().message();
  if (!objection.empty()) {
    fail(object, "SignerValidationFailure", objection);
    return write(name, std::move(object), "status");
  }
  base::Duration lifetime = spec.seconds > 0
                                ? std::min<base::Duration>(std::chrono::seconds(spec.seconds), kLifetime)
                                : base::Duration(kLifetime);
  auto certificate = base::tls::sign_request(ca_, spec.request_pem, spec.usages, lifetime);
  if (certificate.ok())
    base::object_at(object.get_object(), "status")["certificate"] = base::base64_encode(*certificate);
  else fail(object, "SigningFailure", certificate.error().message());
  write(name, std::move(object), "status");
}

}  // namespace master
