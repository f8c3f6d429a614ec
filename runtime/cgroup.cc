#include "runtime/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <optional>
#include <set>

#include "base/sys.h"
#include "runtime/devices.h"

namespace runtime {
namespace {

namespace sys = base::sys;
using Kind = CgroupAction::Kind;
constexpr int kRemoveTimeoutMs = 10'000;

std::string next_word(std::string_view& text) {
  size_t end = text.find(' ');
  std::string word(text.substr(0, end));
  text = end == std::string_view::npos ? "" : text.substr(end + 1);
  return word;
}
std::string unescape(std::string_view text) {  // "\040" of mountinfo
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}
constexpr std::string_view kControllers[] = {"cpu",     "cpuacct", "cpuset",   "memory",
                                             "devices", "freezer", "blkio",    "pids",
                                             "hugetlb", "net_cls", "net_prio", "perf_event",
                                             "rdma",    "misc"};
uint64_t number_in(const std::string& path, std::string_view key = {}) {
  auto text = sys::read_file(path);
  if (!text.ok()) return 0;
  std::string_view rest = *text;
  if (!key.empty()) {
    size_t at = rest.starts_with(key) && rest.size() > key.size() && rest[key.size()] == ' '
                    ? 0
                    : rest.find("\n" + std::string(key) + " ");
    if (at == std::string_view::npos) return 0;
    if (at != 0 || rest[0] == '\n') ++at;
    rest.remove_prefix(at + key.size() + 1);
  }
  uint64_t value = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), value);
  return value;
}
}  // namespace

const CgroupLayout::Hierarchy* CgroupLayout::find(std::string_view controller) const {
  for (const Hierarchy& hierarchy : v1)
    for (const std::string& name : hierarchy.controllers)
      if (name == controller) return &hierarchy;
  return nullptr;
}

CgroupLayout parse_cgroup_layout(std::string_view mountinfo) {
  CgroupLayout layout;
  while (!mountinfo.empty()) {
    size_t end = mountinfo.find('\n');
    std::string_view line = mountinfo.substr(0, end);
    mountinfo = end == std::string_view::npos ? "" : mountinfo.substr(end + 1);
    size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    std::string_view head = line.substr(0, dash), tail = line.substr(dash + 3);
    if (!tail.starts_with("cgroup")) continue;
    for (int i = 0; i < 4; ++i) next_word(head);
    std::string mount = unescape(next_word(head));
    std::string type = next_word(tail);
    next_word(tail);
    if (type == "cgroup2") {
      if (layout.unified.empty()) layout.unified = mount;
      continue;
    }
    if (type != "cgroup") continue;
    CgroupLayout::Hierarchy hierarchy{mount, {}};
    std::string_view options = tail;
    while (!options.empty()) {
      size_t comma = options.find(',');
      std::string_view option = options.substr(0, comma);
      options = comma == std::string_view::npos ? "" : options.substr(comma + 1);
      if (option.starts_with("name=") ||
          std::find(std::begin(kControllers), std::end(kControllers), option) != std::end(kControllers))
        hierarchy.controllers.emplace_back(option);
    }
    // The same hierarchy may be mounted twice; the first place is as good as any.
    if (!hierarchy.controllers.empty() && !layout.find(hierarchy.controllers[0]))
      layout.v1.push_back(std::move(hierarchy));
  }
  return layout;
}

