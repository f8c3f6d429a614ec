#include "runtime/oci.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <csignal>

#include "runtime/capabilities.h"

namespace runtime {
namespace {

namespace json = base::json;
using Errors = std::vector<std::string>;

// One JSON object being read. A member of the wrong type or range is noted under its full name;
// reading goes on, so that all wrong fields are told at once.
class Reader {
 public:
  Reader(const json::value* value, std::string path, Errors& errors)
      : path_(std::move(path)), errors_(errors) {
    if (!value || value->is_null()) return;
    object_ = value->if_object();
    if (!object_) fail("", "must be an object");
  }
  explicit operator bool() const { return object_ != nullptr; }

  std::string name(std::string_view key) const {
    if (key.empty()) return path_.empty() ? "config" : path_;
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }
  void fail(std::string_view key, std::string_view why) {
    errors_.push_back(fmt::format("{}: {}", name(key), why));
  }
  const json::value* get(std::string_view key) const {
    const json::value* v = object_ ? object_->if_contains({key.data(), key.size()}) : nullptr;
    return v && !v->is_null() ? v : nullptr;
  }
  Reader child(std::string_view key) { return Reader(get(key), name(key), errors_); }

  void string(std::string_view key, std::string& out, bool required = false) {
    const json::value* v = get(key);
    if (!v) {
      if (required) fail(key, "is required");
      return;
    }
    if (!v->is_string()) return fail(key, "must be a string");
    out.assign(v->get_string().data(), v->get_string().size());
    if (out.find('\0') != std::string::npos) fail(key, "contains a NUL byte");
    if (required && out.empty()) fail(key, "must not be empty");
  }
  void boolean(std::string_view key, bool& out) {
    const json::value* v = get(key);
    if (!v) return;
    if (!v->is_bool()) return fail(key, "must be true or false");
    out = v->get_bool();
  }
  template <typename T>
  void number(std::string_view key, T& out, bool required = false) {
    const json::value* v = get(key);
    if (!v) {
      if (required) fail(key, "is required");
      return;
    }
    bool fits = false;
    if (const int64_t* n = v->if_int64()) {
      fits = std::in_range<T>(*n);
      if (fits) out = static_cast<T>(*n);
    } else if (const uint64_t* u = v->if_uint64()) {
      fits = std::in_range<T>(*u);
      if (fits) out = static_cast<T>(*u);
    }
    if (!fits) fail(key, fmt::format("must be an integer from {} to {}",
                                     std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
  }
  template <typename T>
  void number(std::string_view key, std::optional<T>& out) {
    if (!get(key)) return;
    T value{};
    size_t before = errors_.size();
    number(key, value);
    if (errors_.size() == before) out = value;
  }
  void boolean(std::string_view key, std::optional<bool>& out) {
    if (!get(key)) return;
    bool value = false;
    boolean(key, value);
    out = value;
  }
  // Calls `item(value, "path[3]")` for every element.
  template <typename F>
  void each(std::string_view key, F item) {
    const json::value* v = get(key);
    if (!v) return;
    if (!v->is_array()) return fail(key, "must be an array");
    size_t i = 0;
    for (const json::value& element : v->get_array())
      item(element, fmt::format("{}[{}]", name(key), i++));
  }
  void strings(std::string_view key, std::vector<std::string>& out) {
    each(key, [&](const json::value& v, const std::string& at) {
      if (!v.is_string()) return errors_.push_back(at + ": must be a string");
      out.emplace_back(v.get_string().data(), v.get_string().size());
      if (out.back().find('\0') != std::string::npos) errors_.push_back(at + ": contains a NUL byte");
    });
  }
  void string_map(std::string_view key, std::map<std::string, std::string>& out) {
    const json::value* v = get(key);
    if (!v) return;
    if (!v->is_object()) return fail(key, "must be an object");
    for (const auto& [k, value] : v->get_object()) {
      std::string at = fmt::format("{}[{}]", name(key), std::string_view(k.data(), k.size()));
      if (!value.is_string()) errors_.push_back(at + ": must be a string");
      else out[std::string(k)] = std::string(value.get_string());
    }
  }
  // Fields of the specification that this runtime does not implement.
  void refuse(std::initializer_list<std::string_view> keys) {
    for (std::string_view key : keys) {
      const json::value* v = get(key);
      if (!v) continue;
      bool empty = (v->is_array() && v->get_array().empty()) ||
                   (v->is_object() && v->get_object().empty()) ||
                   (v->is_string() && v->get_string().empty()) ||
                   (v->is_bool() && !v->get_bool()) || (v->is_int64() && v->get_int64() == 0);
      if (!empty) fail(key, "is not supported: remove it");
    }
  }
  Errors& errors() { return errors_; }

 private:
  const json::object* object_ = nullptr;
  std::string path_;
  Errors& errors_;
};

struct Name {
  std::string_view name;
  uint64_t value;
};
constexpr Name kNamespaces[] = {
    {"pid", CLONE_NEWPID},   {"network", CLONE_NEWNET}, {"mount", CLONE_NEWNS},
    {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},     {"user", CLONE_NEWUSER},
    {"cgroup", CLONE_NEWCGROUP}};
constexpr Name kRlimits[] = {
    {"RLIMIT_AS", RLIMIT_AS},             {"RLIMIT_CORE", RLIMIT_CORE},
    {"RLIMIT_CPU", RLIMIT_CPU},           {"RLIMIT_DATA", RLIMIT_DATA},
    {"RLIMIT_FSIZE", RLIMIT_FSIZE},       {"RLIMIT_LOCKS", RLIMIT_LOCKS},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},   {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
    {"RLIMIT_NICE", RLIMIT_NICE},         {"RLIMIT_NOFILE", RLIMIT_NOFILE},
    {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},     {"RLIMIT_RTTIME", RLIMIT_RTTIME},
    {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING}, {"RLIMIT_STACK", RLIMIT_STACK}};
template <size_t N>
std::optional<uint64_t> lookup(const Name (&table)[N], std::string_view name) {
  for (const Name& row : table)
    if (row.name == name) return row.value;
  return std::nullopt;
}

void read_capability_set(Reader& r, std::string_view key, uint64_t& out) {
  r.each(key, [&](const json::value& v, const std::string& at) {
    int number = v.is_string() ? capability_number(base::as_string(&v)) : -1;
    if (number < 0)
      r.errors().push_back(fmt::format("{}: unknown capability {}", at, base::to_json(v)));
    else
      out |= uint64_t{1} << number;
  });
}

Process read_process(Reader r) {
  Process p;
  if (!r) return p;
  r.refuse({"scheduler", "ioPriority", "execCPUAffinity", "commandLine"});
  r.boolean("terminal", p.terminal);
  if (Reader size = r.child("consoleSize")) {
    size.number("height", p.rows);
    size.number("width", p.columns);
  }
  if (Reader user = r.child("user")) {
    user.refuse({"username"});
    user.number("uid", p.uid);
    user.number("gid", p.gid);
    user.number("umask", p.umask);
    user.each("additionalGids", [&](const json::value& v, const std::string& at) {
      int64_t gid = base::as_int(&v, -1);
      if (!v.is_number() || gid < 0 || gid > UINT32_MAX)
        r.errors().push_back(at + ": must be a group id");
      else
        p.additional_gids.push_back(static_cast<uint32_t>(gid));
    });
  }
  r.strings("args", p.args);
  if (p.args.empty()) r.fail("args", "is required: give the program to run");
  else if (p.args[0].empty()) r.fail("args[0]", "must not be empty");
  r.strings("env", p.env);
  r.string("cwd", p.cwd, true);
  if (!p.cwd.empty() && p.cwd[0] != '/') r.fail("cwd", "must be an absolute path");
  if (Reader caps = r.child("capabilities")) {
    read_capability_set(caps, "bounding", p.capabilities.bounding);
    read_capability_set(caps, "effective", p.capabilities.effective);
    read_capability_set(caps, "permitted", p.capabilities.permitted);
    read_capability_set(caps, "inheritable", p.capabilities.inheritable);
    read_capability_set(caps, "ambient", p.capabilities.ambient);
    const Capabilities& c = p.capabilities;
    if (c.effective & ~c.permitted) caps.fail("effective", "has what permitted lacks");
  }
  uint64_t seen = 0;
  r.each("rlimits", [&](const json::value& v, const std::string& at) {
    Reader limit(&v, at, r.errors());
    std::string type;
    Rlimit out;
    limit.string("type", type, true);
    limit.number("soft", out.soft, true);
    limit.number("hard", out.hard, true);
    auto resource = lookup(kRlimits, type);
    if (!resource) return limit.fail("type", "unknown limit '" + type + "'");
    if (seen & (uint64_t{1} << *resource)) return limit.fail("type", type + " is given twice");
    if (out.soft > out.hard) return limit.fail("soft", "is more than hard");
    seen |= uint64_t{1} << *resource;
    out.resource = static_cast<int>(*resource);
    p.rlimits.push_back(out);
  });
  r.boolean("noNewPrivileges", p.no_new_privileges);
  r.number("oomScoreAdj", p.oom_score_adj);
  if (p.oom_score_adj && (*p.oom_score_adj < -1000 || *p.oom_score_adj > 1000))
    r.fail("oomScoreAdj", "must be from -1000 to 1000");
  r.string("apparmorProfile", p.apparmor_profile);
  r.string("selinuxLabel", p.selinux_label);
  return p;
}

std::vector<Hook> read_hooks(Reader& r, std::string_view key) {
  std::vector<Hook> out;
  r.each(key, [&](const json::value& v, const std::string& at) {
    Reader hook(&v, at, r.errors());
    Hook h;
    hook.string("path", h.path, true);
    if (!h.path.empty() && h.path[0] != '/') hook.fail("path", "must be an absolute path");
    hook.strings("args", h.args);
    hook.strings("env", h.env);
    hook.number("timeout", h.timeout_s);
    if (hook.get("timeout") && h.timeout_s <= 0) hook.fail("timeout", "must be more than zero");
    out.push_back(std::move(h));
  });
  return out;
}

void read_throttle(Reader& r, std::string_view key, std::vector<ThrottleDevice>& out) {
  r.each(key, [&](const json::value& v, const std::string& at) {
    Reader device(&v, at, r.errors());
    ThrottleDevice d;
    device.number("major", d.major, true);
    device.number("minor", d.minor, true);
    device.number("rate", d.rate, true);
    out.push_back(d);
  });
}

Resources read_resources(Reader r) {
  Resources out;
  if (!r) return out;
  r.refuse({"rdma", "network"});
  r.each("devices", [&](const json::value& v, const std::string& at) {
    Reader rule(&v, at, r.errors());
    DeviceRule d;
    std::string type = "a";
    rule.boolean("allow", d.allow);
    rule.string("type", type);
    if (type != "a" && type != "b" && type != "c")
      return rule.fail("type", "must be a, b or c");
    d.type = type[0];
    rule.number("major", d.major);
    rule.number("minor", d.minor);
    rule.string("access", d.access);
    if (d.access.empty() || d.access.find_first_not_of("rwm") != std::string::npos)
      return rule.fail("access", "must be made of r, w and m");
    out.devices.push_back(d);
  });
  if (Reader m = r.child("memory")) {
    // kernel and kernelTCP limits were removed from the kernel (5.16, 6.1); the others are ours.
    m.refuse({"kernel", "kernelTCP"});
    m.number("limit", out.memory_limit);
    m.number("reservation", out.memory_reservation);
    m.number("swap", out.memory_swap);
    m.number("swappiness", out.swappiness);
    m.boolean("disableOOMKiller", out.disable_oom_killer);
  }
  if (Reader c = r.child("cpu")) {
    c.number("shares", out.cpu_shares);
    c.number("quota", out.cpu_quota);
    c.number("burst", out.cpu_burst);
    c.number("period", out.cpu_period);
    c.number("realtimeRuntime", out.cpu_rt_runtime);
    c.number("realtimePeriod", out.cpu_rt_period);
    c.number("idle", out.cpu_idle);
    c.string("cpus", out.cpus);
    c.string("mems", out.mems);
  }
  if (Reader p = r.child("pids")) p.number("limit", out.pids_limit);
  if (Reader b = r.child("blockIO")) {
    b.refuse({"leafWeight", "weightDevice"});
    b.number("weight", out.blkio_weight);
    if (out.blkio_weight && *out.blkio_weight != 0 &&
        (*out.blkio_weight < 10 || *out.blkio_weight > 1000))
      b.fail("weight", "must be from 10 to 1000");
    read_throttle(b, "throttleReadBpsDevice", out.read_bps);
    read_throttle(b, "throttleWriteBpsDevice", out.write_bps);
    read_throttle(b, "throttleReadIOPSDevice", out.read_iops);
    read_throttle(b, "throttleWriteIOPSDevice", out.write_iops);
  }
  r.each("hugepageLimits", [&](const json::value& v, const std::string& at) {
    Reader h(&v, at, r.errors());
    std::pair<std::string, uint64_t> limit;
    h.string("pageSize", limit.first, true);
    h.number("limit", limit.second, true);
    if (limit.first.find('/') != std::string::npos) return h.fail("pageSize", "is not a size");
    out.hugepages.push_back(std::move(limit));
  });
  r.string_map("unified", out.unified);
  for (const auto& [file, value] : out.unified)
    if (file.find('/') != std::string::npos || file.find('.') == std::string::npos)
      r.fail(fmt::format("unified[{}]", file), "is not a cgroup v2 file name");
  return out;
}

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

void read_linux(Reader r, Config& c) {
  if (!r) return;
  r.refuse({"intelRdt", "mountLabel", "personality", "timeOffsets", "netDevices", "memoryPolicy"});
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
    if (type.size() != 1 || !std::strchr("cbup", type[0]))
      return device.fail("type", "must be c, b, u or p");
    d.type = type[0] == 'u' ? 'c' : type[0];
    device.number("major", d.major, d.type != 'p');
    device.number("minor", d.minor, d.type != 'p');
    device.number("fileMode", d.mode);
    device.number("uid", d.uid);
    device.number("gid", d.gid);
    c.devices.push_back(std::move(d));
  });
  r.string("cgroupsPath", c.cgroups_path);
  if (c.cgroups_path.find(':') != std::string::npos)
    r.fail("cgroupsPath", "systemd slices are not supported: give a path");
  if (("/" + c.cgroups_path + "/").find("/../") != std::string::npos)
    r.fail("cgroupsPath", "must not contain '..'");
  c.resources = read_resources(r.child("resources"));
  r.string_map("sysctl", c.sysctl);
  r.strings("maskedPaths", c.masked_paths);
  r.strings("readonlyPaths", c.readonly_paths);
  for (const auto* list : {&c.masked_paths, &c.readonly_paths})
    for (const std::string& path : *list)
      if (path.empty() || path[0] != '/')
        r.fail(list == &c.masked_paths ? "maskedPaths" : "readonlyPaths",
               "'" + path + "' must be an absolute path");
  r.string("rootfsPropagation", c.rootfs_propagation);
  static const char* kPropagations[] = {"", "shared", "rshared", "slave", "rslave", "private",
                                        "rprivate", "unbindable", "runbindable"};
  if (std::none_of(std::begin(kPropagations), std::end(kPropagations),
                   [&](const char* p) { return c.rootfs_propagation == p; }))
    r.fail("rootfsPropagation", "unknown value '" + c.rootfs_propagation + "'");
  if (const json::value* seccomp = r.get("seccomp")) c.seccomp = *seccomp;
}

// What only shows when several fields are looked at together.
void check_together(const Config& c, Errors& errors) {
  const Namespace* mount = c.find_namespace(CLONE_NEWNS);
  if (!mount) errors.push_back("linux.namespaces: a mount namespace is required");
  else if (!mount->path.empty())
    errors.push_back("linux.namespaces: joining a mount namespace is not supported");
  auto needs = [&](bool set, const char* field, uint64_t flag, const char* type) {
    if (set && !c.find_namespace(flag))
      errors.push_back(fmt::format("{}: needs a {} namespace of the container's own", field, type));
  };
  needs(!c.hostname.empty(), "hostname", CLONE_NEWUTS, "uts");
  needs(!c.domainname.empty(), "domainname", CLONE_NEWUTS, "uts");
  const Namespace* user = c.find_namespace(CLONE_NEWUSER);
  needs(!c.uid_mappings.empty(), "linux.uidMappings", CLONE_NEWUSER, "user");
  needs(!c.gid_mappings.empty(), "linux.gidMappings", CLONE_NEWUSER, "user");
  if (user && user->path.empty() && (c.uid_mappings.empty() || c.gid_mappings.empty()))
    errors.push_back("linux.uidMappings: a new user namespace needs uid and gid mappings");
  for (const auto& [key, value] : c.sysctl) {
    // Only what the kernel keeps per namespace: anything else would change the host.
    bool ipc = key.starts_with("fs.mqueue.") || key.starts_with("kernel.sem") ||
               key.starts_with("kernel.shm") || key.starts_with("kernel.msg");
    bool uts = key == "kernel.domainname" || key == "kernel.hostname";
    bool net = key.starts_with("net.");
    uint64_t flag = ipc ? CLONE_NEWIPC : uts ? CLONE_NEWUTS : net ? CLONE_NEWNET : 0;
    if (flag == 0 || key.find('/') != std::string::npos || key.find("..") != std::string::npos)
      errors.push_back(fmt::format("linux.sysctl[{}]: is not kept per namespace", key));
    else if (!c.find_namespace(flag))
      errors.push_back(fmt::format("linux.sysctl[{}]: would change the host: {} is needed", key,
                                   ipc ? "an ipc namespace" : uts ? "a uts namespace"
                                                                   : "a network namespace"));
  }
}

base::Error errors_as_one(const Errors& errors, std::string subject) {
  std::string text;
  for (const std::string& line : errors) text += (text.empty() ? "" : "\n") + line;
  return base::make_error(base::Kind::kInvalid, "read", std::move(subject), std::move(text));
}

}  // namespace

const Namespace* Config::find_namespace(uint64_t flag) const {
  for (const Namespace& ns : namespaces)
    if (ns.flag == flag) return &ns;
  return nullptr;
}

base::Result<Config> parse_config(const json::value& value) {
  Errors errors;
  Config c;
  Reader r(&value, "", errors);
  if (!r) {
    if (errors.empty()) errors.push_back("config: must be an object");
    return errors_as_one(errors, "config.json");
  }
  r.refuse({"windows", "solaris", "vm", "zos"});
  r.string("ociVersion", c.oci_version, true);
  if (!c.oci_version.empty() && !c.oci_version.starts_with("1."))
    r.fail("ociVersion", "version '" + c.oci_version + "' is not supported: use 1.x");
  r.string("hostname", c.hostname);
  r.string("domainname", c.domainname);
  if (Reader root = r.child("root")) {
    root.string("path", c.root_path, true);
    root.boolean("readonly", c.root_readonly);
  } else if (!r.get("root")) {
    r.fail("root", "is required");
  }
  if (r.get("process")) c.process = read_process(r.child("process"));
  r.each("mounts", [&](const json::value& v, const std::string& at) {
    Reader m(&v, at, errors);
    Mount out;
    out.field = at;
    m.refuse({"uidMappings", "gidMappings"});
    m.string("destination", out.destination, true);
    m.string("type", out.type);
    m.string("source", out.source);
    m.strings("options", out.options);
    // The specification asks for absolute paths but wants relative ones read from "/".
    if (!out.destination.empty() && out.destination[0] != '/') out.destination.insert(0, "/");
    c.mounts.push_back(std::move(out));
  });
  r.string_map("annotations", c.annotations);
  if (Reader hooks = r.child("hooks")) {
    c.hooks.prestart = read_hooks(hooks, "prestart");
    c.hooks.create_runtime = read_hooks(hooks, "createRuntime");
    c.hooks.create_container = read_hooks(hooks, "createContainer");
    c.hooks.start_container = read_hooks(hooks, "startContainer");
    c.hooks.poststart = read_hooks(hooks, "poststart");
    c.hooks.poststop = read_hooks(hooks, "poststop");
  }
  read_linux(r.child("linux"), c);
  if (errors.empty()) check_together(c, errors);
  if (!errors.empty()) return errors_as_one(errors, "config.json");
  return c;
}

base::Result<Process> parse_process(const json::value& value) {
  Errors errors;
  Process p = read_process(Reader(&value, "process", errors));
  if (!value.is_object() && errors.empty()) errors.push_back("process: must be an object");
  if (!errors.empty()) return errors_as_one(errors, "process");
  return p;
}
base::Result<Resources> parse_resources(const json::value& value) {
  Errors errors;
  Resources r = read_resources(Reader(&value, "resources", errors));
  if (!errors.empty()) return errors_as_one(errors, "resources");
  return r;
}

int signal_number(std::string_view name) {
  int number = -1;
  auto [end, ec] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (ec == std::errc() && end == name.data() + name.size())
    return number >= 0 && number < NSIG ? number : -1;
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(), ::toupper);
  if (upper.starts_with("SIG")) upper.erase(0, 3);
  for (int i = 1; i < 32; ++i)
    if (const char* abbreviation = sigabbrev_np(i); abbreviation && upper == abbreviation) return i;
  if (upper.starts_with("RTMIN+")) {
    int offset = std::atoi(upper.c_str() + 6);
    return offset >= 0 && offset <= 30 ? 34 + offset : -1;
  }
  return -1;
}

}  // namespace runtime
