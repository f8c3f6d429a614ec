// ValidatingAdmissionPolicy: asks the CEL expressions of the cluster's policies, as their bindings say.
// Loop thread only; waits for nobody but a conversion webhook.
// Source: kubernetes.io, "Validating Admission Policy"; refusals as kube-apiserver's.
#pragma once

#include <memory>
#include <vector>

#include "master/admission/scope.h"
#include "master/registry/admission.h"
#include "master/registry/object_cache.h"

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
  struct Binding {
    std::string name;
    Webhook match, exclude;
    bool denies = false, warns = false, audits = false;
    base::json::value param_ref;
  };
  struct Policy {
    std::string name;
    Webhook match, exclude;
    bool ignores_failure = false;
    std::string param_version, param_kind;  // "" without parameters
    api::PolicyExpressions expressions;
    std::vector<Binding> bindings;
  };
  struct Round;
  const std::vector<std::shared_ptr<const Policy>>& policies();
  void next(std::shared_ptr<Round> round);
  void ask(Round& round, const Policy& policy, ExpressionInput& input);
  void ask_binding(Round& round, const Policy& policy, const Binding& binding,
                   const std::vector<api::cel::Value>& values);
  // The objects that a binding names; false with the reason when there are none and that is a failure.
  bool find_params(const AdmissionAttributes& attributes, const Policy& policy, const Binding& binding,
                   std::vector<base::json::value>* out, std::string* why);
  static void failed(Round& round, const Policy& policy, const Binding& binding, size_t index,
                     const std::string& reason, std::string message);

  Registry& registry_;
  const Authorizer& authorizer_;
  std::shared_ptr<ObjectCache> policy_objects_, binding_objects_;
  int64_t policies_read_at_ = -1, bindings_read_at_ = -1;
  std::vector<std::shared_ptr<const Policy>> policies_;
};

}  // namespace master
