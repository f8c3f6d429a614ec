#include "master/controllers/daemon_sets.h"

#include <algorithm>

#include "base/json_lists.h"
#include "master/controllers/revisions.h"
#include "master/controllers/workloads.h"

namespace master::controllers {
using base::as_bool;
using base::as_int;
using base::as_string;
using base::find;
using base::find_path;
using base::string_at;

const api::Resource kDaemonSets = {"apps", "v1", "daemonsets", "DaemonSet", true};

namespace {
// Where every daemon Pod may be: daemons are what nodes in trouble need, and they are not evicted.
std::vector<Toleration> daemon_tolerations(bool host_network) {
  std::vector<Toleration> out{{"node.kubernetes.io/not-ready", "Exists", "", "NoExecute", {}},
                              {"node.kubernetes.io/unreachable", "Exists", "", "NoExecute", {}},
                              {"node.kubernetes.io/disk-pressure", "Exists", "", "NoSchedule", {}},
                              {"node.kubernetes.io/memory-pressure", "Exists", "", "NoSchedule", {}},
                              {"node.kubernetes.io/pid-pressure", "Exists", "", "NoSchedule", {}},
                              {"node.kubernetes.io/unschedulable", "Exists", "", "NoSchedule", {}}};
  if (host_network) out.push_back({"node.kubernetes.io/network-unavailable", "Exists", "", "NoSchedule", {}});
  return out;
}
// The template's tolerations and those of every daemon Pod; one of the template's that names the same taint
// gives way, so that none has a time limit.
json::array all_tolerations(const json::value& spec) {
  json::array out;
  const std::vector<Toleration> added = daemon_tolerations(as_bool(find(spec, "hostNetwork")));
  for (const json::value& item : base::list_at(spec, "tolerations")) {
    const bool same = std::any_of(added.begin(), added.end(), [&](const Toleration& one) {
      return string_at(item, "key") == one.key && string_at(item, "effect") == one.effect &&
             string_at(item, "operator") == one.op && string_at(item, "value") == one.value;
    });
    if (!same) out.push_back(item);
  }
  for (const Toleration& one : added)
    out.push_back(json::object{{"key", one.key}, {"operator", one.op}, {"effect", one.effect}});
  return out;
}
}  // namespace

Store<DaemonSet>::Reader DaemonSet::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const DaemonSet> {
    auto set = std::make_shared<DaemonSet>();
    set->meta = read_meta(object);
    set->annotations = read_labels(find_path(object, "metadata", "annotations"));
    set->status = copy_of(find(object, "status"));
    const json::value* spec = find(object, "spec");
    if (!spec) return set;
    set->selector = label_selector(find(*spec, "selector"));
    set->pod_template = copy_of(find(*spec, "template"));
    set->max_surge = copy_of(find_path(*spec, "updateStrategy", "rollingUpdate", "maxSurge"));
    set->max_unavailable = copy_of(find_path(*spec, "updateStrategy", "rollingUpdate", "maxUnavailable"));
    set->on_delete = string_at(*spec, "updateStrategy", "type") == "OnDelete";
    set->min_ready_seconds = static_cast<int>(as_int(find(*spec, "minReadySeconds")));
    if (const json::value* limit = find(*spec, "revisionHistoryLimit"); limit && limit->is_number())
      set->revision_history_limit = static_cast<int>(as_int(limit));
    if (const json::value* pod = find(set->pod_template, "spec")) {
      set->nodes = read_node_filter(*pod);
      const json::value tolerations = all_tolerations(*pod);
      set->tolerations = read_tolerations(&tolerations);
      set->node_name = string_at(*pod, "nodeName");
    }
    return set;
  };
}

Placement placement(const DaemonSet& set, const Node& node) {
  if (!set.node_name.empty() && set.node_name != node.meta.name) return {};
  if (!set.nodes.admits(node.labels, node.meta.name)) return {};
  Placement out{true, true};
  for (const Taint& taint : node.taints) {
    const bool evicts = taint.effect == "NoExecute";
    if (!evicts && taint.effect != "NoSchedule") continue;
    if (std::any_of(set.tolerations.begin(), set.tolerations.end(),
                    [&](const Toleration& one) { return tolerates(one, taint); }))
      continue;
    out.start = false;
    if (evicts) out.stay = false;
  }
  return out;
}

json::object pod_of_daemon_set(const DaemonSet& set, const std::string& node, const std::string& hash) {
  json::object pod =
      pod_of_template(set.pod_template, set.meta.ns,
                      controller_reference("apps/v1", "DaemonSet", set.meta.name, set.meta.uid));
  json::object& meta = base::object_at(pod, "metadata");
  meta["generateName"] = set.meta.name + "-";
  json::object& labels = base::object_at(meta, "labels");
  labels[kRevisionHash] = hash;
  if (auto at = set.annotations.find("deprecated.daemonset.template.generation"); at != set.annotations.end())
    labels["pod-template-generation"] = at->second;
  json::object& spec = base::object_at(pod, "spec");
  spec["tolerations"] = all_tolerations(json::value(spec));
  // One node by its name: the scheduler has no choice, and still says why if the Pod does not fit.
  base::object_at(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution") = {
      {"nodeSelectorTerms",
       json::array{json::object{{"matchFields", json::array{json::object{{"key", "metadata.name"},
                                                                         {"operator", "In"},
                                                                         {"values", json::array{node}}}}}}}}};
  return pod;
}

}  // namespace master::controllers
