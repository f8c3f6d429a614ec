// An API server in memory for tests: the verbs, watches, generations, finalizers, graceful deletion
// and subresources that controllers rely on. Every delivery (request, answer, watch line) is its
// own step; with a seed their order between streams is drawn, so caches go stale as they do in life.
// No validation, no defaults, no authorization.
#pragma once

#include <deque>
#include <map>
#include <random>
#include <set>

#include "api/client/client.h"

namespace simulated {

namespace json = base::json;

class FakeApiServer : public api::Transport {
 public:
  explicit FakeApiServer(base::Loop& loop, uint64_t seed = 0)
      : loop_(loop), random_(seed), seeded_(seed != 0) {}

  base::Time now = base::Time(std::chrono::seconds(1800000000));
  double fail_before = 0, fail_after = 0;  // probability that a write is lost, or its answer
  // Returns a status code to refuse a request with, or 0.
  std::function<int(const base::http::Request&)> refuse;
  std::vector<std::string> writes;  // "POST /api/v1/…"

  std::unique_ptr<Call> call(base::http::Request request, Done done) override {
    auto stream = open();
    push(stream, [this, stream, request = std::move(request), done] {
      base::Result<base::http::Response> response = answer(request);
      push(stream, [done, response] { done(response); });
    });
    return std::make_unique<Handle>(stream);
  }
  std::unique_ptr<Call> watch(base::http::Request request, std::function<void(const api::WatchLine&)> on_line,
                              std::function<void(base::Status)>, std::function<void()>) override {
    auto stream = open();
    Path path = parse(request.path());
    uint64_t from = 0;
    for (auto& [key, value] : base::http::parse_query(request.query()))
      if (key == "resourceVersion") from = std::stoull(value);
    watchers_.push_back({path.collection, path.ns, on_line, stream});
    for (const Event& event : log_)
      if (event.revision > from) deliver(watchers_.back(), event);
    return std::make_unique<Handle>(stream);
  }

  // ---- for the test itself: immediate, as some other client
  json::value request(std::string method, std::string target, json::value body = nullptr,
                      std::string type = "application/json") {
    base::http::Request r;
    r.method = std::move(method);
    r.target = std::move(target);
    r.headers.add("Content-Type", type);
    if (!body.is_null()) r.body = base::to_json(body);
    auto saved = std::exchange(refuse, nullptr);
    double before = std::exchange(fail_before, 0), after = std::exchange(fail_after, 0);
    auto response = answer(r);
    refuse = saved, fail_before = before, fail_after = after;
    return base::parse_json(response.value().body).value();
  }
  json::value create(const api::Resource& r, std::string_view ns, json::value object) {
    return request("POST", r.path(ns), std::move(object));
  }
  json::value merge(const api::Resource& r, std::string_view ns, std::string_view name, json::value patch,
                    std::string_view sub = {}) {
    return request("PATCH", r.path(ns, name, sub), std::move(patch), "application/merge-patch+json");
  }
  void remove(const api::Resource& r, std::string_view ns, std::string_view name,
              json::value options = nullptr) {
    request("DELETE", r.path(ns, name), std::move(options));
  }
  const json::object* get(const api::Resource& r, std::string_view ns, std::string_view name) {
    auto& objects = objects_[parse(r.path(ns, name)).collection];
    auto at = objects.find(key(ns, name));
    return at == objects.end() ? nullptr : &at->second;
  }
  std::vector<json::object> list(const api::Resource& r, std::string_view ns = {}) {
    std::vector<json::object> out;
    for (auto& [k, object] : objects_[parse(r.path("")).collection])
      if (ns.empty() || k.starts_with(std::string(ns) + "/")) out.push_back(object);
    return out;
  }
  bool quiet() const { return ready_.empty(); }

