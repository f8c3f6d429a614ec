// One informer per object referred to; dropped with the last Pod that does.
#include "kubelet/volumes/objects.h"

#include <algorithm>

#include "base/base64.h"

namespace kubelet {

namespace {
// RFC 1123 subdomain, by its characters.
bool may_be_name(const std::string& name) {
  return !name.empty() && name.size() <= 253 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}
}  // namespace

void ObjectCache::refer(const std::string& uid, const std::string& ns,
                        const std::vector<Reference>& references) {
  std::set<Key> wanted;
  for (const auto& reference : references) wanted.insert({ns, reference});
  auto& held = by_pod_[uid];
  for (const auto& key : held) {
    if (wanted.contains(key)) continue;
    auto it = entries_.find(key);
    if (it == entries_.end()) continue;
    it->second.users.erase(uid);
    // Not here: this may run inside the informer's own callback.
    if (it->second.users.empty())
      loop_.post([this, key] {
        if (auto dead = entries_.find(key); dead != entries_.end() && dead->second.users.empty())
          entries_.erase(dead);
      });
  }
  for (const auto& key : wanted) {
    Entry& entry = entries_[key];
    entry.users.insert(uid);
    if (entry.informer || entry.synced) continue;
    if (!may_be_name(
            key.second.name)) {  // nothing is called so, and in a selector it would be another question
      entry.synced = true;
      continue;
    }
    api::Informer::Options options;
    options.resource =
        key.second.kind == ObjectKind::kConfigMap ? api::resources::config_maps : api::resources::secrets;
    options.ns = ns;
    options.field_selector = "metadata.name=" + key.second.name;
    entry.informer = std::make_unique<api::Informer>(
        loop_, transport_, std::move(options),
        [this, key](api::Informer::Change change, const base::json::value& object) {
          auto it = entries_.find(key);
          if (it == entries_.end() || base::string_at(object, "metadata", "name") != key.second.name) return;
          Entry& entry = it->second;
          entry.present = change == api::Informer::Change::kSet;
          entry.data.clear();
          entry.uid = base::string_at(object, "metadata", "uid");
          entry.type = base::string_at(object, "type");
          const bool secret = key.second.kind == ObjectKind::kSecret;
          auto take = [&](const char* field, bool encoded) {
            const base::json::value* data = base::find(object, field);
            if (!data || !data->is_object()) return;
            for (const auto& [name, value] : data->get_object()) {
              std::string text(base::as_string(&value));
              if (encoded) text = base::base64_decode(text).value_or("");
              entry.data[std::string(name)] = std::move(text);
            }
          };
          if (entry.present) {
            take("data", secret);
            take("binaryData", true);
          }
          if (entry.synced) tell(key);
        },
        [this, key] {
          auto it = entries_.find(key);
          if (it == entries_.end()) return;
          it->second.synced = true;
          tell(key);
        });
    entry.informer->start();
  }
  if (wanted.empty()) by_pod_.erase(uid);
  else held = std::move(wanted);
}

void ObjectCache::tell(const Key& key) {
  auto it = entries_.find(key);
  if (it == entries_.end()) return;
  const std::set<std::string> users = it->second.users;
  for (const auto& uid : users) changed_(uid);
}

bool ObjectCache::loaded(const std::string& ns, const std::vector<Reference>& references) const {
  for (const auto& reference : references) {
    auto it = entries_.find({ns, reference});
    if (it == entries_.end() || !it->second.synced) return false;
  }
  return true;
}

std::optional<ObjectCache::SecretSeen> ObjectCache::secret(const std::string& ns,
                                                           const std::string& name) const {
  auto it = entries_.find({ns, Reference{ObjectKind::kSecret, name}});
  if (it == entries_.end() || !it->second.present) return std::nullopt;
  return SecretSeen{.uid = it->second.uid, .type = it->second.type, .data = &it->second.data};
}

const std::map<std::string, std::string>* ObjectCache::data(const std::string& ns,
                                                            const Reference& reference) const {
  auto it = entries_.find({ns, reference});
  return it == entries_.end() || !it->second.present ? nullptr : &it->second.data;
}

}  // namespace kubelet
