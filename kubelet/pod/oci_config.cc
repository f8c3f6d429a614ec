// config.json of a container; see the header. Must never touch the machine.
#include "kubelet/pod/oci_config.h"

#include <algorithm>
#include <filesystem>

#include "api/quantity.h"
#include "base/json_lists.h"
#include "kubelet/pod/container_env.h"
#include "kubelet/pod/plan.h"

namespace kubelet {

namespace json = base::json;

namespace {

// By number; capabilities(7).
constexpr const char* kCapabilities[] = {"CHOWN",
                                         "DAC_OVERRIDE",
                                         "DAC_READ_SEARCH",
                                         "FOWNER",
                                         "FSETID",
                                         "KILL",
                                         "SETGID",
                                         "SETUID",
                                         "SETPCAP",
                                         "LINUX_IMMUTABLE",
                                         "NET_BIND_SERVICE",
                                         "NET_BROADCAST",
                                         "NET_ADMIN",
                                         "NET_RAW",
                                         "IPC_LOCK",
                                         "IPC_OWNER",
                                         "SYS_MODULE",
                                         "SYS_RAWIO",
                                         "SYS_CHROOT",
                                         "SYS_PTRACE",
                                         "SYS_PACCT",
                                         "SYS_ADMIN",
                                         "SYS_BOOT",
                                         "SYS_NICE",
                                         "SYS_RESOURCE",
                                         "SYS_TIME",
                                         "SYS_TTY_CONFIG",
                                         "MKNOD",
                                         "LEASE",
                                         "AUDIT_WRITE",
                                         "AUDIT_CONTROL",
                                         "SETFCAP",
                                         "MAC_OVERRIDE",
                                         "MAC_ADMIN",
                                         "SYSLOG",
                                         "WAKE_ALARM",
                                         "BLOCK_SUSPEND",
                                         "AUDIT_READ",
                                         "PERFMON",
                                         "BPF",
                                         "CHECKPOINT_RESTORE"};
constexpr const char* kDefaultCapabilities[] = {
    "CHOWN",  "DAC_OVERRIDE", "FSETID",  "FOWNER",           "MKNOD",      "NET_RAW", "SETGID",
    "SETUID", "SETFCAP",      "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL",    "AUDIT_WRITE"};
constexpr const char* kMasked[] = {"/proc/acpi",
                                   "/proc/asound",
                                   "/proc/interrupts",
                                   "/proc/kcore",
                                   "/proc/keys",
                                   "/proc/latency_stats",
                                   "/proc/timer_list",
                                   "/proc/timer_stats",
                                   "/proc/sched_debug",
                                   "/proc/scsi",
                                   "/sys/firmware",
                                   "/sys/devices/virtual/powercap",
                                   "/sys/devices/system/cpu/cpu0/thermal_throttle"};
constexpr const char* kReadOnly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                     "/proc/sysrq-trigger"};

const api::SecurityContext& security_of(const api::Container& c) {
  static const api::SecurityContext none;
  return c.security_context ? *c.security_context : none;
}
const api::PodSecurityContext& security_of(const api::Pod& pod) {
  static const api::PodSecurityContext none;
  const api::PodSpec& spec = spec_of(pod);
  return spec.security_context ? *spec.security_context : none;
}

base::Error bad_container(std::string reason) {
  return base::make_error(base::Kind::kInvalid, "make container config", {}, std::move(reason));
}

json::array strings(const std::vector<std::string>& list) {
  json::array out;
  for (const auto& item : list) out.emplace_back(item);
  return out;
}

int number_of(std::string_view name) {
  if (name.starts_with("CAP_")) name.remove_prefix(4);
  for (size_t i = 0; i < std::size(kCapabilities); ++i)
    if (name == kCapabilities[i]) return static_cast<int>(i);
  return -1;
}

base::Result<json::object> capabilities(const api::SecurityContext& security, uint64_t bound) {
  uint64_t set = 0;
  const uint64_t all = (1ull << std::size(kCapabilities)) - 1;
  if (security.privileged.value_or(false)) {
    set = all;
  } else {
    for (const char* name : kDefaultCapabilities) set |= 1ull << number_of(name);
    if (security.capabilities) {
      const auto& add = security.capabilities->add;
      const auto& drop = security.capabilities->drop;
      auto has_all = [](const auto& list) {
        return std::find(list.begin(), list.end(), "ALL") != list.end();
      };
      if (has_all(add)) set = all;
      if (has_all(drop)) set = 0;
      for (const auto& name : add) {
        if (name == "ALL") continue;
        if (number_of(name) < 0)
          return bad_container("unknown capability \"" + name + "\": see capabilities(7)");
        set |= 1ull << number_of(name);
      }
      for (const auto& name : drop)
        if (number_of(name) >= 0) set &= ~(1ull << number_of(name));
    }
  }
  set &= bound;
  json::array list;
  for (size_t i = 0; i < std::size(kCapabilities); ++i)
    if (set & (1ull << i)) list.emplace_back(std::string("CAP_") + kCapabilities[i]);
  return json::object{{"bounding", list}, {"effective", list}, {"permitted", list}};
}

json::object mount(std::string_view destination, std::string_view type, std::string_view source,
                   std::initializer_list<const char*> options) {
  json::array list;
  for (const char* option : options) list.emplace_back(option);
  return {{"destination", destination}, {"type", type}, {"source", source}, {"options", std::move(list)}};
}

size_t depth(std::string_view path) {
  return static_cast<size_t>(std::count(path.begin(), path.end(), '/')) - (path == "/" ? 1 : 0);
}

// As filepath.Clean does it: "/a//b/" is "/a/b", for what is compared and counted in parts.
std::string clean_path(const std::string& path) {
  std::string out = std::filesystem::path(path).lexically_normal().string();
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

bool lies_below(std::string_view path, std::string_view directory) {
  if (directory == "/") return path.size() > 1;
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

json::array mounts(const std::vector<ContainerMount>& binds, bool privileged) {
  json::array out;
  out.push_back(mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}));
  out.push_back(mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  out.push_back(mount("/dev/pts", "devpts", "devpts",
                      {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}));
  out.push_back(mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}));
  const char* mode = privileged ? "rw" : "ro";
  out.push_back(mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", mode}));
  out.push_back(mount("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", mode}));

