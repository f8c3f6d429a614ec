// WATCH: the state now or the events since a revision, then every event as it happens.
#include "api/status.h"
#include "master/custom_conversion.h"
#include "master/list_options.h"
#include "master/server.h"

namespace master {

namespace json = base::json;
using base::http::Bytes;

namespace {

constexpr auto kBookmarkInterval = std::chrono::seconds(60);
constexpr int kDefaultWatchSeconds = 3600;

}  // namespace

// One watch: a listener on the cache that writes lines to its exchange.
struct ApiServer::Watcher : std::enable_shared_from_this<Watcher> {
  ApiServer* server;
  RequestPtr request;
  Filter filter;
  std::shared_ptr<ObjectCache> objects;
  uint64_t listener = 0, id = 0;
  bool bookmarks = false, columns_sent = false, begun = false;
  int64_t sent_revision = 0;
  base::Loop::Handle timeout;
  // Where a webhook converts: what waits for it, in order.
  std::vector<WatchEvent> waiting;
  bool converting = false;

  void send(std::string_view type, const StoredObject& object, const Bytes& shared_line) {
    bool as_cached = !request->resource->stored_version && !request->resource->conversion;
    if (shared_line && request->rendering == Rendering::kObject && as_cached) {
      request->exchange->write(shared_line);
    } else {
      request->exchange->write(event_line(type, *server->render(*request, object, !columns_sent)));
      columns_sent = true;
    }
  }
  void on_event(const WatchEvent& event) {
    // An object that leaves the selection is deleted for this watcher, one that enters is added.
    bool now = event.type != WatchEvent::Type::kDeleted && filter.matches(*event.object);
    bool before = event.previous && filter.matches(*event.previous);
    if (event.type == WatchEvent::Type::kDeleted) before = filter.matches(*event.object);
    if (!now && !before) return;
    sent_revision = event.revision;
    if (now && before) return send("MODIFIED", *event.object, event.line());
    if (now)
      return send("ADDED", *event.object, event.type == WatchEvent::Type::kAdded ? event.line() : nullptr);
    send("DELETED", *event.object, event.type == WatchEvent::Type::kDeleted ? event.line() : nullptr);
  }
  void queue(const WatchEvent& event) {
    waiting.push_back(event);
    pump();
  }
  void pump() {
    if (converting || waiting.empty()) return;
    converting = true;
    std::vector<ObjectRef> objects;
    for (const WatchEvent& event : waiting)
      if (filter.matches(*event.object) || (event.previous && filter.matches(*event.previous))) objects.push_back(event.object);
    request->resource->conversion->show(request->resource, objects, [this, weak = weak_from_this(), count = waiting.size()](json::value refusal) {
      auto self = weak.lock();
      if (!self) return;
      converting = false;
      if (!refusal.is_null()) {
        request->exchange->write(event_line("ERROR", json::serialize(refusal)));
        return end(true);
      }
      std::vector<WatchEvent> ready(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(count));
      waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(count));
      for (const WatchEvent& event : ready) on_event(event);
      pump();
    });
  }
  // The head of the answer, and the state at `revision`.
  void begin(const std::vector<ObjectRef>& initial, bool tells_end, int64_t revision) {
    base::http::Headers headers;
    headers.add("Content-Type", "application/json");
    headers.add("Cache-Control", "no-cache, private");
    request->exchange->start(200, std::move(headers));
    begun = true;
    for (const ObjectRef& object : initial)
      send("ADDED", *object, request->rendering == Rendering::kObject ? event_line("ADDED", *object->text) : nullptr);
    if (tells_end) bookmark(revision, true);
    sent_revision = revision;
  }
  // What happened since; false when that is forgotten, and the watch has ended.
  bool replay(int64_t after) {
    if (after == 0) return true;
    if (after < objects->oldest_revision()) {
      // Clients that resume get the refusal as an event, as from kube-apiserver's cache.
      request->exchange->write(event_line(
          "ERROR", json::serialize(api::gone_version(static_cast<uint64_t>(after), static_cast<uint64_t>(objects->oldest_revision())))));
      end(true);
      return false;
    }
    waiting.clear();  // what came while a conversion ran is replayed as well
    objects->replay(after, [this](const WatchEvent& event) {
      if (request->resource->conversion) waiting.push_back(event);
      else on_event(event);
    });
    return true;
  }
  void bookmark(int64_t revision, bool initial_end) {
    json::object metadata{{"resourceVersion", std::to_string(revision)}, {"creationTimestamp", nullptr}};
    if (initial_end) metadata["annotations"] = json::object{{"k8s.io/initial-events-end", "true"}};
    json::object object;
    if (request->rendering == Rendering::kTable) {
      object = json::object{{"kind", "Table"}, {"apiVersion", "meta.k8s.io/v1"},
                            {"metadata", json::object{{"resourceVersion", std::to_string(revision)}}},
                            {"columnDefinitions", nullptr}, {"rows", json::array()}};
    } else {
      bool partial = request->rendering == Rendering::kPartialMetadata;
      object["kind"] = partial ? "PartialObjectMetadata" : request->resource->kind;
      object["apiVersion"] = partial ? "meta.k8s.io/v1" : request->resource->group_version();
      object["metadata"] = std::move(metadata);
    }
    sent_revision = revision;
    request->exchange->write(event_line("BOOKMARK", json::serialize(object)));
  }
  void end(bool finish) {
    if (finish && !begun) begin({}, false, 0);
    if (finish) request->exchange->finish();
    objects->unsubscribe(listener);
    server->watchers_.erase(id);  // destroys this
  }
};

