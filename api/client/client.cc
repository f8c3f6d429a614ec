#include "api/client/client.h"

#include "base/json_limits.h"

namespace api {

namespace resources {
#define CORE(plural, kind, namespaced) \
  { "", "v1", plural, kind, namespaced }
const Resource pods = CORE("pods", "Pod", true);
const Resource replication_controllers = CORE("replicationcontrollers", "ReplicationController", true);
const Resource services = CORE("services", "Service", true);
const Resource endpoints = CORE("endpoints", "Endpoints", true);
const Resource nodes = CORE("nodes", "Node", false);
const Resource namespaces = CORE("namespaces", "Namespace", false);
const Resource config_maps = CORE("configmaps", "ConfigMap", true);
const Resource secrets = CORE("secrets", "Secret", true);
const Resource service_accounts = CORE("serviceaccounts", "ServiceAccount", true);
const Resource events = CORE("events", "Event", true);
#undef CORE
const Resource replica_sets = {"apps", "v1", "replicasets", "ReplicaSet", true};
const Resource deployments = {"apps", "v1", "deployments", "Deployment", true};
const Resource endpoint_slices = {"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true};
const Resource leases = {"coordination.k8s.io", "v1", "leases", "Lease", true};
}  // namespace resources

std::string Resource::path(std::string_view ns, std::string_view name, std::string_view sub) const {
  std::string out = group.empty() ? "/api/" : "/apis/" + group + "/";
  out += version;
  if (namespaced && !ns.empty()) out += "/namespaces/" + base::http::escape(ns);
  out += "/" + plural;
  if (!name.empty()) out += "/" + base::http::escape(name);
  if (!sub.empty()) out += "/" + std::string(sub);
  return out;
}

const json::value& WatchLine::parsed() const {
  if (parsed_) return *parsed_;
  auto event = base::parse_checked_json(text_, {}, base::kMaxCarrierDepth);
  parsed_ = event.ok() ? std::move(*event) : json::value(nullptr);
  return *parsed_;
}

base::Error error_from_status(int code, std::string_view body, std::string operation) {
  std::string reason, message;
  if (auto status = base::parse_json(body); status.ok() && base::string_at(*status, "kind") == "Status") {
    reason = base::string_at(*status, "reason");
    message = base::string_at(*status, "message");
  }
  if (message.empty())
    message = body.empty() ? std::string(base::http::status_text(code)) : body.substr(0, 300);
  using base::Kind;
  Kind kind = Kind::kInternal;
  switch (code) {
    case 400:
    case 405:
    case 406:
    case 413:
    case 415:
    case 422: kind = Kind::kInvalid; break;
    case 401:
    case 403: kind = Kind::kDenied; break;
    case 404: kind = Kind::kNotFound; break;
    case 409: kind = reason == "AlreadyExists" ? Kind::kExists : Kind::kConflict; break;
    case 410: kind = Kind::kConflict; break;
    case 408: kind = Kind::kTimeout; break;
    default:
      if (code == 429 || code >= 500) kind = Kind::kUnavailable;
  }
  return base::make_error(kind, std::move(operation), {}, "HTTP " + std::to_string(code) + ": " + message);
}

Client::Client(std::shared_ptr<Transport> transport, std::string user_agent)
    : transport_(std::move(transport)), user_agent_(std::move(user_agent)),
      calls_(std::make_shared<std::map<uint64_t, std::unique_ptr<Transport::Call>>>()) {}

Client::~Client() {
  auto calls = std::move(*calls_);  // an entry's destructor must not find the map half gone
  calls_.reset();
}

void Client::call(std::string method, std::string target, std::string content_type, std::string body,
                  Done done) {
  base::http::Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.headers.add("User-Agent", user_agent_);
  request.headers.add("Accept", "application/json");
  if (!content_type.empty()) request.headers.add("Content-Type", std::move(content_type));
  request.body = std::move(body);
  std::string operation = request.method + " " + request.target;
  uint64_t id = next_++;
  // The entry stands before the call starts: a transport may answer within call().
  (*calls_)[id] = nullptr;
  std::weak_ptr<std::map<uint64_t, std::unique_ptr<Transport::Call>>> weak = calls_;
  auto handle = transport_->call(std::move(request), [weak, id, operation, done = std::move(done)](
                                                         base::Result<base::http::Response> response) {
    auto calls = weak.lock();
    if (!calls) return;
    auto node = calls->extract(id);  // dies at the end of this callback
    if (node.empty()) return;
    calls.reset();
    if (!response.ok()) return done(base::wrap(std::move(response).error(), operation));
    if (response->status < 200 || response->status > 299)
      return done(error_from_status(response->status, response->body, operation));
    if (response->body.empty()) return done(json::value(nullptr));
    auto value = base::parse_json_carrier(response->body);
    if (!value.ok()) return done(base::wrap(std::move(value).error(), operation));
    done(std::move(value));
  });
  auto calls = weak.lock();  // the callback may have destroyed this Client
  if (!calls) return;
  if (auto it = calls->find(id); it != calls->end()) it->second = std::move(handle);
}

void Client::get(const Resource& r, std::string_view ns, std::string_view name, Done done) {
  call("GET", r.path(ns, name), {}, {}, std::move(done));
}
void Client::list(const Resource& r, std::string_view ns, std::string_view query, Done done) {
  std::string target = r.path(ns);
  if (!query.empty()) target += "?" + std::string(query);
  call("GET", std::move(target), {}, {}, std::move(done));
}
void Client::create(const Resource& r, std::string_view ns, json::value object, Done done) {
  call("POST", r.path(ns), "application/json", base::to_json(object), std::move(done));
}
void Client::update(const Resource& r, std::string_view ns, std::string_view name, json::value object,
                    Done done, std::string_view sub) {
  call("PUT", r.path(ns, name, sub), "application/json", base::to_json(object), std::move(done));
}
void Client::patch(const Resource& r, std::string_view ns, std::string_view name, std::string_view type,
                   json::value patch, Done done, std::string_view sub) {
  call("PATCH", r.path(ns, name, sub), "application/" + std::string(type) + "-patch+json",
       base::to_json(patch), std::move(done));
}
void Client::remove(const Resource& r, std::string_view ns, std::string_view name, json::value options,
                    Done done) {
  bool empty = options.is_null();
  call("DELETE", r.path(ns, name), empty ? "" : "application/json", empty ? "" : base::to_json(options),
       std::move(done));
}

}  // namespace api