  for (const auto& m : binds) {
    json::array options{"rbind"};
    options.emplace_back(m.propagation == "Bidirectional"     ? "rshared"
                         : m.propagation == "HostToContainer" ? "rslave"
                                                              : "rprivate");
    options.emplace_back(m.recursive_read_only ? "rro" : m.read_only ? "ro" : "rw");
    out.push_back(json::object{{"destination", m.destination},
                               {"type", "bind"},
                               {"source", m.source},
                               {"options", std::move(options)}});
  }
  return out;
}

int64_t shares_of(int64_t milli) { return std::clamp<int64_t>(milli * 1024 / 1000, 2, 262144); }

const std::string* amount(const std::map<std::string, std::string>& map, const char* name) {
  auto it = map.find(name);
  return it == map.end() ? nullptr : &it->second;
}

json::object resources(const api::Container& c) {
  static const api::ResourceRequirements none;
  const auto& r = c.resources ? *c.resources : none;
  const std::string* cpu_limit = amount(r.limits, "cpu");
  const std::string* cpu_request = amount(r.requests, "cpu");
  json::object cpu;
  if (!cpu_request) cpu_request = cpu_limit;
  cpu["shares"] = cpu_request ? shares_of(api::milli_of(*cpu_request)) : 2;
  if (cpu_limit && api::milli_of(*cpu_limit) > 0) {
    cpu["quota"] = std::max<int64_t>(1000, api::milli_of(*cpu_limit) * 100);
    cpu["period"] = 100000;
  }
  json::object out{{"cpu", std::move(cpu)}};
  if (const std::string* memory = amount(r.limits, "memory"); memory && api::bytes_of(*memory) > 0)
    out["memory"] = json::object{{"limit", api::bytes_of(*memory)}};
  return out;
}

