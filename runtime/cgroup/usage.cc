// What a cgroup has used, from the kernel's counters. Reads alone.
#include <charconv>

#include "base/sys.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/runtime.h"

namespace runtime {
namespace {

namespace sys = base::sys;

// The number behind `key` in text of lines "key value"; the text's own when `key` is empty.
uint64_t number_of(std::string_view rest, std::string_view key = {}) {
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
uint64_t number_in(const std::string& path, std::string_view key = {}) {
  auto text = sys::read_file(path);
  return text.ok() ? number_of(*text, key) : 0;
}
std::string directory_of(const CgroupLayout& layout, const std::string& path, const char* controller) {
  if (layout.pure_v2()) return layout.unified + path;
  const CgroupLayout::Hierarchy* hierarchy = layout.find(controller);
  return hierarchy ? hierarchy->mount + path : std::string();
}
// USER_HZ, in which the kernel tells times of day in text: 100 on every Linux since 2.6.
constexpr uint64_t kTickNs = 10'000'000;
}  // namespace

CgroupUsage cgroup_usage(const CgroupLayout& layout, const std::string& path) {
  CgroupUsage usage;
  auto directory = [&](const char* controller) { return directory_of(layout, path, controller); };
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

base::Result<CgroupCounters> cgroup_counters(const std::string& cgroup) {
  const CgroupLayout& layout = *TRY(cgroup_layout());
  CgroupCounters out;
  const bool v2 = layout.pure_v2();
  const std::string cpu = directory_of(layout, cgroup, v2 ? "cpu" : "cpuacct"),
                    memory = directory_of(layout, cgroup, "memory");
  if (!sys::exists(cpu))
    return base::make_error(base::Kind::kNotFound, "count", cgroup, "no such control group");
  auto read = [](const std::string& path) { return sys::read_file(path).value_or(""); };
  const std::string cpu_stat =
      read(v2 ? cpu + "/cpu.stat" : directory_of(layout, cgroup, "cpu") + "/cpu.stat");
  const std::string memory_stat = read(memory + "/memory.stat");
  out.cpu_periods = number_of(cpu_stat, "nr_periods");
  out.cpu_throttled_periods = number_of(cpu_stat, "nr_throttled");
  if (v2) {
    out.cpu_ns = number_of(cpu_stat, "usage_usec") * 1000;
    out.cpu_user_ns = number_of(cpu_stat, "user_usec") * 1000;
    out.cpu_system_ns = number_of(cpu_stat, "system_usec") * 1000;
    out.cpu_throttled_ns = number_of(cpu_stat, "throttled_usec") * 1000;
    out.memory_bytes = number_in(memory + "/memory.current");
    out.swap_bytes = number_in(memory + "/memory.swap.current");
    out.memory_limit_hits = number_in(memory + "/memory.events", "max");
  } else {
    const std::string acct = read(cpu + "/cpuacct.stat");
    out.cpu_ns = number_in(cpu + "/cpuacct.usage");
    out.cpu_user_ns = number_of(acct, "user") * kTickNs;
    out.cpu_system_ns = number_of(acct, "system") * kTickNs;
    out.cpu_throttled_ns = number_of(cpu_stat, "throttled_time");
    out.memory_bytes = number_in(memory + "/memory.usage_in_bytes");
    out.swap_bytes = number_of(memory_stat, "total_swap");
    out.memory_limit_hits = number_in(memory + "/memory.failcnt");
  }
  // With what is below it: a v1 group counts its own alone unless asked for the total.
  auto stat = [&](const char* v1, const char* v2_name) { return number_of(memory_stat, v2 ? v2_name : v1); };
  const uint64_t inactive = stat("total_inactive_file", "inactive_file");
  out.memory_working_set_bytes = out.memory_bytes > inactive ? out.memory_bytes - inactive : 0;
  out.memory_rss_bytes = stat("total_rss", "anon");
  out.memory_file_bytes = stat("total_cache", "file");
  out.memory_mapped_bytes = stat("total_mapped_file", "file_mapped");
  out.page_faults = stat("total_pgfault", "pgfault");
  out.major_page_faults = stat("total_pgmajfault", "pgmajfault");
  out.oom_kills = cgroup_oom_kills(layout, cgroup);
  out.pids = number_in(directory_of(layout, cgroup, "pids") + "/pids.current");
  return out;
}

}  // namespace runtime
