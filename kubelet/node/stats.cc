#include "kubelet/node/stats.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <set>
#include <sstream>

#include "base/fd.h"
#include "base/sys.h"

namespace kubelet {

namespace sys = base::sys;

namespace {

constexpr size_t kMaxEntries = 200'000;
constexpr int kMaxDepth = 64;

std::map<std::string, uint64_t> numbers(const char* path, uint64_t unit) {
  std::map<std::string, uint64_t> out;
  std::istringstream lines(sys::read_file(path).value_or(""));
  std::string key, rest;
  for (uint64_t value; lines >> key >> value; std::getline(lines, rest)) {
    if (key.ends_with(':')) key.pop_back();
    out[key] = value * unit;
  }
  return out;
}

std::optional<FilesystemSeen> filesystem(const std::string& path) {
  struct statvfs fs {};
  if (::statvfs(path.c_str(), &fs) != 0) return std::nullopt;
  FilesystemSeen out;
  out.capacity_bytes = fs.f_blocks * fs.f_frsize;
  out.available_bytes = fs.f_bavail * fs.f_frsize;
  out.inodes = fs.f_files;
  out.inodes_free = fs.f_ffree;
  return out;
}

struct Walk {
  dev_t device;
  size_t entries = 0;
  DiskUse use;
  std::set<std::pair<dev_t, ino_t>> linked;
};
// By directory fds: a container may swap a directory for a link while we walk.
bool walk(base::UniqueFd directory, int depth, Walk& w) {
  if (depth > kMaxDepth) return false;
  DIR* open = ::fdopendir(directory.get());
  if (!open) return false;
  (void)directory.release();  // the stream's from here on
  bool whole = true;
  while (const dirent* entry = ::readdir(open)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat st {};
    if (::fstatat(::dirfd(open), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;  // just removed
    if (++w.entries > kMaxEntries) {
      whole = false;
      break;
    }
    if (st.st_dev != w.device) continue;
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && !w.linked.insert({st.st_dev, st.st_ino}).second) continue;
    w.use.bytes += static_cast<uint64_t>(st.st_blocks) * 512;
    ++w.use.inodes;
    if (!S_ISDIR(st.st_mode)) continue;
    base::UniqueFd below(
        ::openat(::dirfd(open), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (below.valid() && !walk(std::move(below), depth + 1, w)) {
      whole = false;
      break;
    }
  }
  ::closedir(open);
  return whole;
}

NetworkCounters of_the_pod(const NetworkCounters& host_end) {
  return {host_end.tx_bytes, host_end.tx_packets, host_end.tx_errors, host_end.tx_dropped,
          host_end.rx_bytes, host_end.rx_packets, host_end.rx_errors, host_end.rx_dropped};
}

void observe_node(const CountRequest& request, StatsSeen& seen) {
  seen.node_name = request.node_name;
  seen.cgroup_parent = request.cgroup_parent;
  seen.cpus = std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN));
  std::istringstream stat(sys::read_file("/proc/stat").value_or(""));
  const uint64_t tick_ns = 1'000'000'000 / static_cast<uint64_t>(std::max(1L, ::sysconf(_SC_CLK_TCK)));
  for (std::string line; std::getline(stat, line);) {
    std::istringstream words(line);
    std::string key;
    words >> key;
    if (key == "cpu") {  // user nice system idle iowait irq softirq steal: all but idling
      uint64_t value[8] = {};
      for (uint64_t& v : value) words >> v;
      seen.cpu_ns = (value[0] + value[1] + value[2] + value[5] + value[6] + value[7]) * tick_ns;
    } else if (key == "btime") {
      int64_t seconds = 0;
      words >> seconds;
      seen.booted_at = base::Time(std::chrono::seconds(seconds));
    }
  }
  auto memory = numbers("/proc/meminfo", 1024);
  seen.memory_total_bytes = memory["MemTotal"];
  seen.memory_available_bytes = memory["MemAvailable"];
  seen.memory_bytes = memory["MemTotal"] - std::min(memory["MemTotal"], memory["MemFree"]);
  // As cAdvisor of the root group: what could be dropped at once does not count.
  seen.memory_working_set_bytes = seen.memory_bytes - std::min(seen.memory_bytes, memory["Inactive(file)"]);
  seen.memory_rss_bytes = memory["AnonPages"];
  seen.swap_total_bytes = memory["SwapTotal"];
  seen.swap_bytes = memory["SwapTotal"] - std::min(memory["SwapTotal"], memory["SwapFree"]);
  auto vm = numbers("/proc/vmstat", 1);
  seen.page_faults = vm["pgfault"];
  seen.major_page_faults = vm["pgmajfault"];
  std::istringstream load(sys::read_file("/proc/loadavg").value_or(""));
  std::string word;
  for (int i = 0; i < 4; ++i) load >> word;  // "1/234": running/all
  if (size_t slash = word.find('/'); slash != std::string::npos)
    seen.processes = std::strtoll(word.c_str() + slash + 1, nullptr, 10);
  seen.max_processes =
      std::strtoll(sys::read_file("/proc/sys/kernel/pid_max").value_or("").c_str(), nullptr, 10);
  seen.root = filesystem(request.root_dir);
  seen.images = filesystem(request.image_root);
  std::istringstream routes(sys::read_file("/proc/net/route").value_or(""));
  for (std::string line; std::getline(routes, line);) {
    std::istringstream words(line);
    std::string link, to;
    if (words >> link >> to && to == "00000000" && seen.default_link.empty()) seen.default_link = link;
  }
}

}  // namespace

std::optional<DiskUse> disk_use(const std::string& directory) {
  base::UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  if (!fd.valid() || ::fstat(fd.get(), &st) != 0) return std::nullopt;
  Walk w{.device = st.st_dev, .entries = 0, .use = {}, .linked = {}};
  w.use = {static_cast<uint64_t>(st.st_blocks) * 512, 1};
  if (!walk(std::move(fd), 0, w)) return std::nullopt;
  return w.use;
}

std::map<std::string, NetworkCounters> parse_net_dev(const std::string& text) {
  std::map<std::string, NetworkCounters> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon);
    name.erase(0, std::min(name.find_first_not_of(' '), name.size()));
    std::istringstream words(line.substr(colon + 1));
    uint64_t v[16] = {};
    bool whole = !name.empty();
    for (uint64_t& one : v) whole = static_cast<bool>(words >> one) && whole;
    if (whole) out[name] = {v[0], v[1], v[2], v[3], v[8], v[9], v[10], v[11]};
  }
  return out;
}