base::Result<json::object> process(const api::Pod& pod, const api::Container& c, const Launch& launch) {
  const api::SecurityContext& security = security_of(c);
  std::vector<std::string> args;
  if (!c.command.empty()) {
    args = c.command;
    args.insert(args.end(), c.args.begin(), c.args.end());
  } else {
    args = launch.image.entrypoint;
    const auto& rest = c.args.empty() ? launch.image.cmd : c.args;
    args.insert(args.end(), rest.begin(), rest.end());
  }
  if (args.empty())
    return bad_container(
        "no command specified: neither the image nor the container says what to run: set command");
  // The image's own words are not expanded, the Pod's are.
  for (size_t i = 0; i < args.size(); ++i) {
    const bool from_pod = !c.command.empty() || (!c.args.empty() && i >= launch.image.entrypoint.size());
    if (from_pod) args[i] = expand(args[i], launch.env);
  }
  std::vector<uint32_t> groups = launch.user.groups;
  if (security_of(pod).supplemental_groups_policy == "Strict") groups.clear();
  for (int64_t group : security_of(pod).supplemental_groups) groups.push_back(static_cast<uint32_t>(group));
  if (security_of(pod).fs_group) groups.push_back(static_cast<uint32_t>(*security_of(pod).fs_group));
  // As containerd: the primary group is in the list, so that setgid programs can go back.
  groups.push_back(launch.user.gid);
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  json::array gids;
  for (uint32_t gid : groups) gids.emplace_back(gid);

  std::string cwd = !c.working_dir.empty() ? c.working_dir : launch.image.working_dir;
  if (cwd.empty()) cwd = "/";
  std::vector<std::string> env = launch.env;
  auto missing = [&](std::string_view key) {
    return std::none_of(env.begin(), env.end(), [&](const auto& e) { return e.starts_with(key); });
  };
  if (missing("HOSTNAME=")) env.push_back("HOSTNAME=" + launch.hostname);
  if (missing("HOME=")) env.push_back("HOME=" + launch.user.home);
  return json::object{
      {"terminal", c.tty.value_or(false)},
      {"user",
       json::object{{"uid", launch.user.uid}, {"gid", launch.user.gid}, {"additionalGids", std::move(gids)}}},
      {"args", strings(args)},
      {"env", strings(env)},
      {"cwd", cwd},
      {"capabilities", TRY(capabilities(security, launch.host.capabilities))},
      {"noNewPrivileges", !security.allow_privilege_escalation.value_or(true)},
      {"oomScoreAdj", oom_score_adj(pod, c, launch.host)}};
}

}  // namespace

std::vector<ContainerMount> container_binds(const api::Pod&, const api::Container& c, const Launch& launch) {
  std::vector<ContainerMount> binds;
  auto own = [&](std::string source, std::string destination, bool read_only) {
    const bool taken = std::any_of(c.volume_mounts.begin(), c.volume_mounts.end(),
                                   [&](const auto& m) { return clean_path(m.mount_path) == destination; });
    if (source.empty() || taken) return;
    binds.push_back({.source = std::move(source),
                     .destination = std::move(destination),
                     .read_only = read_only,
                     .recursive_read_only = false,
                     .propagation = "",
                     .kubelet_owned = false});
  };
  const bool root_read_only = security_of(c).read_only_root_filesystem.value_or(false);
  own(launch.shm, "/dev/shm", false);
  own(launch.hosts, "/etc/hosts", root_read_only);
  own(launch.etc_hostname, "/etc/hostname", root_read_only);
  own(launch.resolv_conf, "/etc/resolv.conf", root_read_only);
  own(launch.termination_log,
      c.termination_message_path.empty() ? "/dev/termination-log" : c.termination_message_path, false);
  for (const auto& m : launch.mounts) {
    binds.push_back(m);
    binds.back().destination = clean_path(m.destination);
  }
  // Parents before children, whatever the order of the manifest.
  std::stable_sort(binds.begin(), binds.end(),
                   [](const auto& a, const auto& b) { return depth(a.destination) < depth(b.destination); });
  return binds;
}

std::vector<MountPoint> nested_mount_points(const std::vector<ContainerMount>& binds) {
  std::vector<MountPoint> out;
  for (const ContainerMount& inner : binds) {
    const ContainerMount* parent = nullptr;  // the nearest one: what it hides does not matter
    for (const ContainerMount& m : binds)
      if (&m != &inner && lies_below(inner.destination, m.destination) &&
          (!parent || depth(m.destination) >= depth(parent->destination)))
        parent = &m;
    if (!parent || !parent->read_only || !parent->kubelet_owned) continue;
    const size_t skip = parent->destination == "/" ? 1 : parent->destination.size() + 1;
    out.push_back(
        {.volume = parent->source, .relative = inner.destination.substr(skip), .source = inner.source});
  }
  return out;
}

