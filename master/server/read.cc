// GET and LIST: copies of cached bytes, never the store.
#include <algorithm>

#include "api/protobuf.h"
#include "api/status.h"
#include "api/table/table.h"
#include "base/http/feed.h"
#include "master/registry/conversion.h"
#include "master/registry/heavy_requests.h"
#include "master/server/handlers.h"
#include "master/server/list_options.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;
using base::http::Bytes;

namespace {

constexpr size_t kPiece = 64 << 10;  // bytes of an answer in one buffer
// What is answered at once: bytes as they are cached, and rows that have to be made.
constexpr size_t kWholeBytes = 8u << 20, kWholeRows = 1000;

std::string partial_metadata(std::string_view object, std::string_view version = "v1") {
  std::string out = R"({"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/)";
  out.append(version).append(R"(","metadata":)");
  out += metadata_text(object);
  out += '}';
  return out;
}

// As it lies in the cache, or as a webhook converted it: when_shown() made that.
const Bytes shown_text(const ResourceInfo& resource, const StoredObject& object) {
  Bytes converted = resource.conversion ? Conversion::text(resource, object) : nullptr;
  return converted ? converted : object.text;
}

// One row as text. The object is parsed for its cells alone, once: they stay with it. Not those of another
// version than the stored one, nor a custom resource's, whose columns may change under it.
void append_row(std::string& out, const RequestInfo& request, const StoredObject& object, base::Time now) {
  const ResourceInfo& resource = *request.resource;
  const api::CustomKind* custom = resource.type->custom;
  const Bytes text = shown_text(resource, object);
  bool converted = resource.stored_version != nullptr && !resource.conversion;
  alignas(16) unsigned char buffer[16 << 10];
  json::monotonic_resource arena(buffer, sizeof buffer);
  json::value parsed(json::storage_ptr{&arena});
  if (converted || custom || object.cells.empty()) parsed = parse_object(*text, &arena);
  if (converted) parsed = served_form(resource, std::move(parsed));
  out += R"({"cells":)";
  if (custom) {
    out += json::serialize(api::table_cells(*custom, parsed, now));
  } else if (converted) {
    out += json::serialize(api::table_cells(resource.gvk(), parsed, now));
  } else {
    if (object.cells.empty()) object.cells = api::open_cells(resource.gvk(), parsed);
    api::append_cells(out, object.cells, now);
  }
  std::string_view include = request.param("includeObject");
  if (include != "None") {
    out += R"(,"object":)";
    if (include != "Object") out += partial_metadata(*text, request.meta_version);
    else if (converted) out += json::serialize(parsed);
    else out += *text;
  }
  out += '}';
}

// Up to the rows, which "]}" ends.
std::string table(const RequestInfo& request, const json::object& metadata, bool with_columns) {
  const api::CustomKind* custom = request.resource->type->custom;
  return R"({"kind":"Table","apiVersion":"meta.k8s.io/)" + request.meta_version + R"(","metadata":)" +
         json::serialize(metadata) + R"(,"columnDefinitions":)" +
         (with_columns ? json::serialize(custom ? api::table_columns(*custom)
                                                : api::table_columns(request.resource->gvk()))
                       : "null") +
         R"(,"rows":[)";
}

const api::Type& meta_type(const char* name) {
  return *api::find_type("io.k8s.apimachinery.pkg.apis.meta.v1", name);
}

// The message of an object, as it stands in lists. That of the stored version is made once and stays.
Bytes protobuf_message(const RequestInfo& request, const StoredObject& object) {
  const ResourceInfo& resource = *request.resource;
  if (request.rendering == Rendering::kPartialMetadata) {
    static const api::Type& type = meta_type("ObjectMeta");
    auto metadata = base::parse_json(metadata_text(*shown_text(resource, object)));
    std::string out;
    api::append_protobuf_item(out, 1, metadata.ok() ? api::protobuf_message(type, *metadata) : "");
    return base::http::bytes(std::move(out));
  }
  bool as_stored = !resource.stored_version;
  if (as_stored && object.protobuf) return object.protobuf;
  auto parsed = base::parse_json(*object.text);
  if (!parsed.ok()) return base::http::bytes("");
  Bytes out = base::http::bytes(
      api::protobuf_message(*resource.type, as_stored ? *parsed : served_form(resource, std::move(*parsed))));
  if (as_stored) object.protobuf = out;
  return out;
}

