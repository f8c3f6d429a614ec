// The rows of the built-in resources.
#include "master/resource.h"

namespace master {

std::vector<ResourceInfo> builtin_resources() {
  constexpr const char* kCore = "io.k8s.api.core.v1";
  constexpr const char* kApps = "io.k8s.api.apps.v1";
  return {
      // group, version, plural, singular, kind, short, categories, namespaced, status, scale, volatile
      {"", "v1", "configmaps", "configmap", "ConfigMap", "cm", "", true, false, false, false, kCore, "", ""},
      {"", "v1", "endpoints", "endpoints", "Endpoints", "ep", "", true, false, false, false, kCore, "", ""},
      {"", "v1", "events", "event", "Event", "ev", "", true, false, false, false, kCore,
       "involvedObject.kind,involvedObject.namespace,involvedObject.name,involvedObject.uid,"
       "involvedObject.apiVersion,involvedObject.resourceVersion,involvedObject.fieldPath,reason,"
       "reportingComponent,source,type", ""},
      {"", "v1", "namespaces", "namespace", "Namespace", "ns", "", false, true, false, false, kCore,
       "status.phase", "finalize"},
      {"", "v1", "nodes", "node", "Node", "no", "", false, true, false, false, kCore,
       "spec.unschedulable", ""},
      {"", "v1", "pods", "pod", "Pod", "po", "all", true, true, false, false, kCore,
       "spec.nodeName,spec.restartPolicy,spec.schedulerName,spec.serviceAccountName,"
       "spec.hostNetwork,status.phase,status.podIP,status.nominatedNodeName",
       "attach,binding,exec,log,portforward"},
      {"", "v1", "replicationcontrollers", "replicationcontroller", "ReplicationController", "rc",
       "all", true, true, true, false, kCore, "status.replicas", ""},
      {"", "v1", "secrets", "secret", "Secret", "", "", true, false, false, false, kCore, "type", ""},
      {"", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount", "sa", "", true, false, false, false, kCore, "", ""},
      {"", "v1", "services", "service", "Service", "svc", "all", true, true, false, false, kCore,
       "spec.clusterIP,spec.type", ""},
      {"apps", "v1", "deployments", "deployment", "Deployment", "deploy", "all", true, true, true, false, kApps, "", ""},
      {"apps", "v1", "replicasets", "replicaset", "ReplicaSet", "rs", "all", true, true, true, false, kApps, "status.replicas", ""},
      {"coordination.k8s.io", "v1", "leases", "lease", "Lease", "", "", true, false, false, true,
       "io.k8s.api.coordination.v1", "", ""},
      {"discovery.k8s.io", "v1", "endpointslices", "endpointslice", "EndpointSlice", "", "", true, false, false, false,
       "io.k8s.api.discovery.v1", "", ""},
  };
}

}  // namespace master
