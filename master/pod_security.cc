#include "master/pod_security.h"

#include <algorithm>
#include <functional>

#include "api/status.h"

namespace master {

namespace json = base::json;
using base::find;
using base::find_path;
using base::string_at;

namespace {

using Names = std::vector<std::string>;

const json::array& list_at(const json::value* value) {
  static const json::array kNone;
  return value && value->is_array() ? value->get_array() : kNone;
}
bool one_of(std::string_view text, std::initializer_list<std::string_view> values) {
  return std::find(values.begin(), values.end(), text) != values.end();
}
std::string quoted(std::string_view text) { return base::to_json(json::value(text)); }
std::string joined(const Names& names, bool quote = false) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + (quote ? quoted(name) : name);
  return out;
}
// container "a"; containers "a", "b"
std::string the_containers(const Names& names) { return (names.size() == 1 ? "container " : "containers ") + joined(names, true); }

class Checker {
 public:
  explicit Checker(const json::value& pod) : pod_(pod) {
    for (const char* list : {"initContainers", "containers", "ephemeralContainers"})
      for (const json::value& container : list_at(find_path(pod, "spec", list))) containers_.push_back(&container);
  }

  std::vector<std::string> baseline(bool restricted) {
    host_namespaces();
    containers_with([](const json::value& c) { return base::as_bool(find_path(c, "securityContext", "privileged")); }, [&](const Names& names) {
      add("privileged", the_containers(names) + " must not set securityContext.privileged=true");
    });
    if (!restricted) capabilities_baseline();
    if (!restricted) host_paths();
    host_ports();
    app_armor();
    se_linux();
    containers_with([](const json::value& c) { return !one_of(string_at(c, "securityContext", "procMount"), {"", "Default"}); }, [&](const Names& names) {
      add("procMount", the_containers(names) + " must not set securityContext.procMount to \"Unmasked\"");
    });
    if (!restricted) seccomp_baseline();
    sysctls();
    host_process();
    return std::move(out_);
  }

  std::vector<std::string> restricted() {
    out_ = baseline(true);
    containers_with([](const json::value& c) { return base::as_bool(find_path(c, "securityContext", "allowPrivilegeEscalation"), true); },
                    [&](const Names& names) { add("allowPrivilegeEscalation != false", the_containers(names) + " must set securityContext.allowPrivilegeEscalation=false"); });
    capabilities_restricted();
    volume_types();
    run_as_non_root();
    run_as_user();
    seccomp_restricted();
    return std::move(out_);
  }

 private:
  void add(const std::string& control, const std::string& detail) { out_.push_back(control + " (" + detail + ")"); }
  void containers_with(const std::function<bool(const json::value&)>& bad, const std::function<void(const Names&)>& then) {
    Names names;
    for (const json::value* container : containers_)
      if (bad(*container)) names.emplace_back(string_at(*container, "name"));
    if (!names.empty()) then(names);
  }
  const json::value* of_pod(std::string_view field) const { return find_path(pod_, "spec", "securityContext", field); }

