// The graph of who owns whom, from the metadata of every object the informers show, and what to do
// about one object: delete it, strip owners, let a finalizer go. Pure: no I/O, no clock.
// An owner that is not in the graph is absent only after the caller has asked the API server.
#pragma once

#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "api/client/client.h"
#include "master/controllers/objects.h"

namespace master::controllers {

constexpr const char* kForeground = "foregroundDeletion";
constexpr const char* kOrphan = "orphan";

struct GraphNode {
  const api::Resource* resource = nullptr;
  std::string ns, name, uid;
  uint64_t revision = 0;
  std::vector<OwnerRef> owners;
  bool deleting = false, foreground = false, orphan = false;  // the finalizers of these names
};

struct GarbageAction {
  enum class Kind { kNothing, kAskOwners, kDelete, kStripOwners, kDropFinalizer, kOrphanDependents };
  Kind kind = Kind::kNothing;
  std::vector<OwnerRef> ask;            // kAskOwners: not known whether they exist
  std::string policy;                   // kDelete
  std::vector<std::string> strip;       // kStripOwners: uids of owners
  std::string finalizer;                // kDropFinalizer
  std::vector<std::string> dependents;  // kOrphanDependents, or those to look at next: uids
  std::string text() const;
};

class GarbageGraph {
 public:
  // Returns uids worth a look because of this change.
  std::vector<std::string> set(GraphNode node);
  std::vector<std::string> remove(const api::Resource& resource, const std::string& key);
  // The kind is no longer shown: nothing is known of its objects any more.
  void forget(const api::Resource& resource);
  const GraphNode* find(const std::string& uid) const;
  std::vector<std::string> dependents(const std::string& uid) const;

  // The API server said that this owner does not exist (or exists with another uid).
  void mark_absent(const std::string& uid);
  // Exists though we do not watch its kind.
  void mark_present(const std::string& uid) { present_.insert(uid); }
  // Their kinds may be watched by now: the dependents of those marked so are worth another look.
  std::vector<std::string> forget_present();
  GarbageAction plan(const std::string& uid) const;
  size_t size() const { return nodes_.size(); }

 private:
  // Those whose going a foreground deletion of `uid` has to wait for.
  std::vector<std::string> blocking(const std::string& uid) const;
  bool waits_for_others(const std::string& uid) const;
  std::unordered_map<std::string, GraphNode> nodes_;                             // by uid
  std::unordered_map<std::string, std::string> uid_by_key_;                      // "plural/ns/name"
  std::unordered_map<std::string, std::unordered_set<std::string>> dependents_;  // owner uid -> uids
  std::unordered_set<std::string> absent_, present_;
};

}  // namespace master::controllers
