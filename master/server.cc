// Routing, filters, and the one way into the store.
#include "master/server.h"

#include "api/protobuf.h"
#include "api/status.h"
#include "api/structural.h"
#include "base/log.h"
#include "base/websocket.h"
#include "master/admission_plugins.h"
#include "master/api_services.h"
#include "master/authenticator.h"
#include "master/authorizer.h"
#include "master/build_info.h"
#include "master/certificates.h"
#include "master/heavy_requests.h"
#include "master/message_exchange.h"
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
    : loop_(loop), store_(std::move(store)), options_(std::move(options)), front_(loop),
      allocator_(options_.service_cidr, options_.cluster_dns) {
  handle_with("", "bindings", "", [this](RequestPtr request) { create_binding(std::move(request)); });
  for (const char* plural : {"nodes", "pods", "services"})
    handle_with("", plural, "proxy", [this](RequestPtr request) {
      connect(std::move(request), [this](RequestPtr admitted, const json::value& admitted_options) {
        proxy(std::move(admitted), admitted_options);
      });
    });
  handle_with("", "pods", "eviction", [this](RequestPtr request) { evict_pod(std::move(request)); });
  for (const char* part : {"ephemeralcontainers", "resize"})
    handle_with("", "pods", part, [this](RequestPtr request) { pod_part(std::move(request)); });
  handle_with("", "pods", "binding", [this](RequestPtr request) { bind_pod(std::move(request)); });
  for (const char* stream : {"attach", "exec", "portforward"})
    handle_with("", "pods", stream, [this](RequestPtr request) {
      connect(std::move(request), [this](RequestPtr admitted, const json::value& admitted_options) {
        pod_stream(std::move(admitted), admitted_options);
      });
    });
  handle_with("", "pods", "log", [this](RequestPtr request) { pod_stream(std::move(request), nullptr); });
  handle_with("", "namespaces", "finalize",
              [this](RequestPtr request) { finalize_namespace(std::move(request)); });
  constexpr std::string_view kAuthorization = "authorization.k8s.io";
  for (const char* review : {"subjectaccessreviews", "localsubjectaccessreviews", "selfsubjectaccessreviews"})
    handle_with(kAuthorization, review, "",
                [this](RequestPtr request) { review_access(std::move(request)); });
  handle_with(kAuthorization, "selfsubjectrulesreviews", "",
              [this](RequestPtr request) { review_rules(std::move(request)); });
  handle_with("", "serviceaccounts", "token",
              [this](RequestPtr request) { request_token(std::move(request)); });
  handle_with("authentication.k8s.io", "tokenreviews", "",
              [this](RequestPtr request) { review_token(std::move(request)); });
  handle_with("authentication.k8s.io", "selfsubjectreviews", "",
              [this](RequestPtr request) { review_self(std::move(request)); });
}
ApiServer::~ApiServer() { finish_heavy_requests(loop_); }
Aggregator& ApiServer::aggregator() { return api_services_->aggregator(); }

void ApiServer::handle_with(std::string_view group, std::string_view plural, std::string_view subresource,
                            Handler handler) {
  handlers_[handler_key(group, plural, subresource)] = std::move(handler);
}

