// ApiServer: the REST API over the object caches and the store. One loop thread; every request
// runs to its reply or to its one wait (the store, a node) without blocking.
// Files: server.cc routes and filters; read.cc, watch.cc, write.cc, apply.cc, remove.cc the verbs;
// scale.cc, pod_subresources.cc, reviews.cc, token_request.cc, discovery.cc, connect.cc,
// node_proxy.cc, proxy.cc, local_transport.cc.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "api/client/client.h"
#include "base/http_client.h"
#include "base/http_server.h"
#include "master/admission.h"
#include "master/allocator.h"
#include "master/custom_resources.h"
#include "master/event_keeper.h"
#include "master/front.h"
#include "master/health.h"
#include "master/object_cache.h"
#include "master/request.h"
#include "master/service_account_tokens.h"
#include "master/store.h"

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
  bool admits_accounts = false;    // ServiceAccount admission: needs the controllers that make accounts
};

class Aggregator;
class ApiServices;
class Authenticator;
class Authorizer;
class RbacController;

class ApiServer {
 public:
  ApiServer(base::Loop& loop, std::unique_ptr<Store> store, ServerOptions options);
  ~ApiServer();
  // Loads everything from the store, makes the default namespaces and the kubernetes Service.
  base::Status start();
  void handle(std::shared_ptr<base::http::Exchange> exchange);
  // The same server for code in this process: no TLS, no socket, same rules.
  std::shared_ptr<api::Transport> local_transport(User user);
  ResourceTable& resources() { return resources_; }
  static ObjectCache& cache(const ResourceInfo& resource) { return *resource.objects; }
  // The stored objects of a built-in resource.
  ObjectCache& cache(std::string_view group, std::string_view plural) {
    return *resources_.find_stored(group, plural)->objects;
  }
  AdmissionChain& admission() { return admission_; }
  const ServiceAccountTokens& tokens() const { return *tokens_; }
  const Authorizer& authorizer() const { return *authorizer_; }
  // Code that answers for a subresource, or (subresource "") for a resource that is never stored.
  using Handler = std::function<void(RequestPtr)>;
  void handle_with(std::string_view group, std::string_view plural, std::string_view subresource,
                   Handler handler);
  base::Loop& loop() { return loop_; }
  Front& front() { return front_; }
  const ServerOptions& options() const { return options_; }
  Aggregator& aggregator();
  int64_t durable_revision() const { return durable_revision_; }
  // Ends the watches of a resource that goes or changes its form: their clients come back.
  void end_watches(const ObjectCache& objects);
  void set_ready() { ready_ = true; }
  // Once, when what every cluster has (namespaces, default roles) is written.
  void when_bootstrapped(std::function<void()> then);
  void set_stopping() { stopping_ = true; }  // /readyz fails from now on

 private:
  friend class LocalTransport;
  struct Watcher;
  using json_value = base::json::value;
  // What a write did, or the Status to answer with.
  struct Outcome {
    ObjectRef object;
    json_value status;  // null on success
    bool deleted = false;
  };
  using Written = std::function<void(Outcome)>;

  // server.cc
  void read_target(RequestInfo& request) const;  // its path and query
  void dispatch(RequestPtr request, bool is_local);
  void serve(RequestPtr request);        // its head
  void serve_whole(RequestPtr request);  // whoever asks may ask for it, and the body is there
  bool serve_plain(RequestPtr request);
  void follow_flow_control();
  void serve_resource(RequestPtr request);
  void add_metrics_and_checks();
  // Writes `object` (null: deletes) where `current` is what it replaces, null to create.
  void commit(ResourceInfo& resource, std::string key, const json_value& object, ObjectRef current,
              std::function<void(base::Result<ObjectRef>)> done);

