// Rules of ReplicationControllers, ReplicaSets and Deployments.
#include <algorithm>

#include "api/selector.h"
#include "api/validate/rules.h"

namespace api::rules {
namespace {

void pod_template(Errors& e, std::string_view kind, const std::string& field,
                  const json::value& json_template, const Selector& selector, const json::value& shown) {
  PodTemplateSpec pods;
  if (!read(e, json_template, &pods)) return;
  if (!selector.everything() && !selector.matches(pods.metadata.labels))
    e.invalid(field + ".metadata.labels", shown, "`selector` does not match template `labels`");
  if (!pods.spec) return e.required(field + ".spec.containers");
  pod_spec(e, field + ".spec", *pods.spec);
  if (pods.spec->restart_policy != "Always" && !pods.spec->restart_policy.empty())
    e.not_supported(field + ".spec.restartPolicy", pods.spec->restart_policy, {"Always"});
  if (pods.spec->active_deadline_seconds)
    e.forbidden(field + ".spec.activeDeadlineSeconds",
                "activeDeadlineSeconds in " + std::string(kind) + " is not Supported");
}

void deployment_strategy(Errors& e, const DeploymentSpec& spec) {
  if (!spec.strategy) return;
  const auto& rolling = spec.strategy->rolling_update;
  std::string where = "spec.strategy.rollingUpdate";
  if (spec.strategy->type == "Recreate" && rolling)
    return e.forbidden(where, "may not be specified when strategy `type` is 'Recreate'");
  if (!rolling) return;
  int64_t gone = rolling->max_unavailable
                     ? int_or_percent(e, where + ".maxUnavailable", *rolling->max_unavailable, true)
                     : 0;
  int64_t more = rolling->max_surge ? int_or_percent(e, where + ".maxSurge", *rolling->max_surge, false) : 0;
  if (gone == 0 && more == 0)
    e.invalid(where + ".maxUnavailable", rolling->max_unavailable.value_or(IntOrString{}),
              "may not be 0 when `maxSurge` is 0");
}

}  // namespace

int64_t int_or_percent(Errors& e, const std::string& field, const IntOrString& value, bool below_100) {
  if (!value.is_string) {
    if (value.number < 0) e.invalid(field, value, "must be greater than or equal to 0");
    return value.number;
  }
  const std::string& text = value.text;
  int64_t n = 0;
  bool right = text.size() > 1 && text.size() < 8 && text.back() == '%';
  for (size_t i = 0; right && i + 1 < text.size(); ++i) {
    right = text[i] >= '0' && text[i] <= '9';
    n = n * 10 + (text[i] - '0');
  }
  if (!right) {
    e.invalid(field, value,
              "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
              "'93%', regex used for validation is '[0-9]+%')");
    return -1;
  }
  if (below_100 && n > 100) e.invalid(field, value, "must not be greater than 100%");
  return n;
}

void workload(Errors& e, std::string_view gvk, const json::value& after, const json::value* before) {
  std::string kind(gvk.substr(gvk.rfind('/') + 1));
  bool is_rc = kind == "ReplicationController";
  const json::value* spec = base::find(after, "spec");
  static const json::value kNone = json::object();
  if (!spec || !spec->is_object()) spec = &kNone;
  const json::value* selector_json = base::find(*spec, "selector");
  const json::value* pods = base::find(*spec, "template");
  Selector selector;
  if (is_rc) {
    selector = selector_of_map(selector_json);
    if (selector.everything()) e.required("spec.selector");
  } else if (selector_json && selector_json->is_object()) {
    LabelSelector parsed;
    if (!read(e, *selector_json, &parsed)) return;
    size_t errors = e.list.size();
    label_selector(e, "spec.selector", parsed);
    if (parsed.match_labels.empty() && parsed.match_expressions.empty()) {
      std::string lower = kind;
      std::transform(lower.begin(), lower.end(), lower.begin(),
                     [](unsigned char c) { return std::tolower(c); });
      e.invalid("spec.selector", *selector_json, "empty selector is invalid for " + lower);
    }
    auto made = selector_of(parsed);
    if (made.ok()) selector = std::move(made).value();
    else if (errors == e.list.size()) e.invalid("spec.selector", *selector_json, "invalid label selector");
  }  // absent: its table says "required"
  if (!pods || !pods->is_object()) {
    if (kind != "Deployment") e.required("spec.template");
  } else {
    const json::value* shown = base::find_path(*pods, "metadata", "labels");
    pod_template(e, kind, "spec.template", *pods, selector, shown ? *shown : json::value(nullptr));
  }
  if (kind == "Deployment") {
    Deployment object;
    if (!read(e, after, &object) || !object.spec) return;
    deployment_strategy(e, *object.spec);
    if (object.spec->progress_deadline_seconds &&
        *object.spec->progress_deadline_seconds <= object.spec->min_ready_seconds.value_or(0))
      e.invalid("spec.progressDeadlineSeconds", *object.spec->progress_deadline_seconds,
                "must be greater than minReadySeconds");
  }
  if (before && !is_rc) {
    const json::value* old = base::find_path(*before, "spec", "selector");
    if (old && selector_json && *old != *selector_json)
      e.invalid("spec.selector", *selector_json, "field is immutable");
  }
}

}  // namespace api::rules
