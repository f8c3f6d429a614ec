#include "runtime/cgroup/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "runtime/spec/devices.h"

namespace runtime {

using Action = CgroupAction::Kind;

std::string CgroupAction::text() const {
  switch (kind) {
    case Action::kMakeDirectory: return "cgroup-make " + path;
    case Action::kWrite: return fmt::format("cgroup-write {} {}", path, value);
    case Action::kDeviceFilter: return fmt::format("cgroup-device-filter {} {}", path, value);
  }
  return {};
}

namespace {
std::string device_text(const DeviceRule& rule) {
  auto number = [](int64_t n) { return n < 0 ? std::string("*") : std::to_string(n); };
  return fmt::format("{} {}:{} {}", rule.type, number(rule.major), number(rule.minor), rule.access);
}

class Planner {
 public:
  Planner(const CgroupLayout& layout, const std::string& path) : layout_(layout), path_(path) {}

  // The directory of this cgroup in the hierarchy of `controller`; kUnsupported names what lacks.
  base::Result<std::string> directory(std::string_view controller, std::string_view field) {
    if (layout_.pure_v2()) return layout_.unified + path_;
    const CgroupLayout::Hierarchy* hierarchy = layout_.find(controller);
    if (!hierarchy)
      return base::make_error(base::Kind::kUnsupported, "apply", std::string(field),
                              fmt::format("no cgroup hierarchy has the controller '{}'", controller),
                              "mount it or drop the limit");
    return hierarchy->mount + path_;
  }
  base::Status write(std::string_view controller, std::string_view field, std::string file,
                     std::string value) {
    std::string dir = TRY(directory(controller, field));
    used_.insert(std::string(controller));
    writes_.push_back({Action::kWrite, dir + "/" + file, std::move(value)});
    return {};
  }
  base::Status resources(const Resources& r);
  std::vector<CgroupAction> writes_;
  std::set<std::string> used_;

