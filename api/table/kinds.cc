// Columns of the kinds that are not Pods, Services or their nearest kin.
#include <algorithm>
#include <map>
#include <optional>

#include "api/quantity.h"
#include "api/table/cells.h"

namespace api::table {
namespace {

using base::as_bool;
using base::as_int;
using base::find;
using base::find_path;
using base::string_at;

json::value text(std::string_view value) { return json::value(value); }
json::value or_else(std::string_view value, std::string_view fallback) {
  return json::value(value.empty() ? fallback : value);
}
json::value name(const json::value& o) { return text(string_at(o, "metadata", "name")); }
json::value age(const json::value& o, base::Time now) {
  return json::value(human_age(string_at(o, "metadata", "creationTimestamp"), now));
}
const json::array& items(const json::value* value) {
  static const json::array kNone;
  return value && value->is_array() ? value->get_array() : kNone;
}
int64_t count(const json::value* value) { return static_cast<int64_t>(items(value).size()); }
bool deleting(const json::value& o) { return find_path(o, "metadata", "deletionTimestamp") != nullptr; }
// A number or a text as it is written: an int-or-string, a quantity.
std::string plain(const json::value* value, const char* absent) {
  if (!value || value->is_null()) return absent;
  return value->is_string() ? std::string(base::as_string(value)) : base::to_json(*value);
}
json::value truth(const json::value* value) {
  return !value || value->is_null() ? text("<unset>") : text(as_bool(value) ? "True" : "False");
}
void containers(const json::value* pod_spec, json::array& cells) {
  std::vector<std::string> names, images;
  for (const json::value& c : items(pod_spec ? find(*pod_spec, "containers") : nullptr)) {
    names.emplace_back(string_at(c, "name"));
    images.emplace_back(string_at(c, "image"));
  }
  cells.push_back(json::value(joined(names, ",")));
  cells.push_back(json::value(joined(images, ",")));
}
std::string access_modes(const json::value* modes) {
  static const std::pair<std::string_view, const char*> kShort[] = {{"ReadWriteOnce", "RWO"},
                                                                    {"ReadOnlyMany", "ROX"},
                                                                    {"ReadWriteMany", "RWX"},
                                                                    {"ReadWriteOncePod", "RWOP"}};
  std::vector<std::string> out;
  for (const auto& [mode, shown] : kShort)
    for (const json::value& each : items(modes))
      if (base::as_string(&each) == mode) {
        out.push_back(shown);
        break;
      }
  return joined(out, ",");
}

// ---- what is used -------------------------------------------------------------------------------
std::string use_of(const std::vector<const json::value*>& usages, const char* what) {
  std::optional<Quantity> sum;  // in the form of the first
  for (const json::value* usage : usages)
    if (auto one = Quantity::parse(string_at(*usage, what)); one.ok()) sum = sum ? *sum + *one : *one;
  return sum ? sum->text() : "<none>";
}
json::array used_cells(const json::value& o, const std::vector<const json::value*>& usages) {
  return {name(o), json::value(use_of(usages, "cpu")), json::value(use_of(usages, "memory")),
          json::value(string_at(o, "window"))};
}
json::array node_metrics(const json::value& o, base::Time) {
  std::vector<const json::value*> usages;
  if (const json::value* usage = find(o, "usage")) usages.push_back(usage);
  return used_cells(o, usages);
}
json::array pod_metrics(const json::value& o, base::Time) {
  std::vector<const json::value*> usages;
  for (const json::value& container : items(find(o, "containers")))
    if (const json::value* usage = find(container, "usage")) usages.push_back(usage);
  return used_cells(o, usages);
}

// ---- workloads ---------------------------------------------------------------------------------
json::array daemon_set(const json::value& o, base::Time now) {
  auto number = [&](const char* key) { return as_int(find_path(o, "status", key)); };
  json::array cells{name(o),
                    number("desiredNumberScheduled"),
                    number("currentNumberScheduled"),
                    number("numberReady"),
                    number("updatedNumberScheduled"),
                    number("numberAvailable"),
                    json::value(labels_text(find_path(o, "spec", "template", "spec", "nodeSelector"))),
                    age(o, now)};
  containers(find_path(o, "spec", "template", "spec"), cells);
  cells.push_back(json::value(selector_text(find_path(o, "spec", "selector"))));
  return cells;
}
json::array stateful_set(const json::value& o, base::Time now) {
  json::array cells{name(o),
                    json::value(std::to_string(as_int(find_path(o, "status", "readyReplicas"))) + "/" +
                                std::to_string(as_int(find_path(o, "spec", "replicas")))),
                    age(o, now)};
  containers(find_path(o, "spec", "template", "spec"), cells);
  return cells;
}
json::array job(const json::value& o, base::Time now) {
  auto condition = [&](std::string_view type) {
    for (const json::value& c : items(find_path(o, "status", "conditions")))
      if (string_at(c, "type") == type && string_at(c, "status") == "True") return true;
    return false;
  };
  const char* status = condition("Complete")             ? "Complete"
                       : condition("Failed")             ? "Failed"
                       : deleting(o)                     ? "Terminating"
                       : condition("Suspended")          ? "Suspended"
                       : condition("FailureTarget")      ? "FailureTarget"
                       : condition("SuccessCriteriaMet") ? "SuccessCriteriaMet"
                                                         : "Running";
  std::string done = std::to_string(as_int(find_path(o, "status", "succeeded")));
  const json::value* wanted = find_path(o, "spec", "completions");
  int64_t parallel = as_int(find_path(o, "spec", "parallelism"));
  if (wanted && !wanted->is_null()) done += "/" + std::to_string(as_int(wanted));
  else done += parallel > 1 ? "/1 of " + std::to_string(parallel) : "/1";
  std::string_view started = string_at(o, "status", "startTime");
  auto start = base::parse_time(started), end = base::parse_time(string_at(o, "status", "completionTime"));
  std::string duration = !start ? "" : end ? human_duration(*end - *start) : human_age(started, now);
  json::array cells{name(o), text(status), json::value(done), json::value(duration), age(o, now)};
  containers(find_path(o, "spec", "template", "spec"), cells);
  cells.push_back(json::value(selector_text(find_path(o, "spec", "selector"))));
  return cells;
}
json::array cron_job(const json::value& o, base::Time now) {
  std::string_view last = string_at(o, "status", "lastScheduleTime");
  json::array cells{name(o),
                    text(string_at(o, "spec", "schedule")),
                    or_else(string_at(o, "spec", "timeZone"), "<none>"),
                    truth(find_path(o, "spec", "suspend")),
                    count(find_path(o, "status", "active")),
                    last.empty() ? text("<none>") : json::value(human_age(last, now)),
                    age(o, now)};
  containers(find_path(o, "spec", "jobTemplate", "spec", "template", "spec"), cells);
  cells.push_back(json::value(selector_text(find_path(o, "spec", "jobTemplate", "spec", "selector"))));
  return cells;
}
json::array pod_template(const json::value& o, base::Time) {
  json::array cells{name(o)};
  containers(find_path(o, "template", "spec"), cells);
  cells.push_back(json::value(labels_text(find_path(o, "template", "metadata", "labels"))));
  return cells;
}
json::array controller_revision(const json::value& o, base::Time now) {
  std::string owner = "<none>";
  for (const json::value& one : items(find_path(o, "metadata", "ownerReferences"))) {
    if (!as_bool(find(one, "controller"))) continue;
    std::string kind(string_at(one, "kind")), version(string_at(one, "apiVersion"));
    std::transform(kind.begin(), kind.end(), kind.begin(), [](unsigned char c) { return std::tolower(c); });
    size_t slash = version.find('/');
    owner = kind + (slash == std::string::npos ? "" : "." + version.substr(0, slash)) + "/" +
            std::string(string_at(one, "name"));
  }
  return {name(o), json::value(owner), as_int(find(o, "revision")), age(o, now)};
}

// ---- networking --------------------------------------------------------------------------------
json::array ingress(const json::value& o, base::Time now) {
  std::vector<std::string> hosts, addresses;
  for (const json::value& rule : items(find_path(o, "spec", "rules")))
    if (std::string_view host = string_at(rule, "host"); !host.empty()) hosts.emplace_back(host);
  for (const json::value& one : items(find_path(o, "status", "loadBalancer", "ingress"))) {
    std::string_view ip = string_at(one, "ip");
    addresses.emplace_back(ip.empty() ? string_at(one, "hostname") : ip);
  }
  std::string_view chosen = string_at(o, "spec", "ingressClassName");
  if (chosen.empty()) chosen = string_at(o, "metadata", "annotations", "kubernetes.io/ingress.class");
  return {name(o),
          or_else(chosen, "<none>"),
          json::value(first_three(hosts, "*")),
          json::value(joined(addresses, ",")),
          text(count(find_path(o, "spec", "tls")) ? "80, 443" : "80"),
          age(o, now)};
}
json::array ingress_class(const json::value& o, base::Time now) {
  std::string parameters = "<none>";
  if (const json::value* p = find_path(o, "spec", "parameters"); p && p->is_object()) {
    std::string_view group = string_at(*p, "apiGroup");
    parameters = std::string(string_at(*p, "kind")) + (group.empty() ? "" : "." + std::string(group)) + "/" +
                 std::string(string_at(*p, "name"));
  }
  return {name(o), text(string_at(o, "spec", "controller")), json::value(parameters), age(o, now)};
}
json::array network_policy(const json::value& o, base::Time now) {
  return {name(o), json::value(selector_text(find_path(o, "spec", "podSelector"))), age(o, now)};
}
json::array ip_address(const json::value& o, base::Time now) {
  std::string_view group = string_at(o, "spec", "parentRef", "group"),
                   ns = string_at(o, "spec", "parentRef", "namespace");
  std::string parent(string_at(o, "spec", "parentRef", "resource"));
  if (!group.empty()) parent += "." + std::string(group);
  if (!ns.empty()) parent += "/" + std::string(ns);
  return {name(o), json::value(parent + "/" + std::string(string_at(o, "spec", "parentRef", "name"))),
          age(o, now)};
}
json::array service_cidr(const json::value& o, base::Time now) {
  std::vector<std::string> list;
  for (const json::value& one : items(find_path(o, "spec", "cidrs")))
    list.emplace_back(base::as_string(&one));
  return {name(o), json::value(joined(list, ",")), age(o, now)};
}

// ---- volumes -----------------------------------------------------------------------------------
json::array persistent_volume(const json::value& o, base::Time now) {
  std::string claim(string_at(o, "spec", "claimRef", "name"));
  if (!claim.empty()) claim = std::string(string_at(o, "spec", "claimRef", "namespace")) + "/" + claim;
  std::string_view phase = deleting(o) ? "Terminating" : string_at(o, "status", "phase");
  return {name(o),
          text(string_at(o, "spec", "capacity", "storage")),
          json::value(access_modes(find_path(o, "spec", "accessModes"))),
          text(string_at(o, "spec", "persistentVolumeReclaimPolicy")),
          text(phase),
          json::value(claim),
          text(string_at(o, "spec", "storageClassName")),
          or_else(string_at(o, "spec", "volumeAttributesClassName"), "<unset>"),
          text(string_at(o, "status", "reason")),
          age(o, now),
          or_else(string_at(o, "spec", "volumeMode"), "<unset>")};
}
json::array persistent_volume_claim(const json::value& o, base::Time now) {
  std::string_view volume = string_at(o, "spec", "volumeName");
  std::string_view phase = deleting(o) ? "Terminating" : string_at(o, "status", "phase");
  return {name(o),
          text(phase),
          text(volume),
          text(volume.empty() ? std::string_view() : string_at(o, "status", "capacity", "storage")),
          json::value(volume.empty() ? std::string() : access_modes(find_path(o, "status", "accessModes"))),
          text(string_at(o, "spec", "storageClassName")),
          or_else(string_at(o, "spec", "volumeAttributesClassName"), "<unset>"),
          age(o, now),
          or_else(string_at(o, "spec", "volumeMode"), "<unset>")};
}
json::array storage_class(const json::value& o, base::Time now) {
  std::string shown(string_at(o, "metadata", "name"));
  if (string_at(o, "metadata", "annotations", "storageclass.kubernetes.io/is-default-class") == "true")
    shown += " (default)";
  return {json::value(shown),
          text(string_at(o, "provisioner")),
          or_else(string_at(o, "reclaimPolicy"), "Delete"),
          or_else(string_at(o, "volumeBindingMode"), "Immediate"),
          as_bool(find(o, "allowVolumeExpansion")),
          age(o, now)};
}
json::array csi_driver(const json::value& o, base::Time now) {
  std::vector<std::string> modes, audiences;
  for (const json::value& mode : items(find_path(o, "spec", "volumeLifecycleModes")))
    modes.emplace_back(base::as_string(&mode));
  for (const json::value& one : items(find_path(o, "spec", "tokenRequests")))
    audiences.emplace_back(string_at(one, "audience"));
  return {name(o),
          as_bool(find_path(o, "spec", "attachRequired"), true),
          as_bool(find_path(o, "spec", "podInfoOnMount")),
          as_bool(find_path(o, "spec", "storageCapacity")),
          or_else(joined(audiences, ","), "<unset>"),
          as_bool(find_path(o, "spec", "requiresRepublish")),
          or_else(joined(modes, ","), "<none>"),
          age(o, now)};
}
json::array csi_node(const json::value& o, base::Time now) {
  return {name(o), count(find_path(o, "spec", "drivers")), age(o, now)};
}
json::array csi_storage_capacity(const json::value& o, base::Time) {
  return {name(o), text(string_at(o, "storageClassName")),
          json::value(plain(find(o, "capacity"), "<unset>"))};
}
json::array volume_attachment(const json::value& o, base::Time now) {
  return {name(o),
          text(string_at(o, "spec", "attacher")),
          text(string_at(o, "spec", "source", "persistentVolumeName")),
          text(string_at(o, "spec", "nodeName")),
          as_bool(find_path(o, "status", "attached")),
          age(o, now)};
}
json::array volume_attributes_class(const json::value& o, base::Time now) {
  return {name(o), text(string_at(o, "driverName")), age(o, now)};
}

// ---- policy and scaling ------------------------------------------------------------------------
json::array disruption_budget(const json::value& o, base::Time now) {
  return {name(o), json::value(plain(find_path(o, "spec", "minAvailable"), "N/A")),
          json::value(plain(find_path(o, "spec", "maxUnavailable"), "N/A")),
          as_int(find_path(o, "status", "disruptionsAllowed")), age(o, now)};
}
json::array resource_quota(const json::value& o, base::Time now) {
  std::vector<std::string> requests, limits;
  std::map<std::string, std::string> hard;
  if (const json::value* map = find_path(o, "status", "hard"); map && map->is_object())
    for (const auto& item : map->get_object()) hard.emplace(item.key(), plain(&item.value(), "0"));
  for (const auto& [resource, amount] : hard) {
    std::string line = resource + ": " + plain(find_path(o, "status", "used", resource), "0") + "/" + amount;
    (resource.starts_with("limits.") ? limits : requests).push_back(std::move(line));
  }
  return {name(o), json::value(joined(requests, ", ")), json::value(joined(limits, ", ")), age(o, now)};
}
json::array priority_class(const json::value& o, base::Time now) {
  return {name(o), as_int(find(o, "value")), as_bool(find(o, "globalDefault")), age(o, now),
          or_else(string_at(o, "preemptionPolicy"), "<none>")};
}
json::array runtime_class(const json::value& o, base::Time now) {
  return {name(o), text(string_at(o, "handler")), age(o, now)};
}

// "cpu: 30%/70%", "120/100 (avg)"
std::string metric_text(const json::value& spec, const json::value* status) {
  std::string type(string_at(spec, "type")), member = type;
  if (member.empty()) return "<unknown type>";
  member[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(member[0])));
  const json::value* wanted = find_path(spec, member, "target");
  const json::value* has =
      status && string_at(*status, "type") == type ? find_path(*status, member, "current") : nullptr;
  auto current = [&](const char* key) { return plain(has ? find(*has, key) : nullptr, "<unknown>"); };
  if (!wanted) return "<unknown type>";
  if (type == "Resource" || type == "ContainerResource") {
    std::string prefix = std::string(string_at(spec, member, "name")) + ": ";
    if (const json::value* value = find(*wanted, "averageValue"))
      return prefix + current("averageValue") + "/" + plain(value, "");
    std::string share = current("averageUtilization");
    return prefix + (share == "<unknown>" ? share : share + "%") + "/" +
           plain(find(*wanted, "averageUtilization"), "<auto>") + "%";
  }
  if (type == "Pods") return current("averageValue") + "/" + plain(find(*wanted, "averageValue"), "");
  if (const json::value* average = find(*wanted, "averageValue"))
    return current("averageValue") + "/" + plain(average, "") + " (avg)";
  return current("value") + "/" + plain(find(*wanted, "value"), "");
}
json::array autoscaler(const json::value& o, base::Time now) {
  const json::array& specs = items(find_path(o, "spec", "metrics"));
  const json::array& statuses = items(find_path(o, "status", "currentMetrics"));
  std::vector<std::string> targets;
  for (size_t i = 0; i < specs.size() && i < 2; ++i)
    targets.push_back(metric_text(specs[i], i < statuses.size() ? &statuses[i] : nullptr));
  std::string shown = targets.empty() ? "<none>" : joined(targets, ", ");
  if (specs.size() > 2) shown += " + " + std::to_string(specs.size() - 2) + " more...";
  return {name(o),
          json::value(std::string(string_at(o, "spec", "scaleTargetRef", "kind")) + "/" +
                      std::string(string_at(o, "spec", "scaleTargetRef", "name"))),
          json::value(shown),
          json::value(plain(find_path(o, "spec", "minReplicas"), "<unset>")),
          as_int(find_path(o, "spec", "maxReplicas")),
          as_int(find_path(o, "status", "currentReplicas")),
          age(o, now)};
}
// autoscaling/v1 has one metric, in fields of its own.
json::array autoscaler_v1(const json::value& o, base::Time now) {
  const json::value *wanted = find_path(o, "spec", "targetCPUUtilizationPercentage"),
                    *has = find_path(o, "status", "currentCPUUtilizationPercentage");
  std::string shown = wanted ? "cpu: " + (has ? plain(has, "") + "%" : std::string("<unknown>")) + "/" +
                                   plain(wanted, "") + "%"
                             : "<none>";
  json::array cells = autoscaler(o, now);
  cells[2] = json::value(shown);
  return cells;
}

// ---- who may do what ----------------------------------------------------------------------------
json::array role_binding(const json::value& o, base::Time now) {
  std::vector<std::string> users, groups, accounts;
  for (const json::value& subject : items(find(o, "subjects"))) {
    std::string_view kind = string_at(subject, "kind"), who = string_at(subject, "name"),
                     ns = string_at(subject, "namespace");
    if (kind == "User") users.emplace_back(who);
    else if (kind == "Group") groups.emplace_back(who);
    else if (kind == "ServiceAccount") accounts.push_back(std::string(ns) + "/" + std::string(who));
  }
  return {name(o),
          json::value(std::string(string_at(o, "roleRef", "kind")) + "/" +
                      std::string(string_at(o, "roleRef", "name"))),
          age(o, now),
          json::value(joined(users, ", ")),
          json::value(joined(groups, ", ")),
          json::value(joined(accounts, ", "))};
}
json::array signing_request(const json::value& o, base::Time now) {
  std::string duration = "<none>", state;
  if (const json::value* seconds = find_path(o, "spec", "expirationSeconds"))
    duration = human_duration(std::chrono::seconds(as_int(seconds)));
  bool approved = false, denied = false, failed = false;
  for (const json::value& c : items(find_path(o, "status", "conditions"))) {
    approved |= string_at(c, "type") == "Approved";
    denied |= string_at(c, "type") == "Denied";
    failed |= string_at(c, "type") == "Failed";
  }
  state = denied ? "Denied" : approved ? "Approved" : "Pending";
  if (failed) state += ",Failed";
  if (!string_at(o, "status", "certificate").empty()) state += ",Issued";
  return {name(o),
          age(o, now),
          text(string_at(o, "spec", "signerName")),
          text(string_at(o, "spec", "username")),
          json::value(duration),
          json::value(state)};
}
json::array api_service(const json::value& o, base::Time now) {
  std::string service = "Local", available = "Unknown";
  if (const json::value* at = find_path(o, "spec", "service"); at && at->is_object())
    service = std::string(string_at(*at, "namespace")) + "/" + std::string(string_at(*at, "name"));
  for (const json::value& c : items(find_path(o, "status", "conditions"))) {
    if (string_at(c, "type") != "Available") continue;
    available = string_at(c, "status");
    if (available != "True") available += " (" + std::string(string_at(c, "reason")) + ")";
  }
  return {name(o), json::value(service), json::value(available), age(o, now)};
}

// ---- the server itself -------------------------------------------------------------------------
json::array webhooks(const json::value& o, base::Time now) {
  return {name(o), count(find(o, "webhooks")), age(o, now)};
}
std::string param_kind(const json::value& o) {
  const json::value* kind = find_path(o, "spec", "paramKind");
  return kind && kind->is_object()
             ? std::string(string_at(*kind, "apiVersion")) + "/" + std::string(string_at(*kind, "kind"))
             : "<unset>";
}
json::array validating_policy(const json::value& o, base::Time now) {
  return {name(o), count(find_path(o, "spec", "validations")), json::value(param_kind(o)), age(o, now)};
}
json::array mutating_policy(const json::value& o, base::Time now) {
  return {name(o), count(find_path(o, "spec", "mutations")), json::value(param_kind(o)), age(o, now)};
}
json::array policy_binding(const json::value& o, base::Time now) {
  std::string_view ns = string_at(o, "spec", "paramRef", "namespace"),
                   ref = string_at(o, "spec", "paramRef", "name");
  std::string shown = find_path(o, "spec", "paramRef")
                          ? (ns.empty() ? "*" : std::string(ns)) + "/" + std::string(ref)
                          : "<unset>";
  return {name(o), text(string_at(o, "spec", "policyName")), json::value(shown), age(o, now)};
}
json::array flow_schema(const json::value& o, base::Time now) {
  std::string_view dangling = "?";
  for (const json::value& c : items(find_path(o, "status", "conditions")))
    if (string_at(c, "type") == "Dangling") dangling = string_at(c, "status");
  return {name(o),
          or_else(string_at(o, "spec", "priorityLevelConfiguration", "name"), "<none>"),
          as_int(find_path(o, "spec", "matchingPrecedence")),
          or_else(string_at(o, "spec", "distinguisherMethod", "type"), "<none>"),
          age(o, now),
          text(dangling)};
}
json::array priority_level(const json::value& o, base::Time now) {
  const json::value* queuing = find_path(o, "spec", "limited", "limitResponse", "queuing");
  auto queue = [&](const char* key) {
    return json::value(plain(queuing ? find(*queuing, key) : nullptr, "<none>"));
  };
  return {name(o),
          text(string_at(o, "spec", "type")),
          json::value(plain(find_path(o, "spec", "limited", "nominalConcurrencyShares"), "<none>")),
          queue("queues"),
          queue("handSize"),
          queue("queueLengthLimit"),
          age(o, now)};
}
json::array component_status(const json::value& o, base::Time) {
  std::string_view status = "Unknown", message, error;
  for (const json::value& c : items(find(o, "conditions"))) {
    if (string_at(c, "type") != "Healthy") continue;
    status = string_at(c, "status") == "True" ? "Healthy" : "Unhealthy";
    message = string_at(c, "message");
    error = string_at(c, "error");
  }
  return {name(o), text(status), text(message), text(error)};
}

// ---- devices -----------------------------------------------------------------------------------
json::array resource_claim(const json::value& o, base::Time now) {
  std::vector<std::string> states;
  if (deleting(o)) states.push_back("deleted");
  if (find_path(o, "status", "allocation")) {
    states.push_back("allocated");
    if (count(find_path(o, "status", "reservedFor"))) states.push_back("reserved");
  } else if (!deleting(o)) {
    states.push_back("pending");
  }
  return {name(o), json::value(joined(states, ",")), age(o, now)};
}
json::array resource_slice(const json::value& o, base::Time now) {
  return {name(o), or_else(string_at(o, "spec", "nodeName"), "<unset>"), text(string_at(o, "spec", "driver")),
          text(string_at(o, "spec", "pool", "name")), age(o, now)};
}
json::array name_and_age(const json::value& o, base::Time now) { return {name(o), age(o, now)}; }

}  // namespace

