// Webhook configurations, admission policies and APIServices. CEL is refused, never accepted and ignored.
#include <algorithm>

#include "api/validate_rules.h"

namespace api::rules {
namespace {

constexpr char kNoCel[] = "CEL expressions are not supported by this server: leave them out, or decide in the webhook";

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
    e.invalid(url.path(), text.substr(0, slashes == text.npos ? 0 : slashes), "'https' is the only allowed URL scheme; " + std::string(kForm));
  else if (text.size() == slashes + 3 || text[slashes + 3] == '/')
    e.invalid(url.path(), std::string_view(), "host must be specified; " + std::string(kForm));
  if (text.find('@') != text.npos) e.invalid(url.path(), text, "user information is not permitted in the URL");
  if (text.find('#') != text.npos) e.invalid(url.path(), text, "fragments are not permitted in the URL");
  if (text.find('?') != text.npos) e.invalid(url.path(), text, "query parameters are not permitted in the URL");
}

void rule(Errors& e, const View& rule) {
  for (const char* name : {"apiGroups", "apiVersions", "operations"}) {
    View values = rule[name];
    if (!values.filled()) e.required(values.path());
    if (values.size() > 1 && has_text(values, "*"))
      e.invalid(values.path(), values.shown(), "if '*' is present, must not specify other " + std::string(name));
  }
  rule["operations"].each([&](const View& operation) { one_of(e, operation, {"*", "CONNECT", "CREATE", "DELETE", "UPDATE"}); });
  View resources = rule["resources"];
  if (!resources.filled()) e.required(resources.path());
  resources.each([&](const View& resource) {
    if (!resource.filled()) e.required(resource.path());
  });
  one_of(e, rule["scope"], {"*", "Cluster", "Namespaced"});
}

void webhook(Errors& e, const View& hook) {
  if (View name = hook["name"]; name.filled()) {
    e.all(name.path(), name.text(), check_dns1123_subdomain(name.text()));
    if (std::count(name.text().begin(), name.text().end(), '.') < 2)
      e.invalid(name.path(), name.text(), "should be a domain with at least three segments separated by dots");
  }
  one_of(e, hook["failurePolicy"], {"Fail", "Ignore"});
  one_of(e, hook["matchPolicy"], {"Equivalent", "Exact"});
  one_of(e, hook["reinvocationPolicy"], {"IfNeeded", "Never"});
  one_of(e, hook["sideEffects"], {"None", "NoneOnDryRun"});
  if (View versions = hook["admissionReviewVersions"]; versions.filled() && !has_text(versions, "v1"))
    e.invalid(versions.path(), versions.shown(), "must include at least one of v1");
  if (View timeout = hook["timeoutSeconds"]; timeout.has() && (timeout.number() < 1 || timeout.number() > 30))
    e.invalid(timeout.path(), timeout.number(), "the timeout value must be between 1 and 30 seconds");
  if (View conditions = hook["matchConditions"]; conditions.filled()) e.forbidden(conditions.path(), kNoCel);
  if (View config = hook["clientConfig"]; config.has()) webhook_client_config(e, config, config.path());
  hook["rules"].each([&](const View& one) { rule(e, one); });
}

}  // namespace

void webhook_client_config(Errors& e, const View& config, const std::string& shown_as) {
  View url = View(config["url"].get(), shown_as + ".url"), service = View(config["service"].get(), shown_as + ".service");
  if (url.filled() == service.has()) return e.required(shown_as, "exactly one of url or service is required");
  if (url.filled()) return webhook_url(e, url);
  if (View port = service["port"]; port.has() && (port.number() < 1 || port.number() > 65535))
    e.invalid(port.path(), port.number(), "port is not valid: must be between 1 and 65535, inclusive");
  if (View path = service["path"]; path.filled() && path.text()[0] != '/') e.invalid(path.path(), path.text(), "must start with a '/'");
}

void webhook_configuration(Errors& e, const json::value& object) {
  std::vector<std::string_view> names;
  View(&object)["webhooks"].each([&](const View& hook) {
    std::string_view name = hook["name"].text();
    if (std::find(names.begin(), names.end(), name) != names.end()) e.duplicate(hook.path() + ".name", name);
    names.push_back(name);
    webhook(e, hook);
  });
}

void admission_policy(Errors& e) { e.forbidden("spec", "CEL admission policies are not supported by this server: use an admission webhook"); }

void api_service(Errors& e, const json::value& object) {
  View spec = View(&object)["spec"], group = spec["group"], version = spec["version"], service = spec["service"];
  std::string wanted = std::string(version.text()) + "." + std::string(group.text());
  if (std::string_view name = base::string_at(object, "metadata", "name"); name != wanted)
    e.invalid("metadata.name", name, "must be `spec.version+\".\"+spec.group`: \"" + wanted + "\"");
  if (!group.filled() && version.text() != "v1") e.required(group.path(), "only v1 may have an empty group and it better be legacy kube");
  if (group.filled()) e.all(group.path(), group.text(), check_dns1123_subdomain(group.text()));
  e.all(version.path(), version.text(), check_dns1035_label(version.text()));
  for (const char* name : {"groupPriorityMinimum", "versionPriority"}) {
    int64_t value = spec[name].number(), most = name[0] == 'g' ? 20000 : 1000;
    if (value < 1 || value > most) e.invalid(spec[name].path(), value, "must be positive and less than " + std::to_string(most));
  }
  View ca = spec["caBundle"], insecure = spec["insecureSkipTLSVerify"];
  if (!service.has()) {
    if (ca.filled()) e.invalid(ca.path(), ca.text(), "local APIServices may not have a caBundle");
    if (insecure.flag()) e.invalid(insecure.path(), insecure.shown(), "local APIServices may not have insecureSkipTLSVerify");
    return;
  }
  for (const char* name : {"namespace", "name"})
    if (!service[name].filled()) e.required(service[name].path());
  if (insecure.flag() && ca.filled()) e.invalid(insecure.path(), insecure.shown(), "may not be true if caBundle is present");
  if (!group.filled()) e.forbidden(service.path(), "the core group is served by this server");
}

}  // namespace api::rules
