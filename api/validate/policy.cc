// Rules of what bounds and scales other objects: budgets, autoscalers, quotas, limits, classes.
#include <algorithm>
#include <set>

#include "api/quantity.h"
#include "api/validate/rules.h"

namespace api::rules {
namespace {

bool positive(const View& amount) {
  auto parsed = Quantity::parse(amount.text());
  return parsed.ok() && !parsed->negative() && !parsed->zero();
}

// ---- autoscalers -------------------------------------------------------------------------------
void object_reference(Errors& e, const View& ref) {
  for (const char* name : {"kind", "name"})
    if (ref[name].filled()) e.all(ref[name].path(), ref[name].text(), check_path_segment(ref[name].text()));
}
void metric_target(Errors& e, const View& target) {
  View type = target["type"], share = target["averageUtilization"], value = target["value"],
       average = target["averageValue"];
  if (!type.filled()) e.required(type.path(), "must specify a metric target type");
  one_of(e, type, {"AverageValue", "Utilization", "Value"});
  for (const View& amount : {value, average})
    if (amount.has() && !positive(amount)) e.invalid(amount.path(), amount.text(), "must be positive");
  if (share.has() && share.number() < 1) e.invalid(share.path(), share.number(), "must be greater than 0");
}
void resource_target(Errors& e, const View& source) {
  if (!source["name"].filled()) e.required(source["name"].path(), "must specify a resource name");
  metric_target(e, source["target"]);
  View share = source["target"]["averageUtilization"], average = source["target"]["averageValue"];
  if (!share.has() && !average.has())
    e.required(share.path(), "must set either a target raw value or a target utilization");
  if (share.has() && average.has())
    e.forbidden(average.path(), "may not set both a target raw value and a target utilization");
}
void metric(Errors& e, const View& spec) {
  static const std::pair<const char*, const char*> kSources[] = {{"Object", "object"},
                                                                 {"External", "external"},
                                                                 {"Pods", "pods"},
                                                                 {"Resource", "resource"},
                                                                 {"ContainerResource", "containerResource"}};
  View type = spec["type"];
  if (!type.filled()) e.required(type.path(), "must specify a metric source type");
  one_of(e, type, {"ContainerResource", "External", "Object", "Pods", "Resource"});
  for (const auto& [name, member] : kSources) {
    View source = spec[member];
    bool wanted = type.text() == name;
    if (wanted && !source.has())
      e.required(source.path(), "must populate information for the given metric source");
    if (!wanted && source.has()) e.forbidden(source.path(), "must populate the given metric source only");
    if (!wanted || !source.has()) continue;
    std::string_view kind = name;
    if (kind == "Resource" || kind == "ContainerResource") {
      if (kind == "ContainerResource" && !source["container"].filled())
        e.required(source["container"].path(), "must specify a container");
      resource_target(e, source);
      continue;
    }
    View metric_name = source["metric"]["name"];
    if (!metric_name.filled()) e.required(metric_name.path(), "must specify a metric name");
    else e.all(metric_name.path(), metric_name.text(), check_path_segment(metric_name.text()));
    metric_target(e, source["target"]);
    if (kind == "Object") object_reference(e, source["describedObject"]);
    View target = source["target"];
    if (kind == "Pods" && !positive(target["averageValue"]))
      e.required(target["averageValue"].path(), "must specify a positive target averageValue");
    if (kind != "Pods" && !target["value"].has() && !target["averageValue"].has())
      e.required(target["averageValue"].path(),
                 "must set either a target value for metric or a per-pod target");
    if (kind == "External" && target["value"].has() && target["averageValue"].has())
      e.forbidden(target["value"].path(), "may not set both a target value for metric and a per-pod target");
  }
}
void scaling_rules(Errors& e, const View& rules) {
  if (!rules.has()) return;
  View window = rules["stabilizationWindowSeconds"];
  non_negative(e, window);
  if (window.number() > 3600) e.invalid(window.path(), window.number(), "must be less than or equal to 3600");
  one_of(e, rules["selectPolicy"], {"Disabled", "Max", "Min"});
  if (!rules["policies"].filled()) e.required(rules["policies"].path(), "must specify at least one Policy");
  rules["policies"].each([&](const View& policy) {
    one_of(e, policy["type"], {"Percent", "Pods"});
    for (const char* name : {"value", "periodSeconds"})
      if (policy[name].number() <= 0)
        e.invalid(policy[name].path(), policy[name].number(), "must be greater than zero");
    if (policy["periodSeconds"].number() > 1800)
      e.invalid(policy["periodSeconds"].path(), policy["periodSeconds"].number(),
                "must be less than or equal to 1800");
  });
}

// ---- quotas ------------------------------------------------------------------------------------
const std::set<std::string_view>& counted() {
  static const std::set<std::string_view> names = {"configmaps",
                                                   "cpu",
                                                   "ephemeral-storage",
                                                   "limits.cpu",
                                                   "limits.ephemeral-storage",
                                                   "limits.memory",
                                                   "memory",
                                                   "persistentvolumeclaims",
                                                   "pods",
                                                   "replicationcontrollers",
                                                   "requests.cpu",
                                                   "requests.ephemeral-storage",
                                                   "requests.memory",
                                                   "requests.storage",
                                                   "resourcequotas",
                                                   "secrets",
                                                   "services",
                                                   "services.loadbalancers",
                                                   "services.nodeports"};
  return names;
}
void budgeted_resource(Errors& e, const std::string& field, std::string_view name) {
  e.all(field, name, check_qualified_name(name));
  if (name.find('/') == std::string_view::npos && !counted().contains(name) &&
      !name.starts_with("hugepages-") && !name.starts_with("requests.hugepages-"))
    e.invalid(field, name, "must be a standard resource for quota");
}

}  // namespace

void pod_disruption_budget(Errors& e, const json::value& after, const json::value*) {
  View spec = View(&after)["spec"], least = spec["minAvailable"], most = spec["maxUnavailable"];
  if (least.has() && most.has())
    e.invalid("spec", spec.shown(), "minAvailable and maxUnavailable cannot be both set");
  for (const View& share : {least, most})
    if (share.has()) int_or_percent(e, share, true);
  if (spec["selector"].has()) {
    LabelSelector parsed;
    if (read(e, spec["selector"].shown(), &parsed)) label_selector(e, "spec.selector", parsed);
  }
  one_of(e, spec["unhealthyPodEvictionPolicy"], {"AlwaysAllow", "IfHealthyBudget"});
}
void pod_disruption_budget_status(Errors& e, const json::value& after, const json::value&) {
  View status = View(&after)["status"];
  for (const char* name : {"disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"})
    non_negative(e, status[name]);
}

void autoscaler(Errors& e, const json::value& after, const json::value*) {
  View spec = View(&after)["spec"], least = spec["minReplicas"], most = spec["maxReplicas"];
  if (least.has() && least.number() < 1)
    e.invalid(least.path(), least.number(), "must be greater than or equal to 1");
  if (most.number() < 1) e.invalid(most.path(), most.number(), "must be greater than 0");
  if (least.has() && most.number() < least.number())
    e.invalid(most.path(), most.number(), "must be greater than or equal to `minReplicas`");
  object_reference(e, spec["scaleTargetRef"]);
  spec["metrics"].each([&](const View& each) { metric(e, each); });
  for (const char* way : {"scaleUp", "scaleDown"}) scaling_rules(e, spec["behavior"][way]);
}
void autoscaler_status(Errors& e, const json::value& after, const json::value&) {
  for (const char* name : {"currentReplicas", "desiredReplicas"})
    non_negative(e, View(&after)["status"][name]);
}

void resource_quota(Errors& e, const json::value& after, const json::value* before) {
  View spec = View(&after)["spec"];
  spec["hard"].each_entry([&](std::string_view name, const View& amount) {
    budgeted_resource(e, amount.path(), name);
    quantity(e, amount.path(), std::string(amount.text()));
  });
  spec["scopes"].each([&](const View& scope) {
    one_of(e, scope,
           {"BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass",
            "Terminating", "VolumeAttributesClass"});
  });
  spec["scopeSelector"]["matchExpressions"].each([&](const View& term) {
    View op = term["operator"];
    one_of(e, op, {"DoesNotExist", "Exists", "In", "NotIn"});
    if ((op.text() == "In" || op.text() == "NotIn") && !term["values"].filled())
      e.required(term["values"].path(),
                 "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
    if ((op.text() == "Exists" || op.text() == "DoesNotExist") && term["values"].filled())
      e.invalid(term["values"].path(), term["values"].shown(),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
  });
  if (before) immutable(e, spec["scopes"], View(before)["spec"]["scopes"]);
}

void limit_range(Errors& e, const json::value& after, const json::value*) {
  std::set<std::string> types;
  View(&after)["spec"]["limits"].each([&](const View& limit) {
    std::string type(limit["type"].text());
    if (!types.insert(type).second) e.duplicate(limit["type"].path(), type);
    if (type == "Pod")
      for (const char* name : {"default", "defaultRequest"})
        if (limit[name].filled())
          e.forbidden(limit[name].path(), "may not be specified when `type` is 'Pod'");
    if (type == "PersistentVolumeClaim" && !limit["min"]["storage"].has() && !limit["max"]["storage"].has())
      e.required(limit.path(),
                 "either minimum or maximum storage value is required, but neither was provided");
    std::set<std::string> names;
    for (const char* part : {"min", "max", "default", "defaultRequest", "maxLimitRequestRatio"})
      limit[part].each_entry([&](std::string_view name, const View& amount) {
        e.all(amount.path(), name, check_qualified_name(name));
        quantity(e, amount.path(), std::string(amount.text()));
        names.emplace(name);
      });
    for (const std::string& name : names) {
      auto amount = [&](const char* part) { return Quantity::parse(limit[part][name].text()); };
      auto ordered = [&](const char* shown, const char* low, const char* high, const char* low_word,
                         const char* high_word) {
        auto a = amount(low), b = amount(high);
        if (!a.ok() || !b.ok() || !limit[low][name].has() || !limit[high][name].has() || !(*b < *a)) return;
        e.invalid(limit[shown].path() + "[" + name + "]", limit[shown][name].text(),
                  std::string(low_word) + " value " + std::string(limit[low][name].text()) +
                      " is greater than " + high_word + " value " + std::string(limit[high][name].text()));
      };
      ordered("min", "min", "max", "min", "max");
      ordered("defaultRequest", "min", "defaultRequest", "min", "default request");
      ordered("defaultRequest", "defaultRequest", "max", "default request", "max");
      ordered("defaultRequest", "defaultRequest", "default", "default request", "default limit");
      ordered("default", "min", "default", "min", "default");
      ordered("default", "default", "max", "default", "max");
      auto ratio = amount("maxLimitRequestRatio"), one = Quantity::parse("1");
      if (limit["maxLimitRequestRatio"][name].has() && ratio.ok() && *ratio < *one)
        e.invalid(limit["maxLimitRequestRatio"].path() + "[" + name + "]",
                  limit["maxLimitRequestRatio"][name].text(),
                  "ratio " + std::string(limit["maxLimitRequestRatio"][name].text()) + " is less than 1");
    }
  });
}

void priority_class(Errors& e, const json::value& after, const json::value* before) {
  View object(&after);
  std::string_view name = object["metadata"]["name"].text();
  int64_t value = object["value"].number();
  bool system = name == "system-node-critical" || name == "system-cluster-critical";
  if (name.starts_with("system-") && !system)
    e.forbidden("metadata.name",
                "priority class names with 'system-' prefix are reserved for system use only. error: " +
                    std::string(name) + " is not a known system priority class");
  else if (!system && value > 1000000000)
    e.forbidden("value", "maximum allowed value of a user defined priority is 1000000000");
  if (!before) return;
  if (value != View(before)["value"].number()) e.forbidden("value", "may not be changed in an update.");
  immutable(e, object["preemptionPolicy"], View(before)["preemptionPolicy"]);
}

void runtime_class(Errors& e, const json::value& after, const json::value* before) {
  View object(&after), handler = object["handler"];
  if (handler.filled()) e.all("handler", handler.text(), check_dns1123_label(handler.text()));
  object["overhead"]["podFixed"].each_entry([&](std::string_view name, const View& amount) {
    e.all(amount.path(), name, check_qualified_name(name));
    quantity(e, amount.path(), std::string(amount.text()));
  });
  labels(e, "scheduling.nodeSelector", object["scheduling"]["nodeSelector"].shown());
  std::vector<View> seen;
  object["scheduling"]["tolerations"].each([&](const View& one) {
    for (const View& other : seen)
      if (other.same_as(one)) e.duplicate(one.path(), one.shown());
    seen.push_back(one);
  });
  if (before) immutable(e, handler, View(before)["handler"]);
}

}  // namespace api::rules
