#include "runtime/cgroup/layout.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <optional>

#include "base/sys.h"

namespace runtime {
namespace {

namespace sys = base::sys;

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
constexpr std::string_view kControllers[] = {"cpu",      "cpuacct",    "cpuset", "memory",  "devices",
                                             "freezer",  "blkio",      "pids",   "hugetlb", "net_cls",
                                             "net_prio", "perf_event", "rdma",   "misc"};
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
      if (named ||
          std::find(std::begin(kControllers), std::end(kControllers), name) != std::end(kControllers))
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
                              "no cgroup file system is mounted", "mount -t cgroup2 none /sys/fs/cgroup");
  }
  return &layout;
}

}  // namespace runtime
