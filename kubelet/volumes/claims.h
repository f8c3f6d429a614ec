// What the claims of a Pod stand for on this node: a directory of the host, or a local volume of ours. The
// API server lets a node read only the claims of its Pods and their volumes, each by name; whether they will
// do is decided here as a pure function.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/client/client.h"
#include "api/types.h"

namespace kubelet {

struct ClaimedVolume {
  std::string volume;     // the PersistentVolume
  bool is_local = false;  // ours: made when it is first mounted
  std::string uid;        // the PersistentVolume's
  std::string path;       // else: the directory of the host
  bool is_host_path = false;
  std::string host_type;     // of a hostPath, as a Pod's own
  int64_t size_bytes = 0;    // of ours
  bool is_block = false;     // a device, for volumeDevices
  bool takes_group = false;  // whether fsGroup is given to what lies there (not to a hostPath)
  bool operator==(const ClaimedVolume&) const = default;
};

// The claims that a Pod names, and those of its ephemeral volumes, by the name of its volume.
std::map<std::string, std::string> claims_of(const api::Pod& pod);

struct NodePlace {
  std::string node;
  std::string local_volumes;  // the directory of ours
  std::optional<std::map<std::string, std::string>> labels =
      {};  // asked for when a volume's affinity needs them
};
bool needs_node_labels(const base::json::value& volume);
// kUnavailable says what the Pod waits for, in the kubelet's words.
base::Status check_claim(const api::Pod& pod, const std::string& volume, const base::json::value& claim);
// Whether the Pod's containers use it as what it is, a file system or a device.
base::Status check_mode(const api::Pod& pod, const std::string& volume,
                        const base::json::value& persistent_volume);
base::Result<ClaimedVolume> claimed_volume(const base::json::value& claim, const base::json::value& volume,
                                           const NodePlace& here);

using Claims = std::map<std::string, ClaimedVolume>;  // by the name of the Pod's volume
// Asks the API server for all of them; `done` once. The client outlives that.
void fetch_claims(api::Client& client, const api::Pod& pod, NodePlace here,
                  std::function<void(base::Result<Claims>)> done);

}  // namespace kubelet
