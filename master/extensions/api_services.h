// ApiServices: one APIService for each group version that is served here, as kube-aggregator lists
// them (those of custom resources come and go with their definitions), and those of others, which
// the aggregator follows. Decisions: api_service_plan.h. Loop thread only.
#pragma once

#include <memory>

#include "api/client/client.h"
#include "master/extensions/aggregator.h"
#include "master/extensions/api_service_plan.h"

namespace master {

class Registry;

class ApiServices {
 public:
  ApiServices(Registry& registry, FrontProxy front_proxy, base::metrics::Registry& metrics);
  ~ApiServices();
  Aggregator& aggregator() { return aggregator_; }

 private:
  void sync();
  void reconcile(const std::string& name);
  ServedVersion observe(std::string_view group, std::string_view version) const;
  void mark_local(const std::string& name, const base::json::value& object);
  void publish_authentication();
  void conclude(const std::string& name, const base::Result<base::json::value>& result);
  Registry& registry_;
  const FrontProxy front_proxy_;
  std::shared_ptr<api::Transport> transport_;
  api::Client client_;
  api::WorkQueue queue_;
  Aggregator aggregator_;
  uint64_t services_listener_ = 0, maps_listener_ = 0;
};

}  // namespace master
