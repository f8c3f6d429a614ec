// ApiServer: the REST API over the registry. Who asks is named, may ask, and is sent on to a handler
// (handlers.h) by path and verb. One loop thread; every request runs to its reply or to its one wait (the
// store, a node) without blocking.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "api/client/client.h"
#include "base/http/server.h"
#include "master/auth/service_account_tokens.h"
#include "master/extensions/custom_resources.h"
#include "master/registry/registry.h"
#include "master/server/front.h"
#include "master/server/health.h"

namespace master {

struct ServerOptions {
  std::string service_cidr = "10.96.0.0/16", cluster_cidr = "10.244.0.0/16";
  std::string cluster_dns = "10.96.0.10";
  std::string advertise_address;
  int advertise_port = 6443;
  std::shared_ptr<base::tls::Context> node_client;  // shown to kubelets; null in tests
  TokenKeys tokens;                                 // of service accounts
  std::map<std::string, User> static_tokens;
  // How this server shows itself to those behind APIServices, and the authorities of what it trusts,
  // as it tells them (ConfigMap kube-system/extension-apiserver-authentication). Empty in tests.
  base::tls::KeyPair front_proxy;
  std::string front_proxy_ca_pem, client_ca_pem;
  bool deny_external_ips = false;  // in Services: the plugin DenyServiceExternalIPs
  // The store has lost its place: the process shall start anew. May be empty.
  std::function<void()> store_lost;
  bool admits_accounts = false;  // ServiceAccount admission: needs the controllers that make accounts
};

class Aggregator;
class ApiServices;
class Authenticator;
class Authorizer;
class Discovery;
class NodeClients;
class RbacBootstrap;
class Watches;

class ApiServer {
 public:
  ApiServer(base::Loop& loop, std::unique_ptr<Store> store, ServerOptions options);
  ~ApiServer();
  // Loads everything from the store, makes the default namespaces and the kubernetes Service.
  base::Status start();
  void handle(std::shared_ptr<base::http::Exchange> exchange);
  // The same server for code in this process: no TLS, no socket, same rules.
  std::shared_ptr<api::Transport> local_transport(User user);
  // A request that has a user. `is_local`: from this process; it waits for nobody's seat.
  void dispatch(RequestPtr request, bool is_local);

  base::Loop& loop() const { return loop_; }
  const ServerOptions& options() const { return options_; }
  Registry& registry() { return registry_; }
  Front& front() { return front_; }
  NodeClients& nodes() { return *nodes_; }
  Aggregator& aggregator();
  const ServiceAccountTokens& tokens() const { return *tokens_; }
  Authenticator& authenticator() const { return *authenticator_; }
  const Authorizer& authorizer() const { return *authorizer_; }

  // Code that answers for a subresource, or (subresource "") for a resource that is never stored.
  using Handler = std::function<void(RequestPtr)>;
  void handle_with(std::string_view group, std::string_view plural, std::string_view subresource,
                   Handler handler);
  void set_ready() { ready_ = true; }
  // Once, when what every cluster has (namespaces, default roles) is written.
  void when_bootstrapped(std::function<void()> then);
  void set_stopping() { stopping_ = true; }  // /readyz fails from now on

 private:
  void read_target(RequestInfo& request);  // its path and query
  void serve(RequestPtr request);          // its head
  void serve_whole(RequestPtr request);    // whoever asks may ask for it, and the body is there
  bool serve_plain(RequestPtr request);
  void serve_resource(RequestPtr request);
  void follow_flow_control();
  void add_metrics_and_checks();
  // bootstrap.cc
  void bootstrap();
  // What a cluster has from its start; again, where the store failed.
  void write_own(std::string method, std::string target, const base::json::value& body);
  void bootstrapped();
  void load_component_statuses();

  base::Loop& loop_;
  ServerOptions options_;
  Front front_;
  Registry registry_;
  std::unique_ptr<Watches> watches_;
  std::unique_ptr<NodeClients> nodes_;
  std::unique_ptr<ServiceAccountTokens> tokens_;
  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<Authorizer> authorizer_;
  std::unique_ptr<RbacBootstrap> rbac_bootstrap_;
  std::unique_ptr<CustomResources> custom_resources_;
  std::unique_ptr<ApiServices> api_services_;
  std::unique_ptr<Discovery> discovery_;
  std::map<std::string, Handler, std::less<>> handlers_;  // "apps/deployments/scale"
  std::vector<HealthCheck> checks_;
  std::vector<base::Loop::Handle> own_writes_;  // to be tried again
  bool ready_ = false, stopping_ = false, bootstrapped_ = false;
  std::function<void()> when_bootstrapped_;
};

}  // namespace master
