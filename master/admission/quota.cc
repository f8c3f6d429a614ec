#include "master/admission/quota.h"

#include <algorithm>
#include <optional>

#include "api/status.h"
#include "base/log.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;

namespace {
// What usage_of() and in_scope() look at: of most kinds, that there is one.
json::value object_for(const ResourceInfo& resource, const ObjectRef& object) {
  bool has_amounts =
      resource.is("", "pods") || resource.is("", "services") || resource.is("", "persistentvolumeclaims");
  return has_amounts ? parse_object(*object->text) : json::value(json::object());
}
}  // namespace

ResourceQuota::ResourceQuota(Registry& registry)
    : registry_(registry), transport_(registry.transport({"system:apiserver", {"system:masters"}})),
      client_(transport_, "kube-apiserver"),
      queue_(registry.loop(), [this](const std::string& key) { publish(key); }),
      quotas_(registry.resources().find_stored("", "resourcequotas")->objects) {
  for (const auto& [key, object] : quotas_->objects()) open(key, parse_object(*object->text));
  listener_ = quotas_->subscribe([this](const WatchEvent& event) { quota_changed(event); });
}
ResourceQuota::~ResourceQuota() {
  quotas_->unsubscribe(listener_);
  for (auto& [name, counted] : counted_) counted.objects->unsubscribe(counted.listener);
}

void ResourceQuota::quota_changed(const WatchEvent& event) {
  const std::string& key = event.object->key;
  if (event.type == WatchEvent::Type::kDeleted) {
    accounts_.erase(key);
    return;
  }
  json::value object = parse_object(*event.object->text);
  auto it = accounts_.find(key);
  Quota quota = read_quota(object);
  if (it == accounts_.end() || it->second->quota.spec != quota.spec) open(key, object);
  else queue_.add(key);  // somebody wrote its status
}

void ResourceQuota::open(const std::string& key, const json::value& object) {
  // Writes under way hold the account in which they reserved.
  std::shared_ptr<Account>& account = accounts_[key];
  if (!account) account = std::make_shared<Account>();
  account->quota = read_quota(object);
  account->used.clear();
  account->counted_to.clear();
  std::string ns = key.substr(0, key.find('/'));
  for (const auto& [group, plural] : counted_resources(account->quota)) {
    follow(group, plural);
    auto counted = counted_.find(group + "/" + plural);
    if (counted == counted_.end()) continue;
    const ResourceInfo& resource = *counted->second.resource;
    account->counted_to[counted->first] = counted->second.objects->last_revision();
    auto [it, end] = counted->second.objects->range(ns);
    for (; it != end; ++it) {
      json::value each = object_for(resource, it->second);
      if (in_scope(account->quota, resource, each))
        account->used += limited(account->quota, usage_of(resource, each));
    }
  }
  queue_.add(key);
}

void ResourceQuota::follow(const std::string& group, const std::string& plural) {
  ResourcePtr resource = registry_.resources().find_stored(group, plural);
  auto it = counted_.find(group + "/" + plural);
  if (it != counted_.end()) {
    if (resource && resource->objects == it->second.objects) return;
    it->second.objects->unsubscribe(it->second.listener);
    counted_.erase(it);
  }
  if (!resource || !resource->objects) return;
  Counted& counted = counted_[group + "/" + plural];
  counted.resource = resource;
  counted.objects = resource->objects;
  counted.listener =
      resource->objects->subscribe([this, resource](const WatchEvent& event) { count(*resource, event); });
}

void ResourceQuota::count(const ResourceInfo& resource, const WatchEvent& event) {
  std::string prefix = object_key(event.object->ns(), ""), kind = resource.group + "/" + resource.plural;
  std::optional<json::value> now_object, before_object;
  for (auto it = accounts_.lower_bound(prefix); it != accounts_.end() && it->first.starts_with(prefix);
       ++it) {
    Account& account = *it->second;
    auto counted_to = account.counted_to.find(kind);
    if (counted_to == account.counted_to.end() || event.revision <= counted_to->second) continue;
    counted_to->second = event.revision;
    auto of = [&](const ObjectRef& object, std::optional<json::value>& parsed) {
      if (!object) return Usage();
      if (!parsed) parsed = object_for(resource, object);
      return in_scope(account.quota, resource, *parsed) ? limited(account.quota, usage_of(resource, *parsed))
                                                        : Usage();
    };
    Usage now, before = of(event.previous, before_object);
    if (event.type != WatchEvent::Type::kDeleted) now = of(event.object, now_object);
    if (now == before) continue;
    account.used += now;
    account.used -= before;
    queue_.add(it->first);
  }
}

