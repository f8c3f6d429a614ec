// GET, LIST and WATCH: copies of cached bytes, never the store.
#include <algorithm>

#include "api/selector.h"
#include "api/status.h"
#include "api/table.h"
#include "master/server.h"

namespace master {

namespace json = base::json;
using base::http::Bytes;

namespace {

constexpr size_t kMaxSnapshots = 64;
constexpr auto kBookmarkInterval = std::chrono::seconds(60);
constexpr int kDefaultWatchSeconds = 3600;

// What a list or watch selects, resolved once per request.
struct Filter {
  std::string ns, name;
  api::Selector labels;
  struct Term {
    int index;  // of StoredObject::fields; -1 name, -2 namespace
    std::string value;
    bool equal;
  };
  std::vector<Term> fields;

  bool trivial() const { return name.empty() && labels.everything() && fields.empty(); }
  bool matches(const StoredObject& object) const {
    if (!ns.empty() && object.ns() != ns) return false;
    if (!name.empty() && object.name() != name) return false;
    for (const Term& term : fields) {
      std::string_view value = term.index == -1   ? object.name()
                               : term.index == -2 ? object.ns()
                                                  : std::string_view(object.fields[static_cast<size_t>(term.index)]);
      if ((value == term.value) != term.equal) return false;
    }
    return labels.everything() || labels.matches(object.labels);
  }
};

// Null and *out set, or the Status that refuses.
json::value make_filter(const RequestInfo& request, Filter* out) {
  out->ns = request.ns;
  out->name = request.name;
  if (std::string_view text = request.param("resourceVersion"); text.find_first_not_of("0123456789") != text.npos)
    return api::bad_request("resourceVersion: Invalid value: \"" + std::string(text) + "\": not a version that a list or an object had");
  if (std::string_view text = request.param("labelSelector"); !text.empty()) {
    auto parsed = api::parse_selector(text);
    if (!parsed.ok()) return api::bad_request("unable to parse requirement: " + parsed.error().message());
    out->labels = std::move(*parsed);
  }
  if (std::string_view text = request.param("fieldSelector"); !text.empty()) {
    auto parsed = api::parse_field_selector(text);
    if (!parsed.ok()) return api::bad_request(parsed.error().message());
    for (const auto& term : parsed->terms) {
      int index = -3;
      if (term.field == "metadata.name") index = -1;
      if (term.field == "metadata.namespace") index = -2;
      const auto& names = request.resource->selector_names;
      for (size_t i = 0; i < names.size(); ++i)
        if (names[i] == term.field) index = static_cast<int>(i);
      if (index == -3) return api::bad_request("field label not supported: " + term.field);
      out->fields.push_back({index, term.value, term.equal});
    }
  }
  return nullptr;
}

// ?resourceVersion= as a number; false when it is none.
bool read_version(std::string_view text, int64_t* out) {
  *out = 0;
  if (text.size() > 18) return false;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    *out = *out * 10 + (c - '0');
  }
  return true;
}
json::value bad_version(std::string_view text) {
  return api::bad_request("invalid resource version \"" + std::string(text) + "\": it must be a number that this server gave out");
}

json::value partial_metadata(const json::value& object) {
  json::object out;
  out["kind"] = "PartialObjectMetadata";
  out["apiVersion"] = "meta.k8s.io/v1";
  if (const json::value* metadata = base::find(object, "metadata")) out["metadata"] = *metadata;
  return out;
}

json::object table_row(const RequestInfo& request, const StoredObject& object, base::Time now) {
  json::value parsed = served_form(*request.resource, json::parse(*object.text));
  json::object row;
  row["cells"] = api::table_cells(request.resource->gvk(), parsed, now);
  std::string_view include = request.param("includeObject");
  if (include == "Object") row["object"] = std::move(parsed);
  else if (include != "None") row["object"] = partial_metadata(parsed);
  return row;
}

json::object table(const RequestInfo& request, int64_t revision, bool with_columns) {
  json::object out;
  out["kind"] = "Table";
  out["apiVersion"] = "meta.k8s.io/v1";
  out["metadata"] = json::object{{"resourceVersion", std::to_string(revision)}};
  out["columnDefinitions"] = with_columns ? json::value(api::table_columns(request.resource->gvk())) : json::value(nullptr);
  out["rows"] = json::array();
  return out;
}

}  // namespace

Bytes ApiServer::render(const RequestInfo& request, const StoredObject& object, bool with_columns) const {
  if (request.rendering == Rendering::kTable) {
    json::object out = table(request, object.revision, with_columns);
    out["rows"].get_array().push_back(table_row(request, object, base::wall_now()));
    return base::http::bytes(json::serialize(out));
  }
  if (request.rendering == Rendering::kPartialMetadata)
    return base::http::bytes(json::serialize(partial_metadata(json::parse(*object.text))));
  if (request.resource->stored_version)
    return base::http::bytes(json::serialize(served_form(*request.resource, json::parse(*object.text))));
  return object.text;
}