// What the envelope of an object, or of a list of them, says.
std::pair<std::string, std::string> shown_as(const RequestInfo& request, bool list) {
  const ResourceInfo& resource = *request.resource;
  if (request.rendering == Rendering::kPartialMetadata)
    return {"meta.k8s.io/" + request.meta_version,
            list ? "PartialObjectMetadataList" : "PartialObjectMetadata"};
  return {std::string(resource.group_version()), list ? resource.list_kind : resource.kind};
}

}  // namespace

Bytes render(const RequestInfo& request, const StoredObject& object, bool with_columns) {
  if (request.protobuf) {
    auto [version, kind] = shown_as(request, false);
    return base::http::bytes(api::protobuf_envelope(version, kind, *protobuf_message(request, object)));
  }
  if (request.rendering == Rendering::kTable) {
    std::string out = table(request, {{"resourceVersion", std::to_string(object.revision)}}, with_columns);
    append_row(out, request, object, base::wall_now());
    return base::http::bytes(out + "]}");
  }
  if (request.rendering == Rendering::kPartialMetadata)
    return base::http::bytes(partial_metadata(*shown_text(*request.resource, object), request.meta_version));
  if (request.resource->stored_version && !request.resource->conversion)
    return base::http::bytes(json::serialize(served_form(*request.resource, parse_object(*object.text))));
  return shown_text(*request.resource, object);
}

void when_shown(const RequestPtr& request, const std::vector<ObjectRef>& objects,
                std::function<void()> then) {
  Conversion* conversion = request->resource->conversion.get();
  if (!conversion) return then();
  conversion->show(request->resource, objects, [request, then = std::move(then)](json::value refusal) {
    if (!refusal.is_null()) return request->reply_status(refusal);
    then();
  });
}

void serve_get(ApiServer& server, RequestPtr request) {
  Registry& registry = server.registry();
  ResourceInfo& resource = *request->resource;
  ListOptions options;
  if (json::value refusal = read_list_options(*request, false, &options); !refusal.is_null())
    return request->reply_status(refusal);
  if (int64_t current = registry.current_revision(resource); options.version.value_or(0) > current)
    return request->reply_status(version_too_large(*options.version, current));
  ObjectRef object = resource.objects->find(object_key(request->ns, request->name));
  if (!object)
    return request->reply_status(registry.absent(resource, object_key(request->ns, request->name)));
  if (!resource.conversion) return request->reply_bytes(200, {render(*request, *object, true)});
  when_shown(request, {object},
             [request, object] { request->reply_bytes(200, {render(*request, *object, true)}); });
}

// The revision that a list shows; null or the Status that refuses.
static json::value list_revision(const Registry& registry, const RequestInfo& request,
                                 const ListOptions& options, int64_t* out) {
  const ObjectCache& objects = *request.resource->objects;
  int64_t current = registry.current_revision(*request.resource);
  *out = current;
  if (options.continues) {
    if (options.continue_revision == -1) return nullptr;
    *out = options.continue_revision;
    if (*out > current)
      return api::bad_request("continue key is not valid: it names a revision that was never given");
    if (*out >= objects.oldest_revision()) return nullptr;
    json::value refusal = api::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new "
        "list without the continue "
        "parameter, or use the continue token in this response to retrieve the remainder of the results. "
        "Continuing with the provided token "
        "results in an inconsistent list - objects that were created, modified, or deleted between the time "
        "the first chunk was returned and "
        "now may show up in the list.");
    base::object_at(refusal.get_object(), "metadata")["continue"] = continue_token(-1, options.continue_from);
    return refusal;
  }
  int64_t asked = options.version.value_or(0);
  if (asked > current) return version_too_large(asked, current);
  if (options.match != VersionMatch::kExact) return nullptr;
  *out = asked;
  return asked >= objects.oldest_revision()
             ? json::value(nullptr)
             : api::expired("The resourceVersion for the provided list is too old.");
}

