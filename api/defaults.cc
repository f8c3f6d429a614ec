// Defaults that depend on more than one field, and what is rewritten before an object is stored.
#include "api/defaults.h"

#include "api/defaults_rules.h"
#include "api/quantity.h"
#include "api/structural.h"
#include "api/walk.h"
#include "base/base64.h"

namespace api {
namespace defaulting {

json::object* object_in(json::object& in, const char* name) {
  json::value* value = in.if_contains(name);
  return value ? value->if_object() : nullptr;
}
json::array* list_in(json::object& in, const char* name) {
  json::value* value = in.if_contains(name);
  return value ? value->if_array() : nullptr;
}
std::string_view text_in(const json::object& in, const char* name) {
  return base::as_string(in.if_contains(name));
}
bool unset(const json::object& in, const char* name) {
  const json::value* value = in.if_contains(name);
  if (!value || value->is_null()) return true;
  if (const auto* text = value->if_string()) return text->empty();
  return value->is_int64() && value->get_int64() == 0;
}
void set_default(json::object& in, const char* name, json::value value) {
  if (unset(in, name)) in[name] = std::move(value);
}

}  // namespace defaulting

namespace {

using namespace defaulting;

bool pulls_always(std::string_view image) {
  if (image.find('@') != std::string_view::npos) return false;
  size_t slash = image.rfind('/');
  std::string_view last = slash == std::string_view::npos ? image : image.substr(slash + 1);
  size_t colon = last.find(':');
  return colon == std::string_view::npos || last.substr(colon + 1) == "latest";
}

void probe(json::object& container, const char* name) {
  json::object* p = object_in(container, name);
  if (!p) return;
  set_default(*p, "timeoutSeconds", 1);
  set_default(*p, "periodSeconds", 10);
  set_default(*p, "successThreshold", 1);
  set_default(*p, "failureThreshold", 3);
}

void container(json::object& c, bool host_network) {
  set_default(c, "imagePullPolicy", pulls_always(text_in(c, "image")) ? "Always" : "IfNotPresent");
  set_default(c, "terminationMessagePath", "/dev/termination-log");
  set_default(c, "terminationMessagePolicy", "File");
  for (const char* name : {"livenessProbe", "readinessProbe", "startupProbe"}) probe(c, name);
  if (host_network)
    if (json::array* ports = list_in(c, "ports"))
      for (json::value& port : *ports)
        if (port.is_object() && unset(port.get_object(), "hostPort"))
          port.get_object()["hostPort"] = base::as_int(base::find(port, "containerPort"));
  json::object* resources = object_in(c, "resources");
  if (!resources) resources = &(c["resources"] = json::object()).get_object();
  if (json::object* limits = object_in(*resources, "limits"); limits && !limits->empty()) {
    json::object copy = *limits;  // making "requests" may move the limits
    json::object& requests = base::object_at(*resources, "requests");
    for (const auto& limit : copy)
      if (!requests.contains(limit.key())) requests.emplace(limit.key(), limit.value());
  }
}

void pod_spec(json::object& spec) {
  bool host_network = base::as_bool(spec.if_contains("hostNetwork"));
  for (const char* name : {"containers", "initContainers", "ephemeralContainers"})
    if (json::array* list = list_in(spec, name))
      for (json::value& c : *list)
        if (c.is_object()) container(c.get_object(), host_network);
  if (json::array* volumes = list_in(spec, "volumes"))
    for (json::value& volume : *volumes)
      if (volume.is_object() && volume.get_object().size() == 1 && volume.get_object().contains("name"))
        volume.get_object()["emptyDir"] = json::object();
  if (unset(spec, "serviceAccountName") && !unset(spec, "serviceAccount"))
    spec["serviceAccountName"] = std::string(text_in(spec, "serviceAccount"));
  // A copy: a short text lies in the map, which the new member may move.
  if (!unset(spec, "serviceAccountName"))
    spec["serviceAccount"] = std::string(text_in(spec, "serviceAccountName"));
}
}  // namespace

void defaulting::pod_template(json::object& spec) {
  if (json::object* pods = object_in(spec, "template"))
    if (json::object* inner = object_in(*pods, "spec")) pod_spec(*inner);
}

namespace {

void default_replication_controller(json::object& object, json::object& spec) {
  pod_template(spec);
  json::object* pods = object_in(spec, "template");
  json::object* metadata = pods ? object_in(*pods, "metadata") : nullptr;
  json::object* labels = metadata ? object_in(*metadata, "labels") : nullptr;
  if (!labels || labels->empty()) return;
  json::object copy = *labels;
  json::object* selector = object_in(spec, "selector");
  if (!selector || selector->empty()) spec["selector"] = copy;
  json::object& own = base::object_at(object, "metadata");
  json::object* own_labels = object_in(own, "labels");
  if (!own_labels || own_labels->empty()) own["labels"] = copy;
}

void default_deployment(const Type& type, json::value& object) {
  json::object& spec = base::object_at(object.get_object(), "spec");
  pod_template(spec);
  json::object& strategy = base::object_at(spec, "strategy");
  set_default(strategy, "type", "RollingUpdate");
  if (text_in(strategy, "type") == "RollingUpdate" && unset(strategy, "rollingUpdate")) {
    strategy["rollingUpdate"] = json::object();
    apply_defaults(type, object);
  }
}

void default_service(json::object& spec) {
  std::string type(text_in(spec, "type"));
  if (json::array* ports = list_in(spec, "ports"))
    for (json::value& port : *ports)
      if (port.is_object())
        set_default(port.get_object(), "targetPort", base::as_int(base::find(port, "port")));
  if (text_in(spec, "sessionAffinity") == "ClientIP")
    set_default(base::object_at(spec, "sessionAffinityConfig", "clientIP"), "timeoutSeconds", 10800);
  else if (text_in(spec, "sessionAffinity") == "None") spec.erase("sessionAffinityConfig");
  if (type == "ExternalName") return;
  set_default(spec, "internalTrafficPolicy", "Cluster");
  json::array* external = list_in(spec, "externalIPs");
  if (type == "NodePort" || type == "LoadBalancer" || (external && !external->empty()))
    set_default(spec, "externalTrafficPolicy", "Cluster");
  if (type == "LoadBalancer" && !spec.contains("allocateLoadBalancerNodePorts"))
    spec["allocateLoadBalancerNodePorts"] = true;
  std::string ip(text_in(spec, "clusterIP"));
  json::array* ips = list_in(spec, "clusterIPs");
  if (ip.empty() && ips && !ips->empty()) spec["clusterIP"] = ip = std::string(base::as_string(&(*ips)[0]));
  else if (!ip.empty() && (!ips || ips->empty())) spec["clusterIPs"] = json::array{ip};
  set_default(spec, "ipFamilyPolicy", "SingleStack");
  json::array* families = list_in(spec, "ipFamilies");
  if (!families || families->empty())
    spec["ipFamilies"] = json::array{ip.find(':') == std::string::npos ? "IPv4" : "IPv6"};
}

}  // namespace

void defaults(std::string_view gvk, json::value& object) {
  const Type* type = find_kind(gvk);
  if (!type || !object.is_object()) return;
  apply_defaults(*type, object);
  json::object& root = object.get_object();
  json::object* spec = object_in(root, "spec");
  if (gvk == "v1/Namespace") {
    if (unset(base::object_at(root, "status"), "phase")) base::object_at(root, "status")["phase"] = "Active";
    return;
  }
  if (gvk == "v1/PodTemplate") return pod_template(root);
  if (!spec) return;
  if (gvk == "apiextensions.k8s.io/v1/CustomResourceDefinition")
    return defaulting::custom_resource_definition(object);
  if (Defaulter own = kind_defaulter(gvk)) {
    json::object kept = *spec;  // what it adds to the root may move the spec
    own(root, kept);
    root["spec"] = std::move(kept);
    return apply_defaults(*type, object);  // of what it made
  }
  if (gvk == "v1/Pod") {
    // A Pod's, since 1.27; a template keeps what it says, with a warning.
    if (base::as_int(spec->if_contains("terminationGracePeriodSeconds")) < 0)
      (*spec)["terminationGracePeriodSeconds"] = 1;
    return pod_spec(*spec);
  }
  if (gvk == "v1/ReplicationController") {
    json::object kept = *spec;  // making metadata may move the spec
    default_replication_controller(root, kept);
    root["spec"] = std::move(kept);
    return;
  }
  if (gvk == "apps/v1/Deployment") return default_deployment(*type, object);
  if (gvk == "v1/Service") return default_service(*spec);
  pod_template(*spec);
}

void normalize(std::string_view gvk, json::value& object) {
  if (!object.is_object()) return;
  json::object& root = object.get_object();
  if (gvk == "v1/Secret") {
    json::value* plain = root.if_contains("stringData");
    if (!plain) return;
    json::value copy = *plain;
    root.stable_erase(root.find("stringData"));
    if (!copy.is_object() || copy.get_object().empty()) return;
    json::object& data = base::object_at(root, "data");
    for (const auto& item : copy.get_object())
      data[item.key()] = base::base64_encode(base::as_string(&item.value()));
  } else if (gvk == "v1/Namespace") {
    json::object& metadata = base::object_at(root, "metadata");
    std::string name(text_in(metadata, "name"));
    if (!name.empty()) base::object_at(metadata, "labels")["kubernetes.io/metadata.name"] = name;
    if (metadata.contains("deletionTimestamp")) return;
    json::object& spec = base::object_at(root, "spec");
    json::array* finalizers = list_in(spec, "finalizers");
    if (!finalizers || finalizers->empty()) spec["finalizers"] = json::array{"kubernetes"};
  }
}

std::string qos_class(const json::value& pod) {
  bool any = false, guaranteed = true;
  for (const char* list_name : {"containers", "initContainers"}) {
    const json::value* list = base::find_path(pod, "spec", list_name);
    if (!list || !list->is_array()) continue;
    for (const json::value& c : list->get_array())
      for (const char* resource : {"cpu", "memory"}) {
        auto request = Quantity::parse(base::string_at(c, "resources", "requests", resource));
        auto limit = Quantity::parse(base::string_at(c, "resources", "limits", resource));
        bool has_request = request.ok() && !request->zero(), has_limit = limit.ok() && !limit->zero();
        any |= has_request || has_limit;
        if (!has_limit || (has_request && *request != *limit)) guaranteed = false;
      }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

}  // namespace api
