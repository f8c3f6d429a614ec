// RbacIndex: who holds which rules, ready to be asked: subjects point at roles, nothing is parsed and
// nothing searched through per request. Kept by the caches of the four RBAC kinds. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "master/auth/rbac_rules.h"
#include "master/registry/object_cache.h"
#include "master/registry/request.h"

namespace master {

struct RbacSubject {
  std::string kind, name, ns;  // kind: User, Group, ServiceAccount
};
struct RbacBinding {
  std::string ns, name;  // ns "": a ClusterRoleBinding
  std::string role_kind, role_name;
  std::vector<RbacSubject> subjects;
};
RbacBinding read_binding(const base::json::value& object);

class RbacIndex {
 public:
  // One subject's share in a binding.
  struct Role;
  struct Grant {
    std::string binding_ns, binding_name;
    RbacSubject subject;
    std::shared_ptr<const Role> role;
    std::string text() const;  // ClusterRoleBinding "b" of ClusterRole "r" to User "u"
  };
  struct Role {
    std::string ns, name;  // ns "": a ClusterRole
    bool present = false;  // a binding may name what is not there yet
    std::vector<PolicyRule> rules;
  };

  // ns "" for ClusterRoles.
  void set_role(std::string_view ns, std::string_view name, std::vector<PolicyRule> rules);
  void remove_role(std::string_view ns, std::string_view name);
  void set_binding(const RbacBinding& binding);
  void remove_binding(std::string_view ns, std::string_view name);

  // Every rule that `user` holds in `ns` ("": cluster-wide ones alone), until `each` returns false.
  using Each = std::function<bool(const Grant&, const PolicyRule&)>;
  void each_rule(const User& user, std::string_view ns, const Each& each) const;
  // What allows it, or null.
  const Grant* allowing(const User& user, const Access& access) const;
  // Null when there is no such role. A binding in `ns` names Roles of its namespace.
  const Role* find_role(std::string_view kind, std::string_view ns, std::string_view name) const;

  void follow(ObjectCache& roles, ObjectCache& cluster_roles, ObjectCache& role_bindings,
              ObjectCache& cluster_role_bindings);

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  template <typename T>
  using Table = std::unordered_map<std::string, T, Hash, std::equal_to<>>;
  struct Scope {
    Table<std::vector<std::shared_ptr<const Grant>>> users, groups;
  };
  std::shared_ptr<Role> role_slot(std::string_view ns, std::string_view name);
  // False when `each` ended it.
  bool visit(const Scope& scope, const User& user, const auto& each) const;

  Table<std::shared_ptr<Role>> roles_;  // by object_key()
  Table<RbacBinding> bindings_;         // by object_key()
  Table<Scope> scopes_;                 // by namespace, "" for the cluster's
};

}  // namespace master
