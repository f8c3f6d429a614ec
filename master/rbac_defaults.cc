#include "master/rbac_defaults.h"

#include <algorithm>

#include "api/selector.h"

namespace master {

namespace json = base::json;
using base::find;
using base::string_at;

namespace {

constexpr std::string_view kAutoUpdate = "rbac.authorization.kubernetes.io/autoupdate";
constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

// role [NAMESPACE/]NAME, then its lines:
//   label KEY, aggregate LABEL
//   VERBS GROUPS RESOURCES [NAMES]   VERBS url PATHS
// bind [NAMESPACE/]NAME ROLE KIND=SUBJECT…
// Comma lists; read, write, all and events stand for what is usual; "core" is the group "".
constexpr std::string_view kTable = R"(
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
role system:controller:attachdetach-controller
  list,watch core persistentvolumeclaims,persistentvolumes
  read core nodes
  patch,update core nodes/status
  list,watch core pods
  events
  create,delete,get,list,watch storage.k8s.io volumeattachments
  read storage.k8s.io csidrivers
  read storage.k8s.io csinodes
role system:controller:clusterrole-aggregation-controller
  escalate,get,list,patch,update,watch rbac.authorization.k8s.io clusterroles
role system:controller:cronjob-controller
  get,list,update,watch batch cronjobs
  create,delete,get,list,patch,update,watch batch jobs
  update batch cronjobs/status
  update batch cronjobs/finalizers
  delete,list,watch core pods
  events
role system:controller:daemon-set-controller
  read apps,extensions daemonsets
  update apps,extensions daemonsets/status
  update apps,extensions daemonsets/finalizers
  list,watch core nodes
  create,delete,list,patch,watch core pods
  create core pods/binding
  create,delete,get,list,patch,update,watch apps controllerrevisions
  events
role system:controller:deployment-controller
  get,list,update,watch apps,extensions deployments
  update apps,extensions deployments/status
  update apps,extensions deployments/finalizers
  create,delete,get,list,patch,update,watch apps,extensions replicasets
  get,list,update,watch core pods
  events
role system:controller:disruption-controller
  read apps,extensions deployments
  read apps,extensions replicasets
  read core replicationcontrollers
  read policy poddisruptionbudgets
  read apps statefulsets
  update policy poddisruptionbudgets/status
  patch,update core pods/status
  get * */scale
  events
role system:controller:endpoint-controller
  read core pods,services
  create,delete,get,list,update,watch core endpoints
  create core endpoints/restricted
  events
role system:controller:endpointslice-controller
  read core nodes,pods,services
  update core services/finalizers
  create,delete,get,list,update,watch discovery.k8s.io endpointslices
  events
role system:controller:endpointslicemirroring-controller
  read core endpoints,services
  update core services/finalizers
  update core endpoints/finalizers
  create,delete,get,list,update,watch discovery.k8s.io endpointslices
  events
role system:controller:expand-controller
  get,list,patch,update,watch core persistentvolumes
  patch,update core persistentvolumeclaims/status
  read core persistentvolumeclaims
  events
  get core services
role system:controller:ephemeral-volume-controller
  read core pods
  update core pods/finalizers
  create,get,list,watch core persistentvolumeclaims
  events
role system:controller:resource-claim-controller
  read core pods
  update core pods/finalizers
  create,delete,get,list,watch resource.k8s.io resourceclaims
  patch,update resource.k8s.io resourceclaims,resourceclaims/status
  patch,update core pods/status
  events
role system:controller:generic-garbage-collector
  delete,get,list,patch,update,watch * *
  events
role system:controller:horizontal-pod-autoscaler
  read autoscaling horizontalpodautoscalers
  update autoscaling horizontalpodautoscalers/status
  get,update * */scale
  list,watch core pods
  list,watch metrics.k8s.io pods
  read custom.metrics.k8s.io *
  read external.metrics.k8s.io *
  events
role system:controller:job-controller
  get,list,patch,update,watch batch jobs
  update batch jobs/status
  update batch jobs/finalizers
  create,delete,list,patch,watch core pods
  events
role system:controller:namespace-controller
  delete,get,list,watch core namespaces
  update core namespaces/finalize,namespaces/status
  delete,deletecollection,get,list,watch * *
role system:controller:node-controller
  delete,get,list,patch,update,watch core nodes
  patch,update core nodes/status
  patch,update core pods/status
  delete,get,list,watch core pods
  events
role system:controller:persistent-volume-binder
  create,delete,get,list,update,watch core persistentvolumes
  update core persistentvolumes/status
  get,list,update,watch core persistentvolumeclaims
  update core persistentvolumeclaims/status
  create,delete,get,list,watch core pods
  read storage.k8s.io storageclasses
  list,watch core nodes
  events
  watch core events
  get core services
role system:controller:pod-garbage-collector
  delete,list,watch core pods
  read core nodes
  patch core pods/status
role system:controller:replicaset-controller
  get,list,update,watch apps,extensions replicasets
  update apps,extensions replicasets/status
  update apps,extensions replicasets/finalizers
  create,delete,list,patch,watch core pods
  events
role system:controller:replication-controller
  get,list,update,watch core replicationcontrollers
  update core replicationcontrollers/status
  update core replicationcontrollers/finalizers
  create,delete,list,patch,watch core pods
  events
role system:controller:resourcequota-controller
  list,watch * *
  update core resourcequotas/status
  events
role system:controller:route-controller
  list,watch core nodes
  patch core nodes/status
  events
role system:controller:service-account-controller
  create core serviceaccounts
  events
role system:controller:service-controller
  read core services
  patch,update core services/status
  list,watch core nodes
  events
role system:controller:service-cidrs-controller
  get,list,patch,update,watch networking.k8s.io servicecidrs
  patch,update networking.k8s.io servicecidrs/finalizers
  patch,update networking.k8s.io servicecidrs/status
  read networking.k8s.io ipaddresses
  events
role system:controller:statefulset-controller
  list,watch core pods
  read apps statefulsets
  update apps statefulsets/status
  update apps statefulsets/finalizers
  create,delete,get,patch,update core pods
  create,delete,get,list,patch,update,watch apps controllerrevisions
  create,get,list,watch core persistentvolumeclaims
  delete,update core persistentvolumeclaims
  update core pods/finalizers
  events
role system:controller:ttl-controller
  list,patch,update,watch core nodes
  events
role system:controller:certificate-controller
  delete,get,list,watch certificates.k8s.io certificatesigningrequests
  update certificates.k8s.io certificatesigningrequests/approval,certificatesigningrequests/status
  approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet
  sign certificates.k8s.io signers kubernetes.io/kube-apiserver-client,kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving,kubernetes.io/legacy-unknown
  create authorization.k8s.io subjectaccessreviews
  events
role system:controller:pvc-protection-controller
  get,list,update,watch core persistentvolumeclaims
  read core pods
  events
role system:controller:pv-protection-controller
  get,list,update,watch core persistentvolumes
  events
role system:controller:volumeattributesclass-protection-controller
  read core persistentvolumeclaims
  read core persistentvolumes
  get,list,update,watch storage.k8s.io volumeattributesclasses
  events
role system:controller:ttl-after-finished-controller
  delete,get,list,watch batch jobs
  events
role system:controller:root-ca-cert-publisher
  create,update core configmaps
  events
role system:controller:validatingadmissionpolicy-status-controller
  read admissionregistration.k8s.io validatingadmissionpolicies
  get,patch,update admissionregistration.k8s.io validatingadmissionpolicies/status
  events
role system:controller:legacy-service-account-token-cleaner
  get core configmaps kube-apiserver-legacy-service-account-token-tracking
  delete,patch core secrets
role system:controller:selinux-warning-controller
  events
  read core persistentvolumes
  read core persistentvolumeclaims
  read core pods
  read storage.k8s.io csidrivers
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
role sampan:node-network
  read core nodes
bind sampan:node-network sampan:node-network Group=system:nodes
role sampan:controllers
bind sampan:controllers sampan:controllers User=system:kube-controller-manager
)";
// sampan:node-network: the node agent makes the routes to the other nodes itself.
// sampan:controllers: all controllers are one process and one identity; its rules are those of
// every system:controller: role.

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  while (!text.empty()) {
    size_t end = text.find(separator);
    if (end != 0) out.emplace_back(text.substr(0, end));
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
  }
  return out;
}

