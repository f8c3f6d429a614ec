// The OCI runtime-spec's config.json as plain values. Owns the reading of it: every wrong field is
// one line naming the field, and a field of the specification that this runtime does not honour is
// an error, never ignored (unknown names are ignored, as the specification demands). No I/O.
// Source of the rules: opencontainers/runtime-spec config.md and config-linux.md, version 1.3.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace runtime {

constexpr const char* kOciVersion = "1.3.0";  // the newest that is read

struct IdMap {
  uint32_t container = 0, host = 0, size = 0;
};
struct Mount {
  std::string destination, type, source;
  std::vector<std::string> options;
  std::vector<IdMap> uid_mappings, gid_mappings;
  std::string field;  // "mounts[3]": for messages
};
struct Namespace {
  uint64_t flag = 0;  // CLONE_NEW…
  std::string path;   // empty: a new one
};
struct Rlimit {
  int resource = 0;
  uint64_t soft = 0, hard = 0;
};
struct Capabilities {  // bit n = capability n
  uint64_t bounding = 0, effective = 0, permitted = 0, inheritable = 0, ambient = 0;
};
struct Scheduler {  // sched_setattr(2)
  uint32_t policy = 0, priority = 0;
  int32_t nice = 0;
  uint64_t flags = 0, runtime = 0, deadline = 0, period = 0;  // nanoseconds
};
struct Process {
  bool terminal = false;
  uint16_t rows = 0, columns = 0;
  uint32_t uid = 0, gid = 0;
  std::optional<uint32_t> umask;
  std::vector<uint32_t> additional_gids;
  std::vector<std::string> args, env;
  std::string cwd = "/";
  Capabilities capabilities;
  std::vector<Rlimit> rlimits;
  bool no_new_privileges = false;
  std::optional<int> oom_score_adj;
  std::optional<Scheduler> scheduler;
  std::optional<int> io_priority;                // ioprio_set(2): class << 13 | priority
  std::string affinity_initial, affinity_final;  // of exec: bit masks of CPUs; empty: untouched
  std::string apparmor_profile, selinux_label;
};
struct DeviceNode {
  std::string path;
  char type = 'c';  // c, b, u, p
  int64_t major = 0, minor = 0;
  uint32_t mode = 0666, uid = 0, gid = 0;
};
struct DeviceRule {
  bool allow = false;
  char type = 'a';                 // a, b, c
  int64_t major = -1, minor = -1;  // -1: any
  std::string access = "rwm";
};
struct ThrottleDevice {
  int64_t major = 0, minor = 0;
  uint64_t rate = 0;
};
struct WeightDevice {
  int64_t major = 0, minor = 0;
  std::optional<uint16_t> weight, leaf_weight;
};
struct RdmaLimit {
  std::string device;
  std::optional<uint32_t> handles, objects;
};
struct Resources {
  std::vector<DeviceRule> devices;
  std::optional<int64_t> memory_limit, memory_reservation, memory_swap;
  std::optional<uint64_t> swappiness;
  std::optional<int64_t> kernel_limit, kernel_tcp_limit;  // v1
  std::optional<bool> disable_oom_killer, check_before_update;
  std::optional<uint64_t> cpu_shares, cpu_period, cpu_burst, cpu_rt_period;
  std::optional<int64_t> cpu_quota, cpu_idle, cpu_rt_runtime;
  std::string cpus, mems;
  std::optional<int64_t> pids_limit;
  std::optional<uint16_t> blkio_weight, blkio_leaf_weight;
  std::vector<WeightDevice> weight_devices;
  std::vector<ThrottleDevice> read_bps, write_bps, read_iops, write_iops;
  std::vector<std::pair<std::string, uint64_t>> hugepages;  // "2MB", bytes
  std::vector<RdmaLimit> rdma;
  std::optional<uint32_t> net_class_id;
  std::vector<std::pair<std::string, uint32_t>> net_priorities;
  std::map<std::string, std::string> unified;  // cgroup v2 files
};
struct Hook {
  std::string path;
  std::vector<std::string> args, env;
  bool has_env = false;  // without: that of who runs it
  int timeout_s = 0;     // 0: none
};
struct Hooks {
  std::vector<Hook> prestart, create_runtime, create_container, start_container, poststart, poststop;
};
struct MemoryPolicy {
  uint64_t mode = 0;              // set_mempolicy(2): mode and flags
  std::string nodes, nodes_text;  // bit mask; empty: none
};
struct NetDevice {
  std::string host_name, name;  // name: in the container, maybe with "%d"
};
struct Extensions {                        // asked for by annotations, as of crun
  bool keep_groups = false;                // the caller's supplementary groups instead of the config's
  std::string hooks_stdout, hooks_stderr;  // files that hooks append to
  std::string pidfd_receiver;              // socket that gets a pidfd of the process
  std::string mount_context = "context";   // SELinux's mount option for linux.mountLabel
  bool known_calls_only = false;           // a name that no system call has is an error, in linux.seccomp
  std::string filter;                      // sock_filters in place of linux.seccomp
};
struct Config {
  std::string oci_version, hostname, domainname, root_path;
  bool root_readonly = false;
  std::optional<Process> process;
  std::vector<Mount> mounts;
  Hooks hooks;
  std::map<std::string, std::string> annotations;
  std::vector<Namespace> namespaces;
  std::vector<IdMap> uid_mappings, gid_mappings;
  std::vector<DeviceNode> devices;
  std::string cgroups_path;
  Resources resources;
  std::map<std::string, std::string> sysctl;
  std::vector<std::string> masked_paths, readonly_paths;
  std::string rootfs_propagation, mount_label;
  std::optional<uint64_t> personality;  // personality(2)
  std::optional<MemoryPolicy> memory_policy;
  std::string time_offsets;  // lines for /proc/self/timens_offsets
  std::vector<NetDevice> net_devices;
  base::json::value seccomp;  // null: none; compiled by seccomp.h
  Extensions extensions;
  std::vector<std::string> warnings;  // to be said, not refused

  const Namespace* find_namespace(uint64_t flag) const;
  bool has_filter() const { return !seccomp.is_null() || !extensions.filter.empty(); }
};

// kInvalid with one line per wrong field ("process.cwd: must be an absolute path").
base::Result<Config> parse_config(const base::json::value& value);
base::Result<Process> parse_process(const base::json::value& value);      // `exec --process`
base::Result<Resources> parse_resources(const base::json::value& value);  // `update`, Pod cgroups
// Below /proc/sys, of "net.ipv4.ip_forward" or "net/ipv4/ip_forward", as sysctl(8) reads them.
std::string sysctl_path(std::string_view key);
// One entry a name, the last one given; an empty HOME is none.
void clean_environment(std::vector<std::string>& env);

}  // namespace runtime
