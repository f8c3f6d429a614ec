// What each volume of a Pod shall be: pure, from the Pod and the objects it refers to.
// Kinds: emptyDir, hostPath, configMap, secret, downwardAPI, projected, persistentVolumeClaim, ephemeral.
#pragma once

#include <string>
#include <vector>

#include "api/types.h"
#include "base/clock.h"
#include "kubelet/volumes/claims.h"
#include "kubelet/volumes/pod_values.h"

namespace kubelet {

struct VolumeFile {
  std::string path, data;
  uint32_t mode = 0644;
  std::optional<uint32_t> user = {};  // who owns it; root else
  bool operator==(const VolumeFile&) const = default;
};
struct VolumeContent {
  enum class Kind { kEmpty, kMemory, kFiles, kHost, kClaimed } kind = Kind::kEmpty;
  std::string name;
  std::vector<VolumeFile> files;  // kFiles
  bool in_memory = false;         // kFiles: secrets and tokens never reach a disk
  int64_t size_limit_bytes = 0;   // kMemory; 0: none
  std::string host_path, host_type;
  ClaimedVolume claimed;  // kClaimed
};

// A place inside a volume where something else is mounted. The runtime can't make it in a volume that
// is mounted read-only, so it is there before (in the volume itself, as in Kubernetes).
struct MountPoint {
  std::string volume, relative;  // directory on the host, and the path below it
  std::string source;            // a directory or a file: so is the mount point
};

// A token asked of the API server for a projected volume.
struct TokenKey {
  std::string audience;
  int64_t expiration_seconds = 3600;
  auto operator<=>(const TokenKey&) const = default;
};
struct VolumeSources {
  EnvSources env;
  std::map<TokenKey, std::string> tokens;
  Claims claims = {};
};

struct Reference {
  ObjectKind kind;
  std::string name;
  auto operator<=>(const Reference&) const = default;
};
// ConfigMaps and Secrets that volumes, env and envFrom name.
std::vector<Reference> references(const api::Pod& pod);
std::vector<TokenKey> tokens(const api::Pod& pod);
// When a token that lives so long is asked for anew: after four fifths of its life, at most a day (as
// the kubelet's token manager does); and when one that was not given is asked for again.
base::Duration token_renewal(base::Duration life);
base::Duration token_retry(int failures_before);

// What must be known before a volume can be made.
struct VolumeNeeds {
  std::vector<Reference> objects;
  std::vector<TokenKey> tokens;
  bool claim = false;
};
VolumeNeeds needs_of(const api::Volume& volume);
bool is_written(const api::Volume& volume);  // its files are ours, and change with what they are made from
// kInvalid names the volume: 'volume "x": configmap "y" not found'.
base::Result<VolumeContent> plan_volume(const api::Pod& pod, const api::Volume& volume,
                                        const VolumeSources& sources);

}  // namespace kubelet