std::vector<std::string> verbs_of_word(const std::string& word) {
  if (word == "read") return {"get", "list", "watch"};
  if (word == "write") return {"create", "delete", "deletecollection", "patch", "update"};
  if (word == "all") return {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
  return split(word, ',');
}

PolicyRule rule_of(const std::vector<std::string>& words) {
  if (words[0] == "events") return {{"create", "patch", "update"}, {"", "events.k8s.io"}, {"events"}, {}, {}};
  PolicyRule rule{verbs_of_word(words[0]), {}, {}, {}, {}};
  if (words[1] == "url") {
    rule.non_resource_urls = split(words[2], ',');
    return rule;
  }
  for (const std::string& group : split(words[1], ',')) rule.api_groups.push_back(group == "core" ? "" : group);
  rule.resources = split(words[2], ',');
  if (words.size() > 3) rule.resource_names = split(words[3], ',');
  return rule;
}

struct Default {
  bool is_binding = false;
  std::string ns, name, role;
  std::vector<PolicyRule> rules;
  std::vector<std::string> labels, subjects;
  std::string aggregate;
};

void set_name(Default& item, const std::string& text) {
  size_t slash = text.find('/');
  item.ns = slash == text.npos ? "" : text.substr(0, slash);
  item.name = slash == text.npos ? text : text.substr(slash + 1);
}

std::vector<Default> read_table() {
  std::vector<Default> out;
  for (const std::string& line : split(kTable, '\n')) {
    std::vector<std::string> words = split(line, ' ');
    if (words[0] == "role" || words[0] == "bind") {
      out.emplace_back();
      out.back().is_binding = words[0] == "bind";
      set_name(out.back(), words[1]);
      if (out.back().is_binding) {
        out.back().role = words[2];
        out.back().subjects.assign(words.begin() + 3, words.end());
      }
    } else if (words[0] == "label") {
      out.back().labels.push_back(words[1]);
    } else if (words[0] == "aggregate") {
      out.back().aggregate = words[1];
    } else {
      out.back().rules.push_back(rule_of(words));
    }
  }
  // Each controller's role is bound to the account of its name, and all together make ours.
  constexpr std::string_view kPrefix = "system:controller:";
  std::vector<Default> bindings;
  std::vector<PolicyRule> all;
  for (const Default& item : out) {
    if (item.is_binding || !item.ns.empty() || !item.name.starts_with(kPrefix)) continue;
    Default binding;
    binding.is_binding = true;
    binding.name = binding.role = item.name;
    binding.subjects = {"ServiceAccount=kube-system/" + item.name.substr(kPrefix.size())};
    bindings.push_back(std::move(binding));
    for (const PolicyRule& rule : item.rules)
      if (std::find(all.begin(), all.end(), rule) == all.end()) all.push_back(rule);
  }
  for (Default& item : out)
    if (!item.is_binding && item.name == "sampan:controllers") item.rules = all;
  out.insert(out.end(), bindings.begin(), bindings.end());
  return out;
}

json::array subjects_json(const std::vector<std::string>& subjects) {
  json::array out;
  for (const std::string& text : subjects) {
    size_t equals = text.find('=');
    std::string kind = text.substr(0, equals), name = text.substr(equals + 1);
    if (kind != "ServiceAccount") {
      out.push_back(json::object{{"apiGroup", kGroup}, {"kind", kind}, {"name", name}});
      continue;
    }
    size_t slash = name.find('/');
    out.push_back(json::object{{"kind", kind}, {"name", name.substr(slash + 1)}, {"namespace", name.substr(0, slash)}});
  }
  return out;
}

json::value object_of(const Default& item) {
  json::object labels{{"kubernetes.io/bootstrapping", "rbac-defaults"}};
  for (const std::string& label : item.labels) labels[label] = "true";
  json::object metadata{{"name", item.name}};
  if (!item.ns.empty()) metadata["namespace"] = item.ns;
  metadata["labels"] = std::move(labels);
  metadata["annotations"] = json::object{{kAutoUpdate, "true"}};
  std::string role_kind = item.ns.empty() ? "ClusterRole" : "Role";
  json::object out{{"apiVersion", std::string(kGroup) + "/v1"}, {"kind", role_kind + (item.is_binding ? "Binding" : "")}, {"metadata", std::move(metadata)}};
  if (item.is_binding) {
    out["roleRef"] = json::object{{"apiGroup", kGroup}, {"kind", role_kind}, {"name", item.role}};
    if (!item.subjects.empty()) out["subjects"] = subjects_json(item.subjects);
    return out;
  }
  if (!item.aggregate.empty()) {
    json::object selector{{"matchLabels", json::object{{item.aggregate, "true"}}}};
    out["aggregationRule"] = json::object{{"clusterRoleSelectors", json::array{std::move(selector)}}};
    return out;
  }
  out["rules"] = to_json(item.rules);
  return out;
}

// Adds the members of `wanted` that `stored` lacks; true when there were some.
bool add_members(const json::value* wanted, json::object& parent, std::string_view key) {
  if (!wanted || !wanted->is_object()) return false;
  json::object& have = base::object_at(parent, key);
  bool changed = false;
  for (const auto& [name, value] : wanted->get_object())
    if (!have.contains(name)) {
      have[name] = value;
      changed = true;
    }
  return changed;
}

json::array& array_at(json::object& object, std::string_view key) {
  json::value& value = object[key];
  if (!value.is_array()) value = json::array();
  return value.get_array();
}

}  // namespace

