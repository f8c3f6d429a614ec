// What becomes of an APIService, given what is served here: pure. Those of group versions served here are
// made, and are always available; those of others are followed by the aggregator.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"

namespace master {

// What is served here under the group version of a name.
struct ServedVersion {
  bool served = false, custom = false;
  bool yields = false;  // to another API server that serves it
};
// The stored object.
struct ApiServiceState {
  bool exists = false;
  bool automanaged = false;  // of a custom kind: it goes with it
  bool remote = false;       // it names a Service
};
ApiServiceState read_api_service(const base::json::value& object);  // null: there is none

enum class ApiServiceStep : uint8_t {
  kFollow,  // the aggregator asks its Service
  kLeave,   // nothing is there, and nothing has to be
  kCreate,
  kRemove,
  kMarkLocal,  // Available, for it is served here
};
ApiServiceStep plan_api_service(const ServedVersion& served, const ApiServiceState& state);
std::string_view text_of(ApiServiceStep step);

// What the APIService of a group version says; `custom`: of custom resources.
base::json::object api_service_of(std::string_view group, std::string_view version, bool custom);
int64_t group_priority(std::string_view group);
int64_t version_priority(std::string_view group, std::string_view version, bool custom);

}  // namespace master
