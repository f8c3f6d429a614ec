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
constexpr const char* kNetworking = "io.k8s.api.networking.v1";
constexpr const char* kRbac = "io.k8s.api.rbac.v1";
constexpr const char* kResource = "io.k8s.api.resource.v1";
constexpr const char* kStorage = "io.k8s.api.storage.v1";

using Rows = std::vector<ResourceInfo>;

void append(Rows& all, Rows rows) {
  for (ResourceInfo& row : rows) all.push_back(std::move(row));
}

// Columns of a row: group, version, plural, singular, kind, short, categories; namespaced, status,
// scale, volatile; package, field selectors, subresources, verbs.
Rows core_rows() {
  return {
      {"", "v1", "bindings", "binding", "Binding", "", "", true, false, false, false, kCore, "", "",
       "create"},
      {"", "v1", "componentstatuses", "componentstatus", "ComponentStatus", "cs", "", false, false, false,
       true, kCore, "", "", "get,list"},
      {"", "v1", "configmaps", "configmap", "ConfigMap", "cm", "", true, false, false, false, kCore, "", ""},
      {"", "v1", "endpoints", "endpoints", "Endpoints", "ep", "", true, false, false, false, kCore, "", ""},
      {"", "v1", "events", "event", "Event", "ev", "", true, false, false, false, kCore,
       "involvedObject.kind,involvedObject.namespace,involvedObject.name,involvedObject.uid,"
       "involvedObject.apiVersion,involvedObject.resourceVersion,involvedObject.fieldPath,reason,"
       "reportingComponent,type,source=source.component|reportingComponent",
       ""},
      {"", "v1", "limitranges", "limitrange", "LimitRange", "limits", "", true, false, false, false, kCore,
       "", ""},
      {"", "v1", "namespaces", "namespace", "Namespace", "ns", "", false, true, false, false, kCore,
       "status.phase", "finalize"},
      {"", "v1", "nodes", "node", "Node", "no", "", false, true, false, false, kCore, "spec.unschedulable",
       "proxy"},
      {"", "v1", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", "pvc", "", true,
       true, false, false, kCore, "", ""},
      {"", "v1", "persistentvolumes", "persistentvolume", "PersistentVolume", "pv", "", false, true, false,
       false, kCore, "", ""},
      {"", "v1", "pods", "pod", "Pod", "po", "all", true, true, false, false, kCore,
       "spec.nodeName,spec.restartPolicy,spec.schedulerName,spec.serviceAccountName,"
       "spec.hostNetwork,status.phase,status.podIP,status.nominatedNodeName,spec.host=spec.nodeName,status."
       "podIPs=",
       "attach,binding,ephemeralcontainers,eviction,exec,log,portforward,proxy,resize"},
      {"", "v1", "podtemplates", "podtemplate", "PodTemplate", "", "", true, false, false, false, kCore, "",
       ""},
      {"", "v1", "replicationcontrollers", "replicationcontroller", "ReplicationController", "rc", "all",
       true, true, true, false, kCore, "status.replicas", ""},
      {"", "v1", "resourcequotas", "resourcequota", "ResourceQuota", "quota", "", true, true, false, false,
       kCore, "", ""},
      {"", "v1", "secrets", "secret", "Secret", "", "", true, false, false, false, kCore, "type", ""},
      {"", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount", "sa", "", true, false, false, false,
       kCore, "", "token"},
      {"", "v1", "services", "service", "Service", "svc", "all", true, true, false, false, kCore,
       "spec.clusterIP,spec.type", "proxy"},
  };
}

Rows apps_rows() {
  return {
      {"apps", "v1", "controllerrevisions", "controllerrevision", "ControllerRevision", "", "", true, false,
       false, false, kApps, "", ""},
      {"apps", "v1", "daemonsets", "daemonset", "DaemonSet", "ds", "all", true, true, false, false, kApps, "",
       ""},
      {"apps", "v1", "deployments", "deployment", "Deployment", "deploy", "all", true, true, true, false,
       kApps, "", ""},
      {"apps", "v1", "replicasets", "replicaset", "ReplicaSet", "rs", "all", true, true, true, false, kApps,
       "status.replicas", ""},
      {"apps", "v1", "statefulsets", "statefulset", "StatefulSet", "sts", "all", true, true, true, false,
       kApps, "status.successful=", ""},
  };
}

Rows events_rows() {
  // Its selectors stand in the order of those of core's events: the same fields by other names.
  ResourceInfo events{"events.k8s.io",
                      "v1",
                      "events",
                      "event",
                      "Event",
                      "ev",
                      "",
                      true,
                      false,
                      false,
                      false,
                      "io.k8s.api.events.v1",
                      "regarding.kind,regarding.namespace,regarding.name,regarding.uid,regarding.apiVersion,"
                      "regarding.resourceVersion,regarding.fieldPath,reason,reportingController,type",
                      ""};
  events.stored_as = "v1";
  events.to_stored = event_to_core;
  events.from_stored = event_from_core;
  return {events};
}