  void host_namespaces() {
    Names set;
    for (const char* field : {"hostNetwork", "hostPID", "hostIPC"})
      if (base::as_bool(find_path(pod_, "spec", field))) set.push_back(std::string(field) + "=true");
    if (!set.empty()) add("host namespaces", joined(set));
  }
  void forbidden_capabilities(const char* control, std::initializer_list<std::string_view> allowed) {
    Names names, added;
    for (const json::value* container : containers_) {
      bool bad = false;
      for (const json::value& item : list_at(find_path(*container, "securityContext", "capabilities", "add")))
        if (std::string name(base::as_string(&item)); !one_of(name, allowed)) {
          bad = true;
          if (std::find(added.begin(), added.end(), name) == added.end()) added.push_back(name);
        }
      if (bad) names.emplace_back(string_at(*container, "name"));
    }
    std::sort(added.begin(), added.end());
    if (!names.empty()) add(control, the_containers(names) + " must not include " + joined(added, true) + " in securityContext.capabilities.add");
  }
  void capabilities_baseline() {
    forbidden_capabilities("non-default capabilities", {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
                                                        "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"});
  }
  void capabilities_restricted() {
    containers_with(
        [](const json::value& c) {
          const json::array& drop = list_at(find_path(c, "securityContext", "capabilities", "drop"));
          return std::none_of(drop.begin(), drop.end(), [](const json::value& item) { return base::as_string(&item) == "ALL"; });
        },
        [&](const Names& names) { add("unrestricted capabilities", the_containers(names) + " must set securityContext.capabilities.drop=[\"ALL\"]"); });
    forbidden_capabilities("unrestricted capabilities", {"NET_BIND_SERVICE"});
  }
  void host_paths() {
    Names names;
    for (const json::value& volume : list_at(find_path(pod_, "spec", "volumes")))
      if (find(volume, "hostPath")) names.emplace_back(string_at(volume, "name"));
    if (!names.empty()) add("hostPath volumes", (names.size() == 1 ? "volume " : "volumes ") + joined(names, true));
  }
  void volume_types() {
    Names names, types;
    for (const json::value& volume : list_at(find_path(pod_, "spec", "volumes"))) {
      if (!volume.is_object()) continue;
      for (const auto& [key, value] : volume.get_object()) {
        if (one_of(key, {"name", "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"})) continue;
        names.emplace_back(string_at(volume, "name"));
        if (std::string type(key); std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
      }
    }
    if (names.empty()) return;
    add("restricted volume types", (names.size() == 1 ? "volume " : "volumes ") + joined(names, true) + (names.size() == 1 ? " uses" : " use") +
                                       " restricted volume type" + (types.size() == 1 ? " " : "s ") + joined(types, true));
  }
  void host_ports() {
    Names names, ports;
    for (const json::value* container : containers_)
      for (const json::value& port : list_at(find(*container, "ports")))
        if (int64_t number = base::as_int(find(port, "hostPort")); number != 0) {
          if (names.empty() || names.back() != string_at(*container, "name")) names.emplace_back(string_at(*container, "name"));
          ports.push_back(std::to_string(number));
        }
    if (names.empty()) return;
    add("hostPort", the_containers(names) + (names.size() == 1 ? " uses" : " use") + (ports.size() == 1 ? " hostPort " : " hostPorts ") + joined(ports));
  }
  void app_armor() {
    Names bad;
    auto look = [&](const json::value* context, const std::string& path) {
      if (std::string type(context ? string_at(*context, "appArmorProfile", "type") : std::string_view()); !one_of(type, {"", "RuntimeDefault", "Localhost"}))
        bad.push_back(path + ".appArmorProfile.type=" + quoted(type));
    };
    look(find_path(pod_, "spec", "securityContext"), "pod securityContext");
    for (const json::value* container : containers_) look(find(*container, "securityContext"), "container " + quoted(string_at(*container, "name")) + " securityContext");
    if (const json::value* annotations = find_path(pod_, "metadata", "annotations"); annotations && annotations->is_object())
      for (const auto& [key, value] : annotations->get_object())
        if (std::string_view name = key; name.starts_with("container.apparmor.security.beta.kubernetes.io/"))
          if (std::string_view profile = base::as_string(&value); !profile.empty() && profile != "runtime/default" && !profile.starts_with("localhost/"))
            bad.push_back(std::string(name) + "=" + quoted(profile));
    if (!bad.empty()) add(bad.size() == 1 ? "forbidden AppArmor profile" : "forbidden AppArmor profiles", joined(bad));
  }
  void se_linux() {
    Names bad;
    auto look = [&](const json::value* context, const std::string& who) {
      if (!context) return;
      if (std::string_view type = string_at(*context, "seLinuxOptions", "type");
          !one_of(type, {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}))
        bad.push_back(who + " set forbidden securityContext.seLinuxOptions: type " + quoted(type));
      for (const char* field : {"user", "role"})
        if (std::string_view value = string_at(*context, "seLinuxOptions", field); !value.empty())
          bad.push_back(who + " set forbidden securityContext.seLinuxOptions: " + field + " may not be set");
    };
    look(find_path(pod_, "spec", "securityContext"), "pod");
    for (const json::value* container : containers_) look(find(*container, "securityContext"), "container " + quoted(string_at(*container, "name")));
    if (!bad.empty()) add("seLinuxOptions", joined(bad));
  }
  void seccomp_baseline() {
    const json::value* profile = of_pod("seccompProfile");
    if (profile && string_at(*profile, "type") == "Unconfined") add("seccompProfile", "pod must not set securityContext.seccompProfile.type to \"Unconfined\"");
    containers_with([](const json::value& c) { return string_at(c, "securityContext", "seccompProfile", "type") == "Unconfined"; }, [&](const Names& names) {
      add("seccompProfile", the_containers(names) + " must not set securityContext.seccompProfile.type to \"Unconfined\"");
    });
  }
  void seccomp_restricted() {
    const json::value* profile = of_pod("seccompProfile");
    std::string_view of_all = profile ? string_at(*profile, "type") : std::string_view();
    bool good = one_of(of_all, {"RuntimeDefault", "Localhost"});
    if (!of_all.empty() && !good) add("seccompProfile", "pod must not set securityContext.seccompProfile.type to " + quoted(of_all));
    containers_with([&](const json::value& c) {
      std::string_view own = string_at(c, "securityContext", "seccompProfile", "type");
      return own.empty() ? !good : !one_of(own, {"RuntimeDefault", "Localhost"});
    }, [&](const Names& names) {
      add("seccompProfile", "pod or " + the_containers(names) + " must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"");
    });
  }
  void sysctls() {
    Names bad;
    for (const json::value& item : list_at(of_pod("sysctls")))
      if (std::string_view name = string_at(item, "name");
          !one_of(name, {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies",
                         "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
                         "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}))
        bad.emplace_back(name);
    if (!bad.empty()) add("forbidden sysctls", joined(bad));
  }
  void host_process() {
    const json::value* windows = of_pod("windowsOptions");
    if (windows && base::as_bool(find(*windows, "hostProcess"))) add("hostProcess", "pod must not set securityContext.windowsOptions.hostProcess=true");
    containers_with([](const json::value& c) { return base::as_bool(find_path(c, "securityContext", "windowsOptions", "hostProcess")); }, [&](const Names& names) {
      add("hostProcess", the_containers(names) + " must not set securityContext.windowsOptions.hostProcess=true");
    });
  }
  void run_as_non_root() {
    const json::value* all = of_pod("runAsNonRoot");
    if (all && !base::as_bool(all)) add("runAsNonRoot != true", "pod must not set securityContext.runAsNonRoot=false");
    containers_with([&](const json::value& c) {
      const json::value* own = find_path(c, "securityContext", "runAsNonRoot");
      return own ? !base::as_bool(own) : !base::as_bool(all);
    }, [&](const Names& names) { add("runAsNonRoot != true", "pod or " + the_containers(names) + " must set securityContext.runAsNonRoot=true"); });
  }
  void run_as_user() {
    auto root = [](const json::value* user) { return user && base::as_int(user, -1) == 0; };
    if (root(of_pod("runAsUser"))) add("runAsUser=0", "pod must not set runAsUser=0");
    containers_with([&](const json::value& c) { return root(find_path(c, "securityContext", "runAsUser")); },
                    [&](const Names& names) { add("runAsUser=0", the_containers(names) + " must not set runAsUser=0"); });
  }

  const json::value& pod_;
  std::vector<const json::value*> containers_;
  std::vector<std::string> out_;
};

class PodSecurity final : public AdmissionPlugin {
 public:
  explicit PodSecurity(const ObjectCache& namespaces) : namespaces_(namespaces) {}
  std::string_view name() const override { return "PodSecurity"; }
  using AdmissionPlugin::validate;

  json::value validate(AdmissionAttributes& attributes) override {
    if (!attributes.object.is_object()) return nullptr;
    if (attributes.is("", "namespaces")) return check_labels(attributes);
    bool update = attributes.operation == Operation::kUpdate;
    if (!attributes.is("", "pods") || (!update && attributes.operation != Operation::kCreate)) return nullptr;
    if (!attributes.subresource.empty() && attributes.subresource != "ephemeralcontainers") return nullptr;
    // A Pod that was let in stays: only what changes what it may do is looked at again.
    if (update && find(attributes.old, "spec") && *find(attributes.old, "spec") == *find(attributes.object, "spec")) return nullptr;
    ObjectRef ns = namespaces_.find(object_key("", attributes.ns));
    if (!ns) return nullptr;
    std::string enforce = level_of(*ns, "enforce"), warn = level_of(*ns, "warn");
    std::vector<std::string> wrong = pod_security_violations(enforce, attributes.object);
    if (!wrong.empty())
      return api::forbidden(attributes.resource->named(), attributes.name, "violates PodSecurity \"" + enforce + ":latest\": " + joined(wrong));
    if (warn != enforce)
      if (wrong = pod_security_violations(warn, attributes.object); !wrong.empty())
        attributes.request->warnings.push_back("would violate PodSecurity \"" + warn + ":latest\": " + joined(wrong));
    return nullptr;
  }

 private:
  static std::string level_of(const StoredObject& ns, const char* mode) {
    auto it = ns.labels.find(std::string("pod-security.kubernetes.io/") + mode);
    return it == ns.labels.end() ? "privileged" : it->second;
  }
  // A level that nobody knows would protect nobody.
  static json::value check_labels(const AdmissionAttributes& attributes) {
    api::FieldErrors errors;
    for (const char* mode : {"enforce", "warn", "audit"}) {
      std::string key = std::string("pod-security.kubernetes.io/") + mode;
      const json::value* value = find_path(attributes.object, "metadata", "labels", key);
      if (value && !one_of(base::as_string(value), {"privileged", "baseline", "restricted"}))
        errors.push_back({api::FieldError::Type::invalid, "metadata.labels[" + key + "]", base::to_json(*value), "must be one of privileged, baseline, restricted"});
    }
    return errors.empty() ? json::value(nullptr) : api::invalid("", "Namespace", attributes.name, errors);
  }
  const ObjectCache& namespaces_;
};

}  // namespace

std::vector<std::string> pod_security_violations(std::string_view level, const json::value& pod) {
  if (level == "baseline") return Checker(pod).baseline(false);
  if (level == "restricted") return Checker(pod).restricted();
  return {};
}

std::unique_ptr<AdmissionPlugin> make_pod_security(const ObjectCache& namespaces) { return std::make_unique<PodSecurity>(namespaces); }

}  // namespace master
