// spec and features: what a container looks like by default, and what this runtime can do.
#include <fmt/format.h>
#include <seccomp.h>
#include <unistd.h>

#include "base/sys.h"
#include "runtime/oci/commands.h"
#include "runtime/oci/rootless.h"
#include "runtime/runtime.h"
#include "runtime/spec/capabilities.h"
#include "runtime/spec/config.h"

namespace runtime {
namespace {

namespace json = base::json;
namespace sys = base::sys;

json::array name_list(std::initializer_list<const char*> names) {
  json::array out;
  for (const char* name : names) out.push_back(json::value(name));
  return out;
}

// Without root: our own id is the container's root, the network is the host's, and so is /sys.
void make_rootless(json::object& config) {
  json::object& part = base::object_at(config, "linux");
  json::array kept;
  for (const json::value& ns : part["namespaces"].as_array())
    if (base::string_at(ns, "type") != "network") kept.push_back(ns);
  kept.push_back(json::object{{"type", "user"}});
  part["namespaces"] = kept;
  part["uidMappings"] = json::array{json::object{{"containerID", 0}, {"hostID", ::geteuid()}, {"size", 1}}};
  part["gidMappings"] = json::array{json::object{{"containerID", 0}, {"hostID", ::getegid()}, {"size", 1}}};
  part.erase("resources");
  for (json::value& mount : config["mounts"].as_array()) {
    if (base::string_at(mount, "destination") == "/sys") {
      mount = json::object{{"destination", "/sys"},
                           {"type", "none"},
                           {"source", "/sys"},
                           {"options", name_list({"rbind", "nosuid", "noexec", "nodev", "ro"})}};
      continue;
    }
    json::array options;
    for (const json::value& option : mount.as_object()["options"].as_array())
      if (!option.as_string().starts_with("gid=") && !option.as_string().starts_with("uid="))
        options.push_back(option);
    mount.as_object()["options"] = options;
  }
}

json::object seccomp_features() {
  json::array flags = name_list({"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                                 "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"});
  return {
      {"enabled", true},
      {"actions", name_list({"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                             "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE",
                             "SCMP_ACT_TRAP"})},
      {"operators", name_list({"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                               "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"})},
      {"archs", name_list({"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64",
                           "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64",
                           "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64", "SCMP_ARCH_PPC",
                           "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390",
                           "SCMP_ARCH_S390X", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"})},
      {"knownFlags", flags},
      {"supportedFlags", flags}};
}

}  // namespace

base::Result<int> oci_spec(const OciContext& context) {
  std::string path = context.options.get("bundle", ".") + "/config.json";
  if (sys::exists(path))
    return base::make_error(base::Kind::kExists, "write", path, "file exists", "remove it first");
  json::object config = default_config();
  json::object& process = base::object_at(config, "process");
  process["terminal"] = true;
  process["noNewPrivileges"] = true;
  process["env"].as_array().push_back("TERM=xterm");
  // The least that programs as an init expect: what `runc spec` gives.
  json::array few = name_list({"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"});
  process["capabilities"] = json::object{{"bounding", few}, {"effective", few}, {"permitted", few}};
  process["rlimits"] = json::array{json::object{{"type", "RLIMIT_NOFILE"}, {"hard", 1024}, {"soft", 1024}}};
  base::object_at(config, "root")["readonly"] = true;
  config["hostname"] = "sampan";
  // As runc: without one of its own on v1, whose hierarchies would show the wrong paths to old tools.
  if (auto layout = cgroup_layout(); !layout.ok() || !(*layout)->pure_v2()) {
    json::array& namespaces = base::object_at(config, "linux")["namespaces"].as_array();
    for (size_t i = namespaces.size(); i-- > 0;)
      if (base::string_at(namespaces[i], "type") == "cgroup")
        namespaces.erase(namespaces.begin() + static_cast<long>(i));
  }
  if (context.options.has("rootless") || rootless()) make_rootless(config);
  TRY(sys::write_file_atomic(path, json::serialize(config) + "\n"));
  return 0;
}

base::Result<int> oci_features() {
  json::array capabilities;
  for (int i = 0; i <= last_capability(); ++i) capabilities.push_back(json::value(capability_name(i)));
  const scmp_version* version = seccomp_version();
  json::object out{
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", kOciVersion},
      {"hooks", name_list({"prestart", "createRuntime", "createContainer", "startContainer", "poststart",
                           "poststop"})},
      {"mountOptions", name_list({"async",          "atime",         "bind",         "copy-symlink",
                                  "defaults",       "dest-nofollow", "dev",          "diratime",
                                  "dirsync",        "exec",          "idmap",        "iversion",
                                  "lazytime",       "loud",          "mand",         "noatime",
                                  "nodev",          "nodiratime",    "noexec",       "noiversion",
                                  "nolazytime",     "nomand",        "norelatime",   "nostrictatime",
                                  "nosuid",         "nosymfollow",   "private",      "ratime",
                                  "rbind",          "rdev",          "rdiratime",    "relatime",
                                  "remount",        "rexec",         "ridmap",       "rnoatime",
                                  "rnodev",         "rnodiratime",   "rnoexec",      "rnorelatime",
                                  "rnostrictatime", "rnosuid",       "rnosymfollow", "ro",
                                  "rprivate",       "rrelatime",     "rro",          "rrw",
                                  "rshared",        "rslave",        "rstrictatime", "rsuid",
                                  "rsymfollow",     "runbindable",   "rw",           "shared",
                                  "silent",         "slave",         "src-nofollow", "strictatime",
                                  "suid",           "symfollow",     "sync",         "tmpcopyup",
                                  "unbindable"})},
      {"linux",
       json::object{
           {"namespaces", name_list({"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"})},
           {"capabilities", std::move(capabilities)},
           {"cgroup",
            json::object{
                {"v1", true}, {"v2", true}, {"systemd", true}, {"systemdUser", true}, {"rdma", true}}},
           {"seccomp", seccomp_features()},
           {"apparmor", json::object{{"enabled", true}}},
           {"selinux", json::object{{"enabled", true}}},
           {"intelRdt", json::object{{"enabled", false}}},
           {"memoryPolicy",
            json::object{
                {"modes", name_list({"MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL",
                                     "MPOL_PREFERRED", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"})},
                {"flags",
                 name_list({"MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"})}}},
           {"mountExtensions", json::object{{"idmap", json::object{{"enabled", true}}}}},
           {"netDevices", json::object{{"enabled", true}}}}},
      // Whoever lets others write annotations must know that these reach files and programs of the host.
      {"potentiallyUnsafeConfigAnnotations",
       name_list({"org.criu.config", "org.systemd.property.", "run.oci."})},
      {"annotations",
       json::object{{"io.github.seccomp.libseccomp.version",
                     fmt::format("{}.{}.{}", version->major, version->minor, version->micro)}}}};
  std::fputs((json::serialize(out) + "\n").c_str(), stdout);
  return 0;
}

}  // namespace runtime
