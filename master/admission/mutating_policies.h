// MutatingAdmissionPolicy: changes objects by the CEL expressions of the cluster's policies, as their
// bindings say, and once more those that wish it when the object was changed behind them. Decisions:
// mutation_plan.h. Loop thread only; waits for nobody but a conversion webhook. Source: kubernetes.io,
// "Mutating Admission Policy"; refusals as kube-apiserver's.
#pragma once

#include <memory>

#include "master/admission/policy_set.h"

namespace master {

class Authorizer;
class ExpressionInput;

class MutatingPolicies final : public AdmissionPlugin {
 public:
  MutatingPolicies(Registry& registry, const Authorizer& authorizer);
  std::string_view name() const override { return "MutatingAdmissionPolicy"; }
  bool handles(Operation operation) const override { return operation != Operation::kDelete; }
  void mutate(AttributesPtr attributes, Done done) override;
  void reinvoke(AttributesPtr attributes, Done done) override;

 private:
  struct Invocation;
  struct Memory;
  struct Round;
  void start(AttributesPtr attributes, bool again, Done done);
  void select(Round& round, const std::shared_ptr<const Policy>& policy);
  void next(std::shared_ptr<Round> round);
  void end(std::shared_ptr<Round> round);
  // True: the invocation concerns this turn. `values` are what its expressions look at.
  bool wanted(Round& round, const Invocation& invocation, const ExpressionInput& input);
  void change(std::shared_ptr<Round> round, const Invocation& invocation, base::json::value object,
              base::json::value old);
  // One mutation; null when it changed nothing or failed. `refusal`: the request ends with it.
  base::json::value changed(Round& round, const Invocation& invocation, size_t index,
                            const base::json::value& object, const base::json::value& old,
                            base::json::value* refusal);
  void put_back(std::shared_ptr<Round> round, const Invocation& invocation, base::json::value object);

  Registry& registry_;
  const Authorizer& authorizer_;
  PolicySet policies_;
};

}  // namespace master