void ApiServer::get(RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  ObjectRef object = cache(resource).find(object_key(request->ns, request->name));
  if (!object)
    return request->reply_status(api::not_found({resource.group, resource.plural}, request->name));
  request->reply_bytes(200, {render(*request, *object, true)});
}

json::value ApiServer::select(const RequestInfo& request, std::vector<ObjectRef>* out) const {
  Filter filter;
  if (json::value refusal = make_filter(request, &filter); !refusal.is_null()) return refusal;
  auto [it, end] = cache(*request.resource).range(filter.ns);
  for (; it != end; ++it)
    if (filter.trivial() || filter.matches(*it->second)) out->push_back(it->second);
  return nullptr;
}

void ApiServer::list(RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  ObjectCache& objects = cache(resource);
  std::vector<ObjectRef> matched;
  if (json::value refusal = select(*request, &matched); !refusal.is_null()) return request->reply_status(refusal);

  size_t limit = static_cast<size_t>(std::max(0, std::atoi(std::string(request->param("limit")).c_str())));
  int64_t revision = std::max(resource.is_volatile ? objects.last_revision() : durable_revision_, objects.last_revision());
  std::shared_ptr<Snapshot> snapshot;
  size_t start = 0;
  if (std::string_view token = request->param("continue"); !token.empty()) {
    // "<snapshot>.<index>": opaque to clients.
    unsigned long long id = 0, index = 0;
    if (std::sscanf(std::string(token).c_str(), "%llu.%llu", &id, &index) != 2)
      return request->reply_status(api::bad_request("continue key is not valid"));
    auto it = snapshots_.find(id);
    if (it == snapshots_.end() || it->second->resource != request->resource)
      return request->reply_status(api::expired("The provided continue parameter is too old to display a consistent "
                                                "list result. You must start a new list without the continue parameter."));
    snapshot = it->second;
    start = index;
    revision = snapshot->revision;
  } else if (std::string_view wanted = request->param("resourceVersion"); !wanted.empty() && wanted != "0") {
    int64_t asked;
    if (!read_version(wanted, &asked)) return request->reply_status(bad_version(wanted));
    if (request->param("resourceVersionMatch") == "Exact" && asked != revision)
      return request->reply_status(api::expired("the requested exact revision is not kept: " + std::string(wanted)));
    if (asked > revision)
      return request->reply_status(api::make_status(504, "Timeout", "Too large resource version: " + std::string(wanted) +
                                                    ", current: " + std::to_string(revision)));
  }
  if (snapshot)
    matched.assign(snapshot->objects.begin() + static_cast<long>(std::min(start, snapshot->objects.size())),
                   snapshot->objects.end());
  json::object metadata{{"resourceVersion", std::to_string(revision)}};
  if (limit != 0 && matched.size() > limit) {
    uint64_t id = 0;
    if (!snapshot) {
      id = next_snapshot_++;
      snapshots_[id] = std::make_shared<Snapshot>(Snapshot{revision, request->resource, matched});
      if (snapshots_.size() > kMaxSnapshots) snapshots_.erase(snapshots_.begin());
    } else {
      for (const auto& [key, value] : snapshots_)
        if (value == snapshot) id = key;
    }
    metadata["continue"] = std::to_string(id) + "." + std::to_string(start + limit);
    metadata["remainingItemCount"] = matched.size() - limit;
    matched.resize(limit);
  }

  if (request->rendering == Rendering::kTable) {
    json::object out = table(*request, revision, true);
    out["metadata"] = std::move(metadata);
    base::Time now = base::wall_now();
    json::array& rows = out["rows"].get_array();
    rows.reserve(matched.size());
    for (const ObjectRef& object : matched) rows.push_back(table_row(*request, *object, now));
    return request->reply(200, out);
  }
  bool partial = request->rendering == Rendering::kPartialMetadata;
  std::string head = partial ? "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\""
                             : "{\"kind\":\"" + std::string(resource.kind) + "List\",\"apiVersion\":\"" +
                                   std::string(resource.group_version()) + "\"";
  head += ",\"metadata\":" + json::serialize(metadata) + ",\"items\":[";
  // The items are the cached bytes themselves: nothing is encoded, nothing copied before the socket.
  static const Bytes comma = base::http::bytes(","), tail = base::http::bytes("]}");
  std::vector<Bytes> body;
  body.reserve(matched.size() * 2 + 2);
  body.push_back(base::http::bytes(std::move(head)));
  for (size_t i = 0; i < matched.size(); ++i) {
    if (i) body.push_back(comma);
    body.push_back(render(*request, *matched[i], false));
  }
  body.push_back(tail);
  request->reply_bytes(200, std::move(body));
}