const std::map<std::string_view, Kind>& more_kinds() {
  constexpr Column kContainers{"Containers", "string", 1, "Names of the template's containers."},
      kImages{"Images", "string", 1, "Images of the template's containers."},
      kSelector{"Selector", "string", 1, "Which Pods belong to it."};
  auto words = [](const char* head, const char* doc) { return Column{head, "string", 0, doc}; };
  auto number = [](const char* head, const char* doc) { return Column{head, "integer", 0, doc}; };
  auto yes_no = [](const char* head, const char* doc) { return Column{head, "boolean", 0, doc}; };
  static const std::vector<Column> kScale = {kName,
                                             words("Reference", "What is scaled."),
                                             words("Targets", "Metrics, as they are and as they should be."),
                                             words("MinPods", "Lower bound."),
                                             number("MaxPods", "Upper bound."),
                                             number("Replicas", "Pods there are."),
                                             kAge};
  static const std::vector<Column> kHooks = {kName, number("Webhooks", "How many webhooks it lists."), kAge};
  static const std::vector<Column> kBinding = {kName, words("PolicyName", "The policy."),
                                               words("ParamRef", "The policy's parameters."), kAge};
  static const std::vector<Column> kRoleBinding = {
      kName,
      words("Role", "The role that is given."),
      kAge,
      {"Users", "string", 1, "Users it is given to."},
      {"Groups", "string", 1, "Groups it is given to."},
      {"ServiceAccounts", "string", 1, "Accounts it is given to."}};
  static const std::map<std::string_view, Kind> all = {
      {"apiregistration.k8s.io/v1/APIService",
       {{kName, words("Service", "Who serves it."), words("Available", "Whether it answers."), kAge},
        api_service}},
      {"certificates.k8s.io/v1/CertificateSigningRequest",
       {{kName, kAge, words("SignerName", "Who shall sign."), words("Requestor", "Who asked."),
         words("RequestedDuration", "For how long."), words("Condition", "How far it is.")},
        signing_request}},
      {"rbac.authorization.k8s.io/v1/ClusterRoleBinding", {kRoleBinding, role_binding}},
      {"rbac.authorization.k8s.io/v1/RoleBinding", {kRoleBinding, role_binding}},
      {"v1/ComponentStatus",
       {{kName, words("Status", "Whether it works."), words("Message", "What it said."),
         words("Error", "What went wrong.")},
        component_status}},
      {"v1/PersistentVolume",
       {{kName,
         words("Capacity", "Its size."),
         words("Access Modes", "RWO, ROX, RWX, RWOP."),
         words("Reclaim Policy", "What becomes of it when its claim goes."),
         words("Status", "Where it is in its life."),
         words("Claim", "The claim it is bound to."),
         words("StorageClass", "Its class."),
         words("VolumeAttributesClass", "Its class of attributes."),
         words("Reason", "Why it is in this state."),
         kAge,
         {"VolumeMode", "string", 1, "Filesystem or Block."}},
        persistent_volume}},
      {"v1/PersistentVolumeClaim",
       {{kName,
         words("Status", "Where it is in its life."),
         words("Volume", "The volume it is bound to."),
         words("Capacity", "Size of that volume."),
         words("Access Modes", "RWO, ROX, RWX, RWOP."),
         words("StorageClass", "Its class."),
         words("VolumeAttributesClass", "Its class of attributes."),
         kAge,
         {"VolumeMode", "string", 1, "Filesystem or Block."}},
        persistent_volume_claim}},
      {"v1/PodTemplate",
       {{kName, words("Containers", "Names of its containers."), words("Images", "Images of its containers."),
         words("Pod Labels", "Labels of its Pods.")},
        pod_template}},
      {"v1/ResourceQuota",
       {{kName, words("Request", "Used and allowed."), words("Limit", "Used and allowed, of limits."), kAge},
        resource_quota}},
      {"metrics.k8s.io/v1beta1/NodeMetrics",
       {{kName, words("cpu", "CPU used."), words("memory", "Memory of the working set."),
         words("Window", "How long was measured.")},
        node_metrics}},
      {"metrics.k8s.io/v1beta1/PodMetrics",
       {{kName, words("cpu", "CPU used, of all containers."),
         words("memory", "Memory of the working set, of all containers."),
         words("Window", "How long was measured.")},
        pod_metrics}},
      {"apps/v1/ControllerRevision",
       {{kName, words("Controller", "Whose revision it is."), number("Revision", "Its number."), kAge},
        controller_revision}},
      {"apps/v1/DaemonSet",
       {{kName, number("Desired", "Nodes that should run it."), number("Current", "Nodes that run it."),
         number("Ready", "Nodes where it is ready."), number("Up-to-date", "Nodes with the newest template."),
         number("Available", "Nodes where it is available."), words("Node Selector", "Which nodes."), kAge,
         kContainers, kImages, kSelector},
        daemon_set}},
      {"apps/v1/StatefulSet",
       {{kName, words("Ready", "Ready Pods of those wanted."), kAge, kContainers, kImages}, stateful_set}},
      {"autoscaling/v1/HorizontalPodAutoscaler", {kScale, autoscaler_v1}},
      {"autoscaling/v2/HorizontalPodAutoscaler", {kScale, autoscaler}},
      {"batch/v1/CronJob",
       {{kName, words("Schedule", "When, in cron's form."), words("Timezone", "In which time zone."),
         yes_no("Suspend", "Whether it is held."), number("Active", "Jobs that run now."),
         words("Last Schedule", "When it last started one."), kAge, kContainers, kImages, kSelector},
        cron_job}},
      {"batch/v1/Job",
       {{kName, words("Status", "Running, Complete, Failed and the like."),
         words("Completions", "Done of those wanted."), words("Duration", "How long it took or has taken."),
         kAge, kContainers, kImages, kSelector},
        job}},
      {"networking.k8s.io/v1/Ingress",
       {{kName, words("Class", "Which controller serves it."), words("Hosts", "Names it answers to."),
         words("Address", "Where it is reached."), words("Ports", "80, and 443 with TLS."), kAge},
        ingress}},
      {"networking.k8s.io/v1/IngressClass",
       {{kName, words("Controller", "Who serves this class."), words("Parameters", "Its settings."), kAge},
        ingress_class}},
      {"networking.k8s.io/v1/IPAddress",
       {{kName, words("ParentRef", "Whose address it is."), kAge}, ip_address}},
      {"networking.k8s.io/v1/NetworkPolicy",
       {{kName, words("Pod-Selector", "Pods it isolates."), kAge}, network_policy}},
      {"networking.k8s.io/v1/ServiceCIDR",
       {{kName, words("CIDRs", "Ranges of cluster IPs."), kAge}, service_cidr}},
      {"policy/v1/PodDisruptionBudget",
       {{kName, words("Min Available", "Pods that must stay."), words("Max Unavailable", "Pods that may go."),
         number("Allowed Disruptions", "Pods that may go now."), kAge},
        disruption_budget}},
      {"storage.k8s.io/v1/CSIDriver",
       {{kName, yes_no("AttachRequired", "Whether volumes are attached first."),
         yes_no("PodInfoOnMount", "Whether it is told about the Pod."),
         yes_no("StorageCapacity", "Whether it tells its capacity."),
         words("TokenRequests", "Audiences of tokens it gets."),
         yes_no("RequiresRepublish", "Whether it is called again and again."),
         words("Modes", "Lives its volumes may have."), kAge},
        csi_driver}},
      {"storage.k8s.io/v1/CSINode", {{kName, number("Drivers", "CSI drivers on the node."), kAge}, csi_node}},
      {"storage.k8s.io/v1/CSIStorageCapacity",
       {{kName, words("StorageClassName", "For volumes of this class."),
         words("Capacity", "How much is there.")},
        csi_storage_capacity}},
      {"storage.k8s.io/v1/StorageClass",
       {{kName, words("Provisioner", "Who makes its volumes."),
         words("ReclaimPolicy", "What becomes of a volume when its claim goes."),
         words("VolumeBindingMode", "When a volume is chosen."),
         yes_no("AllowVolumeExpansion", "Whether volumes may grow."), kAge},
        storage_class}},
      {"storage.k8s.io/v1/VolumeAttachment",
       {{kName, words("Attacher", "Who attaches."), words("PV", "Which volume."),
         words("Node", "To which node."), yes_no("Attached", "Whether it is done."), kAge},
        volume_attachment}},
      {"storage.k8s.io/v1/VolumeAttributesClass",
       {{kName, words("DriverName", "Driver it is for."), kAge}, volume_attributes_class}},
      {"admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
       {{kName, number("Mutations", "How many changes it makes."),
         words("ParamKind", "Kind of its parameters."), kAge},
        mutating_policy}},
      {"admissionregistration.k8s.io/v1/MutatingAdmissionPolicyBinding", {kBinding, policy_binding}},
      {"admissionregistration.k8s.io/v1/MutatingWebhookConfiguration", {kHooks, webhooks}},
      {"admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
       {{kName, number("Validations", "How many rules it has."),
         words("ParamKind", "Kind of its parameters."), kAge},
        validating_policy}},
      {"admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding", {kBinding, policy_binding}},
      {"admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration", {kHooks, webhooks}},
      {"scheduling.k8s.io/v1/PriorityClass",
       {{kName, number("Value", "How important."),
         yes_no("Global-Default", "Whether Pods without a class get it."), kAge,
         words("PreemptionPolicy", "Whether others make room.")},
        priority_class}},
      {"node.k8s.io/v1/RuntimeClass",
       {{kName, words("Handler", "Its configuration on the nodes."), kAge}, runtime_class}},
      {"resource.k8s.io/v1/DeviceClass", {{kName, kAge}, name_and_age}},
      {"resource.k8s.io/v1/ResourceClaim",
       {{kName, words("State", "pending, allocated, reserved, deleted."), kAge}, resource_claim}},
      {"resource.k8s.io/v1/ResourceClaimTemplate", {{kName, kAge}, name_and_age}},
      {"resource.k8s.io/v1/ResourceSlice",
       {{kName, words("Node", "Where the devices are."), words("Driver", "Who manages them."),
         words("Pool", "Their pool."), kAge},
        resource_slice}},
      {"flowcontrol.apiserver.k8s.io/v1/FlowSchema",
       {{kName, words("PriorityLevel", "Level of matching requests."),
         number("MatchingPrecedence", "The lowest that matches counts."),
         words("DistinguisherMethod", "What makes flows of it."), kAge,
         words("MissingPL", "Whether that level is absent.")},
        flow_schema}},
      {"flowcontrol.apiserver.k8s.io/v1/PriorityLevelConfiguration",
       {{kName, words("Type", "Limited or Exempt."),
         words("NominalConcurrencyShares", "Share of the server."), words("Queues", "How many queues."),
         words("HandSize", "Queues a flow may use."), words("QueueLengthLimit", "Requests a queue holds."),
         kAge},
        priority_level}},
  };
  return all;
}

}  // namespace api::table
