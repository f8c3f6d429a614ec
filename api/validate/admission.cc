// Webhook configurations, admission policies and APIServices.
#include <algorithm>
#include <set>

#include "api/validate/admission_expressions.h"
#include "api/validate/webhooks.h"

namespace api::rules {
namespace {

constexpr size_t kMaxMatchConditions = 64;

bool has_text(const View& list, std::string_view wanted) {
  bool has = false;
  list.each([&](const View& one) { has |= one.text() == wanted; });
  return has;
}

void webhook_url(Errors& e, const View& url) {
  constexpr std::string_view kForm = "desired format: https://host[/path]";
  std::string_view text = url.text();
  size_t slashes = text.find("://");
  if (slashes == text.npos || text.substr(0, slashes) != "https")
    e.invalid(url.path(), text.substr(0, slashes == text.npos ? 0 : slashes),
              "'https' is the only allowed URL scheme; " + std::string(kForm));
  else if (text.size() == slashes + 3 || text[slashes + 3] == '/')
    e.invalid(url.path(), std::string_view(), "host must be specified; " + std::string(kForm));
  if (text.find('@') != text.npos)
    e.invalid(url.path(), text, "user information is not permitted in the URL");
  if (text.find('#') != text.npos) e.invalid(url.path(), text, "fragments are not permitted in the URL");
  if (text.find('?') != text.npos)
    e.invalid(url.path(), text, "query parameters are not permitted in the URL");
}

// What a rule may name: a policy that changes objects sees no deletion.
void operations(Errors& e, const View& list, bool changes) {
  list.each([&](const View& one) {
    if (changes) one_of(e, one, {"*", "CONNECT", "CREATE", "UPDATE"});
    else one_of(e, one, {"*", "CONNECT", "CREATE", "DELETE", "UPDATE"});
  });
}
void rule(Errors& e, const View& rule, bool changes = false) {
  for (const char* name : {"apiGroups", "apiVersions", "operations"}) {
    View values = rule[name];
    if (!values.filled()) e.required(values.path());
    if (values.size() > 1 && has_text(values, "*"))
      e.invalid(values.path(), values.shown(),
                "if '*' is present, must not specify other " + std::string(name));
  }
  operations(e, rule["operations"], changes);
  View resources = rule["resources"];
  if (!resources.filled()) e.required(resources.path());
  resources.each([&](const View& resource) {
    if (!resource.filled()) e.required(resource.path());
  });
  one_of(e, rule["scope"], {"*", "Cluster", "Namespaced"});
}

void match_conditions(Errors& e, const View& list) {
  if (list.size() > kMaxMatchConditions) return e.too_many(list.path(), list.size(), kMaxMatchConditions);
  std::set<std::string_view> names;
  list.each([&](const View& condition) {
    View name = condition["name"];
    if (name.filled()) e.all(name.path(), name.text(), check_qualified_name(name.text()));
    if (!names.insert(name.text()).second) e.duplicate(name.path(), name.text());
  });
}
// An expression of a webhook: neither parameters nor the namespace.
void compiled(Errors& e, const View& expression) {
  auto program = cel::compile(expression.text(), admission_variables({}));
  if (!program.ok())
    e.invalid(expression.path(), expression.text(), "compilation failed: " + program.error().reason);
  else if ((*program)->type()->kind != cel::Kind::boolean && (*program)->type()->kind != cel::Kind::dyn)
    e.invalid(expression.path(), expression.text(), "must evaluate to bool");
}

void webhook(Errors& e, const View& hook) {
  if (View name = hook["name"]; name.filled()) {
    e.all(name.path(), name.text(), check_dns1123_subdomain(name.text()));
    if (std::count(name.text().begin(), name.text().end(), '.') < 2)
      e.invalid(name.path(), name.text(),
                "should be a domain with at least three segments separated by dots");
  }
  one_of(e, hook["failurePolicy"], {"Fail", "Ignore"});
  one_of(e, hook["matchPolicy"], {"Equivalent", "Exact"});
  one_of(e, hook["reinvocationPolicy"], {"IfNeeded", "Never"});
  one_of(e, hook["sideEffects"], {"None", "NoneOnDryRun"});
  if (View versions = hook["admissionReviewVersions"]; versions.filled())
    review_versions(e, versions, versions.path());
  if (View timeout = hook["timeoutSeconds"]; timeout.has() && (timeout.number() < 1 || timeout.number() > 30))
    e.invalid(timeout.path(), timeout.number(), "the timeout value must be between 1 and 30 seconds");
  match_conditions(e, hook["matchConditions"]);
  hook["matchConditions"].each([&](const View& condition) { compiled(e, condition["expression"]); });
  if (View config = hook["clientConfig"]; config.has()) webhook_client_config(e, config, config.path());
  hook["rules"].each([&](const View& one) { rule(e, one); });
}

}  // namespace

void review_versions(Errors& e, const View& versions, const std::string& shown_as) {
  std::set<std::string_view> seen;
  View(versions.get(), shown_as).each([&](const View& one) {
    if (!seen.insert(one.text()).second) return e.invalid(one.path(), one.text(), "duplicate version");
    e.all(one.path(), one.text(), check_dns1035_label(one.text()));
  });
  if (!seen.contains("v1") && !seen.contains("v1beta1"))
    e.invalid(shown_as, versions.shown(), "must include at least one of v1, v1beta1");
}

void webhook_client_config(Errors& e, const View& config, const std::string& shown_as) {
  View url = View(config["url"].get(), shown_as + ".url"),
       service = View(config["service"].get(), shown_as + ".service");
  if (url.filled() == service.has()) return e.required(shown_as, "exactly one of url or service is required");
  if (url.filled()) return webhook_url(e, url);
  if (View port = service["port"]; port.has() && (port.number() < 1 || port.number() > 65535))
    e.invalid(port.path(), port.number(), "port is not valid: must be between 1 and 65535, inclusive");
  if (View path = service["path"]; path.filled() && path.text()[0] != '/')
    e.invalid(path.path(), path.text(), "must start with a '/'");
}

void webhook_configuration(Errors& e, const json::value& object) {
  std::set<std::string_view> names;
  View(&object)["webhooks"].each([&](const View& hook) {
    std::string_view name = hook["name"].text();
    if (!names.insert(name).second) e.duplicate(hook.path() + ".name", name);
    webhook(e, hook);
  });
}

namespace {
bool is_identifier(std::string_view text) {
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text[0]))) return false;
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; });
}
void policy_validation(Errors& e, const View& one) {
  View message = one["message"], expression = one["messageExpression"], reason = one["reason"];
  auto blank = [](std::string_view text) { return text.find_first_not_of(" \t\r\n") == text.npos; };
  if (blank(one["expression"].text())) e.required(one["expression"].path(), "expression is not specified");
  if (message.filled() && blank(message.text()))
    e.invalid(message.path(), message.text(), "message must be non-empty if specified");
  else if (message.text().find('\n') != std::string_view::npos)
    e.invalid(message.path(), message.text(), "message must not contain line breaks");
  else if (!message.filled() && one["expression"].text().find('\n') != std::string_view::npos)
    e.required(message.path(), "message must be specified if expression contains line breaks");
  if (expression.filled() && blank(expression.text()))
    e.invalid(expression.path(), expression.text(), "must be non-empty if specified");
  one_of(e, reason, {"Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"});
}
}  // namespace

