// events: what a container uses, in runc's form, and when it runs out of memory. Reads cgroup files
// alone; ends with the container.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/sys.h"
#include "runtime/oci/commands.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;
using base::Kind;

// One container's files, by controller.
class Files {
 public:
  Files(const CgroupLayout& layout, std::string path) : layout_(layout), path_(std::move(path)) {}
  bool v2() const { return layout_.pure_v2(); }
  std::string file(const char* controller, const std::string& name) const {
    if (v2()) return layout_.unified + path_ + "/" + name;
    const CgroupLayout::Hierarchy* hierarchy = layout_.find(controller);
    return hierarchy ? hierarchy->mount + path_ + "/" + name : "";
  }
  std::string text(const char* controller, const std::string& name) const {
    std::string path = file(controller, name);
    auto read = path.empty() ? base::Result<std::string>(std::string()) : sys::read_file(path);
    return read.ok() ? *read : "";
  }
  // "max" and what is not there are 0, as in runc.
  uint64_t number(const char* controller, const std::string& name) const {
    std::string value = text(controller, name);
    uint64_t out = 0;
    std::from_chars(value.data(), value.data() + value.size(), out);
    return out;
  }
  json::object table(const char* controller, const std::string& name) const {  // "key value" lines
    json::object out;
    std::string all = text(controller, name);
    std::string_view rest = all;
    while (!rest.empty()) {
      std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
      size_t space = line.find(' ');
      uint64_t value = 0;
      if (space == std::string_view::npos) continue;
      if (std::from_chars(line.data() + space + 1, line.data() + line.size(), value).ec != std::errc())
        continue;
      out[{line.data(), space}] = value;
    }
    return out;
  }

 private:
  const CgroupLayout& layout_;
  std::string path_;
};

uint64_t at(const json::object& table, std::string_view key) {
  const json::value* value = table.if_contains({key.data(), key.size()});
  return value ? static_cast<uint64_t>(base::as_int(value)) : 0;
}

json::object cpu_stats(const Files& files) {
  json::object usage;
  json::object throttling = files.table("cpu", "cpu.stat");
  if (files.v2()) {
    usage = {{"total", at(throttling, "usage_usec") * 1000},
             {"kernel", at(throttling, "system_usec") * 1000},
             {"user", at(throttling, "user_usec") * 1000}};
  } else {
    usage = {{"total", files.number("cpuacct", "cpuacct.usage")},
             {"kernel", files.number("cpuacct", "cpuacct.usage_sys")},
             {"user", files.number("cpuacct", "cpuacct.usage_user")}};
    json::array per_cpu;
    std::string text = files.text("cpuacct", "cpuacct.usage_percpu");
    for (const char* p = text.c_str(); *p && *p != '\n';) {
      char* end;
      per_cpu.push_back(std::strtoull(p, &end, 10));
      if (end == p) break;
      p = end + std::strspn(end, " ");
    }
    if (!per_cpu.empty()) usage["percpu"] = per_cpu;
  }
  return {{"usage", usage},
          {"throttling", json::object{{"periods", at(throttling, "nr_periods")},
                                      {"throttledPeriods", at(throttling, "nr_throttled")},
                                      {"throttledTime", files.v2() ? at(throttling, "throttled_usec") * 1000
                                                                   : at(throttling, "throttled_time")}}}};
}

json::object memory_entry(const Files& files, const std::string& v1, const char* v2_usage,
                          const char* v2_limit) {
  if (files.v2())
    return {{"limit", files.number("memory", v2_limit)},
            {"usage", files.number("memory", v2_usage)},
            {"failcnt", 0}};
  return {{"limit", files.number("memory", v1 + ".limit_in_bytes")},
          {"usage", files.number("memory", v1 + ".usage_in_bytes")},
          {"max", files.number("memory", v1 + ".max_usage_in_bytes")},
          {"failcnt", files.number("memory", v1 + ".failcnt")}};
}

json::object memory_stats(const Files& files) {
  json::object raw = files.table("memory", "memory.stat");
  json::object out{{"cache", at(raw, files.v2() ? "file" : "cache")},
                   {"usage", memory_entry(files, "memory", "memory.current", "memory.max")},
                   {"swap", memory_entry(files, "memory.memsw", "memory.swap.current", "memory.swap.max")}};
  out["kernel"] =
      files.v2() ? json::object{{"limit", 0}, {"failcnt", 0}} : memory_entry(files, "memory.kmem", "", "");
  out["kernelTCP"] = files.v2() ? json::object{{"limit", 0}, {"failcnt", 0}}
                                : memory_entry(files, "memory.kmem.tcp", "", "");
  out["raw"] = std::move(raw);
  return out;
}

// "8:0 Read 4096" (v1), "8:0 rbytes=1 wbytes=2 …" (v2).
json::array block_entries(const std::string& text, const char* v2_prefix) {
  json::array out;
  for (const char* line = text.c_str(); *line;
       line = std::strchr(line, '\n') ? std::strchr(line, '\n') + 1 : line + std::strlen(line)) {
    uint64_t major = 0, minor = 0, value = 0;
    char word[32] = {};
    if (!v2_prefix) {
      if (std::sscanf(line, "%lu:%lu %31s %lu", &major, &minor, word, &value) == 4)
        out.push_back(json::object{{"major", major}, {"minor", minor}, {"op", word}, {"value", value}});
      continue;
    }
    if (std::sscanf(line, "%lu:%lu", &major, &minor) != 2) continue;
    for (auto [key, op] : {std::pair{"r", "Read"}, std::pair{"w", "Write"}}) {
      std::string_view rest(line, std::strcspn(line, "\n"));
      std::string name = fmt::format(" {}{}=", key, v2_prefix);
      if (size_t found = rest.find(name); found != std::string_view::npos)
        out.push_back(json::object{{"major", major},
                                   {"minor", minor},
                                   {"op", op},
                                   {"value", std::strtoull(rest.data() + found + name.size(), nullptr, 10)}});
    }
  }
  return out;
}

