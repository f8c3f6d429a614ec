#include "master/admission/policies.h"

#include <algorithm>

#include "api/status.h"
#include "master/admission/input.h"
#include "master/registry/conversion.h"
#include "master/registry/registry.h"
#include "master/registry/strategy.h"

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

// One of a policy's variables: computed once for a binding and its parameters, when it is asked for.
class PolicyVariable final : public cel::Lazy {
 public:
  PolicyVariable(std::shared_ptr<const cel::Program> program, const std::vector<cel::Value>& values)
      : program_(std::move(program)), values_(values) {}
  bool get(uint64_t budget, uint64_t* cost, cel::Value* out, std::string* error) const override {
    if (!result_) {
      if (!program_) return *error = "the variable does not compile", false;
      result_ = program_->evaluate(values_, budget, cost);
    }
    if (!result_->ok()) return *error = result_->error().reason, false;
    *out = **result_;
    return true;
  }

 private:
  std::shared_ptr<const cel::Program> program_;
  const std::vector<cel::Value>& values_;  // those before it are all that it may name
  mutable std::optional<base::Result<cel::Value>> result_;
};

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
      policy_objects_(registry.resources()
                          .find_stored("admissionregistration.k8s.io", "validatingadmissionpolicies")
                          ->objects),
      binding_objects_(registry.resources()
                           .find_stored("admissionregistration.k8s.io", "validatingadmissionpolicybindings")
                           ->objects) {}

const std::vector<std::shared_ptr<const ValidatingPolicies::Policy>>& ValidatingPolicies::policies() {
  if (policies_read_at_ == policy_objects_->last_revision() &&
      bindings_read_at_ == binding_objects_->last_revision())
    return policies_;
  policies_read_at_ = policy_objects_->last_revision();
  bindings_read_at_ = binding_objects_->last_revision();
  policies_.clear();
  for (const auto& [key, object] : policy_objects_->objects()) {
    json::value text = parse_object(*object->text);
    auto policy = std::make_shared<Policy>();
    policy->name = base::string_at(text, "metadata", "name");
    const json::value* constraints = base::find_path(text, "spec", "matchConstraints");
    policy->match = read_match_resources(constraints, "resourceRules");
    policy->exclude = read_match_resources(constraints, "excludeResourceRules");
    policy->ignores_failure = base::string_at(text, "spec", "failurePolicy") == "Ignore";
    policy->param_version = base::string_at(text, "spec", "paramKind", "apiVersion");
    policy->param_kind = base::string_at(text, "spec", "paramKind", "kind");
    for (const auto& [binding_key, binding_object] : binding_objects_->objects()) {
      json::value in = parse_object(*binding_object->text);
      if (base::string_at(in, "spec", "policyName") != policy->name) continue;
      Binding& binding = policy->bindings.emplace_back();
      binding.name = base::string_at(in, "metadata", "name");
      const json::value* match = base::find_path(in, "spec", "matchResources");
      binding.match = read_match_resources(match, "resourceRules");
      binding.exclude = read_match_resources(match, "excludeResourceRules");
      if (const json::value* actions = base::find_path(in, "spec", "validationActions");
          actions && actions->is_array())
        for (const json::value& action : actions->get_array()) {
          binding.denies |= base::as_string(&action) == "Deny";
          binding.warns |= base::as_string(&action) == "Warn";
          binding.audits |= base::as_string(&action) == "Audit";
        }
      if (const json::value* reference = base::find_path(in, "spec", "paramRef"))
        binding.param_ref = *reference;
    }
    if (policy->bindings.empty()) continue;
    policy->expressions = api::compile_policy(text);
    policies_.push_back(std::move(policy));
  }
  return policies_;
}

