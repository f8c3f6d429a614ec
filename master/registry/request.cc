#include "master/registry/request.h"

#include <strings.h>

#include <algorithm>
#include <charconv>
#include <unordered_set>
#include <utility>

#include "api/protobuf.h"
#include "api/walk.h"
#include "base/fiber.h"

namespace master {
namespace {

std::vector<std::string_view> segments(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {
    if (path.front() == '/') {
      path.remove_prefix(1);
      continue;
    }
    size_t end = path.find('/');
    out.push_back(path.substr(0, end));
    if (end == std::string_view::npos) break;
    path.remove_prefix(end);
  }
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::string verb_of(std::string_view method, const RequestInfo& info) {
  bool watch = info.flag("watch");
  if (method == "GET" || method == "HEAD")
    return info.name.empty() ? (watch ? "watch" : "list") : (watch ? "watch" : "get");
  if (method == "POST") return "create";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return info.name.empty() ? "deletecollection" : "delete";
  return {};
}

// Of an object that says what it is; null where it has no protobuf form.
const api::Type* type_of_message(const base::json::value& body) {
  static const api::Type* status = api::find_type("io.k8s.apimachinery.pkg.apis.meta.v1", "Status");
  std::string_view kind = base::string_at(body, "kind"), version = base::string_at(body, "apiVersion");
  const api::Type* type =
      kind == "Status" ? status : api::find_kind(std::string(version).append("/").append(kind));
  return type && api::has_protobuf(*type) ? type : nullptr;
}

}  // namespace

bool User::in_group(std::string_view group) const {
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

std::string_view RequestInfo::param(std::string_view key) const {
  for (const auto& [name, value] : query)
    if (name == key) return value;
  return {};
}
bool RequestInfo::flag(std::string_view key) const {
  for (const auto& [name, value] : query)
    if (name == key) return is_true(value);
  return false;
}
bool is_true(std::string_view value) {
  return value != "0" && !(value.size() == 5 && ::strncasecmp(value.data(), "false", 5) == 0);
}

std::vector<std::string> bounded_warnings(const std::vector<std::string>& warnings) {
  constexpr size_t kTotal = 4096, kEach = 256;  // characters, not bytes
  auto starts = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
  auto length = [&](std::string_view text) {
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), starts));
  };
  std::vector<std::string> out;
  std::unordered_set<std::string_view> told;
  size_t written = 0;
  bool truncating = false;
  auto add = [&](std::string text) {
    if (truncating) {
      size_t seen = 0, end = 0;
      while (end < text.size() && (!starts(text[end]) || ++seen <= kEach)) ++end;
      text.resize(end);
    }
    written += length(text);
    out.push_back(std::move(text));
  };
  for (const std::string& warning : warnings) {
    if (truncating && written >= kTotal) break;
    if (warning.empty() || !told.insert(warning).second) continue;
    add(warning);
    if (truncating || written <= kTotal) continue;
    truncating = true;
    written = 0;
    for (std::string& again : std::exchange(out, {})) add(std::move(again));
  }
  return out;
}

base::http::Headers RequestInfo::headers(std::string_view content_type) const {
  base::http::Headers headers;
  if (content_type.empty()) content_type = protobuf ? api::kProtobufMediaType : "application/json";
  headers.add("Content-Type", std::string(content_type));
  for (const std::string& warning : bounded_warnings(warnings)) {
    std::string quoted;
    for (char c : warning) {
      if (c == '"' || c == '\\') quoted += '\\';
      if (static_cast<unsigned char>(c) >= 0x20) quoted += c;
    }
    headers.add("Warning", "299 - \"" + quoted + "\"");
  }
  return headers;
}
void RequestInfo::reply_bytes(int status, std::vector<base::http::Bytes> body,
                              std::string_view content_type) {
  exchange->respond(status, headers(content_type), std::move(body));
}
void RequestInfo::reply(int status, const base::json::value& body) {
  const api::Type* type = protobuf ? type_of_message(body) : nullptr;
  std::string text;
  base::compute([&] { text = type ? api::protobuf_of(*type, body) : base::to_json(body); });
  reply_bytes(status, {base::http::bytes(std::move(text))},
              type ? api::kProtobufMediaType : "application/json");
}
void RequestInfo::reply_status(const base::json::value& status) {
  bool success = base::string_at(status, "status") == "Success";
  reply(static_cast<int>(base::as_int(base::find(status, "code"), success ? 200 : 500)), status);
}

