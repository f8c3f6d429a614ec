// What a Pod says of itself, and what is said to it: its spec, its containers, and the values that its
// volumes and its environment name (fields, resources, keys of ConfigMaps and Secrets). Pure.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/types.h"
#include "base/result.h"

namespace kubelet {

const api::PodSpec& spec_of(const api::Pod& pod);
const api::Container* find_container(const api::Pod& pod, std::string_view name, bool* init = nullptr);

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

// metadata.name, metadata.labels['x'], status.podIP, spec.nodeName…; kInvalid for others.
base::Result<std::string> field_value(const api::Pod& pod, const std::string& path,
                                      const EnvSources& sources);
// limits.cpu, requests.memory… over divisor, rounded up.
base::Result<std::string> resource_value(const api::Pod& pod, const api::ResourceFieldSelector& selector,
                                         const std::string& container, const EnvSources& sources);

}  // namespace kubelet
