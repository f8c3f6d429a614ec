#include "master/registry/object_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/walk.h"
#include "base/json_limits.h"
#include "base/log.h"
#include "master/registry/field_labels.h"

namespace master {
namespace {

namespace json = base::json;

// History is bounded by count and by the bytes it keeps alive beyond the current states.
constexpr size_t kMaxHistory = 4096;
constexpr size_t kMaxHistoryBytes = 16u << 20;

}  // namespace

std::string record_key(const ResourceInfo& resource, std::string_view key) {
  return "/" + resource.group + "/" + resource.plural + "/" + std::string(key);
}
base::Result<json::value> read_stored(const ResourceInfo& resource, std::string_view key,
                                      std::string_view stored) {
  json::value object = TRY(read_record(key, stored));
  std::string_view version = base::string_at(object, "apiVersion"), kind = base::string_at(object, "kind");
  std::string_view group = version.substr(0, version.rfind('/') == version.npos ? 0 : version.rfind('/'));
  if (kind != resource.kind || group != resource.group)
    return unreadable(key, "it is of another kind: " + shown_record(version) + " " + shown_record(kind));
  // A custom resource's schema may have changed since; nobody here relies on it.
  if (!resource.type->custom && version == resource.group_version())
    TRY(api::check_types(*resource.type, object));
  return object;
}

json::value parse_object(std::string_view text, json::storage_ptr storage) {
  auto parsed = base::parse_checked_json(text, storage);
  if (parsed.ok() && base::find(*parsed, "metadata") && base::find(*parsed, "metadata")->is_object())
    return std::move(*parsed);
  base::log::error("an object of {} bytes can't be read back: {}", text.size(),
                   parsed.ok() ? "it has no metadata" : parsed.error().message());
  return json::value(json::object{{"metadata", json::object()}}, storage);
}

SelectorValues selector_values(const ResourceInfo& resource, const json::value& object) {
  SelectorValues out;
  if (const json::value* labels = base::find_path(object, "metadata", "labels");
      labels && labels->is_object()) {
    for (const auto& label : labels->get_object())
      if (label.value().is_string())
        out.labels.emplace(std::string(label.key()), std::string(label.value().get_string()));
  }
  size_t kept = kept_fields(resource);
  out.fields.reserve(kept);
  for (size_t i = 0; i < kept; ++i) out.fields.push_back(field_text(object, resource.selector_paths[i]));
  return out;
}

ObjectRef make_object(std::string key, std::string_view stored, int64_t revision, SelectorValues values) {
  auto object = std::make_shared<StoredObject>();
  object->key = std::move(key);
  object->revision = revision;
  object->text = base::http::bytes(with_revision(stored, revision));
  object->labels = std::move(values.labels);
  object->fields = std::move(values.fields);
  return object;
}
ObjectRef make_object(const ResourceInfo& resource, std::string key, std::string_view stored,
                      int64_t revision) {
  json::monotonic_resource arena;
  json::value parsed = parse_object(stored, &arena);
  return make_object(std::move(key), stored, revision, selector_values(resource, parsed));
}

Bytes event_line(std::string_view type, std::string_view object_json) {
  std::string line;
  line.reserve(object_json.size() + 40);
  line.append("{\"type\":\"").append(type).append("\",\"object\":").append(object_json).append("}\n");
  return base::http::bytes(std::move(line));
}

const Bytes& WatchEvent::line() const {
  if (!line_)
    line_ = event_line(type == Type::kAdded      ? "ADDED"
                       : type == Type::kModified ? "MODIFIED"
                                                 : "DELETED",
                       *object->text);
  return line_;
}

ObjectRef ObjectCache::find(std::string_view key) const {
  auto it = objects_.find(key);
  return it == objects_.end() ? nullptr : it->second;
}

std::pair<ObjectCache::Map::const_iterator, ObjectCache::Map::const_iterator> ObjectCache::range(
    std::string_view ns) const {
  if (ns.empty()) return {objects_.begin(), objects_.end()};
  std::string first = object_key(ns, ""), last = first;
  last.back() = '/' + 1;  // the character after the separator ends the namespace's range
  return {objects_.lower_bound(first), objects_.lower_bound(last)};
}

std::shared_ptr<const ObjectCache::Snapshot> ObjectCache::snapshot() const {
  auto made = snapshot_.lock();
  if (made) return made;
  auto fresh = std::make_shared<Snapshot>();
  fresh->reserve(objects_.size());
  for (const auto& [key, object] : objects_) fresh->push_back(object);
  snapshot_ = fresh;
  return fresh;
}
std::pair<size_t, size_t> ObjectCache::range(const Snapshot& snapshot, std::string_view ns) {
  if (ns.empty()) return {0, snapshot.size()};
  std::string first = object_key(ns, ""), last = first;
  last.back() = '/' + 1;
  auto before = [](const ObjectRef& object, const std::string& key) { return object->key < key; };
  auto from = std::lower_bound(snapshot.begin(), snapshot.end(), first, before);
  auto until = std::lower_bound(from, snapshot.end(), last, before);
  return {static_cast<size_t>(from - snapshot.begin()), static_cast<size_t>(until - snapshot.begin())};
}

void ObjectCache::load(ObjectRef object) {
  snapshot_.reset();
  objects_[object->key] = std::move(object);
}

void ObjectCache::put(ObjectRef object) {
  SAMPAN_CHECK(object->revision > last_revision_);
  snapshot_.reset();
  ObjectRef& slot = objects_[object->key];
  WatchEvent event{slot ? WatchEvent::Type::kModified : WatchEvent::Type::kAdded, object->revision, object,
                   slot};
  slot = std::move(object);
  publish(std::move(event));
}

void ObjectCache::erase(std::string_view key, int64_t revision) {
  SAMPAN_CHECK(revision > last_revision_);
  auto it = objects_.find(key);
  SAMPAN_CHECK(it != objects_.end());
  snapshot_.reset();
  ObjectRef last = it->second;
  objects_.erase(it);
  // The event shows the object as it was, at the revision of its deletion, as etcd watches do.
  auto gone = std::make_shared<StoredObject>(*last);
  gone->revision = revision;
  std::string old = "\"resourceVersion\":\"" + std::to_string(last->revision) + "\"";
  auto at_its_deletion = [&](std::string text) {
    if (size_t at = text.find(old); at != std::string::npos)
      text.replace(at, old.size(), "\"resourceVersion\":\"" + std::to_string(revision) + "\"");
    return base::http::bytes(std::move(text));
  };
  gone->text = at_its_deletion(*last->text);
  for (auto& [version, text] : gone->converted) text = at_its_deletion(*text);
  publish({WatchEvent::Type::kDeleted, revision, std::move(gone), std::move(last)});
}

void ObjectCache::publish(WatchEvent event) {
  last_revision_ = event.revision;
  history_bytes_ += event.object->text->size();
  history_.push_back(std::move(event));
  while (history_.size() > kMaxHistory || (history_bytes_ > kMaxHistoryBytes && history_.size() > 64)) {
    oldest_revision_ = history_.front().revision;
    history_bytes_ -= history_.front().object->text->size();
    history_.pop_front();
  }
  if (listeners_.empty()) return;
  // A listener may subscribe or unsubscribe others while it runs.
  std::vector<std::shared_ptr<Listener>> listeners;
  listeners.reserve(listeners_.size());
  for (auto& [id, listener] : listeners_) listeners.push_back(listener);
  // history_ may grow and drop it below us. The line is made once, by the first listener that wants it,
  // and goes with the copy: the history is for the few that resume.
  WatchEvent copy = history_.back();
  for (auto& listener : listeners) (*listener)(copy);
}

void ObjectCache::replay(int64_t after, const std::function<void(const WatchEvent&)>& each) const {
  auto it = std::upper_bound(history_.begin(), history_.end(), after,
                             [](int64_t revision, const WatchEvent& e) { return revision < e.revision; });
  for (; it != history_.end(); ++it) each(*it);
}

void ObjectCache::state_at(int64_t revision, std::string_view ns, std::string_view first,
                           const std::function<bool(const ObjectRef&)>& each) const {
  SAMPAN_CHECK(revision >= oldest_revision_);
  auto [it, end] = range(ns);
  if (it != end && std::string_view(it->first) < first) it = objects_.lower_bound(first);
  if (end != objects_.end() && (it == objects_.end() || it->first > end->first)) it = end;
  // What later events changed, as it was before the first of them; null: it was not there.
  std::map<std::string_view, const ObjectRef*> before;
  if (revision < last_revision_) {
    std::string from = object_key(ns, ""), until = from;
    until.back() = '/' + 1;
    auto event = std::upper_bound(history_.begin(), history_.end(), revision,
                                  [](int64_t r, const WatchEvent& e) { return r < e.revision; });
    for (; event != history_.end(); ++event) {
      std::string_view key = event->object->key;
      if (key >= first && (ns.empty() || (key >= from && key < until))) before.emplace(key, &event->previous);
    }
  }
  auto old = before.begin();
  // Both in order of their keys; where both have one, the older state counts.
  while (it != end || old != before.end()) {
    bool has_now = it != end;
    bool takes_old = old != before.end() && (!has_now || old->first <= it->first);
    ObjectRef object = takes_old ? *old->second : it->second;
    if (has_now && (!takes_old || old->first == it->first)) ++it;
    if (takes_old) ++old;
    if (object && !each(object)) return;
  }
}

uint64_t ObjectCache::subscribe(Listener listener) {
  uint64_t id = next_listener_++;
  listeners_.emplace(id, std::make_shared<Listener>(std::move(listener)));
  return id;
}
void ObjectCache::unsubscribe(uint64_t id) { listeners_.erase(id); }

}  // namespace master
