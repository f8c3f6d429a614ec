#include "master/controllers/endpoints_plan.h"

#include <set>

namespace master::controllers {
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

namespace {
constexpr const char* kHeadless = "service.kubernetes.io/headless";

bool is_ipv6(std::string_view ip) { return ip.find(':') != ip.npos; }

json::object labels_of(const Service& service,
                       std::initializer_list<std::pair<const char*, std::string>> more) {
  json::object labels;
  for (const auto& [key, value] : service.labels)
    if (key != kHeadless) labels[key] = value;
  if (service.headless) labels[kHeadless] = "";
  for (const auto& [key, value] : more) labels[key] = value;
  return labels;
}
json::object target_ref(const Pod& pod) {
  return {{"kind", "Pod"}, {"namespace", pod.meta.ns}, {"name", pod.meta.name}, {"uid", pod.meta.uid}};
}
// The Service's ports as this Pod serves them; a named target that the Pod lacks is left out.
json::array ports_for(const Service& service, const Pod& pod) {
  json::array ports;
  for (const ServicePort& port : service.ports) {
    int number = port.target;
    if (!port.target_name.empty()) {
      number = 0;
      for (const NamedPort& named : pod.shape->ports)
        if (named.name == port.target_name && named.protocol == port.protocol) {
          number = named.port;
          break;
        }
      if (number == 0) continue;
    }
    json::object out{{"name", port.name}, {"port", number}, {"protocol", port.protocol}};
    if (!port.app_protocol.empty()) out["appProtocol"] = port.app_protocol;
    ports.push_back(std::move(out));
  }
  return ports;
}
std::string address_of(const Pod& pod, bool ipv6) {
  for (const std::string& ip : pod.ips)
    if (is_ipv6(ip) == ipv6) return ip;
  return {};
}
// A Pod that will not run again has no place even among the unready.
bool may_serve(const Pod& pod) {
  if (pod.shape->restart_policy == "Never") return !pod.finished();
  if (pod.shape->restart_policy == "OnFailure") return pod.phase != "Succeeded";
  return true;
}
// Headless Services without ports still list addresses.
bool wanted(const Service& service, const json::array& ports) {
  return !ports.empty() || (service.headless && service.ports.empty());
}
std::string hostname_in(const Service& service, const Pod& pod) {
  return !pod.shape->hostname.empty() && pod.shape->subdomain == service.meta.name ? pod.shape->hostname : "";
}
// Equal for equal ports, whatever the order of their fields.
std::string sort_key(const json::array& ports) {
  std::string key;
  for (const json::value& port : ports)
    key += fmt::format("{}:{}/{}/{} ", string_at(port, "name"), base::as_int(find(port, "port")),
                       string_at(port, "protocol"), string_at(port, "appProtocol"));
  return key;
}
}  // namespace

json::object plan_endpoints(const Service& service, const Pods& pods) {
  struct Subset {
    json::array ports, ready, unready;
  };
  std::map<std::string, Subset> subsets;
  const bool ipv6 = service.families.front() == "IPv6";
  size_t count = 0;
  bool cut = false;
  Pods sorted = pods;
  std::sort(sorted.begin(), sorted.end(), [&](const auto& a, const auto& b) {
    return std::make_pair(address_of(*a, ipv6), a->meta.uid) <
           std::make_pair(address_of(*b, ipv6), b->meta.uid);
  });
  for (const auto& pod : sorted) {
    const std::string ip = address_of(*pod, ipv6);
    if (ip.empty() || pod->finished() || (pod->meta.deleting && !service.publish_not_ready)) continue;
    json::array ports = ports_for(service, *pod);
    if (!wanted(service, ports)) continue;
    const bool ready = pod->ready || service.publish_not_ready;
    if (!ready && !may_serve(*pod)) continue;
    if (++count > kMaxEndpointsAddresses) {
      cut = true;
      break;
    }
    json::object address{{"ip", ip}};
    if (std::string name = hostname_in(service, *pod); !name.empty()) address["hostname"] = name;
    if (!pod->node.empty()) address["nodeName"] = pod->node;
    address["targetRef"] = target_ref(*pod);
    for (json::value& port : ports)
      if (string_at(port, "name").empty()) port.get_object().erase("name");
    Subset& subset = subsets[sort_key(ports)];
    subset.ports = std::move(ports);
    (ready ? subset.ready : subset.unready).push_back(std::move(address));
  }
  json::array out;
  for (auto& [key, subset] : subsets) {
    json::object one;
    if (!subset.ready.empty()) one["addresses"] = std::move(subset.ready);
    if (!subset.unready.empty()) one["notReadyAddresses"] = std::move(subset.unready);
    if (!subset.ports.empty()) one["ports"] = std::move(subset.ports);
    out.push_back(std::move(one));
  }
  json::object meta{
      {"name", service.meta.name},
      {"namespace", service.meta.ns},
      {"labels", labels_of(service, {{"endpoints.kubernetes.io/managed-by", "endpoint-controller"}})}};
  if (cut) meta["annotations"] = json::object{{"endpoints.kubernetes.io/over-capacity", "truncated"}};
  json::object endpoints{{"apiVersion", "v1"}, {"kind", "Endpoints"}, {"metadata", std::move(meta)}};
  if (!out.empty()) endpoints["subsets"] = std::move(out);
  return endpoints;
}

// Whom a ready endpoint is meant for, as the Service wishes it (KEP-4444, KEP-3015): those of its zone, and
// of its node before them.
static json::object hints_of(const Service& service, const std::string& node, const std::string& zone) {
  json::object hints;
  const bool same_node = service.distribution == "PreferSameNode";
  if (!same_node && service.distribution != "PreferSameZone" && service.distribution != "PreferClose")
    return hints;
  if (same_node) hints["forNodes"] = json::array{json::object{{"name", node}}};
  if (!zone.empty()) hints["forZones"] = json::array{json::object{{"name", zone}}};
  return hints;
}

static json::object slice_endpoint(const Service& service, const Pod& pod, const std::string& ip,
                                   const std::function<std::string(const std::string&)>& zone_of) {
  const bool serving = pod.ready;
  json::object endpoint{{"addresses", json::array{ip}},
                        {"conditions",
                         {{"ready", service.publish_not_ready || (serving && !pod.meta.deleting)},
                          {"serving", serving},
                          {"terminating", pod.meta.deleting}}},
                        {"targetRef", target_ref(pod)}};
  if (!pod.node.empty()) {
    endpoint["nodeName"] = pod.node;
    const std::string zone = zone_of(pod.node);
    if (!zone.empty()) endpoint["zone"] = zone;
    const bool ready = base::as_bool(find(endpoint["conditions"], "ready"));
    if (json::object hints = hints_of(service, pod.node, zone); ready && !hints.empty())
      endpoint["hints"] = std::move(hints);
  }
  if (std::string name = hostname_in(service, pod); !name.empty()) endpoint["hostname"] = name;
  return endpoint;
}

// An endpoint's identity within a slice.
static std::string identity(const json::value& endpoint) {
  const json::value* addresses = find(endpoint, "addresses");
  std::string_view ip = addresses && addresses->is_array() && !addresses->get_array().empty()
                            ? as_string(&addresses->get_array()[0])
                            : std::string_view();
  return fmt::format("{} {}", string_at(endpoint, "targetRef", "uid"), ip);
}

namespace {
// One group per address family and set of ports; each group is packed into its own slices.
struct Group {
  std::string family;
  json::array ports;
  std::map<std::string, json::object> endpoints;
};
// Whom the slices belong to, and the families that have a slice even without an endpoint.
struct Source {
  std::string ns, name, uid, owner_kind;
  json::object labels;
  std::vector<std::string> always;
};
SlicePlan pack(const Source& source, std::map<std::string, Group> groups,
               const std::vector<std::shared_ptr<const Whole>>& slices) {
  SlicePlan plan;
  std::set<std::string> families_present;
  std::vector<const Whole*> empty;
  auto keep = [&](const Whole& slice, json::array endpoints, const json::array& ports) {
    json::object next = slice.object.as_object();
    next["endpoints"] = std::move(endpoints);
    next["ports"] = ports;
    base::object_at(next, "metadata")["labels"] = source.labels;
    if (!same_endpoints(slice.object, next)) plan.update.push_back(std::move(next));
  };
  // First what is there: drop what left, refresh what changed, fill the gaps of the fullest.
  std::vector<std::shared_ptr<const Whole>> ordered = slices;
  std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    auto size = [](const Whole& s) {
      const json::value* list = find(s.object, "endpoints");
      return list && list->is_array() ? list->get_array().size() : 0;
    };
    return std::make_pair(size(*b), a->meta.name) < std::make_pair(size(*a), b->meta.name);
  });
  struct Kept {
    const Whole* slice;
    Group* group;
    json::array endpoints;
  };
  std::vector<Kept> kept;
  for (const auto& slice : ordered) {
    if (slice->meta.deleting) continue;
    const json::value* ports = find(slice->object, "ports");
    const std::string family(string_at(slice->object, "addressType"));
    auto at = groups.find(family + (ports && ports->is_array() ? sort_key(ports->get_array()) : ""));
    if (at == groups.end()) {
      empty.push_back(slice.get());
      continue;
    }
    Kept one{slice.get(), &at->second, {}};
    if (const json::value* list = find(slice->object, "endpoints"); list && list->is_array())
      for (const json::value& old : list->get_array()) {
        auto found = at->second.endpoints.find(identity(old));
        if (found == at->second.endpoints.end()) continue;
        one.endpoints.push_back(std::move(found->second));
        at->second.endpoints.erase(found);
      }
    kept.push_back(std::move(one));
  }
  for (Kept& one : kept) {
    auto& left = one.group->endpoints;
    while (!left.empty() && one.endpoints.size() < kMaxEndpointsPerSlice) {
      one.endpoints.push_back(std::move(left.begin()->second));
      left.erase(left.begin());
    }
    if (one.endpoints.empty()) {
      empty.push_back(one.slice);
      continue;
    }
    families_present.insert(one.group->family);
    keep(*one.slice, std::move(one.endpoints), one.group->ports);
  }
  auto fresh = [&](const std::string& family, const json::array& ports, json::array endpoints) {
    families_present.insert(family);
    // An emptied slice is filled again before a new one is made, when its family agrees.
    for (auto at = empty.begin(); at != empty.end(); ++at)
      if (string_at((*at)->object, "addressType") == family) {
        keep(**at, std::move(endpoints), ports);
        empty.erase(at);
        return;
      }
    plan.create.push_back({{"apiVersion", "discovery.k8s.io/v1"},
                           {"kind", "EndpointSlice"},
                           {"metadata",
                            {{"generateName", source.name + "-"},
                             {"namespace", source.ns},
                             {"labels", source.labels},
                             {"ownerReferences", json::array{json::object{{"apiVersion", "v1"},
                                                                          {"kind", source.owner_kind},
                                                                          {"name", source.name},
                                                                          {"uid", source.uid},
                                                                          {"controller", true},
                                                                          {"blockOwnerDeletion", true}}}}}},
                           {"addressType", family},
                           {"endpoints", std::move(endpoints)},
                           {"ports", ports}});
  };
  for (auto& [key, group] : groups)
    while (!group.endpoints.empty()) {
      json::array some;
      while (!group.endpoints.empty() && some.size() < kMaxEndpointsPerSlice) {
        some.push_back(std::move(group.endpoints.begin()->second));
        group.endpoints.erase(group.endpoints.begin());
      }
      fresh(group.family, group.ports, std::move(some));
    }
  // A Service without endpoints still has one empty slice per family: "none" is not "unknown".
  for (const std::string& family : source.always)
    if (!families_present.count(family)) fresh(family, {}, {});
  for (const Whole* slice : empty) plan.remove.push_back(slice->meta.name);
  return plan;
}
}  // namespace

