// Warnings about Pods and the templates of Pods.
#include <algorithm>
#include <map>
#include <set>

#include "api/quantity.h"
#include "api/validate/warnings.h"

namespace api::warn {
namespace {

std::string_view text(const json::value* in, const char* name) {
  return in ? base::string_at(*in, name) : std::string_view();
}
const json::value* member(const json::value* in, const char* name) {
  const json::value* found = in ? base::find(*in, name) : nullptr;
  return found && !found->is_null() ? found : nullptr;
}
std::vector<const json::value*> list(const json::value* in, const char* name) {
  return items(member(in, name));
}

struct Annotation {
  std::string_view key, message;
};
constexpr Annotation kAnnotations[] = {
    {"scheduler.alpha.kubernetes.io/critical-pod",
     "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
    {"security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
    {"security.alpha.kubernetes.io/unsafe-sysctls",
     "non-functional in v1.11+; use the \"sysctls\" field instead"},
};
constexpr std::string_view kSeccomp = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
constexpr std::string_view kAppArmor = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
constexpr std::string_view kNoPod = ": a null labelSelector results in matching no pod";

std::string line(const std::string& path, std::string_view message) {
  return path + ": " + std::string(message);
}

void fraction(Out& out, const json::value* amounts, const std::string& path) {
  for (const char* name : {"memory", "ephemeral-storage"}) {
    auto amount = Quantity::parse(text(amounts, name));
    if (amount.ok() && amount->to_milli() % 1000 != 0)
      out.push_back(path + "[" + name + "]: fractional byte value " + quoted(amount->text()) +
                    " is invalid, must be an integer");
  }
}

// ---- where a Pod may run ---------------------------------------------------------------------------
void node_labels(Out& out, const PodLike& pod) {
  std::string spec = pod.root + "spec.";
  if (const json::value* selector = member(pod.spec, "nodeSelector"); selector && selector->is_object())
    for (const auto& item : selector->get_object())
      if (std::string_view said = deprecated_node_label(item.key()); !said.empty())
        out.push_back(line(spec + "nodeSelector[" + std::string(item.key()) + "]", said));
  const json::value* affinity = member(member(pod.spec, "affinity"), "nodeAffinity");
  const json::value* hard = member(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
  std::vector<const json::value*> terms = list(hard, "nodeSelectorTerms");
  for (size_t i = 0; i < terms.size(); ++i)
    node_selector_term(
        out, *terms[i],
        at(spec + "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
           i));
  terms = list(affinity, "preferredDuringSchedulingIgnoredDuringExecution");
  for (size_t i = 0; i < terms.size(); ++i)
    if (const json::value* preference = member(terms[i], "preference"))
      node_selector_term(
          out, *preference,
          at(spec + "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution", i) +
              ".preference");
}
void spread(Out& out, const PodLike& pod) {
  std::vector<const json::value*> constraints = list(pod.spec, "topologySpreadConstraints");
  for (size_t i = 0; i < constraints.size(); ++i) {
    std::string path = at(pod.root + "spec.topologySpreadConstraints", i);
    std::string_view key = text(constraints[i], "topologyKey");
    if (std::string_view said = deprecated_node_label(key); !said.empty())
      out.push_back(path + ".topologyKey: " + std::string(key) + " is " + std::string(said));
    if (!member(constraints[i], "labelSelector"))
      out.push_back(path + ".labelSelector" + std::string(kNoPod));
  }
}
void neighbours(Out& out, const PodLike& pod) {
  for (const char* kind : {"podAffinity", "podAntiAffinity"}) {
    const json::value* affinity = member(member(pod.spec, "affinity"), kind);
    for (bool hard : {true, false}) {
      const char* name = hard ? "requiredDuringSchedulingIgnoredDuringExecution"
                              : "preferredDuringSchedulingIgnoredDuringExecution";
      std::vector<const json::value*> terms = list(affinity, name);
      for (size_t i = 0; i < terms.size(); ++i)
        if (!member(hard ? terms[i] : member(terms[i], "podAffinityTerm"), "labelSelector"))
          out.push_back(at(pod.root + "spec.affinity." + kind + "." + name, i) +
                        (hard ? "" : ".podAffinityTerm") + ".labelSelector" + std::string(kNoPod));
    }
  }
}

// ---- metadata -------------------------------------------------------------------------------------
void annotations(Out& out, const PodLike& pod) {
  for (const Annotation& one : kAnnotations)
    if (pod.metadata && base::find_path(*pod.metadata, "annotations", one.key))
      out.push_back(line(pod.root + "metadata.annotations[" + std::string(one.key) + "]", one.message));
}
bool annotated(Out& out, const PodLike& pod, const std::string& key, std::string_view message) {
  if (!pod.metadata || !base::find_path(*pod.metadata, "annotations", key)) return false;
  out.push_back(line(pod.root + "metadata.annotations[" + key + "]", message));
  return true;
}
void pod_seccomp(Out& out, const PodLike& pod) {
  if (!member(member(pod.spec, "securityContext"), "seccompProfile"))
    annotated(out, pod, "seccomp.security.alpha.kubernetes.io/pod", kSeccomp);
}

// ---- volumes --------------------------------------------------------------------------------------
void volumes(Out& out, const PodLike& pod) {
  std::vector<const json::value*> all = list(pod.spec, "volumes");
  for (size_t i = 0; i < all.size(); ++i) {
    if (!all[i]->is_object()) continue;
    std::string path = at(pod.root + "spec.volumes", i);
    for (const auto& item : all[i]->get_object())
      if (const RemovedVolume* removed = removed_volume(item.key(), false);
          removed && !item.value().is_null())
        out.push_back(line(path + "." + std::string(removed->shown), removed->message));
    if (const json::value* claim = member(member(all[i], "ephemeral"), "volumeClaimTemplate"))
      claim_spec(out, member(claim, "spec"), path + ".ephemeral.volumeClaimTemplate.spec");
  }
}

std::vector<std::string> paths_of(const json::value* source) {
  std::vector<std::string> out;
  for (const json::value* item : list(source, "items")) out.emplace_back(text(item, "path"));
  return out;
}
// Two files of one volume that are one, or of which one is a directory of the other's path.
void overlap(Out& out, const std::vector<std::string>& paths, const std::string& said) {
  std::set<std::string> seen;
  for (const std::string& path : paths) {
    std::string one = path.substr(0, path.find_last_not_of('/') + 1);
    if (!one.empty())
      for (const std::string& other : seen)
        if (!other.empty() &&
            (other == one || (other + "/").starts_with(one) || (one + "/").starts_with(other))) {
          out.push_back(said + ": " + quoted(one) + " with " + quoted(other));
          break;
        }
    seen.insert(one);
    if (seen.size() > 256) return;  // more than anybody reads about, and each looks at all before it
  }
}
struct Source {
  std::vector<std::string> paths;
  std::string said;
};
// What one source of a projected volume brings, or a volume with one source.
Source source_of(const json::value& in, const std::string& volume, bool projected) {
  std::string head = "volume " + quoted(volume) + (projected ? " (Projected " : " ("),
              tail = "): overlapping paths";
  if (const json::value* map = member(&in, "configMap"))
    return {paths_of(map), head + "ConfigMap " + quoted(text(map, "name")) + tail};
  if (const json::value* secret = member(&in, "secret"))
    return {paths_of(secret),
            head + "Secret " + quoted(text(secret, projected ? "name" : "secretName")) + tail};
  if (const json::value* fields = member(&in, "downwardAPI"))
    return {paths_of(fields), head + "DownwardAPI" + tail};
  if (const json::value* token = member(&in, "serviceAccountToken"); token && projected)
    return {{std::string(text(token, "path"))}, head + "ServiceAccountToken" + tail};
  if (const json::value* bundle = member(&in, "clusterTrustBundle"); bundle && projected)
    return {{std::string(text(bundle, "path"))},
            head + "ClusterTrustBundle " +
                quoted(text(bundle, member(bundle, "name") ? "name" : "signerName")) + tail};
  return {};
}
void overlapping_paths(Out& out, const PodLike& pod) {
  for (const json::value* volume : list(pod.spec, "volumes")) {
    std::string name(text(volume, "name"));
    if (Source own = source_of(*volume, name, false); !own.paths.empty()) overlap(out, own.paths, own.said);
    std::set<std::string> earlier;
    for (const json::value* part : list(member(volume, "projected"), "sources")) {
      if (!part->is_object() || part->get_object().empty()) {
        out.push_back("volume " + quoted(name) + " (Projected) has no sources provided");
        continue;
      }
      Source source = source_of(*part, name, true);
      if (source.paths.empty()) continue;
      overlap(out, source.paths, source.said);
      // Against the sources before it, in an order that does not depend on them.
      std::set<std::string> fresh(source.paths.begin(), source.paths.end());
      std::vector<std::string> all(fresh.begin(), fresh.end());
      all.insert(all.end(), earlier.begin(), earlier.end());
      std::sort(all.begin(), all.end());
      overlap(out, all, source.said);
      earlier.merge(fresh);
    }
  }
}

// ---- what stands twice ----------------------------------------------------------------------------
void twice(Out& out, const PodLike& pod) {
  struct List {
    const char *name, *key, *what;
  };
  for (const List& one : {List{"hostAliases", "ip", "ip"}, List{"imagePullSecrets", "name", "name"}}) {
    std::set<std::string_view> seen;
    std::vector<const json::value*> all = list(pod.spec, one.name);
    for (size_t i = 0; i < all.size(); ++i)
      if (std::string_view value = text(all[i], one.key); !seen.insert(value).second)
        out.push_back(at(pod.root + "spec." + one.name, i) + "." + one.key + ": duplicate " + one.what + " " +
                      quoted(value));
  }
  std::vector<const json::value*> secrets = list(pod.spec, "imagePullSecrets");
  for (size_t i = 0; i < secrets.size(); ++i)
    if (text(secrets[i], "name").empty())
      out.push_back(at(pod.root + "spec.imagePullSecrets", i) + ".name: invalid empty name \"\"");
}
void overhead(Out& out, const PodLike& pod) {
  fraction(out, member(pod.spec, "overhead"), pod.root + "spec.overhead");
}

// ---- containers -----------------------------------------------------------------------------------
template <typename F>
void each_container(const PodLike& pod, F each) {
  for (const char* kind : {"initContainers", "containers", "ephemeralContainers"}) {
    std::vector<const json::value*> all = list(pod.spec, kind);
    for (size_t i = 0; i < all.size(); ++i)
      each(*all[i], [&, kind, i] { return at(pod.root + "spec." + kind, i); });
  }
}
template <typename Path>
void environment(Out& out, const json::value& container, Path path) {
  std::vector<const json::value*> all = list(&container, "env");
  std::set<std::string_view> seen;
  for (size_t i = 0; i < all.size(); ++i) {
    std::string_view name = text(all[i], "name");
    if (seen.insert(name).second) continue;
    // X="$(X)more" means to go on from what was there.
    std::string reference = "$(" + std::string(name) + ")";
    std::string_view value = text(all[i], "value");
    if (member(all[i], "valueFrom") || value == reference || value.find(reference) == value.npos)
      out.push_back(at(path() + ".env", i) + ": hides previous definition of " + quoted(name) +
                    ", which may be dropped when using apply");
  }
}
void containers(Out& out, const PodLike& pod) {
  bool pod_profile = member(member(pod.spec, "securityContext"), "appArmorProfile") != nullptr;
  each_container(pod, [&](const json::value& container, auto path) {
    std::string name(text(&container, "name"));
    const json::value* context = member(&container, "securityContext");
    if (!member(context, "seccompProfile"))
      annotated(out, pod, "container.seccomp.security.alpha.kubernetes.io/" + name, kSeccomp);
    if (!pod_profile && !member(context, "appArmorProfile"))
      annotated(out, pod, "container.apparmor.security.beta.kubernetes.io/" + name, kAppArmor);
    const json::value* resources = member(&container, "resources");
    for (const char* kind : {"limits", "requests"})
      if (const json::value* amounts = member(resources, kind))
        fraction(out, amounts, path() + ".resources." + kind);
    environment(out, container, path);
  });
}

struct Port {
  std::string path, host_ip;
  int64_t host_port;
};
void ports(Out& out, const PodLike& pod) {
  std::map<std::string, std::vector<Port>> all;
  each_container(pod, [&](const json::value& container, auto path) {
    std::vector<const json::value*> own = list(&container, "ports");
    for (size_t i = 0; i < own.size(); ++i) {
      auto number = [&](const char* name) { return base::as_int(base::find(*own[i], name)); };
      Port port{at(path() + ".ports", i), std::string(text(own[i], "hostIP")), number("hostPort")};
      std::string protocol(text(own[i], "protocol"));
      if (!port.host_ip.empty() && port.host_port == 0)
        out.push_back(port.path +
                      ": hostIP set without hostPort: {Name:" + std::string(text(own[i], "name")) +
                      " HostPort:0 ContainerPort:" + std::to_string(number("containerPort")) +
                      " Protocol:" + protocol + " HostIP:" + port.host_ip + "}");
      std::vector<Port>& same = all[std::to_string(number("containerPort")) + "/" + protocol];
      if (same.size() > 64) continue;
      for (const Port& other : same) {
        const char* what =
            port.host_ip == other.host_ip && port.host_port == other.host_port ? "duplicate"
            : port.host_port == 0 || other.host_port == 0                      ? "overlapping"
            : port.host_port == other.host_port && port.host_ip.empty() != other.host_ip.empty()
                ? "dangerously ambiguous"
                : nullptr;
        if (what) out.push_back(port.path + ": " + what + " port definition with " + other.path);
      }
      same.push_back(std::move(port));
    }
  });
}
void grace(Out& out, const PodLike& pod) {
  if (pod.spec && base::as_int(base::find(*pod.spec, "terminationGracePeriodSeconds")) < 0)
    out.push_back(pod.root +
                  "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be "
                  "treated as 1");
}

}  // namespace

void pod(Out& out, const PodLike& pod) {
  constexpr void (*kChecks[])(Out&, const PodLike&) = {node_labels,       spread, annotations, volumes,
                                                       overlapping_paths, twice,  overhead,    pod_seccomp,
                                                       containers,        ports,  grace,       neighbours};
  for (auto check : kChecks) check(out, pod);
}

}  // namespace api::warn
