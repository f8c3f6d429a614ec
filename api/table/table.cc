#include "api/table/table.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "api/table/cells.h"
#include "base/json_lists.h"

namespace api {
namespace {

using base::as_int;
using base::find_path;
using base::list_at;
using base::string_at;
using table::Column;
using table::joined;
using table::kAge;
using table::kName;

// A time of the wall clock that no row is shown at: open_cells() passes it on to the kinds' cells.
constexpr base::Time kWhenShown = base::Time::max();
constexpr char kOpen = '\xff';  // around the time of an open age; no JSON text holds such a byte

json::value text(std::string_view value) { return json::value(value); }
json::value or_none(std::string_view value) {
  return json::value(value.empty() ? std::string_view("<none>") : value);
}
json::value name_of(const json::value& o) { return text(string_at(o, "metadata", "name")); }
json::value age_of(const json::value& o, base::Time now) {
  return json::value(human_age(string_at(o, "metadata", "creationTimestamp"), now));
}
size_t count_at(const json::value& object, const char* name) {
  const json::value* value = base::find(object, name);
  if (!value) return 0;
  if (const auto* list = value->if_array()) return list->size();
  if (const auto* map = value->if_object()) return map->size();
  return 0;
}

// ---- workloads ---------------------------------------------------------------------------------
void containers_and_images(const json::value& object, json::array& cells) {
  std::vector<std::string> names, images;
  for (const json::value& c : list_at(find_path(object, "spec", "template", "spec", "containers"))) {
    names.emplace_back(string_at(c, "name"));
    images.emplace_back(string_at(c, "image"));
  }
  cells.push_back(json::value(joined(names, ",")));
  cells.push_back(json::value(joined(images, ",")));
}
json::array replica_cells(const json::value& o, base::Time now, std::string selector) {
  json::array cells{name_of(o), as_int(find_path(o, "spec", "replicas")),
                    as_int(find_path(o, "status", "replicas")),
                    as_int(find_path(o, "status", "readyReplicas")), age_of(o, now)};
  containers_and_images(o, cells);
  cells.push_back(json::value(std::move(selector)));
  return cells;
}
json::array replication_controller(const json::value& o, base::Time now) {
  return replica_cells(o, now, table::labels_text(find_path(o, "spec", "selector")));
}
json::array replica_set(const json::value& o, base::Time now) {
  return replica_cells(o, now, table::selector_text(find_path(o, "spec", "selector")));
}
json::array deployment(const json::value& o, base::Time now) {
  json::array cells{name_of(o),
                    json::value(std::to_string(as_int(find_path(o, "status", "readyReplicas"))) + "/" +
                                std::to_string(as_int(find_path(o, "spec", "replicas")))),
                    as_int(find_path(o, "status", "updatedReplicas")),
                    as_int(find_path(o, "status", "availableReplicas")), age_of(o, now)};
  containers_and_images(o, cells);
  cells.push_back(json::value(table::selector_text(find_path(o, "spec", "selector"))));
  return cells;
}

// ---- services ----------------------------------------------------------------------------------
json::array service(const json::value& o, base::Time now) {
  std::string type(string_at(o, "spec", "type")), external;
  std::vector<std::string> ips, ports;
  for (const json::value& ip : list_at(find_path(o, "spec", "externalIPs")))
    ips.emplace_back(base::as_string(&ip));
  if (type == "ExternalName") {
    external = string_at(o, "spec", "externalName");
  } else if (type == "LoadBalancer") {
    std::vector<std::string> ingress;
    for (const json::value& one : list_at(find_path(o, "status", "loadBalancer", "ingress"))) {
      std::string_view ip = string_at(one, "ip");
      ingress.emplace_back(ip.empty() ? string_at(one, "hostname") : ip);
    }
    ingress.insert(ingress.end(), ips.begin(), ips.end());
    external = ingress.empty() ? "<pending>" : joined(ingress, ",");
  } else {
    external = ips.empty() ? "<none>" : joined(ips, ",");
  }
  for (const json::value& port : list_at(find_path(o, "spec", "ports"))) {
    std::string one = std::to_string(as_int(base::find(port, "port")));
    if (int64_t node_port = as_int(base::find(port, "nodePort"))) one += ":" + std::to_string(node_port);
    ports.push_back(one + "/" + std::string(string_at(port, "protocol")));
  }
  return {name_of(o),
          text(type),
          or_none(string_at(o, "spec", "clusterIP")),
          json::value(external),
          or_none(joined(ports, ",")),
          age_of(o, now),
          json::value(table::labels_text(find_path(o, "spec", "selector")))};
}
json::array endpoints(const json::value& o, base::Time now) {
  std::vector<std::string> all;
  for (const json::value& subset : list_at(base::find(o, "subsets"))) {
    const json::array& addresses = list_at(base::find(subset, "addresses"));
    const json::array& ports = list_at(base::find(subset, "ports"));
    if (ports.empty())
      for (const json::value& address : addresses) all.emplace_back(string_at(address, "ip"));
    for (const json::value& port : ports)
      for (const json::value& address : addresses) {
        std::string ip(string_at(address, "ip"));
        if (ip.find(':') != std::string::npos) ip = "[" + ip + "]";
        all.push_back(ip + ":" + std::to_string(as_int(base::find(port, "port"))));
      }
  }
  return {name_of(o), json::value(table::first_three(all, "<none>")), age_of(o, now)};
}
json::array endpoint_slice(const json::value& o, base::Time now) {
  std::vector<std::string> ports, addresses;
  for (const json::value& port : list_at(base::find(o, "ports"))) {
    const json::value* number = base::find(port, "port");
    std::string_view name = string_at(port, "name");
    ports.push_back(number ? std::to_string(as_int(number)) : name.empty() ? "*" : std::string(name));
  }
  for (const json::value& endpoint : list_at(base::find(o, "endpoints")))
    for (const json::value& address : list_at(base::find(endpoint, "addresses")))
      addresses.emplace_back(base::as_string(&address));
  return {name_of(o), text(string_at(o, "addressType")), json::value(table::first_three(ports, "<unset>")),
          json::value(table::first_three(addresses, "<unset>")), age_of(o, now)};
}

// ---- the rest ----------------------------------------------------------------------------------
json::array node(const json::value& o, base::Time now) {
  std::string status = "Unknown", internal = "<none>", external = "<none>";
  for (const json::value& condition : list_at(find_path(o, "status", "conditions")))
    if (string_at(condition, "type") == "Ready")
      status = string_at(condition, "status") == "True" ? "Ready" : "NotReady";
  if (base::as_bool(find_path(o, "spec", "unschedulable"))) status += ",SchedulingDisabled";
  std::vector<std::string> roles;
  if (const json::value* labels = find_path(o, "metadata", "labels"); labels && labels->is_object())
    for (const auto& item : labels->get_object()) {
      std::string_view key(item.key().data(), item.key().size());
      if (key.starts_with("node-role.kubernetes.io/") && key.size() > 24) roles.emplace_back(key.substr(24));
      else if (key == "kubernetes.io/role" && !base::as_string(&item.value()).empty())
        roles.emplace_back(base::as_string(&item.value()));
    }
  std::sort(roles.begin(), roles.end());
  for (const json::value& address : list_at(find_path(o, "status", "addresses"))) {
    if (string_at(address, "type") == "InternalIP" && internal == "<none>")
      internal = string_at(address, "address");
    if (string_at(address, "type") == "ExternalIP" && external == "<none>")
      external = string_at(address, "address");
  }
  auto info = [&](const char* name) {
    std::string_view value = string_at(o, "status", "nodeInfo", name);
    return json::value(value.empty() ? std::string_view("<unknown>") : value);
  };
  return {name_of(o),
          json::value(status),
          or_none(joined(roles, ",")),
          age_of(o, now),
          text(string_at(o, "status", "nodeInfo", "kubeletVersion")),
          json::value(internal),
          json::value(external),
          info("osImage"),
          info("kernelVersion"),
          info("containerRuntimeVersion")};
}
json::array name_space(const json::value& o, base::Time now) {
  return {name_of(o), text(string_at(o, "status", "phase")), age_of(o, now)};
}
json::array config_map(const json::value& o, base::Time now) {
  return {name_of(o), static_cast<int64_t>(count_at(o, "data") + count_at(o, "binaryData")), age_of(o, now)};
}
json::array secret(const json::value& o, base::Time now) {
  return {name_of(o), text(string_at(o, "type")), static_cast<int64_t>(count_at(o, "data")), age_of(o, now)};
}
json::array service_account(const json::value& o, base::Time now) {
  return {name_of(o), static_cast<int64_t>(count_at(o, "secrets")), age_of(o, now)};
}
json::array lease(const json::value& o, base::Time now) {
  return {name_of(o), text(string_at(o, "spec", "holderIdentity")), age_of(o, now)};
}

json::array event(const json::value& o, base::Time now) {
  std::string_view first = string_at(o, "firstTimestamp"), last = string_at(o, "lastTimestamp");
  int64_t count = std::max<int64_t>(as_int(base::find(o, "count")), 1);
  if (first.empty()) first = string_at(o, "eventTime");
  if (last.empty()) last = first;
  if (const json::value* series = base::find(o, "series"); series && series->is_object()) {
    last = string_at(*series, "lastObservedTime");
    count = as_int(base::find(*series, "count"));
  }
  std::string object(string_at(o, "involvedObject", "kind"));
  std::transform(object.begin(), object.end(), object.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (std::string_view name = string_at(o, "involvedObject", "name"); !name.empty())
    object += "/" + std::string(name);
  std::string source(string_at(o, "source", "component")), host(string_at(o, "source", "host"));
  if (source.empty()) source = string_at(o, "reportingComponent"), host = string_at(o, "reportingInstance");
  if (!host.empty()) source += ", " + host;
  std::string message(string_at(o, "message"));
  while (!message.empty() && std::isspace(static_cast<unsigned char>(message.back()))) message.pop_back();
  return {json::value(human_age(last, now)),
          text(string_at(o, "type")),
          text(string_at(o, "reason")),
          json::value(object),
          text(string_at(o, "involvedObject", "fieldPath")),
          json::value(source),
          json::value(message),
          json::value(human_age(first, now)),
          count,
          name_of(o)};
}

// events.k8s.io/v1: the same under other names.
json::array new_event(const json::value& o, base::Time now) {
  json::object core = o.get_object();
  for (const auto& [from, to] : {std::pair<const char*, const char*>{"regarding", "involvedObject"},
                                 {"note", "message"},
                                 {"deprecatedSource", "source"},
                                 {"deprecatedFirstTimestamp", "firstTimestamp"},
                                 {"deprecatedLastTimestamp", "lastTimestamp"},
                                 {"deprecatedCount", "count"},
                                 {"reportingController", "reportingComponent"}})
    if (const json::value* value = base::find(o, from)) core[to] = *value;
  return event(core, now);
}

const std::map<std::string_view, table::Kind>& kinds() {
  static const Column kData{"Data", "string", 0, "Number of entries."};
  static const Column kContainers{"Containers", "string", 1, "Names of the template's containers."},
      kImages{"Images", "string", 1, "Images of the template's containers."},
      kSelector{"Selector", "string", 1, "Which Pods belong to it."},
      kDesired{"Desired", "integer", 0, "How many Pods there should be."},
      kCurrent{"Current", "integer", 0, "How many Pods there are."},
      kReadyCount{"Ready", "integer", 0, "How many Pods are ready."};
  static const std::vector<Column> kReplicas = {kName, kDesired,    kCurrent, kReadyCount,
                                                kAge,  kContainers, kImages,  kSelector};
  static const std::vector<Column> kEvents = {{"Last Seen", "string", 0, "When it last happened."},
                                              {"Type", "string", 0, "Normal or Warning."},
                                              {"Reason", "string", 0, "One word on why."},
                                              {"Object", "string", 0, "What it is about."},
                                              {"Subobject", "string", 1, "Which part of the object."},
                                              {"Source", "string", 1, "Who reported it."},
                                              {"Message", "string", 0, "What happened."},
                                              {"First Seen", "string", 1, "When it first happened."},
                                              {"Count", "integer", 1, "How often it happened."},
                                              {"Name", "string", 1, "Name of the Event."}};
  static const std::map<std::string_view, table::Kind> all = {
      {"v1/Pod",
       {{kName,
         {"Ready", "string", 0, "Ready containers of all containers."},
         {"Status", "string", 0, "Phase, or the reason why the Pod is not simply running."},
         {"Restarts", "string", 0, "Restarts of containers, and when the last one was."},
         kAge,
         {"IP", "string", 1, "Address of the Pod."},
         {"Node", "string", 1, "Node it runs on."},
         {"Nominated Node", "string", 1, "Node being made free for it."},
         {"Readiness Gates", "string", 1, "Gates that hold, of all."}},
        table::pod_cells}},
      {"v1/ReplicationController", {kReplicas, replication_controller}},
      {"apps/v1/ReplicaSet", {kReplicas, replica_set}},
      {"apps/v1/Deployment",
       {{kName,
         {"Ready", "string", 0, "Ready Pods of those wanted."},
         {"Up-to-date", "integer", 0, "Pods of the newest template."},
         {"Available", "integer", 0, "Pods ready for at least minReadySeconds."},
         kAge,
         kContainers,
         kImages,
         kSelector},
        deployment}},
      {"v1/Service",
       {{kName,
         {"Type", "string", 0, "How it is reached."},
         {"Cluster-IP", "string", 0, "Its virtual address."},
         {"External-IP", "string", 0, "Addresses from outside."},
         {"Port(s)", "string", 0, "port[:nodePort]/protocol."},
         kAge,
         kSelector},
        service}},
      {"v1/Endpoints",
       {{kName, {"Endpoints", "string", 0, "Ready addresses behind the Service."}, kAge}, endpoints}},
      {"discovery.k8s.io/v1/EndpointSlice",
       {{kName,
         {"AddressType", "string", 0, "IPv4, IPv6 or FQDN."},
         {"Ports", "string", 0, "Ports of the endpoints."},
         {"Endpoints", "string", 0, "Addresses of the endpoints."},
         kAge},
        endpoint_slice}},
      {"v1/Node",
       {{kName,
         {"Status", "string", 0, "Whether it takes Pods."},
         {"Roles", "string", 0, "From its node-role labels."},
         kAge,
         {"Version", "string", 0, "Of its kubelet."},
         {"Internal-IP", "string", 1, "Address within the cluster."},
         {"External-IP", "string", 1, "Address from outside."},
         {"OS-Image", "string", 1, "Its operating system."},
         {"Kernel-Version", "string", 1, "Its kernel."},
         {"Container-Runtime", "string", 1, "What runs its containers."}},
        node}},
      {"v1/Namespace", {{kName, {"Status", "string", 0, "Active or Terminating."}, kAge}, name_space}},
      {"v1/ConfigMap", {{kName, kData, kAge}, config_map}},
      {"v1/Secret", {{kName, {"Type", "string", 0, "What its data means."}, kData, kAge}, secret}},
      {"v1/ServiceAccount",
       {{kName, {"Secrets", "string", 0, "Number of secrets listed."}, kAge}, service_account}},
      {"v1/Event", {kEvents, event}},
      {"events.k8s.io/v1/Event", {kEvents, new_event}},
      {"coordination.k8s.io/v1/Lease", {{kName, {"Holder", "string", 0, "Who holds it."}, kAge}, lease}}};
  return all;
}

const table::Kind* find_kind_of_table(std::string_view gvk) {
  for (const auto* all : {&kinds(), &table::more_kinds()})
    if (auto it = all->find(gvk); it != all->end()) return &it->second;
  return nullptr;
}

}  // namespace

namespace table {

std::string joined(const std::vector<std::string>& list, const char* between) {
  std::string out;
  for (const auto& item : list) out += (out.empty() ? "" : between) + item;
  return out;
}
std::string first_three(const std::vector<std::string>& list, const char* none) {
  if (list.empty()) return none;
  if (list.size() <= 3) return joined(list, ",");
  return joined({list.begin(), list.begin() + 3}, ",") + " + " + std::to_string(list.size() - 3) + " more...";
}
std::string labels_text(const json::value* labels) {
  std::vector<std::string> list;
  if (labels && labels->is_object())
    for (const auto& item : labels->get_object())
      list.push_back(std::string(item.key()) + "=" + std::string(base::as_string(&item.value())));
  std::sort(list.begin(), list.end());
  return list.empty() ? "<none>" : joined(list, ",");
}
std::string selector_text(const json::value* selector) {
  if (!selector || !selector->is_object()) return "<none>";
  std::string out;
  const json::value* labels = base::find(*selector, "matchLabels");
  if (labels && labels->is_object() && !labels->get_object().empty()) out = labels_text(labels);
  for (const json::value& e : list_at(base::find(*selector, "matchExpressions"))) {
    std::string key(string_at(e, "key")), op(string_at(e, "operator"));
    std::vector<std::string> values;
    for (const json::value& value : list_at(base::find(e, "values")))
      values.emplace_back(base::as_string(&value));
    if (!out.empty()) out += ",";
    if (op == "Exists") out += key;
    else if (op == "DoesNotExist") out += "!" + key;
    else out += key + (op == "NotIn" ? " notin (" : " in (") + joined(values, ",") + ")";
  }
  return out.empty() ? "<none>" : out;
}

}  // namespace table

std::string human_duration(base::Duration age) {
  int64_t s = std::chrono::duration_cast<std::chrono::seconds>(age).count();
  auto two = [](int64_t big, char big_unit, int64_t small, char small_unit) {
    std::string out = std::to_string(big) + big_unit;
    return small ? out + std::to_string(small) + small_unit : out;
  };
  int64_t m = s / 60, h = s / 3600, d = h / 24;
  if (s < -1) return "<invalid>";
  if (s < 0) return "0s";
  if (s < 120) return std::to_string(s) + "s";
  if (m < 10) return two(m, 'm', s % 60, 's');
  if (m < 180) return std::to_string(m) + "m";
  if (h < 8) return two(h, 'h', m % 60, 'm');
  if (h < 48) return std::to_string(h) + "h";
  if (h < 24 * 8) return two(d, 'd', h % 24, 'h');
  if (h < 24 * 365 * 2) return std::to_string(d) + "d";
  if (h < 24 * 365 * 8) return two(d / 365, 'y', d % 365, 'd');
  return std::to_string(d / 365) + "y";
}
std::string human_age(std::string_view timestamp, base::Time now) {
  auto time = base::parse_time(timestamp);
  if (!time) return "<unknown>";
  if (now != kWhenShown) return human_duration(now - *time);
  return kOpen + std::to_string(time->time_since_epoch().count()) + kOpen;
}

std::string open_cells(std::string_view gvk, const json::value& object) {
  return json::serialize(table_cells(gvk, object, kWhenShown));
}
void append_cells(std::string& out, std::string_view open, base::Time now) {
  while (true) {
    size_t begin = open.find(kOpen);
    out += open.substr(0, begin);
    if (begin == open.npos) return;
    open.remove_prefix(begin + 1);
    base::Time::rep count = 0;
    std::from_chars(open.data(), open.data() + open.size(), count);
    out += human_duration(now - base::Time(base::Time::duration(count)));
    open.remove_prefix(open.find(kOpen) + 1);
  }
}

json::array table_columns(std::string_view gvk) {
  static const table::Kind kOther = {{kName, {"Created At", "date", 0, "When the object was created."}},
                                     nullptr};
  const table::Kind* kind = find_kind_of_table(gvk);
  json::array out;
  for (const Column& column : (kind ? *kind : kOther).columns)
    out.push_back(json::object{
        {"name", column.name},
        {"type", column.type},
        {"format", std::string_view(column.name) == "Name" && column.priority == 0 ? "name" : ""},
        {"description", column.doc},
        {"priority", column.priority}});
  return out;
}
json::array table_cells(std::string_view gvk, const json::value& object, base::Time now) {
  if (const table::Kind* kind = find_kind_of_table(gvk)) return kind->cells(object, now);
  return {name_of(object), text(string_at(object, "metadata", "creationTimestamp"))};
}

}  // namespace api
