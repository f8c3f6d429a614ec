// The environment of one container: the image's, service links, envFrom, env with valueFrom, and
// $(VAR) expansion. Pure; ConfigMaps and Secrets come through ObjectData.
// Source: https://kubernetes.io/docs/tasks/inject-data-application/
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kubelet/volumes/pod_values.h"

namespace kubelet {

// "KEY=value" in order, each key once. kInvalid in Kubernetes' words: configmap "x" not found.
base::Result<std::vector<std::string>> container_env(const api::Pod& pod, const api::Container& container,
                                                     const std::vector<std::string>& image_env,
                                                     const EnvSources& sources);

// "$(VAR)" from `values`; "$$(VAR)" is "$(VAR)"; unknown ones stay as they are.
std::string expand(std::string_view text, const std::function<const std::string*(const std::string&)>& value);
std::string expand(std::string_view text, const std::vector<std::string>& env);

std::vector<std::pair<std::string, std::string>> service_env(const ServiceLink& service);

}  // namespace kubelet
