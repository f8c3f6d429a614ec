#include "master/controllers/certificate_controller.h"

#include "base/base64.h"
#include "base/json_lists.h"
#include "base/log.h"
#include "master/controllers/rewrite.h"

namespace master::controllers {

namespace {
const api::Resource kAccessReviews{"authorization.k8s.io", "v1", "subjectaccessreviews",
                                   "SubjectAccessReview", false};

json::object access_review(const CertificateRequest& request, const std::string& right) {
  json::object spec{{"user", request.spec.user},
                    {"uid", request.uid},
                    {"groups", json::array(request.groups.begin(), request.groups.end())},
                    {"resourceAttributes",
                     {{"group", kCertificateRequests.group},
                      {"resource", kCertificateRequests.plural},
                      {"verb", "create"},
                      {"subresource", right},
                      {"version", "*"}}}};
  if (request.extra.is_object()) spec["extra"] = request.extra;
  return {
      {"apiVersion", "authorization.k8s.io/v1"}, {"kind", "SubjectAccessReview"}, {"spec", std::move(spec)}};
}
json::array& request_conditions(json::object& object) {
  return base::list_in(base::object_at(object, "status"), "conditions");
}
}  // namespace

CertificateController::CertificateController(Hub& hub)
    : hub_(hub), account_(hub.account("certificate-controller")),
      requests_(hub.follow<CertificateRequest>(kCertificateRequests)),
      reconciler_(hub, {&requests_}, [this](const std::string& key, Reconciler::Finish finish) {
        sync(key, std::move(finish));
      }) {
  requests_.on_change([this](const auto& before, const auto& after) {
    if (!after) return reconciler_.gate.forget(before->meta.key());
    reconciler_.add(after->meta.key());
  });
}

void CertificateController::sync(const std::string& key, Reconciler::Finish finish) {
  using Kind = CertificatePlan::Kind;
  Request request = requests_.get(key);
  if (!request) return finish(Reconciler::Outcome::kDone);
  const CertificatePlan plan = plan_certificate(*request, hub_.now());
  if (plan.again) reconciler_.add_after(key, *plan.again);
  if (plan.kind == Kind::kNothing) return finish(Reconciler::Outcome::kDone);
  base::log::debug("CertificateSigningRequest {}: {}", key, plan.text());
  if (plan.kind == Kind::kApprove) return approve(request, plan, std::move(finish));
  if (plan.kind == Kind::kSign) return sign(request, plan, std::move(finish));
  if (plan.kind == Kind::kFail) return fail(request, plan.reason, plan.message, std::move(finish));
  account_.client.remove(kCertificateRequests, "", request->meta.name,
                         json::object{{"preconditions", {{"uid", request->meta.uid}}}},
                         [key, finish](base::Result<json::value> result) {
                           const bool gone = result.ok() || result.error().kind == base::Kind::kNotFound;
                           Reconciler::end("CertificateSigningRequest", key,
                                           gone ? base::Status() : base::Status(result.error()), finish);
                         });
}

void CertificateController::write(Request request, std::function<void(json::object&)> change,
                                  const char* subresource, Reconciler::Finish finish) {
  rewrite(
      account_, kCertificateRequests, request->meta, std::move(change),
      [this, key = request->meta.key(), finish](base::Result<json::value> written) {
        if (written.ok()) reconciler_.gate.wrote(key, requests_, revision_of(*written), hub_.now());
        const bool fine = written.ok() || written.error().kind == base::Kind::kNotFound;
        Reconciler::end("CertificateSigningRequest", key,
                        fine ? base::Status() : base::Status(written.error()), finish);
      },
      subresource);
}

void CertificateController::approve(Request request, const CertificatePlan& plan, Reconciler::Finish finish) {
  account_.client.create(kAccessReviews, "", access_review(*request, plan.right),
                         [this, request, message = plan.message, finish](base::Result<json::value> review) {
                           if (!review.ok())
                             return Reconciler::end("CertificateSigningRequest", request->meta.key(),
                                                    review.error(), finish);
                           if (!base::as_bool(base::find_path(*review, "status", "allowed")))
                             return finish(Reconciler::Outcome::kDone);  // somebody else may approve it
                           write(
                               request,
                               [message](json::object& object) {
                                 request_conditions(object).push_back(json::object{{"type", "Approved"},
                                                                                   {"status", "True"},
                                                                                   {"reason", "AutoApproved"},
                                                                                   {"message", message}});
                               },
                               "approval", finish);
                         });
}

void CertificateController::sign(Request request, const CertificatePlan& plan, Reconciler::Finish finish) {
  auto certificate = base::tls::sign_request(hub_.options.signing_ca, request->spec.request_pem,
                                             request->spec.usages, plan.lifetime);
  if (!certificate.ok())
    return fail(request, "SigningFailure", certificate.error().message(), std::move(finish));
  write(
      request,
      [pem = std::move(*certificate)](json::object& object) {
        base::object_at(object, "status")["certificate"] = base::base64_encode(pem);
      },
      "status", std::move(finish));
}

void CertificateController::fail(Request request, const std::string& reason, const std::string& message,
                                 Reconciler::Finish finish) {
  write(
      request,
      [reason, message, now = base::format_time(hub_.now())](json::object& object) {
        request_conditions(object).push_back(json::object{{"type", "Failed"},
                                                          {"status", "True"},
                                                          {"reason", reason},
                                                          {"message", message},
                                                          {"lastUpdateTime", now},
                                                          {"lastTransitionTime", now}});
      },
      "status", std::move(finish));
}

}  // namespace master::controllers
