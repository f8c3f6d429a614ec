#include "master/auth/node_authorizer.h"

#include <algorithm>
#include <tuple>

#include "api/local_volumes.h"
#include "base/json_lists.h"

namespace master {

namespace json = base::json;
using base::find_path;
using base::list_at;
using base::string_at;

namespace {

constexpr std::string_view kNodePrefix = "system:node:", kClaims = "persistentvolumeclaims/";

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

bool is_node(const User& user) { return user.name.starts_with(kNodePrefix) && user.in_group("system:nodes"); }
std::string_view node_of(const User& user) {
  return is_node(user) ? std::string_view(user.name).substr(kNodePrefix.size()) : std::string_view();
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
  for (const json::value& item : list_at(base::find(*spec, "resourceClaims"))) {
    add("resourceclaims", string_at(item, "resourceClaimName"));
    if (string_at(item, "resourceClaimTemplateName").empty()) continue;
    for (const json::value& made : list_at(find_path(pod, "status", "resourceClaimStatuses")))
      if (string_at(made, "name") == string_at(item, "name"))
        add("resourceclaims", string_at(made, "resourceClaimName"));
  }
  add("resourceclaims", string_at(pod, "status", "extendedResourceClaimStatus", "resourceClaimName"));
  add("serviceaccounts", string_at(*spec, "serviceAccountName"));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<std::string> volume_secrets(const json::value& volume) {
  std::vector<std::string> out;
  const json::value* spec = base::find(volume, "spec");
  const json::value* claim = spec ? base::find(*spec, "claimRef") : nullptr;
  if (!claim || claim->is_null()) return out;
  std::string_view claim_ns = string_at(*claim, "namespace");
  auto add = [&](std::string_view ns, std::string_view name, std::string_view otherwise) {
    if (!name.empty())
      out.push_back("secrets/" + std::string(ns.empty() ? otherwise : ns) + "/" + std::string(name));
  };
  add(string_at(*spec, "azureFile", "secretNamespace"), string_at(*spec, "azureFile", "secretName"),
      claim_ns);
  auto add_reference = [&](const char* kind, const char* field, std::string_view otherwise) {
    if (const json::value* reference = find_path(*spec, kind, field))
      add(string_at(*reference, "namespace"), string_at(*reference, "name"), otherwise);
  };
  // Volumes from before the field had a namespace mean that of their claim.
  for (const char* kind : {"cephfs", "flexVolume", "rbd", "scaleIO", "iscsi"})
    add_reference(kind, "secretRef", claim_ns);
  for (const char* kind : {"cinder", "storageos"}) add_reference(kind, "secretRef", "");
  for (const char* field : {"nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"})
    add_reference("csi", field, "");
  return out;
}

void NodeAuthorizer::forget(const std::string& pod_key) {
  auto it = pods_.find(pod_key);
  if (it == pods_.end()) return;
  for (const std::string& reference : it->second.references) {
    if (reference.starts_with(kClaims)) {
      auto of = claims_of_.find(it->second.node);
      if (auto claim = of->second.find(reference); --claim->second == 0) of->second.erase(claim);
      if (of->second.empty()) claims_of_.erase(of);
    }
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
  for (const std::string& reference : references) {
    ++uses_[reference][std::string(node)];
    if (reference.starts_with(kClaims)) ++claims_of_[std::string(node)][reference];
  }
  pods_[pod_key] = {std::string(node), std::move(references)};
}

void NodeAuthorizer::forget_volume(const std::string& volume) {
  auto it = bound_volumes_.find(volume);
  if (it == bound_volumes_.end()) return;
  for (const std::string& secret : it->second.secrets) {
    auto named = by_secret_.find(secret);
    auto claim = named->second.find(it->second.claim);
    if (--claim->second == 0) named->second.erase(claim);
    if (named->second.empty()) by_secret_.erase(named);
  }
  bound_volumes_.erase(it);
}

void NodeAuthorizer::bind_volume(const std::string& volume, std::string claim,
                                 std::vector<std::string> secrets) {
  forget_volume(volume);
  if (secrets.empty()) return;
  for (const std::string& secret : secrets) ++by_secret_[secret][claim];
  bound_volumes_[volume] = {std::move(claim), std::move(secrets)};
}

void NodeAuthorizer::follow(ObjectCache& pods, ObjectCache& volumes) {
  // fields[0] is spec.nodeName: a Pod's references are read once, when it is bound; later only when
  // it got an ephemeral container or a resource claim.
  auto learn = [this](const StoredObject& pod, const StoredObject* before) {
    const std::string& node = pod.fields[0];
    if (node.empty()) return;
    bool may_differ = pod.text->find("\"ephemeralContainers\":") != std::string::npos ||
                      pod.text->find("\"resourceClaim") != std::string::npos;
    if (before && before->fields[0] == node && !may_differ && pods_.contains(pod.key)) return;
    json::value parsed = parse_object(*pod.text);
    // Nodes make mirror Pods themselves: one must give them no right that admission let slip.
    bool mirror = find_path(parsed, "metadata", "annotations", "kubernetes.io/config.mirror");
    bind(pod.key, node, mirror ? std::vector<std::string>() : pod_references(parsed));
  };
  for (const auto& [key, pod] : pods.objects()) learn(*pod, nullptr);
  pods.subscribe([this, learn](const WatchEvent& event) {
    if (event.type == WatchEvent::Type::kDeleted) forget(event.object->key);
    else learn(*event.object, event.previous.get());
  });
  auto learn_volume = [this](const StoredObject& volume) {
    // Most name none: "secretRef", "nodePublishSecretRef", "secretName".
    if (volume.text->find("ecretRef\"") == std::string::npos &&
        volume.text->find("\"secretName\"") == std::string::npos)
      return forget_volume(volume.key);
    json::value parsed = parse_object(*volume.text);
    std::string claim = std::string(kClaims)
                            .append(string_at(parsed, "spec", "claimRef", "namespace"))
                            .append("/")
                            .append(string_at(parsed, "spec", "claimRef", "name"));
    bind_volume(volume.key, std::move(claim), volume_secrets(parsed));
  };
  for (const auto& [key, volume] : volumes.objects()) learn_volume(*volume);
  volumes.subscribe([this, learn_volume](const WatchEvent& event) {
    if (event.type == WatchEvent::Type::kDeleted) forget_volume(event.object->key);
    else learn_volume(*event.object);
  });
}

bool NodeAuthorizer::refers(std::string_view node, std::string_view kind, std::string_view ns,
                            std::string_view name) const {
  auto it = uses_.find(std::string(kind).append("/").append(ns).append("/").append(name));
  return it != uses_.end() && it->second.contains(node);
}

// Whichever is less: the claims of the node's Pods, or those whose volumes name the secret.
bool NodeAuthorizer::refers_by_volume(std::string_view node, const std::string& secret) const {
  auto named = by_secret_.find(secret);
  auto own = claims_of_.find(node);
  if (named == by_secret_.end() || own == claims_of_.end()) return false;
  const auto& [few, many] = named->second.size() < own->second.size() ? std::tie(named->second, own->second)
                                                                      : std::tie(own->second, named->second);
  return std::any_of(few.begin(), few.end(), [&](const auto& claim) { return many.contains(claim.first); });
}

bool NodeAuthorizer::related(std::string_view node, std::string_view kind, const Access& access,
                             std::string* reason) const {
  if (access.name.empty()) return no(reason, "No Object name found");
  if (refers(node, kind, access.ns, access.name)) return true;
  if (kind == "secrets" &&
      refers_by_volume(node, std::string("secrets/").append(access.ns).append("/").append(access.name)))
    return true;
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
  if (access.resource == "leases" && access.ns != "kube-node-lease")
    return no(reason, "can only access leases in the \"kube-node-lease\" system namespace");
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

bool NodeAuthorizer::allows_volume(std::string_view node, const Access& access, std::string* reason) const {
  namespace names = api::local_volumes;
  const bool persistent = access.resource == "persistentvolumes";
  if (persistent && access.name.empty() && one_of(access.verb, {"list", "watch"}) &&
      access.label_selector == std::string(names::kNodeLabel).append("=").append(names::node_label(node)))
    return true;
  if (access.verb != "get" && !(persistent && access.verb == "patch"))
    return no(reason, "can only get individual resources of this type");
  if (!access.subresource.empty()) return no(reason, "cannot get subresource");
  const ObjectCache* cache = persistent ? volumes_ : attachments_;
  const ObjectRef stored = cache ? cache->find(object_key("", access.name)) : nullptr;
  const json::value object = stored ? parse_object(*stored->text) : json::value();
  const bool own = persistent
                       ? string_at(object, "metadata", "labels", names::kNodeLabel) == names::node_label(node)
                       : string_at(object, "spec", "nodeName") == node;
  if (stored && own) return true;
  if (persistent && access.verb == "get" &&
      refers(node, "persistentvolumeclaims", string_at(object, "spec", "claimRef", "namespace"),
             string_at(object, "spec", "claimRef", "name")))
    return true;
  return no(reason, "no relationship found between node '" + std::string(node) + "' and this object");
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
      bool reads = access.verb == "get" && access.subresource.empty();
      if (!reads && (access.verb != "create" || access.name.empty()))
        return no(reason, "can only create tokens for individual service accounts");
      if (!reads && access.subresource != "token")
        return no(reason, "can only create token subresource of serviceaccount");
      return related(node, access.resource, access, reason);
    }
    if (access.resource == "pods") return allows_pod(node, access, reason);
    if (access.resource == "nodes") return allows_node(node, access, reason);
  }
  bool volume =
      access.is_resource && ((access.group.empty() && access.resource == "persistentvolumes") ||
                             (access.group == "storage.k8s.io" && access.resource == "volumeattachments"));
  if (volume) return allows_volume(node, access, reason);
  if (access.is_resource && access.group == "resource.k8s.io" && access.resource == "resourceclaims") {
    if (access.verb != "get") return no(reason, "can only get individual resources of this type");
    if (!access.subresource.empty()) return no(reason, "cannot get subresource");
    return related(node, access.resource, access, reason);
  }
  if (access.is_resource && access.group == "resource.k8s.io" && access.resource == "resourceslices")
    return allows_slice(node, access, reason);
  if (access.is_resource && access.group == "coordination.k8s.io" && access.resource == "leases")
    return allows_own(node, "node lease", access, reason);
  if (access.is_resource && access.group == "storage.k8s.io" && access.resource == "csinodes")
    return allows_own(node, "CSINode", access, reason);
  return std::any_of(rules_.begin(), rules_.end(),
                     [&](const PolicyRule& rule) { return master::allows(rule, access); });
}

}  // namespace master
