// Facts of this machine and what the Node object says of them.
#include "kubelet/node/status.h"

#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "api/schema.h"
#include "base/sys.h"

namespace kubelet {

namespace {

std::string trimmed(const std::string& path) {
  std::string text = base::sys::read_file(path).value_or("");
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

std::map<std::string, int64_t> meminfo() {
  std::map<std::string, int64_t> out;
  std::istringstream lines(base::sys::read_file("/proc/meminfo").value_or(""));
  std::string key, unit;
  int64_t value;
  while (lines >> key >> value) {
    out[key.substr(0, key.size() - 1)] = value * 1024;
    std::getline(lines, unit);
  }
  return out;
}

constexpr int64_t kMemoryPressureBytes = 100 << 20;  // the kubelet's usual hard limit
constexpr int64_t kPidPressure = 1000;

}  // namespace

MachineFacts read_machine(const std::string& root_dir) {
  MachineFacts f;
  f.cpus = std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN));
  f.memory_bytes = meminfo()["MemTotal"];
  struct statvfs fs {};
  if (::statvfs(root_dir.c_str(), &fs) == 0) f.disk_bytes = static_cast<int64_t>(fs.f_blocks * fs.f_frsize);
  utsname names{};
  ::uname(&names);
  f.kernel_version = names.release;
  f.architecture = std::string(names.machine) == "x86_64"    ? "amd64"
                   : std::string(names.machine) == "aarch64" ? "arm64"
                                                             : names.machine;
  std::istringstream release(base::sys::read_file("/etc/os-release").value_or(""));
  for (std::string line; std::getline(release, line);)
    if (line.starts_with("PRETTY_NAME=")) {
      f.os_image = line.substr(12);
      std::erase(f.os_image, '"');
    }
  f.machine_id = trimmed("/etc/machine-id");
  f.system_uuid = trimmed("/sys/class/dmi/id/product_uuid");
  if (f.system_uuid.empty()) f.system_uuid = f.machine_id;
  f.boot_id = trimmed("/proc/sys/kernel/random/boot_id");
  return f;
}

NodeHealth read_health(const std::string& root_dir) {
  NodeHealth h;
  auto memory = meminfo();
  h.memory_available_bytes = memory["MemAvailable"];
  struct statvfs fs {};
  if (::statvfs(root_dir.c_str(), &fs) == 0) {
    h.disk_bytes = static_cast<int64_t>(fs.f_blocks * fs.f_frsize);
    h.disk_available_bytes = static_cast<int64_t>(fs.f_bavail * fs.f_frsize);
  }
  struct sysinfo info {};
  ::sysinfo(&info);
  h.pids_free = std::atoll(trimmed("/proc/sys/kernel/pid_max").c_str()) - info.procs;
  return h;
}

bool is_extended_resource(std::string_view name) {
  size_t slash = name.find('/');
  return slash != name.npos && name.substr(0, slash + 1).find("kubernetes.io/") == name.npos &&
         !name.starts_with("requests.");
}

base::json::object node_status_patch(const api::NodeStatus& was, const api::NodeStatus& wanted) {
  base::json::object patch = api::encode(wanted).get_object();
  for (const auto& [name, amount] : was.allocatable)  // a merge keeps what it does not name
    if (!wanted.allocatable.contains(name)) base::object_at(patch, "allocatable")[name] = nullptr;
  return patch;
}

api::Node make_node(const MachineFacts& f) {
  api::Node node;
  node.api_version = "v1";
  node.kind = "Node";
  node.metadata.name = f.node_name;
  node.metadata.labels = {{"kubernetes.io/hostname", f.node_name},
                          {"kubernetes.io/arch", f.architecture},
                          {"kubernetes.io/os", "linux"},
                          {"beta.kubernetes.io/arch", f.architecture},
                          {"beta.kubernetes.io/os", "linux"}};
  node.spec.emplace();
  return node;
}

api::NodeStatus node_status(const api::Node& node, const MachineFacts& f, const NodeHealth& h,
                            base::Time now) {
  api::NodeStatus s = node.status.value_or(api::NodeStatus{});
  s.addresses = {{.address = f.node_ip, .type = "InternalIP"}, {.address = f.node_name, .type = "Hostname"}};
  s.capacity = {{"cpu", std::to_string(f.cpus)},
                {"memory", std::to_string(f.memory_bytes / 1024) + "Ki"},
                {"pods", std::to_string(f.max_pods)},
                {"ephemeral-storage", std::to_string(f.disk_bytes / 1024) + "Ki"},
                {"hugepages-2Mi", "0"}};
  s.allocatable = s.capacity;
  s.allocatable["memory"] =
      std::to_string(std::max<int64_t>(0, f.memory_bytes - kMemoryPressureBytes) / 1024) + "Ki";
  s.allocatable["ephemeral-storage"] = std::to_string(f.disk_bytes / 10 * 9);
  if (node.status)
    for (const auto& [name, amount] : node.status->capacity)
      if (is_extended_resource(name)) s.capacity[name] = s.allocatable[name] = amount;
  s.daemon_endpoints = api::NodeDaemonEndpoints{.kubelet_endpoint = api::DaemonEndpoint{.port = f.port}};
  api::NodeSystemInfo info;
  info.architecture = f.architecture;
  info.boot_id = f.boot_id;
  info.container_runtime_version = "sampan://" + f.version;
  info.kernel_version = f.kernel_version;
  info.kubelet_version = "v1.36.0-sampan." + f.version;
  info.machine_id = f.machine_id;
  info.operating_system = "linux";
  info.os_image = f.os_image;
  info.system_uuid = f.system_uuid;
  s.node_info = info;
  s.images = f.images;

  bool changed = false;
  auto set = [&](const char* type, bool value, const std::string& reason, const std::string& message) {
    auto it =
        std::find_if(s.conditions.begin(), s.conditions.end(), [&](const auto& c) { return c.type == type; });
    if (it == s.conditions.end()) {
      it = s.conditions.insert(s.conditions.end(), api::NodeCondition{});
      it->type = type;
    }
    const std::string status = value ? "True" : "False";
    if (it->status != status) it->last_transition_time = base::format_time(now);
    if (it->status == status && it->reason == reason && it->message == message) return;
    it->status = status;
    it->reason = reason;
    it->message = message;
    it->last_heartbeat_time = base::format_time(now);
    changed = true;
  };
  const bool memory = h.memory_available_bytes < kMemoryPressureBytes;
  const bool disk = h.disk_bytes > 0 && h.disk_available_bytes < h.disk_bytes / 10;
  const bool pids = h.pids_free < kPidPressure;
  set("MemoryPressure", memory, memory ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
      memory ? "kubelet has insufficient memory available" : "kubelet has sufficient memory available");
  set("DiskPressure", disk, disk ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
      disk ? "kubelet has disk pressure" : "kubelet has no disk pressure");
  set("PIDPressure", pids, pids ? "KubeletHasInsufficientPID" : "KubeletHasSufficientPID",
      pids ? "kubelet has insufficient PID available" : "kubelet has sufficient PID available");
  set("Ready", h.network_ready, h.network_ready ? "KubeletReady" : "KubeletNotReady",
      h.network_ready ? "kubelet is posting ready status" : h.network_message);
  return s;
}

}  // namespace kubelet