void serve_list(ApiServer& server, RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  ListOptions options;
  if (json::value refusal = read_list_options(*request, false, &options); !refusal.is_null())
    return request->reply_status(refusal);
  int64_t revision;
  if (json::value refusal = list_revision(server.registry(), *request, options, &revision);
      !refusal.is_null())
    return request->reply_status(refusal);

  const Filter& filter = options.filter;
  bool all = filter.selects_all();
  std::vector<ObjectRef> matched;
  std::string next;  // first key of the next page
  size_t left = 0;
  // Of everything as it is, or as it was for the page before, the number is known.
  std::optional<size_t> total;
  if (all && options.continues && options.continue_revision != -1) total = options.continue_left;
  else if (all && !options.continues && filter.ns.empty() && revision >= resource.objects->last_revision())
    total = resource.objects->objects().size();
  auto take = [&](const ObjectRef& object) {
    if (options.limit == 0 || matched.size() < options.limit) {
      matched.push_back(object);
      return true;
    }
    if (left++ == 0) next = object->key;
    return all && !total;  // what a selector leaves is not counted
  };
  if (base::on_fiber()) {  // a selector that costs: beside the loop
    std::vector<ObjectRef> objects;
    resource.objects->state_at(revision, filter.ns, options.continue_from,
                               [&](const ObjectRef& object) { return objects.push_back(object), true; });
    base::compute(
        [&] { std::erase_if(objects, [&](const ObjectRef& object) { return !filter.matches(*object); }); });
    (void)std::all_of(objects.begin(), objects.end(), take);
  } else {
    resource.objects->state_at(revision, filter.ns, options.continue_from, [&](const ObjectRef& object) {
      return (!all && !filter.matches(*object)) || take(object);
    });
  }
  json::object metadata{{"resourceVersion", std::to_string(revision)}};
  if (left != 0) {
    if (total && *total > matched.size()) left = *total - matched.size();
    const bool newest = options.continue_revision == -1;
    metadata["continue"] =
        continue_token(newest ? -1 : revision, next, all && !newest ? std::optional(left) : std::nullopt);
    if (all) metadata["remainingItemCount"] = left;
  }
  if (!resource.conversion)
    return reply_list(server.loop(), std::move(request), std::move(metadata), std::move(matched));
  when_shown(request, matched, [&server, request, metadata, matched] {
    reply_list(server.loop(), request, metadata, matched);
  });
}

namespace {
// A list in the request's rendering, piece by piece.
struct ListText {
  RequestPtr request;
  std::vector<ObjectRef> objects;
  base::Time now = base::wall_now();

  std::string head(const json::object& metadata) const {
    if (request->rendering == Rendering::kTable) return table(*request, metadata, true);
    const ResourceInfo& resource = *request->resource;
    std::string out = request->rendering == Rendering::kPartialMetadata
                          ? "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/" +
                                request->meta_version + "\""
                          : "{\"kind\":\"" + resource.list_kind + "\",\"apiVersion\":\"" +
                                std::string(resource.group_version()) + "\"";
    return out + ",\"metadata\":" + json::serialize(metadata) + ",\"items\":[";
  }
  void append(std::string& out, size_t i) const {
    if (i) out += ',';
    if (request->rendering == Rendering::kTable) append_row(out, *request, *objects[i], now);
    else out += *render(*request, *objects[i], false);
  }
  // Too long, or too much work, to be made in one go.
  bool is_long() const {
    bool copies = request->rendering == Rendering::kObject && !request->protobuf &&
                  (!request->resource->stored_version || request->resource->conversion);
    if (!copies && objects.size() > kWholeRows) return true;
    size_t size = 0;
    for (const ObjectRef& object : objects)
      if ((size += object->text->size()) > kWholeBytes) return true;
    return false;
  }
};

// The same in protocol buffers: its length stands before it, so that all messages are made first. Those of
// stored versions stay with their objects anyway.
struct ListMessages {
  RequestPtr request;
  std::vector<ObjectRef> objects;
  std::string metadata;
  std::vector<Bytes> messages = {};
  size_t bytes = 0, written = 0;

