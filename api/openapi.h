// OpenAPI documents of what is served, made from the tables: v3 per group version, v2 for all.
// kubectl reads them for explain, and to see that the server validates fields. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/schema.h"

namespace api {

struct ServedResource {
  std::string plural;       // "pods"
  std::string subresource;  // "", "status", "scale", "log"
  std::string kind;         // of the body: "Pod", "Scale"
  std::string kind_gvk;     // "v1/Pod", "autoscaling/v1/Scale"
  bool namespaced = true;
  std::vector<std::string> verbs;  // get list watch create update patch delete deletecollection
  const Type* type = nullptr;      // null: found by kind_gvk
};
struct ServedGroupVersion {
  std::string group, version;  // "", "v1"
  std::vector<ServedResource> resources;
  std::string path() const;  // "api/v1", "apis/apps/v1"
};

// What is served beside resources: a list of groups, the version.
struct ServedPage {
  std::string document;  // of OpenAPI v3: "apis/apps"
  std::string path;      // "/apis/apps/"
  std::string description, id;
  std::string package, type;  // of the answer; without a package: "object", or "" for text
};

// {"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=…"}}}; a hash per document.
json::value openapi_v3_index(const std::vector<std::pair<std::string, std::string>>& path_and_hash);
json::value openapi_v3(const ServedGroupVersion& served);
json::value openapi_v3(const ServedPage& page);
json::value openapi_v2(const std::vector<ServedGroupVersion>& served, std::string_view version,
                       const std::vector<ServedPage>& pages = {});

}  // namespace api