 private:
  struct Stream {
    std::deque<std::function<void()>> steps;
    bool closed = false;
  };
  struct Handle : Call {
    explicit Handle(std::shared_ptr<Stream> s) : stream(std::move(s)) {}
    ~Handle() override {
      stream->closed = true;
      stream->steps.clear();
    }
    std::shared_ptr<Stream> stream;
  };
  struct Path {
    std::string collection, ns, name, sub, group, version, plural;
  };
  struct Event {
    uint64_t revision;
    std::string collection, ns, text;
  };
  struct Watcher {
    std::string collection, ns;
    std::function<void(std::string_view)> on_line;
    std::shared_ptr<Stream> stream;
  };

  // ---- delivery
  std::shared_ptr<Stream> open() { return std::make_shared<Stream>(); }
  void push(const std::shared_ptr<Stream>& stream, std::function<void()> step) {
    if (stream->closed) return;
    if (stream->steps.empty()) ready_.push_back(stream);
    stream->steps.push_back(std::move(step));
    pump();
  }
  void pump() {
    if (std::exchange(posted_, true)) return;
    loop_.post([this] {
      posted_ = false;
      if (ready_.empty()) return;
      size_t pick = seeded_ ? random_() % ready_.size() : 0;
      auto stream = ready_[pick];
      ready_.erase(ready_.begin() + static_cast<ptrdiff_t>(pick));
      if (!stream->steps.empty()) {
        auto step = std::move(stream->steps.front());
        stream->steps.pop_front();
        if (!stream->steps.empty()) ready_.push_back(stream);
        if (!stream->closed) step();
      }
      if (!ready_.empty()) pump();
    });
  }
  void deliver(Watcher& watcher, const Event& event) {
    if (watcher.collection != event.collection || (!watcher.ns.empty() && watcher.ns != event.ns)) return;
    push(watcher.stream, [on_line = watcher.on_line, text = event.text] { on_line(text); });
  }
  void emit(const char* type, const Path& path, const json::object& object) {
    Event event{revision_, path.collection, path.ns,
                base::to_json(json::object{{"type", type}, {"object", object}})};
    std::erase_if(watchers_, [](const Watcher& watcher) { return watcher.stream->closed; });
    for (Watcher& watcher : watchers_) deliver(watcher, event);
    log_.push_back(std::move(event));
  }

  // ---- requests
  static std::string key(std::string_view ns, std::string_view name) {
    return ns.empty() ? std::string(name) : std::string(ns) + "/" + std::string(name);
  }
  static Path parse(std::string_view text) {
    std::vector<std::string> parts;
    for (size_t at = 1; at <= text.size();) {
      size_t end = std::min(text.find('/', at), text.size());
      parts.push_back(base::http::unescape(text.substr(at, end - at)).value());
      at = end + 1;
    }
    Path path;
    size_t i = parts[0] == "api" ? 1 : 2;
    if (i == 2) path.group = parts.size() > 1 ? parts[1] : "";
    if (parts.size() > i) path.version = parts[i];
    ++i;
    if (parts.size() > i + 2 && parts[i] == "namespaces" && parts[i + 2] != "finalize" &&
        parts[i + 2] != "status") {
      path.ns = parts[i + 1];
      i += 2;
    }
    if (parts.size() > i) path.plural = parts[i];
    if (parts.size() > i + 1) path.name = parts[i + 1];
    if (parts.size() > i + 2) path.sub = parts[i + 2];
    path.collection = path.group + "/" + path.plural;
    return path;
  }
  static base::http::Response reply(int status, const json::value& body) {
    base::http::Response response;
    response.status = status;
    response.body = base::to_json(body);
    return response;
  }
  static base::http::Response refusal(int code, std::string reason, std::string message) {
    return reply(code, json::object{{"kind", "Status"},
                                    {"apiVersion", "v1"},
                                    {"status", "Failure"},
                                    {"reason", reason},
                                    {"message", message},
                                    {"code", code}});
  }
  bool chance(double p) { return p > 0 && std::uniform_real_distribution<double>(0, 1)(random_) < p; }