// A kind that a quota counts may come after the quota, or come again: with its first object it is followed.
void ResourceQuota::follow_new(const ResourceInfo& resource, const std::string& prefix) {
  if (!resource.type->custom) return;
  std::string kind = resource.group + "/" + resource.plural;
  auto known = counted_.find(kind);
  if (known != counted_.end() && known->second.objects == resource.stored().objects) return;
  std::pair<std::string, std::string> named{resource.group, resource.plural};
  for (auto it = accounts_.lower_bound(prefix); it != accounts_.end() && it->first.starts_with(prefix);
       ++it) {
    auto counts = counted_resources(it->second->quota);
    ObjectRef quota = quotas_->find(it->first);
    if (quota && std::find(counts.begin(), counts.end(), named) != counts.end())
      open(it->first, parse_object(*quota->text));
  }
}

json::value ResourceQuota::validate(AdmissionAttributes& attributes) {
  if (!attributes.subresource.empty() || attributes.operation == Operation::kDelete ||
      !attributes.resource->namespaced)
    return nullptr;
  const ResourceInfo& resource = *attributes.resource;
  std::string prefix = object_key(attributes.ns, "");
  follow_new(resource, prefix);
  std::vector<std::pair<std::shared_ptr<Account>, Usage>> taken;
  std::string missing, over;
  for (auto it = accounts_.lower_bound(prefix); it != accounts_.end() && it->first.starts_with(prefix);
       ++it) {
    const std::shared_ptr<Account>& account = it->second;
    if (!in_scope(account->quota, resource, attributes.object)) continue;
    Usage wanted = limited(account->quota, usage_of(resource, attributes.object));
    if (attributes.operation == Operation::kCreate) {
      std::string lacks = unspecified(account->quota, resource, attributes.object);
      if (!lacks.empty()) missing += (missing.empty() ? "" : ", ") + lacks;
    } else if (in_scope(account->quota, resource, attributes.old)) {
      wanted -= limited(account->quota, usage_of(resource, attributes.old));
    }
    Usage used = account->used;
    used += account->reserved;
    if (std::string text = exceeded(account->quota, used, wanted); !text.empty())
      over += (over.empty() ? "" : ", ") + text;
    else if (!wanted.empty()) taken.emplace_back(account, std::move(wanted));
  }
  if (!missing.empty()) return api::forbidden(resource.named(), attributes.name, missing);
  if (!over.empty()) return api::forbidden(resource.named(), attributes.name, over);
  if (attributes.dry_run) return nullptr;
  for (auto& [account, usage] : taken) {
    account->reserved += usage;
    // The event of the write comes before its end: it is counted by then.
    attributes.on_end.push_back([account = account, usage = usage](bool) { account->reserved -= usage; });
  }
  return nullptr;
}

void ResourceQuota::publish(const std::string& key) {
  auto it = accounts_.find(key);
  ObjectRef object = quotas_->find(key);
  if (it == accounts_.end() || !object) return queue_.succeeded(key);
  json::value wanted = parse_object(*object->text),
              status = quota_status(it->second->quota, it->second->used);
  if (const json::value* old = base::find(wanted, "status"); old && *old == status)
    return queue_.succeeded(key);
  wanted.get_object()["status"] = std::move(status);
  static const api::Resource kQuotas{"", "v1", "resourcequotas", "ResourceQuota", true};
  client_.update(
      kQuotas, object->ns(), object->name(), std::move(wanted),
      [this, key](base::Result<json::value> result) {
        if (result.ok() || result.error().kind == base::Kind::kNotFound) return queue_.succeeded(key);
        if (result.error().kind != base::Kind::kConflict)
          base::log::warning("quota {}: {}", key, result.error().message());
        queue_.failed(key);
      },
      "status");
}

}  // namespace master
