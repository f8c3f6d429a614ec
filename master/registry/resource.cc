#include "master/registry/resource.h"

#include <algorithm>

#include "api/walk.h"
#include "base/result.h"
#include "master/registry/field_labels.h"
#include "master/registry/object_cache.h"
#include "master/registry/strategy.h"

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
  if (!resource.stored_version || resource.conversion) return object;
  if (resource.to_stored) object = resource.to_stored(std::move(object));
  object.get_object()["apiVersion"] = resource.stored_version->group_version();
  return object;
}
base::json::value served_form(const ResourceInfo& resource, base::json::value object) {
  if (!resource.stored_version || resource.conversion) return object;
  if (resource.from_stored) object = resource.from_stored(std::move(object));
  object.get_object()["apiVersion"] = resource.group_version();
  if (resource.type->custom) {  // by this version's schema
    api::prune(*resource.type, object);
    api::apply_defaults(*resource.type, object);
  }
  return object;
}

ResourceTable::ResourceTable() {
  for (ResourceInfo& row : builtin_resources()) {
    // AllowCreateOnUpdate() of their strategies in Kubernetes.
    for (std::string_view plural :
         {"clusterrolebindings", "clusterroles", "endpoints", "events", "leases", "limitranges",
          "podtemplates", "rolebindings", "roles", "runtimeclasses", "services"})
      row.creates_on_update |= row.plural == plural;
    add(std::move(row));
  }
}

ResourcePtr ResourceTable::add(ResourceInfo row) {
  auto made = std::make_shared<ResourceInfo>(std::move(row));
  ResourceInfo& info = *made;
  if (info.list_kind.empty()) info.list_kind = info.kind + "List";
  if (!info.type) info.type = api::find_type(info.package, info.kind);
  SAMPAN_CHECK(info.type != nullptr);
  info.group_version_text = info.group.empty() ? info.version : info.group + "/" + info.version;
  read_field_labels(info);
  info.strategy = &strategy_of(info);
  std::string path = path_of(info.group, info.version, info.plural);
  ResourcePtr& slot = by_path_[path];
  if (info.stored_as.empty()) {
    if (info.objects) {
    }  // the ones it had under another version
    else if (slot && slot->objects)
      info.objects = slot->objects;
    else if (info.verbs != "create") info.objects = std::make_shared<ObjectCache>();
  } else {
    size_t slash = info.stored_as.find('/');
    auto stored = by_path_.find(slash == std::string::npos ? path_of("", info.stored_as, info.plural)
                                                           : info.stored_as + "/" + info.plural);
    SAMPAN_CHECK(stored != by_path_.end());
    info.stored_version = stored->second;
    info.objects = info.stored_version->objects;
  }
  if (slot) std::replace(all_.begin(), all_.end(), slot, made);
  else all_.push_back(made);
  slot = made;
  ++generation_;
  if (changed_) changed_();
  return made;
}

void ResourceTable::remove(std::string_view group, std::string_view version, std::string_view plural) {
  auto it = by_path_.find(path_of(group, version, plural));
  if (it == by_path_.end()) return;
  std::erase(all_, it->second);
  by_path_.erase(it);
  ++generation_;
  if (changed_) changed_();
}

ResourcePtr ResourceTable::find(std::string_view group, std::string_view version,
                                std::string_view plural) const {
  auto it = by_path_.find(path_of(group, version, plural));
  if (it != by_path_.end() && (it->second->served || !it->second->yields))
    return it->second->served ? it->second : nullptr;
  if (remote_.empty()) return nullptr;
  std::string group_version = std::string(group).append("/").append(version);
  if (!remote_.contains(group_version)) return nullptr;
  auto row = std::make_shared<ResourceInfo>();
  row->group = group;
  row->version = version;
  row->plural = plural;
  row->group_version_text = std::move(group_version);
  row->remote = true;
  return row;
}
void ResourceTable::set_remote(std::set<std::string, std::less<>> group_versions) {
  remote_ = std::move(group_versions);
  bool changed = false;
  for (const ResourcePtr& row : all_) {
    if (!row->yields || row->served != remote_.contains(row->group_version_text)) continue;
    row->served = !row->served;
    changed = true;
  }
  if (!changed) return;
  ++generation_;
  if (changed_) changed_();
}
std::vector<std::pair<std::string, std::string>> ResourceTable::group_versions() const {
  std::vector<std::string_view> groups;
  std::map<std::string_view, std::vector<std::string_view>> versions;
  for (const ResourcePtr& info : all_) {
    if (!info->served) continue;
    auto [it, is_new] = versions.try_emplace(info->group);
    if (is_new) groups.push_back(info->group);
    if (std::find(it->second.begin(), it->second.end(), info->version) == it->second.end())
      it->second.push_back(info->version);
  }
  std::vector<std::pair<std::string, std::string>> out;
  for (std::string_view group : groups) {
    std::stable_sort(versions[group].begin(), versions[group].end(), newer_version);
    for (std::string_view version : versions[group]) out.emplace_back(group, version);
  }
  return out;
}

bool newer_version(std::string_view a, std::string_view b) {
  struct Rank {
    int stage = 0;  // 3 GA, 2 beta, 1 alpha, 0 none of these
    long major = 0, minor = 0;
  };
  auto rank = [](std::string_view text) {
    auto number = [&](long* out) {
      size_t digits = 0;
      *out = 0;
      while (digits < text.size() && digits < 9 && std::isdigit(static_cast<unsigned char>(text[digits])))
        *out = *out * 10 + (text[digits++] - '0');
      text.remove_prefix(digits);
      return digits != 0;
    };
    Rank out;
    if (!text.starts_with('v')) return out;
    text.remove_prefix(1);
    if (!number(&out.major)) return Rank();
    int stage = text.empty() ? 3 : text.starts_with("beta") ? 2 : text.starts_with("alpha") ? 1 : 0;
    text.remove_prefix(stage == 2 ? 4 : stage == 1 ? 5 : 0);
    if (stage == 0 || (stage < 3 && (!number(&out.minor) || !text.empty()))) return Rank();
    out.stage = stage;
    return out;
  };
  Rank x = rank(a), y = rank(b);
  if (x.stage != y.stage) return x.stage > y.stage;
  if (x.stage == 0) return a < b;
  return x.major != y.major ? x.major > y.major : x.minor > y.minor;
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
      {"services",
       {"proxy", "", "v1", "ServiceProxyOptions", {"create", "delete", "get", "patch", "update"}}},
      {"serviceaccounts", {"token", "authentication.k8s.io", "v1", "TokenRequest", {"create"}}},
      {"certificatesigningrequests",
       {"approval", "certificates.k8s.io", "v1", "CertificateSigningRequest", {"get", "patch", "update"}}},
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

std::optional<Subresource> subresource_of(const ResourceInfo& resource, std::string_view name) {
  for (Subresource& one : subresources_of(resource))
    if (one.name == name) return std::move(one);
  return std::nullopt;
}
const api::Type* type_of(const Subresource& subresource) {
  std::string_view group =
      subresource.group.empty() ? "core" : subresource.group.substr(0, subresource.group.find('.'));
  return api::find_type(std::string("io.k8s.api.").append(group).append(".").append(subresource.version),
                        subresource.kind);
}

}  // namespace master
