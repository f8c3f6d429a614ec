// Store<T>: the projections of one kind, fed by one informer and shared by all controllers.
// Knows the newest revision it has seen, so that a controller can tell whether its own last
// write has come back. Never holds whole objects; single-threaded.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/client/client.h"
#include "master/controllers/objects.h"

namespace master::controllers {

class StoreBase {
 public:
  virtual ~StoreBase() = default;
  virtual void apply(api::Informer::Change change, const json::value& object) = 0;
  uint64_t revision() const { return revision_; }
  bool synced = false;

 protected:
  uint64_t revision_ = 0;
};

// T has a member `Meta meta`.
template <typename T>
class Store : public StoreBase {
 public:
  using Ptr = std::shared_ptr<const T>;
  using Reader = std::function<Ptr(const json::value&)>;
  using Terms = std::function<std::vector<std::string>(const T&)>;
  // `terms` names the buckets under which an object is found again by find().
  explicit Store(Reader reader, Terms terms = {}) : reader_(std::move(reader)), terms_(std::move(terms)) {}

  // Either may be null: added, deleted; both: changed (or seen again).
  void on_change(std::function<void(const Ptr& before, const Ptr& after)> handler) {
    handlers_.push_back(std::move(handler));
  }
  Ptr get(const std::string& key) const {
    auto at = objects_.find(key);
    return at == objects_.end() ? nullptr : at->second;
  }
  const std::map<std::string, Ptr>& all() const { return objects_; }
  std::vector<Ptr> in_namespace(std::string_view ns) const {
    std::vector<Ptr> out;
    const std::string prefix = key_of(ns, "");
    for (auto at = objects_.lower_bound(prefix); at != objects_.end() && at->first.starts_with(prefix); ++at)
      out.push_back(at->second);
    return out;
  }
  std::vector<Ptr> find(const std::string& term) const {
    std::vector<Ptr> out;
    if (auto at = index_.find(term); at != index_.end())
      for (const std::string& key : at->second) out.push_back(objects_.at(key));
    return out;
  }

  void apply(api::Informer::Change change, const json::value& object) override {
    revision_ = std::max(revision_, revision_of(object));
    if (change == api::Informer::Change::kDeleted) {
      Meta meta = read_meta(object);
      put(meta.key(), nullptr);
      return;
    }
    Ptr after = reader_(object);
    std::string key = after->meta.key();
    // Deleted and made anew while we were not watching: two objects, not a change of one.
    if (Ptr before = get(key); before && before->meta.uid != after->meta.uid) put(key, nullptr);
    put(key, std::move(after));
  }

 private:
  void put(const std::string& key, Ptr after) {
    auto at = objects_.find(key);
    Ptr before = at == objects_.end() ? nullptr : at->second;
    if (!before && !after) return;
    if (before && terms_)
      for (const std::string& term : terms_(*before)) {
        auto bucket = index_.find(term);
        if (bucket == index_.end()) continue;
        bucket->second.erase(key);
        if (bucket->second.empty()) index_.erase(bucket);
      }
    if (after) {
      if (terms_)
        for (const std::string& term : terms_(*after)) index_[term].insert(key);
      objects_[key] = after;
    } else {
      objects_.erase(at);
    }
    for (const auto& handler : handlers_) handler(before, after);
  }

  Reader reader_;
  Terms terms_;
  std::map<std::string, Ptr> objects_;
  std::unordered_map<std::string, std::set<std::string>> index_;
  std::vector<std::function<void(const Ptr&, const Ptr&)>> handlers_;
};

}  // namespace master::controllers
