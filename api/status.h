// The Status objects that answer a refused request, in the words that kubectl's users know. Pure.
// Every builder returns a whole Status; its "code" member is the HTTP status to answer with.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/field_errors.h"

namespace api {

// "deployments" of "apps" prints as "deployments.apps".
struct GroupResource {
  std::string_view group, resource;
  std::string text() const;
};

// `details` is an object or null.
json::value make_status(int code, std::string_view reason, std::string_view message,
                        json::value details = nullptr);
json::value make_success(json::value details = nullptr);
int status_code(const json::value& status);

json::value not_found(GroupResource resource, std::string_view name);
json::value no_such_path();  // "the server could not find the requested resource"
json::value already_exists(GroupResource resource, std::string_view name);
json::value conflict(GroupResource resource, std::string_view name, std::string_view why);
json::value modified_conflict(GroupResource resource, std::string_view name);  // "… has been modified …"
json::value invalid(std::string_view group, std::string_view kind, std::string_view name,
                    const FieldErrors& errors);
json::value bad_request(std::string_view message);
// "Pod in version \"v1\" cannot be handled as a Pod: " + what check_types() or the parser said.
json::value cannot_decode(std::string_view group_version, std::string_view kind, std::string_view why);
// "strict decoding error: unknown field \"spec.foo\", duplicate field \"spec.bar\"".
std::string strict_decoding_text(const std::vector<std::string>& unknown,
                                 const std::vector<std::string>& duplicate);
json::value strict_decoding_error(std::string_view group_version, std::string_view kind,
                                  const std::vector<std::string>& unknown,
                                  const std::vector<std::string>& duplicate);
json::value forbidden(GroupResource resource, std::string_view name, std::string_view why);
json::value unauthorized();
json::value method_not_allowed(GroupResource resource, std::string_view verb);
json::value expired(std::string_view message);              // 410, reason Expired
json::value gone_version(uint64_t asked, uint64_t oldest);  // "too old resource version: 1 (5)"
json::value too_large(size_t limit_bytes);
json::value not_acceptable(std::string_view accepted);
json::value unsupported_media_type(std::string_view accepted);
json::value too_many_requests(std::string_view message, int retry_after_seconds);
json::value unavailable(std::string_view message);
json::value server_timeout(GroupResource resource, std::string_view operation);
json::value internal_error(std::string_view message);
json::value apply_conflict(const std::vector<FieldError>& causes, std::string_view message);

}  // namespace api
