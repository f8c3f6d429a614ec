#include "master/admission/pod_security.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>

#include "base/json_lists.h"

namespace master {

namespace json = base::json;
using base::list_at;

namespace {

using Level = PodSecurityLevel::Level;
using Names = std::vector<std::string>;
constexpr int kNewest = 36;  // the standards' version that this server speaks

std::string quoted_names(const Names& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "\"" : ", \"") + name + "\"";
  return out;
}
std::string quoted_names(const std::set<std::string>& names) {
  return quoted_names(Names(names.begin(), names.end()));
}
std::string plural(const char* one, size_t count) { return count == 1 ? one : std::string(one) + "s"; }
std::string containers(const Names& names) {
  return plural("container", names.size()) + " " + quoted_names(names);
}
std::string joined(const Names& parts, const char* between) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : between) + part;
  return out;
}

// A Pod as the checks see it.
struct Subject {
  const json::value& pod;
  int minor;

  const json::value* spec(const char* name) const { return base::find_path(pod, "spec", name); }
  const json::value* security(const char* name) const {
    return base::find_path(pod, "spec", "securityContext", name);
  }
  void each_container(const std::function<void(const json::value&, const std::string& name)>& visit) const {
    for (const char* list : {"initContainers", "containers", "ephemeralContainers"})
      for (const json::value& c : list_at(spec(list))) visit(c, std::string(base::string_at(c, "name")));
  }
  // Names of the containers for which `bad` holds.
  Names containers_where(const std::function<bool(const json::value&)>& bad) const {
    Names out;
    each_container([&](const json::value& c, const std::string& name) {
      if (bad(c)) out.push_back(name);
    });
    return out;
  }
  bool windows() const { return base::string_at(pod, "spec", "os", "name") == "windows"; }
  // KEP-127: root inside a user namespace is nobody outside.
  bool own_users() const {
    const json::value* host_users = spec("hostUsers");
    return host_users && host_users->is_bool() && !host_users->get_bool();
  }
};
const json::value* context(const json::value& container, const char* name) {
  return base::find_path(container, "securityContext", name);
}
// Who set something bad, as "pod and container "a"".
Names setters(bool pod, const Names& bad) {
  Names out;
  if (pod) out.push_back("pod");
  if (!bad.empty()) out.push_back(containers(bad));
  return out;
}
using Found = std::optional<Violation>;

