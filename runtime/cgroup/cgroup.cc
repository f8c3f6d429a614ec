#include "runtime/cgroup/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <set>

#include "base/sys.h"

namespace runtime {

namespace sys = base::sys;
using Action = CgroupAction::Kind;
constexpr int kRemoveTimeoutMs = 10'000;
constexpr int kReapEveryMs = 2;
constexpr auto kRemovedChildTimeout = std::chrono::seconds(3);

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
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return sys::last_error("make cgroup", path);
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
    size_t space = std::min(rest.find(' '), rest.size());
    std::string one(rest.substr(0, space));
    rest.remove_prefix(std::min(rest.size(), space + 1));
    auto written = sys::write_control(path, one);
    if (written.ok() || written.error().errno_value == EINVAL || written.error().errno_value == ENOENT ||
        (written.error().errno_value == EACCES && ::geteuid() != 0))
      continue;
    return written.error();
  }
  return {};
}
}  // namespace

namespace {
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

// Rules for all devices at once are refused where a cgroup has children, and one that was just removed counts
// until an RCU grace period has passed, some 20 ms, under load half a second.
bool waits_for_a_removed_child(const std::string& path, std::string_view value) {
  constexpr std::string_view kAllow = "/devices.allow", kDeny = "/devices.deny";
  if (value != "a" || (!path.ends_with(kAllow) && !path.ends_with(kDeny))) return false;
  return subdirectories(path.substr(0, path.rfind('/'))).empty();
}

// Writes control files, each value in a write(2) of its own; a file that is written several times in
// a row (devices.allow) is opened once.
class ControlWriter {
 public:
  base::Status write(const std::string& path, std::string_view value) {
    if (path != path_) {
      fd_ = TRY(sys::open(path, O_WRONLY));
      path_ = path;
    }
    const auto deadline = std::chrono::steady_clock::now() + kRemovedChildTimeout;
    auto write = [&] {
      return ::write(fd_.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
    };
    bool done = write();
    while (!done && errno == EINVAL && std::chrono::steady_clock::now() < deadline &&
           waits_for_a_removed_child(path, value)) {
      ::poll(nullptr, 0, kReapEveryMs);
      done = write();
    }
    if (done) return {};
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
      case Action::kMakeDirectory: TRY(make_directory(action.path, action.cpuset)); break;
      case Action::kWrite:
        if (action.path.ends_with("/cgroup.subtree_control"))
          TRY(write_subtree_control(action.path, action.value));
        else TRY(writer.write(action.path, action.value));
        break;
      case Action::kDeviceFilter: TRY(attach_device_filter(action.path, plan.device_rules)); break;
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
    if (sys::write_control(layout.unified + path + "/cgroup.kill", "1").ok() && layout.pure_v2()) return {};
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
      if (::pread(events.get(), text, sizeof text - 1, 0) < 0)
        return sys::last_error("read cgroup.events", path);
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
  if (!freezer) return base::make_error(base::Kind::kUnsupported, "freeze", path, "no freezer hierarchy");
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
  if (!layout.unified.empty()) {
    auto state = sys::read_file(layout.unified + path + "/cgroup.freeze");
    return state.ok() && state->starts_with('1');
  }
  const CgroupLayout::Hierarchy* freezer = layout.find("freezer");
  if (!freezer) return false;
  auto state = sys::read_file(freezer->mount + path + "/freezer.state");
  return state.ok() && *state == "FROZEN\n";
}

base::Status remove_cgroup(const CgroupLayout& layout, const std::string& path,
                           const std::function<void()>& reap) {
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
      auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      pollfd wait{pidfd->get(), POLLIN, 0};
      if (reap) {
        reap();
        left = std::min<std::chrono::milliseconds>(left, std::chrono::milliseconds(kReapEveryMs));
      }
      if (left.count() > 0) ::poll(&wait, 1, static_cast<int>(left.count()));
    }
    if (reap) reap();
    if (std::chrono::steady_clock::now() >= deadline) {
      base::Error error = last.error();
      error.hint = "a process in it does not die: look for state D";
      return error;
    }
    // Dead but still leaving the cgroup: give way once before looking again.
    ::poll(nullptr, 0, 1);
  }
}

}  // namespace runtime
