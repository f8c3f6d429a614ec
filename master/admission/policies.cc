#include "master/admission/policies.h"

#include <algorithm>

#include "api/status.h"
#include "master/admission/input.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;
namespace cel = api::cel;

namespace {

constexpr char kFailureAnnotation[] = "validation.policy.admission.k8s.io/validation_failure";

std::string trimmed(std::string_view text) {
  size_t begin = text.find_first_not_of(" \t\r\n");
  return begin == text.npos ? ""
                            : std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1));
}
int code_of(const std::string& reason) {
  return reason == "Unauthorized"            ? 401
         : reason == "Forbidden"             ? 403
         : reason == "RequestEntityTooLarge" ? 413
                                             : 422;
}

}  // namespace

struct ValidatingPolicies::Round {
  AttributesPtr attributes;
  Done done;
  std::unique_ptr<WriteScope> scope;
  std::vector<std::pair<std::shared_ptr<const Policy>, ResourcePtr>> calls;
  size_t at = 0;
  json::value refusal;  // of the first that denies
  json::array noted;    // for the audit
  int64_t budget = cel::kObjectBudget;
};

ValidatingPolicies::ValidatingPolicies(Registry& registry, const Authorizer& authorizer)
    : registry_(registry), authorizer_(authorizer),
      policies_(registry, "validatingadmissionpolicies", "validatingadmissionpolicybindings") {}

void ValidatingPolicies::validate(AttributesPtr attributes, Done done) {
  const auto& policies = policies_.read();
  if (policies.empty() || is_policy(*attributes->resource)) return done(nullptr);
  auto round = std::make_shared<Round>();
  round->scope = std::make_unique<WriteScope>(registry_, *attributes);
  for (const auto& policy : policies)
    if (ResourcePtr shown = matched_as(*round->scope, policy->match, policy->exclude))
      round->calls.emplace_back(policy, shown);
  if (round->calls.empty()) return done(nullptr);
  round->attributes = std::move(attributes);
  round->done = std::move(done);
  next(std::move(round));
}

void ValidatingPolicies::next(std::shared_ptr<Round> round) {
  if (round->at == round->calls.size()) {
    if (!round->noted.empty())
      round->attributes->request->annotate(kFailureAnnotation, base::to_json(round->noted));
    return round->done(std::move(round->refusal));
  }
  const auto& [policy, shown] = round->calls[round->at++];
  show_objects(*round->attributes, shown,
               [this, round, policy = policy, shown = shown](json::value refusal, json::value object,
                                                             json::value old) {
                 if (!refusal.is_null()) return round->done(std::move(refusal));
                 ExpressionInput input(authorizer_, round->attributes, *shown, std::move(object),
                                       std::move(old), round->scope->namespace_object());
                 ask(*round, *policy, input);
                 next(round);
               });
}

void ValidatingPolicies::ask(Round& round, const Policy& policy, ExpressionInput& input) {
  for (const PolicyBinding& binding : policy.bindings) {
    if (!matched_as(*round.scope, binding.match, binding.exclude, true)) continue;
    std::vector<json::value> params;
    std::string why;
    if (!find_params(registry_, *round.attributes, policy, binding, &params, &why)) {
      if (!why.empty() && !policy.ignores_failure)
        failed(round, policy, binding, 0, "", "failed to configure binding: " + why);
      continue;
    }
    if (params.empty()) ask_binding(round, policy, binding, input.values(nullptr));
    for (const json::value& one : params) ask_binding(round, policy, binding, input.values(&one));
  }
}

void ValidatingPolicies::ask_binding(Round& round, const Policy& policy, const PolicyBinding& binding,
                                     const std::vector<cel::Value>& given) {
  std::vector<cel::Value> values = given;
  std::string error;
  switch (matches(policy.expressions.match_conditions, values, &error)) {
    case Match::kNo: return;
    case Match::kError:
      if (!policy.ignores_failure) failed(round, policy, binding, 0, "", error);
      return;
    case Match::kYes: break;
  }
  add_variables(policy, values);
  auto evaluate = [&](const cel::Program& program) {
    uint64_t cost = 0;
    auto result = program.evaluate(
        values, std::min(static_cast<uint64_t>(std::max<int64_t>(round.budget, 0)), cel::kExpressionBudget),
        &cost);
    round.budget -= static_cast<int64_t>(cost);
    return result;
  };
  for (size_t i = 0; i < policy.expressions.validations.size(); ++i) {
    const auto& validation = policy.expressions.validations[i];
    if (!validation.program) continue;
    auto verdict = evaluate(*validation.program);
    if (!verdict.ok()) {
      if (!policy.ignores_failure)
        failed(round, policy, binding, i, "",
               "expression '" + validation.expression + "' resulted in error: " + verdict.error().reason);
      continue;
    }
    if (verdict->kind == cel::Kind::boolean && verdict->boolean) continue;
    std::string message;
    if (validation.message_program) {
      auto made = evaluate(*validation.message_program);
      if (made.ok() && made->kind == cel::Kind::string && made->text.find('\n') == std::string_view::npos)
        message = trimmed(made->text);
    }
    if (message.empty())
      message = validation.message.empty() ? "failed expression: " + trimmed(validation.expression)
                                           : trimmed(validation.message);
    failed(round, policy, binding, i, validation.reason, std::move(message));
  }
  for (const auto& annotation : policy.expressions.audit_annotations) {
    if (!annotation.program) continue;
    auto value = evaluate(*annotation.program);
    if (!value.ok()) {
      if (!policy.ignores_failure)
        failed(round, policy, binding, 0, "",
               "audit annotation '" + annotation.name + "' resulted in error: " + value.error().reason);
    } else if (value->kind == cel::Kind::string && !trimmed(value->text).empty()) {
      round.attributes->request->annotate(policy.name + "/" + annotation.name, trimmed(value->text));
    }
  }
}

void ValidatingPolicies::failed(Round& round, const Policy& policy, const PolicyBinding& binding,
                                size_t index, const std::string& reason, std::string message) {
  const AdmissionAttributes& attributes = *round.attributes;
  if (binding.warns)
    attributes.request->warnings.push_back("Validation failed for ValidatingAdmissionPolicy '" + policy.name +
                                           "' with binding '" + binding.name + "': " + message);
  if (binding.audits) {
    json::array actions;
    if (binding.denies) actions.push_back("Deny");
    if (binding.warns) actions.push_back("Warn");
    actions.push_back("Audit");
    round.noted.push_back(json::object{{"message", message},
                                       {"policy", policy.name},
                                       {"binding", binding.name},
                                       {"expressionIndex", index},
                                       {"validationActions", std::move(actions)}});
  }
  if (!binding.denies || !round.refusal.is_null()) return;
  std::string whole = "ValidatingAdmissionPolicy '" + policy.name + "' with binding '" + binding.name +
                      "' denied request: " + message;
  round.refusal = api::forbidden(attributes.request->resource->named(), attributes.name, whole);
  json::object& status = round.refusal.get_object();
  status["reason"] = reason.empty() ? "Invalid" : reason;
  status["code"] = code_of(reason);
  json::object& details = base::object_at(status, "details");
  details["causes"] = json::array{json::object{{"message", whole}}};
}

}  // namespace master
