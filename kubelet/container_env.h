// The environment of one container: the image's, service links, envFrom, env with valueFrom, and
// $(VAR) expansion. Pure; ConfigMaps and Secrets come through ObjectData.
// Source: https://kubernetes.io/docs/tasks/inject-data-application/
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "api/types.h"
#include "base/result.h"

namespace kubelet {

enum class ObjectKind { kConfigMap, kSecret };
// The data of a ConfigMap or Secret of the Pod's namespace as bytes; null when there is none.
using ObjectData =
    std::function<const std::map<std::string, std::string>*(ObjectKind kind, const std::string& name)>;

struct ServiceLink {
  std::string name, cluster_ip;
  struct Port {
    std::string name, protocol;
    int port = 0;
  };
  std::vector<Port> ports;
};

struct EnvSources {
  ObjectData data;
  std::string pod_ip, host_ip, node_name;
  int64_t node_cpu_milli = 0, node_memory_bytes = 0;  // limits of what has none
  std::vector<ServiceLink> services;                  // of the namespace, and default/kubernetes
};

// "KEY=value" in order, each key once. kInvalid in Kubernetes' words: configmap "x" not found.
base::Result<std::vector<std::string>> container_env(const api::Pod& pod, const api::Container& container,
                                                     const std::vector<std::string>& image_env,
                                                     const EnvSources& sources);

// "$(VAR)" from `values`; "$$(VAR)" is "$(VAR)"; unknown ones stay as they are.
std::string expand(std::string_view text, const std::function<const std::string*(const std::string&)>& value);
std::string expand(std::string_view text, const std::vector<std::string>& env);

// metadata.name, metadata.labels['x'], status.podIP, spec.nodeName…; kInvalid for others.
base::Result<std::string> field_value(const api::Pod& pod, const std::string& path,
                                      const EnvSources& sources);
// limits.cpu, requests.memory… over divisor, rounded up.
base::Result<std::string> resource_value(const api::Pod& pod, const api::ResourceFieldSelector& selector,
                                         const std::string& container, const EnvSources& sources);
std::vector<std::pair<std::string, std::string>> service_env(const ServiceLink& service);

}  // namespace kubelet
