#include "master/admission/policy_set.h"

#include "master/registry/conversion.h"
#include "master/registry/registry.h"
#include "master/registry/strategy.h"

namespace master {

namespace json = base::json;
namespace cel = api::cel;

namespace {

constexpr const char* kPolicyGroup = "admissionregistration.k8s.io";

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

PolicySet::PolicySet(Registry& registry, const char* policies, const char* bindings)
    : policy_objects_(registry.resources().find_stored(kPolicyGroup, policies)->objects),
      binding_objects_(registry.resources().find_stored(kPolicyGroup, bindings)->objects) {}

const std::vector<std::shared_ptr<const Policy>>& PolicySet::read() {
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
    policy->reinvoked = base::string_at(text, "spec", "reinvocationPolicy") == "IfNeeded";
    policy->param_version = base::string_at(text, "spec", "paramKind", "apiVersion");
    policy->param_kind = base::string_at(text, "spec", "paramKind", "kind");
    for (const auto& [binding_key, binding_object] : binding_objects_->objects()) {
      json::value in = parse_object(*binding_object->text);
      if (base::string_at(in, "spec", "policyName") != policy->name) continue;
      PolicyBinding& binding = policy->bindings.emplace_back();
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

bool is_policy(const ResourceInfo& resource) {
  return resource.group == kPolicyGroup && resource.plural.find("admissionpolic") != std::string::npos;
}

ResourcePtr matched_as(const WriteScope& scope, const Webhook& match, const Webhook& exclude, bool any_rule) {
  ResourcePtr shown = scope.shown(match, any_rule);
  if (!shown || (exclude.rules.size() && scope.shown(exclude))) return nullptr;
  return shown;
}

bool find_params(Registry& registry, const AdmissionAttributes& attributes, const Policy& policy,
                 const PolicyBinding& binding, std::vector<json::value>* out, std::string* why) {
  if (policy.param_kind.empty() || binding.param_ref.is_null()) return true;
  ResourcePtr kind;
  for (const ResourcePtr& one : registry.resources().all())
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

void add_variables(const Policy& policy, std::vector<cel::Value>& values) {
  values.reserve(values.size() + policy.expressions.variables.size());
  for (const auto& variable : policy.expressions.variables) {
    // What a variable may name was declared before it: a view of `values` that grows behind it.
    auto lazy = std::make_shared<PolicyVariable>(variable.program, values);
    values.push_back(cel::of_lazy(std::move(lazy)));
  }
}

void show_objects(const AdmissionAttributes& attributes, const ResourcePtr& shown, Shown then) {
  if (!shown->conversion || attributes.body || shown == attributes.resource) {
    auto served = [&](const json::value& object) {
      return object.is_null() || attributes.body ? object : served_form(*shown, object);
    };
    return then(nullptr, served(attributes.object), served(attributes.old));
  }
  std::vector<json::value> objects;
  const bool has_object = !attributes.object.is_null(), has_old = !attributes.old.is_null();
  if (has_object) objects.push_back(attributes.object);
  if (has_old) objects.push_back(attributes.old);
  shown->conversion->convert(
      *shown, std::move(objects),
      [has_object, has_old, then = std::move(then)](base::Result<std::vector<json::value>> result) {
        if (!result.ok()) return then(Conversion::refusal(result.error()), nullptr, nullptr);
        json::value object, old;
        if (has_old) old = std::move(result->back());
        if (has_object) object = std::move(result->front());
        then(nullptr, std::move(object), std::move(old));
      });
}

}  // namespace master
