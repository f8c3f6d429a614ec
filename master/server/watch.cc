// WATCH: the state now or the events since a revision, then every event as it happens.
#include "master/server/watch.h"

#include <deque>
#include <tuple>

#include "api/protobuf.h"
#include "api/status.h"
#include "base/http/feed.h"
#include "master/registry/conversion.h"
#include "master/server/handlers.h"
#include "master/server/list_options.h"

namespace master {

namespace json = base::json;
using base::http::Bytes;

namespace {

constexpr auto kBookmarkInterval = std::chrono::seconds(60);
constexpr int kDefaultWatchSeconds = 3600;
// Of objects that changed while a client was still reading; most are shared with others and the history.
constexpr size_t kMaxWaitingBytes = 64u << 20;
constexpr int kPassedAtOnce = 1000;       // objects that a selector does not select
constexpr size_t kConvertedAtOnce = 500;  // in one review

}  // namespace

// One watch: a listener on the cache that writes lines to its exchange. What its client is owed lies
// here as references to what the cache and its history hold anyway, and is written as the client takes
// it: first the state, then what happened meanwhile.
struct Watches::Watcher : std::enable_shared_from_this<Watcher> {
  Watches* watches;
  RequestPtr request;
  Filter filter;
  std::shared_ptr<ObjectCache> objects;
  std::shared_ptr<base::http::Feed> feed;
  uint64_t listener = 0, id = 0;
  bool bookmarks = false, columns_sent = false, begun = false;
  int64_t sent_revision = 0;
  base::Loop::Handle timeout;
  // The state at `revision`, told up to `at`; null when all of it is. tells_end: with a bookmark.
  std::shared_ptr<const ObjectCache::Snapshot> state;
  size_t at = 0, until = 0;
  int64_t revision = 0;
  bool tells_end = false;
  std::deque<WatchEvent> waiting;
  size_t waiting_bytes = 0;
  // Where a webhook converts: how much of the state, or of what waits, it has done.
  size_t shown = 0;
  bool converting = false;

