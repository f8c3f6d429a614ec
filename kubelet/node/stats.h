// What the node, its Pods and their containers use, read from the kernel at one moment. Observation alone:
// blocking, for a background thread. What is made of it for who asks is in stats_pages.h.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "runtime/runtime.h"

namespace kubelet {

// Whom to count: plain values of the loop's thread.
struct CountedContainer {
  std::string name, id, image, cgroup;  // id: as in the Pod's status, without "sampan://"
  std::string writable, log;            // directory of its layer, file of its output
  base::Time started_at{};
  // Of the spec, as the kernel has them; 0: none.
  int64_t cpu_limit_milli = 0, cpu_request_milli = 0, memory_limit_bytes = 0;
};
struct CountedPod {
  std::string ns, name, uid, cgroup, host_link;  // host_link empty: on the host's network
  base::Time started_at{};
  std::vector<CountedContainer> containers;                  // those that run
  std::vector<std::pair<std::string, std::string>> volumes;  // name, directory; those on the node's disk
};
struct CountRequest {
  std::string node_name, root_dir, image_root, cgroup_parent;
  std::vector<CountedPod> pods;
  bool disks = false;  // walk what containers wrote: may take seconds
};

struct NetworkCounters {
  uint64_t rx_bytes = 0, rx_packets = 0, rx_errors = 0, rx_dropped = 0;
  uint64_t tx_bytes = 0, tx_packets = 0, tx_errors = 0, tx_dropped = 0;
};
struct DiskUse {
  uint64_t bytes = 0, inodes = 0;
};
struct FilesystemSeen {
  uint64_t capacity_bytes = 0, available_bytes = 0, inodes = 0, inodes_free = 0;
};
struct ContainerSeenStats {
  CountedContainer of;
  runtime::CgroupCounters use;
  std::optional<DiskUse> rootfs, logs;
};
struct PodSeenStats {
  CountedPod of;  // its containers are below
  std::optional<runtime::CgroupCounters> use;
  std::optional<NetworkCounters> network;  // as the Pod sees it
  std::vector<ContainerSeenStats> containers;
  std::vector<std::pair<std::string, DiskUse>> volumes;
};
struct StatsSeen {
  base::Time at{};
  std::string node_name;
  base::Time booted_at{};
  int64_t cpus = 0;
  uint64_t cpu_ns = 0, memory_total_bytes = 0, memory_bytes = 0, memory_working_set_bytes = 0,
           memory_rss_bytes = 0;
  uint64_t memory_available_bytes = 0, swap_total_bytes = 0, swap_bytes = 0, page_faults = 0,
           major_page_faults = 0;
  int64_t processes = 0, max_processes = 0;
  std::map<std::string, NetworkCounters> links;  // of the host, without Pods' and lo
  std::string default_link;                      // where the default route goes; may be empty
  std::optional<FilesystemSeen> root, images;
  std::optional<runtime::CgroupCounters> all_pods;
  std::string cgroup_parent;
  std::vector<PodSeenStats> pods;  // a Pod that went meanwhile is not in it
};
StatsSeen observe_stats(const CountRequest& request);

// Text of /proc/net/dev.
std::map<std::string, NetworkCounters> parse_net_dev(const std::string& text);
// Blocks and inodes below a directory, one filesystem, hard links once; nothing beyond 200,000 entries.
std::optional<DiskUse> disk_use(const std::string& directory);

}  // namespace kubelet