CgroupLayout usual_cgroup_layout(std::string_view self_cgroup) {
  CgroupLayout layout;
  bool unified = false;
  while (!self_cgroup.empty()) {
    // "4:cpu,cpuacct:/path", "1:name=systemd:/", "0::/"; the highest number first.
    std::string_view line = self_cgroup.substr(0, self_cgroup.find('\n'));
    self_cgroup.remove_prefix(std::min(self_cgroup.size(), line.size() + 1));
    line.remove_prefix(std::min(line.size(), line.find(':') + 1));
    std::string_view names = line.substr(0, line.find(':'));
    if (names.empty()) {
      unified = true;
      continue;
    }
    bool named = names.starts_with("name=");
    CgroupLayout::Hierarchy hierarchy{"/sys/fs/cgroup/" + std::string(named ? names.substr(5) : names), {}};
    for (std::string_view rest = names; !rest.empty();) {
      std::string_view name = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
      if (named || std::find(std::begin(kControllers), std::end(kControllers), name) != std::end(kControllers))
        hierarchy.controllers.emplace_back(name);
    }
    if (!hierarchy.controllers.empty()) layout.v1.insert(layout.v1.begin(), std::move(hierarchy));
  }
  if (unified) layout.unified = layout.v1.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
  return layout;
}

namespace {
// mountinfo costs the kernel several microseconds a mount, and a busy node has thousands. So first
// look where the hierarchies usually are; nullopt if one of them is not there.
std::optional<CgroupLayout> find_usual_layout() {
  auto text = sys::read_file("/proc/self/cgroup");
  if (!text.ok()) return std::nullopt;
  CgroupLayout layout = usual_cgroup_layout(*text);
  auto is_mounted = [](const std::string& path, long magic) {
    struct statfs info;
    return ::statfs(path.c_str(), &info) == 0 && info.f_type == magic;
  };
  for (const CgroupLayout::Hierarchy& hierarchy : layout.v1)
    if (!is_mounted(hierarchy.mount, CGROUP_SUPER_MAGIC)) return std::nullopt;
  if (!layout.unified.empty() && !is_mounted(layout.unified, CGROUP2_SUPER_MAGIC)) return std::nullopt;
  return layout;
}
}  // namespace

base::Result<const CgroupLayout*> cgroup_layout() {
  static CgroupLayout layout;
  if (layout.v1.empty() && layout.unified.empty())
    if (auto usual = find_usual_layout()) layout = std::move(*usual);
  if (layout.v1.empty() && layout.unified.empty()) {
    layout = parse_cgroup_layout(TRY(sys::read_file("/proc/self/mountinfo", 64u << 20)));
    if (layout.v1.empty() && layout.unified.empty())
      return base::make_error(base::Kind::kUnsupported, "find cgroups", "/proc/self/mountinfo",
                              "no cgroup file system is mounted",
                              "mount -t cgroup2 none /sys/fs/cgroup");
  }
  return &layout;
}