SlicePlan plan_slices(const Service& service, const Pods& pods,
                      const std::vector<std::shared_ptr<const Whole>>& slices,
                      const std::function<std::string(const std::string& node)>& zone_of) {
  std::map<std::string, Group> groups;
  for (const std::string& family : service.families) {
    const bool ipv6 = family == "IPv6";
    for (const auto& pod : pods) {
      const std::string ip = address_of(*pod, ipv6);
      if (ip.empty() || pod->finished()) continue;
      json::array ports = ports_for(service, *pod);
      if (!wanted(service, ports)) continue;
      Group& group = groups[family + sort_key(ports)];
      group.family = family;
      group.ports = std::move(ports);
      json::object endpoint = slice_endpoint(service, *pod, ip, zone_of);
      std::string id = identity(endpoint);
      group.endpoints.emplace(std::move(id), std::move(endpoint));
    }
  }
  Source source{service.meta.ns,
                service.meta.name,
                service.meta.uid,
                "Service",
                labels_of(service, {{"kubernetes.io/service-name", service.meta.name},
                                    {"endpointslice.kubernetes.io/managed-by", kSliceController}}),
                service.families};
  return pack(source, std::move(groups), slices);
}

SlicePlan plan_mirror(const Whole& endpoints, const std::vector<std::shared_ptr<const Whole>>& slices) {
  std::map<std::string, Group> groups;
  const json::value* subsets = find(endpoints.object, "subsets");
  if (subsets && subsets->is_array())
    for (const json::value& subset : subsets->get_array()) {
      json::array ports;
      if (const json::value* list = find(subset, "ports"); list && list->is_array())
        for (const json::value& item : list->get_array()) {
          json::object port{
              {"name", string_at(item, "name")},
              {"port", base::as_int(find(item, "port"))},
              {"protocol", string_at(item, "protocol").empty() ? "TCP" : string_at(item, "protocol")}};
          if (std::string_view app = string_at(item, "appProtocol"); !app.empty()) port["appProtocol"] = app;
          ports.push_back(std::move(port));
        }
      for (const char* key : {"addresses", "notReadyAddresses"}) {
        const json::value* list = find(subset, key);
        if (!list || !list->is_array()) continue;
        for (const json::value& address : list->get_array()) {
          const std::string ip(string_at(address, "ip"));
          Group& group = groups[(is_ipv6(ip) ? "IPv6" : "IPv4") + sort_key(ports)];
          group.family = is_ipv6(ip) ? "IPv6" : "IPv4";
          group.ports = ports;
          json::object endpoint{{"addresses", json::array{ip}},
                                {"conditions", {{"ready", key == std::string_view("addresses")}}}};
          for (const char* copied : {"hostname", "nodeName", "targetRef"})
            if (const json::value* value = find(address, copied)) endpoint[copied] = *value;
          std::string id = identity(endpoint);
          group.endpoints.emplace(std::move(id), std::move(endpoint));
        }
      }
    }
  json::object labels;
  for (const auto& [key, value] : endpoints.labels) labels[key] = value;
  labels["kubernetes.io/service-name"] = endpoints.meta.name;
  labels["endpointslice.kubernetes.io/managed-by"] = kSliceMirror;
  return pack(
      {endpoints.meta.ns, endpoints.meta.name, endpoints.meta.uid, "Endpoints", std::move(labels), {}},
      std::move(groups), slices);
}

