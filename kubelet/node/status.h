// The Node object as this machine makes it: identity, capacity, conditions. Pure; facts come in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/types.h"
#include "base/clock.h"

namespace kubelet {

struct MachineFacts {
  std::string node_name, node_ip, version;
  int port = 10250;
  int64_t cpus = 0, memory_bytes = 0, disk_bytes = 0;
  int64_t max_pods = 110;
  std::string architecture, kernel_version, os_image, machine_id, system_uuid, boot_id;
  std::vector<api::ContainerImage> images;
};
MachineFacts read_machine(const std::string& root_dir);  // reads /proc, sysconf, os-release

struct NodeHealth {
  bool network_ready = false;
  std::string network_message;
  int64_t memory_available_bytes = 0, disk_available_bytes = 0, disk_bytes = 0;
  int64_t pids_free = 0;
};
NodeHealth read_health(const std::string& root_dir);  // all but the network

api::Node make_node(const MachineFacts& facts);  // as registered
// The status for `node` as the API has it: lastTransitionTime kept where nothing changed, heartbeat
// only with a change (the Lease is the heartbeat).
// Extended resources that somebody patched into its capacity stay and are allocatable, as by Kubernetes'
// kubelet.
api::NodeStatus node_status(const api::Node& node, const MachineFacts& facts, const NodeHealth& health,
                            base::Time now);
bool is_extended_resource(std::string_view name);  // "example.com/gpu"
// A strategic merge that makes `was` into `wanted`.
base::json::object node_status_patch(const api::NodeStatus& was, const api::NodeStatus& wanted);

}  // namespace kubelet