base::Result<json::value> oci_config(const api::Pod& pod, const api::Container& c, const Launch& launch) {
  const api::PodSpec& spec = spec_of(pod);
  const api::SecurityContext& security = security_of(c);
  const bool privileged = security.privileged.value_or(false);
  json::object out{{"ociVersion", "1.2.0"}, {"hostname", launch.hostname}};
  out["process"] = TRY(process(pod, c, launch));
  out["root"] =
      json::object{{"path", "rootfs"}, {"readonly", security.read_only_root_filesystem.value_or(false)}};
  out["mounts"] = mounts(container_binds(pod, c, launch), privileged);

  json::object linux_;
  json::array namespaces;
  // Network, ipc and uts are the Pod's; so is pid when it is shared.
  if (!spec.host_pid.value_or(false) && !spec.share_process_namespace.value_or(false))
    namespaces.push_back(json::object{{"type", "pid"}});
  namespaces.push_back(json::object{{"type", "mount"}});
  if (!privileged) namespaces.push_back(json::object{{"type", "cgroup"}});
  linux_["namespaces"] = std::move(namespaces);
  linux_["cgroupsPath"] = launch.pod_cgroup + "/" + container_id(pod, c.name, launch.attempt);
  json::object limits = resources(c);
  if (privileged) {
    limits["devices"] = json::array{json::object{{"allow", true}, {"access", "rwm"}}};
    linux_["devices"] = launch.devices;
  }
  for (const ContainerDevice& device : launch.volume_devices) {
    base::list_in(linux_, "devices")
        .push_back(json::object{{"path", clean_path(device.path)},
                                {"type", "b"},
                                {"major", device.major},
                                {"minor", device.minor},
                                {"fileMode", device.mode},
                                {"uid", device.uid},
                                {"gid", device.gid}});
    if (!privileged)
      base::list_in(limits, "devices")
          .push_back(json::object{{"allow", true},
                                  {"type", "b"},
                                  {"major", device.major},
                                  {"minor", device.minor},
                                  {"access", device.read_only ? "rm" : "rwm"}});
  }
  linux_["resources"] = std::move(limits);
  if (!privileged && security.proc_mount != "Unmasked") {
    json::array masked, read_only;
    for (const char* path : kMasked) masked.emplace_back(path);
    for (const char* path : kReadOnly) read_only.emplace_back(path);
    linux_["maskedPaths"] = std::move(masked);
    linux_["readonlyPaths"] = std::move(read_only);
  }
  for (const auto& m : launch.mounts) {
    if (m.propagation == "Bidirectional") linux_["rootfsPropagation"] = "rshared";
    else if (m.propagation == "HostToContainer" && !linux_.contains("rootfsPropagation"))
      linux_["rootfsPropagation"] = "rslave";
  }
  if (!launch.seccomp.is_null() && !privileged) linux_["seccomp"] = launch.seccomp;
  out["linux"] = std::move(linux_);
  return json::value(std::move(out));
}

