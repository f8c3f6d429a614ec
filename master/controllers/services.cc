#include "master/controllers/services.h"

#include "base/json_lists.h"

namespace master::controllers {
using base::as_bool;
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

namespace {
constexpr const char* kBalancerCondition = "sampan.io/LoadBalancer";

// MetalLB's annotations, by either name of it.
std::string_view annotation(const json::value& object, const char* name) {
  for (const char* group : {"metallb.io/", "metallb.universe.tf/"})
    if (const json::value* at = find_path(object, "metadata", "annotations", std::string(group) + name))
      return as_string(at);
  return {};
}
std::shared_ptr<const Balancer> read_balancer(const json::value& object, const Service& service) {
  auto b = std::make_shared<Balancer>();
  const bool balancer = string_at(object, "spec", "type") == "LoadBalancer";
  if (const json::value* list = find_path(object, "status", "conditions"); list && list->is_array())
    b->conditions = list->get_array();
  if (const json::object* at = find_condition(b->conditions, kBalancerCondition)) {
    b->condition_reason = string_at(*at, "reason");
    b->condition_message = string_at(*at, "message");
  }
  if (!balancer && b->condition_reason.empty()) return nullptr;
  b->vip = true;
  if (const json::value* list = find_path(object, "status", "loadBalancer", "ingress");
      list && list->is_array())
    for (const json::value& one : list->get_array()) {
      b->ingress.emplace_back(string_at(one, "ip"));
      b->vip &= string_at(one, "ipMode") == "VIP";
    }
  std::string_view kind = string_at(object, "spec", "loadBalancerClass");
  b->served = balancer && (kind.empty() || kind.starts_with("sampan.io/")) &&
              (b->ingress.empty() || !b->condition_reason.empty());
  std::string_view wanted = annotation(object, "loadBalancerIPs");
  if (wanted.empty()) wanted = string_at(object, "spec", "loadBalancerIP");
  while (!wanted.empty()) {
    const size_t comma = wanted.find(',');
    std::string one(wanted.substr(0, comma));
    std::erase(one, ' ');
    b->requested.push_back(std::move(one));
    wanted = comma == wanted.npos ? std::string_view() : wanted.substr(comma + 1);
  }
  b->pool = annotation(object, "address-pool");
  b->share = annotation(object, "allow-shared-ip");
  b->local = string_at(object, "spec", "externalTrafficPolicy") == "Local";
  if (b->local) b->backend = service.meta.ns + "/" + service.selector.text();
  return b;
}
std::shared_ptr<const Service> read_service(const json::value& object) {
  auto s = std::make_shared<Service>();
  s->meta = read_meta(object);
  s->labels = read_labels(find_path(object, "metadata", "labels"));
  s->selector = map_selector(find_path(object, "spec", "selector"));
  s->external_name = string_at(object, "spec", "type") == "ExternalName";
  std::string_view cluster_ip = string_at(object, "spec", "clusterIP");
  s->headless = cluster_ip == "None";
  s->publish_not_ready = as_bool(find_path(object, "spec", "publishNotReadyAddresses"));
  if (const json::value* list = find_path(object, "spec", "ipFamilies"); list && list->is_array())
    for (const json::value& item : list->get_array()) s->families.emplace_back(as_string(&item));
  s->distribution = string_at(object, "spec", "trafficDistribution");
  if (s->families.empty()) s->families.push_back(cluster_ip.find(':') != cluster_ip.npos ? "IPv6" : "IPv4");
  if (const json::value* list = find_path(object, "spec", "ports"); list && list->is_array()) {
    for (const json::value& item : list->get_array()) {
      ServicePort port;
      port.name = string_at(item, "name");
      port.protocol = string_at(item, "protocol");
      if (port.protocol.empty()) port.protocol = "TCP";
      port.app_protocol = string_at(item, "appProtocol");
      port.port = static_cast<int>(as_int(find(item, "port")));
      port.target_name = string_at(item, "targetPort");
      port.target = static_cast<int>(as_int(find(item, "targetPort"), port.port));
      if (port.target == 0) port.target = port.port;
      s->ports.push_back(std::move(port));
    }
  }
  s->balancer = read_balancer(object, *s);
  s->claims = read_claims(object);
  return s;
}
std::shared_ptr<const Whole> read_whole(const json::value& object) {
  auto whole = std::make_shared<Whole>();
  whole->meta = read_meta(object);
  whole->labels = read_labels(find_path(object, "metadata", "labels"));
  whole->object = object;
  if (json::value* meta = whole->object.as_object().if_contains("metadata"); meta && meta->is_object())
    meta->get_object().erase("managedFields");
  return whole;
}
}  // namespace

ServiceClaims read_claims(const json::value& object) {
  ServiceClaims out;
  out.ns = base::string_at(object, "metadata", "namespace");
  out.name = base::string_at(object, "metadata", "name");
  out.uid = base::string_at(object, "metadata", "uid");
  out.created = base::string_at(object, "metadata", "creationTimestamp");
  std::string_view type = base::string_at(object, "spec", "type"),
                   ip = base::string_at(object, "spec", "clusterIP");
  if (type == "ExternalName" || ip == "None") return out;
  out.cluster_ip = ip;
  for (const json::value& one : base::list_at(base::find_path(object, "spec", "externalIPs")))
    out.external_ips.emplace_back(base::as_string(&one));
  if (type == "LoadBalancer")
    for (const json::value& one : base::list_at(base::find_path(object, "status", "loadBalancer", "ingress")))
      if (std::string_view at = base::string_at(one, "ip");
          !at.empty() && base::string_at(one, "ipMode") != "Proxy")
        out.ingress_ips.emplace_back(at);
  for (const json::value& one : base::list_at(base::find_path(object, "spec", "ports"))) {
    std::string_view protocol = base::string_at(one, "protocol");
    out.ports.push_back({std::string(protocol.empty() ? "TCP" : protocol),
                         static_cast<int>(base::as_int(base::find(one, "port"))),
                         static_cast<int>(base::as_int(base::find(one, "nodePort")))});
  }
  return out;
}

Store<Service>::Reader Service::reader(const api::Resource&) { return read_service; }
Store<Whole>::Reader Whole::reader(const api::Resource&) { return read_whole; }
std::vector<std::string> Whole::terms(const Whole& object) {
  std::string_view service = label(object.labels, "kubernetes.io/service-name");
  return service.empty() ? std::vector<std::string>()
                         : std::vector<std::string>{key_of(object.meta.ns, service)};
}

}  // namespace master::controllers
