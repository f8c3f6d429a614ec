// Talking to the API server: calls, and informers (list, then watch, for ever). The same code runs
// over TLS in the node agents and inside the master, behind Transport. All on the loop's thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/schema.h"
#include "base/http/http.h"
#include "base/loop.h"

namespace api {

// One event of a watch as the line it came in; its bytes are the caller's. Whoever shares one shares its
// parsed form, too.
class WatchLine {
 public:
  WatchLine(std::string_view text) : text_(text) {}
  WatchLine(const WatchLine&) = delete;
  operator std::string_view() const { return text_; }
  const json::value& parsed() const;  // by the first who asks; null where the text is no JSON

 private:
  std::string_view text_;
  mutable std::optional<json::value> parsed_;
};

// One request in, one answer out, or a stream of lines. Implemented over http::Client
// (api/client/transport.h) and by the API server itself for its own controllers.
class Transport {
 public:
  virtual ~Transport() = default;
  class Call {
   public:
    virtual ~Call() = default;  // cancels; no callback after it
  };
  using Done = std::function<void(base::Result<base::http::Response>)>;
  virtual std::unique_ptr<Call> call(base::http::Request request, Done done) = 0;
  // on_open when the server has said 200; on_line gets each watch event; on_end once, with the error or
  // OK when the server ended it. A status other than 200 ends with an error whose kind says which (410
  // Gone: kConflict).
  virtual std::unique_ptr<Call> watch(base::http::Request request,
                                      std::function<void(const WatchLine&)> on_line,
                                      std::function<void(base::Status)> on_end,
                                      std::function<void()> on_open = {}) = 0;
};

// Where a kind lives: {"", "v1", "pods", "Pod"} or {"apps", "v1", "replicasets", "ReplicaSet"}.
struct Resource {
  std::string group, version, plural, kind;
  bool namespaced = true;
  std::string path(std::string_view ns, std::string_view name = {}, std::string_view sub = {}) const;
};
namespace resources {
extern const Resource pods, replication_controllers, services, endpoints, nodes, namespaces, config_maps,
    secrets, service_accounts, events, replica_sets, deployments, endpoint_slices, leases;
}

// The Status of a refusal as an Error: 404 kNotFound, 409 AlreadyExists kExists, other 409
// kConflict, 403/401 kDenied, 422/400 kInvalid, 410 kConflict, 429/5xx kUnavailable.
base::Error error_from_status(int code, std::string_view body, std::string operation);

// Calls with JSON objects. Each callback is called once unless the Client is destroyed first.
// Failures of the connection are returned, not retried: level-triggered loops observe again.
class Client {
 public:
  using Done = std::function<void(base::Result<json::value>)>;
  explicit Client(std::shared_ptr<Transport> transport, std::string user_agent);
  ~Client();

  void get(const Resource& r, std::string_view ns, std::string_view name, Done done);
  void list(const Resource& r, std::string_view ns, std::string_view query, Done done);
  void create(const Resource& r, std::string_view ns, json::value object, Done done);
  void update(const Resource& r, std::string_view ns, std::string_view name, json::value object, Done done,
              std::string_view sub = {});
  // `type` is "merge", "strategic-merge" or "json".
  void patch(const Resource& r, std::string_view ns, std::string_view name, std::string_view type,
             json::value patch, Done done, std::string_view sub = {});
  // `options` is a DeleteOptions object or null.
  void remove(const Resource& r, std::string_view ns, std::string_view name, json::value options, Done done);
  void call(std::string method, std::string target, std::string content_type, std::string body, Done done);
  Transport& transport() { return *transport_; }

 private:
  std::shared_ptr<Transport> transport_;
  std::string user_agent_;
  uint64_t next_ = 1;
  std::shared_ptr<std::map<uint64_t, std::unique_ptr<Transport::Call>>> calls_;
};

// Lists, then watches from there, again after every end, with back-off on failure (0.2 s doubling to 5 s,
// spread); a watch that told something, or lasted a while, was none. 410 Gone lists anew. Bookmarks move
// the position.
// Keeps no objects: the handler keeps what it needs of each, so memory is the handler's choice.
class Informer {
 public:
  enum class Change { kSet, kDeleted };  // kSet: added or modified, or seen again by a new list
  struct Options {
    Resource resource;
    std::string ns;  // "" = all
    std::string label_selector, field_selector;
  };
  // on_object gets every state seen; after a re-list, objects that vanished come as kDeleted with
  // only metadata.namespace and metadata.name. on_synced after each complete list.
  Informer(base::Loop& loop, Transport& transport, Options options,
           std::function<void(Change, const json::value& object)> on_object,
           std::function<void()> on_synced = {});
  ~Informer();
  void start();
  bool synced() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// A keyed queue for reconcilers: add() any number of times, each key is handed out once per round
// on the loop; a failed key comes back later (5 ms doubling to `max_backoff`, spread).
class WorkQueue {
 public:
  WorkQueue(base::Loop& loop, std::function<void(const std::string& key)> work,
            base::Duration max_backoff = std::chrono::seconds(60));
  ~WorkQueue();
  void add(const std::string& key);
  void add_after(const std::string& key, base::Duration delay);
  void failed(const std::string& key);     // adds it with back-off
  void succeeded(const std::string& key);  // forgets its back-off

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace api
