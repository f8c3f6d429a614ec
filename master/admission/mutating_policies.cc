#include "master/admission/mutating_policies.h"

#include "api/defaults.h"
#include "api/status.h"
#include "api/walk.h"
#include "master/admission/input.h"
#include "master/admission/mutation_plan.h"
#include "master/registry/conversion.h"
#include "master/registry/registry.h"
#include "master/registry/strategy.h"

namespace master {

namespace json = base::json;
namespace cel = api::cel;

struct MutatingPolicies::Invocation {
  std::shared_ptr<const Policy> policy;
  const PolicyBinding* binding;
  ResourcePtr shown;
  std::optional<json::value> params;
  std::string key() const {
    std::string out = policy->name + "\n" + binding->name;
    if (params)
      for (const char* name : {"namespace", "name"})
        out.append("\n").append(base::string_at(*params, "metadata", name));
    return out;
  }
};
// What is kept of a write between the two turns.
struct MutatingPolicies::Memory {
  Reinvocation reinvocation;
  json::value output;
};
struct MutatingPolicies::Round {
  AttributesPtr attributes;
  Done done;
  bool again = false;
  std::shared_ptr<Memory> memory;
  std::unique_ptr<WriteScope> scope;
  std::vector<Invocation> invocations;
  size_t at = 0;
  bool running = false, ready = false;  // next() is under way; it shall go on
  bool changed = false;
  std::vector<std::string> failures;  // of policies that do not ignore them
  std::string reason;                 // of the first
  int64_t budget = cel::kObjectBudget;