 private:
  base::Status memory(const Resources& r);
  base::Status cpu(const Resources& r);
  base::Status block_io(const Resources& r);
  const CgroupLayout& layout_;
  const std::string& path_;
};

std::string limit_text(int64_t value, const char* unlimited) {
  return value < 0 ? unlimited : std::to_string(value);
}

base::Status Planner::memory(const Resources& r) {
  if (layout_.pure_v2()) {
    if (r.memory_limit)
      TRY(write("memory", "memory.limit", "memory.max", limit_text(*r.memory_limit, "max")));
    if (r.memory_reservation)
      TRY(write("memory", "memory.reservation", "memory.low", limit_text(*r.memory_reservation, "max")));
    if (r.memory_swap) {
      // OCI's swap is memory and swap together; v2 counts swap alone.
      int64_t swap = *r.memory_swap;
      if (swap > 0 && !r.memory_limit)
        return base::make_error(base::Kind::kInvalid, "read", "linux.resources.memory.swap", "needs a limit");
      if (swap > 0) swap -= *r.memory_limit;
      if (*r.memory_swap > 0 && swap < 0)
        return base::make_error(base::Kind::kInvalid, "read", "linux.resources.memory.swap",
                                "is less than limit");
      if (*r.memory_swap != 0)
        TRY(write("memory", "memory.swap", "memory.swap.max", limit_text(swap, "max")));
    }
    const char* field = r.swappiness                           ? "swappiness"
                        : r.disable_oom_killer.value_or(false) ? "disableOOMKiller"
                        : r.kernel_limit                       ? "kernel"
                        : r.kernel_tcp_limit                   ? "kernelTCP"
                                                               : nullptr;
    if (field)
      return base::make_error(base::Kind::kUnsupported, "apply",
                              std::string("linux.resources.memory.") + field, "cgroup v2 has no such setting",
                              "remove it");
    return {};
  }
  if (r.memory_limit && *r.memory_limit != 0)
    TRY(write("memory", "linux.resources.memory.limit", "memory.limit_in_bytes",
              limit_text(*r.memory_limit, "-1")));
  if (r.memory_swap && *r.memory_swap != 0)
    TRY(write("memory", "linux.resources.memory.swap", "memory.memsw.limit_in_bytes",
              limit_text(*r.memory_swap, "-1")));
  if (r.memory_reservation && *r.memory_reservation != 0)
    TRY(write("memory", "linux.resources.memory.reservation", "memory.soft_limit_in_bytes",
              limit_text(*r.memory_reservation, "-1")));
  // Deprecated: kernels of today take the first and do nothing; those without the file refuse it.
  if (r.kernel_limit && *r.kernel_limit != 0)
    TRY(write("memory", "linux.resources.memory.kernel", "memory.kmem.limit_in_bytes",
              limit_text(*r.kernel_limit, "-1")));
  if (r.kernel_tcp_limit && *r.kernel_tcp_limit != 0)
    TRY(write("memory", "linux.resources.memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes",
              limit_text(*r.kernel_tcp_limit, "-1")));
  if (r.swappiness)
    TRY(write("memory", "linux.resources.memory.swappiness", "memory.swappiness",
              std::to_string(*r.swappiness)));
  if (r.disable_oom_killer.value_or(false))
    TRY(write("memory", "linux.resources.memory.disableOOMKiller", "memory.oom_control", "1"));
  return {};
}

base::Status Planner::cpu(const Resources& r) {
  bool v2 = layout_.pure_v2();
  const char* field = "linux.resources.cpu";
  if (r.cpu_shares && *r.cpu_shares != 0) {
    if (v2) {
      TRY(write("cpu", field, "cpu.weight", std::to_string(cpu_weight(*r.cpu_shares))));
    } else {
      TRY(write("cpu", field, "cpu.shares", std::to_string(*r.cpu_shares)));
    }
  }
  bool has_quota = r.cpu_quota && *r.cpu_quota != 0, has_period = r.cpu_period && *r.cpu_period != 0;
  if (v2 && (has_quota || has_period)) {
    std::string value = has_quota ? limit_text(*r.cpu_quota, "max") : "max";
    if (has_period) value += " " + std::to_string(*r.cpu_period);
    TRY(write("cpu", field, "cpu.max", std::move(value)));
  } else {
    if (has_period) TRY(write("cpu", field, "cpu.cfs_period_us", std::to_string(*r.cpu_period)));
    if (has_quota) TRY(write("cpu", field, "cpu.cfs_quota_us", limit_text(*r.cpu_quota, "-1")));
  }
  if (r.cpu_burst)
    TRY(write("cpu", field, v2 ? "cpu.max.burst" : "cpu.cfs_burst_us", std::to_string(*r.cpu_burst)));
  if (r.cpu_idle) TRY(write("cpu", field, "cpu.idle", std::to_string(*r.cpu_idle)));
  if ((r.cpu_rt_period || r.cpu_rt_runtime) && v2)
    return base::make_error(base::Kind::kUnsupported, "apply", "linux.resources.cpu.realtimeRuntime",
                            "cgroup v2 has no such setting", "remove it");
  if (r.cpu_rt_period && *r.cpu_rt_period != 0)
    TRY(write("cpu", field, "cpu.rt_period_us", std::to_string(*r.cpu_rt_period)));
  if (r.cpu_rt_runtime && *r.cpu_rt_runtime != 0)
    TRY(write("cpu", field, "cpu.rt_runtime_us", std::to_string(*r.cpu_rt_runtime)));
  if (!r.cpus.empty()) TRY(write("cpuset", "linux.resources.cpu.cpus", "cpuset.cpus", r.cpus));
  if (!r.mems.empty()) TRY(write("cpuset", "linux.resources.cpu.mems", "cpuset.mems", r.mems));
  return {};
}

base::Status Planner::block_io(const Resources& r) {
  bool v2 = layout_.pure_v2();
  const char* controller = v2 ? "io" : "blkio";
  const char* field = "linux.resources.blockIO";
  if (r.blkio_weight && *r.blkio_weight != 0)
    TRY(write(controller, field, v2 ? "io.bfq.weight" : "blkio.bfq.weight", std::to_string(*r.blkio_weight)));
  bool leaf = r.blkio_leaf_weight && *r.blkio_leaf_weight != 0;
  for (const WeightDevice& d : r.weight_devices) {
    leaf |= d.leaf_weight.has_value();
    if (d.weight)
      TRY(write(controller, "linux.resources.blockIO.weightDevice",
                v2 ? "io.bfq.weight" : "blkio.bfq.weight_device",
                fmt::format("{}:{} {}", d.major, d.minor, *d.weight)));
  }
  if (leaf)
    return base::make_error(base::Kind::kUnsupported, "apply", "linux.resources.blockIO.leafWeight",
                            "it went from the kernel in 5.0", "remove it");
  auto throttle = [&](const std::vector<ThrottleDevice>& devices, const char* v1_file,
                      const char* v2_key) -> base::Status {
    for (const ThrottleDevice& d : devices) {
      std::string device = fmt::format("{}:{} ", d.major, d.minor);
      if (v2) TRY(write(controller, field, "io.max", fmt::format("{}{}={}", device, v2_key, d.rate)));
      else TRY(write(controller, field, v1_file, device + std::to_string(d.rate)));
    }
    return {};
  };
  TRY(throttle(r.read_bps, "blkio.throttle.read_bps_device", "rbps"));
  TRY(throttle(r.write_bps, "blkio.throttle.write_bps_device", "wbps"));
  TRY(throttle(r.read_iops, "blkio.throttle.read_iops_device", "riops"));
  TRY(throttle(r.write_iops, "blkio.throttle.write_iops_device", "wiops"));
  return {};
}

base::Status Planner::resources(const Resources& r) {
  TRY(memory(r));
  TRY(cpu(r));
  if (r.pids_limit && *r.pids_limit != 0)
    TRY(write("pids", "linux.resources.pids.limit", "pids.max", limit_text(*r.pids_limit, "max")));
  TRY(block_io(r));
  for (const auto& [size, bytes] : r.hugepages)
    TRY(write("hugetlb", "linux.resources.hugepageLimits",
              fmt::format("hugetlb.{}.{}", size, layout_.pure_v2() ? "max" : "limit_in_bytes"),
              std::to_string(bytes)));
  for (const RdmaLimit& limit : r.rdma) {
    std::string value = limit.device;
    if (limit.handles) value += fmt::format(" hca_handle={}", *limit.handles);
    if (limit.objects) value += fmt::format(" hca_object={}", *limit.objects);
    TRY(write("rdma", "linux.resources.rdma", "rdma.max", std::move(value)));
  }
  if ((r.net_class_id || !r.net_priorities.empty()) && layout_.pure_v2())
    return base::make_error(base::Kind::kUnsupported, "apply", "linux.resources.network",
                            "cgroup v2 has no such setting", "remove it");
  if (r.net_class_id)
    TRY(write("net_cls", "linux.resources.network.classID", "net_cls.classid",
              std::to_string(*r.net_class_id)));
  for (const auto& [name, priority] : r.net_priorities)
    TRY(write("net_prio", "linux.resources.network.priorities", "net_prio.ifpriomap",
              fmt::format("{} {}", name, priority)));
  if (!r.unified.empty() && !layout_.pure_v2())
    return base::make_error(base::Kind::kUnsupported, "apply", "linux.resources.unified",
                            fmt::format("invalid configuration: this host's cgroups are {}", layout_.mode()),
                            "remove it");
  for (const auto& [file, value] : r.unified)
    TRY(write(std::string_view(file).substr(0, file.find('.')), "linux.resources.unified", file, value));
  return {};
}
}  // namespace

uint64_t cpu_weight(uint64_t shares) {
  return 1 + (std::clamp<uint64_t>(shares, 2, 262144) - 2) * 9999 / 262142;
}

namespace {
// v2: a controller works in a directory only when all directories above pass it on.
void plan_controllers(const CgroupLayout& layout, const std::string& path,
                      const std::set<std::string>& wanted, CgroupPlan& plan) {
  std::string enable;
  for (const char* name : {"cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma"}) {
    bool known_to_systemd = std::string_view(name) != "hugetlb" && std::string_view(name) != "rdma";
    if (!wanted.count(name) || (layout.systemd && known_to_systemd)) continue;
    enable += (enable.empty() ? "+" : " +") + std::string(name);
  }
  for (size_t slash = 0; slash != std::string::npos && !enable.empty(); slash = path.find('/', slash + 1)) {
    std::string above = layout.unified + path.substr(0, slash);
    if (slash != 0) plan.actions.push_back({Action::kMakeDirectory, above, ""});
    plan.actions.push_back({Action::kWrite, above + "/cgroup.subtree_control", enable});
  }
}
}  // namespace

base::Result<CgroupPlan> plan_cgroup(const CgroupLayout& layout, const std::string& path,
                                     const Resources& resources, bool delegate) {
  CgroupPlan plan;
  Planner planner(layout, path);
  TRY(planner.resources(resources));
  // Counted or limited in every container, asked for or not.
  std::set<std::string> wanted = planner.used_;
  for (const char* controller : {"memory", "cpu", "cpuacct", "pids"}) wanted.insert(controller);
  if (!delegate) wanted.insert("devices");
  if (layout.unified.empty()) wanted.insert("freezer");
  // systemd ends a scope whose last process left its own hierarchy.
  if (layout.systemd && layout.unified.empty()) wanted.insert("name=systemd");

  if (layout.pure_v2()) plan_controllers(layout, path, wanted, plan);
  for (const CgroupLayout::Hierarchy& hierarchy : layout.v1) {
    bool use = std::any_of(hierarchy.controllers.begin(), hierarchy.controllers.end(),
                           [&](const std::string& name) { return wanted.count(name) != 0; });
    if (!use) continue;
    plan.directories.push_back(hierarchy.mount + path);
    plan.actions.push_back(
        {Action::kMakeDirectory, plan.directories.back(), "", hierarchy.controllers[0] == "cpuset"});
  }
  if (!layout.unified.empty()) {
    plan.unified = layout.unified + path;
    plan.actions.push_back({Action::kMakeDirectory, plan.unified, ""});
    if (delegate && layout.pure_v2())
      plan.actions.push_back(
          {Action::kWrite, plan.unified + "/cgroup.subtree_control", "+cpu +memory +pids"});
  }
  for (CgroupAction& write : planner.writes_) plan.actions.push_back(std::move(write));
  if (delegate || !layout.device_control) return plan;

  plan.device_rules.push_back({false, 'a', -1, -1, "rwm"});
  for (const DeviceRule& rule : resources.devices) plan.device_rules.push_back(rule);
  for (const DeviceRule& rule : default_device_rules()) plan.device_rules.push_back(rule);
  if (layout.pure_v2()) {
    std::string text;
    for (const DeviceRule& rule : plan.device_rules)
      text += (text.empty() ? "" : "; ") + std::string(rule.allow ? "allow " : "deny ") + device_text(rule);
    plan.actions.push_back({Action::kDeviceFilter, plan.unified, text});
    return plan;
  }
  std::string dir = TRY(planner.directory("devices", "linux.resources.devices"));
  bool anything_allowed = true;  // of a new directory: all that its parent allows
  for (const DeviceRule& rule : plan.device_rules) {
    bool all = rule.type == 'a' && rule.major < 0 && rule.minor < 0;
    if (all && !rule.allow && !anything_allowed) continue;
    if (all) anything_allowed = rule.allow;
    else if (rule.allow) anything_allowed = true;
    if (rule.type == 'a' && !all) {
      for (char type : {'b', 'c'}) {
        DeviceRule one = rule;
        one.type = type;
        plan.actions.push_back(
            {Action::kWrite, dir + (rule.allow ? "/devices.allow" : "/devices.deny"), device_text(one)});
      }
      continue;
    }
    plan.actions.push_back({Action::kWrite, dir + (rule.allow ? "/devices.allow" : "/devices.deny"),
                            all ? "a" : device_text(rule)});
  }
  return plan;
}

base::Result<CgroupPlan> plan_cgroup_update(const CgroupLayout& layout, const std::string& path,
                                            const Resources& resources, bool systemd) {
  CgroupPlan plan;
  Planner planner(layout, path);
  TRY(planner.resources(resources));
  if (layout.pure_v2() && !systemd) plan_controllers(layout, path, planner.used_, plan);
  for (const CgroupLayout::Hierarchy& hierarchy : layout.v1)
    for (const std::string& name : hierarchy.controllers)
      if (planner.used_.count(name))
        plan.actions.push_back(
            {Action::kMakeDirectory, hierarchy.mount + path, "", hierarchy.controllers[0] == "cpuset"});
  for (CgroupAction& write : planner.writes_) plan.actions.push_back(std::move(write));
  return plan;
}

}  // namespace runtime
