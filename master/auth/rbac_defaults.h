// The roles and bindings that every cluster has, as Kubernetes 1.36 has them, and what this
// project's own parts need besides. Pure data.
// Source of the rights: kubernetes.io, "Default roles and role bindings".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "master/auth/rbac_rules.h"

namespace master {

// Roles, ClusterRoles, RoleBindings and ClusterRoleBindings, whole but for what the server sets;
// an aggregated ClusterRole comes without rules. ClusterRoles stand before what names them.
std::vector<base::json::value> default_rbac_objects();
std::vector<PolicyRule> default_cluster_role_rules(std::string_view name);  // compiled

// What `stored` lacks of `wanted` (labels, annotations, rules or subjects) added to it; a default
// is never taken away from. True when something changed. An object whose annotation
// rbac.authorization.kubernetes.io/autoupdate is "false" stays as it is.
bool reconcile_default(const base::json::value& wanted, base::json::value& stored);

}  // namespace master
