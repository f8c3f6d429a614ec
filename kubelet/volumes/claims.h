// What the claims of a Pod stand for on this node: a directory of the host, or a local volume of ours. The
// API server lets a node read only the claims of its Pods and their volumes, each by name; whether they will
// do is decided here as a pure function.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "api/client/client.h"
#include "api/types.h"

namespace kubelet {

struct ClaimedVolume {
  std::string volume;        // the PersistentVolume
  bool is_local = false;     // ours: made when it is first mounted
  std::string path;          // else: the directory of the host
  int64_t size_bytes = 0;    // of ours
  bool takes_group = false;  // whether fsGroup is given to what lies there (not to a hostPath)
  bool operator==(const ClaimedVolume&) const = default;
};

// The claims that a Pod names, and those of its ephemeral volumes, by the name of its volume.
std::map<std::string, std::string> claims_of(const api::Pod& pod);

struct NodePlace {
  std::string node;
  std::string local_volumes;  // the directory of ours
};
// kUnavailable says what the Pod waits for, in the kubelet's words.
base::Status check_claim(const api::Pod& pod, const std::string& volume, const base::json::value& claim);
base::Result<ClaimedVolume> claimed_volume(const base::json::value& claim, const base::json::value& volume,
                                           const NodePlace& here);

using Claims = std::map<std::string, ClaimedVolume>;  // by the name of the Pod's volume
// Asks the API server for all of them; `done` once. The client outlives that.
void fetch_claims(api::Client& client, const api::Pod& pod, NodePlace here,
                  std::function<void(base::Result<Claims>)> done);

}  // namespace kubelet
