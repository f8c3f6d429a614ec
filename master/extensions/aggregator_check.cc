// Whether the servers behind APIServices answer, and what they say of themselves. A check runs when
// the APIService, its Service or its EndpointSlices change, after a failure with back-off, and once a
// minute where it passed.
#include <algorithm>

#include "base/log.h"
#include "master/extensions/aggregator.h"
#include "master/registry/registry.h"

namespace master {

namespace json = base::json;
using base::http::Client;

namespace {

constexpr auto kCheckTimeout = std::chrono::seconds(5), kCheckAgain = std::chrono::seconds(60);
constexpr auto kWriteAgain = std::chrono::seconds(1);
constexpr size_t kAttempts = 3;

}  // namespace

// As one who may see everything: what an answer says of the server must not depend on who asked.
void Aggregator::get(const RemoteRef& remote, const ServiceEndpoint& from, std::string target,
                     std::string tag, Client::Done done) {
  auto client = client_for(*remote, from);
  if (!client.ok()) return done(client.error());
  base::http::Request request;
  request.target = std::move(target);
  request.headers.add("Host", remote->spec.server_name());
  request.headers.add("Accept", "application/json");
  request.headers.add("User-Agent", "sampan-master");
  if (!tag.empty()) request.headers.add("If-None-Match", std::move(tag));
  name_user(request.headers, {"system:kube-aggregator", {"system:masters"}}, {});
  uint64_t id = next_++;
  Call& call = (*calls_)[id];
  call.client = *client;
  call.call = (*client)->call(
      std::move(request), kCheckTimeout,
      [weak = std::weak_ptr(calls_), id, done = std::move(done)](base::Result<base::http::Response> result) {
        auto calls = weak.lock();
        if (!calls) return;
        auto ended = calls->extract(id);  // the call ends after its callback
        done(std::move(result));
      });
}

void Aggregator::check(const RemoteRef& remote) {
  remote->due = false;
  ServiceLookup found =
      look_up_service(registry_, remote->spec.ns, remote->spec.service, std::to_string(remote->spec.port));
  remote->endpoints = found.endpoints;
  std::erase_if(remote->clients, [&](const auto& client) {
    for (const ServiceEndpoint& one : found.endpoints)
      if (client.first == one.address + ":" + std::to_string(one.port)) return false;
    return true;
  });
  if (auto known = unreachable(remote->spec, found)) return conclude(remote, *known);  // a change wakes us
  remote->checking = true;
  ask(remote, 0);
}

void Aggregator::ask(const RemoteRef& remote, size_t attempt) {
  const ServiceEndpoint at = remote->endpoints[(next_ + attempt) % remote->endpoints.size()];
  std::string path = "/apis/" + remote->spec.group_version();
  get(remote, at, path, {}, [this, remote, at, attempt, path](base::Result<base::http::Response> result) {
    if (auto it = remotes_.find(remote->name); it == remotes_.end() || it->second != remote)
      return;  // replaced meanwhile
    std::string url = "https://" + at.address + ":" + std::to_string(at.port) + path, why;
    if (!result.ok()) why = result.error().message();
    else if (result->status < 200 || result->status > 299)
      why = "bad status from " + url + ": " + std::to_string(result->status);
    if (!why.empty()) {
      if (attempt + 1 < kAttempts && !remote->endpoints.empty()) return ask(remote, attempt + 1);
      return conclude(
          remote, {false, "FailedDiscoveryCheck", "failing or missing response from " + url + ": " + why});
    }
    auto list = base::parse_json(result->body);
    if (list.ok() && list->is_object() && *list != remote->resources) {
      remote->resources = std::move(*list);
      ++generation_;
    }
    conclude(remote, {true, "Passed", "all checks passed"});
    fetch_openapi_v3(remote);
  });
}

void Aggregator::conclude(const RemoteRef& remote, const Availability& now_is) {
  remote->checking = false;
  const std::string& name = remote->name;
  if (remote->available != now_is.available) {
    base::log::info("api service {}: {}", name, now_is.available ? "available" : now_is.message);
    remote->available = now_is.available;
    ++generation_;
  }
  queue_.succeeded(name);
  bool asked = now_is.available || now_is.reason == "FailedDiscoveryCheck";
  if (now_is.available) remote->backoff.reset();
  if (remote->due) queue_.add(name);  // something changed while the check ran
  else if (asked)
    remote->timer = registry_.loop().after(now_is.available ? kCheckAgain : remote->backoff.next(),
                                           [this, name] { wake(name); });
  metrics_
      .gauge("aggregator_unavailable_apiservice",
             "Gauge of APIServices which are marked as unavailable broken down by APIService name.",
             {{"name", name}})
      .set(now_is.available ? 0 : 1);
  ObjectRef found = registry_.cache(kApiServices.group, kApiServices.plural).find(object_key("", name));
  if (!found) return;
  json::value updated = with_availability(parse_object(*found->text), now_is, base::wall_now());
  if (updated.is_null()) return;
  client_.update(
      kApiServices, "", name, std::move(updated),
      [this, name](base::Result<json::value> result) {
        if (result.ok() || result.error().kind == base::Kind::kNotFound) return;
        if (result.error().kind != base::Kind::kConflict)
          base::log::warning("api service {}: {}", name, result.error().message());
        if (auto it = remotes_.find(name); it != remotes_.end())
          it->second->timer = registry_.loop().after(kWriteAgain, [this, name] { wake(name); });
      },
      "status");
}

void Aggregator::fetch_openapi_v3(const RemoteRef& remote) {
  if (remote->endpoints.empty()) return;
  get(remote, any_of(remote->endpoints), "/openapi/v3", {},
      [this, remote](base::Result<base::http::Response> result) {
        std::string url;
        if (result.ok() && result->status == 200)
          if (auto index = base::parse_json(result->body); index.ok())
            url =
                base::string_at(*index, "paths", "apis/" + remote->spec.group_version(), "serverRelativeURL");
        if (!url.starts_with("/openapi/v3/apis/" + remote->spec.group_version()))
          url.clear();  // nothing else is passed on
        if (url == remote->openapi_v3_url) return;
        remote->openapi_v3_url = std::move(url);
        ++generation_;
      });
}

void Aggregator::with_openapi_v2(std::function<void()> then) {
  struct Progress {
    size_t left = 1;
    std::function<void()> then;
  };
  auto progress = std::make_shared<Progress>();
  progress->then = std::move(then);
  auto ended = [progress] {
    if (--progress->left == 0) progress->then();
  };
  auto now = base::steady_now();
  for (const auto& [name, remote] : remotes_) {
    bool fresh = remote->openapi_v2_at != std::chrono::steady_clock::time_point() &&
                 now - remote->openapi_v2_at < kCheckAgain;
    if (!remote->available || remote->endpoints.empty() || fresh) continue;
    ++progress->left;
    remote->openapi_v2_at = now;
    get(remote, any_of(remote->endpoints), "/openapi/v2", remote->openapi_v2_tag,
        [this, remote, ended](base::Result<base::http::Response> result) {
          if (result.ok() && result->status == 200) {
            remote->openapi_v2_tag = result->headers.get("ETag");
            remote->openapi_v2 = base::http::bytes(std::move(result->body));
            ++generation_;
          }
          ended();
        });
  }
  ended();
}

}  // namespace master