std::vector<json::value> default_rbac_objects() {
  std::vector<Default> table = read_table();
  std::stable_partition(table.begin(), table.end(), [](const Default& item) { return !item.is_binding; });
  std::vector<json::value> out;
  out.reserve(table.size());
  for (const Default& item : table) out.push_back(object_of(item));
  return out;
}

std::vector<PolicyRule> default_cluster_role_rules(std::string_view name) {
  for (Default& item : read_table())
    if (!item.is_binding && item.ns.empty() && item.name == name) {
      for (PolicyRule& rule : item.rules) rule.compile();
      return item.rules;
    }
  return {};
}

bool reconcile_default(const json::value& wanted, json::value& stored) {
  if (string_at(stored, "metadata", "annotations", kAutoUpdate) == "false") return false;
  json::object& object = stored.get_object();
  json::object& metadata = base::object_at(object, "metadata");
  bool changed = add_members(base::find_path(wanted, "metadata", "labels"), metadata, "labels");
  changed |= add_members(base::find_path(wanted, "metadata", "annotations"), metadata, "annotations");
  if (const json::value* rules = find(wanted, "rules")) {
    std::vector<PolicyRule> missing = not_covered(read_rules(object.if_contains("rules")), read_rules(rules));
    for (const json::value& rule : to_json(missing)) array_at(object, "rules").push_back(rule);
    changed |= !missing.empty();
  }
  if (const json::value* rule = find(wanted, "aggregationRule"); rule && !object.contains("aggregationRule")) {
    object["aggregationRule"] = *rule;
    changed = true;
  }
  if (const json::value* subjects = find(wanted, "subjects"); subjects && subjects->is_array())
    for (const json::value& subject : subjects->get_array()) {
      json::array& have = array_at(object, "subjects");
      bool there = std::any_of(have.begin(), have.end(), [&](const json::value& h) {
        return string_at(h, "kind") == string_at(subject, "kind") && string_at(h, "name") == string_at(subject, "name") &&
               string_at(h, "namespace") == string_at(subject, "namespace");
      });
      if (there) continue;
      have.push_back(subject);
      changed = true;
    }
  return changed;
}

std::vector<PolicyRule> aggregated_rules(const json::value& aggregated, const std::vector<json::value>& all) {
  std::vector<PolicyRule> out;
  const json::value* selectors = base::find_path(aggregated, "aggregationRule", "clusterRoleSelectors");
  if (!selectors || !selectors->is_array()) return out;
  std::string_view own = string_at(aggregated, "metadata", "name");
  std::vector<const json::value*> sorted;
  for (const json::value& role : all) sorted.push_back(&role);
  std::sort(sorted.begin(), sorted.end(), [](const json::value* a, const json::value* b) {
    return string_at(*a, "metadata", "name") < string_at(*b, "metadata", "name");
  });
  for (const json::value& item : selectors->get_array()) {
    auto selector = api::selector_of_json(&item);
    if (!selector.ok()) continue;
    for (const json::value* role : sorted) {
      if (string_at(*role, "metadata", "name") == own) continue;
      if (!selector->matches(base::find_path(*role, "metadata", "labels"))) continue;
      for (PolicyRule& rule : read_rules(find(*role, "rules")))
        if (std::find(out.begin(), out.end(), rule) == out.end()) out.push_back(std::move(rule));
    }
  }
  return out;
}

}  // namespace master