// ---- baseline --------------------------------------------------------------------------------------
Found app_armor(const Subject& s) {
  std::set<std::string> values;
  auto bad = [&](const json::value* profile) {
    if (!profile || !profile->is_object()) return false;
    std::string type(base::string_at(*profile, "type"));
    if (type == "RuntimeDefault" || type == "Localhost") return false;
    values.insert(type);
    return true;
  };
  bool pod = bad(s.security("appArmorProfile"));
  Names who = setters(
      pod, s.containers_where([&](const json::value& c) { return bad(context(c, "appArmorProfile")); }));
  Names list(values.begin(), values.end()), annotations;
  if (const json::value* all = base::find_path(s.pod, "metadata", "annotations"); all && all->is_object())
    for (const auto& item : all->get_object()) {
      std::string_view key(item.key().data(), item.key().size()), value = base::as_string(&item.value());
      if (key.starts_with("container.apparmor.security.beta.kubernetes.io/") && !value.empty() &&
          value != "runtime/default" && !value.starts_with("localhost/"))
        annotations.push_back(std::string(key) + "=\"" + std::string(value) + "\"");
    }
  std::sort(annotations.begin(), annotations.end());
  if (!annotations.empty()) who.push_back(plural("annotation", annotations.size()));
  list.insert(list.end(), annotations.begin(), annotations.end());
  if (who.empty()) return {};
  return Violation{plural("forbidden AppArmor profile", list.size()),
                   joined(who, " and ") + " must not set AppArmor profile type to " + quoted_names(list)};
}
Found capabilities_baseline(const Subject& s) {
  static const std::set<std::string_view> kAllowed = {
      "AUDIT_WRITE",      "CHOWN",   "DAC_OVERRIDE", "FOWNER",  "FSETID", "KILL",      "MKNOD",
      "NET_BIND_SERVICE", "SETFCAP", "SETGID",       "SETPCAP", "SETUID", "SYS_CHROOT"};
  std::set<std::string> forbidden;
  Names bad = s.containers_where([&](const json::value& c) {
    bool any = false;
    for (const json::value& one : list_at(base::find_path(c, "securityContext", "capabilities", "add")))
      if (!kAllowed.contains(base::as_string(&one)))
        any = forbidden.emplace(base::as_string(&one)).second || true;
    return any;
  });
  if (bad.empty()) return {};
  return Violation{"non-default capabilities", containers(bad) + " must not include " +
                                                   quoted_names(forbidden) +
                                                   " in securityContext.capabilities.add"};
}
Found host_namespaces(const Subject& s) {
  Names used;
  for (const char* name : {"hostNetwork", "hostPID", "hostIPC"})
    if (base::as_bool(s.spec(name))) used.push_back(std::string(name) + "=true");
  if (used.empty()) return {};
  return Violation{"host namespaces", joined(used, ", ")};
}
Found host_path_volumes(const Subject& s) {
  Names bad;
  for (const json::value& volume : list_at(s.spec("volumes")))
    if (base::find(volume, "hostPath")) bad.emplace_back(base::string_at(volume, "name"));
  if (bad.empty()) return {};
  return Violation{"hostPath volumes", plural("volume", bad.size()) + " " + quoted_names(bad)};
}
Found host_ports(const Subject& s) {
  std::set<std::string> ports;
  Names bad = s.containers_where([&](const json::value& c) {
    bool any = false;
    for (const json::value& port : list_at(base::find(c, "ports")))
      if (int64_t number = base::as_int(base::find(port, "hostPort")))
        any = ports.insert(std::to_string(number)).second || true;
    return any;
  });
  if (bad.empty()) return {};
  return Violation{"hostPort", containers(bad) + (bad.size() == 1 ? " uses " : " use ") +
                                   plural("hostPort", ports.size()) + " " +
                                   joined(Names(ports.begin(), ports.end()), ", ")};
}
Found host_probes(const Subject& s) {
  std::set<std::string> hosts, bad;
  s.each_container([&](const json::value& c, const std::string& name) {
    auto look = [&](const json::value* handler) {
      if (!handler) return;
      for (const char* kind : {"httpGet", "tcpSocket"})
        if (std::string_view host = base::string_at(*handler, kind, "host"); !host.empty())
          hosts.emplace(host), bad.insert(name);
    };
    for (const char* probe : {"livenessProbe", "readinessProbe", "startupProbe"}) look(base::find(c, probe));
    for (const char* hook : {"postStart", "preStop"}) look(base::find_path(c, "lifecycle", hook));
  });
  if (bad.empty()) return {};
  return Violation{"probe or lifecycle host",
                   containers(Names(bad.begin(), bad.end())) + (bad.size() == 1 ? " uses " : " use ") +
                       plural("probe or lifecycle host", hosts.size()) + " " + quoted_names(hosts)};
}
Found privileged(const Subject& s) {
  Names bad =
      s.containers_where([](const json::value& c) { return base::as_bool(context(c, "privileged")); });
  if (bad.empty()) return {};
  return Violation{"privileged", containers(bad) + " must not set securityContext.privileged=true"};
}
Found proc_mount(const Subject& s) {
  std::set<std::string> types;
  Names bad = s.containers_where([&](const json::value& c) {
    std::string_view type = base::as_string(context(c, "procMount"));
    return !type.empty() && type != "Default" && (types.emplace(type), true);
  });
  if (bad.empty()) return {};
  return Violation{"procMount",
                   containers(bad) + " must not set securityContext.procMount to " + quoted_names(types)};
}
Found proc_mount_baseline(const Subject& s) {
  return s.minor >= 35 && s.own_users() ? Found() : proc_mount(s);
}
Found selinux(const Subject& s) {
  std::set<std::string> types;
  bool user = false, role = false;
  auto bad = [&](const json::value* options) {
    if (!options || !options->is_object()) return false;
    std::string type(base::string_at(*options, "type"));
    bool wrong = !type.empty() && type != "container_t" && type != "container_init_t" &&
                 type != "container_kvm_t" && !(s.minor >= 31 && type == "container_engine_t");
    if (wrong) types.insert(type);
    bool has_user = !base::string_at(*options, "user").empty(),
         has_role = !base::string_at(*options, "role").empty();
    user |= has_user, role |= has_role;
    return wrong || has_user || has_role;
  };
  bool pod = bad(s.security("seLinuxOptions"));
  Names who = setters(
            pod, s.containers_where([&](const json::value&c) { return bad(context(c, "seLinuxOptions")); })),
        what;
  if (who.empty()) return {};
  if (!types.empty()) what.push_back(plural("type", types.size()) + " " + quoted_names(types));
  if (user) what.push_back("user may not be set");
  if (role) what.push_back("role may not be set");
  return Violation{
      "seLinuxOptions",
      joined(who, " and ") + " set forbidden securityContext.seLinuxOptions: " + joined(what, "; ")};
}
// Explicitly bad seccomp profiles; *pod_set: the Pod sets a good one, *unset: containers without one.
Found seccomp_set(const Subject& s, bool* pod_set, Names* unset) {
  std::set<std::string> values;
  auto good = [&](const json::value* profile) {
    std::string type(base::string_at(*profile, "type"));
    if (type == "Localhost" || type == "RuntimeDefault") return true;
    values.insert(type);
    return false;
  };
  const json::value* own = s.security("seccompProfile");
  bool pod_bad = own && own->is_object() && !good(own);
  *pod_set = own && own->is_object() && !pod_bad;
  Names bad;
  s.each_container([&](const json::value& c, const std::string& name) {
    const json::value* profile = context(c, "seccompProfile");
    if (!profile || !profile->is_object()) unset->push_back(name);
    else if (!good(profile)) bad.push_back(name);
  });
  Names who = setters(pod_bad, bad);
  if (who.empty()) return {};
  return Violation{
      "seccompProfile",
      joined(who, " and ") + " must not set securityContext.seccompProfile.type to " + quoted_names(values)};
}
Found seccomp_annotations(const Subject& s) {  // before 1.19
  std::set<std::string> forbidden;
  auto look = [&](const std::string& key) {
    const json::value* value = base::find_path(s.pod, "metadata", "annotations", key);
    if (!value) return;
    std::string_view text = base::as_string(value);
    if (text != "runtime/default" && text != "docker/default" && !text.starts_with("localhost/"))
      forbidden.insert(key + "=\"" + std::string(text) + "\"");
  };
  look("seccomp.security.alpha.kubernetes.io/pod");
  s.each_container([&](const json::value&, const std::string& name) {
    look("container.seccomp.security.alpha.kubernetes.io/" + name);
  });
  if (forbidden.empty()) return {};
  return Violation{"seccompProfile", "forbidden " + plural("annotation", forbidden.size()) + " " +
                                         joined(Names(forbidden.begin(), forbidden.end()), ", ")};
}
Found seccomp_baseline(const Subject& s) {
  if (s.minor < 19) return seccomp_annotations(s);
  bool pod_set;
  Names unset;
  return seccomp_set(s, &pod_set, &unset);
}
Found sysctls(const Subject& s) {
  static const std::vector<std::pair<int, std::set<std::string_view>>> kAllowed = {
      {0,
       {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start"}},
      {27, {"net.ipv4.ip_local_reserved_ports"}},
      {29,
       {"net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes"}},
      {32, {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}}};
  Names bad;
  for (const json::value& sysctl : list_at(s.security("sysctls"))) {
    bool allowed = false;
    for (const auto& [since, names] : kAllowed)
      allowed |= s.minor >= since && names.contains(base::string_at(sysctl, "name"));
    if (!allowed) bad.emplace_back(base::string_at(sysctl, "name"));
  }
  if (bad.empty()) return {};
  return Violation{"forbidden sysctls", joined(bad, ", ")};
}
Found windows_host_process(const Subject& s) {
  bool pod =
      base::as_bool(base::find_path(s.pod, "spec", "securityContext", "windowsOptions", "hostProcess"));
  Names who = setters(pod, s.containers_where([](const json::value& c) {
    return base::as_bool(base::find_path(c, "securityContext", "windowsOptions", "hostProcess"));
  }));
  if (who.empty()) return {};
  return Violation{"hostProcess",
                   joined(who, " and ") + " must not set securityContext.windowsOptions.hostProcess=true"};
}

// ---- restricted ------------------------------------------------------------------------------------
Found privilege_escalation(const Subject& s) {
  if (s.minor >= 25 && s.windows()) return {};
  Names bad = s.containers_where([](const json::value& c) {
    const json::value* allowed = context(c, "allowPrivilegeEscalation");
    return !allowed || !allowed->is_bool() || allowed->get_bool();
  });
  if (bad.empty()) return {};
  return Violation{"allowPrivilegeEscalation != false",
                   containers(bad) + " must set securityContext.allowPrivilegeEscalation=false"};
}
Found capabilities_restricted(const Subject& s) {
  if (s.minor >= 25 && s.windows()) return {};
  Names keeping, adding;
  std::set<std::string> forbidden;
  s.each_container([&](const json::value& c, const std::string& name) {
    bool dropped = false, added = false;
    for (const json::value& one : list_at(base::find_path(c, "securityContext", "capabilities", "drop")))
      dropped |= base::as_string(&one) == "ALL";
    for (const json::value& one : list_at(base::find_path(c, "securityContext", "capabilities", "add")))
      if (base::as_string(&one) != "NET_BIND_SERVICE") forbidden.emplace(base::as_string(&one)), added = true;
    if (!dropped) keeping.push_back(name);
    if (added) adding.push_back(name);
  });
  Names details;
  if (!keeping.empty())
    details.push_back(containers(keeping) + " must set securityContext.capabilities.drop=[\"ALL\"]");
  if (!adding.empty())
    details.push_back(containers(adding) + " must not include " + quoted_names(forbidden) +
                      " in securityContext.capabilities.add");
  if (details.empty()) return {};
  return Violation{"unrestricted capabilities", joined(details, "; ")};
}
Found restricted_volumes(const Subject& s) {
  static const std::set<std::string_view> kAllowed = {
      "configMap", "csi",   "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim",
      "projected", "secret"};
  Names bad;
  std::set<std::string> types;
  for (const json::value& volume : list_at(s.spec("volumes"))) {
    if (!volume.is_object()) continue;
    std::string type = "unknown";
    bool allowed = false;
    for (const auto& item : volume.get_object()) {
      if (item.key() == "name" || item.value().is_null()) continue;
      allowed |= kAllowed.contains({item.key().data(), item.key().size()});
      type = item.key();
    }
    if (allowed) continue;
    bad.emplace_back(base::string_at(volume, "name"));
    types.insert(type);
  }
  if (bad.empty()) return {};
  return Violation{"restricted volume types", plural("volume", bad.size()) + " " + quoted_names(bad) +
                                                  (bad.size() == 1 ? " uses " : " use ") +
                                                  plural("restricted volume type", types.size()) + " " +
                                                  quoted_names(types)};
}
Found run_as_non_root(const Subject& s) {
  if (s.minor >= 35 && s.own_users()) return {};
  auto set_to = [](const json::value* in, bool wanted) {
    return in && in->is_bool() && in->get_bool() == wanted;
  };
  Names who = setters(
      set_to(s.security("runAsNonRoot"), false),
      s.containers_where([&](const json::value& c) { return set_to(context(c, "runAsNonRoot"), false); }));
  if (!who.empty())
    return Violation{"runAsNonRoot != true",
                     joined(who, " and ") + " must not set securityContext.runAsNonRoot=false"};
  if (set_to(s.security("runAsNonRoot"), true)) return {};
  Names bad = s.containers_where([](const json::value& c) {
    const json::value* own = context(c, "runAsNonRoot");
    return !own || !own->is_bool();
  });
  if (bad.empty()) return {};
  return Violation{"runAsNonRoot != true",
                   "pod or " + containers(bad) + " must set securityContext.runAsNonRoot=true"};
}
Found run_as_user(const Subject& s) {
  if (s.minor >= 35 && s.own_users()) return {};
  auto zero = [](const json::value* in) { return in && in->is_int64() && in->get_int64() == 0; };
  Names who =
      setters(zero(s.security("runAsUser")),
              s.containers_where([&](const json::value& c) { return zero(context(c, "runAsUser")); }));
  if (who.empty()) return {};
  return Violation{"runAsUser=0", joined(who, " and ") + " must not set runAsUser=0"};
}
Found seccomp_restricted(const Subject& s) {
  if (s.minor >= 25 && s.windows()) return {};
  bool pod_set;
  Names unset;
  if (Found bad = seccomp_set(s, &pod_set, &unset)) return bad;
  if (pod_set || unset.empty()) return {};
  return Violation{
      "seccompProfile",
      "pod or " + containers(unset) +
          " must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""};
}

// In the order of messages: baseline, then restricted, each by name. `since`: first version that has
// the check; `until`: first version of restricted in which a stricter one stands for it, or -1.
struct Check {
  Level level;
  int since, until;
  Found (*run)(const Subject&);
};
constexpr Check kChecks[] = {
    {Level::kBaseline, 0, -1, app_armor},
    {Level::kBaseline, 0, 22, capabilities_baseline},
    {Level::kBaseline, 0, -1, host_namespaces},
    {Level::kBaseline, 0, 0, host_path_volumes},
    {Level::kBaseline, 0, -1, host_ports},
    {Level::kBaseline, 34, -1, host_probes},
    {Level::kBaseline, 0, -1, privileged},
    {Level::kBaseline, 0, 35, proc_mount_baseline},
    {Level::kBaseline, 0, -1, selinux},
    {Level::kBaseline, 0, 19, seccomp_baseline},
    {Level::kBaseline, 0, -1, sysctls},
    {Level::kBaseline, 0, -1, windows_host_process},
    {Level::kRestricted, 8, -1, privilege_escalation},
    {Level::kRestricted, 22, -1, capabilities_restricted},
    {Level::kRestricted, 35, -1, proc_mount},
    {Level::kRestricted, 0, -1, restricted_volumes},
    {Level::kRestricted, 0, -1, run_as_non_root},
    {Level::kRestricted, 23, -1, run_as_user},
    {Level::kRestricted, 19, -1, seccomp_restricted},
};

constexpr std::string_view kLabelPrefix = "pod-security.kubernetes.io/";
bool read_level(std::string_view text, Level* out) {
  if (text == "privileged") *out = Level::kPrivileged;
  else if (text == "baseline") *out = Level::kBaseline;
  else if (text == "restricted") *out = Level::kRestricted;
  else return false;
  return true;
}
bool read_version(std::string_view text, int* minor) {
  *minor = -1;
  if (text == "latest") return true;
  if (!text.starts_with("v1.") || text.size() > 7) return false;
  auto [end, error] = std::from_chars(text.data() + 3, text.data() + text.size(), *minor);
  return error == std::errc() && end == text.data() + text.size() && *minor >= 0;
}
const json::value* label(const json::value* labels, const std::string& name) {
  return labels ? base::find(*labels, std::string(kLabelPrefix) + name) : nullptr;
}
// A level that cannot be read: what enforces is strict, what only tells says nothing.
PodSecurityLevel read_mode(const json::value* labels, const std::string& mode, bool strict) {
  PodSecurityLevel out;
  const json::value *level = label(labels, mode), *version = label(labels, mode + "-version");
  if (level && !read_level(base::as_string(level), &out.level))
    out.level = strict ? Level::kRestricted : Level::kPrivileged;
  if (version && !read_version(base::as_string(version), &out.minor)) out.minor = -1;
  return out;
}

}  // namespace

std::string PodSecurityLevel::text() const {
  const char* name = level == Level::kPrivileged ? "privileged"
                     : level == Level::kBaseline ? "baseline"
                                                 : "restricted";
  return std::string(name) + ":" + (minor < 0 ? "latest" : "v1." + std::to_string(minor));
}

PodSecurityPolicy read_pod_security(const json::value* labels) {
  PodSecurityPolicy out{read_mode(labels, "enforce", true), read_mode(labels, "audit", false),
                        read_mode(labels, "warn", false)};
  // What is refused is also worth a warning where only a template of it is written.
  Level enforced;
  const json::value* enforce = label(labels, "enforce");
  if (!label(labels, "warn") && enforce && read_level(base::as_string(enforce), &enforced) &&
      enforced > out.warn.level) {
    out.warn.level = enforced;
    if (!label(labels, "warn-version")) out.warn.minor = out.enforce.minor;
  }
  return out;
}
std::vector<BadLabel> check_pod_security_labels(const json::value* labels) {
  std::vector<BadLabel> out;
  for (const std::string mode : {"enforce", "audit", "warn"}) {
    Level level;
    int minor;
    if (const json::value* value = label(labels, mode); value && !read_level(base::as_string(value), &level))
      out.push_back({std::string(kLabelPrefix) + mode, std::string(base::as_string(value)),
                     "must be one of privileged, baseline, restricted"});
    if (const json::value* value = label(labels, mode + "-version");
        value && !read_version(base::as_string(value), &minor))
      out.push_back({std::string(kLabelPrefix) + mode + "-version", std::string(base::as_string(value)),
                     "must be \"latest\" or \"v1.x\""});
  }
  return out;
}

std::vector<Violation> violations(const PodSecurityLevel& level, const json::value& pod) {
  std::vector<Violation> out;
  if (level.level == Level::kPrivileged) return out;
  Subject subject{pod, level.minor < 0 || level.minor > kNewest ? kNewest : level.minor};
  bool restricted = level.level == Level::kRestricted;
  for (const Check& check : kChecks) {
    if (subject.minor < check.since || (check.level == Level::kRestricted && !restricted)) continue;
    if (restricted && check.level == Level::kBaseline && check.until >= 0 && subject.minor >= check.until)
      continue;
    if (Found found = check.run(subject)) out.push_back(std::move(*found));
  }
  return out;
}
std::string detail_text(const std::vector<Violation>& all) {
  std::string out;
  for (const Violation& one : all) out += (out.empty() ? "" : ", ") + one.reason + " (" + one.detail + ")";
  return out;
}
std::string reason_text(const std::vector<Violation>& all) {
  std::string out;
  for (const Violation& one : all) out += (out.empty() ? "" : ", ") + one.reason;
  return out;
}

}  // namespace master