void ValidatingPolicies::validate(AttributesPtr attributes, Done done) {
  if (policies().empty()) return done(nullptr);
  // Policies must not keep themselves from being repaired.
  const ResourceInfo& resource = *attributes->resource;
  if (resource.group == "admissionregistration.k8s.io" &&
      resource.plural.find("admissionpolic") != std::string::npos)
    return done(nullptr);
  auto round = std::make_shared<Round>();
  round->scope = std::make_unique<WriteScope>(registry_, *attributes);
  for (const auto& policy : policies()) {
    ResourcePtr shown = round->scope->shown(policy->match);
    if (shown && !(policy->exclude.rules.size() && round->scope->shown(policy->exclude)))
      round->calls.emplace_back(policy, shown);
  }
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
  auto with = [this, round, policy = policy, shown = shown](json::value object, json::value old) {
    ExpressionInput input(authorizer_, round->attributes, *shown, std::move(object), std::move(old),
                          round->scope->namespace_object());
    ask(*round, *policy, input);
    next(round);
  };
  const AdmissionAttributes& attributes = *round->attributes;
  if (!shown->conversion || attributes.body || shown == attributes.resource) {
    auto served = [&](const json::value& object) {
      return object.is_null() || attributes.body ? object : served_form(*shown, object);
    };
    return with(served(attributes.object), served(attributes.old));
  }
  std::vector<json::value> objects;
  for (const json::value* one : {&attributes.object, &attributes.old})
    if (!one->is_null()) objects.push_back(*one);
  shown->conversion->convert(*shown, std::move(objects),
                             [round, with](base::Result<std::vector<json::value>> result) {
                               if (!result.ok()) return round->done(Conversion::refusal(result.error()));
                               json::value object, old;
                               if (!round->attributes->old.is_null()) old = std::move(result->back());
                               if (!round->attributes->object.is_null()) object = std::move(result->front());
                               with(std::move(object), std::move(old));
                             });
}

void ValidatingPolicies::ask(Round& round, const Policy& policy, ExpressionInput& input) {
  for (const Binding& binding : policy.bindings) {
    if (!round.scope->shown(binding.match, true) ||
        (binding.exclude.rules.size() && round.scope->shown(binding.exclude)))
      continue;
    std::vector<json::value> params;
    std::string why;
    if (!find_params(*round.attributes, policy, binding, &params, &why)) {
      if (!why.empty() && !policy.ignores_failure)
        failed(round, policy, binding, 0, "", "failed to configure binding: " + why);
      continue;
    }
    if (params.empty()) ask_binding(round, policy, binding, input.values(nullptr));
    for (const json::value& one : params) ask_binding(round, policy, binding, input.values(&one));
  }
}

bool ValidatingPolicies::find_params(const AdmissionAttributes& attributes, const Policy& policy,
                                     const Binding& binding, std::vector<json::value>* out,
                                     std::string* why) {
  if (policy.param_kind.empty() || binding.param_ref.is_null()) return true;
  ResourcePtr kind;
  for (const ResourcePtr& one : registry_.resources().all())
    if (one->served && one->group_version() == policy.param_version && one->kind == policy.param_kind)
      kind = one;
  if (!kind)
    return *why = "failed to find resource referenced by paramKind: '" + policy.param_version +
                  ", Kind=" + policy.param_kind + "'",
           false;
  std::string ns;
  if (kind->namespaced) {
    ns = base::string_at(binding.param_ref, "namespace");
    if (ns.empty()) ns = attributes.ns;
    if (ns.empty())
      return *why = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources",
             false;
  }
  auto take = [&](const ObjectRef& object) {
    out->push_back(served_form(*kind, parse_object(*object->text)));
  };
  ObjectCache& cache = *kind->stored().objects;
  if (std::string_view name = base::string_at(binding.param_ref, "name"); !name.empty()) {
    if (ObjectRef found = cache.find(object_key(ns, std::string(name)))) take(found);
  } else if (auto selector = api::selector_of_json(base::find(binding.param_ref, "selector"));
             selector.ok()) {
    for (const auto& [key, object] : cache.objects()) {
      if (object->ns() != ns) continue;
      json::value parsed = parse_object(*object->text);
      if (selector->matches(base::find_path(parsed, "metadata", "labels"))) take(object);
    }
  }
  if (!out->empty()) return true;
  if (base::string_at(binding.param_ref, "parameterNotFoundAction") != "Allow")
    *why = "no params found for policy binding with `Deny` parameterNotFoundAction";
  return false;
}

void ValidatingPolicies::ask_binding(Round& round, const Policy& policy, const Binding& binding,
                                     const std::vector<cel::Value>& given) {
  std::vector<cel::Value> values = given;
  values.reserve(values.size() + policy.expressions.variables.size());
  std::string error;
  switch (matches(policy.expressions.match_conditions, values, &error)) {
    case Match::kNo: return;
    case Match::kError:
      if (!policy.ignores_failure) failed(round, policy, binding, 0, "", error);
      return;
    case Match::kYes: break;
  }
  for (const auto& variable : policy.expressions.variables) {
    // What a variable may name was declared before it: a view of `values` that grows behind it.
    auto lazy = std::make_shared<PolicyVariable>(variable.program, values);
    values.push_back(cel::of_lazy(std::move(lazy)));
  }
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

void ValidatingPolicies::failed(Round& round, const Policy& policy, const Binding& binding, size_t index,
                                const std::string& reason, std::string message) {
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
