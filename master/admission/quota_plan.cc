#include "master/admission/quota_plan.h"

#include <algorithm>
#include <set>

#include "base/json_lists.h"

namespace master {

namespace json = base::json;
using api::Quantity;
using base::list_at;

namespace {

Usage amounts(const json::value* in) {
  Usage out;
  if (in && in->is_object())
    for (const auto& item : in->get_object())
      if (auto quantity = Quantity::parse(base::as_string(&item.value())); quantity.ok())
        out.emplace(std::string(item.key()), *quantity);
  return out;
}
bool is_native(std::string_view name) {
  return name == "cpu" || name == "memory" || name == "ephemeral-storage" || name.starts_with("hugepages-");
}

// Containers add up; init containers run one after the other, except those that stay (sidecars).
Usage pod_total(const json::value& pod, const char* member) {
  Usage total, peak, stay;
  for (const json::value& c : list_at(base::find_path(pod, "spec", "containers")))
    total += amounts(base::find_path(c, "resources", member));
  for (const json::value& c : list_at(base::find_path(pod, "spec", "initContainers"))) {
    Usage own = amounts(base::find_path(c, "resources", member));
    if (base::string_at(c, "restartPolicy") == "Always") {
      stay += own;
      own = stay;
    } else {
      own += stay;
    }
    for (const auto& [name, amount] : own)
      if (auto [it, is_new] = peak.emplace(name, amount); !is_new) it->second = std::max(it->second, amount);
  }
  total += stay;
  for (const auto& [name, amount] : peak)
    if (auto [it, is_new] = total.emplace(name, amount); !is_new) it->second = std::max(it->second, amount);
  total += amounts(base::find_path(pod, "spec", "overhead"));
  return total;
}
bool is_best_effort(const json::value& pod) {
  for (const char* list : {"containers", "initContainers"})
    for (const json::value& c : list_at(base::find_path(pod, "spec", list)))
      for (const char* member : {"requests", "limits"})
        for (const auto& [name, amount] : amounts(base::find_path(c, "resources", member)))
          if ((name == "cpu" || name == "memory") && !amount.zero()) return false;
  return true;
}
bool is_over(const json::value& pod) {
  std::string_view phase = base::string_at(pod, "status", "phase");
  return phase == "Succeeded" || phase == "Failed";
}

Usage pod_usage(const json::value& pod) {
  Usage out;
  Quantity one = Quantity::of(1);
  out["count/pods"] = one;  // also when it is over: it is an object
  if (is_over(pod)) return out;
  out["pods"] = one;
  for (const auto& [name, amount] : pod_total(pod, "requests")) {
    out["requests." + name] = amount;
    if (is_native(name)) out[name] = amount;
  }
  for (const auto& [name, amount] : pod_total(pod, "limits"))
    if (is_native(name)) out["limits." + name] = amount;
  return out;
}
Usage service_usage(const json::value& service) {
  Usage out{{"services", Quantity::of(1)}};
  std::string_view type = base::string_at(service, "spec", "type");
  int64_t ports = static_cast<int64_t>(list_at(base::find_path(service, "spec", "ports")).size());
  if (type == "LoadBalancer") {
    out["services.loadbalancers"] = Quantity::of(1);
    const json::value* allocates = base::find_path(service, "spec", "allocateLoadBalancerNodePorts");
    if (base::as_bool(allocates, true)) out["services.nodeports"] = Quantity::of(ports);
  } else if (type == "NodePort") {
    out["services.nodeports"] = Quantity::of(ports);
  }
  return out;
}
Usage claim_usage(const json::value& claim) {
  Usage out{{"persistentvolumeclaims", Quantity::of(1)}};
  auto storage = Quantity::parse(base::string_at(claim, "spec", "resources", "requests", "storage"));
  // Of an expansion that is taken back there may be more than is asked for.
  auto allocated = Quantity::parse(base::string_at(claim, "status", "allocatedResources", "storage"));
  if (allocated.ok() && (!storage.ok() || *storage < *allocated)) storage = allocated;
  if (storage.ok()) out["requests.storage"] = *storage;
  std::string name(base::string_at(claim, "spec", "storageClassName"));
  if (name.empty()) return out;
  out[name + ".storageclass.storage.k8s.io/persistentvolumeclaims"] = Quantity::of(1);
  if (storage.ok()) out[name + ".storageclass.storage.k8s.io/requests.storage"] = *storage;
  return out;
}

std::string usage_text(const Usage& usage, const Usage& of) {
  std::string out;
  for (const auto& [name, ignored] : of) {
    auto it = usage.find(name);
    out += (out.empty() ? "" : ",") + name + "=" + (it == usage.end() ? std::string("0") : it->second.text());
  }
  return out;
}
constexpr std::string_view kPlainCounts[] = {
    "configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets",
    "services"};

}  // namespace

Usage& operator+=(Usage& into, const Usage& other) {
  for (const auto& [name, amount] : other)
    if (auto [it, is_new] = into.emplace(name, amount); !is_new) it->second += amount;
  return into;
}
Usage& operator-=(Usage& into, const Usage& other) {
  for (const auto& [name, amount] : other) {
    auto [it, is_new] = into.emplace(name, amount);
    if (is_new) it->second -= amount;
    it->second -= amount;
  }
  return into;
}

Usage usage_of(const ResourceInfo& resource, const json::value& object) {
  Usage out;
  if (object.is_null()) return out;
  if (resource.is("", "pods")) return pod_usage(object);
  if (resource.is("", "services")) out = service_usage(object);
  else if (resource.is("", "persistentvolumeclaims")) out = claim_usage(object);
  else if (resource.group.empty() && std::find(std::begin(kPlainCounts), std::end(kPlainCounts),
                                               resource.plural) != std::end(kPlainCounts))
    out[resource.plural] = Quantity::of(1);
  out["count/" + resource.qualified()] = Quantity::of(1);
  return out;
}

Quota read_quota(const json::value& object) {
  Quota out;
  out.name = base::string_at(object, "metadata", "name");
  out.hard = amounts(base::find_path(object, "spec", "hard"));
  if (const json::value* spec = base::find(object, "spec")) out.spec = *spec;
  return out;
}

bool in_scope(const Quota& quota, const ResourceInfo& resource, const json::value& object) {
  auto holds = [&](std::string_view scope) {
    const json::value* deadline = base::find_path(object, "spec", "activeDeadlineSeconds");
    bool terminating = deadline && base::as_int(deadline, -1) >= 0;
    if (scope == "Terminating") return terminating;
    if (scope == "NotTerminating") return !terminating;
    if (scope == "BestEffort") return is_best_effort(object);
    if (scope == "NotBestEffort") return !is_best_effort(object);
    return false;
  };
  const json::array& scopes = list_at(base::find(quota.spec, "scopes"));
  const json::array& expressions = list_at(base::find_path(quota.spec, "scopeSelector", "matchExpressions"));
  if (scopes.empty() && expressions.empty()) return true;
  if (!resource.is("", "pods")) return false;  // scopes speak of Pods
  for (const json::value& scope : scopes)
    if (!holds(base::as_string(&scope))) return false;
  for (const json::value& e : expressions) {
    std::string_view scope = base::string_at(e, "scopeName"), op = base::string_at(e, "operator");
    if (scope != "PriorityClass") {
      if (!holds(scope)) return false;
      continue;
    }
    std::string_view own = base::string_at(object, "spec", "priorityClassName");
    bool listed = false;
    for (const json::value& value : list_at(base::find(e, "values")))
      listed |= base::as_string(&value) == own;
    if (op == "Exists" ? own.empty() : op == "DoesNotExist" ? !own.empty() : op == "In" ? !listed : listed)
      return false;
  }
  return true;
}

Usage limited(const Quota& quota, const Usage& usage) {
  Usage out;
  for (const auto& [name, amount] : usage)
    if (quota.hard.contains(name)) out.emplace(name, amount);
  return out;
}

std::string exceeded(const Quota& quota, const Usage& used, const Usage& wanted) {
  Usage over;
  for (const auto& [name, amount] : wanted) {
    auto limit = quota.hard.find(name);
    if (limit == quota.hard.end() || amount.zero() || amount.negative()) continue;
    auto have = used.find(name);
    if (limit->second < (have == used.end() ? amount : have->second + amount)) over.emplace(name, amount);
  }
  if (over.empty()) return {};
  return "exceeded quota: " + quota.name + ", requested: " + usage_text(wanted, over) +
         ", used: " + usage_text(used, over) + ", limited: " + usage_text(quota.hard, over);
}

std::string unspecified(const Quota& quota, const ResourceInfo& resource, const json::value& object) {
  if (!resource.is("", "pods")) return {};
  std::string out;
  for (const auto& [hard, ignored] : quota.hard) {
    bool limit = hard.starts_with("limits.");
    std::string name = limit ? hard.substr(7) : hard.starts_with("requests.") ? hard.substr(9) : hard;
    if (name != "cpu" && name != "memory") continue;
    std::set<std::string> missing;
    for (const char* list : {"containers", "initContainers"})
      for (const json::value& c : list_at(base::find_path(object, "spec", list)))
        if (!base::find_path(c, "resources", limit ? "limits" : "requests", name))
          missing.emplace(base::string_at(c, "name"));
    if (missing.empty()) continue;
    std::string names;
    for (const std::string& one : missing) names += (names.empty() ? "" : ",") + one;
    out += (out.empty() ? "" : "; ") + hard + " for: " + names;
  }
  return out.empty() ? out : "failed quota: " + quota.name + ": must specify " + out;
}

json::value quota_status(const Quota& quota, const Usage& used) {
  json::object hard, counts;
  for (const auto& [name, amount] : quota.hard) {
    hard[name] = amount.text();
    auto it = used.find(name);
    counts[name] = it == used.end() ? "0" : it->second.text();
  }
  return json::object{{"hard", std::move(hard)}, {"used", std::move(counts)}};
}

std::vector<std::pair<std::string, std::string>> counted_resources(const Quota& quota) {
  std::set<std::pair<std::string, std::string>> out;
  for (const auto& [name, ignored] : quota.hard) {
    if (name.starts_with("count/")) {
      std::string rest = name.substr(6);
      size_t dot = rest.find('.');
      out.emplace(dot == rest.npos ? "" : rest.substr(dot + 1), rest.substr(0, dot));
    } else if (name.starts_with("services")) {
      out.emplace("", "services");
    } else if (name == "requests.storage" || name.find(".storageclass.storage.k8s.io/") != name.npos) {
      out.emplace("", "persistentvolumeclaims");
    } else if (std::find(std::begin(kPlainCounts), std::end(kPlainCounts), name) != std::end(kPlainCounts)) {
      out.emplace("", name);
    } else {
      out.emplace("", "pods");
    }
  }
  return {out.begin(), out.end()};
}

}  // namespace master