namespace {
bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == text.npos; }

// What both kinds of policies have.
void policy_head(Errors& e, const View& spec, bool changes) {
  View constraints = spec["matchConstraints"], param_kind = spec["paramKind"];
  one_of(e, spec["failurePolicy"], {"Fail", "Ignore"});
  if (param_kind.has()) {
    for (const char* name : {"apiVersion", "kind"})
      if (!param_kind[name].filled()) e.required(param_kind[name].path());
  }
  if (!constraints.has()) e.required(constraints.path());
  else if (!constraints["resourceRules"].filled()) e.required(constraints["resourceRules"].path());
  one_of(e, constraints["matchPolicy"], {"Equivalent", "Exact"});
  for (const char* list : {"resourceRules", "excludeResourceRules"})
    constraints[list].each([&](const View& one) { rule(e, one, changes); });
  match_conditions(e, spec["matchConditions"]);
  std::set<std::string_view> names;
  spec["variables"].each([&](const View& one) {
    View name = one["name"];
    if (!is_identifier(name.text()))
      e.invalid(name.path(), name.text(), "name is not a valid CEL identifier");
    if (!names.insert(name.text()).second) e.duplicate(name.path(), name.text());
  });
}
void mutation(Errors& e, const View& one) {
  View type = one["patchType"];
  if (!type.filled()) return e.required(type.path());
  one_of(e, type, {"ApplyConfiguration", "JSONPatch"});
  const bool json_patch = type.text() == "JSONPatch";
  if (!json_patch && type.text() != "ApplyConfiguration") return;
  const std::string said = "must be specified when patchType is " + std::string(type.text());
  const char *mine = json_patch ? "jsonPatch" : "applyConfiguration",
             *other = json_patch ? "applyConfiguration" : "jsonPatch";
  if (one[other].has())
    e.invalid(one[other].path(), "{" + std::string(other) + "}",
              "must not be specified when patchType is " + std::string(type.text()));
  if (!one[mine].has()) return e.required(one[mine].path(), said);
  if (View expression = one[mine]["expression"]; is_blank(expression.text()))
    e.required(expression.path(), "expression is not specified");
}
}  // namespace

