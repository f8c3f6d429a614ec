// Routing and filters.
#include "master/server/server.h"

#include "api/protobuf.h"
#include "api/status.h"
#include "api/structural.h"
#include "base/http/websocket.h"
#include "base/log.h"
#include "master/admission/node_restriction.h"
#include "master/admission/plugins.h"
#include "master/auth/authenticator.h"
#include "master/auth/authorizer.h"
#include "master/auth/certificate_admission.h"
#include "master/auth/rbac_admission.h"
#include "master/auth/rbac_bootstrap.h"
#include "master/extensions/api_services.h"
#include "master/extensions/custom_resources.h"
#include "master/registry/heavy_requests.h"
#include "master/registry/notices.h"
#include "master/server/build_info.h"
#include "master/server/discovery.h"
#include "master/server/handlers.h"
#include "master/server/message_exchange.h"
#include "master/server/node_clients.h"
#include "master/server/watch.h"

namespace master {

namespace json = base::json;
using base::http::Bytes;

namespace {
std::string handler_key(std::string_view group, std::string_view plural, std::string_view subresource) {
  return std::string(group).append("/").append(plural).append("/").append(subresource);
}
// Reviews and what is posted to a part of an object (a TokenRequest, an Eviction) have no columns.
bool answers_tables(const ResourceInfo& resource, std::string_view sub) {
  if (!resource.objects) return false;
  return sub.empty() || sub == "status" || sub == "approval" || sub == "ephemeralcontainers" ||
         sub == "resize" || sub == "finalize";
}

#if defined(__aarch64__)
constexpr const char* kPlatform = "linux/arm64";
#else
constexpr const char* kPlatform = "linux/amd64";
#endif

// What tools read of /version. goVersion has the form they parse: Kubernetes 1.36's, whose behaviour this
// is; the compiler is told beside it.
json::object version_info() {
  return {{"major", "1"},
          {"minor", "36"},
          {"emulationMajor", "1"},
          {"emulationMinor", "36"},
          {"minCompatibilityMajor", "1"},
          {"minCompatibilityMinor", "35"},
          {"gitVersion", "v1.36.0+sampan"},
          {"gitCommit", kBuiltCommit},
          {"gitTreeState", "clean"},
          {"buildDate", kBuiltDate},
          {"goVersion", "go1.26.0"},
          {"compiler", "gcc"},
          {"platform", kPlatform}};
}
}  // namespace

ApiServer::ApiServer(base::Loop& loop, std::unique_ptr<Store> store, ServerOptions options)
    : loop_(loop), options_(std::move(options)), front_(loop),
      registry_(
          loop, std::move(store),
          {options_.service_cidr, options_.cluster_cidr, options_.cluster_dns, options_.advertise_address},
          {.stored = [this](const char* operation, const std::string& resource,
                            double seconds) { front_.observe_store(operation, resource, seconds); },
           .withdrawn = [this](const ObjectCache& objects) { watches_->end(objects); },
           .transport = [this](User user) { return local_transport(std::move(user)); },
           .store_lost =
               [this](const base::Error& why) {
                 base::log::error("{}", why.message());
                 if (options_.store_lost) options_.store_lost();
               }}),
      watches_(std::make_unique<Watches>(registry_)),
      nodes_(std::make_unique<NodeClients>(registry_, options_.node_client)),
      discovery_(std::make_unique<Discovery>(*this)) {
  for (auto add : {add_pod_handlers, add_stream_handlers, add_proxy_handlers, add_review_handlers,
                   add_token_handlers, add_namespace_handlers, add_metrics_handlers})
    add(*this);
}
ApiServer::~ApiServer() { finish_heavy_requests(loop_); }
Aggregator& ApiServer::aggregator() { return api_services_->aggregator(); }

void ApiServer::handle_with(std::string_view group, std::string_view plural, std::string_view subresource,
                            Handler handler) {
  handlers_[handler_key(group, plural, subresource)] = std::move(handler);
}

base::Status ApiServer::start() {
  TRY(registry_.load([this] {
    load_component_statuses();
    custom_resources_ = std::make_unique<CustomResources>(registry_);
    custom_resources_->load();
  }));
  ObjectCache &accounts = registry_.cache("", "serviceaccounts"), &pods = registry_.cache("", "pods"),
              &secrets = registry_.cache("", "secrets"), &nodes = registry_.cache("", "nodes");
  tokens_ = std::make_unique<ServiceAccountTokens>(options_.tokens, accounts, pods, secrets, nodes);
  authenticator_ = std::make_unique<Authenticator>(options_.static_tokens, tokens_.get(), secrets);
  authorizer_ = std::make_unique<Authorizer>(registry_.resources());
  registry_.admission().add(make_node_restriction(
      pods, nodes,
      {registry_.cache("", "persistentvolumeclaims"), registry_.cache("", "persistentvolumes"),
       registry_.cache("storage.k8s.io", "csidrivers")},
      *authorizer_));
  registry_.admission().add(make_rbac_admission(*authorizer_));
  registry_.start();
  add_metrics_and_checks();
  follow_flow_control();
  custom_resources_->start();
  add_admission_plugins(registry_, *authorizer_, {options_.deny_external_ips, options_.admits_accounts});
  // Last: who asks for a certificate is the server's to say, whatever a policy or a webhook made of it.
  registry_.admission().add(make_certificate_admission(*authorizer_));
  api_services_ = std::make_unique<ApiServices>(
      registry_, FrontProxy{options_.front_proxy, options_.front_proxy_ca_pem, options_.client_ca_pem},
      front_.metrics());
  bootstrap();
  return {};
}

void ApiServer::handle(std::shared_ptr<base::http::Exchange> exchange) {
  auto request = std::make_shared<RequestInfo>();
  request->exchange = std::move(exchange);
  auto user = authenticator_->authenticate(request->http());
  if (!user.ok()) {  // counted and audited as well, and takes nobody's seat
    read_target(*request);
    return front_.enter(request, true, [request] { request->reply_status(api::unauthorized()); });
  }
  request->user = std::move(*user);
  // Nothing of a body is read before its sender has a name. Where it has none (system:anonymous),
  // serve() looks first whether it may ask at all.
  if (request->user.name == kAnonymous) return dispatch(std::move(request), false);
  auto named = request->exchange;
  named->known();
  named->receive([this, request] { dispatch(request, false); });
}

void ApiServer::read_target(RequestInfo& request) {
  const base::http::Request& http = request.http();
  request.query = base::http::parse_query(http.query());
  if (parse_resource_path(registry_.resources(), http.path(), http.method, &request)) return;
  request.resource = nullptr;
  request.verb = http.method;
  for (char& c : request.verb) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

void ApiServer::dispatch(RequestPtr request, bool is_local) {
  read_target(*request);
  if (json::value refusal = impersonate(*authorizer_, *request); !refusal.is_null())
    return request->reply_status(refusal);
  front_.enter(request, is_local,
               [this, request] { go_on(loop_, request, [this, request] { serve(request); }); });
}

void ApiServer::serve(RequestPtr request) {
  if (serve_plain(request)) return;
  Access access = access_of(*request);
  std::string reason;
  if (!authorizer_->allows(request->user, access, &reason))
    return request->reply_status(forbidden(request->user, access, reason));
  if (request->user.name != kAnonymous) return serve_whole(std::move(request));
  auto exchange = request->exchange;
  exchange->receive([this, request] { go_on(loop_, request, [this, request] { serve_whole(request); }); });
}

void ApiServer::serve_whole(RequestPtr request) {
  if (request->http().path() == "/metrics") {
    request->reply_bytes(200, {base::http::bytes(front_.metrics().page())}, base::metrics::kPageType);
    return;
  }
  if (aggregator().serve(request)) return;
  if (request->http().path() == "/version" || request->http().path() == "/version/")
    return request->reply_bytes(405, {base::http::bytes("405: Method Not Allowed")},
                                "text/plain; charset=utf-8");
  if (!request->resource) {
    if (!serve_openid(*this, request) && !discovery_->serve(request))
      request->reply_status(api::no_such_path());
    return;
  }
  serve_resource(std::move(request));
}

// Health and version: what anybody may see.
bool ApiServer::serve_plain(RequestPtr request) {
  std::string_view path = request->http().path();
  auto text = [&](int status, std::string body) {
    request->reply_bytes(status, {base::http::bytes(std::move(body))}, "text/plain; charset=utf-8");
    return true;
  };
  if (is_health_path(path)) {
    HealthAnswer answer = answer_health(checks_, path, request->query);
    return text(answer.status, std::move(answer.body));
  }
  if ((path == "/version" || path == "/version/") && request->http().method == "GET") {
    request->reply(200, version_info());
    return true;
  }
  return false;
}

void ApiServer::add_metrics_and_checks() {
  front_.metrics().before_page([this] {
    for (const ResourcePtr& resource : registry_.resources().all())
      if (resource->objects && !resource->stored_version)
        front_.metrics()
            .gauge("apiserver_storage_objects",
                   "Number of stored objects at the time of last check split by kind.",
                   {{"resource", resource->qualified()}})
            .set(static_cast<double>(resource->objects->objects().size()));
  });
  checks_ = {{"ping", true, [] { return true; }},
             {"log", true, [] { return true; }},
             {"etcd", true, [this] { return !registry_.store_failed(); }},
             {"poststarthook/start-controllers", false, [this] { return ready_; }},
             {"shutdown", false, [this] { return !stopping_; }}};
}

// The objects of flowcontrol.apiserver.k8s.io decide who waits; read again a turn after they changed.
void ApiServer::follow_flow_control() {
  constexpr std::string_view kGroup = "flowcontrol.apiserver.k8s.io";
  ResourcePtr schemas = registry_.resources().find_stored(kGroup, "flowschemas"),
              levels = registry_.resources().find_stored(kGroup, "prioritylevelconfigurations");
  if (!schemas || !levels) return;
  auto posted = std::make_shared<bool>(false);
  auto read = [this, posted, schemas, levels] {
    *posted = false;
    auto objects = [](const ResourcePtr& resource) {
      std::vector<json::value> out;
      for (const auto& [key, object] : resource->objects->objects())
        out.push_back(parse_object(*object->text));
      return out;
    };
    front_.flow_control().configure(objects(schemas), objects(levels));
  };
  for (const ResourcePtr& resource : {schemas, levels})
    resource->objects->subscribe([this, posted, read](const WatchEvent&) {
      if (!std::exchange(*posted, true)) loop_.post(read);
    });
  if (!schemas->objects->objects().empty()) read();
}

void ApiServer::serve_resource(RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  api::GroupResource named{resource.group, resource.plural};
  const std::string& verb = request->verb;
  const std::string& sub = request->subresource;
  // Streams and what others answer are in no form of ours.
  bool passes_on = sub == "log" || connects(sub);
  Renderable can{.table = answers_tables(resource, sub), .protobuf = api::has_protobuf(*resource.type)};
  if (!passes_on && !negotiate(request->http().headers.get("Accept"), can, request.get()))
    return request->reply_status(api::not_acceptable(
        can.protobuf ? "application/json, application/vnd.kubernetes.protobuf" : "application/json"));
  if ((verb == "watch" || sub == "log") && base::websocket::is_upgrade(request->http())) {
    auto messages =
        as_messages(loop_, request->exchange, verb == "watch" ? MessageForm::kLines : MessageForm::kBytes);
    if (!messages.ok()) return request->reply_status(api::bad_request(messages.error().message()));
    request->exchange = std::move(*messages);
  }
  if (const api::CustomKind* custom = resource.type->custom; custom && !custom->deprecation_warning.empty())
    request->warnings.push_back(custom->deprecation_warning);
  if (std::string_view said = deprecation_of(resource); !said.empty()) request->warnings.emplace_back(said);
  if (sub.empty()) {
    std::vector<std::string_view> verbs = verbs_of(resource);
    bool outside =
        resource.namespaced && request->ns.empty() && (verb == "create" || verb == "deletecollection");
    if (outside || std::find(verbs.begin(), verbs.end(), verb) == verbs.end())
      return request->reply_status(api::method_not_allowed(named, verb));
    if (auto handler = handlers_.find(handler_key(resource.group, resource.plural, ""));
        handler != handlers_.end())
      return handler->second(request);
    if (verb == "get") return serve_get(*this, request);
    if (verb == "list") return serve_list(*this, request);
    if (verb == "watch") return watches_->serve(request);
    if (verb == "create" && request->name.empty()) return serve_create(*this, request);
    if (verb == "update" && !request->name.empty()) return serve_update(*this, request);
    if (verb == "patch" && !request->name.empty()) return serve_patch(*this, request);
    if (verb == "delete") return serve_delete(*this, request);
    if (verb == "deletecollection") return serve_delete_collection(*this, request);
    return request->reply_status(api::method_not_allowed(named, verb));
  }
  bool known = false, verb_known = false;
  for (const Subresource& s : subresources_of(resource)) {
    if (s.name != sub) continue;
    known = true;
    for (std::string_view v : s.verbs) verb_known |= v == verb;
  }
  if (!known) return request->reply_status(api::no_such_path());
  if (!verb_known && sub != "proxy")  // which passes on any method
    return request->reply_status(api::method_not_allowed(named, verb));
  if (auto handler = handlers_.find(handler_key(resource.group, resource.plural, sub));
      handler != handlers_.end())
    return handler->second(request);
  if (sub == "scale") return serve_scale(*this, request);
  if (sub == "status" || sub == "approval") {
    if (verb == "get") return serve_get(*this, request);
    if (verb == "update") return serve_update(*this, request);
    return serve_patch(*this, request);
  }
  request->reply_status(api::no_such_path());
}

}  // namespace master
