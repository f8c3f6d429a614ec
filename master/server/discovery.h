// Discovery: which groups, versions and resources there are, and their OpenAPI documents. Loop thread only;
// documents are made beside it.
#pragma once

#include <memory>

#include "master/registry/request.h"

namespace master {

class ApiServer;

class Discovery {
 public:
  explicit Discovery(ApiServer& server);
  ~Discovery();
  bool serve(const RequestPtr& request);  // false: the path is another

 private:
  class Documents;
  void serve_openapi_v2(const RequestPtr& request);

  ApiServer& server_;
  std::unique_ptr<Documents> documents_;
};

}  // namespace master