StatsSeen observe_stats(const CountRequest& request) {
  StatsSeen seen;
  seen.at = base::wall_now();
  observe_node(request, seen);
  auto links = parse_net_dev(sys::read_file("/proc/net/dev").value_or(""));
  if (auto all = runtime::cgroup_counters(request.cgroup_parent); all.ok()) seen.all_pods = *all;
  for (const CountedPod& pod : request.pods) {
    PodSeenStats out;
    out.of = pod;
    if (auto use = runtime::cgroup_counters(pod.cgroup); use.ok()) out.use = *use;
    if (!out.use) continue;
    if (auto link = links.find(pod.host_link); link != links.end()) out.network = of_the_pod(link->second);
    for (const CountedContainer& container : pod.containers) {
      auto use = runtime::cgroup_counters(container.cgroup);
      if (!use.ok()) continue;
      ContainerSeenStats one{.of = container, .use = *use, .rootfs = {}, .logs = {}};
      if (request.disks) {
        one.rootfs = disk_use(container.writable);
        if (struct stat st{}; ::stat(container.log.c_str(), &st) == 0)
          one.logs = DiskUse{static_cast<uint64_t>(st.st_blocks) * 512, 1};
      }
      out.containers.push_back(std::move(one));
    }
    if (request.disks)
      for (const auto& [name, directory] : pod.volumes)
        if (auto use = disk_use(directory)) out.volumes.emplace_back(name, *use);
    seen.pods.push_back(std::move(out));
  }
  for (auto& [name, counters] : links)
    if (name != "lo" && !name.starts_with("veth")) seen.links[name] = counters;
  return seen;
}

}  // namespace kubelet