  base::Result<base::http::Response> answer(const base::http::Request& request) {
    const bool write = request.method != "GET";
    if (write && request.target.find("/events") == std::string::npos &&
        request.target.find("/leases") == std::string::npos)
      writes.push_back(request.method + " " + request.target);
    auto lost = [] { return base::make_error(base::Kind::kUnavailable, "simulated request", "", "lost"); };
    if (write && chance(fail_before)) return lost();
    if (refuse)
      if (int code = refuse(request)) return refusal(code, "Forbidden", "refused by the test");
    base::http::Response response = serve(request);
    if (write && chance(fail_after)) return lost();
    return response;
  }
  base::http::Response serve(const base::http::Request& request) {
    Path path = parse(request.path());
    if (path.plural.empty()) return discovery(path);
    auto& objects = objects_[path.collection];
    json::value body;
    if (!request.body.empty()) body = base::parse_json(request.body).value();
    if (request.method == "GET" && path.name.empty()) {
      json::array items;
      for (auto& [k, object] : objects)
        if (path.ns.empty() || k.starts_with(path.ns + "/")) items.push_back(object);
      return reply(200, json::object{{"kind", "List"},
                                     {"metadata", {{"resourceVersion", std::to_string(revision_)}}},
                                     {"items", std::move(items)}});
    }
    if (request.method == "POST" && path.sub.empty()) return create_object(path, std::move(body.as_object()));
    auto at = objects.find(key(path.ns, path.name));
    if (at == objects.end())
      return refusal(404, "NotFound", path.plural + " \"" + path.name + "\" not found");
    json::object& object = at->second;
    if (request.method == "GET") return reply(200, object);
    if (request.method == "DELETE") return remove_object(path, object, body);
    if (request.method == "POST" && path.sub == "binding") {
      if (!base::string_at(json::value(object), "spec", "nodeName").empty())
        return refusal(409, "Conflict", "pod is already assigned to a node");
      json::object next = object;
      base::object_at(next, "spec")["nodeName"] = base::string_at(body, "target", "name");
      store(path, next);
      return reply(201, json::object{{"kind", "Status"}, {"status", "Success"}});
    }
    json::object next = object;
    if (request.method == "PATCH") {
      json::value patched = object;
      std::string_view uid = base::string_at(body, "metadata", "uid");
      if (!uid.empty() && uid != base::string_at(patched, "metadata", "uid"))
        return refusal(409, "Conflict", "uid differs");
      if (auto bad = stale(body, object)) return *bad;
      merge_into(patched, body,
                 request.headers.get("Content-Type").find("strategic") != std::string_view::npos);
      next = patched.as_object();
    } else {
      if (auto bad = stale(body, object)) return *bad;
      next = body.as_object();
      for (const char* field :
           {"uid", "creationTimestamp", "deletionTimestamp", "generation", "name", "namespace"})
        if (auto* old = object["metadata"].as_object().if_contains(field))
          base::object_at(next, "metadata")[field] = *old;
    }
    if (path.sub == "status") {
      json::value status = next.contains("status") ? next["status"] : json::value();
      json::value annotations_less = object["metadata"];
      next = object;
      if (!status.is_null()) next["status"] = status;
    } else if (path.sub == "scale") {
      json::value replicas = *base::find_path(json::value(next), "spec", "replicas");
      next = object;
      base::object_at(next, "spec")["replicas"] = replicas;
    } else if (path.sub.empty() && object.contains("status")) {
      next["status"] = object["status"];
    }
    next["metadata"].as_object()["resourceVersion"] = object["metadata"].at("resourceVersion");
    if (next == object) return reply(200, object);  // as kube-apiserver: nothing changed, no event
    if (auto* spec = next.if_contains("spec"); spec && (!object.contains("spec") || *spec != object["spec"]))
      next["metadata"].as_object()["generation"] =
          base::as_int(base::find_path(json::value(object), "metadata", "generation")) + 1;
    return finish_if_free(path, std::move(next));
  }
  std::optional<base::http::Response> stale(const json::value& body, const json::object& object) {
    std::string_view given = base::string_at(body, "metadata", "resourceVersion");
    if (given.empty() || given == base::string_at(json::value(object), "metadata", "resourceVersion"))
      return {};
    return refusal(409, "Conflict", "the object has been modified");
  }
  base::http::Response create_object(const Path& path, json::object object) {
    if (auto ns = get(api::resources::namespaces, "", path.ns);
        ns && !base::string_at(json::value(*ns), "metadata", "deletionTimestamp").empty())
      return refusal(403, "Forbidden", "unable to create new content: it is being terminated");
    json::object& meta = base::object_at(object, "metadata");
    std::string name(base::as_string(meta.if_contains("name")));
    if (name.empty())
      name =
          std::string(base::as_string(meta.if_contains("generateName"))) + std::to_string(10000 + ++names_);
    meta["name"] = name;
    Path full = path;
    full.name = name;
    if (!path.ns.empty()) meta["namespace"] = path.ns;
    if (objects_[path.collection].count(key(path.ns, name)))
      return refusal(409, "AlreadyExists", path.plural + " \"" + name + "\" already exists");
    meta["uid"] = "uid-" + std::to_string(++names_);
    meta["creationTimestamp"] = base::format_time(now);
    meta["generation"] = 1;
    if (path.plural == "pods") base::object_at(object, "status").emplace("phase", "Pending");
    if (path.plural == "namespaces") {
      base::object_at(object, "spec")["finalizers"] = json::array{"kubernetes"};
      base::object_at(object, "status")["phase"] = "Active";
    }
    json::object stored = store(full, std::move(object));
    return reply(201, stored);
  }
  base::http::Response remove_object(const Path& path, json::object object, const json::value& options) {
    std::string_view uid = base::string_at(options, "preconditions", "uid");
    if (!uid.empty() && uid != base::string_at(json::value(object), "metadata", "uid"))
      return refusal(409, "Conflict", "uid differs");
    json::object& meta = object["metadata"].as_object();
    std::string_view policy = base::string_at(options, "propagationPolicy");
    if (policy == "Foreground" || policy == "Orphan") {
      json::value& list = meta["finalizers"];
      if (!list.is_array()) list = json::array();
      list.get_array().push_back(policy == "Orphan" ? "orphan" : "foregroundDeletion");
    }
    const bool force = base::as_int(base::find(options, "gracePeriodSeconds"), -1) == 0;
    const bool graceful =
        path.plural == "pods" && !base::string_at(json::value(object), "spec", "nodeName").empty() && !force;
    if (graceful && meta.contains("deletionTimestamp")) return reply(200, object);
    if (graceful || path.plural == "namespaces" || !free(object)) {
      if (!meta.contains("deletionTimestamp")) meta["deletionTimestamp"] = base::format_time(now);
      if (path.plural == "namespaces") base::object_at(object, "status")["phase"] = "Terminating";
      return reply(200, store(path, std::move(object)));
    }
    erase(path, object);
    return reply(200, object);
  }
  static bool free(const json::object& object) {
    const json::value wrapped(object);
    const json::value* list = base::find_path(wrapped, "metadata", "finalizers");
    if (list && list->is_array() && !list->get_array().empty()) return false;
    if (base::string_at(wrapped, "kind") != "Namespace") return true;
    list = base::find_path(wrapped, "spec", "finalizers");
    return !list || !list->is_array() || list->get_array().empty();
  }
  base::http::Response finish_if_free(const Path& path, json::object next) {
    const bool graceful_pod =
        path.plural == "pods" && !base::string_at(json::value(next), "spec", "nodeName").empty();
    if (next["metadata"].as_object().contains("deletionTimestamp") && free(next) && !graceful_pod) {
      erase(path, next);
      return reply(200, next);
    }
    return reply(200, store(path, std::move(next)));
  }
  json::object store(const Path& path, json::object object) {
    const bool fresh = !objects_[path.collection].count(key(path.ns, path.name));
    object["metadata"].as_object()["resourceVersion"] = std::to_string(++revision_);
    objects_[path.collection][key(path.ns, path.name)] = object;
    emit(fresh ? "ADDED" : "MODIFIED", path, object);
    return object;
  }
  void erase(const Path& path, json::object object) {
    object["metadata"].as_object()["resourceVersion"] = std::to_string(++revision_);
    objects_[path.collection].erase(key(path.ns, path.name));
    emit("DELETED", path, object);
  }
  static const char* list_key(std::string_view field) {
    return field == "conditions" ? "type" : field == "ownerReferences" ? "uid" : nullptr;
  }
  static void merge_into(json::value& target, const json::value& patch, bool strategic) {
    if (!patch.is_object()) {
      target = patch;
      return;
    }
    if (!target.is_object()) target = json::object();
    for (const auto& item : patch.get_object()) {
      json::object& object = target.get_object();
      if (item.value().is_null()) object.erase(item.key());
      else if (strategic && item.value().is_array() && list_key(item.key()))
        merge_list(object[item.key()], item.value().get_array(), list_key(item.key()));
      else merge_into(object[item.key()], item.value(), strategic);
    }
  }
  static void merge_list(json::value& target, const json::array& patch, const char* by) {
    if (!target.is_array()) target = json::array();
    for (const json::value& item : patch) {
      json::array& list = target.get_array();
      auto at = std::find_if(list.begin(), list.end(), [&](const json::value& old) {
        return base::string_at(old, by) == base::string_at(item, by);
      });
      if (base::string_at(item, "$patch") == "delete") {
        if (at != list.end()) list.erase(at);
      } else if (at == list.end()) {
        list.push_back(item);
      } else {
        merge_into(*at, item, true);
      }
    }
    if (target.get_array().empty()) target = json::array();
  }
  base::http::Response discovery(const Path& path) {
    namespace r = api::resources;
    auto lists = [](std::string group_version, std::vector<api::Resource> kinds) {
      json::array out;
      for (const api::Resource& kind : kinds)
        out.push_back(json::object{{"name", kind.plural},
                                   {"kind", kind.kind},
                                   {"namespaced", kind.namespaced},
                                   {"verbs", json::array{"list", "watch", "delete"}}});
      return json::object{{"groupVersion", group_version}, {"resources", std::move(out)}};
    };
    auto group = [](std::string name) {
      return json::object{{"name", name}, {"preferredVersion", {{"groupVersion", name + "/v1"}}}};
    };
    if (path.version == "v1" && path.group.empty())
      return reply(200,
                   lists("v1", {r::pods, r::replication_controllers, r::services, r::endpoints, r::nodes,
                                r::namespaces, r::config_maps, r::secrets, r::service_accounts, r::events}));
    if (path.group.empty())
      return reply(200, json::object{{"groups", json::array{group("apps"), group("discovery.k8s.io"),
                                                            group("coordination.k8s.io"), group("batch"),
                                                            group("apiextensions.k8s.io"),
                                                            group("apiregistration.k8s.io")}}});
    if (path.group == "batch") return reply(200, lists("batch/v1", {{"batch", "v1", "jobs", "Job"}}));
    if (path.group == "apiextensions.k8s.io")
      return reply(
          200, lists("apiextensions.k8s.io/v1", {{"apiextensions.k8s.io", "v1", "customresourcedefinitions",
                                                  "CustomResourceDefinition", false}}));
    if (path.group == "apiregistration.k8s.io")
      return reply(200, lists("apiregistration.k8s.io/v1",
                              {{"apiregistration.k8s.io", "v1", "apiservices", "APIService", false}}));
    if (path.group == "apps") return reply(200, lists("apps/v1", {r::replica_sets, r::deployments}));
    if (path.group == "discovery.k8s.io")
      return reply(200, lists("discovery.k8s.io/v1", {r::endpoint_slices}));
    return reply(200, lists("coordination.k8s.io/v1", {r::leases}));
  }

  base::Loop& loop_;
  std::mt19937_64 random_;
  bool seeded_, posted_ = false;
  uint64_t revision_ = 1, names_ = 0;
  std::map<std::string, std::map<std::string, json::object>> objects_;
  std::vector<Event> log_;
  std::vector<Watcher> watchers_;
  std::vector<std::shared_ptr<Stream>> ready_;
};

}  // namespace simulated