json::value pod_resources(const api::Pod& pod, int64_t max_pids) {
  const api::PodSpec& spec = spec_of(pod);
  int64_t requests = 0, cpu_limit = 0, memory_limit = 0;
  bool cpu_limited = !spec.containers.empty(), memory_limited = cpu_limited;
  int64_t init_request = 0, init_cpu = 0, init_memory = 0;
  auto look = [&](const api::Container& c, bool init) {
    static const api::ResourceRequirements none;
    const auto& r = c.resources ? *c.resources : none;
    const std::string* cpu = amount(r.limits, "cpu");
    const std::string* memory = amount(r.limits, "memory");
    const std::string* request = amount(r.requests, "cpu");
    if (!request) request = cpu;
    cpu_limited &= cpu != nullptr;
    memory_limited &= memory != nullptr;
    const int64_t want = request ? api::milli_of(*request) : 0;
    if (init && !is_sidecar(c)) {  // one at a time: the largest counts
      init_request = std::max(init_request, want);
      if (cpu) init_cpu = std::max(init_cpu, api::milli_of(*cpu));
      if (memory) init_memory = std::max(init_memory, api::bytes_of(*memory));
      return;
    }
    requests += want;
    if (cpu) cpu_limit += api::milli_of(*cpu);
    if (memory) memory_limit += api::bytes_of(*memory);
  };
  for (const auto& c : spec.init_containers) look(c, true);
  for (const auto& c : spec.containers) look(c, false);
  json::object cpu{
      {"shares", std::max(requests, init_request) ? shares_of(std::max(requests, init_request)) : 2}};
  if (cpu_limited) {
    cpu["quota"] = std::max<int64_t>(1000, std::max(cpu_limit, init_cpu) * 100);
    cpu["period"] = 100000;
  }
  json::object out{{"cpu", std::move(cpu)}};
  if (memory_limited) out["memory"] = json::object{{"limit", std::max(memory_limit, init_memory)}};
  if (max_pids >= 0) out["pids"] = json::object{{"limit", max_pids}};
  return out;
}

json::value exec_process(const json::value& container_process, const std::vector<std::string>& args,
                         bool terminal) {
  json::object out = container_process.is_object() ? container_process.get_object() : json::object();
  out["args"] = strings(args);
  out["terminal"] = terminal;
  return out;
}

std::string user_text(const api::Pod& pod, const api::Container& c, const runtime::Image& image) {
  const auto& user = security_of(c).run_as_user ? security_of(c).run_as_user : security_of(pod).run_as_user;
  const auto& group =
      security_of(c).run_as_group ? security_of(c).run_as_group : security_of(pod).run_as_group;
  std::string text = user ? std::to_string(*user) : image.user;
  if (group) {
    text = text.substr(0, text.find(':'));
    if (text.empty()) text = "0";
    text += ":" + std::to_string(*group);
  }
  return text;
}

base::Status check_non_root(const api::Pod& pod, const api::Container& c, const runtime::Image& image,
                            const runtime::User& user) {
  const auto& want =
      security_of(c).run_as_non_root ? security_of(c).run_as_non_root : security_of(pod).run_as_non_root;
  if (!want.value_or(false)) return {};
  const bool given = security_of(c).run_as_user || security_of(pod).run_as_user;
  const std::string who = "(pod: \"" + pod.metadata.name + "_" + pod.metadata.namespace_ + "(" +
                          pod.metadata.uid + ")\", container: " + c.name + ")";
  if (given && user.uid == 0) return bad_container("container's runAsUser breaks non-root policy " + who);
  if (given) return {};
  const std::string name = image.user.substr(0, image.user.find(':'));
  if (name.empty() || user.uid == 0)
    return bad_container("container has runAsNonRoot and image will run as root " + who);
  if (!std::all_of(name.begin(), name.end(), [](char ch) { return ch >= '0' && ch <= '9'; }))
    return bad_container("container has runAsNonRoot and image has non-numeric user (" + name +
                         "), cannot verify user is non-root " + who);
  return {};
}

api::SeccompProfile seccomp_of(const api::Pod& pod, const api::Container& c) {
  const auto& profile =
      security_of(c).seccomp_profile ? security_of(c).seccomp_profile : security_of(pod).seccomp_profile;
  return profile ? *profile : api::SeccompProfile{.localhost_profile = "", .type = "Unconfined"};
}

int oom_score_adj(const api::Pod& pod, const api::Container& c, const HostFacts& host) {
  int score = 1000;
  const std::string qos = qos_class(pod);
  if (spec_of(pod).priority.value_or(0) >= 2000000000 || qos == "Guaranteed") {
    score = -997;
  } else if (qos == "Burstable") {
    int64_t request = 0;
    if (c.resources)
      if (const std::string* memory = amount(c.resources->requests, "memory"))
        request = api::bytes_of(*memory);
    const double part =
        host.memory_bytes > 0 ? static_cast<double>(request) / static_cast<double>(host.memory_bytes) : 0;
    // Between the Guaranteed ones and the BestEffort ones, whatever was asked for.
    score = std::clamp(static_cast<int>(1000 - 1000 * part), 3, 999);
  }
  return std::max(score, host.min_oom_score_adj);
}

}  // namespace kubelet
