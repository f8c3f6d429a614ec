// One row a kind: how it may be named and what besides its tables must hold. A kind without a row
// has the general rules.
#include <unordered_map>

#include "api/structural.h"
#include "api/validate/custom.h"
#include "api/validate/rules.h"

namespace api::rules {
namespace {

void replicas_status(Errors& e, const json::value& after, const json::value&) {
  for (const char* name : {"replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas",
                           "observedGeneration", "updatedReplicas", "unavailableReplicas"})
    non_negative(e, View(&after)["status"][name]);
}
template <void (*check)(Errors&, const json::value&)>
void state_only(Errors& e, const json::value& after, const json::value*) {
  check(e, after);
}

template <auto check>
void of_workload(Errors& e, const json::value& after, const json::value* before) {
  workload(e, check(), after, before);
}
void custom_resource_definition(Errors& e, const json::value& after, const json::value* before) {
  FieldErrors wrong = validate_custom_resource_definition(after, before);
  e.list.insert(e.list.end(), wrong.begin(), wrong.end());
}
constexpr std::string_view replication_controller() { return "v1/ReplicationController"; }
constexpr std::string_view replica_set() { return "apps/v1/ReplicaSet"; }
constexpr std::string_view deployment() { return "apps/v1/Deployment"; }

}  // namespace

const KindRules* kind_rules(std::string_view gvk) {
  using N = NameRule;
  static const std::unordered_map<std::string_view, KindRules> kRows = {
      {"v1/ConfigMap", {N::kDns1123Subdomain, config_map}},
      {"v1/Endpoints", {N::kDns1123Subdomain, state_only<endpoints>}},
      {"v1/Event", {N::kDns1123Subdomain, state_only<event>}},
      {"v1/LimitRange", {N::kDns1123Subdomain, limit_range}},
      {"v1/Namespace", {N::kDns1123Label}},
      {"v1/Node", {N::kDns1123Subdomain, node}},
      {"v1/PersistentVolume", {N::kDns1123Subdomain, persistent_volume}},
      {"v1/PersistentVolumeClaim", {N::kDns1123Subdomain, persistent_volume_claim}},
      {"v1/Pod", {N::kDns1123Subdomain, pod, pod_status}},
      {"v1/PodTemplate", {N::kDns1123Subdomain, pod_template_object}},
      {"v1/ReplicationController",
       {N::kDns1123Subdomain, of_workload<replication_controller>, replicas_status}},
      {"v1/ResourceQuota", {N::kDns1123Subdomain, resource_quota}},
      {"v1/Secret", {N::kDns1123Subdomain, secret}},
      {"v1/Service", {N::kDns1035Label, service}},
      {"admissionregistration.k8s.io/v1/MutatingAdmissionPolicy", {N::kDns1123Subdomain, mutating_policy}},
      {"admissionregistration.k8s.io/v1/MutatingAdmissionPolicyBinding",
       {N::kDns1123Subdomain, policy_binding}},
      {"admissionregistration.k8s.io/v1/MutatingWebhookConfiguration",
       {N::kDns1123Subdomain, state_only<webhook_configuration>}},
      {"admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
       {N::kDns1123Subdomain, validating_policy}},
      {"admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding",
       {N::kDns1123Subdomain, validating_policy_binding}},
      {"admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration",
       {N::kDns1123Subdomain, state_only<webhook_configuration>}},
      {"apiextensions.k8s.io/v1/CustomResourceDefinition",
       {N::kDns1123Subdomain, custom_resource_definition}},
      {"apiregistration.k8s.io/v1/APIService", {N::kPathSegment, state_only<api_service>}},
      {"apps/v1/ControllerRevision", {N::kDns1123Subdomain, controller_revision}},
      {"apps/v1/DaemonSet", {N::kDns1123Subdomain, daemon_set, daemon_set_status}},
      {"apps/v1/Deployment", {N::kDns1123Subdomain, of_workload<deployment>, replicas_status}},
      {"apps/v1/ReplicaSet", {N::kDns1123Subdomain, of_workload<replica_set>, replicas_status}},
      {"apps/v1/StatefulSet", {N::kDns1123Label, stateful_set, stateful_set_status}},
      {"autoscaling/v2/HorizontalPodAutoscaler", {N::kDns1123Subdomain, autoscaler, autoscaler_status}},
      {"batch/v1/CronJob", {N::kDns1123Subdomain, cron_job}},
      {"batch/v1/Job", {N::kDns1123Subdomain, job, job_status}},
      {"coordination.k8s.io/v1/Lease", {N::kDns1123Subdomain, state_only<lease>}},
      {"discovery.k8s.io/v1/EndpointSlice", {N::kDns1123Subdomain, endpoint_slice}},
      {"flowcontrol.apiserver.k8s.io/v1/FlowSchema", {N::kDns1123Subdomain, flow_schema}},
      {"flowcontrol.apiserver.k8s.io/v1/PriorityLevelConfiguration", {N::kDns1123Subdomain, priority_level}},
      {"networking.k8s.io/v1/IPAddress", {N::kPathSegment, ip_address}},
      {"networking.k8s.io/v1/Ingress", {N::kDns1123Subdomain, ingress, ingress_status}},
      {"networking.k8s.io/v1/IngressClass", {N::kDns1123Subdomain, ingress_class}},
      {"networking.k8s.io/v1/NetworkPolicy", {N::kDns1123Subdomain, network_policy}},
      {"networking.k8s.io/v1/ServiceCIDR", {N::kDns1123Subdomain, service_cidr}},
      {"node.k8s.io/v1/RuntimeClass", {N::kDns1123Subdomain, runtime_class}},
      {"policy/v1/PodDisruptionBudget",
       {N::kDns1123Subdomain, pod_disruption_budget, pod_disruption_budget_status}},
      {"resource.k8s.io/v1/DeviceClass", {N::kDns1123Subdomain, device_class}},
      {"resource.k8s.io/v1/ResourceClaim", {N::kDns1123Subdomain, resource_claim, resource_claim_status}},
      {"resource.k8s.io/v1/ResourceClaimTemplate", {N::kDns1123Subdomain, resource_claim_template}},
      {"resource.k8s.io/v1/ResourceSlice", {N::kDns1123Subdomain, resource_slice}},
      {"scheduling.k8s.io/v1/PriorityClass", {N::kDns1123Subdomain, priority_class}},
      {"storage.k8s.io/v1/CSIDriver", {N::kDns1123Subdomain, csi_driver}},
      {"storage.k8s.io/v1/CSINode", {N::kDns1123Subdomain, csi_node}},
      {"storage.k8s.io/v1/CSIStorageCapacity", {N::kDns1123Subdomain, csi_storage_capacity}},
      {"storage.k8s.io/v1/StorageClass", {N::kDns1123Subdomain, storage_class}},
      {"storage.k8s.io/v1/VolumeAttachment", {N::kDns1123Subdomain, volume_attachment}},
      {"storage.k8s.io/v1/VolumeAttributesClass", {N::kDns1123Subdomain, volume_attributes_class}},
  };
  auto row = kRows.find(gvk);
  return row == kRows.end() ? nullptr : &row->second;
}

void non_negative(Errors& e, const View& number) {
  if (number.has() && number.number() < 0)
    e.invalid(number.path(), number.number(), "must be greater than or equal to 0");
}
void port_number(Errors& e, const View& number) {
  if (number.number() < 1 || number.number() > 65535)
    e.invalid(number.path(), number.number(), "must be between 1 and 65535, inclusive");
}
void one_of(Errors& e, const View& text, std::vector<std::string> allowed) {
  if (!text.filled() || std::find(allowed.begin(), allowed.end(), text.text()) != allowed.end()) return;
  e.not_supported(text.path(), text.text(), std::move(allowed));
}
void immutable(Errors& e, const View& now, const View& was) {
  if (!now.same_as(was)) e.invalid(now.path(), now.shown(), "field is immutable");
}
int64_t int_or_percent(Errors& e, const View& value, bool below_100) {
  if (!value.has()) return 0;
  IntOrString share;
  share.is_string = value.get()->is_string();
  if (share.is_string) share.text = value.text();
  else share.number = static_cast<int32_t>(value.number());
  return int_or_percent(e, value.path(), share, below_100);
}
void domain_prefixed_path(Errors& e, const View& at) {
  std::string_view text = at.text();
  size_t slash = text.find('/');
  if (text.empty()) return e.required(at.path());
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size())
    return e.invalid(at.path(), text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
  std::string_view host = text.substr(0, slash), path = text.substr(slash + 1);
  e.all(at.path(), host, check_dns1123_subdomain(host));
  if (!std::all_of(path.begin(), path.end(), [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) ||
               std::string_view("/-._~%!$&'()*+,;=:").find(c) != std::string_view::npos;
      }))
    e.invalid(at.path(), path,
              "Invalid path (e.g. 'foo',  or 'foo/', regex used for validation is "
              "'[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')");
}

}  // namespace api::rules
