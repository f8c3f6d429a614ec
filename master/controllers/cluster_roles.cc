#include "master/controllers/cluster_roles.h"

#include "base/json_lists.h"

namespace master::controllers {
using base::find;
using base::find_path;

const api::Resource kClusterRoles = {"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false};

Store<ClusterRole>::Reader ClusterRole::reader(const api::Resource&) {
  return [](const json::value& object) -> std::shared_ptr<const ClusterRole> {
    auto role = std::make_shared<ClusterRole>();
    role->meta = read_meta(object);
    role->labels = read_labels(find_path(object, "metadata", "labels"));
    for (const json::value& item : base::list_at(find(object, "rules"))) {
      RoleRule& rule = role->rules.emplace_back();
      for (size_t i = 0; i < std::size(RoleRule::kMembers); ++i)
        rule.lists[i] = base::texts_of(find(item, RoleRule::kMembers[i]));
    }
    const json::value* aggregation = find(object, "aggregationRule");
    role->aggregated = aggregation && aggregation->is_object();
    if (role->aggregated)
      for (const json::value& item : base::list_at(find(*aggregation, "clusterRoleSelectors")))
        if (auto selector = api::selector_of_json(&item); selector.ok())
          role->selectors.push_back(std::move(*selector));
    return role;
  };
}

}  // namespace master::controllers
