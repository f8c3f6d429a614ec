// Routing, filters, and the one way into the store.
#include "master/server.h"

#include "api/status.h"
#include "api/structural.h"
#include "base/log.h"
#include "master/admission_plugins.h"
#include "master/api_services.h"
#include "master/authenticator.h"
#include "master/authorizer.h"
#include "master/certificates.h"
#include "master/heavy_requests.h"
#include "master/node_restriction.h"
#include "master/notices.h"
#include "master/rbac_admission.h"
#include "master/rbac_controller.h"

namespace master {

namespace json = base::json;
using base::http::Bytes;

namespace {
std::string handler_key(std::string_view group, std::string_view plural, std::string_view subresource) {
  return std::string(group).append("/").append(plural).append("/").append(subresource);
}
// "/apps/deployments/default/web": sorted by resource, then namespace.
std::string store_key(const ResourceInfo& resource, std::string_view key) {
  return "/" + resource.group + "/" + resource.plural + "/" + std::string(key);
}
}  // namespace

ApiServer::ApiServer(base::Loop& loop, std::unique_ptr<Store> store, ServerOptions options)
    : loop_(loop), store_(std::move(store)), options_(std::move(options)), front_(loop),
      allocator_(options_.service_cidr, options_.cluster_dns) {
  handle_with("", "bindings", "", [this](RequestPtr request) { create_binding(std::move(request)); });
  for (const char* plural : {"nodes", "pods", "services"})
    handle_with("", plural, "proxy", [this](RequestPtr request) { proxy(std::move(request)); });
  handle_with("", "pods", "eviction", [this](RequestPtr request) { evict_pod(std::move(request)); });
  for (const char* part : {"ephemeralcontainers", "resize"})
    handle_with("", "pods", part, [this](RequestPtr request) { pod_part(std::move(request)); });
  handle_with("", "pods", "binding", [this](RequestPtr request) { bind_pod(std::move(request)); });
  for (const char* stream : {"attach", "exec", "log", "portforward"})
    handle_with("", "pods", stream, [this](RequestPtr request) { pod_stream(std::move(request)); });
  handle_with("", "namespaces", "finalize", [this](RequestPtr request) { finalize_namespace(std::move(request)); });
  constexpr std::string_view kAuthorization = "authorization.k8s.io";
  for (const char* review : {"subjectaccessreviews", "localsubjectaccessreviews", "selfsubjectaccessreviews"})
    handle_with(kAuthorization, review, "", [this](RequestPtr request) { review_access(std::move(request)); });
  handle_with(kAuthorization, "selfsubjectrulesreviews", "", [this](RequestPtr request) { review_rules(std::move(request)); });
  handle_with("", "serviceaccounts", "token", [this](RequestPtr request) { request_token(std::move(request)); });
  handle_with("authentication.k8s.io", "tokenreviews", "", [this](RequestPtr request) { review_token(std::move(request)); });
  handle_with("authentication.k8s.io", "selfsubjectreviews", "", [this](RequestPtr request) { review_self(std::move(request)); });
}
ApiServer::~ApiServer() { finish_heavy_requests(loop_); }
Aggregator& ApiServer::aggregator() { return api_services_->aggregator(); }

void ApiServer::handle_with(std::string_view group, std::string_view plural, std::string_view subresource, Handler handler) {
  handlers_[handler_key(group, plural, subresource)] = std::move(handler);
}


base::Status ApiServer::start() {
  durable_revision_ = store_->loaded_revision();
  std::vector<Unclaimed> unclaimed;
  TRY(store_->load([&](std::string key, std::string value, int64_t revision) {
    size_t group_end = key.find('/', 1), plural_end = key.find('/', group_end + 1);
    std::string_view view = key;
    ResourcePtr resource;
    if (group_end != std::string::npos && plural_end != std::string::npos)
      resource = resources_.find_stored(view.substr(1, group_end - 1), view.substr(group_end + 1, plural_end - group_end - 1));
    if (!resource) {
      unclaimed.push_back({std::move(key), std::move(value), revision});
      return;
    }
    ObjectRef object = make_object(*resource, key.substr(plural_end + 1), value, revision);
    if (resource->is("", "services"))
      if (auto parsed = base::parse_json(*object->text); parsed.ok()) allocator_.take(*parsed);
    cache(*resource).load(std::move(object));
  }));
  load_component_statuses();
  custom_resources_ = std::make_unique<CustomResources>(*this);
  load_custom(std::move(unclaimed));
  for (const ResourcePtr& resource : resources_.all())
    if (resource->objects) resource->objects->set_loaded(durable_revision_);
  tokens_ = std::make_unique<ServiceAccountTokens>(options_.tokens, cache("", "serviceaccounts"), cache("", "pods"), cache("", "secrets"),
                                                   cache("", "nodes"));
  authenticator_ = std::make_unique<Authenticator>(options_.static_tokens, tokens_.get(), cache("", "secrets"));
  authorizer_ = std::make_unique<Authorizer>(resources_);
  admission_.add(make_node_restriction(cache("", "pods"), cache("", "nodes")));
  admission_.add(make_rbac_admission(*authorizer_));
  admission_.add(make_certificate_admission(*authorizer_));
  ResourceInfo& events = *resources_.find("", "v1", "events");
  event_keeper_ = std::make_unique<EventKeeper>(loop_, cache(events), EventLimits{}, [this, &events](const ObjectRef& event) {
    commit(events, event->key, nullptr, event, [](base::Result<ObjectRef> result) {
      base::ignore(result, "changed or gone meanwhile: the next sweep sees it again");
    });
  });
  event_keeper_->sweep();
  add_metrics_and_checks();
  follow_flow_control();
  custom_resources_->start();
  add_admission_plugins(*this);
  api_services_ = std::make_unique<ApiServices>(*this);
  bootstrap();
  return {};
}

// Definitions may stand behind their objects in the store, so those wait for all of it.
void ApiServer::load_custom(std::vector<Unclaimed> unclaimed) {
  custom_resources_->load();
  for (Unclaimed& each : unclaimed) {
    std::string_view key = each.key;
    size_t group_end = key.find('/', 1), plural_end = key.find('/', group_end + 1);
    ResourcePtr resource;
    if (group_end != key.npos && plural_end != key.npos)
      resource = resources_.find_stored(key.substr(1, group_end - 1), key.substr(group_end + 1, plural_end - group_end - 1));
    if (resource && resource->type->custom)
      cache(*resource).load(CustomResources::reform(*resource, std::string(key.substr(plural_end + 1)), each.value, each.revision));
    else
      base::log::warning("store holds {}, which nothing here serves: left alone", each.key);
  }
}

void ApiServer::commit(ResourceInfo& resource, std::string key, const json::value& object, ObjectRef current,
                       std::function<void(base::Result<ObjectRef>)> done) {
  ObjectCache& objects = cache(resource);
  bool removes = object.is_null();
  std::string text;
  SelectorValues values;
  if (!removes)
    base::compute([&] {
      text = to_stored_text(object);
      values = selector_values(resource, object);
    });
  if (text.size() > kMaxObjectBytes) {
    done(base::make_error(base::Kind::kExhausted, "", "", kTooLarge));
    return;
  }
  if (resource.is_volatile) {
    ObjectRef now = objects.find(key);
    if ((now ? now->revision : 0) != (current ? current->revision : 0)) {
      done(base::make_error(base::Kind::kConflict, "write", key, "changed meanwhile"));
      return;
    }
    int64_t revision = store_->next_volatile_revision();
    if (removes) {
      objects.erase(key, revision);
      done(std::move(current));
      return;
    }
    ObjectRef made = make_object(key, text, revision, std::move(values));
    objects.put(made);
    done(std::move(made));
    return;
  }
  StoreWrite write{store_key(resource, key), text, current ? current->revision : 0};
  store_->submit(std::move(write), [this, &resource, key = std::move(key), text = std::move(text), current, done = std::move(done),
                                    values = std::move(values),
                                    began = std::chrono::steady_clock::now()](base::Result<int64_t> result) mutable {
    front_.observe_store(text.empty() ? "delete" : current ? "update" : "create", resource.qualified(),
                         std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
    store_failed_ = !result.ok() && result.error().kind != base::Kind::kConflict;
    if (!result.ok()) {
      done(result.error());
      return;
    }
    ObjectCache& objects = cache(resource);
    durable_revision_ = *result;
    if (text.empty()) {
      objects.erase(key, *result);
      done(current);
      return;
    }
    ObjectRef made = make_object(key, text, *result, std::move(values));
    objects.put(made);
    done(std::move(made));
  });
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

void ApiServer::read_target(RequestInfo& request) const {
  const base::http::Request& http = request.http();
  request.query = base::http::parse_query(http.query());
  if (parse_resource_path(resources_, http.path(), http.method, &request)) return;
  request.resource = nullptr;
  request.verb = http.method;
  for (char& c : request.verb) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

void ApiServer::dispatch(RequestPtr request, bool is_local) {
  read_target(*request);
  if (json::value refusal = impersonate(*authorizer_, *request); !refusal.is_null()) return request->reply_status(refusal);
  front_.enter(request, is_local, [this, request] { go_on(loop_, request, [this, request] { serve(request); }); });
}

void ApiServer::serve(RequestPtr request) {
  if (serve_plain(request)) return;
  Access access = access_of(*request);
  std::string reason;
  if (!authorizer_->allows(request->user, access, &reason)) return request->reply_status(forbidden(request->user, access, reason));
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
    return request->reply_bytes(405, {base::http::bytes("405: Method Not Allowed")}, "text/plain; charset=utf-8");
  if (!request->resource) {
    if (!serve_openid(request) && !serve_discovery(request)) request->reply_status(api::no_such_path());
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
    request->reply(200, {{"major", "1"}, {"minor", "36"}, {"gitVersion", "v1.36.0+sampan"}, {"gitCommit", ""},
                         {"gitTreeState", "clean"}, {"buildDate", "1970-01-01T00:00:00Z"}, {"goVersion", ""},
                         {"compiler", "gcc"}, {"platform", "linux/amd64"}});
    return true;
  }
  return false;
}

void ApiServer::add_metrics_and_checks() {
  front_.metrics().before_page([this] {
    for (const ResourcePtr& resource : resources_.all())
      if (resource->objects && !resource->stored_version)
        front_.metrics()
            .gauge("apiserver_storage_objects", "Number of stored objects at the time of last check split by kind.",
                   {{"resource", resource->qualified()}})
            .set(static_cast<double>(resource->objects->objects().size()));
  });
  checks_ = {{"ping", true, [] { return true; }},
             {"log", true, [] { return true; }},
             {"etcd", true, [this] { return !store_failed_; }},
             {"poststarthook/start-controllers", false, [this] { return ready_; }},
             {"shutdown", false, [this] { return !stopping_; }}};
}

// The objects of flowcontrol.apiserver.k8s.io decide who waits; read again a turn after they changed.
void ApiServer::follow_flow_control() {
  constexpr std::string_view kGroup = "flowcontrol.apiserver.k8s.io";
  ResourcePtr schemas = resources_.find_stored(kGroup, "flowschemas"), levels = resources_.find_stored(kGroup, "prioritylevelconfigurations");
  if (!schemas || !levels) return;
  auto posted = std::make_shared<bool>(false);
  auto read = [this, posted, schemas, levels] {
    *posted = false;
    auto objects = [](const ResourcePtr& resource) {
      std::vector<json::value> out;
      for (const auto& [key, object] : cache(*resource).objects()) out.push_back(json::parse(*object->text));
      return out;
    };
    front_.flow_control().configure(objects(schemas), objects(levels));
  };
  for (const ResourcePtr& resource : {schemas, levels})
    cache(*resource).subscribe([this, posted, read](const WatchEvent&) {
      if (!std::exchange(*posted, true)) loop_.post(read);
    });
  if (!cache(*schemas).objects().empty()) read();
}

void ApiServer::serve_resource(RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  api::GroupResource named{resource.group, resource.plural};
  if (!negotiate(request->http().headers.get("Accept"), &request->rendering)) {
    request->reply_status(api::not_acceptable("application/json"));
    return;
  }
  const std::string& verb = request->verb;
  const std::string& sub = request->subresource;
  if (const api::CustomKind* custom = resource.type->custom; custom && !custom->deprecation_warning.empty())
    request->warnings.push_back(custom->deprecation_warning);
  if (std::string_view said = deprecation_of(resource); !said.empty()) request->warnings.emplace_back(said);
  if (sub.empty()) {
    std::vector<std::string_view> verbs = verbs_of(resource);
    bool outside = resource.namespaced && request->ns.empty() && (verb == "create" || verb == "deletecollection");
    if (outside || std::find(verbs.begin(), verbs.end(), verb) == verbs.end())
      return request->reply_status(api::method_not_allowed(named, verb));
    if (auto handler = handlers_.find(handler_key(resource.group, resource.plural, "")); handler != handlers_.end())
      return handler->second(request);
    if (verb == "get") return get(request);
    if (verb == "list") return list(request);
    if (verb == "watch") return watch(request);
    if (verb == "create" && request->name.empty()) return create(request);
    if (verb == "update" && !request->name.empty()) return update(request);
    if (verb == "patch" && !request->name.empty()) return patch(request);
    if (verb == "delete") return remove(request);
    if (verb == "deletecollection") return remove_collection(request);
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
  if (auto handler = handlers_.find(handler_key(resource.group, resource.plural, sub)); handler != handlers_.end())
    return handler->second(request);
  if (sub == "scale") return scale(request);
  if (sub == "status" || sub == "approval") {
    if (verb == "get") return get(request);
    if (verb == "update") return update(request);
    return patch(request);
  }
  request->reply_status(api::no_such_path());
}

}  // namespace master
