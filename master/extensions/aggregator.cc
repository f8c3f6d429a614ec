#include "master/extensions/aggregator.h"

#include "api/status.h"
#include "base/http/forward.h"
#include "base/tls_unverified.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;
using base::http::Client;

namespace {

constexpr auto kPatience = std::chrono::seconds(60);  // kube-apiserver's --request-timeout

// kube-aggregator's refusals are text.
void answer_refused(const RequestPtr& request, int code, std::string text) {
  request->reply_bytes(code, {base::http::bytes(std::move(text) + "\n")}, "text/plain; charset=utf-8");
}
// "/apis/GROUP/VERSION" and nothing behind it.
bool split_group_version(std::string_view path, std::string_view* group, std::string_view* version) {
  if (!path.starts_with("/apis/")) return false;
  path.remove_prefix(6);
  if (path.ends_with('/')) path.remove_suffix(1);
  size_t slash = path.find('/');
  if (slash == path.npos || path.find('/', slash + 1) != path.npos) return false;
  *group = path.substr(0, slash);
  *version = path.substr(slash + 1);
  return true;
}

}  // namespace

Aggregator::Aggregator(Registry& registry, const FrontProxy& front_proxy, base::metrics::Registry& metrics,
                       api::Client& client, api::WorkQueue& queue)
    : registry_(registry), front_proxy_(front_proxy), metrics_(metrics), client_(client), queue_(queue),
      calls_(std::make_shared<std::map<uint64_t, Call>>()) {
  services_listener_ = registry_.cache("", "services").subscribe([this](const WatchEvent& event) {
    if (!remotes_.empty()) wake_users_of(std::string(event.object->ns()), event.object->name());
  });
  slices_listener_ =
      registry_.cache("discovery.k8s.io", "endpointslices").subscribe([this](const WatchEvent& event) {
        if (remotes_.empty()) return;
        auto label = event.object->labels.find("kubernetes.io/service-name");
        if (label != event.object->labels.end())
          wake_users_of(std::string(event.object->ns()), label->second);
      });
}
Aggregator::~Aggregator() {
  registry_.cache("", "services").unsubscribe(services_listener_);
  registry_.cache("discovery.k8s.io", "endpointslices").unsubscribe(slices_listener_);
  auto ended = std::move(*calls_);  // an entry's destructor must not find the map half gone
}

void Aggregator::wake(const std::string& name) {
  auto it = remotes_.find(name);
  if (it == remotes_.end()) return;
  it->second->due = true;
  queue_.add(name);
}
void Aggregator::wake_users_of(const std::string& ns, std::string_view service) {
  for (const auto& [name, remote] : remotes_)
    if (remote->spec.ns == ns && remote->spec.service == service) wake(name);
}

void Aggregator::publish() {
  std::set<std::string, std::less<>> served;
  for (const auto& [name, remote] : remotes_) served.insert(remote->spec.group_version());
  registry_.resources().set_remote(std::move(served));
  ++generation_;
}

void Aggregator::follow(const std::string& name, const json::value& api_service, RemoteService spec) {
  RemoteRef& remote = remotes_[name];
  if (!remote || remote->spec != spec) {
    auto made = std::make_shared<Remote>();
    made->name = name;
    // Until the first check is through, what was known before a restart or a change of the spec.
    made->available = is_available(api_service);
    if (remote) made->resources = std::move(remote->resources);
    made->spec = std::move(spec);
    remote = std::move(made);
    publish();
  }
  if (!remote->due || remote->checking) return queue_.succeeded(name);
  check(remote);
}

void Aggregator::drop(const std::string& name) {
  if (remotes_.erase(name) != 0) publish();
}

base::Result<std::shared_ptr<Client>> Aggregator::client_for(Remote& remote, const ServiceEndpoint& to) {
  if (!remote.context)
    remote.context = remote.spec.insecure
                         ? TRY(base::tls::unverified_client(front_proxy_.own))
                         : TRY(base::tls::Context::client(remote.spec.ca_pem, front_proxy_.own));
  auto& client = remote.clients[to.address + ":" + std::to_string(to.port)];
  if (!client) {
    Client::Options options;
    options.host = to.address;
    options.port = to.port;
    options.server_name = remote.spec.server_name();
    client = std::make_shared<Client>(registry_.loop(), remote.context, options);
  }
  return client;
}

Aggregator::RemoteRef Aggregator::target_of(const RequestInfo& request) const {
  if (remotes_.empty()) return nullptr;
  std::string_view group, version;
  if (request.resource) {
    if (!request.resource->remote) return nullptr;
    group = request.resource->group;
    version = request.resource->version;
  } else {
    std::string_view path = request.http().path();
    constexpr std::string_view kOpenApi = "/openapi/v3";
    if (path.starts_with(kOpenApi)) path.remove_prefix(kOpenApi.size());
    if (!split_group_version(path, &group, &version)) return nullptr;
  }
  auto it = remotes_.find(std::string(version).append(".").append(group));
  return it == remotes_.end() ? nullptr : it->second;
}

bool Aggregator::serve(const RequestPtr& request) {
  RemoteRef remote = target_of(*request);
  if (!remote) return false;
  if (!remote->available || remote->endpoints.empty()) {
    answer_refused(request, 503, "service unavailable");
    return true;
  }
  auto client = client_for(*remote, any_of(remote->endpoints));
  if (!client.ok()) {
    answer_refused(request, 500, client.error().message());
    return true;
  }
  uint64_t id = next_++;
  auto forget = [&loop = registry_.loop(), weak = std::weak_ptr(calls_), id] {
    loop.post([weak, id] {
      if (auto calls = weak.lock()) calls->erase(id);
    });
  };
  request->exchange->on_close(forget);
  base::http::ForwardOptions options;
  options.started = std::make_shared<bool>(false);
  options.change_headers = [&](base::http::Headers& headers) {
    name_user(headers, request->user, request->http().peer.address);
  };
  Call& call = (*calls_)[id];
  call.client = *client;
  bool endless = long_running(*request) || !request->http().headers.get("Upgrade").empty();
  if (!endless)
    call.deadline = registry_.loop().after(
        kPatience, [request, forget, started = options.started, weak = std::weak_ptr(calls_), id] {
          auto calls = weak.lock();
          if (!calls || *started) return;
          auto it = calls->find(id);
          if (it == calls->end()) return;
          it->second.call.reset();  // nothing of it comes any more
          answer_refused(request, 504, "the server behind this API did not answer in time");
          forget();
        });
  call.call = base::http::forward(
      **client, request->exchange, request->http().target,
      [this, request, forget, name = remote->name, weak = std::weak_ptr(calls_)](base::Status status,
                                                                                 bool answered) {
        if (!status.ok() && !answered)
          answer_refused(request, 503, "error trying to reach service: " + status.error().message());
        if (!status.ok() && !weak.expired()) wake(name);  // not only this request may fail
        forget();
      },
      options);
  return true;
}

}  // namespace master
