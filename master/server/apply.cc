// Server-side apply.
// Source: KEP-555; refusals as kube-apiserver's.
#include "api/patch/patch.h"
#include "api/status.h"
#include "api/walk.h"
#include "api/yaml.h"
#include "base/json_limits.h"
#include "master/registry/heavy_requests.h"
#include "master/registry/strategy.h"
#include "master/server/handlers.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;

namespace {

// What does not fit the kind's schema: 500 without a reason, as kube-apiserver 1.36 answers it.
json::value untyped(const RequestInfo& request, std::string_view why) {
  const ResourceInfo& resource = *request.resource;
  std::string name = request.ns + "/" + request.name;
  return api::make_status(500, "",
                          "failed to create typed patch object (" + name + "; " + resource.group + "/" +
                              resource.version + ", Kind=" + resource.kind + "): " + std::string(why));
}
// A path comes first where lists have items that can't be told apart.
json::value refusal_of(const RequestInfo& request, const base::Error& error) {
  return error.reason.starts_with('.') ? untyped(request, error.reason) : api::bad_request(error.reason);
}

// The manifest's own field errors: unlike in other writes, an unknown field is always refused.
json::value check_manifest(const RequestInfo& request, json::value& manifest) {
  const ResourceInfo& resource = *request.resource;
  if (base::string_at(manifest, "kind").empty() || base::string_at(manifest, "apiVersion").empty())
    return api::bad_request("Object 'Kind' and 'apiVersion' must be set in the applied configuration");
  if (base::string_at(manifest, "kind") != resource.kind ||
      base::string_at(manifest, "apiVersion") != resource.group_version())
    return api::bad_request(std::string(base::string_at(manifest, "apiVersion")) + ", Kind=" +
                            std::string(base::string_at(manifest, "kind")) + " cannot be applied to " +
                            std::string(resource.group_version()) + ", Kind=" + resource.kind);
  if (std::string_view name = base::string_at(manifest, "metadata", "name");
      !name.empty() && name != request.name)
    return api::bad_request("the name of the object (" + std::string(name) +
                            ") does not match the name on the URL (" + request.name + ")");
  if (std::string_view ns = base::string_at(manifest, "metadata", "namespace");
      resource.namespaced && !ns.empty() && ns != request.ns)
    return api::bad_request("the namespace of the object (" + std::string(ns) +
                            ") does not match the namespace on the URL (" + request.ns + ")");
  if (auto status = api::check_types(*resource.type, manifest); !status.ok())
    return untyped(request, status.error().message());
  std::vector<std::string> unknown;
  api::prune(*resource.type, manifest, &unknown);
  if (!unknown.empty()) return untyped(request, "." + unknown[0] + ": field not declared in schema");
  json::object& object = manifest.get_object();
  json::object& metadata = base::object_at(object, "metadata");
  metadata["name"] = request.name;
  if (resource.namespaced) metadata["namespace"] = request.ns;
  if (request.subresource.empty() && resource.has_status) object.erase("status");
  if (request.subresource == "status") {
    for (const char* other : {"spec", "data"}) object.erase(other);
    for (const char* kept : kept_by_status(request.resource->worked())) metadata.erase(kept);
  }
  return nullptr;
}

json::value refusal_of(const api::Applied& applied) {
  std::vector<api::FieldError> causes;
  for (const api::ApplyConflict& conflict : applied.conflicts)
    causes.push_back(
        {api::FieldError::Type::invalid, conflict.field, "", "conflict with " + conflict.manager});
  return api::apply_conflict(causes, api::conflict_text(applied.conflicts));
}

void apply_to_live(ApiServer& server, RequestPtr request, std::shared_ptr<const json::value> manifest,
                   bool force) {
  server.registry().update(
      request, request->subresource,
      [request, manifest, force](const json::value& current, json::value* updated) -> json::value {
        auto applied = api::apply_patch(*request->resource->worked().type, current, *manifest,
                                        field_manager(*request), force);
        if (!applied.ok()) return refusal_of(*request, applied.error());
        if (!applied->conflicts.empty()) return refusal_of(*applied);
        *updated = std::move(applied->object);
        return nullptr;
      },
      [request](Registry::Outcome outcome) { reply_written(request, 200, outcome); });
}

}  // namespace

void serve_apply(ApiServer& server, RequestPtr request) {
  ResourceInfo& resource = request->resource->worked();
  base::Result<std::vector<json::value>> documents = std::vector<json::value>();
  base::compute([&] { documents = api::parse_yaml(request->http().body); });
  if (!documents.ok() || documents->size() != 1 || !documents->front().is_object())
    return request->reply_status(
        api::bad_request("error decoding YAML: " + (documents.ok() ? std::string("the body is not one object")
                                                                   : documents.error().message())));
  json::value manifest = std::move(documents->front());
  json::value wrong;
  base::compute([&] {
    wrong = check_manifest(*request, manifest);
    if (wrong.is_null()) manifest = stored_form(*request->resource, std::move(manifest));
  });
  if (!wrong.is_null()) return request->reply_status(wrong);
  request->applies = true;
  bool force = request->flag("force");

  if (!resource.objects->find(object_key(request->ns, request->name)) && request->subresource.empty()) {
    if (json::value refusal = check_may_create(server, *request); !refusal.is_null())
      return request->reply_status(refusal);
    if (!base::string_at(manifest, "metadata", "uid").empty())
      return request->reply_status(
          api::conflict(resource.named(), request->name,
                        "uid mismatch: the provided object specified uid " +
                            std::string(base::string_at(manifest, "metadata", "uid")) +
                            ", and no existing object was found"));
    base::Result<api::Applied> applied = api::Applied();
    base::compute([&] {
      applied = api::apply_patch(*resource.type, nullptr, manifest, field_manager(*request), force);
    });
    if (!applied.ok()) return request->reply_status(refusal_of(*request, applied.error()));
    auto sent = std::make_shared<json::value>(std::move(manifest));
    return server.registry().create(
        request, std::move(applied->object), [&server, request, force, sent](Registry::Outcome outcome) {
          // Somebody else made it meanwhile: then it is an update.
          if (base::string_at(outcome.status, "reason") == "AlreadyExists")
            return go_on(server.loop(), request,
                         [&server, request, sent, force] { apply_to_live(server, request, sent, force); });
          reply_written(request, 201, outcome);
        });
  }
  apply_to_live(server, request, std::make_shared<json::value>(std::move(manifest)), force);
}

}  // namespace master
