// RbacBootstrap: the default roles and bindings are there at each start of the server, written only where
// they differ. Loop thread only.
#pragma once

#include <functional>

#include "api/client/client.h"
#include "master/registry/registry.h"

namespace master {

class RbacBootstrap {
 public:
  explicit RbacBootstrap(Registry& registry);
  // Needs the namespaces kube-system and kube-public. `done` runs when every default was written,
  // or could not be: that is logged and tried again later.
  void start(std::function<void()> done);

 private:
  void ensure(const base::json::value& wanted);
  void finished(const base::json::value& wanted, const base::Status& status);

  Registry& registry_;
  api::Client client_;  // as the API server itself
  size_t pending_ = 0;
  std::vector<base::Loop::Handle> again_;
  std::function<void()> done_;
};

}  // namespace master
