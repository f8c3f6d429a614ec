#include "api/status.h"

#include <set>

namespace api {
namespace {

std::string quoted(std::string_view text) { return base::to_json(json::value(text)); }
json::object details_of(const GroupResource& resource, std::string_view name) {
  json::object out;
  if (!name.empty()) out["name"] = name;
  if (!resource.group.empty()) out["group"] = resource.group;
  if (!resource.resource.empty()) out["kind"] = resource.resource;
  return out;
}

}  // namespace

std::string GroupResource::text() const {
  return group.empty() ? std::string(resource) : std::string(resource) + "." + std::string(group);
}

json::value make_status(int code, std::string_view reason, std::string_view message, json::value details) {
  json::object out{{"kind", "Status"},
                   {"apiVersion", "v1"},
                   {"metadata", json::object()},
                   {"status", "Failure"},
                   {"message", message}};
  if (!reason.empty()) out["reason"] = reason;
  if (!details.is_null()) out["details"] = std::move(details);
  out["code"] = code;
  return out;
}
json::value make_success(json::value details) {
  json::object out{
      {"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Success"}};
  if (!details.is_null()) out["details"] = std::move(details);
  return out;
}
int status_code(const json::value& status) {
  return static_cast<int>(base::as_int(base::find(status, "code"), 200));
}

json::value not_found(GroupResource resource, std::string_view name) {
  return make_status(404, "NotFound", resource.text() + " " + quoted(name) + " not found",
                     details_of(resource, name));
}
json::value no_such_path() {
  return make_status(404, "NotFound", "the server could not find the requested resource", json::object());
}
json::value already_exists(GroupResource resource, std::string_view name) {
  return make_status(409, "AlreadyExists", resource.text() + " " + quoted(name) + " already exists",
                     details_of(resource, name));
}
json::value conflict(GroupResource resource, std::string_view name, std::string_view why) {
  return make_status(
      409, "Conflict",
      "Operation cannot be fulfilled on " + resource.text() + " " + quoted(name) + ": " + std::string(why),
      details_of(resource, name));
}
json::value modified_conflict(GroupResource resource, std::string_view name) {
  return conflict(
      resource, name,
      "the object has been modified; please apply your changes to the latest version and try again");
}
json::value invalid(std::string_view group, std::string_view kind, std::string_view name,
                    const FieldErrors& errors) {
  std::vector<std::string> messages;
  std::set<std::string> once;
  for (const FieldError& error : errors)
    if (once.insert(error.message()).second) messages.push_back(error.message());
  std::string all;
  for (const auto& message : messages) all += (all.empty() ? "" : ", ") + message;
  if (messages.size() > 1) all = "[" + all + "]";
  std::string text = std::string(kind) + (group.empty() ? "" : "." + std::string(group)) + " " +
                     quoted(name) + " is invalid";
  json::object details = details_of({group, kind}, name);
  if (!errors.empty()) {
    text += ": " + all;
    details["causes"] = causes(errors);
  }
  return make_status(422, "Invalid", text, std::move(details));
}
json::value bad_request(std::string_view message) { return make_status(400, "BadRequest", message); }
json::value cannot_decode(std::string_view group_version, std::string_view kind, std::string_view why) {
  size_t slash = group_version.find('/');
  if (slash != std::string_view::npos) group_version.remove_prefix(slash + 1);
  std::string name(kind);
  return bad_request(name + " in version " + quoted(group_version) + " cannot be handled as a " + name +
                     ": " + std::string(why));
}
std::string strict_decoding_text(const std::vector<std::string>& unknown,
                                 const std::vector<std::string>& duplicate) {
  std::string out = "strict decoding error: ";
  bool first = true;
  auto add = [&](const char* what, const std::string& path) {
    if (!first) out += ", ";
    first = false;
    out += std::string(what) + " field " + quoted(path);
  };
  for (const auto& path : duplicate) add("duplicate", path);
  for (const auto& path : unknown) add("unknown", path);
  return out;
}
json::value strict_decoding_error(std::string_view group_version, std::string_view kind,
                                  const std::vector<std::string>& unknown,
                                  const std::vector<std::string>& duplicate) {
  return cannot_decode(group_version, kind, strict_decoding_text(unknown, duplicate));
}
json::value forbidden(GroupResource resource, std::string_view name, std::string_view why) {
  std::string text = resource.text();
  if (text.empty()) text = "forbidden: ";
  else text += (name.empty() ? "" : " " + quoted(name)) + " is forbidden: ";
  return make_status(403, "Forbidden", text + std::string(why), details_of(resource, name));
}
json::value unauthorized() { return make_status(401, "Unauthorized", "Unauthorized"); }
json::value method_not_allowed(GroupResource resource, std::string_view verb) {
  return make_status(405, "MethodNotAllowed",
                     std::string(verb) + " is not supported on resources of kind " + quoted(resource.text()),
                     details_of(resource, {}));
}
json::value expired(std::string_view message) { return make_status(410, "Expired", message); }
json::value gone_version(uint64_t asked, uint64_t oldest) {
  return expired("too old resource version: " + std::to_string(asked) + " (" + std::to_string(oldest) + ")");
}
json::value too_large(size_t limit_bytes) {
  return make_status(413, "RequestEntityTooLarge",
                     "Request entity too large: limit is " + std::to_string(limit_bytes));
}
json::value not_acceptable(std::string_view accepted) {
  return make_status(406, "NotAcceptable",
                     "only the following media types are accepted: " + std::string(accepted));
}
json::value unsupported_media_type(std::string_view accepted) {
  return make_status(415, "UnsupportedMediaType",
                     "the body of the request was in an unknown format - accepted media types include: " +
                         std::string(accepted));
}
json::value too_many_requests(std::string_view message, int retry_after_seconds) {
  return make_status(429, "TooManyRequests", message,
                     json::object{{"retryAfterSeconds", retry_after_seconds}});
}
json::value unavailable(std::string_view message) { return make_status(503, "ServiceUnavailable", message); }
json::value server_timeout(GroupResource resource, std::string_view operation) {
  json::object details = details_of(resource, {});
  details["retryAfterSeconds"] = 1;
  return make_status(500, "ServerTimeout",
                     "The " + std::string(operation) + " operation against " + resource.text() +
                         " could not be completed at this time, please try again.",
                     std::move(details));
}
json::value internal_error(std::string_view message) {
  return make_status(500, "InternalError", "Internal error occurred: " + std::string(message),
                     json::object{{"causes", json::array{json::object{{"message", message}}}}});
}
json::value apply_conflict(const std::vector<FieldError>& conflicts, std::string_view message) {
  json::array list;
  for (const FieldError& conflict : conflicts)
    list.push_back(json::object{
        {"reason", "FieldManagerConflict"}, {"message", conflict.detail}, {"field", conflict.field}});
  return make_status(409, "Conflict", message, json::object{{"causes", std::move(list)}});
}

}  // namespace api
