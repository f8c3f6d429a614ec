// What a cgroup has used, from the kernel's counters. Reads alone.
#include <charconv>

#include "base/sys.h"
#include "runtime/cgroup.h"

namespace runtime {
namespace {

namespace sys = base::sys;

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
