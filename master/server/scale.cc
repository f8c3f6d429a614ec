// The scale subresource: spec.replicas of another object, seen as an autoscaling/v1 Scale.
#include "api/patch/patch.h"
#include "api/selector.h"
#include "api/status.h"
#include "api/structural.h"
#include "api/validate/validate.h"
#include "api/walk.h"
#include "base/fiber.h"
#include "master/registry/conversion.h"
#include "master/registry/heavy_requests.h"
#include "master/server/handlers.h"
#include "master/server/patch_refusal.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;

namespace {

// Where a custom resource keeps what a Scale shows; of ".spec.replicas" the names.
std::vector<std::string> names_of(const std::string& path) {
  auto parsed = api::JsonPath::parse(path);
  return parsed.ok() ? parsed->plain_names() : std::vector<std::string>();
}
const json::value* value_at(const json::value& object, const std::string& path) {
  const json::value* at = &object;
  for (const std::string& name : names_of(path)) at = at ? base::find(*at, name) : nullptr;
  return path.empty() ? nullptr : at;
}
void set_replicas(const ResourceInfo& resource, json::value& object, int64_t count) {
  const api::CustomKind* custom = resource.type->custom;
  std::vector<std::string> names =
      custom ? names_of(custom->spec_replicas_path) : std::vector<std::string>{"spec", "replicas"};
  if (names.empty()) return;
  json::object* at = &object.get_object();
  for (size_t i = 0; i + 1 < names.size(); ++i) at = &base::object_at(*at, names[i]);
  (*at)[names.back()] = count;
}

json::value to_scale(const ResourceInfo& resource, const json::value& object) {
  json::object metadata;
  for (const char* key : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"})
    if (const json::value* value = base::find_path(object, "metadata", key)) metadata[key] = *value;
  if (const api::CustomKind* custom = resource.type->custom) {
    json::object status{{"replicas", base::as_int(value_at(object, custom->status_replicas_path))}};
    if (std::string_view selector = base::as_string(value_at(object, custom->label_selector_path));
        !selector.empty())
      status["selector"] = selector;
    return json::object{
        {"kind", "Scale"},
        {"apiVersion", "autoscaling/v1"},
        {"metadata", std::move(metadata)},
        {"spec", json::object{{"replicas", base::as_int(value_at(object, custom->spec_replicas_path))}}},
        {"status", std::move(status)}};
  }
  json::object status{{"replicas", base::as_int(base::find_path(object, "status", "replicas"))}};
  const json::value* selector = base::find_path(object, "spec", "selector");
  bool plain = resource.is("", "replicationcontrollers");
  if (selector) {
    if (plain) status["selector"] = api::selector_of_map(selector).text();
    else if (auto parsed = api::selector_of_json(selector); parsed.ok()) status["selector"] = parsed->text();
  }
  return json::object{
      {"kind", "Scale"},
      {"apiVersion", "autoscaling/v1"},
      {"metadata", std::move(metadata)},
      {"spec", json::object{{"replicas", base::as_int(base::find_path(object, "spec", "replicas"))}}},
      {"status", std::move(status)}};
}

}  // namespace

void serve_scale(ApiServer& server, RequestPtr request) {
  Registry& registry = server.registry();
  ResourceInfo& resource = *request->resource;
  static const api::Type* type = api::find_type("io.k8s.api.autoscaling.v1", "Scale");
  auto reply = [request, &resource](Registry::Outcome outcome) {
    if (!outcome.status.is_null()) return request->reply_status(outcome.status);
    when_shown(request, {outcome.object}, [request, &resource, object = outcome.object] {
      Bytes text = resource.conversion ? Conversion::text(resource, *object) : object->text;
      request->reply(200, to_scale(resource, parse_object(*text)));
    });
  };
  if (request->verb == "get") {
    ObjectRef object = resource.objects->find(object_key(request->ns, request->name));
    if (!object)
      return request->reply_status(registry.absent(resource, object_key(request->ns, request->name)));
    return reply({object, nullptr, false});
  }
  auto take = [request, &resource](const json::value& wanted, const json::value& current,
                                   json::value* updated) -> json::value {
    const json::value* replicas = base::find_path(wanted, "spec", "replicas");
    int64_t count = base::as_int(replicas);
    if (count < 0 || (replicas && !replicas->is_int64()))
      return api::invalid("autoscaling", "Scale", request->name,
                          {{api::FieldError::Type::invalid, "spec.replicas",
                            replicas ? base::to_json(*replicas) : "", "must be greater than or equal to 0"}});
    std::string_view version = base::string_at(wanted, "metadata", "resourceVersion");
    *updated = current;
    set_replicas(resource, *updated, count);
    if (!version.empty()) base::object_at(updated->get_object(), "metadata")["resourceVersion"] = version;
    return nullptr;
  };
  // Admitted as a Scale, which is what policies for it look at, then written. `make`: what is wanted
  // of what is there.
  auto write = [&registry, request, &resource, take,
                reply](const std::function<base::Result<json::value>(const json::value& current)>& make) {
    ObjectRef object = resource.objects->find(object_key(request->ns, request->name));
    if (!object)
      return request->reply_status(registry.absent(resource, object_key(request->ns, request->name)));
    when_shown(request, {object}, [&registry, request, &resource, take, reply, make, object] {
      Bytes text = resource.conversion ? Conversion::text(resource, *object) : object->text;
      json::value current;
      base::Result<json::value> wanted = json::value();
      base::Status fits;
      base::compute([&] {
        current = to_scale(resource, parse_object(*text));
        wanted = make(current);
        if (wanted.ok()) fits = api::check_types(*type, *wanted);
      });
      if (!wanted.ok()) return request->reply_status(patch_refusal(wanted.error()));
      if (!fits.ok()) return request->reply_status(undecodable_patch(*wanted, fits.error().message()));
      std::string_view name = base::string_at(*wanted, "metadata", "name");
      if (name != request->name)
        return request->reply_status(api::bad_request(
            name.empty() ? "the name of the object (" + request->name +
                               " based on URL) was undeterminable: name must be provided"
                         : "the name of the object (" + std::string(name) +
                               ") does not match the name on the URL (" + request->name + ")"));
      admit_body(registry, request, Operation::kUpdate, std::move(*wanted), std::move(current),
                 [&registry, request, take, reply](const json::value& admitted) {
                   request->admitted = true;
                   auto scale = std::make_shared<json::value>(admitted);
                   go_on(registry.loop(), request, [&registry, request, take, reply, scale] {
                     registry.update(
                         request, "",
                         [take, scale](const json::value& now, json::value* updated) {
                           return take(*scale, now, updated);
                         },
                         reply);
                   });
                 });
    });
  };
  if (request->verb == "update") {
    json::value wanted;
    if (!decode_body(*request, *type, "Scale", &wanted)) return;
    auto sent = std::make_shared<json::value>(std::move(wanted));  // functions are copied
    return write([sent](const json::value&) -> base::Result<json::value> { return *sent; });
  }
  base::Result<json::value> body = json::value();
  base::compute([&] { body = base::parse_json(request->http().body); });
  if (!body.ok())
    return request->reply_status(api::bad_request("error decoding patch: " + body.error().message()));
  std::string_view media = request->http().headers.get("Content-Type");
  bool is_json = media.starts_with("application/json-patch+json");
  if (!is_json && !media.starts_with("application/merge-patch+json") &&
      !media.starts_with("application/strategic-merge-patch+json"))
    return request->reply_status(api::unsupported_media_type(
        "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"));
  if (!is_json && !body->is_object())
    return request->reply_status(api::bad_request("error decoding patch: the body is not a JSON object"));
  auto patch = std::make_shared<json::value>(std::move(*body));
  write([is_json, patch](const json::value& current) -> base::Result<json::value> {
    json::value wanted = current;
    // A patch is for whatever version is there, unless it names one.
    base::object_at(wanted.get_object(), "metadata").erase("resourceVersion");
    if (!is_json) return api::merge_patch(std::move(wanted), *patch);
    return api::json_patch(wanted, *patch);
  });
}

}  // namespace master
