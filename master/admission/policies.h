// ValidatingAdmissionPolicy: asks the CEL expressions of the cluster's policies, as their bindings say.
// Loop thread only; waits for nobody but a conversion webhook.
// Source: kubernetes.io, "Validating Admission Policy"; refusals as kube-apiserver's.
#pragma once

#include <memory>
#include <vector>

#include "master/admission/policy_set.h"

namespace master {

class Authorizer;
class ExpressionInput;

class ValidatingPolicies final : public AdmissionPlugin {
 public:
  ValidatingPolicies(Registry& registry, const Authorizer& authorizer);
  std::string_view name() const override { return "ValidatingAdmissionPolicy"; }
  bool handles(Operation) const override { return true; }
  void validate(AttributesPtr attributes, Done done) override;

 private:
  struct Round;
  void next(std::shared_ptr<Round> round);
  void ask(Round& round, const Policy& policy, ExpressionInput& input);
  void ask_binding(Round& round, const Policy& policy, const PolicyBinding& binding,
                   const std::vector<api::cel::Value>& values);
  static void failed(Round& round, const Policy& policy, const PolicyBinding& binding, size_t index,
                     const std::string& reason, std::string message);

  Registry& registry_;
  const Authorizer& authorizer_;
  PolicySet policies_;
};

}  // namespace master
