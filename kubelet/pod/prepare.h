// What is done on disk before a container starts: its image looked up, its mounts resolved and bound, its
// files made, all into one specification for sampan-pod. Blocks on the image store and on the Pod's volumes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kubelet/node/layout.h"
#include "kubelet/pod/container_env.h"
#include "kubelet/pod/oci_config.h"
#include "runtime/runtime.h"

namespace kubelet {

struct ContainerStart {
  api::Pod pod;
  std::string container;
  int attempt = 0;
  EnvSources env;  // its data must be its own: no thread but the loop's may look at what is shared
};
struct PreparedContainer {
  runtime::ContainerSpec spec;
  std::string image_id, stop_signal;
  base::json::value process;       // the OCI process object
  std::vector<std::string> bound;  // to be unbound (unbind_sub_path) once it has started, or will not
};
struct PrepareFacts {
  Layout layout;
  HostFacts host;
  std::string node_name, cgroup_parent, image_root;
};
// An image that is not there (any more): kNotFound with "image" in its operation. Nothing stays bound then.
base::Result<PreparedContainer> prepare_container(const ContainerStart& start, const PrepareFacts& facts);

}  // namespace kubelet
