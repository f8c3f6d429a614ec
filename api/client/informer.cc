// List, then watch, for ever. One state machine; at any time it has one call under way or one
// timer pending, never both. A call's handle is only ever destroyed from the timer or by stop.
#include <algorithm>
#include <unordered_map>

#include "api/client/client.h"
#include "api/client/watch_pace.h"
#include "base/json_limits.h"

namespace api {
namespace {

constexpr int kPage = 500;

uint64_t hash_of(std::string_view text) {
  uint64_t h = 14695981039346656037ull;
  for (unsigned char c : text) h = (h ^ c) * 1099511628211ull;
  return h;
}

}  // namespace

struct Informer::Impl : std::enable_shared_from_this<Impl> {
  base::Loop& loop;
  Transport& transport;
  Options options;
  std::function<void(Change, const json::value&)> on_object;
  std::function<void()> on_synced;
  std::string base_query;
  uint64_t hash;

  bool closed = false, synced = false, listed = false;
  std::unique_ptr<Transport::Call> under_way;
  base::Loop::Handle timer, guard;
  uint64_t turn = 0;  // callbacks of an earlier call are void
  WatchPace pace;
  std::string version;  // where to watch from
  std::string continue_token;
  uint64_t generation = 0;                         // of the list; objects not seen in it have vanished
  std::unordered_map<std::string, uint64_t> seen;  // "ns/name"

  Impl(base::Loop& loop, Transport& transport, Options o,
       std::function<void(Change, const json::value&)> object, std::function<void()> synced_callback)
      : loop(loop), transport(transport), options(std::move(o)), on_object(std::move(object)),
        on_synced(std::move(synced_callback)) {
    auto add = [&](const char* name, const std::string& selector) {
      if (!selector.empty()) base_query += std::string("&") + name + "=" + base::http::escape(selector);
    };
    add("labelSelector", options.label_selector);
    add("fieldSelector", options.field_selector);
    hash = hash_of(options.resource.path(options.ns) + base_query);
  }

  // What comes next starts from the loop, so that no call is destroyed inside its own callback.
  void next(base::Duration delay) {
    ++turn;
    guard.cancel();
    timer = loop.after(delay, [weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self || self->closed) return;
      self->under_way.reset();
      if (self->listed) self->watch();
      else self->list();
    });
  }
  void list_anew(base::Duration delay) {
    listed = false;
    continue_token.clear();
    next(delay);
  }

  base::http::Request request(std::string query) {
    base::http::Request out;
    out.target = options.resource.path(options.ns) + "?" + query + base_query;
    out.headers.add("Accept", "application/json");
    return out;
  }
  void list() {
    if (continue_token.empty()) ++generation;
    std::string query = "limit=" + std::to_string(kPage);
    if (!continue_token.empty()) query += "&continue=" + base::http::escape(continue_token);
    start_call([&](uint64_t mine) {
      return transport.call(request(query),
                            [weak = weak_from_this(), mine](base::Result<base::http::Response> response) {
                              auto self = weak.lock();
                              if (self && !self->closed && self->turn == mine)
                                self->list_answer(std::move(response));
                            });
    });
  }
  template <typename Start>
  void start_call(Start start) {
    uint64_t mine = ++turn;
    auto call = start(mine);
    // The answer may have come within start(): then next() has moved on and drops the handle later.
    if (!closed) under_way = std::move(call);
  }
  void list_answer(base::Result<base::http::Response> response) {
    if (!response.ok()) return list_anew(pace.list_failed(response.error(), now()));
    if (response->status != 200) {
      // A continue token that is too old: the pages so far are worth nothing.
      bool gone = response->status == 410 && !continue_token.empty();
      return list_anew(gone ? base::Duration::zero() : pace.refused());
    }
    auto page = base::parse_json_carrier(response->body);
    if (!page.ok() || !page->is_object()) return list_anew(pace.refused());
    if (const json::value* items = base::find(*page, "items"); items && items->is_array())
      for (const json::value& item : items->get_array()) {
        seen[key_of(item)] = generation;
        on_object(Change::kSet, item);
        if (closed) return;
      }
    pace.list_page();
    continue_token = base::string_at(*page, "metadata", "continue");
    if (!continue_token.empty()) return next(base::Duration::zero());
    version = base::string_at(*page, "metadata", "resourceVersion");
    drop_vanished();
    if (closed) return;
    listed = synced = true;
    if (on_synced) on_synced();
    if (!closed) next(base::Duration::zero());
  }
  void drop_vanished() {
    std::vector<std::string> gone;
    for (const auto& [key, in_list] : seen)
      if (in_list != generation) gone.push_back(key);
    std::sort(gone.begin(), gone.end());
    for (const std::string& key : gone) {
      seen.erase(key);
      size_t slash = key.find('/');
      json::object metadata{{"name", key.substr(slash + 1)}};
      if (slash) metadata["namespace"] = key.substr(0, slash);
      on_object(Change::kDeleted, json::object{{"metadata", std::move(metadata)}});
      if (closed) return;
    }
  }
  static std::string key_of(const json::value& object) {
    return std::string(base::string_at(object, "metadata", "namespace")) + "/" +
           std::string(base::string_at(object, "metadata", "name"));
  }

