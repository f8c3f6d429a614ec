// The ConfigMaps and Secrets that Pods of this node refer to, each watched by name while somebody
// does: a node sees no others. Values are kept as bytes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "api/client/client.h"
#include "kubelet/volumes/plan.h"

namespace kubelet {

class ObjectCache {
 public:
  // `changed` tells which Pod (uid) may look again.
  ObjectCache(base::Loop& loop, api::Transport& transport,
              std::function<void(const std::string& uid)> changed)
      : loop_(loop), transport_(transport), changed_(std::move(changed)) {}

  // What the Pod refers to from now on; nothing: it is gone.
  void refer(const std::string& uid, const std::string& ns, const std::vector<Reference>& references);
  // All of them are known to exist or to be absent.
  bool loaded(const std::string& ns, const std::vector<Reference>& references) const;
  const std::map<std::string, std::string>* data(const std::string& ns, const Reference& reference) const;
  struct SecretSeen {
    std::string uid, type;
    const std::map<std::string, std::string>* data;
  };
  std::optional<SecretSeen> secret(const std::string& ns,
                                   const std::string& name) const;  // absent or not known: nothing

 private:
  struct Entry {
    std::unique_ptr<api::Informer> informer;
    std::set<std::string> users;
    bool synced = false, present = false;
    std::string uid, type;
    std::map<std::string, std::string> data;
  };
  using Key = std::pair<std::string, Reference>;
  void tell(const Key& key);

  base::Loop& loop_;
  api::Transport& transport_;
  std::function<void(const std::string& uid)> changed_;
  std::map<Key, Entry> entries_;
  std::map<std::string, std::set<Key>> by_pod_;
};

}  // namespace kubelet
