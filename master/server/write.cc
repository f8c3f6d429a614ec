// CREATE, UPDATE and PATCH.
#include "api/patch/patch.h"
#include "api/status.h"
#include "api/structural.h"
#include "api/walk.h"
#include "base/fiber.h"
#include "base/json_limits.h"
#include "master/auth/authorizer.h"
#include "master/registry/heavy_requests.h"
#include "master/server/handlers.h"
#include "master/server/patch_refusal.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;
using Outcome = Registry::Outcome;

void reply_written(RequestPtr request, int code, const Outcome& outcome) {
  if (!outcome.status.is_null()) return request->reply_status(outcome.status);
  auto reply = [request, code, object = outcome.object] {
    request->reply_bytes(code, {render(*request, *object, true)});
  };
  if (!request->resource->conversion) return reply();
  when_shown(request, {outcome.object}, reply);
}

// An update or apply that is going to create needs the permission for that as well.
json::value check_may_create(const ApiServer& server, const RequestInfo& request) {
  RequestInfo creating = request;
  creating.verb = "create";
  Access access = access_of(creating);
  std::string reason;
  return server.authorizer().allows(creating.user, access, &reason)
             ? json::value(nullptr)
             : forbidden(creating.user, access, reason);
}

void serve_create(ApiServer& server, RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  json::value object;
  if (!decode_body(*request, *resource.type, resource.kind, &object)) return;
  base::compute([&] { object = stored_form(resource, std::move(object)); });
  server.registry().create(request, std::move(object),
                           [request](Outcome outcome) { reply_written(request, 201, outcome); });
}

void serve_update(ApiServer& server, RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  json::value object;
  if (!decode_body(*request, *resource.type, resource.kind, &object)) return;
  auto refuse = [&](std::string_view why) { request->reply_status(api::bad_request(why)); };
  std::string_view name = base::string_at(object, "metadata", "name");
  if (name.empty())
    return refuse("the name of the object (" + request->name +
                  " based on URL) was undeterminable: name must be provided");
  if (json::value refusal = check_place(*request, base::object_at(object.get_object(), "metadata"));
      !refusal.is_null())
    return request->reply_status(refusal);
  base::compute([&] { object = stored_form(resource, std::move(object)); });
  if (resource.creates_on_update && request->subresource.empty() &&
      !resource.objects->find(object_key(request->ns, request->name))) {
    if (json::value refusal = check_may_create(server, *request); !refusal.is_null())
      return request->reply_status(refusal);
    base::object_at(object.get_object(), "metadata").erase("resourceVersion");
    return server.registry().create(request, std::move(object),
                                    [request](Outcome outcome) { reply_written(request, 201, outcome); });
  }
  auto sent = std::make_shared<json::value>(std::move(object));
  server.registry().update(
      request, request->subresource,
      [sent](const json::value&, json::value* updated) {
        *updated = *sent;
        return json::value(nullptr);
      },
      [request](Outcome outcome) { reply_written(request, 200, outcome); });
}

void serve_patch(ApiServer& server, RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  std::string media(media_type(*request));
  if (json::value refusal = check_write_options(*request); !refusal.is_null())
    return request->reply_status(refusal);
  if (media.starts_with("application/apply-patch+")) return serve_apply(server, std::move(request));
  enum { kJson, kMerge, kStrategic } kind;
  if (media == "application/json-patch+json") kind = kJson;
  else if (media == "application/merge-patch+json") kind = kMerge;
  else if (media == "application/strategic-merge-patch+json" && !resource.type->custom) kind = kStrategic;
  else
    return request->reply_status(api::unsupported_media_type(
        resource.type->custom
            ? "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
            : "application/json-patch+json, application/merge-patch+json, "
              "application/strategic-merge-patch+json, application/apply-patch+yaml"));
  auto duplicates = std::make_shared<std::vector<std::string>>();
  base::Result<json::value> parsed = json::value();
  // The operations of a JSON patch carry values as deep as an object's; what they make is checked.
  base::compute([&] {
    const std::string& text = request->http().body;
    parsed = kind == kJson ? base::parse_json_carrier(text) : base::parse_json(text, duplicates.get());
  });
  if (!parsed.ok())
    return request->reply_status(api::bad_request("error decoding patch: " + parsed.error().message()));
  if (kind != kJson && !parsed->is_object())
    return request->reply_status(api::bad_request("error decoding patch: the body is not a JSON object"));
  auto body = std::make_shared<json::value>(std::move(*parsed));
  Registry::Mutate mutate = [request, &resource, kind, body, duplicates, said = request->warnings.size()](
                                const json::value& current, json::value* updated) {
    json::value document = served_form(resource, current);
    if (kind == kMerge) {
      *updated = api::merge_patch(std::move(document), *body);
    } else {
      auto result = kind == kJson ? api::json_patch(document, *body)
                                  : api::strategic_merge_patch(*resource.type, std::move(document), *body);
      if (!result.ok()) return patch_refusal(result.error());
      *updated = std::move(*result);
    }
    if (!updated->is_object()) return api::bad_request("the patch leaves no object");
    request->warnings.resize(said);  // a retry would repeat them
    std::string why = check_fields(*request, *resource.type, *updated, *duplicates);
    if (!why.empty()) return undecodable_patch(*updated, std::move(why));
    *updated = stored_form(resource, std::move(*updated));
    return json::value(nullptr);
  };
  server.registry().update(request, request->subresource, std::move(mutate),
                           [request](Outcome outcome) { reply_written(request, 200, outcome); });
}

}  // namespace master
