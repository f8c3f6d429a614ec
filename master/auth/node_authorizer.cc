#include "master/auth/node_authorizer.h"

#include <algorithm>

#include "base/json_lists.h"

namespace master {

namespace json = base::json;
using base::find_path;
using base::list_at;
using base::string_at;

namespace {

constexpr std::string_view kNodePrefix = "system:node:";

bool one_of(std::string_view text, std::initializer_list<std::string_view> values) {
  return std::find(values.begin(), values.end(), text) != values.end();
}
bool no(std::string* reason, std::string text) {
  if (reason) *reason = std::move(text);
  return false;
}
// Does a field selector hold `field` to exactly `value`?
bool selects(std::string_view selector, std::string_view field, std::string_view value) {
  while (!selector.empty()) {
    size_t end = selector.find(',');
    std::string_view term = selector.substr(0, end);
    selector = end == selector.npos ? std::string_view() : selector.substr(end + 1);
    size_t equals = term.find('=');
    if (equals == term.npos || term.substr(0, equals) != field) continue;
    term.remove_prefix(equals + 1);
    if (term.starts_with('=')) term.remove_prefix(1);
    if (term == value) return true;
  }
  return false;
}

void container_references(const json::value& container, const auto& add) {
  for (const json::value& from : list_at(base::find(container, "envFrom"))) {
    add("configmaps", string_at(from, "configMapRef", "name"));
    add("secrets", string_at(from, "secretRef", "name"));
  }
  for (const json::value& item : list_at(base::find(container, "env"))) {
    add("configmaps", string_at(item, "valueFrom", "configMapKeyRef", "name"));
    add("secrets", string_at(item, "valueFrom", "secretKeyRef", "name"));
  }
}

// The secret names of volume kinds, each at its own path.
void volume_references(const json::value& volume, std::string_view pod_name, const auto& add) {
  add("configmaps", string_at(volume, "configMap", "name"));
  add("secrets", string_at(volume, "secret", "secretName"));
  add("persistentvolumeclaims", string_at(volume, "persistentVolumeClaim", "claimName"));
  if (base::find(volume, "ephemeral"))
    add("persistentvolumeclaims", std::string(pod_name) + "-" + std::string(string_at(volume, "name")));
  for (const json::value& source : list_at(find_path(volume, "projected", "sources"))) {
    add("configmaps", string_at(source, "configMap", "name"));
    add("secrets", string_at(source, "secret", "name"));
  }
  add("secrets", string_at(volume, "azureFile", "secretName"));
  for (const char* kind : {"cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"})
    add("secrets", string_at(volume, kind, "secretRef", "name"));
  add("secrets", string_at(volume, "csi", "nodePublishSecretRef", "name"));
}

}  // namespace

std::string_view node_of(const User& user) {
  if (!user.name.starts_with(kNodePrefix) || !user.in_group("system:nodes")) return {};
  return std::string_view(user.name).substr(kNodePrefix.size());
}

std::vector<std::string> pod_references(const json::value& pod) {
  std::vector<std::string> out;
  std::string ns(string_at(pod, "metadata", "namespace"));
  auto add = [&](std::string_view kind, std::string_view name) {
    if (!name.empty()) out.push_back(std::string(kind) + "/" + ns + "/" + std::string(name));
  };
  const json::value* spec = base::find(pod, "spec");
  if (!spec) return out;
  for (const char* list : {"initContainers", "containers", "ephemeralContainers"})
    for (const json::value& container : list_at(base::find(*spec, list)))
      container_references(container, add);
  for (const json::value& volume : list_at(base::find(*spec, "volumes")))
    volume_references(volume, string_at(pod, "metadata", "name"), add);
  for (const json::value& item : list_at(base::find(*spec, "imagePullSecrets")))
    add("secrets", string_at(item, "name"));
  for (const json::value& item : list_at(base::find(*spec, "resourceClaims")))
    add("resourceclaims", string_at(item, "resourceClaimName"));
  for (const json::value& item : list_at(find_path(pod, "status", "resourceClaimStatuses")))
    add("resourceclaims", string_at(item, "resourceClaimName"));
  add("serviceaccounts", string_at(*spec, "serviceAccountName"));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

void NodeAuthorizer::forget(const std::string& pod_key) {
  auto it = pods_.find(pod_key);
  if (it == pods_.end()) return;
  for (const std::string& reference : it->second.references) {
    auto use = uses_.find(reference);
    auto count = use->second.find(it->second.node);
    if (--count->second == 0) use->second.erase(count);
    if (use->second.empty()) uses_.erase(use);
  }
  pods_.erase(it);
}

void NodeAuthorizer::bind(const std::string& pod_key, std::string_view node,
                          std::vector<std::string> references) {
  forget(pod_key);
  for (const std::string& reference : references) ++uses_[reference][std::string(node)];
  pods_[pod_key] = {std::string(node), std::move(references)};
}

void NodeAuthorizer::follow(ObjectCache& pods) {
  // fields[0] is spec.nodeName: a Pod's references are read once, when it is bound; later only when
  // it got an ephemeral container or a resource claim.
  auto learn = [this](const StoredObject& pod, const StoredObject* before) {
    const std::string& node = pod.fields[0];
    if (node.empty()) return;
    bool may_differ = pod.text->find("\"ephemeralContainers\":") != std::string::npos ||
                      pod.text->find("\"resourceClaim") != std::string::npos;
    if (before && before->fields[0] == node && !may_differ && pods_.contains(pod.key)) return;
    bind(pod.key, node, pod_references(parse_object(*pod.text)));
  };
  for (const auto& [key, pod] : pods.objects()) learn(*pod, nullptr);
  pods.subscribe([this, learn](const WatchEvent& event) {
    if (event.type == WatchEvent::Type::kDeleted) forget(event.object->key);
    else learn(*event.object, event.previous.get());
  });
}

bool NodeAuthorizer::refers(std::string_view node, std::string_view kind, std::string_view ns,
                            std::string_view name) const {
  auto it = uses_.find(std::string(kind).append("/").append(ns).append("/").append(name));
  return it != uses_.end() && it->second.contains(node);
}

bool NodeAuthorizer::related(std::string_view node, std::string_view kind, const Access& access,
                             std::string* reason) const {
  if (access.name.empty()) return no(reason, "No Object name found");
  if (refers(node, kind, access.ns, access.name)) return true;
  return no(reason, "no relationship found between node '" + std::string(node) + "' and this object");
}

bool NodeAuthorizer::allows_pod(std::string_view node, const Access& access, std::string* reason) const {
  if (access.subresource == "status") return one_of(access.verb, {"update", "patch"});
  if (access.subresource == "eviction") return access.verb == "create";
  if (!access.subresource.empty()) return false;
  // Admission looks at whose Pod it is.
  if (one_of(access.verb, {"create", "delete"})) return true;
  if (!one_of(access.verb, {"get", "list", "watch"})) return false;
  if (access.verb != "get" && selects(access.field_selector, "spec.nodeName", node)) return true;
  if (access.name.empty()) return no(reason, "can only list/watch pods with spec.nodeName field selector");
  auto it = pods_.find(object_key(access.ns, access.name));
  if (it != pods_.end() && it->second.node == node) return true;
  return no(reason, "no relationship found between node '" + std::string(node) + "' and this object");
}

bool NodeAuthorizer::allows_node(std::string_view node, const Access& access, std::string* reason) const {
  if (access.subresource == "status") return one_of(access.verb, {"update", "patch"});
  if (!access.subresource.empty()) return false;
  if (one_of(access.verb, {"create", "update", "patch"})) return true;
  if (!one_of(access.verb, {"get", "list", "watch"})) return false;
  if (access.name == node) return true;
  if (access.name.empty())
    return no(reason, "node '" + std::string(node) + "' cannot read all nodes, only its own Node object");
  return no(reason, "node '" + std::string(node) + "' cannot read '" + std::string(access.name) +
                        "', only its own Node object");
}

// Leases and CSINodes bear the node's name.
bool NodeAuthorizer::allows_own(std::string_view node, std::string_view what, const Access& access,
                                std::string* reason) const {
  std::string text(what);
  if (!one_of(access.verb, {"get", "create", "update", "patch", "delete"}))
    return no(reason, "can only get, create, update, patch, or delete a " + text);
  if (!access.subresource.empty()) return no(reason, "cannot authorize " + text + " subresources");
  if (access.verb != "create" && access.name != node)
    return no(reason, "can only access " + text + " with the same name as the requesting node");
  return true;
}

bool NodeAuthorizer::allows_slice(std::string_view node, const Access& access, std::string* reason) const {
  if (!access.subresource.empty()) return no(reason, "cannot authorize ResourceSlice subresources");
  if (access.verb == "create") return true;  // admission looks at whose it is
  if (one_of(access.verb, {"get", "update", "patch", "delete"})) {
    if (access.name.empty()) return no(reason, "No Object name found");
    ObjectRef slice = slices_ ? slices_->find(object_key("", access.name)) : nullptr;
    // fields[0] of a ResourceSlice is its spec.nodeName.
    if (slice && slice->fields[0] == node) return true;
    return no(reason, "no relationship found between node '" + std::string(node) + "' and this object");
  }
  if (one_of(access.verb, {"watch", "list", "deletecollection"})) {
    if (selects(access.field_selector, "spec.nodeName", node) ||
        selects(access.field_selector, "nodeName", node))
      return true;
    return no(reason, "can only list/watch/deletecollection resourceslices with nodeName field selector");
  }
  return no(reason,
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, "
            "patch, delete, deletecollection");
}

bool NodeAuthorizer::allows_volume(std::string_view node, const Access& access) const {
  ObjectRef object;
  if (access.resource == "persistentvolumes") {
    if (volumes_) object = volumes_->find(object_key("", access.name));
    if (!object) return false;
    json::value claim = parse_object(*object->text);
    return refers(node, "persistentvolumeclaims", string_at(claim, "spec", "claimRef", "namespace"),
                  string_at(claim, "spec", "claimRef", "name"));
  }
  if (attachments_) object = attachments_->find(object_key("", access.name));
  return object && string_at(parse_object(*object->text), "spec", "nodeName") == node;
}

bool NodeAuthorizer::allows(std::string_view node, const Access& access, std::string* reason) const {
  if (access.is_resource && access.group.empty()) {
    if (access.resource == "secrets" || access.resource == "configmaps") {
      if (!one_of(access.verb, {"get", "list", "watch"}))
        return no(reason, "can only read resources of this type");
      if (!access.subresource.empty()) return no(reason, "cannot read subresource");
      if (access.ns.empty()) return no(reason, "can only read namespaced object of this type");
      return related(node, access.resource, access, reason);
    }
    if (access.resource == "persistentvolumeclaims") {
      if (access.subresource == "status") {
        if (!one_of(access.verb, {"update", "patch"}))
          return no(reason, "can only get/update/patch this type");
      } else {
        if (access.verb != "get") return no(reason, "can only get individual resources of this type");
        if (!access.subresource.empty()) return no(reason, "cannot get subresource");
      }
      return related(node, access.resource, access, reason);
    }
    if (access.resource == "serviceaccounts") {
      bool token = access.verb == "create" && access.subresource == "token";
      if (!token && (access.verb != "get" || !access.subresource.empty()))
        return no(reason, "can only create tokens for individual service accounts");
      return related(node, access.resource, access, reason);
    }
    if (access.resource == "pods") return allows_pod(node, access, reason);
    if (access.resource == "nodes") return allows_node(node, access, reason);
  }
  bool volume =
      access.is_resource && ((access.group.empty() && access.resource == "persistentvolumes") ||
                             (access.group == "storage.k8s.io" && access.resource == "volumeattachments"));
  if (volume) {
    if (access.verb != "get") return no(reason, "can only get individual resources of this type");
    if (!access.subresource.empty()) return no(reason, "cannot get subresource");
    if (allows_volume(node, access)) return true;
    return no(reason, "no relationship found between node '" + std::string(node) + "' and this object");
  }
  if (access.is_resource && access.group == "resource.k8s.io" && access.resource == "resourceclaims") {
    if (access.verb != "get") return no(reason, "can only get individual resources of this type");
    if (!access.subresource.empty()) return no(reason, "cannot get subresource");
    return related(node, access.resource, access, reason);
  }
  if (access.is_resource && access.group == "resource.k8s.io" && access.resource == "resourceslices")
    return allows_slice(node, access, reason);
  if (access.is_resource && access.group == "coordination.k8s.io" && access.resource == "leases") {
    if (access.ns != "kube-node-lease")
      return no(reason, "can only access leases in the \"kube-node-lease\" system namespace");
    return allows_own(node, "node lease", access, reason);
  }
  if (access.is_resource && access.group == "storage.k8s.io" && access.resource == "csinodes")
    return allows_own(node, "CSINode", access, reason);
  return std::any_of(rules_.begin(), rules_.end(),
                     [&](const PolicyRule& rule) { return master::allows(rule, access); });
}

}  // namespace master
