// Claims, volumes and classes as the scheduler sees them, how many placed Pods use a claim, and how many
// volumes of a driver a node takes. Plain values.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "master/controllers/volumes.h"

namespace master::scheduler {

namespace json = base::json;

class Volumes {
 public:
  using ClaimPtr = std::shared_ptr<const controllers::Claim>;
  using VolumePtr = std::shared_ptr<const controllers::Volume>;
  using ClassPtr = std::shared_ptr<const controllers::StorageClass>;

  // By "namespace/name" or name; null takes it away.
  void set_claim(const std::string& key, ClaimPtr claim) { set(claims_, key, std::move(claim)); }
  void set_volume(const std::string& name, VolumePtr volume) { set(volumes_, name, std::move(volume)); }
  void set_class(const std::string& name, ClassPtr cls) { set(classes_, name, std::move(cls)); }
  void count_user(const std::string& claim, int sign) {
    if ((users_[claim] += sign) == 0) users_.erase(claim);
  }

  // By driver, as the node's CSINode says; a driver without a number takes any.
  using Limits = std::map<std::string, int64_t>;
  void set_limits(const std::string& node, Limits limits) {
    if (limits.empty()) limits_.erase(node);
    else limits_[node] = std::move(limits);
  }
  const Limits* limits(const std::string& node) const {
    auto at = limits_.find(node);
    return at == limits_.end() ? nullptr : &at->second;
  }
  bool has_limits() const { return !limits_.empty(); }

  ClaimPtr claim(const std::string& key) const { return get(claims_, key); }
  VolumePtr volume(const std::string& name) const { return get(volumes_, name); }
  ClassPtr storage_class(const std::string& name) const { return get(classes_, name); }
  const std::map<std::string, VolumePtr>& all() const { return volumes_; }
  int users(const std::string& claim) const {
    auto at = users_.find(claim);
    return at == users_.end() ? 0 : at->second;
  }

 private:
  template <typename Map, typename Ptr>
  static void set(Map& map, const std::string& key, Ptr value) {
    if (value) map[key] = std::move(value);
    else map.erase(key);
  }
  template <typename Map>
  static typename Map::mapped_type get(const Map& map, const std::string& key) {
    auto at = map.find(key);
    return at == map.end() ? nullptr : at->second;
  }
  std::map<std::string, ClaimPtr> claims_;
  std::map<std::string, VolumePtr> volumes_;
  std::map<std::string, ClassPtr> classes_;
  std::unordered_map<std::string, int> users_;
  std::map<std::string, Limits> limits_;  // by node
};

Volumes::Limits read_limits(const json::value& csi_node);

inline bool is_bound(const controllers::Claim& claim) {
  return !claim.volume.empty() && claim.annotations.count(controllers::kBindCompleted);
}
inline bool waits_for_consumer(const controllers::Claim& claim, const Volumes& volumes) {
  auto cls = volumes.storage_class(claim.storage_class.value_or(""));
  return claim.volume.empty() && cls && cls->waits_for_consumer;
}
inline bool is_for_one_pod(const Volumes::ClaimPtr& claim) {
  return claim && claim->access_modes.size() == 1 && claim->access_modes[0] == "ReadWriteOncePod";
}

}  // namespace master::scheduler
