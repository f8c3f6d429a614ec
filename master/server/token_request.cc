// serviceaccounts/token and TokenReview, and the documents by which others check the tokens.
#include <algorithm>

#include "api/status.h"
#include "api/validate/validate.h"
#include "base/json_lists.h"
#include "master/auth/authenticator.h"
#include "master/auth/authorizer.h"
#include "master/server/handlers.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;
using base::find;
using base::find_path;
using base::string_at;

namespace {

constexpr int64_t kMinSeconds = 600, kMaxSeconds = int64_t{1} << 32;
// What ServiceAccount admission asks for. Clients older than the rotation of tokens read theirs once:
// such tokens live a year, and warn after the time that was asked for.
constexpr int64_t kExtendedSeconds = 3607, kYear = 365 * 24 * 3600;

json::value found_object(const ObjectCache& cache, std::string_view ns, std::string_view name) {
  ObjectRef object = cache.find(object_key(ns, name));
  return object ? parse_object(*object->text) : json::value(nullptr);
}
TokenClaims::Named named(const json::value& object) {
  return {std::string(string_at(object, "metadata", "name")),
          std::string(string_at(object, "metadata", "uid"))};
}

api::FieldErrors check_seconds(const json::value& request) {
  const json::value* asked = find_path(request, "spec", "expirationSeconds");
  int64_t seconds = base::as_int(asked, 3600);
  api::FieldErrors errors;
  if (seconds < kMinSeconds)
    errors.push_back({api::FieldError::Type::invalid, "spec.expirationSeconds", std::to_string(seconds),
                      "may not specify a duration less than 10 minutes"});
  if (seconds > kMaxSeconds)
    errors.push_back({api::FieldError::Type::invalid, "spec.expirationSeconds", std::to_string(seconds),
                      "may not specify a duration larger than 2^32 seconds"});
  return errors;
}

// The object that the token shall live and die with, into the claims; null or the Status that refuses.
json::value bind_token(const Registry& registry, const std::string& ns, const json::value& reference,
                       TokenClaims* claims) {
  std::string_view kind = string_at(reference, "kind"), version = string_at(reference, "apiVersion"),
                   name = string_at(reference, "name");
  const char* plural = kind == "Pod"      ? "pods"
                       : kind == "Secret" ? "secrets"
                       : kind == "Node"   ? "nodes"
                                          : nullptr;
  if (!plural || version != "v1")
    return api::bad_request("cannot bind token to object of type " + std::string(version) +
                            ", Kind=" + std::string(kind));
  json::value object = found_object(registry.cache("", plural),
                                    kind == "Node" ? std::string_view() : std::string_view(ns), name);
  if (object.is_null()) return api::not_found({"", plural}, name);
  TokenClaims::Named bound = named(object);
  if (std::string_view uid = string_at(reference, "uid"); !uid.empty() && uid != bound.uid)
    return api::conflict({"", kind}, name,
                         "the UID in the bound object reference (" + std::string(uid) +
                             ") does not match the UID in record (" + bound.uid +
                             "). The object might have been deleted and then recreated");
  if (kind == "Secret") claims->secret = bound;
  else if (kind == "Node") claims->node = bound;
  else {
    std::string_view account = string_at(object, "spec", "serviceAccountName");
    if (account != claims->account.name)
      return api::bad_request("cannot bind token for serviceaccount \"" + claims->account.name +
                              "\" to pod running with different serviceaccount name.");
    claims->pod = bound;
    if (std::string_view node = string_at(object, "spec", "nodeName"); !node.empty())
      if (json::value on = found_object(registry.cache("", "nodes"), "", node); !on.is_null())
        claims->node = named(on);
  }
  return nullptr;
}

void issue_token(ApiServer& server, const RequestPtr& asked, json::value object, const json::value& account) {
  RequestInfo& request = *asked;
  TokenClaims claims;
  claims.ns = request.ns;
  claims.account = named(account);
  claims.audiences = base::texts_of(find_path(object, "spec", "audiences"));
  if (claims.audiences.empty()) claims.audiences = server.tokens().keys().audiences;
  claims.seconds = base::as_int(find_path(object, "spec", "expirationSeconds"), 3600);
  if (const json::value* reference = find_path(object, "spec", "boundObjectRef");
      reference && reference->is_object())
    if (json::value refusal = bind_token(server.registry(), claims.ns, *reference, &claims);
        !refusal.is_null())
      return request.reply_status(refusal);
  base::Time expires = base::wall_now() + std::chrono::seconds(claims.seconds);
  json::object& spec = base::object_at(object.get_object(), "spec");
  spec["audiences"] = json::value_from(claims.audiences);
  spec["expirationSeconds"] = claims.seconds;
  if (claims.pod && claims.seconds == kExtendedSeconds &&
      claims.audiences == server.tokens().keys().audiences) {
    claims.warn_after_seconds = claims.seconds;
    claims.seconds = kYear;
  }
  auto token = server.tokens().issue(claims);
  if (!token.ok()) return request.reply_status(api::internal_error(token.error().message()));
  json::object& metadata = base::object_at(object.get_object(), "metadata");
  metadata["name"] = claims.account.name;
  metadata["namespace"] = claims.ns;
  metadata["creationTimestamp"] = base::format_time(base::wall_now());
  object.get_object()["status"] =
      json::object{{"token", std::move(*token)}, {"expirationTimestamp", base::format_time(expires)}};
  request.reply(201, object);
}

void request_token(ApiServer& server, const RequestPtr& request) {
  Registry& registry = server.registry();
  static const api::Type* type = api::find_type("io.k8s.api.authentication.v1", "TokenRequest");
  json::value sent;
  if (!decode_body(*request, *type, "TokenRequest", &sent)) return;
  json::value account = found_object(registry.cache("", "serviceaccounts"), request->ns, request->name);
  if (account.is_null())
    return request->reply_status(registry.absent(*request->resource, object_key(request->ns, request->name)));
  if (api::FieldErrors errors = check_seconds(sent); !errors.empty())
    return request->reply_status(api::invalid("authentication.k8s.io", "TokenRequest", "", errors));
  admit_body(registry, request, Operation::kCreate, std::move(sent), nullptr,
             [&server, request, account = std::move(account)](const json::value& admitted) {
               issue_token(server, request, admitted, account);
             });
}

void review_token(ApiServer& server, const RequestPtr& request) {
  const ResourceInfo& resource = *request->resource;
  json::value review;
  if (!decode_body(*request, *resource.type, resource.kind, &review)) return;
  std::string token(string_at(review, "spec", "token"));
  if (token.empty())
    return request->reply_status(api::bad_request("token is required for TokenReview in authentication"));
  std::vector<std::string> wanted = base::texts_of(find_path(review, "spec", "audiences")),
                           own = server.tokens().keys().audiences, common;
  if (wanted.empty()) wanted = own;
  json::object status;
  auto identity = server.authenticator().check_token(token);
  if (identity.ok()) {
    const std::vector<std::string>& has = identity->audiences.empty() ? own : identity->audiences;
    for (const std::string& audience : wanted)
      if (std::find(has.begin(), has.end(), audience) != has.end()) common.push_back(audience);
  }
  if (identity.ok() && !common.empty()) {
    status["authenticated"] = true;
    status["user"] = user_info(identity->user);
    status["audiences"] = json::value_from(common);
  } else {
    status["user"] = json::object();
    status["error"] = identity.ok() ? std::string("[invalid bearer token, token audiences do not match]")
                                    : "[invalid bearer token, " + identity.error().reason + "]";
  }
  review.get_object()["status"] = std::move(status);
  base::object_at(review.get_object(), "metadata");
  request->reply(201, review);
}

}  // namespace

