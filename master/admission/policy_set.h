// What ValidatingAdmissionPolicies and MutatingAdmissionPolicies have in common: policies with their
// bindings, kept compiled as long as none of them changes, their parameters, their variables, and the objects
// in the version that a policy matched. Loop thread only. Source: kubernetes.io, "Validating Admission
// Policy"; sentences as kube-apiserver's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/validate/admission_expressions.h"
#include "master/admission/scope.h"
#include "master/registry/admission.h"
#include "master/registry/object_cache.h"

namespace master {

class Registry;

struct PolicyBinding {
  std::string name;
  Webhook match, exclude;
  bool denies = false, warns = false, audits = false;
  base::json::value param_ref;
};
struct Policy {
  std::string name;
  Webhook match, exclude;
  bool ignores_failure = false, reinvoked = false;
  std::string param_version, param_kind;  // "" without parameters
  api::PolicyExpressions expressions;
  std::vector<PolicyBinding> bindings;
};

class PolicySet {
 public:
  // "validatingadmissionpolicies" or "mutatingadmissionpolicies", and their bindings.
  PolicySet(Registry& registry, const char* policies, const char* bindings);
  // Those that are bound, by name.
  const std::vector<std::shared_ptr<const Policy>>& read();

 private:
  std::shared_ptr<ObjectCache> policy_objects_, binding_objects_;
  int64_t policies_read_at_ = -1, bindings_read_at_ = -1;
  std::vector<std::shared_ptr<const Policy>> policies_;
};

// Policies and their bindings: no policy keeps them from being repaired.
bool is_policy(const ResourceInfo& resource);
// Whether a rule-matching part and its exclusion take the write in; null: not.
ResourcePtr matched_as(const WriteScope& scope, const Webhook& match, const Webhook& exclude,
                       bool any_rule = false);
// The objects that a binding names; false with the reason when there are none and that is a failure, without
// one when it is none. Of a policy without parameters: true, and nothing.
bool find_params(Registry& registry, const AdmissionAttributes& attributes, const Policy& policy,
                 const PolicyBinding& binding, std::vector<base::json::value>* out, std::string* why);
// The policy's variables behind the `values` that are there; each is computed when it is first asked for.
// `values` has room for all and outlives their use.
void add_variables(const Policy& policy, std::vector<api::cel::Value>& values);
// The write's object and old object as `shown` has them; or the refusal of a conversion.
using Shown = std::function<void(base::json::value refusal, base::json::value object, base::json::value old)>;
void show_objects(const AdmissionAttributes& attributes, const ResourcePtr& shown, Shown then);

}  // namespace master
