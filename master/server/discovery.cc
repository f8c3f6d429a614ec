// What is served, told to clients: plain and aggregated discovery, OpenAPI v2 and v3.
#include <openssl/evp.h>

#include <algorithm>
#include <map>

#include "api/openapi.h"
#include "api/openapi_proto.h"
#include "base/base64.h"
#include "master/extensions/api_services.h"
#include "master/registry/heavy_requests.h"
#include "master/server/discovery.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;

namespace {

json::array to_array(const std::vector<std::string_view>& list) {
  json::array out;
  for (std::string_view item : list) out.push_back(json::value(item));
  return out;
}
json::array split_words(std::string_view text) {
  json::array out;
  while (!text.empty()) {
    size_t end = text.find(',');
    out.push_back(json::value(text.substr(0, end)));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return out;
}

// By which clients see that what is stored has changed its version; equal for equal group, version and kind.
std::string storage_version_hash(const ResourceInfo& stored) {
  std::string text = stored.group + "/" + stored.version + "/" + stored.kind;
  unsigned char digest[EVP_MAX_MD_SIZE];
  EVP_Digest(text.data(), text.size(), digest, nullptr, EVP_sha256(), nullptr);
  return base::base64_encode({reinterpret_cast<char*>(digest), 8});
}

json::value resource_list(const ResourceTable& table, std::string_view group, std::string_view version) {
  json::array list;
  for (const ResourcePtr& each : table.all()) {
    const ResourceInfo& r = *each;
    if (!r.served || r.group != group || r.version != version) continue;
    json::object row{{"name", r.plural},
                     {"singularName", r.singular},
                     {"namespaced", r.namespaced},
                     {"kind", r.kind},
                     {"verbs", to_array(verbs_of(r))}};
    if (!r.short_names.empty()) row["shortNames"] = split_words(r.short_names);
    if (!r.categories.empty()) row["categories"] = split_words(r.categories);
    if (r.objects) row["storageVersionHash"] = storage_version_hash(r.stored());
    list.push_back(std::move(row));
    for (const Subresource& s : subresources_of(r)) {
      json::object sub{{"name", std::string(r.plural) + "/" + std::string(s.name)},
                       {"singularName", ""},
                       {"namespaced", r.namespaced},
                       {"kind", s.kind},
                       {"verbs", to_array(s.verbs)}};
      if (s.group != r.group || s.version != r.version) {
        sub["group"] = s.group;
        sub["version"] = s.version;
      }
      list.push_back(std::move(sub));
    }
  }
  if (list.empty()) return nullptr;
  return json::object{{"kind", "APIResourceList"},
                      {"apiVersion", "v1"},
                      {"groupVersion", group.empty() ? std::string(version)
                                                     : std::string(group) + "/" + std::string(version)},
                      {"resources", std::move(list)}};
}

// A group version that somebody serves.
struct Listed {
  std::string group, version;
  int64_t group_priority = 0, version_priority = 0;
  Aggregator::RemoteRef remote;  // null: served here
};
// As kube-aggregator orders them: groups by the highest priority one of their versions asks for, then
// by name; versions by theirs. Its own group comes first.
std::vector<Listed> listed(const ResourceTable& table, const Aggregator& aggregator) {
  std::vector<Listed> out;
  for (const auto& [group, version] : table.group_versions()) {
    bool custom = std::any_of(table.all().begin(), table.all().end(), [&](const ResourcePtr& row) {
      return row->type->custom && row->served && row->group == group && row->version == version;
    });
    out.push_back({group, version, group == "apiregistration.k8s.io" ? 1 << 20 : group_priority(group),
                   version_priority(group, version, custom), nullptr});
  }
  for (const auto& [name, remote] : aggregator.remotes())
    out.push_back({remote->spec.group, remote->spec.version, remote->spec.group_priority,
                   remote->spec.version_priority, remote});
  std::map<std::string, int64_t> highest;  // of the groups: the list moves while it is sorted
  for (const Listed& one : out) highest[one.group] = std::max(highest[one.group], one.group_priority);
  std::stable_sort(out.begin(), out.end(), [&](const Listed& a, const Listed& b) {
    if (a.group != b.group)
      return highest[a.group] != highest[b.group] ? highest[a.group] > highest[b.group] : a.group < b.group;
    if (a.version_priority != b.version_priority) return a.version_priority > b.version_priority;
    return newer_version(a.version, b.version);
  });
  return out;
}

json::object api_group(const std::vector<Listed>& all, std::string_view group) {
  json::array versions;
  for (const Listed& one : all)
    if (one.group == group)
      versions.push_back(
          json::object{{"groupVersion", one.group + "/" + one.version}, {"version", one.version}});
  json::value preferred = versions.empty() ? json::value() : versions[0];
  return {{"name", group}, {"versions", std::move(versions)}, {"preferredVersion", std::move(preferred)}};
}

json::object aggregated_resource(const ResourceInfo& r) {
  auto kind = [](std::string_view group, std::string_view version, std::string_view name) {
    return json::object{{"group", group}, {"version", version}, {"kind", name}};
  };
  json::object row{{"resource", r.plural},
                   {"responseKind", kind(r.group, r.version, r.kind)},
                   {"scope", r.namespaced ? "Namespaced" : "Cluster"},
                   {"singularResource", r.singular},
                   {"verbs", to_array(verbs_of(r))}};
  if (!r.short_names.empty()) row["shortNames"] = split_words(r.short_names);
  if (!r.categories.empty()) row["categories"] = split_words(r.categories);
  json::array subs;
  for (const Subresource& s : subresources_of(r))
    subs.push_back(json::object{{"subresource", s.name},
                                {"responseKind", kind(s.group, s.version, s.kind)},
                                {"verbs", to_array(s.verbs)}});
  if (!subs.empty()) row["subresources"] = std::move(subs);
  return row;
}

json::object aggregated_version(const ResourceTable& table, const Listed& one) {
  json::array list;
  bool current = true;
  if (one.remote) {
    list = aggregated_resources(one.remote->spec, one.remote->resources);
    current = one.remote->available && !one.remote->resources.is_null();
  } else {
    for (const ResourcePtr& r : table.all())
      if (r->served && r->group == one.group && r->version == one.version)
        list.push_back(aggregated_resource(*r));
  }
  return {
      {"version", one.version}, {"resources", std::move(list)}, {"freshness", current ? "Current" : "Stale"}};
}
// APIGroupDiscoveryList v2 (KEP-3352): everything in one answer.
json::value aggregated(const ResourceTable& table, const std::vector<Listed>& all, bool core) {
  json::array groups;
  for (const Listed& one : all) {
    if (one.group.empty() != core) continue;
    if (groups.empty() || base::string_at(groups.back(), "metadata", "name") != one.group)
      groups.push_back(
          json::object{{"metadata", json::object{{"name", one.group}, {"creationTimestamp", nullptr}}},
                       {"versions", json::array()}});
    groups.back().get_object()["versions"].get_array().push_back(aggregated_version(table, one));
  }
  return json::object{{"kind", "APIGroupDiscoveryList"},
                      {"apiVersion", "apidiscovery.k8s.io/v2"},
                      {"metadata", json::object()},
                      {"items", std::move(groups)}};
}

// What OpenAPI tells beside the group versions.
std::vector<api::ServedPage> pages(const ResourceTable& table) {
  constexpr const char* kMeta = "io.k8s.apimachinery.pkg.apis.meta.v1";
  std::vector<api::ServedPage> out = {
      {"api", "/api/", "get available API versions", "getCoreAPIVersions", kMeta, "APIVersions"},
      {"apis", "/apis/", "get available API versions", "getAPIVersions", kMeta, "APIGroupList"},
      {"version", "/version/", "get the version information for this server", "getCodeVersion", "", "object"},
      {".well-known/openid-configuration", "/.well-known/openid-configuration",
       "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'",
       "getServiceAccountIssuerOpenIDConfiguration", "", ""},
      {"openid/v1/jwks", "/openid/v1/jwks", "get the keys that verify service account tokens",
       "getServiceAccountIssuerOpenIDKeyset", "", ""}};
  for (const auto& [group, version] : table.group_versions()) {
    std::string path = "apis/" + group;
    if (group.empty() || out.back().document == path) continue;
    std::string word;
    for (bool upper = true; char c : group.substr(0, group.find(".k8s.io"))) {
      if (c != '.') word += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
      upper = c == '.';
    }
    out.push_back(
        {path, "/" + path + "/", "get information of a group", "get" + word + "APIGroup", kMeta, "APIGroup"});
  }
  return out;
}

std::vector<ResourcePtr> rows_of(const ResourceTable& table, const std::pair<std::string, std::string>& gv) {
  std::vector<ResourcePtr> out;
  for (const ResourcePtr& r : table.all())
    if (r->served && r->group == gv.first && r->version == gv.second) out.push_back(r);
  return out;
}
api::ServedGroupVersion served(const std::pair<std::string, std::string>& gv,
                               const std::vector<ResourcePtr>& rows) {
  api::ServedGroupVersion group{gv.first, gv.second, {}};
  for (const ResourcePtr& each : rows) {
    const ResourceInfo& r = *each;
    std::vector<std::string> verbs;
    for (std::string_view verb : verbs_of(r)) verbs.emplace_back(verb);
    group.resources.push_back({r.plural, "", r.kind, r.gvk(), r.namespaced, verbs, r.type});
    for (const Subresource& s : subresources_of(r)) {
      std::vector<std::string> sub_verbs(s.verbs.begin(), s.verbs.end());
      std::string sub_gvk = (s.group.empty() ? "" : std::string(s.group) + "/") + std::string(s.version) +
                            "/" + std::string(s.kind);
      group.resources.push_back({r.plural, std::string(s.name), std::string(s.kind), sub_gvk, r.namespaced,
                                 sub_verbs, s.kind == r.kind ? r.type : nullptr});
    }
  }
  return group;
}

struct Document {
  std::vector<ResourcePtr> rows;  // what it was made from
  base::http::Bytes text;
  std::string hash;
};
std::string hash_of(std::string_view text) {
  // FNV-1a twice with different seeds: an ETag, not a signature.
  auto fnv = [&](uint64_t hash) {
    for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ull;
    return hash;
  };
  char out[40];
  std::snprintf(out, sizeof out, "%016llX%016llX",
                static_cast<unsigned long long>(fnv(0xcbf29ce484222325ull)),
                static_cast<unsigned long long>(fnv(0x84222325cbf29ce4ull)));
  return out;
}

// The documents of one state of what is served: never changed once they are there.
struct Made {
  uint64_t generation = 0, remote_generation = 0;  // of the table and of other API servers
  std::map<std::string, Document> v3;
  base::http::Bytes v2_text, v2_protobuf;  // null: nobody has asked
};

// What documents are made from, taken from the loop's state: rows keep their types.
struct Sources {
  std::vector<std::vector<ResourcePtr>> rows;  // of each group version
  std::vector<api::ServedGroupVersion> groups;
  std::vector<api::ServedPage> pages;
  std::vector<std::pair<RemoteService, base::http::Bytes>> remotes;

  Sources(const ResourceTable& table, const Aggregator& aggregator) : pages(master::pages(table)) {
    for (const auto& gv : table.group_versions()) {
      rows.push_back(rows_of(table, gv));
      groups.push_back(served(gv, rows.back()));
    }
    for (const auto& [name, remote] : aggregator.remotes())
      if (remote->available && remote->openapi_v2) remotes.emplace_back(remote->spec, remote->openapi_v2);
  }
  // A group version whose rows are still the same keeps its document.
  std::map<std::string, Document> v3(const std::map<std::string, Document>& before) const {
    std::map<std::string, Document> out;
    for (size_t i = 0; i < groups.size(); ++i) {
      std::string path = groups[i].path();
      if (auto old = before.find(path); old != before.end() && old->second.rows == rows[i]) {
        out.insert(*old);
        continue;
      }
      std::string text = base::to_json(api::openapi_v3(groups[i])), hash = hash_of(text);
      out[path] = {rows[i], base::http::bytes(std::move(text)), hash};
    }
    for (const auto& page : pages) {
      std::string text = base::to_json(api::openapi_v3(page)), hash = hash_of(text);
      out[page.document] = {{}, base::http::bytes(std::move(text)), hash};
    }
    return out;
  }
  json::value v2() const {
    json::value out = api::openapi_v2(groups, "v1.36.0", pages);
    for (const auto& [spec, text] : remotes)
      if (auto document = base::parse_json(*text); document.ok()) merge_openapi_v2(spec, *document, out);
    return out;
  }
};
}  // namespace

// Made at the first request after something changed, and kept. Schemas are megabytes where large custom
// resources are served, so they are made aside (heavy_requests.h).
class Discovery::Documents {
 public:
  enum class Form { kV3, kV2Text, kV2Protobuf };
  using Then = std::function<void(const Made&)>;