// One watch: a listener on the cache that writes lines to its exchange.
struct ApiServer::Watcher {
  ApiServer* server;
  RequestPtr request;
  Filter filter;
  ObjectCache* objects;
  uint64_t listener = 0, id = 0;
  bool bookmarks = false, columns_sent = false;
  int64_t sent_revision = 0;
  base::Loop::Handle timeout;

  void send(std::string_view type, const StoredObject& object, const Bytes& shared_line) {
    if (shared_line && request->rendering == Rendering::kObject && !request->resource->stored_version) {
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
  void bookmark(int64_t revision, bool initial_end) {
    json::object metadata{{"resourceVersion", std::to_string(revision)}, {"creationTimestamp", nullptr}};
    if (initial_end) metadata["annotations"] = json::object{{"k8s.io/initial-events-end", "true"}};
    json::object object;
    if (request->rendering == Rendering::kTable) {
      object = table(*request, revision, false);
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
    if (finish) request->exchange->finish();
    objects->unsubscribe(listener);
    server->watchers_.erase(id);  // destroys this
  }
};

void ApiServer::watch(RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  auto watcher = std::make_shared<Watcher>();
  watcher->server = this;
  watcher->request = request;
  watcher->objects = &cache(resource);
  watcher->bookmarks = request->flag("allowWatchBookmarks");
  if (json::value refusal = make_filter(*request, &watcher->filter); !refusal.is_null())
    return request->reply_status(refusal);

  ObjectCache& objects = *watcher->objects;
  int64_t after;
  if (!read_version(request->param("resourceVersion"), &after))
    return request->reply_status(bad_version(request->param("resourceVersion")));
  bool send_initial = request->flag("sendInitialEvents");
  bool wants_state = send_initial || after == 0;
  base::http::Headers headers;
  headers.add("Content-Type", "application/json");
  headers.add("Cache-Control", "no-cache, private");
  if (!wants_state && after < objects.oldest_revision()) {
    // Clients that resume get the refusal as an event, as from kube-apiserver's cache.
    request->exchange->start(200, std::move(headers));
    request->exchange->write(event_line(
        "ERROR", json::serialize(api::gone_version(static_cast<uint64_t>(after), static_cast<uint64_t>(objects.oldest_revision())))));
    request->exchange->finish();
    return;
  }
  request->exchange->start(200, std::move(headers));
  int64_t revision = resource.is_volatile ? objects.last_revision() : std::max(durable_revision_, objects.last_revision());
  if (wants_state && request->param("sendInitialEvents") != "false") {
    auto [it, end] = objects.range(watcher->filter.ns);
    for (; it != end; ++it)
      if (watcher->filter.matches(*it->second))
        watcher->send("ADDED", *it->second,
                      request->rendering == Rendering::kObject ? event_line("ADDED", *it->second->text) : nullptr);
    if (send_initial && watcher->bookmarks) watcher->bookmark(revision, true);
  } else if (!wants_state) {
    objects.replay(after, [&](const WatchEvent& event) { watcher->on_event(event); });
  }
  watcher->sent_revision = revision;
  watcher->id = next_watcher_++;
  watchers_[watcher->id] = watcher;
  std::weak_ptr<Watcher> weak = watcher;
  watcher->listener = objects.subscribe([this, weak](const WatchEvent& event) {
    if (auto w = weak.lock()) w->on_event(event);
    if (!bookmark_timer_.active()) bookmark_timer_ = loop_.after(kBookmarkInterval, [this] { send_bookmarks(); });
  });
  request->exchange->on_close([weak] {
    if (auto w = weak.lock()) w->end(false);
  });
  int seconds = std::atoi(std::string(request->param("timeoutSeconds")).c_str());
  watcher->timeout = loop_.after(std::chrono::seconds(seconds > 0 ? seconds : kDefaultWatchSeconds), [this, weak] {
    if (auto w = weak.lock()) {
      if (w->bookmarks && w->sent_revision < durable_revision_ && !w->request->resource->is_volatile)
        w->bookmark(durable_revision_, false);
      w->end(true);
    }
  });
}

// Armed by the first change after the last round, so that an idle cluster has no timer.
void ApiServer::send_bookmarks() {
  std::vector<std::shared_ptr<Watcher>> all;
  for (auto& [id, watcher] : watchers_) all.push_back(watcher);
  for (auto& watcher : all) {
    int64_t revision = watcher->request->resource->is_volatile ? watcher->objects->last_revision()
                                                               : std::max(durable_revision_, watcher->objects->last_revision());
    if (watcher->bookmarks && watcher->sent_revision < revision) watcher->bookmark(revision, false);
  }
}

}  // namespace master