  void fail(const Policy& policy, const PolicyBinding* binding, const std::string& why,
            const char* said_reason) {
    if (policy.ignores_failure) return;
    if (failures.empty()) reason = said_reason;
    failures.push_back("policy '" + policy.name + "' with binding '" + binding->name +
                       "' denied request: " + why);
  }
};

MutatingPolicies::MutatingPolicies(Registry& registry, const Authorizer& authorizer)
    : registry_(registry), authorizer_(authorizer),
      policies_(registry, "mutatingadmissionpolicies", "mutatingadmissionpolicybindings") {}

void MutatingPolicies::mutate(AttributesPtr attributes, Done done) {
  start(std::move(attributes), false, std::move(done));
}
void MutatingPolicies::reinvoke(AttributesPtr attributes, Done done) {
  if (!attributes->policy_memory) return done(nullptr);  // none ran
  start(std::move(attributes), true, std::move(done));
}

void MutatingPolicies::start(AttributesPtr attributes, bool again, Done done) {
  const auto& policies = policies_.read();
  if (policies.empty() || is_policy(*attributes->resource)) return done(nullptr);
  auto round = std::make_shared<Round>();
  round->attributes = std::move(attributes);
  round->done = std::move(done);
  round->again = again;
  round->scope = std::make_unique<WriteScope>(registry_, *round->attributes);
  for (const auto& policy : policies) select(*round, policy);
  if (round->invocations.empty()) return end(std::move(round));
  auto& memory = round->attributes->policy_memory;
  if (!memory) memory = std::make_shared<Memory>();
  round->memory = std::static_pointer_cast<Memory>(memory);
  if (again && round->memory->output != round->attributes->object) round->memory->reinvocation.changed();
  next(std::move(round));
}

void MutatingPolicies::select(Round& round, const std::shared_ptr<const Policy>& policy) {
  ResourcePtr shown = matched_as(*round.scope, policy->match, policy->exclude);
  if (!shown) return;
  for (const PolicyBinding& binding : policy->bindings) {
    if (!matched_as(*round.scope, binding.match, binding.exclude, true)) continue;
    std::vector<json::value> params;
    std::string why;
    if (!find_params(registry_, *round.attributes, *policy, binding, &params, &why)) {
      if (!why.empty()) round.fail(*policy, &binding, "failed to configure binding: " + why, "");
      continue;
    }
    if (params.empty()) round.invocations.push_back({policy, &binding, shown, std::nullopt});
    for (json::value& one : params) round.invocations.push_back({policy, &binding, shown, std::move(one)});
  }
}

void MutatingPolicies::next(std::shared_ptr<Round> round) {
  // What ends at once comes back here while the loop below still runs: there may be many parameters.
  round->ready = true;
  if (round->running) return;
  round->running = true;
  while (std::exchange(round->ready, false)) {
    if (round->at == round->invocations.size()) return end(std::move(round));
    const Invocation& invocation = round->invocations[round->at++];
    show_objects(*round->attributes, invocation.shown,
                 [this, round, &invocation](json::value refusal, json::value object, json::value old) {
                   if (!refusal.is_null()) return round->done(std::move(refusal));
                   change(round, invocation, std::move(object), std::move(old));
                 });
  }
  round->running = false;
}

bool MutatingPolicies::wanted(Round& round, const Invocation& invocation, const ExpressionInput& input) {
  std::vector<cel::Value> values = input.values(invocation.params ? &*invocation.params : nullptr);
  std::string error;
  switch (matches(invocation.policy->expressions.match_conditions, values, &error)) {
    case Match::kNo: return false;
    case Match::kError: round.fail(*invocation.policy, invocation.binding, error, "Invalid"); return false;
    case Match::kYes: break;
  }
  return !round.again || round.memory->reinvocation.is_due(invocation.key());
}

void MutatingPolicies::change(std::shared_ptr<Round> round, const Invocation& invocation, json::value object,
                              json::value old) {
  {
    ExpressionInput input(authorizer_, round->attributes, *invocation.shown, object, old,
                          round->scope->namespace_object());
    if (!wanted(*round, invocation, input)) return next(std::move(round));
  }
  const json::value before = object;
  json::value refusal;
  for (size_t i = 0; i < invocation.policy->expressions.mutations.size() && !object.is_null(); ++i) {
    json::value now = changed(*round, invocation, i, object, old, &refusal);
    if (!refusal.is_null()) return round->done(std::move(refusal));
    if (!now.is_null()) object = std::move(now);
  }
  const bool is_changed = object != before;
  round->memory->reinvocation.ran(invocation.key(), invocation.policy->reinvoked, is_changed);
  if (!is_changed) return next(std::move(round));
  round->changed = true;
  put_back(std::move(round), invocation, std::move(object));
}

json::value MutatingPolicies::changed(Round& round, const Invocation& invocation, size_t index,
                                      const json::value& object, const json::value& old,
                                      json::value* refusal) {
  const Policy& policy = *invocation.policy;
  const auto& mutation = policy.expressions.mutations[index];
  auto fail = [&](const std::string& why) {
    round.fail(policy, invocation.binding, why, "Invalid");
    return json::value();
  };
  if (!mutation.program) return fail("the expression does not compile");
  ExpressionInput input(authorizer_, round.attributes, *invocation.shown, object, old,
                        round.scope->namespace_object());
  std::vector<cel::Value> values = input.values(invocation.params ? &*invocation.params : nullptr);
  add_variables(policy, values);
  uint64_t cost = 0;
  auto made = mutation.program->evaluate(
      values, std::min(static_cast<uint64_t>(std::max<int64_t>(round.budget, 0)), cel::kExpressionBudget),
      &cost);
  round.budget -= static_cast<int64_t>(cost);
  if (!made.ok())
    return fail("expression '" + mutation.expression + "' resulted in error: " + made.error().reason);
  const auto& body = round.attributes->body;
  const api::Type& type = body ? *type_of(*body) : *invocation.shown->type;
  auto result = apply_mutation(type, object, mutation.json_patch, *made);
  if (!result.ok()) return fail(result.error().reason);
  if (*result == object) return nullptr;
  auto refuse = [&](const std::string& why) {
    *refusal = api::internal_error(why);
    return json::value();
  };
  if (auto right = api::check_types(type, *result); !right.ok()) return refuse(right.error().message());
  std::vector<std::string> unknown;
  api::prune(type, *result, &unknown);
  if (!unknown.empty()) return refuse("strict decoding error: unknown field \"" + unknown[0] + "\"");
  if (body) return std::move(*result);
  if (type.custom) api::apply_defaults(type, *result);
  else api::defaults(invocation.shown->gvk(), *result);
  for (const char* name : {"name", "namespace"})
    if (base::string_at(*result, "metadata", name) != base::string_at(object, "metadata", name))
      return fail("the name and the namespace of an object cannot be changed");
  return std::move(*result);
}

void MutatingPolicies::put_back(std::shared_ptr<Round> round, const Invocation& invocation,
                                json::value object) {
  AdmissionAttributes& attributes = *round->attributes;
  if (attributes.body || !invocation.shown->conversion || invocation.shown == attributes.resource) {
    attributes.object =
        attributes.body ? std::move(object) : stored_form(*invocation.shown, std::move(object));
    return next(std::move(round));
  }
  std::vector<json::value> objects;
  objects.push_back(std::move(object));
  invocation.shown->conversion->convert(*attributes.resource, std::move(objects),
                                        [this, round](base::Result<std::vector<json::value>> result) {
                                          if (!result.ok())
                                            return round->done(Conversion::refusal(result.error()));
                                          round->attributes->object = std::move(result->front());
                                          next(round);
                                        });
}

void MutatingPolicies::end(std::shared_ptr<Round> round) {
  AdmissionAttributes& attributes = *round->attributes;
  if (round->memory) {
    if (round->changed) {
      round->memory->reinvocation.changed();
      attributes.reinvoke = true;
    }
    round->memory->output = attributes.object;
  }
  if (round->failures.empty()) return round->done(nullptr);
  json::value refusal = api::forbidden(attributes.request->resource->named(), attributes.name, "");
  json::object& status = refusal.get_object();
  status["message"] = round->failures[0];
  if (!round->reason.empty()) status["reason"] = round->reason;
  json::array causes;
  for (const std::string& failure : round->failures) causes.push_back(json::object{{"message", failure}});
  base::object_at(status, "details")["causes"] = std::move(causes);
  round->done(std::move(refusal));
}

}  // namespace master