  explicit Documents(ApiServer& server) : server_(server) {}

  // Calls `then` with documents of now or later that have the form asked for.
  void when_made(Form form, Then then) {
    Asked asked{form, server_.registry().resources().generation(),
                form == Form::kV3 ? 0 : server_.aggregator().generation(), std::move(then)};
    if (asked.answered_by(*made_)) return asked.then(*made_);
    waiting_.push_back(std::move(asked));
    if (!std::exchange(making_, true)) run_aside(server_.loop(), "openapi", [this] { make(); });
  }

 private:
  struct Asked {
    Form form;
    uint64_t generation, remote_generation;
    Then then;
    bool answered_by(const Made& made) const {
      return made.generation >= generation && made.remote_generation >= remote_generation &&
             (form != Form::kV2Text || made.v2_text) && (form != Form::kV2Protobuf || made.v2_protobuf);
    }
  };

  // On a fiber.
  void make() {
    while (!waiting_.empty()) {
      std::shared_ptr<const Made> before = made_;
      auto next = std::make_shared<Made>();
      next->generation = server_.registry().resources().generation();
      next->remote_generation = server_.aggregator().generation();
      if (next->generation == before->generation && next->remote_generation == before->remote_generation) {
        next->v2_text = before->v2_text;
        next->v2_protobuf = before->v2_protobuf;
      }
      auto wanted = [this](Form form) {
        return std::any_of(waiting_.begin(), waiting_.end(),
                           [form](const Asked& asked) { return asked.form == form; });
      };
      bool text = !next->v2_text && wanted(Form::kV2Text),
           protobuf = !next->v2_protobuf && wanted(Form::kV2Protobuf);
      Sources sources(server_.registry().resources(), server_.aggregator());
      base::compute([&] {
        next->v3 = sources.v3(before->v3);
        if (!text && !protobuf) return;
        json::value v2 = sources.v2();
        if (text) next->v2_text = base::http::bytes(base::to_json(v2));
        if (protobuf) next->v2_protobuf = base::http::bytes(api::openapi_v2_protobuf(v2));
      });
      made_ = next;
      // Who came meanwhile may want what is newer still.
      auto middle = std::stable_partition(waiting_.begin(), waiting_.end(),
                                          [&](const Asked& asked) { return !asked.answered_by(*next); });
      std::vector<Asked> answered(std::make_move_iterator(middle), std::make_move_iterator(waiting_.end()));
      waiting_.erase(middle, waiting_.end());
      for (Asked& asked : answered) asked.then(*next);
    }
    making_ = false;
  }