json::object stats(const Files& files) {
  json::object block;
  std::string io = files.v2() ? files.text("io", "io.stat") : "";
  block["ioServiceBytesRecursive"] =
      files.v2() ? block_entries(io, "bytes")
                 : block_entries(files.text("blkio", "blkio.throttle.io_service_bytes_recursive"), nullptr);
  block["ioServicedRecursive"] =
      files.v2() ? block_entries(io, "ios")
                 : block_entries(files.text("blkio", "blkio.throttle.io_serviced_recursive"), nullptr);
  return {{"cpu", cpu_stats(files)},
          {"cpuset", json::object{}},
          {"memory", memory_stats(files)},
          {"pids", json::object{{"current", files.number("pids", "pids.current")},
                                {"limit", files.number("pids", "pids.max")}}},
          {"blkio", std::move(block)},
          {"hugetlb", json::object{}},
          {"intel_rdt", json::object{}},
          {"network_interfaces", nullptr}};
}

void print_event(const char* type, const std::string& id, json::value data) {
  // In this order, which callers match as text.
  json::object out{{"type", type}, {"id", id}};
  if (!data.is_null()) out["data"] = std::move(data);
  std::fputs((json::serialize(out) + "\n").c_str(), stdout);
  std::fflush(stdout);
}

// "5s", "100ms", "1m30s" of Go.
int parse_interval_ms(const std::string& text) {
  double total = 0;
  const char* p = text.c_str();
  while (*p) {
    char* end;
    double value = std::strtod(p, &end);
    if (end == p) return -1;
    double scale = std::strncmp(end, "ms", 2) == 0 ? 1
                   : *end == 's'                   ? 1000
                   : *end == 'm'                   ? 60'000
                   : *end == 'h'                   ? 3'600'000
                                                   : 0;
    if (scale == 0) return -1;
    total += value * scale;
    p = end + (scale == 1 ? 2 : 1);
  }
  return total >= 1 && total < 1e9 ? static_cast<int>(total) : -1;
}

// An fd that becomes readable when the kernel kills for want of memory: an eventfd on v1, inotify of
// memory.events on v2.
base::Result<base::UniqueFd> watch_oom(const Files& files) {
  if (files.v2()) {
    base::UniqueFd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!fd.valid() ||
        ::inotify_add_watch(fd.get(), files.file("memory", "memory.events").c_str(), IN_MODIFY) < 0)
      return sys::last_error("watch", "memory.events");
    return fd;
  }
  base::UniqueFd control = TRY(sys::open(files.file("memory", "memory.oom_control"), O_RDONLY));
  base::UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) return sys::last_error("eventfd");
  TRY(sys::write_control(files.file("memory", "cgroup.event_control"),
                         fmt::format("{} {}", fd.get(), control.get())));
  return fd;
}
bool read_oom(const Files& files, int fd, uint64_t& seen) {
  char buffer[4096];
  if (::read(fd, buffer, sizeof buffer) <= 0) return false;
  if (!files.v2())
    return !files.text("memory", "memory.oom_control").empty();  // the removal of the cgroup wakes, too
  uint64_t kills = at(files.table("memory", "memory.events"), "oom_kill");
  bool more = kills > seen;
  seen = kills;
  return more;
}

}  // namespace

base::Result<int> oci_events(const OciContext& context) {
  const std::string& id = context.options.arguments[0];
  int interval = parse_interval_ms(context.options.get("interval", "5s"));
  if (interval < 0)
    return base::make_error(Kind::kInvalid, "read option", "--interval", "must be a duration such as 5s");
  base::UniqueFd lock = TRY(context.store.lock(id));
  OciState state = TRY(context.store.read(id));
  const CgroupLayout* layout = TRY(cgroup_layout());
  OciStatus status = context.store.status(state, *layout);
  if (status == OciStatus::kStopped || status == OciStatus::kCreating)
    return base::make_error(Kind::kNotFound, "watch container", id, "container is not running");
  if (state.cgroup.empty())
    return base::make_error(Kind::kUnsupported, "watch container", id, "it has no cgroup of its own");
  base::UniqueFd container = TRY(sys::pidfd_open(state.pid));
  lock.reset();
  Files files(*layout, state.cgroup);
  if (context.options.has("stats")) {
    print_event("stats", id, stats(files));
    return 0;
  }
  uint64_t seen = files.v2() ? at(files.table("memory", "memory.events"), "oom_kill") : 0;
  base::UniqueFd oom = TRY(watch_oom(files));
  for (;;) {
    pollfd fds[2] = {{container.get(), POLLIN, 0}, {oom.get(), POLLIN, 0}};
    int n = ::poll(fds, 2, interval);
    if (n < 0 && errno != EINTR) return sys::last_error("poll");
    if (fds[1].revents && read_oom(files, oom.get(), seen)) print_event("oom", id, nullptr);
    if (fds[0].revents) return 0;
    if (n == 0) print_event("stats", id, stats(files));
  }
}

}  // namespace runtime
