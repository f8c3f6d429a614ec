// What is wrong with the types in a ValidatingAdmissionPolicy's expressions, given the schemas of the kinds
// that it is about: its status.typeChecking. Pure. Source: kubernetes.io, "Validating Admission Policy",
// "Type checking"; sentences as kube-controller-manager's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/structural.h"
#include "master/controllers/store.h"

namespace master::controllers {

extern const api::Resource kValidatingPolicies;

struct ValidatingPolicy {
  Meta meta;
  int64_t observed = 0;  // the generation that its status is about
  struct Rule {
    std::vector<std::string> groups, versions, resources;
  };
  std::vector<Rule> rules;
  std::string param_version, param_kind;  // "" without parameters
  struct Variable {
    std::string name, expression;
  };
  std::vector<Variable> variables;
  struct Validation {
    std::string expression, message;  // both expressions; the message's may be ""
  };
  std::vector<Validation> validations;

  static Store<ValidatingPolicy>::Reader reader(const api::Resource& resource);
};

struct NamedResource {
  std::string group, version, plural;
  auto operator<=>(const NamedResource&) const = default;
};
constexpr size_t kMaxTypesToCheck = 10;
// The resources that the rules name without a wildcard, in their order; of subresources none. At most
// kMaxTypesToCheck.
std::vector<NamedResource> resources_to_check(const ValidatingPolicy& policy);

struct TypedKind {
  std::string group, version, kind;
  std::shared_ptr<const api::Structural> schema;
};
struct PolicyTypesPlan {
  json::object status;  // the whole one to publish
  std::string text() const;
};
// `kinds` as they are found, in any order; `params`: null when the policy has none or its kind is not known.
PolicyTypesPlan plan_policy_types(const ValidatingPolicy& policy, std::vector<TypedKind> kinds,
                                  const api::Structural* params);

}  // namespace master::controllers
