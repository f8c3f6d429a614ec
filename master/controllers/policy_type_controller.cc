#include "master/controllers/policy_type_controller.h"

#include <algorithm>
#include <set>

#include "api/custom/custom.h"
#include "api/structural_of.h"
#include "api/walk.h"
#include "base/json_lists.h"

namespace master::controllers {
using base::find;
using base::string_at;

namespace {

const api::Resource kCustomDefinitions = {"apiextensions.k8s.io", "v1", "customresourcedefinitions",
                                          "CustomResourceDefinition", false};

std::string gvk_text(const TypedKind& kind) {
  return (kind.group.empty() ? "" : kind.group + "/") + kind.version + "/" + kind.kind;
}
std::shared_ptr<const api::Structural> builtin_schema(const TypedKind& kind) {
  const api::Type* type = api::find_kind(gvk_text(kind));
  return type ? std::make_shared<const api::Structural>(api::structural_of(*type)) : nullptr;
}
// Of a version of a definition, with the metadata of every object; null when it has none that can be read.
std::shared_ptr<const api::Structural> custom_schema(const json::value& definition,
                                                     std::string_view version) {
  for (const json::value& one : base::list_at(base::find_path(definition, "spec", "versions"))) {
    const json::value* schema = base::find_path(one, "schema", "openAPIV3Schema");
    if (string_at(one, "name") != version || !schema) continue;
    auto compiled = api::compile_structural(*schema);
    const api::Type* meta = api::find_type("io.k8s.apimachinery.pkg.apis.meta.v1", "ObjectMeta");
    if (!compiled.ok() || !meta) return nullptr;
    auto& properties = compiled->properties;
    std::erase_if(properties, [](const auto& p) {
      return p.name == "apiVersion" || p.name == "kind" || p.name == "metadata";
    });
    api::Structural text;
    text.kind = api::Structural::Kind::kString;
    properties.push_back({"metadata", api::structural_of(*meta)});
    properties.push_back({"kind", std::move(text)});
    api::Structural version_text;
    version_text.kind = api::Structural::Kind::kString;
    properties.push_back({"apiVersion", std::move(version_text)});
    std::sort(properties.begin(), properties.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    return std::make_shared<const api::Structural>(std::move(*compiled));
  }
  return nullptr;
}

}  // namespace

struct PolicyTypeController::Round {
  std::string key;
  std::shared_ptr<const ValidatingPolicy> policy;
  std::vector<NamedResource> wanted;
  std::string param_group, param_version;
  std::vector<TypedKind> kinds;
  std::shared_ptr<const api::Structural> params;
  Reconciler::Finish finish;
};

PolicyTypeController::PolicyTypeController(Hub& hub)
    : hub_(hub), account_(hub.account("validatingadmissionpolicy-status-controller")),
      reader_(hub.transport, "kube-controller-manager"),
      policies_(hub.follow<ValidatingPolicy>(kValidatingPolicies)),
      reconciler_(
          hub, {&policies_},
          [this](const std::string& key, Reconciler::Finish finish) { sync(key, std::move(finish)); }),
      status_(hub, account_, kValidatingPolicies, policies_, reconciler_) {
  policies_.on_change([this](const auto& before, const auto& after) {
    if (!after) return reconciler_.gate.forget(before->meta.key());
    if (after->meta.generation > after->observed) reconciler_.add(after->meta.key());
  });
}

void PolicyTypeController::sync(const std::string& key, Reconciler::Finish finish) {
  auto policy = policies_.get(key);
  if (!policy || policy->meta.deleting || policy->meta.generation <= policy->observed)
    return finish(Reconciler::Outcome::kDone);
  auto round = std::make_shared<Round>();
  round->key = key;
  round->policy = policy;
  round->wanted = resources_to_check(*policy);
  round->finish = std::move(finish);
  std::set<std::pair<std::string, std::string>> versions;
  for (const NamedResource& one : round->wanted) versions.emplace(one.group, one.version);
  if (!policy->param_kind.empty()) {
    const size_t slash = policy->param_version.find('/');
    if (slash != std::string::npos) round->param_group = policy->param_version.substr(0, slash);
    round->param_version = policy->param_version.substr(slash == std::string::npos ? 0 : slash + 1);
    versions.emplace(round->param_group, round->param_version);
  }
  std::vector<Step> steps;
  for (const auto& [group, version] : versions) steps.push_back(look_up(round, group, version));
  all(std::move(steps), [this, round](base::Status status) { publish(round, std::move(status)); });
}

// What is not served, or whose schema is not to be had, is not checked.
Step PolicyTypeController::look_up(std::shared_ptr<Round> round, const std::string& group,
                                   const std::string& version) {
  return [this, round, group, version](std::function<void(base::Status)> done) {
    reader_.call("GET", group.empty() ? "/api/" + version : "/apis/" + group + "/" + version, "", "",
                 [this, round, group, version, done](base::Result<json::value> list) {
                   if (!list.ok()) {
                     const bool absent = list.error().kind == base::Kind::kNotFound;
                     return done(absent ? base::Status() : base::Status(list.error()));
                   }
                   std::vector<Step> custom;
                   for (const json::value& row : base::list_at(find(*list, "resources"))) {
                     TypedKind kind{group, version, std::string(string_at(row, "kind")), nullptr};
                     const std::string plural(string_at(row, "name"));
                     if (plural.find('/') != plural.npos) continue;
                     const NamedResource named{group, version, plural};
                     const bool is_object =
                         std::find(round->wanted.begin(), round->wanted.end(), named) != round->wanted.end();
                     const bool is_params = group == round->param_group && version == round->param_version &&
                                            kind.kind == round->policy->param_kind;
                     if (!is_object && !is_params) continue;
                     kind.schema = builtin_schema(kind);
                     if (is_params && kind.schema) round->params = kind.schema;
                     if (is_object && kind.schema) round->kinds.push_back(kind);
                     if (!kind.schema) {
                       if (is_object) custom.push_back(read_custom(round, kind, plural, false));
                       if (is_params) custom.push_back(read_custom(round, kind, plural, true));
                     }
                   }
                   all(std::move(custom), done);
                 });
  };
}

Step PolicyTypeController::read_custom(std::shared_ptr<Round> round, TypedKind kind,
                                       const std::string& plural, bool is_params) {
  return [this, round, kind, plural, is_params](std::function<void(base::Status)> done) {
    reader_.list(kCustomDefinitions, "", "fieldSelector=metadata.name%3D" + plural + "." + kind.group,
                 [round, kind, is_params, done](base::Result<json::value> list) mutable {
                   if (!list.ok()) return done(list.error());
                   for (const json::value& definition : base::list_at(find(*list, "items"))) {
                     kind.schema = custom_schema(definition, kind.version);
                     if (kind.schema && is_params) round->params = kind.schema;
                     else if (kind.schema) round->kinds.push_back(kind);
                   }
                   done({});
                 });
  };
}

void PolicyTypeController::publish(std::shared_ptr<Round> round, base::Status looked_up) {
  if (!looked_up.ok())
    return Reconciler::end("ValidatingAdmissionPolicy", round->key, looked_up, round->finish);
  PolicyTypesPlan plan = plan_policy_types(*round->policy, std::move(round->kinds), round->params.get());
  // A merge patch: what was said before goes where nothing is said now.
  json::object& checking = base::object_at(plan.status, "typeChecking");
  if (!checking.contains("expressionWarnings")) checking["expressionWarnings"] = nullptr;
  status_.write(
      round->policy->meta, std::move(plan.status),
      [round](base::Status written) {
        if (is_gone(written)) return round->finish(Reconciler::Outcome::kDone);
        Reconciler::end("ValidatingAdmissionPolicy", round->key, written, round->finish);
      },
      StatusWriter::Bound::kRevision);
}

}  // namespace master::controllers
