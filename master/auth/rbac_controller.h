// RbacController: the default roles and bindings are there, and aggregated ClusterRoles hold the
// rules of those they select. Level-triggered: checked at start and after every change of a
// ClusterRole, written only where it differs. Loop thread only.
#pragma once

#include <functional>
#include <memory>

#include "api/client/client.h"
#include "master/registry/registry.h"

namespace master {

class RbacController {
 public:
  explicit RbacController(Registry& registry);
  ~RbacController();
  // Needs the namespaces kube-system and kube-public. `done` runs when every default was written,
  // or could not be (which is logged).
  void start(std::function<void()> done);

 private:
  void ensure(const base::json::value& wanted);
  void finished(const base::json::value& wanted, const base::Status& status);
  void aggregate();

  Registry& registry_;
  api::Client defaults_;     // as the API server itself
  api::Client aggregation_;  // as the controller's own account, which may escalate
  ObjectCache& cluster_roles_;
  uint64_t listener_ = 0;
  bool aggregation_due_ = false;
  size_t pending_ = 0;
  std::function<void()> done_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace master