  void watch() {
    // The server ends a watch after this long; a peer that went silent is given up soon after.
    int seconds = 300 + static_cast<int>(hash % 240);
    pace.watch_begins(now());
    std::string query = "watch=1&allowWatchBookmarks=true&resourceVersion=" + base::http::escape(version) +
                        "&timeoutSeconds=" + std::to_string(seconds);
    start_call([&](uint64_t mine) {
      auto mine_still = [weak = weak_from_this(), mine]() -> std::shared_ptr<Impl> {
        auto self = weak.lock();
        return self && !self->closed && self->turn == mine ? self : nullptr;
      };
      guard = loop.after(std::chrono::seconds(seconds + 30), [mine_still] {
        if (auto self = mine_still()) self->next(base::Duration::zero());
      });
      return transport.watch(
          request(query),
          [mine_still](const WatchLine& line) {
            if (auto self = mine_still()) self->watch_line(line);
          },
          [mine_still](base::Status status) {
            if (auto self = mine_still()) self->watch_end(std::move(status));
          },
          [mine_still] {
            if (auto self = mine_still()) self->pace.watch_opened();
          });
    });
  }
  void watch_line(const WatchLine& line) {
    if (std::string_view(line).empty()) return;
    const json::value& event = line.parsed();
    std::string_view type = base::string_at(event, "type");
    const json::value* object = base::find(event, "object");
    if (!object) return next(pace.refused());
    if (type == "ERROR") {
      if (base::as_int(base::find(*object, "code")) == 410)
        return list_anew(pace.told() ? base::Duration::zero() : pace.refused());
      return next(pace.refused());
    }
    pace.watch_told();
    if (std::string_view at = base::string_at(*object, "metadata", "resourceVersion"); !at.empty())
      version = at;
    if (type == "BOOKMARK") return;
    std::string key = key_of(*object);
    if (type == "DELETED") {
      seen.erase(key);
      on_object(Change::kDeleted, *object);
    } else {
      seen[key] = generation;
      on_object(Change::kSet, *object);
    }
  }
  void watch_end(base::Status status) {
    const bool failed = !status.ok();
    const base::Duration delay = pace.watch_ended(failed ? &status.error() : nullptr, now());
    // 410 Gone: our position is no longer in the server's history.
    if (failed && status.error().kind == base::Kind::kConflict) return list_anew(delay);
    next(delay);
  }
  static WatchPace::Steady now() { return base::steady_now(); }
};

Informer::Informer(base::Loop& loop, Transport& transport, Options options,
                   std::function<void(Change, const json::value&)> on_object, std::function<void()> on_synced)
    : impl_(std::make_shared<Impl>(loop, transport, std::move(options), std::move(on_object),
                                   std::move(on_synced))) {}
Informer::~Informer() {
  impl_->closed = true;
  impl_->timer.cancel();
  impl_->guard.cancel();
  impl_->under_way.reset();
}
void Informer::start() { impl_->next(base::Duration::zero()); }
bool Informer::synced() const { return impl_->synced; }

}  // namespace api
