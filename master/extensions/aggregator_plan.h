// What an APIService with spec.service asks for, what its status says, and how requests and
// discovery documents look on their way to and from the server behind it. Pure.
// Source: kube-aggregator; kubernetes.io, "Kubernetes API Aggregation Layer".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/http/http.h"
#include "base/json.h"
#include "master/admission/service_endpoint.h"
#include "master/registry/request.h"

namespace master {

struct RemoteService {
  std::string group, version, ns, service, ca_pem;
  int port = 443;
  bool insecure = false;
  int64_t group_priority = 0, version_priority = 0;
  bool operator==(const RemoteService&) const = default;
  std::string group_version() const { return group + "/" + version; }
  std::string server_name() const { return service + "." + ns + ".svc"; }
};
// Null: served by this server.
std::optional<RemoteService> read_remote(const base::json::value& api_service);

struct Availability {
  bool available = false;
  std::string reason, message;
};
bool is_available(const base::json::value& api_service);
// What is known without asking the server; nullopt when it must be asked.
std::optional<Availability> unreachable(const RemoteService& remote, const ServiceLookup& found);
// The object with the condition in its status; null when it says so already.
base::json::value with_availability(const base::json::value& api_service, const Availability& now_is,
                                    base::Time now);

// The headers that go on: without what only a front proxy may say, with who asks.
void name_user(base::http::Headers& headers, const User& user, std::string_view client_address);
// The resources of an APIResourceList as aggregated discovery (v2) shows them.
base::json::array aggregated_resources(const RemoteService& remote, const base::json::value& resource_list);
// Adds the paths and definitions of one group version of a remote OpenAPI v2 document; what is there
// already stays.
void merge_openapi_v2(const RemoteService& remote, const base::json::value& from, base::json::value& into);

// The ConfigMap kube-system/extension-apiserver-authentication: whom such a server shall trust.
base::json::object authentication_config_map(const std::string& client_ca_pem,
                                             const std::string& front_proxy_ca_pem);

}  // namespace master
