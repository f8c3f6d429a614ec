// The CEL expressions of admission: webhooks' matchConditions, Validating- and MutatingAdmissionPolicies.
// Which variables they see, how they are compiled, and what a policy may not say. Pure. Source:
// kubernetes.io, "Validating Admission Policy".
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/cel/cel.h"
#include "api/validate/validate.h"

namespace api {

// Places of the variables that every expression of admission has; a policy's own follow, each under
// "variables.NAME".
enum AdmissionVariable : size_t {
  kObject,
  kOldObject,
  kRequest,
  kParams,
  kNamespaceObject,
  kAuthorizer,
  kRequestResource,
  kAdmissionVariables
};

// What an expression may look at: of a policy without paramKind there is no `params`.
struct ExpressionScope {
  bool params = false, namespace_object = false;
};
std::vector<cel::Variable> admission_variables(const ExpressionScope& scope);
const Structural& admission_request_schema();  // of `request`, as AdmissionReview names it

struct MatchCondition {
  std::string name, expression;
  std::shared_ptr<const cel::Program> program;  // null: did not compile
};
std::vector<MatchCondition> compile_match_conditions(const json::value* list,
                                                     const std::vector<cel::Variable>& variables);

// The expressions of one policy, validating or mutating.
struct PolicyExpressions {
  struct Named {
    std::string name, expression;
    std::shared_ptr<const cel::Program> program;
  };
  struct Validation {
    std::string expression, message, reason;
    std::shared_ptr<const cel::Program> program, message_program;
  };
  std::vector<cel::Variable> declared;  // with the policy's own variables
  std::vector<Named> variables, audit_annotations;
  std::vector<MatchCondition> match_conditions;
  std::vector<Validation> validations;
  struct Mutation {
    bool json_patch = false;  // a list of JSONPatch; else one Object to be applied
    std::string expression;
    std::shared_ptr<const cel::Program> program;
  };
  std::vector<Mutation> mutations;
  FieldErrors errors;  // what did not compile, below "spec"
};
PolicyExpressions compile_policy(const json::value& policy);

}  // namespace api