void mutating_policy(Errors& e, const json::value& after, const json::value*) {
  View spec = View(&after)["spec"];
  policy_head(e, spec, true);
  if (!spec["mutations"].filled())
    e.required(spec["mutations"].path(), "mutations must contain at least one item");
  spec["mutations"].each([&](const View& one) { mutation(e, one); });
  if (View again = spec["reinvocationPolicy"]; !again.filled()) e.required(again.path());
  else one_of(e, again, {"IfNeeded", "Never"});
  for (FieldError& error : compile_policy(after).errors) e.list.push_back(std::move(error));
}

void validating_policy(Errors& e, const json::value& after, const json::value*) {
  View spec = View(&after)["spec"];
  policy_head(e, spec, false);
  std::set<std::string_view> names;
  if (!spec["validations"].filled() && !spec["auditAnnotations"].filled())
    e.required(spec["validations"].path(), "validations or auditAnnotations must contain at least one item");
  spec["validations"].each([&](const View& one) { policy_validation(e, one); });
  spec["auditAnnotations"].each([&](const View& one) {
    View key = one["key"];
    if (key.filled()) e.all(key.path(), key.text(), check_qualified_name("x/" + std::string(key.text())));
    if (!names.insert(key.text()).second) e.duplicate(key.path(), key.text());
  });
  for (FieldError& error : compile_policy(after).errors) e.list.push_back(std::move(error));
}

void api_service(Errors& e, const json::value& object) {
  View spec = View(&object)["spec"], group = spec["group"], version = spec["version"],
       service = spec["service"];
  std::string wanted = std::string(version.text()) + "." + std::string(group.text());
  if (std::string_view name = base::string_at(object, "metadata", "name"); name != wanted)
    e.invalid("metadata.name", name, "must be `spec.version+\".\"+spec.group`: \"" + wanted + "\"");
  if (!group.filled() && version.text() != "v1")
    e.required(group.path(), "only v1 may have an empty group and it better be legacy kube");
  if (group.filled()) e.all(group.path(), group.text(), check_dns1123_subdomain(group.text()));
  e.all(version.path(), version.text(), check_dns1035_label(version.text()));
  for (const char* name : {"groupPriorityMinimum", "versionPriority"}) {
    int64_t value = spec[name].number(), most = name[0] == 'g' ? 20000 : 1000;
    if (value < 1 || value > most)
      e.invalid(spec[name].path(), value, "must be positive and less than " + std::to_string(most));
  }
  View ca = spec["caBundle"], insecure = spec["insecureSkipTLSVerify"];
  if (!service.has()) {
    if (ca.filled()) e.invalid(ca.path(), ca.text(), "local APIServices may not have a caBundle");
    if (insecure.flag())
      e.invalid(insecure.path(), insecure.shown(), "local APIServices may not have insecureSkipTLSVerify");
    return;
  }
  for (const char* name : {"namespace", "name"})
    if (!service[name].filled()) e.required(service[name].path());
  if (insecure.flag() && ca.filled())
    e.invalid(insecure.path(), insecure.shown(), "may not be true if caBundle is present");
  if (!group.filled()) e.forbidden(service.path(), "the core group is served by this server");
}

}  // namespace api::rules
