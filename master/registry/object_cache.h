// ObjectCache: every object of one resource as the bytes that clients get, made once per change,
// and the bounded history that watches resume from. Reads never touch the store. Loop thread only.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/http/http.h"
#include "master/registry/resource.h"
#include "master/store/record.h"

namespace master {

using base::http::Bytes;

// One state of one object. Immutable and shared by the cache, the history and the answers that
// are being written.
struct StoredObject {
  std::string key;  // "default/web", "/node-1" for cluster-scoped
  int64_t revision = 0;
  Bytes text;  // JSON with apiVersion, kind, metadata first and resourceVersion set
  std::map<std::string, std::string> labels;
  std::vector<std::string> fields;  // values of ResourceInfo::selector_names
  // The same in the versions a conversion webhook was asked for, by apiVersion; each made once.
  mutable std::vector<std::pair<std::string, Bytes>> converted = {};
  // The cells of its row in tables, ages left open (api/table/table.h); by the first who asks.
  mutable std::string cells = {};
  mutable Bytes protobuf = {};  // its message, by the first who asks
  std::string_view ns() const { return std::string_view(key).substr(0, key.find('/')); }
  std::string_view name() const { return std::string_view(key).substr(key.find('/') + 1); }
};
using ObjectRef = std::shared_ptr<const StoredObject>;

// An object's record in the store.
std::string record_key(const ResourceInfo& resource, std::string_view key);
// The object of a record, where it is one of `resource` in types and kind; else why it can't be served.
base::Result<base::json::value> read_stored(const ResourceInfo& resource, std::string_view key,
                                            std::string_view stored);
// The object of a text out of a cache, all of which passed read_stored() or were made from objects. Should
// one be damaged after all, an object of no name, which no caller stumbles over.
base::json::value parse_object(std::string_view text, base::json::storage_ptr storage = {});
// What selectors look at, when the object is at hand and need not be parsed again.
struct SelectorValues {
  std::map<std::string, std::string> labels;
  std::vector<std::string> fields;
};
SelectorValues selector_values(const ResourceInfo& resource, const base::json::value& object);
ObjectRef make_object(std::string key, std::string_view stored, int64_t revision, SelectorValues values);
ObjectRef make_object(const ResourceInfo& resource, std::string key, std::string_view stored,
                      int64_t revision);

class WatchEvent {
 public:
  enum class Type : uint8_t { kAdded, kModified, kDeleted };
  Type type;
  int64_t revision;
  ObjectRef object;    // for kDeleted: the last state, with the revision of the deletion
  ObjectRef previous;  // null for kAdded
  WatchEvent(Type t, int64_t r, ObjectRef o, ObjectRef p)
      : type(t), revision(r), object(std::move(o)), previous(std::move(p)) {}
  // The line as most watchers get it, encoded by the first that asks.
  const Bytes& line() const;

 private:
  mutable Bytes line_;
};
Bytes event_line(std::string_view type, std::string_view object_json);

class ObjectCache {
 public:
  ObjectRef find(std::string_view key) const;
  using Map = std::map<std::string, ObjectRef, std::less<>>;
  const Map& objects() const { return objects_; }
  // [first, last) of one namespace, or of everything when `ns` is empty.
  std::pair<Map::const_iterator, Map::const_iterator> range(std::string_view ns) const;

  // The state now, in order of the keys; shared by all who ask between two changes.
  using Snapshot = std::vector<ObjectRef>;
  std::shared_ptr<const Snapshot> snapshot() const;
  // The part of one that is a namespace's, as indices; everything when `ns` is empty.
  static std::pair<size_t, size_t> range(const Snapshot& snapshot, std::string_view ns);

  void load(ObjectRef object);  // at start: no event
  void put(ObjectRef object);   // revisions must rise
  void erase(std::string_view key, int64_t revision);

  // Revision of the last change of this resource.
  int64_t last_revision() const { return last_revision_; }
  // Watches may start after this one; older is 410 Gone.
  int64_t oldest_revision() const { return oldest_revision_; }
  void set_loaded(int64_t revision) { oldest_revision_ = last_revision_ = revision; }
  // Every object as it was at `revision`, which must not be older than oldest_revision(), in order of
  // the keys from `first` on ("": from the start), of one namespace or all; until `each` returns false.
  void state_at(int64_t revision, std::string_view ns, std::string_view first,
                const std::function<bool(const ObjectRef&)>& each) const;
  // Events with a revision greater than `after`, oldest first.
  void replay(int64_t after, const std::function<void(const WatchEvent&)>& each) const;

  using Listener = std::function<void(const WatchEvent&)>;
  uint64_t subscribe(Listener listener);
  void unsubscribe(uint64_t id);
  size_t subscribers() const { return listeners_.size(); }

 private:
  void publish(WatchEvent event);

  Map objects_;
  mutable std::weak_ptr<const Snapshot> snapshot_;
  std::deque<WatchEvent> history_;
  size_t history_bytes_ = 0;
  int64_t last_revision_ = 0, oldest_revision_ = 0;
  std::map<uint64_t, std::shared_ptr<Listener>> listeners_;
  uint64_t next_listener_ = 1;
};

}  // namespace master
