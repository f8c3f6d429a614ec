// ResourceQuota: what a namespace may hold. Usage is counted in memory from the caches' events, with
// what is being written reserved, so that two writes at once cannot take the same room; status.used
// follows. Loop thread only.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "api/client/client.h"
#include "master/admission/quota_plan.h"
#include "master/registry/admission.h"
#include "master/registry/object_cache.h"

namespace master {

class Registry;

class ResourceQuota final : public AdmissionPlugin {
 public:
  explicit ResourceQuota(Registry& registry);
  ~ResourceQuota() override;
  std::string_view name() const override { return "ResourceQuota"; }
  base::json::value validate(AdmissionAttributes& attributes) override;

 private:
  struct Account {
    Quota quota;
    Usage used, reserved;
    // The revisions up to which each kind ("group/plural") is in `used`: the event that made the account
    // reaches the listeners of its own kind after that.
    std::map<std::string, int64_t> counted_to;
  };
  struct Counted {
    ResourcePtr resource;
    std::shared_ptr<ObjectCache> objects;
    uint64_t listener = 0;
  };
  void quota_changed(const WatchEvent& event);
  void open(const std::string& key, const base::json::value& object);
  void follow(const std::string& group, const std::string& plural);
  void follow_new(const ResourceInfo& resource, const std::string& prefix);
  void count(const ResourceInfo& resource, const WatchEvent& event);
  void publish(const std::string& key);

  Registry& registry_;
  std::shared_ptr<api::Transport> transport_;
  api::Client client_;
  api::WorkQueue queue_;
  std::shared_ptr<ObjectCache> quotas_;
  uint64_t listener_ = 0;
  std::map<std::string, std::shared_ptr<Account>, std::less<>> accounts_;  // "namespace/name"
  std::map<std::string, Counted> counted_;                                 // "group/plural"
};

}  // namespace master