std::string SlicePlan::text() const {
  auto describe = [](const json::object& slice) {
    std::string out = fmt::format("{} [", as_string(slice.if_contains("addressType")));
    if (const json::value* list = slice.if_contains("endpoints"); list && list->is_array())
      for (const json::value& e : list->get_array())
        out += fmt::format(" {}{}{}", as_string(&find(e, "addresses")->get_array()[0]),
                           base::as_bool(find_path(e, "conditions", "ready")) ? "" : "!",
                           base::as_bool(find_path(e, "conditions", "terminating")) ? "~" : "");
    out += " ] ports";
    if (const json::value* list = slice.if_contains("ports"); list && list->is_array())
      for (const json::value& p : list->get_array())
        out += fmt::format(" {}:{}/{}", string_at(p, "name"), base::as_int(find(p, "port")),
                           string_at(p, "protocol"));
    return out;
  };
  std::string out;
  for (const json::object& slice : create) out += fmt::format("create {}\n", describe(slice));
  for (const json::object& slice : update)
    out += fmt::format("update {} {}\n", as_string(find(slice.at("metadata"), "name")), describe(slice));
  for (const std::string& name : remove) out += fmt::format("delete {}\n", name);
  return out;
}

bool same_endpoints(const json::value& stored, const json::object& desired) {
  const json::value wrapped(desired);
  // Absent, null and empty are one; order inside a list does not count for endpoints.
  auto part = [](const json::value& object, const char* key) {
    const json::value* value = find(object, key);
    json::array list;
    if (value && value->is_array()) list = value->get_array();
    if (key == std::string_view("endpoints")) {
      std::vector<std::pair<std::string, json::value>> sorted;
      for (json::value& item : list) sorted.emplace_back(identity(item), std::move(item));
      std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      list.clear();
      for (auto& [id, item] : sorted) list.push_back(std::move(item));
    }
    return list;
  };
  for (const char* key : {"endpoints", "ports", "subsets"})
    if (part(stored, key) != part(wrapped, key)) return false;
  return read_labels(find_path(stored, "metadata", "labels")) ==
             read_labels(find_path(wrapped, "metadata", "labels")) &&
         string_at(stored, "metadata", "annotations", "endpoints.kubernetes.io/over-capacity") ==
             string_at(wrapped, "metadata", "annotations", "endpoints.kubernetes.io/over-capacity");
}

}  // namespace master::controllers
