// What users, nodes and this project's own parts may do. Form: rbac_default_roles.h.
#include "master/auth/rbac_default_roles.h"

namespace master {

// sampan:node-network: the node agent makes the routes to the other nodes itself.
// sampan:patching-…: controllers that patch where Kubernetes' replace.
const std::string_view kDefaultRoles = R"(
role cluster-admin
  * * *
  * url *
role system:discovery
  get url /api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/
role system:monitoring
  get url /healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*
  get url /flagz
  get url /statusz
role system:basic-user
  create authorization.k8s.io selfsubjectaccessreviews,selfsubjectrulesreviews
  create authentication.k8s.io selfsubjectreviews
role system:public-info-viewer
  get url /healthz,/livez,/readyz,/version,/version/
role admin
  aggregate rbac.authorization.k8s.io/aggregate-to-admin
role edit
  label rbac.authorization.k8s.io/aggregate-to-admin
  aggregate rbac.authorization.k8s.io/aggregate-to-edit
role view
  label rbac.authorization.k8s.io/aggregate-to-edit
  aggregate rbac.authorization.k8s.io/aggregate-to-view
role system:aggregate-to-admin
  label rbac.authorization.k8s.io/aggregate-to-admin
  create authorization.k8s.io localsubjectaccessreviews
  all rbac.authorization.k8s.io rolebindings,roles
role system:aggregate-to-edit
  label rbac.authorization.k8s.io/aggregate-to-edit
  read core pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy
  impersonate core serviceaccounts
  write core pods,pods/attach,pods/exec,pods/portforward,pods/proxy
  create core pods/eviction
  write core configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy
  create core serviceaccounts/token
  write apps daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale
  write autoscaling horizontalpodautoscalers
  write batch cronjobs,jobs
  write extensions daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale
  write policy poddisruptionbudgets
  write networking.k8s.io ingresses,networkpolicies
  all coordination.k8s.io leases
  write resource.k8s.io resourceclaims,resourceclaimtemplates
role system:aggregate-to-view
  label rbac.authorization.k8s.io/aggregate-to-view
  read core configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status
  read core bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status
  read core namespaces
  read discovery.k8s.io endpointslices
  read apps controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status
  read autoscaling horizontalpodautoscalers,horizontalpodautoscalers/status
  read batch cronjobs,cronjobs/status,jobs,jobs/status
  read extensions daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale
  read policy poddisruptionbudgets,poddisruptionbudgets/status
  read networking.k8s.io ingresses,ingresses/status,networkpolicies
  read resource.k8s.io resourceclaims,resourceclaims/status,resourceclaimtemplates
role system:heapster
  read core events,namespaces,nodes,pods
  read extensions deployments
role system:node
  create authentication.k8s.io tokenreviews
  create authorization.k8s.io localsubjectaccessreviews,subjectaccessreviews
  read core services
  create,get,list,watch core nodes
  patch,update core nodes/status
  patch,update core nodes
  create,patch,update core events
  read core pods
  create,delete core pods
  patch,update core pods/status
  create core pods/eviction
  read core configmaps,secrets
  get core persistentvolumeclaims,persistentvolumes
  get core endpoints
  create,get,list,watch certificates.k8s.io certificatesigningrequests
  create,delete,get,patch,update coordination.k8s.io leases
  get storage.k8s.io volumeattachments
  create core serviceaccounts/token
  get,patch,update core persistentvolumeclaims/status
  read storage.k8s.io csidrivers
  create,delete,get,patch,update storage.k8s.io csinodes
  read node.k8s.io runtimeclasses
  get resource.k8s.io resourceclaims
  deletecollection resource.k8s.io resourceslices
  get core serviceaccounts
role system:node-problem-detector
  get core nodes
  patch core nodes/status
  events
role system:kubelet-api-admin
  read core nodes
  proxy core nodes
  * core nodes/log,nodes/metrics,nodes/proxy,nodes/stats
  * core nodes/configz,nodes/healthz,nodes/pods
role system:node-bootstrapper
  create,get,list,watch certificates.k8s.io certificatesigningrequests
role system:auth-delegator
  create authentication.k8s.io tokenreviews
  create authorization.k8s.io subjectaccessreviews
role system:aggregated-metrics-reader
  label rbac.authorization.k8s.io/aggregate-to-admin
  label rbac.authorization.k8s.io/aggregate-to-edit
  label rbac.authorization.k8s.io/aggregate-to-view
  read metrics.k8s.io nodes,pods
role system:kube-aggregator
  read core endpoints,services
role system:kube-controller-manager
  events
  create coordination.k8s.io leases
  get,update coordination.k8s.io leases kube-controller-manager
  create core secrets,serviceaccounts
  delete core secrets
  get core configmaps,namespaces,secrets,serviceaccounts
  update core secrets,serviceaccounts
  create authentication.k8s.io tokenreviews
  create authorization.k8s.io subjectaccessreviews
  list,watch * *
  create core serviceaccounts/token
role system:kube-dns
  list,watch core endpoints,services
role system:persistent-volume-provisioner
  create,delete,get,list,watch core persistentvolumes
  get,list,update,watch core persistentvolumeclaims
  read storage.k8s.io storageclasses
  watch core events
  events
role system:certificates.k8s.io:certificatesigningrequests:nodeclient
  create certificates.k8s.io certificatesigningrequests/nodeclient
role system:certificates.k8s.io:certificatesigningrequests:selfnodeclient
  create certificates.k8s.io certificatesigningrequests/selfnodeclient
role system:volume-scheduler
  get,list,patch,update,watch core persistentvolumes
  read storage.k8s.io storageclasses
  get,list,patch,update,watch core persistentvolumeclaims
role system:certificates.k8s.io:legacy-unknown-approver
  approve certificates.k8s.io signers kubernetes.io/legacy-unknown
role system:certificates.k8s.io:kubelet-serving-approver
  approve certificates.k8s.io signers kubernetes.io/kubelet-serving
role system:certificates.k8s.io:kube-apiserver-client-approver
  approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client
role system:certificates.k8s.io:kube-apiserver-client-kubelet-approver
  approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet
role system:service-account-issuer-discovery
  get url /.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/
role system:node-proxier
  list,watch core endpoints,services
  read core nodes
  events
  list,watch networking.k8s.io servicecidrs
  list,watch discovery.k8s.io endpointslices
role system:kube-scheduler
  events
  create coordination.k8s.io leases
  get,list,update,watch coordination.k8s.io leases kube-scheduler
  all coordination.k8s.io leasecandidates
  read core nodes
  delete,get,list,watch core pods
  create core bindings,pods/binding
  patch,update core pods/status
  read core replicationcontrollers,services
  read apps,extensions replicasets
  read apps statefulsets
  read policy poddisruptionbudgets
  read core persistentvolumeclaims,persistentvolumes
  create authentication.k8s.io tokenreviews
  create authorization.k8s.io subjectaccessreviews
  read storage.k8s.io csinodes
  read storage.k8s.io volumeattachments
  read core namespaces
  read storage.k8s.io csidrivers
  read storage.k8s.io csistoragecapacities
  read resource.k8s.io deviceclasses
  get,list,patch,update,watch resource.k8s.io resourceclaims
  get,list,patch,update,watch resource.k8s.io resourceclaims/status
  get,list,patch,update,watch core pods/finalizers
  read resource.k8s.io resourceslices
bind cluster-admin cluster-admin Group=system:masters
bind system:monitoring system:monitoring Group=system:monitoring
bind system:discovery system:discovery Group=system:authenticated
bind system:basic-user system:basic-user Group=system:authenticated
bind system:public-info-viewer system:public-info-viewer Group=system:authenticated Group=system:unauthenticated
bind system:node-proxier system:node-proxier User=system:kube-proxy
bind system:kube-controller-manager system:kube-controller-manager User=system:kube-controller-manager
bind system:kube-dns system:kube-dns ServiceAccount=kube-system/kube-dns
bind system:kube-scheduler system:kube-scheduler User=system:kube-scheduler
bind system:volume-scheduler system:volume-scheduler User=system:kube-scheduler
bind system:service-account-issuer-discovery system:service-account-issuer-discovery Group=system:serviceaccounts
bind system:node system:node
role kube-system/extension-apiserver-authentication-reader
  read core configmaps extension-apiserver-authentication
role kube-system/system:controller:bootstrap-signer
  read core secrets
role kube-system/system:controller:cloud-provider
  create,get,list,watch core configmaps
role kube-system/system:controller:token-cleaner
  delete,get,list,watch core secrets
  events
role kube-system/system::leader-locking-kube-controller-manager
  watch core configmaps
  get,update core configmaps kube-controller-manager
  create,get,list,update,watch coordination.k8s.io leases
role kube-system/system::leader-locking-kube-scheduler
  watch core configmaps
  get,update core configmaps kube-scheduler
role kube-public/system:controller:bootstrap-signer
  read core configmaps
  update core configmaps cluster-info
  events
bind kube-system/system::extension-apiserver-authentication-reader extension-apiserver-authentication-reader User=system:kube-controller-manager User=system:kube-scheduler
bind kube-system/system::leader-locking-kube-controller-manager system::leader-locking-kube-controller-manager User=system:kube-controller-manager ServiceAccount=kube-system/kube-controller-manager
bind kube-system/system::leader-locking-kube-scheduler system::leader-locking-kube-scheduler User=system:kube-scheduler ServiceAccount=kube-system/kube-scheduler
bind kube-system/system:controller:bootstrap-signer system:controller:bootstrap-signer ServiceAccount=kube-system/bootstrap-signer
bind kube-system/system:controller:cloud-provider system:controller:cloud-provider ServiceAccount=kube-system/cloud-provider
bind kube-system/system:controller:token-cleaner system:controller:token-cleaner ServiceAccount=kube-system/token-cleaner
bind kube-public/system:controller:bootstrap-signer system:controller:bootstrap-signer ServiceAccount=kube-system/bootstrap-signer
role kube-system/sampan:announcers
  create,get,list,patch,watch coordination.k8s.io leases
bind kube-system/sampan:announcers sampan:announcers User=system:kube-proxy
role kube-system/sampan:dns-settings
  list,watch core configmaps sampan-dns
bind kube-system/sampan:dns-settings sampan:dns-settings User=system:kube-proxy
role sampan:host-ports
  list,watch core pods
bind sampan:host-ports sampan:host-ports User=system:kube-proxy
role sampan:network-policies
  list,watch core namespaces,pods
  list,watch networking.k8s.io networkpolicies
bind sampan:network-policies sampan:network-policies User=system:kube-proxy
role sampan:node-network
  read core nodes
bind sampan:node-network sampan:node-network Group=system:nodes
role sampan:patching-controllers
  patch apps deployments,deployments/status,replicasets/status
  patch core replicationcontrollers/status
bind sampan:patching-controllers sampan:patching-controllers ServiceAccount=kube-system/deployment-controller ServiceAccount=kube-system/replicaset-controller ServiceAccount=kube-system/replication-controller
role sampan:patching-daemon-set-controller
  patch apps daemonsets/status
bind sampan:patching-daemon-set-controller sampan:patching-daemon-set-controller ServiceAccount=kube-system/daemon-set-controller
role sampan:patching-disruption-controller
  patch policy poddisruptionbudgets/status
bind sampan:patching-disruption-controller sampan:patching-disruption-controller ServiceAccount=kube-system/disruption-controller
role sampan:load-balancer-controller
  read core configmaps,nodes,services
  read discovery.k8s.io endpointslices
  patch core services/status
  events
bind sampan:load-balancer-controller sampan:load-balancer-controller ServiceAccount=kube-system/load-balancer-controller
role sampan:patching-job-controller
  patch batch jobs/status
bind sampan:patching-job-controller sampan:patching-job-controller ServiceAccount=kube-system/job-controller
role sampan:patching-horizontal-pod-autoscaler
  patch autoscaling horizontalpodautoscalers/status
bind sampan:patching-horizontal-pod-autoscaler sampan:patching-horizontal-pod-autoscaler ServiceAccount=kube-system/horizontal-pod-autoscaler
role sampan:patching-cronjob-controller
  patch batch cronjobs/status
bind sampan:patching-cronjob-controller sampan:patching-cronjob-controller ServiceAccount=kube-system/cronjob-controller
role sampan:patching-statefulset-controller
  patch apps statefulsets/status
  patch core persistentvolumeclaims
bind sampan:patching-statefulset-controller sampan:patching-statefulset-controller ServiceAccount=kube-system/statefulset-controller
role sampan:patching-persistent-volume-binder
  patch core persistentvolumeclaims,persistentvolumeclaims/status,persistentvolumes,persistentvolumes/status
bind sampan:patching-persistent-volume-binder sampan:patching-persistent-volume-binder ServiceAccount=kube-system/persistent-volume-binder
role sampan:patching-pvc-protection-controller
  patch core persistentvolumeclaims
bind sampan:patching-pvc-protection-controller sampan:patching-pvc-protection-controller ServiceAccount=kube-system/pvc-protection-controller
role sampan:patching-pv-protection-controller
  patch core persistentvolumes
bind sampan:patching-pv-protection-controller sampan:patching-pv-protection-controller ServiceAccount=kube-system/pv-protection-controller
)";

}  // namespace master
