#include "api/validate/warnings.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <unordered_map>

#include "api/quantity.h"
#include "api/text_formats.h"
#include "api/validate/validate.h"
#include "api/validate/view.h"
#include "base/base64.h"

namespace api {
namespace warn {

using rules::View;

std::string quoted(std::string_view text) { return base::to_json(json::value(text)); }
std::vector<const json::value*> items(const json::value* list) {
  std::vector<const json::value*> out;
  if (const json::array* array = list ? list->if_array() : nullptr)
    for (const json::value& one : *array) out.push_back(&one);
  return out;
}

namespace {

// ---- tables ----------------------------------------------------------------------------------------
constexpr RemovedVolume kRemovedVolumes[] = {
    {"photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+", true,
     true},
    {"gitRepo", "gitRepo", "deprecated in v1.11", true, false},
    {"scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+", true, true},
    {"flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+", true, false},
    {"storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+", true, true},
    {"quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+", true, false},
    {"glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+", true, true},
    {"cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+", true, true},
    {"rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+", true, true},
};
struct NodeLabel {
  std::string_view key, message;
};
constexpr NodeLabel kNodeLabels[] = {
    {"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
    {"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
    {"failure-domain.beta.kubernetes.io/region",
     "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
    {"failure-domain.beta.kubernetes.io/zone",
     "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
    {"beta.kubernetes.io/instance-type",
     "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
    {"app.kubernetes.io/created-by", "deprecated since v1.9"},
    {"scheduler.alpha.kubernetes.io/preferAvoidPods",
     "deprecated since v1.22; use Taints and Tolerations instead"},
    {"node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"},
};
constexpr std::string_view kStorageClass = "volume.beta.kubernetes.io/storage-class",
                           kMountOptions = "volume.beta.kubernetes.io/mount-options";

bool has_annotation(const json::value& object, std::string_view key) {
  return base::find_path(object, "metadata", "annotations", key) != nullptr;
}
void annotation(Out& out, const json::value& object, std::string_view key, std::string_view message) {
  if (has_annotation(object, key))
    out.push_back("metadata.annotations[" + std::string(key) + "]: " + std::string(message));
}

// ---- addresses ------------------------------------------------------------------------------------
struct Parsed {
  int family = 0;  // 4 or 6; 0: no address
  unsigned char bytes[16] = {};
  bool mapped = false;  // ::ffff:1.2.3.4
  std::string text;     // as Go prints it
};
Parsed parse_address(std::string_view in) {
  Parsed out;
  std::string copy(in);
  char text[INET6_ADDRSTRLEN];
  if (::inet_pton(AF_INET, copy.c_str(), out.bytes) == 1) {
    out.family = 4;
    out.text = ::inet_ntop(AF_INET, out.bytes, text, sizeof text);
  } else if (::inet_pton(AF_INET6, copy.c_str(), out.bytes) == 1) {
    static constexpr unsigned char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    out.family = 6;
    out.mapped = std::memcmp(out.bytes, kMapped, sizeof kMapped) == 0;
    out.text = out.mapped ? ::inet_ntop(AF_INET, out.bytes + 12, text, sizeof text)
                          : ::inet_ntop(AF_INET6, out.bytes, text, sizeof text);
  }
  return out;
}
void address(Out& out, const View& at) {
  Parsed ip = parse_address(at.text());
  if (ip.family == 0) return;
  if (ip.mapped)
    out.push_back(at.path() + ": non-standard IP address " + quoted(at.text()) +
                  " will be considered invalid in a future Kubernetes release: use " + quoted(ip.text));
  else if (ip.family == 6 && ip.text != at.text())
    out.push_back(at.path() + ": IPv6 address " + quoted(at.text()) +
                  " should be in RFC 5952 canonical format (" + quoted(ip.text) + ")");
}
void network(Out& out, const View& at) {
  std::string_view text = at.text();
  size_t slash = text.find('/');
  if (slash == text.npos) return;
  Parsed ip = parse_address(text.substr(0, slash));
  int bits = std::atoi(std::string(text.substr(slash + 1)).c_str()), width = ip.family == 6 ? 128 : 32;
  if (ip.family == 0 || bits < 0 || bits > width) return;
  Parsed masked = ip;
  for (int bit = bits; bit < width; ++bit)
    masked.bytes[bit / 8] = static_cast<unsigned char>(masked.bytes[bit / 8] & ~(0x80 >> bit % 8));
  char shown[INET6_ADDRSTRLEN];
  int skipped = ip.mapped ? 12 : 0, shown_bits = ip.mapped ? std::max(0, bits - 96) : bits;
  std::string network = ::inet_ntop(ip.family == 6 && !ip.mapped ? AF_INET6 : AF_INET, masked.bytes + skipped,
                                    shown, sizeof shown);
  network += "/" + std::to_string(shown_bits);
  size_t before = out.size();
  if (std::memcmp(ip.bytes, masked.bytes, sizeof ip.bytes) != 0)
    out.push_back(at.path() + ": CIDR value " + quoted(text) + " is ambiguous in this context (should be " +
                  quoted(network) + " or " +
                  quoted(ip.text + "/" + std::to_string(ip.family == 6 && !ip.mapped ? 128 : 32)) + "?)");
  if (ip.mapped)
    out.push_back(at.path() + ": non-standard CIDR value " + quoted(text) +
                  " will be considered invalid in a future Kubernetes release: use " + quoted(network));
  if (out.size() == before && ip.family == 6 && network != text)
    out.push_back(at.path() + ": IPv6 CIDR value " + quoted(text) +
                  " should be in RFC 5952 canonical format (" + quoted(network) + ")");
}

// ---- kinds ----------------------------------------------------------------------------------------
void name_label(Out& out, const json::value& object, std::string_view used_in) {
  std::string_view name = base::string_at(object, "metadata", "name");
  std::vector<std::string> wrong = check_dns1123_label(name);
  if (name.empty() || wrong.empty()) return;
  std::string all;
  for (const std::string& one : wrong) all += (all.empty() ? "" : " ") + one;
  out.push_back("metadata.name: this is used in " + std::string(used_in) +
                ", which can result in surprising behavior; a DNS label is recommended: [" + all + "]");
}
void pod_template(Out& out, const json::value* pods, const std::string& path) {
  if (pods) pod(out, {base::find(*pods, "metadata"), base::find(*pods, "spec"), path + "."});
}
void bare_pod(Out& out, const json::value& object, const json::value* before) {
  if (before) return;  // nobody reads what a kubelet is told
  name_label(out, object, "the Pod's hostname");
  pod(out, {base::find(object, "metadata"), base::find(object, "spec"), ""});
}
bool same_content(const json::value& after, const json::value* before) {
  return before && base::as_int(base::find_path(after, "metadata", "generation")) ==
                       base::as_int(base::find_path(*before, "metadata", "generation"));
}
void named_workload(Out& out, const json::value& object, const json::value* before) {
  if (!before) name_label(out, object, "Pod names and hostnames");
  if (!same_content(object, before))
    pod_template(out, base::find_path(object, "spec", "template"), "spec.template");
}
void daemon_set(Out& out, const json::value& object, const json::value* before) {
  if (!same_content(object, before))
    pod_template(out, base::find_path(object, "spec", "template"), "spec.template");
}
void stateful_set(Out& out, const json::value& object, const json::value* before) {
  if (same_content(object, before)) return;
  pod_template(out, base::find_path(object, "spec", "template"), "spec.template");
  View(&object)["spec"]["volumeClaimTemplates"].each([&](const View& claim) {
    claim_spec(out, claim["spec"].get(), claim.path() + (before ? ".Spec" : ""));
  });
  if (base::as_int(base::find_path(object, "spec", "revisionHistoryLimit")) < 0)
    out.push_back(
        "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is "
        "recommended");
}
void pod_template_object(Out& out, const json::value& object, const json::value* before) {
  if (!same_content(object, before)) pod_template(out, base::find(object, "template"), "template");
}
void job_spec(Out& out, const json::value* spec, const std::string& path) {
  if (!spec) return;
  if (base::string_at(*spec, "completionMode") == "Indexed" &&
      base::as_int(base::find(*spec, "completions")) > 100'000 &&
      base::as_int(base::find(*spec, "parallelism")) > 10'000)
    out.push_back(path +
                  ": In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher "
                  "than 10^4, Kubernetes might not be "
                  "able to track completedIndexes when a big number of indexes fail");
  pod_template(out, base::find(*spec, "template"), path + ".template");
}
void job(Out& out, const json::value& object, const json::value* before) {
  if (!before) name_label(out, object, "Pod names and hostnames");
  if (!same_content(object, before)) job_spec(out, base::find(object, "spec"), "spec");
}
void cron_job(Out& out, const json::value& object, const json::value* before) {
  if (!before) name_label(out, object, "Pod names and hostnames");
  if (!same_content(object, before))
    job_spec(out, base::find_path(object, "spec", "jobTemplate", "spec"), "spec.jobTemplate.spec");
  if (std::string_view schedule = base::string_at(object, "spec", "schedule");
      schedule.find("TZ") != schedule.npos)
    out.push_back(
        "CRON_TZ or TZ used in spec.schedule is not officially supported, see "
        "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details");
}

void service(Out& out, const json::value& object, const json::value*) {
  View spec = View(&object)["spec"];
  std::string_view type = spec["type"].text(), cluster_ip = spec["clusterIP"].text();
  bool headless = type == "ClusterIP" && cluster_ip == "None", external_name = type == "ExternalName";
  bool external_ips = spec["externalIPs"].size() > 0;
  struct Row {
    bool holds;
    std::string_view message;
  };
  if (has_annotation(object, "service.kubernetes.io/topology-aware-hints"))
    out.push_back(
        "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
        "service.kubernetes.io/topology-mode instead");
  if (!cluster_ip.empty() && cluster_ip != "None")
    spec["clusterIPs"].each([&](const View& ip) { address(out, ip); });
  for (const Row& row : {Row{headless && spec["loadBalancerIP"].filled(),
                             "spec.loadBalancerIP is ignored for headless services"},
                         Row{headless && external_ips, "spec.externalIPs is ignored for headless services"},
                         Row{headless && spec["sessionAffinity"].text() != "None",
                             "spec.SessionAffinity is ignored for headless services"}})
    if (row.holds) out.emplace_back(row.message);
  spec["externalIPs"].each([&](const View& ip) { address(out, ip); });
  if (external_ips && !headless && !external_name)
    out.push_back("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
  address(out, spec["loadBalancerIP"]);
  spec["loadBalancerSourceRanges"].each([&](const View& range) { network(out, range); });
  for (const Row& row :
       {Row{external_name && external_ips, "spec.externalIPs is ignored when spec.type is \"ExternalName\""},
        Row{!external_name && spec["externalName"].filled(),
            "spec.externalName is ignored when spec.type is not \"ExternalName\""},
        Row{spec["trafficDistribution"].text() == "PreferClose",
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\""}})
    if (row.holds) out.emplace_back(row.message);
}
void endpoints(Out& out, const json::value& object, const json::value*) {
  View(&object)["subsets"].each([&](const View& subset) {
    for (const char* list : {"addresses", "notReadyAddresses"})
      subset[list].each([&](const View& one) { address(out, one["ip"]); });
  });
}
void endpoint_slice(Out& out, const json::value& object, const json::value*) {
  // What the controllers write is right.
  if (base::string_at(object, "metadata", "labels", "endpointslice.kubernetes.io/managed-by")
          .ends_with("-controller.k8s.io"))
    return;
  if (base::string_at(object, "addressType") == "FQDN") return;
  View(&object)["endpoints"].each(
      [&](const View& endpoint) { endpoint["addresses"].each([&](const View& ip) { address(out, ip); }); });
}
void ingress(Out& out, const json::value& object, const json::value* before) {
  if (!before && has_annotation(object, "kubernetes.io/ingress.class"))
    out.push_back(
        "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' "
        "instead");
}
void network_policy(Out& out, const json::value& object, const json::value*) {
  View spec = View(&object)["spec"];
  for (auto [list, peers] : {std::pair("ingress", "from"), std::pair("egress", "to")})
    spec[list].each([&, peers = peers](const View& rule) {
      rule[peers].each([&](const View& peer) {
        network(out, peer["ipBlock"]["cidr"]);
        peer["ipBlock"]["except"].each([&](const View& one) { network(out, one); });
      });
    });
}

void node(Out& out, const json::value& object, const json::value*) {
  if (View(&object)["spec"]["configSource"].has()) out.push_back("spec.configSource: the feature is removed");
  if (View(&object)["spec"]["externalID"].filled())
    out.push_back("spec.externalID: this field is deprecated, and is unused by Kubernetes");
}
void runtime_class(Out& out, const json::value& object, const json::value*) {
  View(&object)["scheduling"]["nodeSelector"].each_entry([&](std::string_view key, const View&) {
    if (std::string_view said = deprecated_node_label(key); !said.empty())
      out.push_back("scheduling.nodeSelector: " + std::string(said));
  });
}
void service_account(Out& out, const json::value& object, const json::value*) {
  annotation(out, object, "kubernetes.io/enforce-mountable-secrets",
             "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets");
}

void storage_class(Out& out, const json::value& object, const json::value*) {
  View(&object)["allowedTopologies"].each([&](const View& topology) {
    topology["matchLabelExpressions"].each([&](const View& one) {
      if (std::string_view said = deprecated_node_label(one["key"].text()); !said.empty())
        out.push_back(one.path() + ": " + std::string(said));
    });
  });
}
void storage_capacity(Out& out, const json::value& object, const json::value*) {
  View topology = View(&object)["nodeTopology"];
  topology["matchExpressions"].each([&](const View& one) {
    std::string_view key = one["key"].text();
    if (std::string_view said = deprecated_node_label(key); !said.empty())
      out.push_back(one.path() + ".key: " + std::string(key) + " is " + std::string(said));
  });
  topology["matchLabels"].each_entry([&](std::string_view key, const View&) {
    if (std::string_view said = deprecated_node_label(key); !said.empty())
      out.push_back("nodeTopology.matchLabels." + std::string(key) + ": " + std::string(said));
  });
}
void persistent_volume(Out& out, const json::value& object, const json::value*) {
  annotation(out, object, kStorageClass, "deprecated since v1.8; use \"storageClassName\" attribute instead");
  annotation(out, object, kMountOptions, "deprecated since v1.31; use \"mountOptions\" attribute instead");
  if (base::string_at(object, "spec", "persistentVolumeReclaimPolicy") == "Recycle")
    out.push_back(
        "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the "
        "recommended approach is to use dynamic provisioning.");
  View spec = View(&object)["spec"];
  spec["nodeAffinity"]["required"]["nodeSelectorTerms"].each(
      [&](const View& term) { node_selector_term(out, *term.get(), term.path()); });
  spec.each_entry([&](std::string_view member, const View& source) {
    if (const RemovedVolume* removed = removed_volume(member, true); removed && source.has())
      out.push_back("spec." + std::string(removed->shown) + ": " + std::string(removed->message));
  });
}
void claim(Out& out, const json::value& object, const json::value*) {
  annotation(out, object, kStorageClass, "deprecated since v1.8; use \"storageClassName\" attribute instead");
  claim_spec(out, base::find(object, "spec"), "spec");
}

// ---- certificates ---------------------------------------------------------------------------------
template <auto free>
struct Free {
  template <typename T>
  void operator()(T* what) const {
    free(what);
  }
};
std::string data(const json::value& secret, const char* key) {
  return base::base64_decode(base::string_at(secret, "data", key)).value_or("");
}
// What Go's tls.X509KeyPair() says of the two; "" when they belong together.
std::string key_pair_error(const std::string& certificate, const std::string& key) {
  auto has = [](const std::string& text, const char* what) { return text.find(what) != text.npos; };
  if (!has(certificate, "-----BEGIN ")) return "tls: failed to find any PEM data in certificate input";
  if (!has(certificate, "-----BEGIN CERTIFICATE-----"))
    return has(certificate, "PRIVATE KEY-----")
               ? "tls: failed to find certificate PEM data in certificate input, but did find a private key; "
                 "PEM inputs may have been switched"
               : "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM "
                 "blocks of the following types: []";
  if (!has(key, "-----BEGIN ")) return "tls: failed to find any PEM data in key input";
  if (!has(key, "PRIVATE KEY-----"))
    return "tls: found a certificate rather than a key in the PEM for the private key";
  std::unique_ptr<BIO, Free<BIO_free>> certificates(
      BIO_new_mem_buf(certificate.data(), static_cast<int>(certificate.size()))),
      keys(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())));
  auto no_password = [](char*, int, int, void*) { return 0; };
  std::unique_ptr<X509, Free<X509_free>> leaf(
      PEM_read_bio_X509(certificates.get(), nullptr, no_password, nullptr));
  if (!leaf) return "x509: malformed certificate";
  std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>> private_key(
      PEM_read_bio_PrivateKey(keys.get(), nullptr, no_password, nullptr));
  if (!private_key) return "tls: failed to parse private key";
  if (X509_check_private_key(leaf.get(), private_key.get()) == 1) return {};
  return EVP_PKEY_get_base_id(X509_get0_pubkey(leaf.get())) == EVP_PKEY_get_base_id(private_key.get())
             ? "tls: private key does not match public key"
             : "tls: private key type does not match public key type";
}
void secret(Out& out, const json::value& object, const json::value*) {
  if (base::string_at(object, "type") != "kubernetes.io/tls") return;
  if (std::string error = key_pair_error(data(object, "tls.crt"), data(object, "tls.key")); !error.empty())
    out.push_back(std::move(error));
}

// ---- definitions ----------------------------------------------------------------------------------
void unknown_formats(const json::value& schema, std::vector<std::string>& out) {
  if (const json::array* list = schema.if_array()) {
    for (const json::value& one : *list) unknown_formats(one, out);
    return;
  }
  const json::object* object = schema.if_object();
  if (!object) return;
  std::string_view format = base::as_string(object->if_contains("format")),
                   type = base::as_string(object->if_contains("type"));
  if (!format.empty() && type != "integer" && type != "number" && !is_known_format(format))
    out.emplace_back(format);
  for (const char* name :
       {"items", "additionalProperties", "additionalItems", "not", "allOf", "anyOf", "oneOf"})
    if (const json::value* inner = object->if_contains(name)) unknown_formats(*inner, out);
  for (const char* name : {"properties", "patternProperties", "definitions"})
    if (const json::value* members = object->if_contains(name); members && members->is_object())
      for (const auto& item : members->get_object()) unknown_formats(item.value(), out);
}
std::vector<std::string> unknown_formats_of(const json::value& definition) {
  std::vector<std::string> out;
  for (const json::value* version : items(base::find_path(definition, "spec", "versions")))
    if (const json::value* schema = base::find_path(*version, "schema", "openAPIV3Schema"))
      unknown_formats(*schema, out);
  return out;
}
void definition(Out& out, const json::value& object, const json::value* before) {
  std::vector<std::string> formats = unknown_formats_of(object);
  if (formats.empty()) return;
  std::vector<std::string> had = before ? unknown_formats_of(*before) : std::vector<std::string>();
  std::set<std::string> said(had.begin(), had.end());
  for (const std::string& format : formats)
    if (said.insert(format).second) out.push_back("unrecognized format " + quoted(format));
}

using Check = void (*)(Out& out, const json::value& after, const json::value* before);
Check check_of(std::string_view gvk) {
  static const std::unordered_map<std::string_view, Check> kRows = {
      {"v1/Endpoints", endpoints},
      {"v1/Node", node},
      {"v1/PersistentVolume", persistent_volume},
      {"v1/PersistentVolumeClaim", claim},
      {"v1/Pod", bare_pod},
      {"v1/PodTemplate", pod_template_object},
      {"v1/ReplicationController", named_workload},
      {"v1/Secret", secret},
      {"v1/Service", service},
      {"v1/ServiceAccount", service_account},
      {"apiextensions.k8s.io/v1/CustomResourceDefinition", definition},
      {"apps/v1/DaemonSet", daemon_set},
      {"apps/v1/Deployment", named_workload},
      {"apps/v1/ReplicaSet", named_workload},
      {"apps/v1/StatefulSet", stateful_set},
      {"batch/v1/CronJob", cron_job},
      {"batch/v1/Job", job},
      {"discovery.k8s.io/v1/EndpointSlice", endpoint_slice},
      {"networking.k8s.io/v1/Ingress", ingress},
      {"networking.k8s.io/v1/NetworkPolicy", network_policy},
      {"node.k8s.io/v1/RuntimeClass", runtime_class},
      {"storage.k8s.io/v1/CSIStorageCapacity", storage_capacity},
      {"storage.k8s.io/v1/StorageClass", storage_class},
  };
  auto row = kRows.find(gvk);
  return row == kRows.end() ? nullptr : row->second;
}

}  // namespace

const RemovedVolume* removed_volume(std::string_view member, bool persistent) {
  for (const RemovedVolume& row : kRemovedVolumes)
    if (row.member == member) return (persistent ? row.of_persistent : row.of_pods) ? &row : nullptr;
  return nullptr;
}
void node_selector_term(Out& out, const json::value& term, const std::string& path) {
  View(base::find(term, "matchExpressions"), path + ".matchExpressions").each([&](const View& one) {
    std::string_view key = one["key"].text();
    if (std::string_view said = deprecated_node_label(key); !said.empty())
      out.push_back(one.path() + ".key: " + std::string(key) + " is " + std::string(said));
  });
}
void claim_spec(Out& out, const json::value* spec, const std::string& path) {
  if (!spec) return;
  for (const char* kind : {"requests", "limits"}) {
    auto amount = Quantity::parse(base::string_at(*spec, "resources", kind, "storage"));
    if (amount.ok() && amount->to_milli() % 1000 != 0)
      out.push_back(path + ".resources." + kind + "[storage]: fractional byte value " +
                    quoted(amount->text()) + " is invalid, must be an integer");
  }
}

}  // namespace warn

std::string_view deprecated_node_label(std::string_view key) {
  for (const warn::NodeLabel& row : warn::kNodeLabels)
    if (row.key == key) return row.message;
  return {};
}

std::vector<std::string> warnings(std::string_view gvk, const json::value& after, const json::value* before) {
  std::vector<std::string> out;
  if (warn::Check check = warn::check_of(gvk)) check(out, after, before);
  return out;
}

std::vector<std::string> custom_warnings(const json::value& after, const json::value* before) {
  std::vector<std::string> out;
  const json::value* had = before ? base::find_path(*before, "metadata", "finalizers") : nullptr;
  std::set<std::string_view> fresh;
  for (const json::value* one : warn::items(base::find_path(after, "metadata", "finalizers")))
    fresh.insert(base::as_string(one));
  for (const json::value* one : warn::items(had)) fresh.erase(base::as_string(one));
  for (std::string_view name : fresh)
    if (name.find('/') == name.npos)
      out.push_back("metadata.finalizers: " + warn::quoted(name) +
                    ": prefer a domain-qualified finalizer name including a path (/) to avoid accidental "
                    "conflicts with other finalizer writers");
  return out;
}

}  // namespace api