Rows autoscaling_rows() {
  ResourceInfo v2{"autoscaling",
                  "v2",
                  "horizontalpodautoscalers",
                  "horizontalpodautoscaler",
                  "HorizontalPodAutoscaler",
                  "hpa",
                  "all",
                  true,
                  true,
                  false,
                  false,
                  "io.k8s.api.autoscaling.v2",
                  "",
                  ""};
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
      {"batch", "v1", "cronjobs", "cronjob", "CronJob", "cj", "all", true, true, false, false, kBatch, "",
       ""},
      {"batch", "v1", "jobs", "job", "Job", "", "all", true, true, false, false, kBatch,
       "status.successful=status.succeeded", ""},
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
  return {{"policy", "v1", "poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget", "pdb", "",
           true, true, false, false, "io.k8s.api.policy.v1", "", ""}};
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
      {"authentication.k8s.io", "v1", "selfsubjectreviews", "selfsubjectreview", "SelfSubjectReview", "", "",
       false, false, false, false, kAuthenticationTypes, "", "", "create"},
      {"authentication.k8s.io", "v1", "tokenreviews", "tokenreview", "TokenReview", "", "", false, false,
       false, false, kAuthenticationTypes, "", "", "create"},
      {"authorization.k8s.io", "v1", "localsubjectaccessreviews", "localsubjectaccessreview",
       "LocalSubjectAccessReview", "", "", true, false, false, false, kAuthorization, "", "", "create"},
      {"authorization.k8s.io", "v1", "selfsubjectaccessreviews", "selfsubjectaccessreview",
       "SelfSubjectAccessReview", "", "", false, false, false, false, kAuthorization, "", "", "create"},
      {"authorization.k8s.io", "v1", "selfsubjectrulesreviews", "selfsubjectrulesreview",
       "SelfSubjectRulesReview", "", "", false, false, false, false, kAuthorization, "", "", "create"},
      {"authorization.k8s.io", "v1", "subjectaccessreviews", "subjectaccessreview", "SubjectAccessReview", "",
       "", false, false, false, false, kAuthorization, "", "", "create"},
      {"certificates.k8s.io", "v1", "certificatesigningrequests", "certificatesigningrequest",
       "CertificateSigningRequest", "csr", "", false, true, false, false, "io.k8s.api.certificates.v1",
       "spec.signerName", "approval"},
      {"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "clusterrolebinding", "ClusterRoleBinding",
       "", "", false, false, false, false, kRbac, "", ""},
      {"rbac.authorization.k8s.io", "v1", "clusterroles", "clusterrole", "ClusterRole", "", "", false, false,
       false, false, kRbac, "", ""},
      {"rbac.authorization.k8s.io", "v1", "rolebindings", "rolebinding", "RoleBinding", "", "", true, false,
       false, false, kRbac, "", ""},
      {"rbac.authorization.k8s.io", "v1", "roles", "role", "Role", "", "", true, false, false, false, kRbac,
       "", ""},
  };
}

Rows remaining_rows() {
  return {
      {"apiregistration.k8s.io", "v1", "apiservices", "apiservice", "APIService", "", "api-extensions", false,
       true, false, false, "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1", "", ""},
      {"apiextensions.k8s.io", "v1", "customresourcedefinitions", "customresourcedefinition",
       "CustomResourceDefinition", "crd,crds", "api-extensions", false, true, false, false,
       "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", "", ""},
      {"scheduling.k8s.io", "v1", "priorityclasses", "priorityclass", "PriorityClass", "pc", "", false, false,
       false, false, "io.k8s.api.scheduling.v1", "", ""},
      {"coordination.k8s.io", "v1", "leases", "lease", "Lease", "", "", true, false, false, true,
       "io.k8s.api.coordination.v1", "", ""},
      {"node.k8s.io", "v1", "runtimeclasses", "runtimeclass", "RuntimeClass", "", "", false, false, false,
       false, "io.k8s.api.node.v1", "", ""},
      {"discovery.k8s.io", "v1", "endpointslices", "endpointslice", "EndpointSlice", "", "", true, false,
       false, false, "io.k8s.api.discovery.v1", "", ""},
      {"resource.k8s.io", "v1", "deviceclasses", "deviceclass", "DeviceClass", "", "", false, false, false,
       false, kResource, "", ""},
      {"resource.k8s.io", "v1", "resourceclaims", "resourceclaim", "ResourceClaim", "", "", true, true, false,
       false, kResource, "", ""},
      {"resource.k8s.io", "v1", "resourceclaimtemplates", "resourceclaimtemplate", "ResourceClaimTemplate",
       "", "", true, false, false, false, kResource, "", ""},
      {"resource.k8s.io", "v1", "resourceslices", "resourceslice", "ResourceSlice", "", "", false, false,
       false, false, kResource, "spec.nodeName,spec.driver", ""},
      {"flowcontrol.apiserver.k8s.io", "v1", "flowschemas", "flowschema", "FlowSchema", "", "", false, true,
       false, false, kFlowControl, "", ""},
      {"flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations", "prioritylevelconfiguration",
       "PriorityLevelConfiguration", "", "", false, true, false, false, kFlowControl, "", ""},
  };
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
  return all;
}

}  // namespace master
