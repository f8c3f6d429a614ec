#include "master/controllers/policy_type_plan.h"

#include <algorithm>
#include <tuple>

#include "api/validate/admission_expressions.h"
#include "base/json_lists.h"

namespace master::controllers {
using base::find;
using base::find_path;
using base::string_at;

const api::Resource kValidatingPolicies = {"admissionregistration.k8s.io", "v1",
                                           "validatingadmissionpolicies", "ValidatingAdmissionPolicy", false};

Store<ValidatingPolicy>::Reader ValidatingPolicy::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const ValidatingPolicy> {
    auto policy = std::make_shared<ValidatingPolicy>();
    policy->meta = read_meta(object);
    policy->observed = base::as_int(find_path(object, "status", "observedGeneration"));
    for (const json::value& rule :
         base::list_at(find_path(object, "spec", "matchConstraints", "resourceRules")))
      policy->rules.push_back({base::texts_of(find(rule, "apiGroups")),
                               base::texts_of(find(rule, "apiVersions")),
                               base::texts_of(find(rule, "resources"))});
    policy->param_version = string_at(object, "spec", "paramKind", "apiVersion");
    policy->param_kind = string_at(object, "spec", "paramKind", "kind");
    for (const json::value& one : base::list_at(find_path(object, "spec", "variables")))
      policy->variables.push_back(
          {std::string(string_at(one, "name")), std::string(string_at(one, "expression"))});
    for (const json::value& one : base::list_at(find_path(object, "spec", "validations")))
      policy->validations.push_back(
          {std::string(string_at(one, "expression")), std::string(string_at(one, "messageExpression"))});
    return policy;
  };
}

namespace {

bool has_any_of(const std::vector<std::string>& texts, std::string_view characters) {
  return std::any_of(texts.begin(), texts.end(), [&](const std::string& text) {
    return text.find_first_of(characters) != std::string::npos;
  });
}

// What the expressions of a policy see where the object is of one kind.
std::vector<api::cel::Variable> typed_variables(const ValidatingPolicy& policy, const api::Structural& object,
                                                const api::Structural* params) {
  namespace cel = api::cel;
  std::vector<cel::Variable> out = api::admission_variables({params != nullptr, true});
  out[api::kObject].type = out[api::kOldObject].type = cel::type_of(object, false);
  if (params) out[api::kParams].type = cel::type_of(*params, false);
  for (const ValidatingPolicy::Variable& variable : policy.variables) {
    auto program = cel::compile(variable.expression, out);
    out.push_back(
        {"variables." + variable.name, program.ok() ? (*program)->type() : cel::simple(cel::Kind::dyn)});
  }
  return out;
}

}  // namespace

std::vector<NamedResource> resources_to_check(const ValidatingPolicy& policy) {
  std::vector<NamedResource> out;
  for (ValidatingPolicy::Rule rule : policy.rules) {
    if (has_any_of(rule.groups, "*") || has_any_of(rule.versions, "*")) continue;
    for (auto* list : {&rule.groups, &rule.versions, &rule.resources}) std::sort(list->begin(), list->end());
    for (const std::string& group : rule.groups)
      for (const std::string& version : rule.versions)
        for (const std::string& plural : rule.resources) {
          if (plural.find_first_of("*/") != plural.npos) continue;
          NamedResource one{group, version, plural};
          if (std::find(out.begin(), out.end(), one) == out.end()) out.push_back(std::move(one));
          if (out.size() == kMaxTypesToCheck) return out;
        }
  }
  return out;
}

std::string PolicyTypesPlan::text() const { return "status " + base::to_json(json::value(status)) + "\n"; }

PolicyTypesPlan plan_policy_types(const ValidatingPolicy& policy, std::vector<TypedKind> kinds,
                                  const api::Structural* params) {
  std::sort(kinds.begin(), kinds.end(), [](const TypedKind& a, const TypedKind& b) {
    return std::tie(a.group, a.version, a.kind) < std::tie(b.group, b.version, b.kind);
  });
  std::vector<std::vector<api::cel::Variable>> seen;
  for (const TypedKind& kind : kinds) seen.push_back(typed_variables(policy, *kind.schema, params));
  json::array warnings;
  auto check = [&](const std::string& field, const std::string& expression) {
    std::string said;
    for (size_t i = 0; i < kinds.size(); ++i) {
      auto program = api::cel::compile(expression, seen[i]);
      if (program.ok()) continue;
      said +=
          (said.empty() ? "" : "\n") + fmt::format("{}/{}, Kind={}: {}\n", kinds[i].group, kinds[i].version,
                                                   kinds[i].kind, program.error().reason);
    }
    if (!said.empty()) warnings.push_back(json::object{{"fieldRef", field}, {"warning", std::move(said)}});
  };
  for (size_t i = 0; i < policy.validations.size(); ++i) {
    const std::string field = fmt::format("spec.validations[{}].", i);
    check(field + "expression", policy.validations[i].expression);
    if (!policy.validations[i].message.empty())
      check(field + "messageExpression", policy.validations[i].message);
  }
  json::object checking;
  if (!warnings.empty()) checking["expressionWarnings"] = std::move(warnings);
  return {{{"observedGeneration", policy.meta.generation}, {"typeChecking", std::move(checking)}}};
}

}  // namespace master::controllers