void ApiServer::watch(RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  ListOptions options;
  if (json::value refusal = read_list_options(*request, true, &options); !refusal.is_null()) return request->reply_status(refusal);
  auto watcher = std::make_shared<Watcher>();
  watcher->server = this;
  watcher->request = request;
  watcher->objects = resource.objects;
  watcher->bookmarks = options.bookmarks;
  watcher->filter = std::move(options.filter);

  ObjectCache& objects = *watcher->objects;
  int64_t after = options.version.value_or(0), revision = current_revision(resource);
  bool send_initial = options.send_initial_events.value_or(false);
  bool wants_state = options.send_initial_events.value_or(after == 0);
  if (send_initial && after > revision) return request->reply_status(version_too_large(after, revision));
  watcher->id = next_watcher_++;
  watchers_[watcher->id] = watcher;
  std::weak_ptr<Watcher> weak = watcher;
  request->exchange->on_close([weak] {
    if (auto w = weak.lock()) w->end(false);
  });
  std::vector<ObjectRef> initial;
  if (wants_state) {
    auto [it, end] = objects.range(watcher->filter.ns);
    for (; it != end; ++it)
      if (watcher->filter.matches(*it->second)) initial.push_back(it->second);
  }
  auto follow = [this, weak](const WatchEvent& event) {
    auto w = weak.lock();
    if (w && w->request->resource->conversion) w->queue(event);
    else if (w) w->on_event(event);
    if (!bookmark_timer_.active()) bookmark_timer_ = loop_.after(kBookmarkInterval, [this] { send_bookmarks(); });
  };
  bool tells_end = send_initial && watcher->bookmarks;
  if (!resource.conversion) {
    watcher->begin(initial, tells_end, revision);
    if (!wants_state && !watcher->replay(after)) return;
    watcher->listener = objects.subscribe(follow);
  } else {
    watcher->converting = true;  // what happens meanwhile waits
    watcher->listener = objects.subscribe(follow);
    resource.conversion->show(request->resource, initial, [weak, initial, tells_end, revision, wants_state, after](json::value refusal) {
      auto w = weak.lock();
      if (!w) return;
      if (!refusal.is_null()) {
        w->request->reply_status(refusal);
        return w->end(false);
      }
      w->begin(initial, tells_end, revision);
      if (!wants_state && !w->replay(after)) return;
      w->converting = false;
      w->pump();
    });
  }
  int seconds = options.timeout_s > 0 ? options.timeout_s : kDefaultWatchSeconds;
  watcher->timeout = loop_.after(std::chrono::seconds(seconds), [this, weak] {
    if (auto w = weak.lock()) {
      int64_t now = current_revision(*w->request->resource);
      bool told_all = w->waiting.empty() && !w->converting;
      if (w->bookmarks && told_all && w->sent_revision < now && !w->request->resource->is_volatile) w->bookmark(now, false);
      w->end(true);
    }
  });
}

void ApiServer::end_watches(const ObjectCache& objects) {
  std::vector<std::shared_ptr<Watcher>> ended;
  for (auto& [id, watcher] : watchers_)
    if (watcher->objects.get() == &objects) ended.push_back(watcher);
  for (auto& watcher : ended) watcher->end(true);
}

// Armed by the first change after the last round, so that an idle cluster has no timer.
void ApiServer::send_bookmarks() {
  std::vector<std::shared_ptr<Watcher>> all;
  for (auto& [id, watcher] : watchers_) all.push_back(watcher);
  for (auto& watcher : all) {
    int64_t revision = current_revision(*watcher->request->resource);
    if (watcher->bookmarks && watcher->sent_revision < revision && watcher->waiting.empty() && !watcher->converting) watcher->bookmark(revision, false);
  }
}

}  // namespace master
