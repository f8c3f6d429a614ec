// From a Pod, one of its containers and its image to the OCI runtime-spec config.json. Pure: what
// must be looked up (the user in the image, host devices, limits of this machine) comes in.
// Source: runtime-spec config.md, config-linux.md; defaults as containerd's CRI plugin sets them.
#pragma once

#include <string>
#include <vector>

#include "api/types.h"
#include "base/json.h"
#include "base/result.h"
#include "kubelet/volumes/plan.h"
#include "runtime/runtime.h"

namespace kubelet {

struct ContainerMount {
  std::string source, destination;
  bool read_only = false, recursive_read_only = false;
  std::string propagation;     // "", "None", "HostToContainer", "Bidirectional"
  bool kubelet_owned = false;  // `source` is a volume that the kubelet made
};

// A block volume.
struct ContainerDevice {
  std::string path;  // in the container
  unsigned major = 0, minor = 0, mode = 0600, uid = 0, gid = 0;
  bool read_only = false;
};

struct HostFacts {
  uint64_t capabilities = ~0ull;  // bounding set of this process: nobody can be given more
  int min_oom_score_adj = -1000;  // without CAP_SYS_RESOURCE it can't be lowered below ours
  int64_t memory_bytes = 0;
};

struct Launch {
  int attempt = 0;
  runtime::Image image;
  runtime::User user;  // of the image or of runAsUser
  std::vector<std::string> env;
  std::vector<ContainerMount> mounts;  // volumes, in the Pod's order
  std::string hostname, pod_cgroup;
  std::string hosts, etc_hostname, resolv_conf;  // files of the Pod on the host
  std::string shm;                               // directory for /dev/shm; empty: none
  std::string termination_log;                   // file for terminationMessagePath
  base::json::value seccomp;                     // the profile to apply; null: none
  base::json::array devices;                     // linux.devices of a privileged container
  std::vector<ContainerDevice> volume_devices;
  HostFacts host;
};

// What is bound into the container: its volumes and the Pod's own files, parents before children.
std::vector<ContainerMount> container_binds(const api::Pod& pod, const api::Container& container,
                                            const Launch& launch);
std::vector<MountPoint> nested_mount_points(const std::vector<ContainerMount>& binds);
// kInvalid in the words of the container's waiting message.
base::Result<base::json::value> oci_config(const api::Pod& pod, const api::Container& container,
                                           const Launch& launch);
// linux.resources of the Pod's own cgroup; `max_pids` < 0: no limit.
base::json::value pod_resources(const api::Pod& pod, int64_t max_pids);
// What runs for an exec or a hook: the container's process object with other arguments.
base::json::value exec_process(const base::json::value& container_process,
                               const std::vector<std::string>& args, bool terminal);
// The user string to look up in the image: "1000", "1000:2000" or the image's own. An Error when
// runAsNonRoot forbids it as far as that is known without the lookup.
std::string user_text(const api::Pod& pod, const api::Container& container, const runtime::Image& image);
base::Status check_non_root(const api::Pod& pod, const api::Container& container, const runtime::Image& image,
                            const runtime::User& user);
// The seccomp profile type asked for: "RuntimeDefault", "Localhost", "Unconfined".
api::SeccompProfile seccomp_of(const api::Pod& pod, const api::Container& container);
int oom_score_adj(const api::Pod& pod, const api::Container& container, const HostFacts& host);

}  // namespace kubelet