  // read.cc
  void get(RequestPtr request);
  void list(RequestPtr request);
  void watch(RequestPtr request);
  void send_bookmarks();
  int64_t current_revision(const ResourceInfo& resource) const;
  json_value list_revision(const RequestInfo& request, const struct ListOptions& options, int64_t* out) const;
  struct ListText;
  void reply_list(RequestPtr request, base::json::object metadata, std::vector<ObjectRef> matched);
  void feed_list(ListText list, const base::json::object& metadata);
  struct ListMessages;
  void feed_messages(ListMessages list);
  using Then = std::function<void()>;
  // Calls `then` when all of them can be shown in the request's version: at once but where a webhook
  // has to convert some. When it can't, the request is answered.
  static void when_shown(const RequestPtr& request, const std::vector<ObjectRef>& objects, Then then);
  // What the request's namespace and selectors select now; null or the Status that refuses.
  json_value select(const RequestInfo& request, std::vector<ObjectRef>* out) const;
  // An object as the request wants it: its version and its rendering.
  Bytes render(const RequestInfo& request, const StoredObject& object, bool with_columns) const;

  // write.cc
  using Mutate = std::function<json_value(const json_value& current, json_value* updated)>;
  void create(RequestPtr request);
  void update(RequestPtr request);
  void patch(RequestPtr request);
  // Decodes and checks the body; false when it has been answered.
  bool decode_body(RequestInfo& request, const api::Type& type, std::string_view kind, json_value* out);
  json_value check_may_create(const RequestInfo& request) const;
  // `object` is in its stored form.
  void create_object(RequestPtr request, json_value object, Written done, int tries = 0);
  void commit_create(AttributesPtr attributes, Written done);
  void hold_addresses(AdmissionAttributes& attributes);
  // Runs `mutate` on the current state (stored form) until the write meets no other one; mutate
  // returns null or the Status that refuses.
  void update_object(RequestPtr request, std::string subresource, Mutate mutate, Written done, int tries = 0);
  void update_current(RequestPtr request, std::string subresource, ObjectRef current, Mutate mutate,
                      Written done, int tries);
  // Writes what was admitted, in its stored form; a conversion that fails is an Outcome.
  using Committed = std::function<void(base::Result<ObjectRef>)>;
  void commit_worked(AttributesPtr attributes, std::string key, ObjectRef current, Written refused,
                     Committed done);
  using Retry = std::function<void()>;
  void commit_update(AttributesPtr attributes, ObjectRef current, Written done, Retry retry);
  json_value validate_updated(const AdmissionAttributes& attributes);
  static AttributesPtr attributes_of(RequestPtr request, Operation operation, std::string subresource,
                                     std::string name);
  // What a dry run ends with.
  static Outcome would_write(const ResourceInfo& resource, const std::string& key, const json_value& object,
                             int64_t revision);
  void reply_written(RequestPtr request, int code, const Outcome& outcome);
  json_value prepare_update(RequestInfo& request, const std::string& subresource, const json_value& current,
                            json_value* updated);
  void bind_pod(RequestPtr request);
  // apply.cc
  void apply(RequestPtr request);
  void apply_to_live(RequestPtr request, std::shared_ptr<const json_value> manifest, bool force);
  // Sets after.metadata.managedFields; `before` is null for a create.
  static void track_fields(const RequestInfo& request, const json_value& before, json_value& after);
  void finalize_namespace(RequestPtr request);

  // remove.cc
  void remove(RequestPtr request);
  void remove_collection(RequestPtr request);
  void remove_object(RequestPtr request, std::string key, json_value options, Written done, int tries = 0);
  void remove_current(RequestPtr request, ObjectRef current, json_value options, Written done, int tries);
  void commit_removal(AttributesPtr attributes, ObjectRef current, json_value updated, bool removes,
                      Written done, int tries);

  // scale.cc
  void scale(RequestPtr request);

  // discovery.cc
  struct Documents;
  Documents& documents();
  bool serve_discovery(RequestPtr request);
  void serve_openapi_v2(const RequestPtr& request);

  // connect.cc
  // Admits what was sent to the request's subresource; `then` gets it as it was admitted, a refusal is
  // answered.
  void admit_body(RequestPtr request, Operation operation, json_value object, json_value old,
                  std::function<void(const json_value& admitted)> then);
  using Connected = std::function<void(RequestPtr, const json_value& options)>;
  // Admits a CONNECT; `then` gets the options as they were admitted.
  void connect(RequestPtr request, Connected then);

