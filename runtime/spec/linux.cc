// linux of config.json, and what only shows when several fields are looked at together.
#include <linux/mempolicy.h>
#include <net/if.h>
#include <sched.h>
#include <sys/personality.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "runtime/spec/mount_words.h"
#include "runtime/spec/reader.h"

namespace runtime {
namespace {
constexpr NamedValue kNamespaces[] = {
    {"pid", CLONE_NEWPID}, {"network", CLONE_NEWNET}, {"mount", CLONE_NEWNS},      {"ipc", CLONE_NEWIPC},
    {"uts", CLONE_NEWUTS}, {"user", CLONE_NEWUSER},   {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME}};
// set_mempolicy(2); the last is of kernel 6.9 and not in every header.
constexpr NamedValue kMemoryModes[] = {
    {"MPOL_DEFAULT", MPOL_DEFAULT}, {"MPOL_PREFERRED", MPOL_PREFERRED},
    {"MPOL_BIND", MPOL_BIND},       {"MPOL_INTERLEAVE", MPOL_INTERLEAVE},
    {"MPOL_LOCAL", MPOL_LOCAL},     {"MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY},
    {"MPOL_WEIGHTED_INTERLEAVE", 6}};
constexpr NamedValue kMemoryFlags[] = {{"MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES},
                                       {"MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES},
                                       {"MPOL_F_NUMA_BALANCING", MPOL_F_NUMA_BALANCING}};
// With a mount point before it and a file below it a path stays within PATH_MAX.
constexpr size_t kMaxCgroupsPath = 3072;
constexpr size_t kMaxNodes = 1024;  // MAX_NUMNODES of the largest configuration
}  // namespace

void read_id_map(Reader& r, std::string_view key, std::vector<IdMap>& out) {
  r.each(key, [&](const json::value& v, const std::string& at) {
    Reader map(&v, at, r.errors());
    IdMap m;
    map.number("containerID", m.container, true);
    map.number("hostID", m.host, true);
    map.number("size", m.size, true);
    if (m.size == 0) map.fail("size", "must be more than zero");
    out.push_back(m);
  });
}

namespace {
void read_personality(Reader r, Config& c) {
  if (!r) return;
  std::string domain;
  r.string("domain", domain, true);
  if (domain != "LINUX" && domain != "LINUX32") return r.fail("domain", "must be LINUX or LINUX32");
  r.refuse({"flags"});  // the specification knows none
  c.personality = domain == "LINUX32" ? PER_LINUX32 : PER_LINUX;
}
void read_memory_policy(Reader r, Config& c) {
  if (!r) return;
  MemoryPolicy policy;
  std::string mode;
  r.string("mode", mode, true);
  auto number = lookup(kMemoryModes, mode);
  if (!number) return r.fail("mode", "unknown mode '" + mode + "'");
  policy.mode = *number;
  r.string("nodes", policy.nodes_text);
  if (!policy.nodes_text.empty() && !parse_number_list(policy.nodes_text, kMaxNodes, policy.nodes))
    r.fail("nodes", "'" + policy.nodes_text + "' is not a list of memory nodes such as 0-3,7");
  r.each("flags", [&](const json::value& v, const std::string& at) {
    auto flag = lookup(kMemoryFlags, base::as_string(&v));
    if (!flag) r.errors().push_back(fmt::format("{}: unknown flag {}", at, base::to_json(v)));
    else policy.mode |= *flag;
  });
  c.memory_policy = std::move(policy);
}
void read_time_offsets(Reader r, Config& c) {
  if (!r) return;
  for (const char* clock : {"monotonic", "boottime"}) {
    Reader offset = r.child(clock);
    if (!offset) continue;
    int64_t seconds = 0;
    uint32_t nanoseconds = 0;
    offset.number("secs", seconds);
    offset.number("nanosecs", nanoseconds);
    if (nanoseconds > 999'999'999) offset.fail("nanosecs", "must be less than a second");
    c.time_offsets += fmt::format("{} {} {}\n", clock, seconds, nanoseconds);
  }
}
bool is_device_name(std::string_view name) {
  return !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
         name.find_first_of("/: \t\n") == std::string_view::npos;
}
void read_net_devices(Reader& r, Config& c) {
  const json::value* all = r.get("netDevices");
  if (!all) return;
  if (!all->is_object()) return r.fail("netDevices", "must be an object");
  for (const auto& [key, value] : all->get_object()) {
    Reader device(&value, fmt::format("{}[{}]", r.name("netDevices"), std::string_view(key)), r.errors());
    NetDevice out{std::string(key), ""};
    device.string("name", out.name);
    if (out.name.empty()) out.name = out.host_name;
    if (!is_device_name(out.host_name)) device.fail("", "is not the name of a network device");
    if (!is_device_name(out.name))
      device.fail("name", "'" + out.name + "' is not the name of a network device");
    c.net_devices.push_back(std::move(out));
  }
}
}  // namespace

void read_linux(Reader r, Config& c) {
  if (!r) return;
  if (r.get("intelRdt")) r.fail("intelRdt", "is not supported: remove it");
  r.each("namespaces", [&](const json::value& v, const std::string& at) {
    Reader ns(&v, at, r.errors());
    std::string type;
    Namespace out;
    ns.string("type", type, true);
    ns.string("path", out.path);
    if (!out.path.empty() && out.path[0] != '/') ns.fail("path", "must be an absolute path");
    auto flag = lookup(kNamespaces, type);
    if (!flag) return ns.fail("type", "namespace '" + type + "' is not supported");
    if (c.find_namespace(*flag)) return ns.fail("type", type + " is given twice");
    out.flag = *flag;
    c.namespaces.push_back(std::move(out));
  });
  read_id_map(r, "uidMappings", c.uid_mappings);
  read_id_map(r, "gidMappings", c.gid_mappings);
  r.each("devices", [&](const json::value& v, const std::string& at) {
    Reader device(&v, at, r.errors());
    DeviceNode d;
    std::string type;
    device.string("path", d.path, true);
    device.string("type", type, true);
    if (!d.path.empty() && d.path[0] != '/') device.fail("path", "must be an absolute path");
    if (type.size() != 1 || !std::strchr("cbup", type[0])) return device.fail("type", "must be c, b, u or p");
    d.type = type[0] == 'u' ? 'c' : type[0];
    device.number("major", d.major, d.type != 'p');
    device.number("minor", d.minor, d.type != 'p');
    if (d.major < 0 || d.minor < 0) device.fail("major", "must not be negative");
    device.number("fileMode", d.mode);
    device.number("uid", d.uid);
    device.number("gid", d.gid);
    c.devices.push_back(std::move(d));
  });
  r.string("cgroupsPath", c.cgroups_path);
  if (("/" + c.cgroups_path + "/").find("/../") != std::string::npos)
    r.fail("cgroupsPath", "must not contain '..'");
  // Longer ones the kernel refuses when half of the container is made, and whoever removes it again.
  if (c.cgroups_path.size() > kMaxCgroupsPath)
    r.fail("cgroupsPath", fmt::format("must have at most {} bytes", kMaxCgroupsPath));
  for (size_t at = 0; at < c.cgroups_path.size();) {
    size_t end = std::min(c.cgroups_path.find('/', at), c.cgroups_path.size());
    if (end - at > NAME_MAX) return r.fail("cgroupsPath", "must have names of at most 255 bytes");
    at = end + 1;
  }
  c.resources = read_resources(r.child("resources"));
  r.string_map("sysctl", c.sysctl);
  r.strings("maskedPaths", c.masked_paths);
  r.strings("readonlyPaths", c.readonly_paths);
  for (auto* list : {&c.masked_paths, &c.readonly_paths}) {
    // As runc and crun read them: from the root, whatever they begin with; what is not there needs nothing.
    std::erase(*list, "");
    for (std::string& path : *list) path = clean_path(path);
  }
  if (std::find(c.masked_paths.begin(), c.masked_paths.end(), "/") != c.masked_paths.end())
    r.fail("maskedPaths", "'/' would hide all there is");
  r.string("rootfsPropagation", c.rootfs_propagation);
  static const char* kPropagations[] = {"",        "shared",   "rshared",    "slave",      "rslave",
                                        "private", "rprivate", "unbindable", "runbindable"};
  if (std::none_of(std::begin(kPropagations), std::end(kPropagations),
                   [&](const char* p) { return c.rootfs_propagation == p; }))
    r.fail("rootfsPropagation", "unknown value '" + c.rootfs_propagation + "'");
  if (const json::value* seccomp = r.get("seccomp")) c.seccomp = *seccomp;
  r.string("mountLabel", c.mount_label);
  read_personality(r.child("personality"), c);
  read_memory_policy(r.child("memoryPolicy"), c);
  read_time_offsets(r.child("timeOffsets"), c);
  read_net_devices(r, c);
}

namespace {
void check_sysctls(const Config& c, Errors& errors) {
  static constexpr std::string_view kIpc[] = {"kernel/msgmax", "kernel/msgmnb",         "kernel/msgmni",
                                              "kernel/sem",    "kernel/shmall",         "kernel/shmmax",
                                              "kernel/shmmni", "kernel/shm_rmid_forced"};
  for (const auto& [key, value] : c.sysctl) {
    auto fail = [&](const std::string& why) {
      errors.push_back(fmt::format("linux.sysctl[{}]: {}", key, why));
    };
    const std::string path = sysctl_path(key);
    // Only what the kernel keeps per namespace: anything else would change the host.
    bool ipc =
        path.starts_with("fs/mqueue/") || std::find(std::begin(kIpc), std::end(kIpc), path) != std::end(kIpc);
    bool uts = path == "kernel/domainname" || path == "kernel/hostname";
    bool net = path.starts_with("net/");
    uint64_t flag = ipc ? CLONE_NEWIPC : uts ? CLONE_NEWUTS : net ? CLONE_NEWNET : 0;
    if (flag == 0 || ("/" + path + "/").find("/../") != std::string::npos) fail("is not kept per namespace");
    else if (!c.find_namespace(flag))
      fail(fmt::format("would change the host: {} is needed", ipc   ? "an ipc namespace"
                                                              : uts ? "a uts namespace"
                                                                    : "a network namespace"));
    // Two places for one name: runc and crun refuse the one, crun the other where they differ.
    else if (path == "kernel/hostname") fail("conflicts with the field hostname, which is the place for it");
    else if (path == "kernel/domainname" && !c.domainname.empty() && c.domainname != value)
      fail("conflicts with the field domainname");
  }
}
}  // namespace

std::string sysctl_path(std::string_view key) {
  std::string path(key);
  size_t first = path.find_first_of("./");
  if (first == std::string::npos || path[first] == '/')
    return path;  // "net/ipv4/conf/eth0.1/mtu": dots are its own
  for (char& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;  // sysctl(8)
  return path;
}

void check_together(const Config& c, Errors& errors) {
  if (const Namespace* time = c.find_namespace(CLONE_NEWTIME);
      time && !time->path.empty() && !c.time_offsets.empty())
    errors.push_back("linux.timeOffsets: can't be set in a time namespace that is joined");
  auto needs = [&](bool set, const char* field, uint64_t flag, const char* type) {
    if (set && !c.find_namespace(flag))
      errors.push_back(fmt::format("{}: needs a {} namespace of the container's own", field, type));
  };
  needs(!c.time_offsets.empty(), "linux.timeOffsets", CLONE_NEWTIME, "time");
  needs(!c.net_devices.empty(), "linux.netDevices", CLONE_NEWNET, "network");
  needs(!c.hostname.empty(), "hostname", CLONE_NEWUTS, "uts");
  needs(!c.domainname.empty(), "domainname", CLONE_NEWUTS, "uts");
  needs(!c.uid_mappings.empty(), "linux.uidMappings", CLONE_NEWUSER, "user");
  needs(!c.gid_mappings.empty(), "linux.gidMappings", CLONE_NEWUSER, "user");
  check_sysctls(c, errors);
}

}  // namespace runtime
