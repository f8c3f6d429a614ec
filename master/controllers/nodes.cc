#include "master/controllers/nodes.h"

#include "api/local_volumes.h"

namespace master::controllers {
using base::as_bool;
using base::as_string;
using base::find_path;
using base::string_at;

namespace {
std::shared_ptr<const Node> read_node(const json::value& object) {
  auto node = std::make_shared<Node>();
  node->meta = read_meta(object);
  node->labels = read_labels(find_path(object, "metadata", "labels"));
  node->pod_cidr = string_at(object, "spec", "podCIDR");
  if (const json::value* list = find_path(object, "spec", "podCIDRs"); list && list->is_array())
    for (const json::value& item : list->get_array()) node->pod_cidrs.emplace_back(as_string(&item));
  node->zone = string_at(object, "metadata", "labels", "topology.kubernetes.io/zone");
  node->local_volumes =
      string_at(object, "metadata", "annotations", api::local_volumes::kDirectoryAnnotation);
  node->taints = read_taints(find_path(object, "spec", "taints"));
  node->unschedulable = as_bool(find_path(object, "spec", "unschedulable"));
  if (const json::value* list = find_path(object, "status", "conditions"); list && list->is_array())
    node->conditions = list->get_array();
  if (const json::value* list = find_path(object, "status", "addresses"); list && list->is_array())
    for (const json::value& item : list->get_array()) {
      std::string_view type = string_at(item, "type");
      if (type == "InternalIP") node->internal_ips.emplace_back(string_at(item, "address"));
      if (type == "ExternalIP") node->external_ips.emplace_back(string_at(item, "address"));
    }
  node->kubelet_port = static_cast<int>(
      base::as_int(find_path(object, "status", "daemonEndpoints", "kubeletEndpoint", "Port")));
  return node;
}
}  // namespace

Store<Node>::Reader Node::reader(const api::Resource&) { return read_node; }
Store<Lease>::Reader Lease::reader(const api::Resource&) {
  return [](const json::value& object) {
    return std::make_shared<const Lease>(
        Lease{read_meta(object), std::string(string_at(object, "spec", "renewTime"))});
  };
}

bool is_ready(const Node& node) {
  const json::object* ready = find_condition(node.conditions, "Ready");
  return ready && as_string(ready->if_contains("status")) == "True";
}

}  // namespace master::controllers
