#include "master/resource.h"

#include "base/result.h"

namespace master {
namespace {

constexpr const char* kCore = "io.k8s.api.core.v1";
constexpr const char* kApps = "io.k8s.api.apps.v1";

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

std::vector<ResourceInfo> make_resources() {
  std::vector<ResourceInfo> all = {
      // group, version, plural, singular, kind, short, categories, namespaced, status, scale, volatile
      {"", "v1", "configmaps", "configmap", "ConfigMap", "cm", "", true, false, false, false, kCore, "", ""},
      {"", "v1", "endpoints", "endpoints", "Endpoints", "ep", "", true, false, false, false, kCore, "", ""},
      {"", "v1", "events", "event", "Event", "ev", "", true, false, false, false, kCore,
       "involvedObject.kind,involvedObject.namespace,involvedObject.name,involvedObject.uid,"
       "involvedObject.apiVersion,involvedObject.resourceVersion,involvedObject.fieldPath,reason,"
       "reportingComponent,source,type", ""},
      {"", "v1", "namespaces", "namespace", "Namespace", "ns", "", false, true, false, false, kCore,
       "status.phase", "finalize"},
      {"", "v1", "nodes", "node", "Node", "no", "", false, true, false, false, kCore,
       "spec.unschedulable", ""},
      {"", "v1", "pods", "pod", "Pod", "po", "all", true, true, false, false, kCore,
       "spec.nodeName,spec.restartPolicy,spec.schedulerName,spec.serviceAccountName,"
       "spec.hostNetwork,status.phase,status.podIP,status.nominatedNodeName",
       "attach,binding,exec,log,portforward"},
      {"", "v1", "replicationcontrollers", "replicationcontroller", "ReplicationController", "rc",
       "all", true, true, true, false, kCore, "status.replicas", ""},
      {"", "v1", "secrets", "secret", "Secret", "", "", true, false, false, false, kCore, "type", ""},
      {"", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount", "sa", "", true, false, false, false, kCore, "", ""},
      {"", "v1", "services", "service", "Service", "svc", "all", true, true, false, false, kCore,
       "spec.clusterIP,spec.type", ""},
      {"apps", "v1", "deployments", "deployment", "Deployment", "deploy", "all", true, true, true, false, kApps, "", ""},
      {"apps", "v1", "replicasets", "replicaset", "ReplicaSet", "rs", "all", true, true, true, false, kApps, "status.replicas", ""},
      {"coordination.k8s.io", "v1", "leases", "lease", "Lease", "", "", true, false, false, true,
       "io.k8s.api.coordination.v1", "", ""},
      {"discovery.k8s.io", "v1", "endpointslices", "endpointslice", "EndpointSlice", "", "", true, false, false, false,
       "io.k8s.api.discovery.v1", "", ""},
  };
  for (ResourceInfo& info : all) {
    info.type = api::find_type(info.package, info.kind);
    SAMPAN_CHECK(info.type != nullptr);
    info.group_version_text = *info.group ? std::string(info.group) + "/" + info.version : info.version;
    for (std::string_view path : split(info.field_selectors, ',')) {
      info.selector_names.push_back(path);
      info.selector_paths.push_back(split(path, '.'));
    }
  }
  return all;
}

}  // namespace

std::string ResourceInfo::qualified() const {
  return *group ? std::string(plural) + "." + group : plural;
}

std::vector<ResourceInfo>& resources() {
  static std::vector<ResourceInfo> all = make_resources();
  return all;
}
ResourceInfo* find_resource(std::string_view group, std::string_view version, std::string_view plural) {
  for (ResourceInfo& info : resources())
    if (info.plural == plural && info.group == group && info.version == version) return &info;
  return nullptr;
}
ResourceInfo* find_kind(std::string_view group, std::string_view kind) {
  for (ResourceInfo& info : resources())
    if (info.kind == kind && info.group == group) return &info;
  return nullptr;
}

std::vector<std::string_view> verbs_of(const ResourceInfo&) {
  return {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
}

std::vector<Subresource> subresources_of(const ResourceInfo& resource) {
  std::vector<Subresource> out;
  for (std::string_view name : split(resource.subresources, ',')) {
    if (name == "log") out.push_back({name, "", "v1", "Pod", {"get"}});
    else if (name == "binding") out.push_back({name, "", "v1", "Binding", {"create"}});
    else if (name == "attach") out.push_back({name, "", "v1", "PodAttachOptions", {"create", "get"}});
    else if (name == "exec") out.push_back({name, "", "v1", "PodExecOptions", {"create", "get"}});
    else if (name == "portforward") out.push_back({name, "", "v1", "PodPortForwardOptions", {"create", "get"}});
    else if (name == "finalize") out.push_back({name, "", "v1", "Namespace", {"update"}});
  }
  if (resource.has_scale) out.push_back({"scale", "autoscaling", "v1", "Scale", {"get", "patch", "update"}});
  if (resource.has_status)
    out.push_back({"status", resource.group, resource.version, resource.kind, {"get", "patch", "update"}});
  return out;
}

}  // namespace master
