#include "master/server/list_options.h"

#include <algorithm>

#include "api/status.h"
#include "base/base64.h"
#include "master/registry/field_labels.h"

namespace master {

namespace json = base::json;

namespace {

using Type = api::FieldError::Type;

json::value refusal(Type type, std::string field, std::string value, std::string detail) {
  return api::invalid("meta.k8s.io", "ListOptions", "",
                      {{type, std::move(field), std::move(value), std::move(detail)}});
}

bool read_number(std::string_view text, int64_t* out) {
  *out = 0;
  if (text.empty() || text.size() > 18) return false;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    *out = *out * 10 + (c - '0');
  }
  return true;
}

json::value read_filter(const RequestInfo& request, Filter* out) {
  out->ns = request.ns;
  out->name = request.name;
  if (std::string_view text = request.param("labelSelector"); !text.empty()) {
    auto parsed = api::parse_selector(text);
    if (!parsed.ok()) return api::bad_request("unable to parse requirement: " + parsed.error().message());
    out->labels = std::move(*parsed);
  }
  std::string_view text = request.param("fieldSelector");
  if (text.empty()) return nullptr;
  auto parsed = api::parse_field_selector(text);
  if (!parsed.ok()) return api::bad_request(parsed.error().message());
  for (const auto& term : parsed->terms) {
    // A version's own names stand in the order of the stored version's.
    const ResourceInfo& known =
        request.resource->selector_names.empty() ? request.resource->stored() : *request.resource;
    std::optional<int> index = field_index(known, term.field);
    if (term.field == "metadata.name") index = -1;
    if (term.field == "metadata.namespace") index = -2;
    if (!index && known.selector_names.empty() && !known.type->custom)
      return api::bad_request(
          "\"" + term.field +
          "\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
    if (!index) return api::bad_request("field label not supported: " + term.field);
    out->fields.push_back({*index, term.value, term.equal});
  }
  return nullptr;
}

// {"v":"meta.k8s.io/v1","rv":12,"start":"default/web"} in URL-safe base64 without padding, as
// kube-apiserver's; opaque to clients. "left" says how many objects come yet: each page would count them all.
bool read_token(std::string_view token, ListOptions* out) {
  auto decoded = base::base64url_decode(token);
  if (!decoded) return false;
  auto parsed = base::parse_json(*decoded);
  if (!parsed.ok() || base::string_at(*parsed, "v") != "meta.k8s.io/v1") return false;
  out->continues = true;
  out->continue_revision = base::as_int(base::find(*parsed, "rv"));
  out->continue_from = base::string_at(*parsed, "start");
  if (int64_t left = base::as_int(base::find(*parsed, "left")); left > 0)
    out->continue_left = static_cast<size_t>(left);
  return out->continue_revision >= -1 && out->continue_revision != 0 && !out->continue_from.empty();
}

json::value check_match(const ListOptions& options, std::string_view match, bool watch) {
  if (watch && !match.empty() && !options.send_initial_events)
    return refusal(Type::forbidden, "resourceVersionMatch", "",
                   "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
  if (watch && options.send_initial_events && match != "NotOlderThan")
    return refusal(Type::forbidden, "resourceVersionMatch", "",
                   "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
  if (!watch && options.send_initial_events)
    return refusal(Type::forbidden, "sendInitialEvents", "", "sendInitialEvents is forbidden for list");
  if (match.empty()) return nullptr;
  if (match != "Exact" && match != "NotOlderThan")
    return refusal(Type::not_supported, "resourceVersionMatch", "\"" + std::string(match) + "\"",
                   "supported values: \"Exact\", \"NotOlderThan\"");
  if (watch) return nullptr;
  if (options.continues)
    return refusal(Type::forbidden, "resourceVersionMatch", "",
                   "resourceVersionMatch is forbidden when continue is provided");
  if (!options.version)
    return refusal(Type::forbidden, "resourceVersionMatch", "",
                   "resourceVersionMatch is forbidden unless resourceVersion is provided");
  if (match == "Exact" && *options.version == 0)
    return refusal(Type::forbidden, "resourceVersionMatch", "",
                   "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
  return nullptr;
}

}  // namespace

bool Filter::matches(const StoredObject& object) const {
  if (!ns.empty() && object.ns() != ns) return false;
  if (!name.empty() && object.name() != name) return false;
  for (const Term& term : fields) {
    std::string_view value =
        term.index == -1   ? object.name()
        : term.index == -2 ? object.ns()
        : term.index >= 0 && static_cast<size_t>(term.index) < object.fields.size()
            ? std::string_view(object.fields[static_cast<size_t>(term.index)])
            : std::string_view();  // made while the definition of a custom resource changed
    if ((value == term.value) != term.equal) return false;
  }
  return labels.everything() || labels.matches(object.labels);
}

json::value read_list_options(const RequestInfo& request, bool watch, ListOptions* out) {
  if (json::value refusal = read_filter(request, &out->filter); !refusal.is_null()) return refusal;
  if (std::string_view text = request.param("resourceVersion"); !text.empty()) {
    int64_t version;
    if (!read_number(text, &version))
      return api::bad_request("resourceVersion: Invalid value: \"" + std::string(text) +
                              "\": strconv.ParseUint: parsing \"" + std::string(text) + "\": invalid syntax");
    out->version = version;
  }
  if (std::string_view text = request.param("limit"); !text.empty()) {
    int64_t limit;
    if (!read_number(text, &limit))
      return api::bad_request("strconv.ParseInt: parsing \"" + std::string(text) + "\": invalid syntax");
    out->limit = static_cast<size_t>(limit);
  }
  if (!request.param("sendInitialEvents").empty())
    out->send_initial_events = request.flag("sendInitialEvents");
  out->bookmarks = request.flag("allowWatchBookmarks");
  if (std::string_view text = request.param("timeoutSeconds"); !text.empty()) {
    int64_t seconds;
    bool negative = text.front() == '-';
    if (!read_number(text.substr(negative), &seconds))
      return api::bad_request("strconv.ParseInt: parsing \"" + std::string(text) + "\": invalid syntax");
    out->timeout_s = negative && seconds > 0 ? -1 : static_cast<int>(std::min<int64_t>(seconds, 1 << 20));
  }
  if (std::string_view token = request.param("continue"); !token.empty() && !watch) {
    if (!read_token(token, out)) return api::bad_request("continue key is not valid: " + std::string(token));
    if (out->version && *out->version != 0)
      return api::bad_request("specifying resource version is not allowed when using continue");
  }
  std::string_view match = request.param("resourceVersionMatch");
  if (json::value refusal = check_match(*out, match, watch); !refusal.is_null()) return refusal;
  if (match == "Exact") out->match = VersionMatch::kExact;
  if (match == "NotOlderThan") out->match = VersionMatch::kNotOlderThan;
  // A page of a named version is a page of that version.
  if (match.empty() && out->limit != 0 && out->version && *out->version != 0)
    out->match = VersionMatch::kExact;
  return nullptr;
}

std::string continue_token(int64_t revision, std::string_view first_key, std::optional<size_t> left) {
  json::object fields{{"v", "meta.k8s.io/v1"}, {"rv", revision}, {"start", first_key}};
  if (left) fields["left"] = *left;
  return base::base64url_encode(base::to_json(std::move(fields)));
}

json::value version_too_large(int64_t asked, int64_t current) {
  // client-go knows this refusal by its cause.
  return api::make_status(
      504, "Timeout",
      "Too large resource version: " + std::to_string(asked) + ", current: " + std::to_string(current),
      json::object{{"causes", json::array{json::object{{"reason", "ResourceVersionTooLarge"},
                                                       {"message", "Too large resource version"}}}},
                   {"retryAfterSeconds", 1}});
}

}  // namespace master
