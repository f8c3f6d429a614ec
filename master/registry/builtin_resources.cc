// The rows of the built-in resources, in the order in which discovery tells them.
#include "master/registry/conversions.h"
#include "master/registry/resource.h"

namespace master {
namespace {

constexpr const char* kAdmission = "io.k8s.api.admissionregistration.v1";
constexpr const char* kApps = "io.k8s.api.apps.v1";
constexpr const char* kAuthenticationTypes = "io.k8s.api.authentication.v1";
constexpr const char* kAuthorization = "io.k8s.api.authorization.v1";
constexpr const char* kBatch = "io.k8s.api.batch.v1";
constexpr const char* kCore = "io.k8s.api.core.v1";
constexpr const char* kFlowControl = "io.k8s.api.flowcontrol.v1";
constexpr const char* kMetricsTypes = "io.k8s.metrics.pkg.apis.metrics.v1beta1";
constexpr const char* kNetworking = "io.k8s.api.networking.v1";
constexpr const char* kRbac = "io.k8s.api.rbac.v1";
constexpr const char* kResource = "io.k8s.api.resource.v1";
constexpr const char* kStorage = "io.k8s.api.storage.v1";

using Rows = std::vector<ResourceInfo>;

void append(Rows& all, Rows rows) {
  for (ResourceInfo& row : rows) all.push_back(std::move(row));
}

Rows core_rows() {
  return {
      {.version = "v1",
       .plural = "bindings",
       .singular = "binding",
       .kind = "Binding",
       .namespaced = true,
       .package = kCore,
       .verbs = "create"},
      {.version = "v1",
       .plural = "componentstatuses",
       .singular = "componentstatus",
       .kind = "ComponentStatus",
       .short_names = "cs",
       .is_volatile = true,
       .package = kCore,
       .verbs = "get,list"},
      {.version = "v1",
       .plural = "configmaps",
       .singular = "configmap",
       .kind = "ConfigMap",
       .short_names = "cm",
       .namespaced = true,
       .package = kCore},
      {.version = "v1",
       .plural = "endpoints",
       .singular = "endpoints",
       .kind = "Endpoints",
       .short_names = "ep",
       .namespaced = true,
       .package = kCore},
      {.version = "v1",
       .plural = "events",
       .singular = "event",
       .kind = "Event",
       .short_names = "ev",
       .namespaced = true,
       .package = kCore,
       .field_selectors =
           "involvedObject.kind,involvedObject.namespace,involvedObject.name,involvedObject.uid,"
           "involvedObject.apiVersion,involvedObject.resourceVersion,involvedObject.fieldPath,reason,"
           "reportingComponent,type,source=source.component|reportingComponent"},
      {.version = "v1",
       .plural = "limitranges",
       .singular = "limitrange",
       .kind = "LimitRange",
       .short_names = "limits",
       .namespaced = true,
       .package = kCore},
      {.version = "v1",
       .plural = "namespaces",
       .singular = "namespace",
       .kind = "Namespace",
       .short_names = "ns",
       .has_status = true,
       .package = kCore,
       .field_selectors = "status.phase",
       .subresources = "finalize"},
      {.version = "v1",
       .plural = "nodes",
       .singular = "node",
       .kind = "Node",
       .short_names = "no",
       .has_status = true,
       .package = kCore,
       .field_selectors = "spec.unschedulable",
       .subresources = "proxy"},
      {.version = "v1",
       .plural = "persistentvolumeclaims",
       .singular = "persistentvolumeclaim",
       .kind = "PersistentVolumeClaim",
       .short_names = "pvc",
       .namespaced = true,
       .has_status = true,
       .package = kCore},
      {.version = "v1",
       .plural = "persistentvolumes",
       .singular = "persistentvolume",
       .kind = "PersistentVolume",
       .short_names = "pv",
       .has_status = true,
       .package = kCore},
      {.version = "v1",
       .plural = "pods",
       .singular = "pod",
       .kind = "Pod",
       .short_names = "po",
       .categories = "all",
       .namespaced = true,
       .has_status = true,
       .package = kCore,
       .field_selectors = "spec.nodeName,spec.restartPolicy,spec.schedulerName,spec.serviceAccountName,"
                          "spec.hostNetwork,status.phase,status.podIP,status.nominatedNodeName,spec.host="
                          "spec.nodeName,status."
                          "podIPs=",
       .subresources = "attach,binding,ephemeralcontainers,eviction,exec,log,portforward,proxy,resize"},
      {.version = "v1",
       .plural = "podtemplates",
       .singular = "podtemplate",
       .kind = "PodTemplate",
       .namespaced = true,
       .package = kCore},
      {.version = "v1",
       .plural = "replicationcontrollers",
       .singular = "replicationcontroller",
       .kind = "ReplicationController",
       .short_names = "rc",
       .categories = "all",
       .namespaced = true,
       .has_status = true,
       .has_scale = true,
       .package = kCore,
       .field_selectors = "status.replicas"},
      {.version = "v1",
       .plural = "resourcequotas",
       .singular = "resourcequota",
       .kind = "ResourceQuota",
       .short_names = "quota",
       .namespaced = true,
       .has_status = true,
       .package = kCore},
      {.version = "v1",
       .plural = "secrets",
       .singular = "secret",
       .kind = "Secret",
       .namespaced = true,
       .package = kCore,
       .field_selectors = "type"},
      {.version = "v1",
       .plural = "serviceaccounts",
       .singular = "serviceaccount",
       .kind = "ServiceAccount",
       .short_names = "sa",
       .namespaced = true,
       .package = kCore,
       .subresources = "token"},
      {.version = "v1",
       .plural = "services",
       .singular = "service",
       .kind = "Service",
       .short_names = "svc",
       .categories = "all",
       .namespaced = true,
       .has_status = true,
       .package = kCore,
       .field_selectors = "spec.clusterIP,spec.type",
       .subresources = "proxy"},
  };
}

Rows apps_rows() {
  return {
      {.group = "apps",
       .version = "v1",
       .plural = "controllerrevisions",
       .singular = "controllerrevision",
       .kind = "ControllerRevision",
       .namespaced = true,
       .package = kApps},
      {.group = "apps",
       .version = "v1",
       .plural = "daemonsets",
       .singular = "daemonset",
       .kind = "DaemonSet",
       .short_names = "ds",
       .categories = "all",
       .namespaced = true,
       .has_status = true,
       .package = kApps},
      {.group = "apps",
       .version = "v1",
       .plural = "deployments",
       .singular = "deployment",
       .kind = "Deployment",
       .short_names = "deploy",
       .categories = "all",
       .namespaced = true,
       .has_status = true,
       .has_scale = true,
       .package = kApps},
      {.group = "apps",
       .version = "v1",
       .plural = "replicasets",
       .singular = "replicaset",
       .kind = "ReplicaSet",
       .short_names = "rs",
       .categories = "all",
       .namespaced = true,
       .has_status = true,
       .has_scale = true,
       .package = kApps,
       .field_selectors = "status.replicas"},
      {.group = "apps",
       .version = "v1",
       .plural = "statefulsets",
       .singular = "statefulset",
       .kind = "StatefulSet",
       .short_names = "sts",
       .categories = "all",
       .namespaced = true,
       .has_status = true,
       .has_scale = true,
       .package = kApps,
       .field_selectors = "status.successful="},
  };
}

Rows events_rows() {
  // Its selectors stand in the order of those of core's events: the same fields by other names.
  ResourceInfo events{
      .group = "events.k8s.io",
      .version = "v1",
      .plural = "events",
      .singular = "event",
      .kind = "Event",
      .short_names = "ev",
      .namespaced = true,
      .package = "io.k8s.api.events.v1",
      .field_selectors =
          "regarding.kind,regarding.namespace,regarding.name,regarding.uid,regarding.apiVersion,"
          "regarding.resourceVersion,regarding.fieldPath,reason,reportingController,type"};
  events.stored_as = "v1";
  events.to_stored = event_to_core;
  events.from_stored = event_from_core;
  return {events};
}

Rows autoscaling_rows() {
  ResourceInfo v2{.group = "autoscaling",
                  .version = "v2",
                  .plural = "horizontalpodautoscalers",
                  .singular = "horizontalpodautoscaler",
                  .kind = "HorizontalPodAutoscaler",
                  .short_names = "hpa",
                  .categories = "all",
                  .namespaced = true,
                  .has_status = true,
                  .package = "io.k8s.api.autoscaling.v2"};
  ResourceInfo v1 = v2;
  v1.version = "v1";
  v1.package = "io.k8s.api.autoscaling.v1";
  v1.stored_as = "autoscaling/v2";
  v1.to_stored = autoscaler_to_v2;
  v1.from_stored = autoscaler_to_v1;
  return {v2, v1};
}

Rows batch_rows() {
  return {
      {.group = "batch",
       .version = "v1",
       .plural = "cronjobs",
       .singular = "cronjob",
       .kind = "CronJob",
       .short_names = "cj",
       .categories = "all",
       .namespaced = true,
       .has_status = true,
       .package = kBatch},
      {.group = "batch",
       .version = "v1",
       .plural = "jobs",
       .singular = "job",
       .kind = "Job",
       .categories = "all",
       .namespaced = true,
       .has_status = true,
       .package = kBatch,
       .field_selectors = "status.successful=status.succeeded"},
  };
}

Rows networking_rows() {
  constexpr const char* kGroup = "networking.k8s.io";
  return {
      {kGroup, "v1", "ingressclasses", "ingressclass", "IngressClass", "", "", false, false, false, false,
       kNetworking, "", ""},
      {kGroup, "v1", "ingresses", "ingress", "Ingress", "ing", "", true, true, false, false, kNetworking, "",
       ""},
      {kGroup, "v1", "ipaddresses", "ipaddress", "IPAddress", "ip", "", false, false, false, false,
       kNetworking, "", ""},
      {kGroup, "v1", "networkpolicies", "networkpolicy", "NetworkPolicy", "netpol", "", true, false, false,
       false, kNetworking, "", ""},
      {kGroup, "v1", "servicecidrs", "servicecidr", "ServiceCIDR", "", "", false, true, false, false,
       kNetworking, "", ""},
  };
}

Rows policy_rows() {
  return {{.group = "policy",
           .version = "v1",
           .plural = "poddisruptionbudgets",
           .singular = "poddisruptionbudget",
           .kind = "PodDisruptionBudget",
           .short_names = "pdb",
           .namespaced = true,
           .has_status = true,
           .package = "io.k8s.api.policy.v1"}};
}

Rows storage_rows() {
  constexpr const char* kGroup = "storage.k8s.io";
  return {
      {kGroup, "v1", "csidrivers", "csidriver", "CSIDriver", "", "", false, false, false, false, kStorage, "",
       ""},
      {kGroup, "v1", "csinodes", "csinode", "CSINode", "", "", false, false, false, false, kStorage, "", ""},
      {kGroup, "v1", "csistoragecapacities", "csistoragecapacity", "CSIStorageCapacity", "", "", true, false,
       false, false, kStorage, "", ""},
      {kGroup, "v1", "storageclasses", "storageclass", "StorageClass", "sc", "", false, false, false, false,
       kStorage, "", ""},
      {kGroup, "v1", "volumeattachments", "volumeattachment", "VolumeAttachment", "", "", false, true, false,
       false, kStorage, "", ""},
      {kGroup, "v1", "volumeattributesclasses", "volumeattributesclass", "VolumeAttributesClass", "vac", "",
       false, false, false, false, kStorage, "", ""},
  };
}

Rows admissionregistration_rows() {
  constexpr const char* kGroup = "admissionregistration.k8s.io";
  constexpr const char* kCategory = "api-extensions";
  return {
      {kGroup, "v1", "mutatingadmissionpolicies", "mutatingadmissionpolicy", "MutatingAdmissionPolicy", "",
       kCategory, false, false, false, false, kAdmission, "", ""},
      {kGroup, "v1", "mutatingadmissionpolicybindings", "mutatingadmissionpolicybinding",
       "MutatingAdmissionPolicyBinding", "", kCategory, false, false, false, false, kAdmission, "", ""},
      {kGroup, "v1", "mutatingwebhookconfigurations", "mutatingwebhookconfiguration",
       "MutatingWebhookConfiguration", "", kCategory, false, false, false, false, kAdmission, "", ""},
      {kGroup, "v1", "validatingadmissionpolicies", "validatingadmissionpolicy", "ValidatingAdmissionPolicy",
       "", kCategory, false, true, false, false, kAdmission, "", ""},
      {kGroup, "v1", "validatingadmissionpolicybindings", "validatingadmissionpolicybinding",
       "ValidatingAdmissionPolicyBinding", "", kCategory, false, false, false, false, kAdmission, "", ""},
      {kGroup, "v1", "validatingwebhookconfigurations", "validatingwebhookconfiguration",
       "ValidatingWebhookConfiguration", "", kCategory, false, false, false, false, kAdmission, "", ""},
  };
}

Rows identity_rows() {
  return {
      {.group = "authentication.k8s.io",
       .version = "v1",
       .plural = "selfsubjectreviews",
       .singular = "selfsubjectreview",
       .kind = "SelfSubjectReview",
       .package = kAuthenticationTypes,
       .verbs = "create"},
      {.group = "authentication.k8s.io",
       .version = "v1",
       .plural = "tokenreviews",
       .singular = "tokenreview",
       .kind = "TokenReview",
       .package = kAuthenticationTypes,
       .verbs = "create"},
      {.group = "authorization.k8s.io",
       .version = "v1",
       .plural = "localsubjectaccessreviews",
       .singular = "localsubjectaccessreview",
       .kind = "LocalSubjectAccessReview",
       .namespaced = true,
       .package = kAuthorization,
       .verbs = "create"},
      {.group = "authorization.k8s.io",
       .version = "v1",
       .plural = "selfsubjectaccessreviews",
       .singular = "selfsubjectaccessreview",
       .kind = "SelfSubjectAccessReview",
       .package = kAuthorization,
       .verbs = "create"},
      {.group = "authorization.k8s.io",
       .version = "v1",
       .plural = "selfsubjectrulesreviews",
       .singular = "selfsubjectrulesreview",
       .kind = "SelfSubjectRulesReview",
       .package = kAuthorization,
       .verbs = "create"},
      {.group = "authorization.k8s.io",
       .version = "v1",
       .plural = "subjectaccessreviews",
       .singular = "subjectaccessreview",
       .kind = "SubjectAccessReview",
       .package = kAuthorization,
       .verbs = "create"},
      {.group = "certificates.k8s.io",
       .version = "v1",
       .plural = "certificatesigningrequests",
       .singular = "certificatesigningrequest",
       .kind = "CertificateSigningRequest",
       .short_names = "csr",
       .has_status = true,
       .package = "io.k8s.api.certificates.v1",
       .field_selectors = "spec.signerName",
       .subresources = "approval"},
      {.group = "rbac.authorization.k8s.io",
       .version = "v1",
       .plural = "clusterrolebindings",
       .singular = "clusterrolebinding",
       .kind = "ClusterRoleBinding",
       .package = kRbac},
      {.group = "rbac.authorization.k8s.io",
       .version = "v1",
       .plural = "clusterroles",
       .singular = "clusterrole",
       .kind = "ClusterRole",
       .package = kRbac},
      {.group = "rbac.authorization.k8s.io",
       .version = "v1",
       .plural = "rolebindings",
       .singular = "rolebinding",
       .kind = "RoleBinding",
       .namespaced = true,
       .package = kRbac},
      {.group = "rbac.authorization.k8s.io",
       .version = "v1",
       .plural = "roles",
       .singular = "role",
       .kind = "Role",
       .namespaced = true,
       .package = kRbac},
  };
}

Rows remaining_rows() {
  return {
      {.group = "apiregistration.k8s.io",
       .version = "v1",
       .plural = "apiservices",
       .singular = "apiservice",
       .kind = "APIService",
       .categories = "api-extensions",
       .has_status = true,
       .package = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1"},
      {.group = "apiextensions.k8s.io",
       .version = "v1",
       .plural = "customresourcedefinitions",
       .singular = "customresourcedefinition",
       .kind = "CustomResourceDefinition",
       .short_names = "crd,crds",
       .categories = "api-extensions",
       .has_status = true,
       .package = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"},
      {.group = "scheduling.k8s.io",
       .version = "v1",
       .plural = "priorityclasses",
       .singular = "priorityclass",
       .kind = "PriorityClass",
       .short_names = "pc",
       .package = "io.k8s.api.scheduling.v1"},
      {.group = "coordination.k8s.io",
       .version = "v1",
       .plural = "leases",
       .singular = "lease",
       .kind = "Lease",
       .namespaced = true,
       .is_volatile = true,
       .package = "io.k8s.api.coordination.v1"},
      {.group = "node.k8s.io",
       .version = "v1",
       .plural = "runtimeclasses",
       .singular = "runtimeclass",
       .kind = "RuntimeClass",
       .package = "io.k8s.api.node.v1"},
      {.group = "discovery.k8s.io",
       .version = "v1",
       .plural = "endpointslices",
       .singular = "endpointslice",
       .kind = "EndpointSlice",
       .namespaced = true,
       .package = "io.k8s.api.discovery.v1"},
      {.group = "resource.k8s.io",
       .version = "v1",
       .plural = "deviceclasses",
       .singular = "deviceclass",
       .kind = "DeviceClass",
       .package = kResource},
      {.group = "resource.k8s.io",
       .version = "v1",
       .plural = "resourceclaims",
       .singular = "resourceclaim",
       .kind = "ResourceClaim",
       .namespaced = true,
       .has_status = true,
       .package = kResource},
      {.group = "resource.k8s.io",
       .version = "v1",
       .plural = "resourceclaimtemplates",
       .singular = "resourceclaimtemplate",
       .kind = "ResourceClaimTemplate",
       .namespaced = true,
       .package = kResource},
      {.group = "resource.k8s.io",
       .version = "v1",
       .plural = "resourceslices",
       .singular = "resourceslice",
       .kind = "ResourceSlice",
       .package = kResource,
       .field_selectors = "spec.nodeName,spec.driver"},
      {.group = "flowcontrol.apiserver.k8s.io",
       .version = "v1",
       .plural = "flowschemas",
       .singular = "flowschema",
       .kind = "FlowSchema",
       .has_status = true,
       .package = kFlowControl},
      {.group = "flowcontrol.apiserver.k8s.io",
       .version = "v1",
       .plural = "prioritylevelconfigurations",
       .singular = "prioritylevelconfiguration",
       .kind = "PriorityLevelConfiguration",
       .has_status = true,
       .package = kFlowControl},
  };
}

// What nodes and Pods use, measured when somebody asks (server/metrics_api.cc).
Rows metrics_rows() {
  ResourceInfo nodes{.group = "metrics.k8s.io",
                     .version = "v1beta1",
                     .plural = "nodes",
                     .kind = "NodeMetrics",
                     .package = kMetricsTypes,
                     .verbs = "get,list",
                     .yields = true};
  ResourceInfo pods = nodes;
  pods.plural = "pods";
  pods.kind = "PodMetrics";
  pods.namespaced = true;
  return {nodes, pods};
}

}  // namespace

std::vector<ResourceInfo> builtin_resources() {
  Rows all = core_rows();
  append(all, apps_rows());
  append(all, events_rows());
  append(all, autoscaling_rows());
  append(all, batch_rows());
  append(all, networking_rows());
  append(all, policy_rows());
  append(all, storage_rows());
  append(all, admissionregistration_rows());
  append(all, identity_rows());
  append(all, remaining_rows());
  append(all, metrics_rows());
  return all;
}

}  // namespace master