  ApiServer& server_;
  std::shared_ptr<const Made> made_ = std::make_shared<const Made>();
  std::vector<Asked> waiting_;
  bool making_ = false;
};

Discovery::Discovery(ApiServer& server) : server_(server), documents_(std::make_unique<Documents>(server)) {}
Discovery::~Discovery() = default;

bool Discovery::serve(const RequestPtr& request) {
  const ResourceTable& resources = server_.registry().resources();
  Aggregator& aggregator = server_.aggregator();
  std::string_view path = request->http().path();
  if (request->http().method != "GET" && request->http().method != "HEAD") return false;
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  std::string_view accept = request->http().headers.get("Accept");
  bool wants_aggregated = accept.find("as=APIGroupDiscoveryList") != std::string_view::npos &&
                          accept.find("v=v2;") != std::string_view::npos;
  auto reply_aggregated = [&](bool core) {
    request->reply_bytes(
        200, {base::http::bytes(base::to_json(aggregated(resources, listed(resources, aggregator), core)))},
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    return true;
  };
  if (path == "/") {
    json::array paths;
    for (const char* p : {"/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2",
                          "/openapi/v3", "/readyz", "/version"})
      paths.push_back(json::value(p));
    for (const Listed& one : listed(resources, aggregator))
      if (!one.group.empty()) paths.push_back(json::value("/apis/" + one.group + "/" + one.version));
    request->reply(200, json::object{{"paths", std::move(paths)}});
    return true;
  }
  if (path == "/api") {
    if (wants_aggregated) return reply_aggregated(true);
    request->reply(
        200, json::object{{"kind", "APIVersions"},
                          {"versions", json::array{"v1"}},
                          {"serverAddressByClientCIDRs",
                           json::array{json::object{
                               {"clientCIDR", "0.0.0.0/0"},
                               {"serverAddress", server_.options().advertise_address + ":" +
                                                     std::to_string(server_.options().advertise_port)}}}}});
    return true;
  }
  if (path == "/apis") {
    if (wants_aggregated) return reply_aggregated(false);
    json::array groups;
    std::string_view last;
    std::vector<Listed> all = listed(resources, aggregator);
    for (const Listed& one : all)
      if (!one.group.empty() && one.group != last) {
        groups.push_back(api_group(all, one.group));
        last = one.group;
      }
    request->reply(
        200, json::object{{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(groups)}});
    return true;
  }
  if (path == "/openapi/v3") {
    documents_->when_made(Documents::Form::kV3, [&aggregator, request](const Made& made) {
      std::vector<std::pair<std::string, std::string>> index;
      for (const auto& [name, document] : made.v3) index.emplace_back(name, document.hash);
      json::value page = api::openapi_v3_index(index);
      for (const auto& [name, remote] : aggregator.remotes())
        if (remote->available && !remote->openapi_v3_url.empty())
          base::object_at(page.get_object(), "paths")["apis/" + remote->spec.group_version()] =
              json::object{{"serverRelativeURL", remote->openapi_v3_url}};
      request->reply(200, page);
    });
    return true;
  }
  if (path.starts_with("/openapi/v3/")) {
    documents_->when_made(Documents::Form::kV3, [request,
                                                 name = std::string(path.substr(12))](const Made& made) {
      auto it = made.v3.find(name);
      if (it == made.v3.end()) return request->reply_status(api::no_such_path());
      base::http::Headers headers;
      headers.add("Content-Type", "application/json");
      headers.add("ETag", "\"" + it->second.hash + "\"");
      headers.add("Vary", "Accept");
      if (request->http().headers.get("If-None-Match") == "\"" + it->second.hash + "\"")
        return request->exchange->respond(304, std::move(headers), std::vector<base::http::Bytes>{});
      request->exchange->respond(200, std::move(headers), std::vector<base::http::Bytes>{it->second.text});
    });
    return true;
  }
  if (path == "/openapi/v2") {
    aggregator.with_openapi_v2([this, request] { serve_openapi_v2(request); });
    return true;
  }
  if (path.starts_with("/api/") || path.starts_with("/apis/")) {
    bool core = path.starts_with("/api/");
    std::string_view rest = path.substr(core ? 5 : 6);
    size_t slash = rest.find('/');
    if (!core && slash == std::string_view::npos) {
      json::object group = api_group(listed(resources, aggregator), rest);
      if (group["versions"].get_array().empty()) return false;
      group["kind"] = "APIGroup";
      group["apiVersion"] = "v1";
      request->reply(200, group);
      return true;
    }
    json::value list = core ? resource_list(resources, "", rest)
                            : resource_list(resources, rest.substr(0, slash), rest.substr(slash + 1));
    if (list.is_null()) return false;
    request->reply(200, list);
    return true;
  }
  return false;
}

void Discovery::serve_openapi_v2(const RequestPtr& request) {
  // Asked for with an '@', which is no character of a media type: clients refuse it in the answer.
  constexpr std::string_view kProtobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
  std::string_view accept = request->http().headers.get("Accept");
  if (accept.find("proto-openapi.spec.v2@v1.0+protobuf") != std::string_view::npos ||
      accept.find("proto-openapi.spec.v2.v1.0+protobuf") != std::string_view::npos)
    return documents_->when_made(Documents::Form::kV2Protobuf, [request, kProtobuf](const Made& made) {
      request->reply_bytes(200, {made.v2_protobuf}, kProtobuf);
    });
  documents_->when_made(Documents::Form::kV2Text,
                        [request](const Made& made) { request->reply_bytes(200, {made.v2_text}); });
}

}  // namespace master