bool serve_openid(const ApiServer& server, const RequestPtr& request) {
  std::string_view path = request->http().path();
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  if (path == "/openid/v1/jwks") {
    json::array keys;
    for (const jws::Key& key : server.tokens().keys().keys) keys.push_back(key.jwk());
    request->reply_bytes(200, {base::http::bytes(json::serialize(json::object{{"keys", std::move(keys)}}))},
                         "application/jwk-set+json");
    return true;
  }
  if (path != "/.well-known/openid-configuration") return false;
  json::array algorithms;
  for (const jws::Key& key : server.tokens().keys().keys)
    if (json::value name(key.algorithm());
        std::find(algorithms.begin(), algorithms.end(), name) == algorithms.end())
      algorithms.push_back(name);
  std::string keys_at = server.tokens().keys().jwks_uri;
  if (keys_at.empty())
    keys_at = "https://" + server.options().advertise_address + ":" +
              std::to_string(server.options().advertise_port) + "/openid/v1/jwks";
  request->reply(200, json::object{{"issuer", server.tokens().keys().issuer},
                                   {"jwks_uri", keys_at},
                                   {"response_types_supported", json::array{"id_token"}},
                                   {"subject_types_supported", json::array{"public"}},
                                   {"id_token_signing_alg_values_supported", std::move(algorithms)}});
  return true;
}

void add_token_handlers(ApiServer& server) {
  server.handle_with("", "serviceaccounts", "token",
                     [&server](const RequestPtr& request) { request_token(server, request); });
  server.handle_with("authentication.k8s.io", "tokenreviews", "",
                     [&server](const RequestPtr& request) { review_token(server, request); });
}

}  // namespace master