base::Status ApiServer::start() {
  std::vector<Unclaimed> unclaimed;
  TRY(store_->load(
      [&](std::string key, std::string value, int64_t revision) {
        StoredPlace place = place_of(key);
        ResourcePtr resource = resources_.find_stored(place.group, place.plural);
        if (resource && resource->objects) load_object(*resource, key, place.key, value, revision);
        else unclaimed.push_back({std::move(key), std::move(value), revision});
      },
      [this](const std::string& record, int64_t revision, const base::Error& why) {
        set_aside(record, revision, why);
      }));
  durable_revision_ = store_->loaded_revision();
  load_component_statuses();
  custom_resources_ = std::make_unique<CustomResources>(*this);
  load_custom(std::move(unclaimed));
  for (const ResourcePtr& resource : resources_.all())
    if (resource->objects) resource->objects->set_loaded(durable_revision_);
  tokens_ =
      std::make_unique<ServiceAccountTokens>(options_.tokens, cache("", "serviceaccounts"), cache("", "pods"),
                                             cache("", "secrets"), cache("", "nodes"));
  authenticator_ =
      std::make_unique<Authenticator>(options_.static_tokens, tokens_.get(), cache("", "secrets"));
  authorizer_ = std::make_unique<Authorizer>(resources_);
  admission_.add(make_node_restriction(cache("", "pods"), cache("", "nodes")));
  admission_.add(make_rbac_admission(*authorizer_));
  admission_.add(make_certificate_admission(*authorizer_));
  ResourceInfo& events = *resources_.find("", "v1", "events");
  event_keeper_ = std::make_unique<EventKeeper>(
      loop_, cache(events), EventLimits{}, [this, &events](const ObjectRef& event) {
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
    StoredPlace place = place_of(each.key);
    ResourcePtr resource = resources_.find_stored(place.group, place.plural);
    if (resource && resource->type->custom)
      load_object(*resource, each.key, place.key, each.value, each.revision);
    else
      set_aside(each.key, each.revision,
                base::make_error(base::Kind::kUnsupported, "serve", {}, "nothing here serves such objects"));
  }
}

void ApiServer::load_object(ResourceInfo& resource, const std::string& record, std::string_view key,
                            std::string_view text, int64_t revision) {
  auto object = read_stored(resource, key, text);
  if (!object.ok()) return set_aside(record, revision, object.error());
  if (resource.type->custom)
    return cache(resource).load(
        CustomResources::reform(resource, std::string(key), std::move(*object), revision));
  std::string version(base::string_at(*object, "apiVersion"));
  if (version != resource.group_version()) {  // by a master that stored another
    size_t slash = version.find('/');
    ResourcePtr written = resources_.find(
        resource.group, slash == version.npos ? version : version.substr(slash + 1), resource.plural);
    if (!written || written->remote)
      return set_aside(record, revision,
                       base::make_error(base::Kind::kUnsupported, "read stored object", std::string(key),
                                        "its version " + version + " is not known here"));
    object = stored_form(*written, std::move(*object));
    cache(resource).load(make_object(resource, std::string(key), to_stored_text(*object), revision));
  } else {
    cache(resource).load(make_object(std::string(key), text, revision, selector_values(resource, *object)));
  }
  if (resource.is("", "services")) allocator_.take(*object);
}

// It stays in the store as it is, for the master that can read it. Nothing else takes its key, and nobody is
// told that it is not there: its dependents would be taken for orphans.
void ApiServer::set_aside(const std::string& record, int64_t revision, const base::Error& why) {
  constexpr size_t kNamed = 100;
  if (set_aside_.size() == kNamed)
    base::log::error(
        "store: further records are set aside: `sampan store check` lists them while no master runs");
  if (set_aside_.size() < kNamed)
    base::log::error(
        "store: record {} is set aside and not served: {}: it stays in the store: start the sampan-master "
        "that wrote it, "
        "or restore the store from a backup; `sampan store check` lists all",
        shown_record(record), why.message());
  set_aside_.emplace(record, SetAside{revision, why.message()});
}

json::value ApiServer::absent(const ResourceInfo& resource, std::string_view key) const {
  auto aside = set_aside_.find(record_key(resource, key));
  if (aside == set_aside_.end()) return api::not_found(resource.named(), key.substr(key.find('/') + 1));
  return api::internal_error("the record of " + resource.qualified() + " \"" +
                             std::string(key.substr(key.find('/') + 1)) +
                             "\" in the store can't be served: " + aside->second.why);
}

void ApiServer::remove_record(const RequestPtr& request, std::string_view key) {
  const ResourceInfo& resource = request->resource->stored();
  Access access = access_of(*request);
  access.verb = "unsafe-delete-ignore-read-errors";
  std::string reason, record = record_key(resource, key);
  if (!authorizer_->allows(request->user, access, &reason))
    return request->reply_status(forbidden(request->user, access, reason));
  base::log::warning("store: record {} is deleted unread, as {} asks", shown_record(record),
                     request->user.name);
  store_->submit({record, "", set_aside_.at(record).revision},
                 [this, request, record, &resource](base::Result<int64_t> result) {
                   if (!result.ok())
                     return request->reply_status(api::internal_error(result.error().message()));
                   set_aside_.erase(record);
                   durable_revision_ = *result;
                   request->reply_status(api::make_success(
                       {{"name", request->name}, {"group", resource.group}, {"kind", resource.plural}}));
                 });
}

void ApiServer::commit(ResourceInfo& resource, std::string key, const json::value& object, ObjectRef current,
                       std::function<void(base::Result<ObjectRef>)> done) {
  ObjectCache& objects = cache(resource);
  bool removes = object.is_null();
  std::string text;
  SelectorValues values;
  base::Status unfit;
  if (!removes)
    base::compute([&] {
      auto storable = to_storable_text(key, object);
      if (!storable.ok()) {
        unfit = storable.error();
        return;
      }
      text = std::move(*storable);
      values = selector_values(resource, object);
    });
  if (!unfit.ok()) return done(unfit.error());
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
    auto revision = store_->next_volatile_revision();
    if (!revision.ok()) return done(revision.error());
    if (removes) {
      objects.erase(key, *revision);
      done(std::move(current));
      return;
    }
    ObjectRef made = make_object(key, text, *revision, std::move(values));
    objects.put(made);
    done(std::move(made));
    return;
  }
  StoreWrite write{record_key(resource, key), text, current ? current->revision : 0};
  if (auto aside = set_aside_.find(write.key); !current && aside != set_aside_.end())
    return done(
        base::make_error(base::Kind::kCorrupt, "write", key,
                         "the store holds a record of this name that can't be served: " + aside->second.why));
  store_->submit(
      std::move(write), [this, &resource, key = std::move(key), text = std::move(text), current,
                         done = std::move(done), values = std::move(values),
                         began = std::chrono::steady_clock::now()](base::Result<int64_t> result) mutable {
        front_.observe_store(text.empty() ? "delete"
                             : current    ? "update"
                                          : "create",
                             resource.qualified(),
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
    request->reply(200, version_info());
    return true;
  }
  return false;
}

void ApiServer::add_metrics_and_checks() {
  front_.metrics().before_page([this] {
    for (const ResourcePtr& resource : resources_.all())
      if (resource->objects && !resource->stored_version)
        front_.metrics()
            .gauge("apiserver_storage_objects",
                   "Number of stored objects at the time of last check split by kind.",
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
  ResourcePtr schemas = resources_.find_stored(kGroup, "flowschemas"),
              levels = resources_.find_stored(kGroup, "prioritylevelconfigurations");
  if (!schemas || !levels) return;
  auto posted = std::make_shared<bool>(false);
  auto read = [this, posted, schemas, levels] {
    *posted = false;
    auto objects = [](const ResourcePtr& resource) {
      std::vector<json::value> out;
      for (const auto& [key, object] : cache(*resource).objects()) out.push_back(parse_object(*object->text));
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
  if (auto handler = handlers_.find(handler_key(resource.group, resource.plural, sub));
      handler != handlers_.end())
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
