// ApiServices: one APIService for each group version that is served here, as kube-aggregator lists
// them. Those of custom resources come and go with their definitions. Loop thread only.
#pragma once

#include <memory>

#include "api/client/client.h"

namespace master {

class ApiServer;

class ApiServices {
 public:
  explicit ApiServices(ApiServer& server);
  ~ApiServices();

 private:
  void sync();
  ApiServer& server_;
  std::shared_ptr<api::Transport> transport_;
  api::Client client_;
  api::WorkQueue queue_;
};
// What the APIService of a group version says; `custom`: of custom resources.
base::json::object api_service_of(std::string_view group, std::string_view version, bool custom);

}  // namespace master
