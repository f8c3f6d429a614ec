// Webhook configurations, admission policies and APIServices. CEL is refused, never accepted and ignored.
#include <algorithm>

#include "api/validate_rules.h"

namespace api::rules {
namespace {

constexpr char kNoCel[] = "CEL expressions are not supported by this server: leave them out, or decide in the webhook";

std::string_view text_at(const json::value& in, const char* name) { return base::string_at(in, name); }
const json::array& list_at(const json::value& in, const char* name) {
  static const json::array kEmpty;
  const json::value* found = base::find(in, name);
  return found && found->is_array() ? found->get_array() : kEmpty;
}
bool has_text(const json::array& list, std::string_view wanted) {
  return std::any_of(list.begin(), list.end(), [&](const json::value& one) { return base::as_string(&one) == wanted; });
}
void one_of(Errors& e, const std::string& field, std::string_view value, std::vector<std::string> allowed) {
  if (!value.empty() && std::find(allowed.begin(), allowed.end(), value) == allowed.end()) e.not_supported(field, value, std::move(allowed));
}

void client_config(Errors& e, const std::string& field, const json::value* config) {
  if (!config || !config->is_object()) return;
  std::string_view url = text_at(*config, "url");
  const json::value* service = base::find(*config, "service");
  bool has_service = service && service->is_object();
  if (url.empty() == !has_service) return e.required(field, "exactly one of url or service is required");
  if (!url.empty()) {
    constexpr std::string_view kForm = "desired format: https://host[/path]";
    size_t slashes = url.find("://");
    if (slashes == url.npos || url.substr(0, slashes) != "https")
      e.invalid(field + ".url", url.substr(0, slashes == url.npos ? 0 : slashes), "'https' is the only allowed URL scheme; " + std::string(kForm));
    else if (url.size() == slashes + 3 || url[slashes + 3] == '/')
      e.invalid(field + ".url", url.substr(0, 0), "host must be specified; " + std::string(kForm));
    if (url.find('@') != url.npos) e.invalid(field + ".url", url, "user information is not permitted in the URL");
    if (url.find('#') != url.npos) e.invalid(field + ".url", url, "fragments are not permitted in the URL");
    if (url.find('?') != url.npos) e.invalid(field + ".url", url, "query parameters are not permitted in the URL");
    return;
  }
  if (const json::value* port = base::find(*service, "port"); port && (base::as_int(port) < 1 || base::as_int(port) > 65535))
    e.invalid(field + ".service.port", base::as_int(port), "port is not valid: must be between 1 and 65535, inclusive");
  if (std::string_view path = text_at(*service, "path"); !path.empty() && path[0] != '/')
    e.invalid(field + ".service.path", path, "must start with a '/'");
}

void rules_of(Errors& e, const std::string& field, const json::array& list) {
  for (size_t i = 0; i < list.size(); ++i) {
    std::string here = at(field, i);
    auto wanted = [&](const char* name) -> const json::array& {
      const json::array& values = list_at(list[i], name);
      if (values.empty()) e.required(here + "." + name);
      if (values.size() > 1 && has_text(values, "*"))
        e.invalid(here + "." + name, *base::find(list[i], name), "if '*' is present, must not specify other " + std::string(name));
      return values;
    };
    wanted("apiGroups"), wanted("apiVersions");
    const json::array& operations = wanted("operations");
    for (size_t k = 0; k < operations.size(); ++k)
      one_of(e, at(here + ".operations", k), base::as_string(&operations[k]), {"*", "CONNECT", "CREATE", "DELETE", "UPDATE"});
    const json::array& resources = list_at(list[i], "resources");
    if (resources.empty()) e.required(here + ".resources");
    for (size_t k = 0; k < resources.size(); ++k)
      if (base::as_string(&resources[k]).empty()) e.required(at(here + ".resources", k));
    one_of(e, here + ".scope", text_at(list[i], "scope"), {"*", "Cluster", "Namespaced"});
  }
}

}  // namespace

void webhook_configuration(Errors& e, const json::value& object) {
  const json::array& hooks = list_at(object, "webhooks");
  std::vector<std::string_view> names;
  for (size_t i = 0; i < hooks.size(); ++i) {
    std::string here = at("webhooks", i);
    const json::value& hook = hooks[i];
    std::string_view name = text_at(hook, "name");
    if (std::find(names.begin(), names.end(), name) != names.end()) e.duplicate(here + ".name", name);
    names.push_back(name);
    if (!name.empty()) {
      e.all(here + ".name", name, check_dns1123_subdomain(name));
      if (std::count(name.begin(), name.end(), '.') < 2) e.invalid(here + ".name", name, "should be a domain with at least three segments separated by dots");
    }
    one_of(e, here + ".failurePolicy", text_at(hook, "failurePolicy"), {"Fail", "Ignore"});
    one_of(e, here + ".matchPolicy", text_at(hook, "matchPolicy"), {"Equivalent", "Exact"});
    one_of(e, here + ".reinvocationPolicy", text_at(hook, "reinvocationPolicy"), {"IfNeeded", "Never"});
    one_of(e, here + ".sideEffects", text_at(hook, "sideEffects"), {"None", "NoneOnDryRun"});
    const json::array& versions = list_at(hook, "admissionReviewVersions");
    if (!versions.empty() && !has_text(versions, "v1"))
      e.invalid(here + ".admissionReviewVersions", *base::find(hook, "admissionReviewVersions"), "must include at least one of v1");
    if (const json::value* timeout = base::find(hook, "timeoutSeconds"); timeout && (base::as_int(timeout) < 1 || base::as_int(timeout) > 30))
      e.invalid(here + ".timeoutSeconds", base::as_int(timeout), "the timeout value must be between 1 and 30 seconds");
    if (!list_at(hook, "matchConditions").empty()) e.forbidden(here + ".matchConditions", kNoCel);
    client_config(e, here + ".clientConfig", base::find(hook, "clientConfig"));
    rules_of(e, here + ".rules", list_at(hook, "rules"));
  }
}

void admission_policy(Errors& e) { e.forbidden("spec", "CEL admission policies are not supported by this server: use an admission webhook"); }

void api_service(Errors& e, const json::value& object) {
  std::string_view group = base::string_at(object, "spec", "group"), version = base::string_at(object, "spec", "version");
  std::string wanted = std::string(version) + "." + std::string(group);
  if (base::string_at(object, "metadata", "name") != wanted)
    e.invalid("metadata.name", base::string_at(object, "metadata", "name"), "must be `spec.version+\".\"+spec.group`: \"" + wanted + "\"");
  for (const char* name : {"groupPriorityMinimum", "versionPriority"}) {
    int64_t value = base::as_int(base::find_path(object, "spec", name)), most = name[0] == 'g' ? 20000 : 1000;
    if (value < 1 || value > most) e.invalid(std::string("spec.") + name, value, "must be positive and less than " + std::to_string(most));
  }
  if (const json::value* service = base::find_path(object, "spec", "service"); service && !service->is_null())
    e.forbidden("spec.service", "API servers behind a Service are not supported by this server: define custom resources instead");
}

void default_webhook_configuration(json::value& object, bool mutating) {
  json::value* hooks = object.is_object() ? object.get_object().if_contains("webhooks") : nullptr;
  if (!hooks || !hooks->is_array()) return;
  auto set = [](json::object& in, const char* name, json::value value) {
    const json::value* found = in.if_contains(name);
    if (!found || found->is_null() || (found->is_string() && found->get_string().empty())) in[name] = std::move(value);
  };
  for (json::value& hook : hooks->get_array()) {
    json::object* in = hook.if_object();
    if (!in) continue;
    set(*in, "failurePolicy", "Fail");
    set(*in, "matchPolicy", "Equivalent");
    set(*in, "namespaceSelector", json::object());
    set(*in, "objectSelector", json::object());
    set(*in, "timeoutSeconds", 10);
    if (mutating) set(*in, "reinvocationPolicy", "Never");
    if (json::value* rules = in->if_contains("rules"); rules && rules->is_array())
      for (json::value& rule : rules->get_array())
        if (rule.is_object()) set(rule.get_object(), "scope", "*");
    if (json::value* config = in->if_contains("clientConfig"); config && config->is_object())
      if (json::value* service = config->get_object().if_contains("service"); service && service->is_object()) set(service->get_object(), "port", 443);
  }
}

}  // namespace api::rules