  static const api::Type& meta(const char* name) {
    return *api::find_type("io.k8s.apimachinery.pkg.apis.meta.v1", name);
  }
  bool converts() const { return request->resource->conversion != nullptr; }
  bool told_all() const { return !state && waiting.empty() && !converting; }
  bool shares_lines() const {
    const ResourceInfo& resource = *request->resource;
    return request->rendering == Rendering::kObject && !request->protobuf && !resource.stored_version &&
           !resource.conversion;
  }
  bool concerns(const WatchEvent& event) const {
    return filter.matches(*event.object) || (event.previous && filter.matches(*event.previous));
  }
  void send_error(const json::value& status) {
    request->exchange->write(request->protobuf ? base::http::bytes(api::protobuf_event_frame(
                                                     "ERROR", api::protobuf_of(meta("Status"), status)))
                                               : event_line("ERROR", json::serialize(status)));
  }
  void send(std::string_view type, const StoredObject& object, const Bytes& shared_line) {
    if (request->protobuf) {
      request->exchange->write(
          base::http::bytes(api::protobuf_event_frame(type, *render(*request, object, false))));
    } else if (shared_line && shares_lines()) {
      request->exchange->write(shared_line);
    } else {
      request->exchange->write(event_line(type, *render(*request, object, !columns_sent)));
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
  void follow(const WatchEvent& event) {
    if (told_all() && !converts() && feed->has_room()) return on_event(event);
    if (!concerns(event)) return;
    if (shares_lines()) event.line();  // made once, for all who have to wait
    waiting_bytes += event.object->text->size();
    waiting.push_back(event);
    if (waiting_bytes > kMaxWaitingBytes)
      return end(true);  // it falls behind for good, and has to list again
    feed->run();
  }
  // Writes a piece of what is owed; false when nothing is, or it waits for a webhook.
  bool next() {
    if (converting) return false;
    if (state) {
      next_of_state();
      return true;
    }
    if (waiting.empty()) return false;
    if (converts() && shown == 0) {
      std::vector<ObjectRef> objects;
      for (const WatchEvent& event : waiting) objects.push_back(event.object);
      show(objects, waiting.size());
      return true;
    }
    if (shown > 0) --shown;
    WatchEvent event = std::move(waiting.front());
    waiting.pop_front();
    waiting_bytes -= event.object->text->size();
    on_event(event);
    return true;
  }
  void next_of_state() {
    if (converts() && shown <= at && at < until) {
      std::vector<ObjectRef> objects;
      size_t end = std::min(at + kConvertedAtOnce, until);
      for (size_t i = at; i < end; ++i)
        if (filter.matches(*(*state)[i])) objects.push_back((*state)[i]);
      return show(objects, end);
    }
    if (!begun) begin();
    for (int passed = 0; at < until && passed < kPassedAtOnce; ++passed) {
      const ObjectRef& object = (*state)[at++];
      if (!filter.matches(*object)) continue;
      return send("ADDED", *object, shares_lines() ? event_line("ADDED", *object->text) : nullptr);
    }
    if (at < until) return;
    state.reset();
    shown = 0;
    if (tells_end) bookmark(revision, true);
    sent_revision = revision;
  }
  // Has a webhook convert them; then `done` of the state, or of what waits, is.
  void show(const std::vector<ObjectRef>& objects, size_t done) {
    converting = true;
    request->resource->conversion->show(request->resource, objects,
                                        [weak = weak_from_this(), done](json::value refusal) {
                                          auto self = weak.lock();
                                          if (!self) return;
                                          self->converting = false;
                                          if (refusal.is_null()) {
                                            self->shown = done;
                                            return self->feed->run();
                                          }
                                          if (self->begun) {
                                            self->send_error(refusal);
                                            return self->end(true);
                                          }
                                          self->request->reply_status(refusal);
                                          self->end(false);
                                        });
  }
  void begin() {
    base::http::Headers headers = request->headers(
        request->protobuf ? std::string(api::kProtobufMediaType) + ";stream=watch" : "application/json");
    headers.add("Cache-Control", "no-cache, private");
    request->exchange->start(200, std::move(headers));
    begun = true;
  }
  // What happened since; false when that is forgotten, and the watch has ended.
  bool replay(int64_t after) {
    if (after < objects->oldest_revision()) {
      // Clients that resume get the refusal as an event, as from kube-apiserver's cache.
      send_error(
          api::gone_version(static_cast<uint64_t>(after), static_cast<uint64_t>(objects->oldest_revision())));
      end(true);
      return false;
    }
    objects->replay(after, [this](const WatchEvent& event) {
      if (!concerns(event)) return;
      waiting_bytes += event.object->text->size();
      waiting.push_back(event);
    });
    return true;
  }
  void bookmark(int64_t now, bool initial_end) {
    json::object metadata{{"resourceVersion", std::to_string(now)}, {"creationTimestamp", nullptr}};
    if (initial_end) metadata["annotations"] = json::object{{"k8s.io/initial-events-end", "true"}};
    json::object object;
    if (request->rendering == Rendering::kTable) {
      object = json::object{{"kind", "Table"},
                            {"apiVersion", "meta.k8s.io/" + request->meta_version},
                            {"metadata", json::object{{"resourceVersion", std::to_string(now)}}},
                            {"columnDefinitions", nullptr},
                            {"rows", json::array()}};
    } else {
      bool partial = request->rendering == Rendering::kPartialMetadata;
      object["kind"] = partial ? "PartialObjectMetadata" : request->resource->kind;
      object["apiVersion"] =
          partial ? "meta.k8s.io/" + request->meta_version : request->resource->group_version();
      object["metadata"] = std::move(metadata);
    }
    sent_revision = now;
    if (!request->protobuf) return request->exchange->write(event_line("BOOKMARK", json::serialize(object)));
    std::string message;
    api::append_protobuf_item(message, 1, api::protobuf_message(meta("ObjectMeta"), object["metadata"]));
    request->exchange->write(base::http::bytes(api::protobuf_event_frame(
        "BOOKMARK", api::protobuf_envelope(base::as_string(&object["apiVersion"]),
                                           base::as_string(&object["kind"]), message))));
  }
  void end(bool finish) {
    auto keep = shared_from_this();
    if (finish && !begun) begin();
    if (finish) request->exchange->finish();
    objects->unsubscribe(listener);
    watches->watchers_.erase(id);
    state.reset();
    waiting.clear();
  }
};

void Watches::serve(RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  ListOptions options;
  if (json::value refusal = read_list_options(*request, true, &options); !refusal.is_null())
    return request->reply_status(refusal);
  auto watcher = std::make_shared<Watcher>();
  watcher->watches = this;
  watcher->request = request;
  watcher->objects = resource.objects;
  watcher->bookmarks = options.bookmarks;
  watcher->filter = std::move(options.filter);

  ObjectCache& objects = *watcher->objects;
  int64_t after = options.version.value_or(0);
  watcher->revision = registry_.current_revision(resource);
  bool send_initial = options.send_initial_events.value_or(false);
  bool wants_state = options.send_initial_events.value_or(after == 0);
  if (send_initial && after > watcher->revision)
    return request->reply_status(version_too_large(after, watcher->revision));
  watcher->id = next_++;
  watchers_[watcher->id] = watcher;
  std::weak_ptr<Watcher> weak = watcher;
  watcher->feed = base::http::Feed::make(registry_.loop(), request->exchange, [weak] {
    auto w = weak.lock();
    return w && w->next();
  });
  request->exchange->on_close([weak] {
    if (auto w = weak.lock()) w->end(false);
  });
  if (wants_state) {
    watcher->state = objects.snapshot();
    std::tie(watcher->at, watcher->until) = ObjectCache::range(*watcher->state, watcher->filter.ns);
    watcher->tells_end = send_initial && watcher->bookmarks;
  } else {
    watcher->sent_revision = watcher->revision;
  }
  if (!resource.conversion || !wants_state) watcher->begin();
  if (!wants_state && after != 0 && !watcher->replay(after)) return;
  watcher->listener = objects.subscribe([this, weak](const WatchEvent& event) {
    if (auto w = weak.lock()) w->follow(event);
    if (!bookmark_timer_.active())
      bookmark_timer_ = registry_.loop().after(kBookmarkInterval, [this] { send_bookmarks(); });
  });
  // A time that is over already ends it at once, as a context's deadline does.
  int seconds = options.timeout_s != 0 ? std::max(options.timeout_s, 0) : kDefaultWatchSeconds;
  watcher->timeout = registry_.loop().after(std::chrono::seconds(seconds), [this, weak] {
    if (auto w = weak.lock()) {
      int64_t now = registry_.current_revision(*w->request->resource);
      if (w->bookmarks && w->told_all() && w->sent_revision < now && !w->request->resource->is_volatile)
        w->bookmark(now, false);
      w->end(true);
    }
  });
  watcher->feed->run();
}

void Watches::end(const ObjectCache& objects) {
  std::vector<std::shared_ptr<Watcher>> ended;
  for (auto& [id, watcher] : watchers_)
    if (watcher->objects.get() == &objects) ended.push_back(watcher);
  for (auto& watcher : ended) watcher->end(true);
}

// Armed by the first change after the last round, so that an idle cluster has no timer.
void Watches::send_bookmarks() {
  std::vector<std::shared_ptr<Watcher>> all;
  for (auto& [id, watcher] : watchers_) all.push_back(watcher);
  for (auto& watcher : all) {
    int64_t revision = registry_.current_revision(*watcher->request->resource);
    if (watcher->bookmarks && watcher->sent_revision < revision && watcher->told_all())
      watcher->bookmark(revision, false);
  }
}

}  // namespace master
