// Aggregator: group versions whose API server stands behind a Service. Passes their requests on in
// the name of who asks, checks that they answer, and keeps what discovery and OpenAPI say of them.
// What is served here stays served here, whatever an APIService says. Decisions: aggregator_plan.h.
// Loop thread only; owned by ApiServices.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/client/client.h"
#include "base/backoff.h"
#include "base/http/client.h"
#include "base/metrics.h"
#include "master/extensions/aggregator_plan.h"
#include "master/registry/object_cache.h"

namespace master {

inline const api::Resource kApiServices{"apiregistration.k8s.io", "v1", "apiservices", "APIService", false};

class Registry;

// How this server shows itself to those behind APIServices, and the authorities of what it trusts, as it
// tells them (ConfigMap kube-system/extension-apiserver-authentication). Empty in tests.
struct FrontProxy {
  base::tls::KeyPair own;
  std::string ca_pem, client_ca_pem;
};

class Aggregator {
 public:
  // Writes statuses through `client`; whose turn it is stands in `queue`, by the APIService's name.
  Aggregator(Registry& registry, const FrontProxy& front_proxy, base::metrics::Registry& metrics,
             api::Client& client, api::WorkQueue& queue);
  ~Aggregator();

  struct Remote {
    RemoteService spec;
    bool available = false;
    base::json::value resources;   // its APIResourceList; null: not seen yet
    std::string openapi_v3_url;    // "/openapi/v3/apis/…?hash=…"; "": it has none
    base::http::Bytes openapi_v2;  // null: not seen yet

   private:
    friend class Aggregator;
    std::string name;
    std::shared_ptr<base::tls::Context> context;
    std::vector<ServiceEndpoint> endpoints;
    std::map<std::string, std::shared_ptr<base::http::Client>> clients;  // by "address:port"
    bool due = true, checking = false;
    base::Backoff backoff{std::chrono::milliseconds(250), std::chrono::seconds(30)};  // of checks that failed
    base::Loop::Handle timer;
    std::string openapi_v2_tag;
    std::chrono::steady_clock::time_point openapi_v2_at = {};
  };
  using RemoteRef = std::shared_ptr<Remote>;
  const std::map<std::string, RemoteRef>& remotes() const { return remotes_; }  // by name
  // Rises when one comes, goes, or says something else.
  uint64_t generation() const { return generation_; }

  // An APIService's state: it has a service (and is not served here), or it hasn't or is gone.
  void follow(const std::string& name, const base::json::value& api_service, RemoteService spec);
  void drop(const std::string& name);

  // False: the path belongs to none of them. The request is authorized.
  bool serve(const RequestPtr& request);
  // Calls `then` when the OpenAPI v2 documents are there, or can't be had.
  void with_openapi_v2(std::function<void()> then);

 private:
  void publish();
  void wake(const std::string& name);
  void wake_users_of(const std::string& ns, std::string_view service);
  // aggregator_check.cc
  void check(const RemoteRef& remote);
  void ask(const RemoteRef& remote, size_t attempt);
  void conclude(const RemoteRef& remote, const Availability& now_is);
  void fetch_openapi_v3(const RemoteRef& remote);
  void get(const RemoteRef& remote, const ServiceEndpoint& from, std::string target, std::string tag,
           base::http::Client::Done done);

  base::Result<std::shared_ptr<base::http::Client>> client_for(Remote& remote, const ServiceEndpoint& to);
  RemoteRef target_of(const RequestInfo& request) const;

  Registry& registry_;
  const FrontProxy& front_proxy_;
  base::metrics::Registry& metrics_;
  api::Client& client_;
  api::WorkQueue& queue_;
  std::map<std::string, RemoteRef> remotes_;
  uint64_t generation_ = 1, next_ = 1;
  uint64_t services_listener_ = 0, slices_listener_ = 0;
  struct Call {
    std::shared_ptr<base::http::Client> client;
    std::unique_ptr<base::http::Client::Call> call;
    base::Loop::Handle deadline;
  };
  std::shared_ptr<std::map<uint64_t, Call>> calls_;  // emptied at the end: loop tasks may outlive us
};

}  // namespace master
