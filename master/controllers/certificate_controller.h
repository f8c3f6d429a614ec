// Approves, signs and clears away CertificateSigningRequests as the plan says. Whether an asker has a right
// the API server decides, by a SubjectAccessReview. Single-threaded.
#pragma once

#include <string>

#include "master/controllers/certificate_plan.h"
#include "master/controllers/reconciler.h"

namespace master::controllers {

class CertificateController {
 public:
  explicit CertificateController(Hub& hub);

 private:
  using Request = std::shared_ptr<const CertificateRequest>;
  void sync(const std::string& key, Reconciler::Finish finish);
  void approve(Request request, const CertificatePlan& plan, Reconciler::Finish finish);
  void sign(Request request, const CertificatePlan& plan, Reconciler::Finish finish);
  void fail(Request request, const std::string& reason, const std::string& message,
            Reconciler::Finish finish);
  void write(Request request, std::function<void(json::object&)> change, const char* subresource,
             Reconciler::Finish finish);

  Hub& hub_;
  Hub::Account& account_;
  Store<CertificateRequest>& requests_;
  Reconciler reconciler_;
};

}  // namespace master::controllers