  // node_proxy.cc
  void pod_stream(RequestPtr request, const json_value& options);
  base::http::Client* node_client(const std::string& node, json_value* refusal);

  // proxy.cc
  struct ProxyTarget;
  void proxy(RequestPtr request, const json_value& options);
  // Null, or the Status that refuses.
  json_value find_node_target(const std::string& name, const std::string& scheme, const std::string& port,
                              ProxyTarget* out);
  json_value find_pod_target(const std::string& ns, const std::string& name, const std::string& scheme,
                             std::string port, ProxyTarget* out);
  json_value find_service_target(const std::string& ns, const std::string& name, const std::string& scheme,
                                 const std::string& port, ProxyTarget* out);
  void pass_on(RequestPtr request, ProxyTarget target);

  // bootstrap.cc
  void bootstrap();
  void bootstrapped();
  void load_component_statuses();

  // pod_subresources.cc
  void create_binding(RequestPtr request);
  void evict_pod(RequestPtr request);
  void evict_admitted(RequestPtr request, const json_value& eviction);
  void delete_evicted(RequestPtr request, json_value options);
  void pod_part(RequestPtr request);

  // reviews.cc
  void review_access(RequestPtr request);
  void review_rules(RequestPtr request);
  void review_self(RequestPtr request);

  // token_request.cc
  void request_token(RequestPtr request);
  void issue_token(const RequestPtr& asked, json_value object, const json_value& account);
  json_value bind_token(const std::string& ns, const json_value& reference, TokenClaims* claims);
  void review_token(RequestPtr request);
  bool serve_openid(RequestPtr request);

  // Objects of the store whose kinds the built-in table does not know.
  struct Unclaimed {
    std::string key, value;
    int64_t revision;
  };
  void load_custom(std::vector<Unclaimed> unclaimed);
  // One record of the store, into its cache or aside.
  void load_object(ResourceInfo& resource, const std::string& record, std::string_view key,
                   std::string_view text, int64_t revision);
  void set_aside(const std::string& record, int64_t revision, const base::Error& why);
  // The Status for an object that is in no cache.
  json_value absent(const ResourceInfo& resource, std::string_view key) const;
  // Deletes a record that was set aside, without a look at it.
  void remove_record(const RequestPtr& request, std::string_view key);

  base::Loop& loop_;
  std::unique_ptr<Store> store_;
  ServerOptions options_;
  Front front_;
  ResourceTable resources_;
  AdmissionChain admission_;
  std::unique_ptr<ServiceAccountTokens> tokens_;
  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<Authorizer> authorizer_;
  std::unique_ptr<RbacController> rbac_controller_;
  bool bootstrapped_ = false;
  std::function<void()> when_bootstrapped_;
  std::map<std::string, Handler, std::less<>> handlers_;  // "apps/deployments/scale"
  std::shared_ptr<Documents> documents_;
  int64_t durable_revision_ = 0;  // all writes up to here are in the caches
  struct SetAside {
    int64_t revision;
    std::string why;
  };
  std::map<std::string, SetAside> set_aside_;  // records of the store that can't be served
  bool ready_ = false, stopping_ = false, store_failed_ = false;
  std::vector<HealthCheck> checks_;
  ServiceAllocator allocator_;

  std::unique_ptr<EventKeeper> event_keeper_;
  std::unique_ptr<CustomResources> custom_resources_;
  std::unique_ptr<ApiServices> api_services_;

  std::map<uint64_t, std::shared_ptr<Watcher>> watchers_;
  uint64_t next_watcher_ = 1;
  base::Loop::Handle bookmark_timer_;
  struct Node {
    std::string endpoint;
    std::unique_ptr<base::http::Client> client;
  };
  std::map<std::string, Node> nodes_;
  std::map<uint64_t, std::unique_ptr<base::http::Client::Call>> calls_;
  uint64_t next_call_ = 1;
};

}  // namespace master
