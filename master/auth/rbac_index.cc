#include "master/auth/rbac_index.h"

#include <algorithm>

namespace master {

namespace json = base::json;
using base::string_at;

namespace {
std::string account_name_of(std::string_view ns, std::string_view name) {
  return std::string("system:serviceaccount:").append(ns).append(":").append(name);
}
}  // namespace

RbacBinding read_binding(const json::value& object) {
  RbacBinding out;
  out.ns = string_at(object, "metadata", "namespace");
  out.name = string_at(object, "metadata", "name");
  out.role_kind = string_at(object, "roleRef", "kind");
  out.role_name = string_at(object, "roleRef", "name");
  if (const json::value* list = base::find(object, "subjects"); list && list->is_array())
    for (const json::value& item : list->get_array())
      out.subjects.push_back({std::string(string_at(item, "kind")), std::string(string_at(item, "name")),
                              std::string(string_at(item, "namespace"))});
  return out;
}

std::string RbacIndex::Grant::text() const {
  bool cluster = binding_ns.empty();
  std::string who = subject.kind == "ServiceAccount"
                        ? base::quoted(subject.name + "/" + (subject.ns.empty() ? binding_ns : subject.ns))
                        : base::quoted(subject.name);
  return std::string(cluster ? "ClusterRoleBinding " : "RoleBinding ") +
         base::quoted(cluster ? binding_name : binding_name + "/" + binding_ns) + " of " +
         (role->ns.empty() ? "ClusterRole " : "Role ") + base::quoted(role->name) + " to " + subject.kind +
         " " + who;
}

std::shared_ptr<RbacIndex::Role> RbacIndex::role_slot(std::string_view ns, std::string_view name) {
  std::shared_ptr<Role>& slot = roles_[object_key(ns, name)];
  if (!slot) {
    slot = std::make_shared<Role>();
    slot->ns = ns;
    slot->name = name;
  }
  return slot;
}

void RbacIndex::set_role(std::string_view ns, std::string_view name, std::vector<PolicyRule> rules) {
  auto role = role_slot(ns, name);
  role->present = true;
  role->rules = std::move(rules);
}

void RbacIndex::remove_role(std::string_view ns, std::string_view name) {
  auto it = roles_.find(object_key(ns, name));
  if (it == roles_.end()) return;
  it->second->present = false;
  it->second->rules.clear();
  if (it->second.use_count() == 1) roles_.erase(it);  // no binding names it
}

void RbacIndex::set_binding(const RbacBinding& binding) {
  remove_binding(binding.ns, binding.name);
  if (binding.role_kind != "Role" && binding.role_kind != "ClusterRole") return;
  auto role = role_slot(binding.role_kind == "Role" ? std::string_view(binding.ns) : std::string_view(),
                        binding.role_name);
  Scope& scope = scopes_[binding.ns];
  for (const RbacSubject& subject : binding.subjects) {
    auto grant = std::make_shared<Grant>(Grant{binding.ns, binding.name, subject, role});
    if (subject.kind == "User") scope.users[subject.name].push_back(std::move(grant));
    else if (subject.kind == "Group") scope.groups[subject.name].push_back(std::move(grant));
    else if (std::string_view ns = subject.ns.empty() ? binding.ns : subject.ns;
             subject.kind == "ServiceAccount" && !ns.empty())
      scope.users[account_name_of(ns, subject.name)].push_back(std::move(grant));
  }
  bindings_[object_key(binding.ns, binding.name)] = binding;
}

void RbacIndex::remove_binding(std::string_view ns, std::string_view name) {
  auto it = bindings_.find(object_key(ns, name));
  if (it == bindings_.end()) return;
  RbacBinding old = std::move(it->second);
  bindings_.erase(it);
  Scope& scope = scopes_[old.ns];
  auto drop = [&](Table<std::vector<std::shared_ptr<const Grant>>>& table, const std::string& who) {
    auto at = table.find(who);
    if (at == table.end()) return;
    std::erase_if(at->second, [&](const auto& grant) { return grant->binding_name == old.name; });
    if (at->second.empty()) table.erase(at);
  };
  for (const RbacSubject& subject : old.subjects) {
    if (subject.kind == "Group") drop(scope.groups, subject.name);
    else if (subject.kind == "User") drop(scope.users, subject.name);
    else drop(scope.users, account_name_of(subject.ns.empty() ? old.ns : subject.ns, subject.name));
  }
  if (scope.users.empty() && scope.groups.empty()) scopes_.erase(old.ns);
  // A slot that only this binding kept: what it named is not there.
  auto role = roles_.find(
      object_key(old.role_kind == "Role" ? std::string_view(old.ns) : std::string_view(), old.role_name));
  if (role != roles_.end() && !role->second->present && role->second.use_count() == 1) roles_.erase(role);
}

bool RbacIndex::visit(const Scope& scope, const User& user, const auto& each) const {
  auto run = [&](const auto& grants) {
    for (const auto& grant : grants)
      for (const PolicyRule& rule : grant->role->rules)
        if (!each(*grant, rule)) return false;
    return true;
  };
  if (auto it = scope.users.find(user.name); it != scope.users.end() && !run(it->second)) return false;
  for (const std::string& group : user.groups)
    if (auto it = scope.groups.find(group); it != scope.groups.end() && !run(it->second)) return false;
  return true;
}

void RbacIndex::each_rule(const User& user, std::string_view ns, const Each& each) const {
  if (auto it = scopes_.find(std::string_view()); it != scopes_.end() && !visit(it->second, user, each))
    return;
  if (ns.empty()) return;
  if (auto it = scopes_.find(ns); it != scopes_.end()) visit(it->second, user, each);
}

const RbacIndex::Grant* RbacIndex::allowing(const User& user, const Access& access) const {
  const Grant* found = nullptr;
  auto each = [&](const Grant& grant, const PolicyRule& rule) {
    if (!allows(rule, access)) return true;
    found = &grant;
    return false;
  };
  if (auto it = scopes_.find(std::string_view()); it != scopes_.end() && !visit(it->second, user, each))
    return found;
  if (access.is_resource && !access.ns.empty())
    if (auto it = scopes_.find(access.ns); it != scopes_.end()) visit(it->second, user, each);
  return found;
}

const RbacIndex::Role* RbacIndex::find_role(std::string_view kind, std::string_view ns,
                                            std::string_view name) const {
  auto it = roles_.find(object_key(kind == "Role" ? ns : std::string_view(), name));
  return it == roles_.end() || !it->second->present ? nullptr : it->second.get();
}

void RbacIndex::follow(ObjectCache& roles, ObjectCache& cluster_roles, ObjectCache& role_bindings,
                       ObjectCache& cluster_role_bindings) {
  auto role = [this](const StoredObject& object) {
    json::value parsed = parse_object(*object.text);
    set_role(object.ns(), object.name(), read_rules(base::find(parsed, "rules")));
  };
  auto binding = [this](const StoredObject& object) {
    set_binding(read_binding(parse_object(*object.text)));
  };
  for (ObjectCache* cache : {&roles, &cluster_roles}) {
    for (const auto& [key, object] : cache->objects()) role(*object);
    cache->subscribe([this, role](const WatchEvent& event) {
      if (event.type == WatchEvent::Type::kDeleted) remove_role(event.object->ns(), event.object->name());
      else role(*event.object);
    });
  }
  for (ObjectCache* cache : {&role_bindings, &cluster_role_bindings}) {
    for (const auto& [key, object] : cache->objects()) binding(*object);
    cache->subscribe([this, binding](const WatchEvent& event) {
      if (event.type == WatchEvent::Type::kDeleted) remove_binding(event.object->ns(), event.object->name());
      else binding(*event.object);
    });
  }
}

}  // namespace master