  ListMessages(ListText text, const json::object& list_metadata)
      : request(std::move(text.request)), objects(std::move(text.objects)) {
    static const api::Type& type = meta_type("ListMeta");
    api::append_protobuf_item(metadata, 1, api::protobuf_message(type, list_metadata));
    messages.reserve(objects.size());
  }
  bool made() const { return messages.size() == objects.size(); }
  bool is_written() const { return made() && written == messages.size(); }
  void make() {
    messages.push_back(protobuf_message(*request, *objects[messages.size()]));
    bytes += api::protobuf_item_bytes(2, messages.back()->size());
  }
  // When all are made. The first piece begins with what stands before them, the last ends with what follows.
  std::string piece(size_t least) {
    std::string out;
    auto [version, kind] = shown_as(*request, true);
    if (written == 0) out = api::protobuf_envelope_head(version, kind, metadata.size() + bytes) + metadata;
    for (; written < messages.size() && out.size() < least; ++written)
      api::append_protobuf_item(out, 2, *std::exchange(messages[written], nullptr));
    if (is_written()) out += api::protobuf_envelope_tail();
    return out;
  }
};

// Made as the client takes it: it costs a few pieces, not the list.
void feed_list(base::Loop& loop, ListText list, const json::object& metadata) {
  auto text = std::make_shared<ListText>(std::move(list));
  auto exchange = text->request->exchange;
  exchange->start(200, text->request->headers("application/json"));
  if (exchange->request().method == "HEAD") return exchange->finish();
  exchange->write(base::http::bytes(text->head(metadata)));
  auto feed = base::http::Feed::make(loop, exchange, [text, next = size_t{0}, finished = false]() mutable {
    if (finished) return false;  // what compresses it may still be at it
    std::string out;
    out.reserve(kPiece + kPiece / 4);
    while (next < text->objects.size() && out.size() < kPiece) text->append(out, next++);
    bool more = next < text->objects.size();
    if (!more) out += "]}";
    auto exchange = text->request->exchange;
    exchange->write(base::http::bytes(std::move(out)));
    finished = !more;
    if (finished) exchange->finish();
    return more;
  });
  feed->run();
}

void feed_messages(base::Loop& loop, ListMessages list) {
  auto messages = std::make_shared<ListMessages>(std::move(list));
  auto exchange = messages->request->exchange;
  exchange->start(200, messages->request->headers({}));
  if (exchange->request().method == "HEAD") return exchange->finish();
  auto feed = base::http::Feed::make(loop, exchange, [messages, finished = false]() mutable {
    if (finished) return false;
    if (!messages->made()) {
      messages->make();
      return true;
    }
    auto exchange = messages->request->exchange;
    exchange->write(base::http::bytes(messages->piece(kPiece)));
    finished = messages->is_written();
    if (finished) exchange->finish();
    return !finished;
  });
  feed->run();
}
}  // namespace

void reply_list(base::Loop& loop, RequestPtr request, json::object metadata, std::vector<ObjectRef> matched) {
  ListText text{request, std::move(matched)};
  if (text.is_long())
    return request->protobuf ? feed_messages(loop, {std::move(text), metadata})
                             : feed_list(loop, std::move(text), metadata);
  if (request->protobuf) {
    ListMessages list(std::move(text), metadata);
    while (!list.made()) list.make();
    return request->reply_bytes(200, {base::http::bytes(list.piece(SIZE_MAX))});
  }
  std::vector<Bytes> body;
  std::string out = text.head(metadata);
  if (request->rendering == Rendering::kTable) {
    for (size_t i = 0; i < text.objects.size(); ++i) {
      text.append(out, i);
      if (out.size() < kPiece) continue;
      body.push_back(base::http::bytes(
          std::exchange(out, {})));  // none so large that its memory comes from the kernel anew
      out.reserve(kPiece + kPiece / 4);
    }
    body.push_back(base::http::bytes(out + "]}"));
    return request->reply_bytes(200, std::move(body));
  }
  // The items are the cached bytes themselves: nothing is encoded, nothing copied before the socket.
  static const Bytes comma = base::http::bytes(","), tail = base::http::bytes("]}");
  body.reserve(text.objects.size() * 2 + 2);
  body.push_back(base::http::bytes(std::move(out)));
  for (size_t i = 0; i < text.objects.size(); ++i) {
    if (i) body.push_back(comma);
    body.push_back(render(*request, *text.objects[i], false));
  }
  body.push_back(tail);
  request->reply_bytes(200, std::move(body));
}

}  // namespace master
