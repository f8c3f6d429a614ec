#include "master/admission/webhook_plan.h"

#include <algorithm>

#include "api/status.h"
#include "base/base64.h"
#include "base/json_limits.h"
#include "master/auth/rbac_rules.h"

namespace master {

namespace json = base::json;

namespace {

std::vector<std::string> texts(const json::value& in, const char* name) {
  std::vector<std::string> out;
  const json::value* list = base::find(in, name);
  if (list && list->is_array())
    for (const json::value& one : list->get_array()) out.emplace_back(base::as_string(&one));
  return out;
}
api::Selector selector(const json::value& in, const char* name) {
  const json::value* found = base::find(in, name);
  if (!found || found->is_null()) return {};  // everything
  auto parsed = api::selector_of_json(found);
  if (parsed.ok()) return std::move(*parsed);
  api::Selector none;
  none.nothing = true;
  return none;
}
// "pods", "pods/status", "pods/*", "*/status", "*", "*/*"
bool names_resource(const std::string& pattern, std::string_view resource, std::string_view subresource) {
  size_t slash = pattern.find('/');
  std::string_view left = std::string_view(pattern).substr(0, slash);
  std::string_view right =
      slash == pattern.npos ? std::string_view() : std::string_view(pattern).substr(slash + 1);
  if (left != "*" && left != resource) return false;
  return right == subresource || right == "*";
}
json::object kind_object(const ResourceInfo& r) {
  return {{"group", r.group}, {"version", r.version}, {"kind", r.kind}};
}
json::object resource_object(const ResourceInfo& r) {
  return {{"group", r.group}, {"version", r.version}, {"resource", r.plural}};
}

// Of what the object in the review is.
json::object body_kind(const AdmissionAttributes& attributes, const ResourceInfo& shown) {
  if (!attributes.body) return kind_object(shown);
  return {{"group", attributes.body->group},
          {"version", attributes.body->version},
          {"kind", attributes.body->kind}};
}

json::value options_of(const AdmissionAttributes& attributes) {
  if (attributes.operation == Operation::kConnect) return nullptr;
  json::object out;
  if (const json::object* given = attributes.options.if_object()) out = *given;
  const char* kind = attributes.operation == Operation::kCreate   ? "CreateOptions"
                     : attributes.operation == Operation::kUpdate ? "UpdateOptions"
                                                                  : "DeleteOptions";
  out["kind"] = kind;
  out["apiVersion"] = "meta.k8s.io/v1";
  if (attributes.dry_run) out["dryRun"] = json::array{"All"};
  return out;
}

}  // namespace

Webhook read_match_resources(const json::value* match, const char* rules_name) {
  Webhook out;
  if (!match) return out;
  if (const json::value* rules = base::find(*match, rules_name); rules && rules->is_array())
    for (const json::value& rule : rules->get_array())
      out.rules.push_back({texts(rule, "apiGroups"), texts(rule, "apiVersions"), texts(rule, "resources"),
                           texts(rule, "operations"), std::string(base::string_at(rule, "scope")),
                           texts(rule, "resourceNames")});
  out.namespaces = selector(*match, "namespaceSelector");
  out.objects = selector(*match, "objectSelector");
  out.exact = base::string_at(*match, "matchPolicy") == "Exact";
  return out;
}

std::vector<Webhook> read_webhooks(const json::value& configuration) {
  std::vector<Webhook> out;
  const json::value* list = base::find(configuration, "webhooks");
  if (!list || !list->is_array()) return out;
  for (const json::value& in : list->get_array()) {
    Webhook hook = read_match_resources(&in, "rules");
    hook.configuration = base::string_at(configuration, "metadata", "name");
    hook.name = base::string_at(in, "name");
    hook.ignores_failure = base::string_at(in, "failurePolicy") == "Ignore";
    hook.reinvoked = base::string_at(in, "reinvocationPolicy") == "IfNeeded";
    std::string_view effects = base::string_at(in, "sideEffects");
    hook.has_side_effects = effects != "None" && effects != "NoneOnDryRun";
    hook.timeout_seconds = static_cast<int>(base::as_int(base::find(in, "timeoutSeconds"), 10));
    hook.review_version = known_review_version(base::find(in, "admissionReviewVersions"));
    if (const json::value* config = base::find(in, "clientConfig")) hook.client_config = *config;
    hook.conditions =
        api::compile_match_conditions(base::find(in, "matchConditions"), api::admission_variables({}));
    out.push_back(std::move(hook));
  }
  return out;
}

bool rule_matches(const Webhook::Rule& rule, const WriteSubject& subject) {
  if (!has_or_star(rule.operations, to_string(subject.operation)) ||
      !has_or_star(rule.groups, subject.group) || !has_or_star(rule.versions, subject.version))
    return false;
  if (!rule.names.empty() &&
      std::find(rule.names.begin(), rule.names.end(), subject.name) == rule.names.end())
    return false;
  if (rule.scope == "Cluster" && subject.namespaced) return false;
  if (rule.scope == "Namespaced" && !subject.namespaced) return false;
  return std::any_of(rule.resources.begin(), rule.resources.end(), [&](const std::string& pattern) {
    return names_resource(pattern, subject.resource, subject.subresource);
  });
}

bool selectors_match(const Webhook& hook, const json::value* namespace_labels, bool namespaced,
                     const json::value& object, const json::value& old) {
  if (namespaced && !hook.namespaces.everything() && !hook.namespaces.matches(namespace_labels)) return false;
  if (hook.objects.everything()) return true;
  // What can have no labels (PodExecOptions) is selected by nothing.
  auto matches = [&](const json::value& one) {
    return base::find(one, "metadata") && hook.objects.matches(base::find_path(one, "metadata", "labels"));
  };
  return matches(object) || matches(old);
}

std::string known_review_version(const json::value* versions) {
  if (versions && versions->is_array())
    for (const json::value& one : versions->get_array())
      if (std::string_view name = base::as_string(&one); name == "v1" || name == "v1beta1")
        return std::string(name);
  return {};
}

json::value admission_review(const AdmissionAttributes& attributes, const ResourceInfo& shown,
                             std::string_view review_version, std::string_view uid, json::value object,
                             json::value old) {
  const RequestInfo& request = *attributes.request;
  json::array groups;
  for (const std::string& group : request.user.groups) groups.push_back(json::value(group));
  json::object user{{"username", request.user.name}, {"groups", std::move(groups)}};
  if (!request.user.uid.empty()) user["uid"] = request.user.uid;
  for (const auto& [name, values] : request.user.extra)
    base::object_at(user, "extra")[name] = json::array(values.begin(), values.end());
  json::object asked{{"uid", uid},
                     {"kind", body_kind(attributes, shown)},
                     {"resource", resource_object(shown)},
                     {"requestKind", body_kind(attributes, *request.resource)},
                     {"requestResource", resource_object(*request.resource)},
                     {"operation", to_string(attributes.operation)},
                     {"userInfo", std::move(user)},
                     {"object", std::move(object)},
                     {"oldObject", std::move(old)},
                     {"dryRun", attributes.dry_run},
                     {"options", options_of(attributes)}};
  if (!attributes.subresource.empty())
    asked["subResource"] = asked["requestSubResource"] = attributes.subresource;
  if (!attributes.name.empty()) asked["name"] = attributes.name;
  if (!attributes.ns.empty()) asked["namespace"] = attributes.ns;
  return json::object{{"kind", "AdmissionReview"},
                      {"apiVersion", "admission.k8s.io/" + std::string(review_version)},
                      {"request", std::move(asked)}};
}

base::Result<ReviewAnswer> read_review(std::string_view webhook, std::string_view review_version,
                                       std::string_view uid, std::string_view body) {
  bool strict = review_version == "v1";
  auto bad = [&](std::string why) {
    return base::make_error(base::Kind::kInvalid, "read AdmissionReview", std::string(webhook),
                            std::move(why));
  };
  json::value review = TRY(base::parse_json_carrier(body));
  const json::value* response = base::find(review, "response");
  if (!response || !response->is_object()) return bad("webhook response was absent");
  if (strict && (base::string_at(review, "kind") != "AdmissionReview" ||
                 base::string_at(review, "apiVersion") != "admission.k8s.io/v1"))
    return bad("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got " +
               std::string(base::string_at(review, "apiVersion")) +
               ", Kind=" + std::string(base::string_at(review, "kind")));
  if (strict && base::string_at(*response, "uid") != uid)
    return bad("expected response.uid=\"" + std::string(uid) + "\", got \"" +
               std::string(base::string_at(*response, "uid")) + "\"");
  ReviewAnswer out;
  out.allowed = base::as_bool(base::find(*response, "allowed"));
  for (std::string& warning : texts(*response, "warnings")) out.warnings.push_back(warning.substr(0, 256));
  if (out.warnings.size() > 32) out.warnings.resize(32);
  if (const json::value* noted = base::find(*response, "auditAnnotations"); noted && noted->is_object())
    for (const auto& item : noted->get_object())
      out.audit_annotations.emplace(item.key(), base::as_string(&item.value()));
  if (!out.allowed) {
    const json::value* status = base::find(*response, "status");
    json::value refusal = status && status->is_object() ? *status : json::value(json::object());
    json::object& object = refusal.get_object();
    object["kind"] = "Status";
    object["apiVersion"] = "v1";
    object["status"] = "Failure";
    if (base::as_int(object.if_contains("code")) < 400) object["code"] = 400;
    std::string denied = "admission webhook \"" + std::string(webhook) + "\" denied the request";
    std::string why(base::as_string(object.if_contains("message")));
    if (why.empty()) why = base::as_string(object.if_contains("reason"));
    object["message"] = why.empty() ? denied + " without explanation" : denied + ": " + why;
    object["metadata"] = json::object();
    out.refusal = std::move(refusal);
    return out;
  }
  std::string_view patch = base::string_at(*response, "patch");
  if (patch.empty()) return out;
  if (strict && base::string_at(*response, "patchType") != "JSONPatch")
    return bad("webhook returned response.patch but not response.patchType");
  auto decoded = base::base64_decode(patch);
  if (!decoded) return bad("response.patch is not base64");
  out.patch = TRY(base::parse_json_carrier(*decoded));
  return out;
}

json::value webhook_failure(std::string_view webhook, WebhookStep step, const base::Error& error) {
  std::string what = step == WebhookStep::kPrepare ? "could not create admission objects: " + error.reason
                     : step == WebhookStep::kCall  ? "failed to call webhook: " + error.message()
                                                   : "received invalid webhook response: " + error.reason;
  return api::internal_error("failed calling webhook \"" + std::string(webhook) + "\": " + what);
}
json::value dry_run_unsupported(std::string_view webhook) {
  return api::bad_request("admission webhook \"" + std::string(webhook) + "\" does not support dry run");
}

}  // namespace master
