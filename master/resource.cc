#include "master/resource.h"

#include "base/result.h"
#include "master/object_cache.h"

namespace master {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}
std::string path_of(std::string_view group, std::string_view version, std::string_view plural) {
  std::string path;
  path.reserve(group.size() + version.size() + plural.size() + 2);
  path.append(group).append("/").append(version).append("/").append(plural);
  return path;
}

}  // namespace

std::string ResourceInfo::qualified() const { return group.empty() ? plural : plural + "." + group; }

base::json::value stored_form(const ResourceInfo& resource, base::json::value object) {
  if (!resource.stored_version) return object;
  if (resource.to_stored) object = resource.to_stored(std::move(object));
  object.get_object()["apiVersion"] = resource.stored_version->group_version();
  return object;
}
base::json::value served_form(const ResourceInfo& resource, base::json::value object) {
  if (!resource.stored_version) return object;
  if (resource.from_stored) object = resource.from_stored(std::move(object));
  object.get_object()["apiVersion"] = resource.group_version();
  return object;
}

ResourceTable::ResourceTable() {
  for (ResourceInfo& row : builtin_resources()) {
    // AllowCreateOnUpdate() of their strategies in Kubernetes.
    for (std::string_view plural : {"endpoints", "events", "leases", "limitranges", "podtemplates"})
      row.creates_on_update |= row.plural == plural;
    add(std::move(row));
  }
}

ResourcePtr ResourceTable::add(ResourceInfo row) {
  auto made = std::make_shared<ResourceInfo>(std::move(row));
  ResourceInfo& info = *made;
  if (!info.type) info.type = api::find_type(info.package, info.kind);
  SAMPAN_CHECK(info.type != nullptr);
  info.group_version_text = info.group.empty() ? info.version : info.group + "/" + info.version;
  for (std::string_view path : split(info.field_selectors, ',')) {
    info.selector_names.push_back(path);
    info.selector_paths.push_back(split(path, '.'));
  }
  std::string path = path_of(info.group, info.version, info.plural);
  ResourcePtr& slot = by_path_[path];
  if (info.stored_as.empty()) {
    if (slot && slot->objects) info.objects = slot->objects;
    else if (info.verbs != "create") info.objects = std::make_shared<ObjectCache>();
  } else {
    size_t slash = info.stored_as.find('/');
    info.stored_version = slash == std::string::npos ? find("", info.stored_as, info.plural)
                                             : find(info.stored_as.substr(0, slash), info.stored_as.substr(slash + 1), info.plural);
    SAMPAN_CHECK(info.stored_version != nullptr);
    info.objects = info.stored_version->objects;
  }
  if (slot) std::replace(all_.begin(), all_.end(), slot, made);
  else all_.push_back(made);
  slot = made;
  ++generation_;
  return made;
}

void ResourceTable::remove(std::string_view group, std::string_view version, std::string_view plural) {
  auto it = by_path_.find(path_of(group, version, plural));
  if (it == by_path_.end()) return;
  std::erase(all_, it->second);
  by_path_.erase(it);
  ++generation_;
}

ResourcePtr ResourceTable::find(std::string_view group, std::string_view version, std::string_view plural) const {
  auto it = by_path_.find(path_of(group, version, plural));
  return it == by_path_.end() ? nullptr : it->second;
}
ResourcePtr ResourceTable::find_kind(std::string_view group, std::string_view kind) const {
  for (const ResourcePtr& info : all_)
    if (info->kind == kind && info->group == group) return info;
  return nullptr;
}
ResourcePtr ResourceTable::find_stored(std::string_view group, std::string_view plural) const {
  for (const ResourcePtr& info : all_)
    if (info->is(group, plural) && !info->stored_version) return info;
  return nullptr;
}

std::vector<std::string_view> verbs_of(const ResourceInfo& resource) {
  if (!resource.verbs.empty()) return split(resource.verbs, ',');
  return {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
}

std::vector<Subresource> subresources_of(const ResourceInfo& resource) {
  static const std::vector<std::pair<std::string_view, Subresource>> kKnown = {
      // of which resource ("": any), and the subresource
      {"", {"attach", "", "v1", "PodAttachOptions", {"create", "get"}}},
      {"", {"binding", "", "v1", "Binding", {"create"}}},
      {"", {"ephemeralcontainers", "", "v1", "Pod", {"get", "patch", "update"}}},
      {"", {"eviction", "policy", "v1", "Eviction", {"create"}}},
      {"", {"exec", "", "v1", "PodExecOptions", {"create", "get"}}},
      {"", {"finalize", "", "v1", "Namespace", {"update"}}},
      {"", {"log", "", "v1", "Pod", {"get"}}},
      {"", {"portforward", "", "v1", "PodPortForwardOptions", {"create", "get"}}},
      {"nodes", {"proxy", "", "v1", "NodeProxyOptions", {"create", "delete", "get", "patch", "update"}}},
      {"pods", {"proxy", "", "v1", "PodProxyOptions", {"create", "delete", "get", "patch", "update"}}},
      {"services", {"proxy", "", "v1", "ServiceProxyOptions", {"create", "delete", "get", "patch", "update"}}},
      {"serviceaccounts", {"token", "authentication.k8s.io", "v1", "TokenRequest", {"create"}}},
      {"certificatesigningrequests", {"approval", "certificates.k8s.io", "v1", "CertificateSigningRequest", {"get", "patch", "update"}}},
      {"", {"resize", "", "v1", "Pod", {"get", "patch", "update"}}},
  };
  std::vector<Subresource> out;
  for (std::string_view name : split(resource.subresources, ','))
    for (const auto& [plural, known] : kKnown)
      if (known.name == name && (plural.empty() || plural == resource.plural)) out.push_back(known);
  if (resource.has_scale) out.push_back({"scale", "autoscaling", "v1", "Scale", {"get", "patch", "update"}});
  if (resource.has_status)
    out.push_back({"status", resource.group, resource.version, resource.kind, {"get", "patch", "update"}});
  return out;
}

}  // namespace master
