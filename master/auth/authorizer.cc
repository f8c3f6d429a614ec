#include "master/auth/authorizer.h"

#include <algorithm>

#include "api/status.h"
#include "master/auth/rbac_defaults.h"

namespace master {

namespace json = base::json;

namespace {

// metadata.name of a field selector of one object: what a list by name may be allowed by.
std::string_view selected_name(std::string_view selector) {
  while (!selector.empty()) {
    size_t end = selector.find(',');
    std::string_view term = selector.substr(0, end);
    selector = end == selector.npos ? std::string_view() : selector.substr(end + 1);
    if (!term.starts_with("metadata.name=")) continue;
    term.remove_prefix(term.starts_with("metadata.name==") ? 15 : 14);
    return term;
  }
  return {};
}
ObjectCache* cache_of(const ResourceTable& resources, std::string_view group, std::string_view plural) {
  ResourcePtr resource = resources.find_stored(group, plural);
  return resource ? resource->objects.get() : nullptr;
}

}  // namespace

Access access_of(const RequestInfo& request) {
  Access access;
  access.verb = request.verb;
  if (!request.resource) {
    access.is_resource = false;
    access.path = request.http().path();
    return access;
  }
  access.ns = request.ns;
  access.group = request.resource->group;
  access.resource = request.resource->plural;
  access.subresource = request.subresource;
  access.name = request.name;
  access.field_selector = request.param("fieldSelector");
  access.label_selector = request.param("labelSelector");
  // A namespace is in itself: who may read within it may read it.
  if (request.resource->is("", "namespaces")) access.ns = request.name;
  if (access.name.empty() && !access.field_selector.empty())
    access.name = selected_name(access.field_selector);
  return access;
}

Authorizer::Authorizer(const ResourceTable& resources) : nodes_(default_cluster_role_rules("system:node")) {
  constexpr std::string_view kGroup = "rbac.authorization.k8s.io";
  rbac_.follow(*cache_of(resources, kGroup, "roles"), *cache_of(resources, kGroup, "clusterroles"),
               *cache_of(resources, kGroup, "rolebindings"),
               *cache_of(resources, kGroup, "clusterrolebindings"));
  nodes_.follow(*cache_of(resources, "", "pods"), *cache_of(resources, "", "persistentvolumes"));
  nodes_.look_up(cache_of(resources, "", "persistentvolumes"),
                 cache_of(resources, "storage.k8s.io", "volumeattachments"),
                 cache_of(resources, "resource.k8s.io", "resourceslices"));
}

bool Authorizer::allows(const User& user, const Access& access, std::string* reason) const {
  if (user.in_group("system:masters")) return true;
  if (std::string_view node = node_of(user); !node.empty() && nodes_.allows(node, access, reason))
    return true;
  else if (node.empty() && is_node(user) && reason)
    *reason = "unknown node for user " + base::quoted(user.name);
  const RbacIndex::Grant* grant = rbac_.allowing(user, access);
  if (grant && reason) *reason = "RBAC: allowed by " + grant->text();
  return grant != nullptr;
}

std::string forbidden_text(const User& user, const Access& access) {
  std::string text = "User " + base::quoted(user.name) + " cannot " + std::string(access.verb);
  if (!access.is_resource) return text + " path " + base::quoted(access.path);
  std::string resource(access.resource);
  if (!access.subresource.empty()) resource.append("/").append(access.subresource);
  text += " resource " + base::quoted(resource) + " in API group " + base::quoted(access.group);
  return access.ns.empty() ? text + " at the cluster scope"
                           : text + " in the namespace " + base::quoted(access.ns);
}

json::value forbidden(const User& user, const Access& access, std::string_view reason) {
  std::string text = forbidden_text(user, access);
  if (!reason.empty()) text.append(": ").append(reason);
  return api::forbidden({access.group, access.resource}, access.name, text);
}

}  // namespace master