std::string CgroupAction::text() const {
  switch (kind) {
    case Kind::kMakeDirectory: return "cgroup-make " + path;
    case Kind::kWrite: return fmt::format("cgroup-write {} {}", path, value);
    case Kind::kDeviceFilter: return fmt::format("cgroup-device-filter {} {}", path, value);
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
    writes_.push_back({Kind::kWrite, dir + "/" + file, std::move(value)});
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
    if (r.memory_limit) TRY(write("memory", "memory.limit", "memory.max", limit_text(*r.memory_limit, "max")));
    if (r.memory_reservation)
      TRY(write("memory", "memory.reservation", "memory.low", limit_text(*r.memory_reservation, "max")));
    if (r.memory_swap) {
      // OCI's swap is memory and swap together; v2 counts swap alone.
      int64_t swap = *r.memory_swap;
      if (swap > 0 && !r.memory_limit)
        return base::make_error(base::Kind::kInvalid, "read", "linux.resources.memory.swap", "needs a limit");
      if (swap > 0) swap -= *r.memory_limit;
      if (*r.memory_swap > 0 && swap < 0)
        return base::make_error(base::Kind::kInvalid, "read", "linux.resources.memory.swap", "is less than limit");
      if (*r.memory_swap != 0) TRY(write("memory", "memory.swap", "memory.swap.max", limit_text(swap, "max")));
    }
    const char* field = r.swappiness                            ? "swappiness"
                        : r.disable_oom_killer.value_or(false) ? "disableOOMKiller"
                        : r.kernel_limit                       ? "kernel"
                        : r.kernel_tcp_limit                   ? "kernelTCP"
                                                               : nullptr;
    if (field)
      return base::make_error(base::Kind::kUnsupported, "apply", std::string("linux.resources.memory.") + field,
                              "cgroup v2 has no such setting", "remove it");
    return {};
  }
  if (r.memory_limit && *r.memory_limit != 0)
    TRY(write("memory", "linux.resources.memory.limit", "memory.limit_in_bytes", limit_text(*r.memory_limit, "-1")));
  if (r.memory_swap && *r.memory_swap != 0)
    TRY(write("memory", "linux.resources.memory.swap", "memory.memsw.limit_in_bytes", limit_text(*r.memory_swap, "-1")));
  if (r.memory_reservation && *r.memory_reservation != 0)
    TRY(write("memory", "linux.resources.memory.reservation", "memory.soft_limit_in_bytes",
              limit_text(*r.memory_reservation, "-1")));
  // Deprecated: kernels of today take the first and do nothing; those without the file refuse it.
  if (r.kernel_limit && *r.kernel_limit != 0)
    TRY(write("memory", "linux.resources.memory.kernel", "memory.kmem.limit_in_bytes", limit_text(*r.kernel_limit, "-1")));
  if (r.kernel_tcp_limit && *r.kernel_tcp_limit != 0)
    TRY(write("memory", "linux.resources.memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes",
              limit_text(*r.kernel_tcp_limit, "-1")));
  if (r.swappiness)
    TRY(write("memory", "linux.resources.memory.swappiness", "memory.swappiness", std::to_string(*r.swappiness)));
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
      TRY(write(controller, "linux.resources.blockIO.weightDevice", v2 ? "io.bfq.weight" : "blkio.bfq.weight_device",
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
    TRY(write("net_cls", "linux.resources.network.classID", "net_cls.classid", std::to_string(*r.net_class_id)));
  for (const auto& [name, priority] : r.net_priorities)
    TRY(write("net_prio", "linux.resources.network.priorities", "net_prio.ifpriomap", fmt::format("{} {}", name, priority)));
  if (!r.unified.empty() && !layout_.pure_v2())
    return base::make_error(base::Kind::kUnsupported, "apply", "linux.resources.unified",
                            fmt::format("invalid configuration: this host's cgroups are {}", layout_.mode()), "remove it");
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
void plan_controllers(const CgroupLayout& layout, const std::string& path, const std::set<std::string>& wanted, CgroupPlan& plan) {
  std::string enable;
  for (const char* name : {"cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma"}) {
    bool known_to_systemd = std::string_view(name) != "hugetlb" && std::string_view(name) != "rdma";
    if (!wanted.count(name) || (layout.systemd && known_to_systemd)) continue;
    enable += (enable.empty() ? "+" : " +") + std::string(name);
  }
  for (size_t slash = 0; slash != std::string::npos && !enable.empty(); slash = path.find('/', slash + 1)) {
    std::string above = layout.unified + path.substr(0, slash);
    if (slash != 0) plan.actions.push_back({Kind::kMakeDirectory, above, ""});
    plan.actions.push_back({Kind::kWrite, above + "/cgroup.subtree_control", enable});
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
    plan.actions.push_back({Kind::kMakeDirectory, plan.directories.back(), "",
                            hierarchy.controllers[0] == "cpuset"});
  }
  if (!layout.unified.empty()) {
    plan.unified = layout.unified + path;
    plan.actions.push_back({Kind::kMakeDirectory, plan.unified, ""});
    if (delegate && layout.pure_v2())
      plan.actions.push_back({Kind::kWrite, plan.unified + "/cgroup.subtree_control",
                              "+cpu +memory +pids"});
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
    plan.actions.push_back({Kind::kDeviceFilter, plan.unified, text});
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
        plan.actions.push_back({Kind::kWrite, dir + (rule.allow ? "/devices.allow" : "/devices.deny"),
                                device_text(one)});
      }
      continue;
    }
    plan.actions.push_back({Kind::kWrite, dir + (rule.allow ? "/devices.allow" : "/devices.deny"),
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
        plan.actions.push_back({Kind::kMakeDirectory, hierarchy.mount + path, "", hierarchy.controllers[0] == "cpuset"});
  for (CgroupAction& write : planner.writes_) plan.actions.push_back(std::move(write));
  return plan;
}

namespace {
// A new cpuset directory is empty, and nothing can enter it: copy what the one above has.
base::Status inherit_cpuset(const std::string& directory) {
  std::string above = directory.substr(0, directory.rfind('/'));
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
    std::string have = TRY(sys::read_file(directory + file));
    if (have.size() > 1) continue;
    TRY(sys::write_control(directory + file, TRY(sys::read_file(above + file))));
  }
  return {};
}
base::Status make_directory(const std::string& path, bool cpuset) {
  if (::mkdir(path.c_str(), 0755) != 0) {
    if (errno == EEXIST) return cpuset ? inherit_cpuset(path) : base::Status{};
    if (errno != ENOENT) return sys::last_error("make cgroup", path);
    size_t slash = path.rfind('/');
    if (slash == 0 || slash == std::string::npos) return sys::last_error("make cgroup", path);
    TRY(make_directory(path.substr(0, slash), cpuset));
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST)
      return sys::last_error("make cgroup", path);
  }
  return cpuset ? inherit_cpuset(path) : base::Status{};
}
base::Status write_subtree_control(const std::string& path, const std::string& value) {
  auto all = sys::write_control(path, value);
  if (all.ok()) return {};
  if (all.error().errno_value == EBUSY) {
    // Not one by one: `cpu` alone would be taken, and make it a domain of threads.
    base::Error error = all.error();
    error.hint = "the cgroup holds processes: give a parent without";
    return error;
  }
  // One by one: a controller that this kernel lacks must not keep the others off.
  std::string_view rest = value;
  while (!rest.empty()) {
    std::string one = next_word(rest);
    auto written = sys::write_control(path, one);
    if (written.ok() || written.error().errno_value == EINVAL ||
        written.error().errno_value == ENOENT || (written.error().errno_value == EACCES && ::geteuid() != 0))
      continue;
    return written.error();
  }
  return {};
}
}  // namespace

namespace {
// Writes control files, each value in a write(2) of its own; a file that is written several times in
// a row (devices.allow) is opened once.
class ControlWriter {
 public:
  base::Status write(const std::string& path, std::string_view value) {
    if (path != path_) {
      fd_ = TRY(sys::open(path, O_WRONLY));
      path_ = path;
    }
    if (::write(fd_.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size())) return {};
    base::Error error = sys::last_error("write", path);
    error.reason = "value '" + std::string(value.substr(0, 80)) + "' refused";
    return error;
  }

 private:
  base::UniqueFd fd_;
  std::string path_;
};
}  // namespace

base::Status act_cgroup(const CgroupPlan& plan) {
  ControlWriter writer;
  for (const CgroupAction& action : plan.actions) {
    switch (action.kind) {
      case Kind::kMakeDirectory: TRY(make_directory(action.path, action.cpuset)); break;
      case Kind::kWrite:
        if (action.path.ends_with("/cgroup.subtree_control"))
          TRY(write_subtree_control(action.path, action.value));
        else
          TRY(writer.write(action.path, action.value));
        break;
      case Kind::kDeviceFilter: TRY(attach_device_filter(action.path, plan.device_rules)); break;
    }
  }
  return {};
}

namespace {
std::vector<std::string> all_directories(const CgroupLayout& layout, const std::string& path) {
  std::vector<std::string> out;
  if (!layout.unified.empty()) out.push_back(layout.unified + path);
  for (const CgroupLayout::Hierarchy& hierarchy : layout.v1) out.push_back(hierarchy.mount + path);
  return out;
}
std::vector<std::string> subdirectories(const std::string& directory) {
  std::vector<std::string> out;
  auto names = sys::list_dir(directory);
  if (!names.ok()) return out;
  for (const std::string& name : *names) {
    struct stat info;
    std::string path = directory + "/" + name;
    if (::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) out.push_back(std::move(path));
  }
  return out;
}
void collect(const std::string& directory, std::set<pid_t>& out) {
  auto text = sys::read_file(directory + "/cgroup.procs");
  if (!text.ok()) return;
  std::string_view rest = *text;
  while (!rest.empty()) {
    pid_t pid = 0;
    auto [end, ec] = std::from_chars(rest.data(), rest.data() + rest.size(), pid);
    if (ec != std::errc()) break;
    if (pid > 0) out.insert(pid);
    rest.remove_prefix(std::min(rest.size(), static_cast<size_t>(end - rest.data()) + 1));
  }
  for (const std::string& below : subdirectories(directory)) collect(below, out);
}
base::Status remove_directory(const std::string& directory) {
  if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  for (const std::string& below : subdirectories(directory)) TRY(remove_directory(below));
  if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  return sys::last_error("remove cgroup", directory);
}
}  // namespace

std::vector<std::string> cgroup_directories(const CgroupLayout& layout, const std::string& path) {
  std::vector<std::string> out;
  for (const CgroupLayout::Hierarchy& hierarchy : layout.v1)
    if (sys::exists(hierarchy.mount + path)) out.push_back(hierarchy.mount + path);
  return out;
}
std::vector<pid_t> cgroup_processes(const CgroupLayout& layout, const std::string& path) {
  std::set<pid_t> pids;
  for (const std::string& directory : all_directories(layout, path)) collect(directory, pids);
  return {pids.begin(), pids.end()};
}

base::Status signal_cgroup(const CgroupLayout& layout, const std::string& path, int signal) {
  if (signal == SIGKILL && !layout.unified.empty()) {
    // Kernel 5.14; reaches what forks meanwhile.
    if (sys::write_control(layout.unified + path + "/cgroup.kill", "1").ok() && layout.pure_v2())
      return {};
  }
  for (pid_t pid : cgroup_processes(layout, path))
    if (::kill(pid, signal) != 0 && errno != ESRCH)
      return sys::last_error("signal process", std::to_string(pid));
  return {};
}

base::Status freeze_cgroup(const CgroupLayout& layout, const std::string& path, bool frozen) {
  if (!layout.unified.empty()) {
    std::string directory = layout.unified + path;
    base::UniqueFd events = TRY(sys::open(directory + "/cgroup.events", O_RDONLY));
    TRY(sys::write_control(directory + "/cgroup.freeze", frozen ? "1" : "0"));
    for (;;) {  // the kernel wakes POLLPRI on every change of the file
      char text[256] = {};
      if (::pread(events.get(), text, sizeof text - 1, 0) < 0) return sys::last_error("read cgroup.events", path);
      if ((std::string_view(text).find("frozen 1") != std::string_view::npos) == frozen) return {};
      pollfd wait{events.get(), POLLPRI, 0};
      int n = ::poll(&wait, 1, kRemoveTimeoutMs);
      if (n == 0)
        return base::make_error(base::Kind::kTimeout, frozen ? "freeze" : "thaw", path,
                                "a process does not stop", "look for processes in state D");
      if (n < 0 && errno != EINTR) return sys::last_error("poll", path);
    }
  }
  const CgroupLayout::Hierarchy* freezer = layout.find("freezer");
  if (!freezer)
    return base::make_error(base::Kind::kUnsupported, "freeze", path, "no freezer hierarchy");
  std::string file = freezer->mount + path + "/freezer.state";
  // v1 has no notification, and FREEZING turns into FROZEN only when asked again.
  for (int attempt = 0; attempt < 1000; ++attempt) {
    TRY(sys::write_control(file, frozen ? "FROZEN" : "THAWED"));
    std::string state = TRY(sys::read_file(file));
    if (state == (frozen ? "FROZEN\n" : "THAWED\n")) return {};
    ::poll(nullptr, 0, 1);
  }
  return base::make_error(base::Kind::kTimeout, "freeze", path, "a process does not stop");
}
bool cgroup_frozen(const CgroupLayout& layout, const std::string& path) {
  if (!layout.unified.empty()) return number_in(layout.unified + path + "/cgroup.freeze") == 1;
  const CgroupLayout::Hierarchy* freezer = layout.find("freezer");
  if (!freezer) return false;
  auto state = sys::read_file(freezer->mount + path + "/freezer.state");
  return state.ok() && *state == "FROZEN\n";
}

base::Status remove_cgroup(const CgroupLayout& layout, const std::string& path) {
  if (path.empty() || path == "/")
    return base::make_error(base::Kind::kInvalid, "remove cgroup", path, "not ours");
  auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kRemoveTimeoutMs);
  for (;;) {
    base::Status last;
    for (const std::string& directory : all_directories(layout, path))
      if (auto removed = remove_directory(directory); !removed.ok()) last = removed;
    if (last.ok() || last.error().errno_value != EBUSY) return last;
    // Somebody lives in it: kill, thaw what is frozen, and wait for each by its pidfd.
    base::ignore(signal_cgroup(layout, path, SIGKILL), "tried again below");
    if (layout.unified.empty() && cgroup_frozen(layout, path))
      base::ignore(freeze_cgroup(layout, path, false), "tried again below");
    for (pid_t pid : cgroup_processes(layout, path)) {
      auto pidfd = sys::pidfd_open(pid);
      if (!pidfd.ok()) continue;
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      pollfd wait{pidfd->get(), POLLIN, 0};
      if (left.count() > 0) ::poll(&wait, 1, static_cast<int>(left.count()));
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      base::Error error = last.error();
      error.hint = "a process in it does not die: look for state D";
      return error;
    }
    // Dead but still leaving the cgroup: give way once before looking again.
    ::poll(nullptr, 0, 1);
  }
}

CgroupUsage cgroup_usage(const CgroupLayout& layout, const std::string& path) {
  CgroupUsage usage;
  auto directory = [&](const char* controller) {
    if (layout.pure_v2()) return layout.unified + path;
    const CgroupLayout::Hierarchy* hierarchy = layout.find(controller);
    return hierarchy ? hierarchy->mount + path : std::string();
  };
  uint64_t inactive;
  if (layout.pure_v2()) {
    usage.cpu_ns = number_in(directory("cpu") + "/cpu.stat", "usage_usec") * 1000;
    usage.memory_bytes = number_in(directory("memory") + "/memory.current");
    inactive = number_in(directory("memory") + "/memory.stat", "inactive_file");
  } else {
    usage.cpu_ns = number_in(directory("cpuacct") + "/cpuacct.usage");
    usage.memory_bytes = number_in(directory("memory") + "/memory.usage_in_bytes");
    inactive = number_in(directory("memory") + "/memory.stat", "total_inactive_file");
  }
  // As cAdvisor: what could be dropped at once does not count.
  usage.memory_working_set_bytes = usage.memory_bytes > inactive ? usage.memory_bytes - inactive : 0;
  usage.pids = number_in(directory("pids") + "/pids.current");
  return usage;
}
uint64_t cgroup_oom_kills(const CgroupLayout& layout, const std::string& path) {
  if (layout.pure_v2()) return number_in(layout.unified + path + "/memory.events", "oom_kill");
  const CgroupLayout::Hierarchy* memory = layout.find("memory");
  return memory ? number_in(memory->mount + path + "/memory.oom_control", "oom_kill") : 0;
}

}  // namespace runtime