bool parse_resource_path(const ResourceTable& table, std::string_view path, std::string_view method,
                         RequestInfo* info) {
  std::vector<std::string_view> parts = segments(path);
  size_t at = 0;
  std::string_view group, version;
  if (parts.size() >= 3 && parts[0] == "api") {
    version = parts[1];
    at = 2;
  } else if (parts.size() >= 4 && parts[0] == "apis") {
    group = parts[1];
    version = parts[2];
    at = 3;
  } else {
    return false;
  }
  bool legacy_watch = parts[at] == "watch";  // /api/v1/watch/…, deprecated but served
  if (legacy_watch && ++at >= parts.size()) return false;
  auto take = [&](std::string* out) {
    if (at >= parts.size()) return true;
    auto decoded = base::http::unescape(parts[at++]);
    if (!decoded.ok()) return false;
    *out = std::move(*decoded);
    return true;
  };
  // "namespaces/NAME/RESOURCE" is a resource in a namespace, but "namespaces/NAME/status" and
  // "namespaces/NAME/finalize" are the namespace's own.
  if (parts[at] == "namespaces" && parts.size() > at + 2 && parts[at + 2] != "status" &&
      parts[at + 2] != "finalize") {
    ++at;
    if (!take(&info->ns)) return false;
  }
  info->resource = table.find(group, version, parts[at++]);
  if (!info->resource) return false;
  bool remote = info->resource->remote;  // nobody here knows its scope
  if (!info->ns.empty() && !info->resource->namespaced && !remote) return false;
  if (!take(&info->name) || !take(&info->subresource)) return false;
  while (at < parts.size()) {
    info->rest += '/';
    info->rest += parts[at++];
  }
  if (info->resource->namespaced && info->ns.empty() && !info->name.empty() && !remote) return false;
  if (legacy_watch) info->query.emplace_back("watch", "true");
  info->verb = verb_of(method, *info);
  return true;
}

bool negotiate(std::string_view accept, Renderable can, RequestInfo* info) {
  info->rendering = Rendering::kObject;
  info->protobuf = false;
  if (accept.empty()) return true;
  struct Range {
    std::string_view type, as, version;
    double weight = 1;
  };
  std::vector<Range> ranges;
  while (!accept.empty()) {
    size_t end = accept.find(',');
    std::string_view text = trim(accept.substr(0, end));
    accept = end == std::string_view::npos ? std::string_view() : accept.substr(end + 1);
    Range range;
    range.type = trim(text.substr(0, text.find(';')));
    for (size_t at = text.find(';'); at != std::string_view::npos;) {
      text.remove_prefix(at + 1);
      at = text.find(';');
      std::string_view parameter = trim(text.substr(0, at));
      if (parameter.starts_with("as=")) range.as = parameter.substr(3);
      if (parameter.starts_with("v=")) range.version = parameter.substr(2);
      if (parameter.starts_with("q="))
        std::from_chars(parameter.data() + 2, parameter.data() + parameter.size(), range.weight);
    }
    if (range.weight > 0) ranges.push_back(range);
  }
  std::stable_sort(ranges.begin(), ranges.end(),
                   [](const Range& a, const Range& b) { return a.weight > b.weight; });
  for (const Range& range : ranges) {
    bool protobuf = range.type == api::kProtobufMediaType;
    if (!protobuf && range.type != "application/json" && range.type != "*/*" && range.type != "application/*")
      continue;
    bool is_partial = range.as == "PartialObjectMetadata" || range.as == "PartialObjectMetadataList";
    if (range.as.empty()) {
      if (protobuf && !can.protobuf) continue;
    } else {
      if (range.version != "v1" && range.version != "v1beta1") continue;
      if (!is_partial && (range.as != "Table" || protobuf || !can.table)) continue;
      info->rendering = is_partial ? Rendering::kPartialMetadata : Rendering::kTable;
      info->meta_version = range.version;
    }
    info->protobuf = protobuf;
    return true;
  }
  return false;
}

bool connects(std::string_view subresource) {
  return subresource == "exec" || subresource == "attach" || subresource == "portforward" ||
         subresource == "proxy";
}
bool long_running(const RequestInfo& request) {
  return request.resource && (request.verb == "watch" || connects(request.subresource) ||
                              (request.subresource == "log" && request.flag("follow")));
}

}  // namespace master
