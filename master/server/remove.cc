// DELETE: of one object, or of all that are selected.
#include <algorithm>
#include <charconv>

#include "api/protobuf.h"
#include "api/status.h"
#include "api/walk.h"
#include "base/fiber.h"
#include "base/log.h"
#include "master/auth/authorizer.h"
#include "master/registry/heavy_requests.h"
#include "master/registry/strategy.h"
#include "master/server/handlers.h"
#include "master/server/list_options.h"
#include "master/server/server.h"

namespace master {

namespace json = base::json;

namespace {

constexpr size_t kLongestText = 256;  // of a uid, a resourceVersion, a policy

json::value check_options(const json::value& options) {
  using Type = api::FieldError::Type;
  api::FieldErrors errors;
  std::string_view policy = base::string_at(options, "propagationPolicy");
  if (!policy.empty() && policy != "Foreground" && policy != "Background" && policy != "Orphan")
    errors.push_back({Type::not_supported, "propagationPolicy", "\"" + std::string(policy) + "\"",
                      "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""});
  const json::value* orphans = base::find(options, "orphanDependents");
  if (orphans && !orphans->is_null() && !policy.empty())
    errors.push_back({Type::invalid, "propagationPolicy", "\"" + std::string(policy) + "\"",
                      "orphanDependents and deletionPropagation cannot be both set"});
  if (const json::value* grace = base::find(options, "gracePeriodSeconds");
      grace && !grace->is_null() && !grace->is_int64())
    errors.push_back({Type::invalid, "gracePeriodSeconds", base::to_json(*grace), "must be an integer"});
  if (const json::value* list = base::find(options, "dryRun"); list && list->is_array())
    for (const json::value& value : list->get_array())
      if (base::as_string(&value) != "All")
        errors.push_back({Type::not_supported, "dryRun", base::to_json(*list), "supported values: \"All\""});
  return errors.empty() ? json::value(nullptr) : api::invalid("meta.k8s.io", "DeleteOptions", "", errors);
}

// Of options as they were sent, what is looked at: each deletion of many has a copy.
void tidy(json::value& options, const api::Type& type) {
  api::prune(type, options);
  json::object* object = options.if_object();
  if (!object) return;
  for (auto& member : *object)
    if (json::string* text = member.value().if_string(); text && text->size() > kLongestText)
      text->resize(kLongestText);
  if (json::value* preconditions = object->if_contains("preconditions");
      preconditions && preconditions->is_object())
    for (auto& member : preconditions->get_object())  // longer than any, so it matches none
      if (json::string* text = member.value().if_string(); text && text->size() > kLongestText)
        text->resize(kLongestText);
  if (json::value* dry_run = object->if_contains("dryRun"); dry_run && dry_run->is_array()) {
    json::array& list = dry_run->get_array();
    if (list.size() <= 8) return;
    auto other = std::find_if(list.begin(), list.end(),
                              [](const json::value& one) { return base::as_string(&one) != "All"; });
    *dry_run = json::array{other == list.end() ? list.front() : *other};
  }
}

// DeleteOptions from the body, with the query parameters over it.
json::value read_options(const RequestInfo& request, json::value* refusal) {
  json::value options = json::object();
  if (!request.http().body.empty()) {
    static const api::Type* type = api::find_type("io.k8s.apimachinery.pkg.apis.meta.v1", "DeleteOptions");
    bool is_protobuf = request.http().headers.get("Content-Type").starts_with(api::kProtobufMediaType);
    base::Result<json::value> parsed = json::value();
    base::compute([&] {
      parsed = is_protobuf ? api::protobuf_to_json(*type, request.http().body)
                           : base::parse_json(request.http().body);
      if (parsed.ok()) tidy(*parsed, *type);
    });
    if (!parsed.ok() || !parsed->is_object()) {
      *refusal = api::bad_request("could not decode DeleteOptions: " +
                                  (parsed.ok() ? std::string("not an object") : parsed.error().message()));
      return options;
    }
    options = std::move(*parsed);
  }
  json::object& object = options.get_object();
  if (std::string_view grace = request.param("gracePeriodSeconds"); !grace.empty()) {
    int64_t seconds = 0;
    auto [end, error] = std::from_chars(grace.data(), grace.data() + grace.size(), seconds);
    if (error != std::errc() || end != grace.data() + grace.size()) {
      *refusal = api::bad_request("strconv.ParseInt: parsing " + base::to_json(json::value(grace)) +
                                  ": invalid syntax");
      return options;
    }
    object["gracePeriodSeconds"] = seconds;
  }
  if (std::string_view policy = request.param("propagationPolicy"); !policy.empty())
    object["propagationPolicy"] = policy;
  if (request.flag("ignoreStoreReadErrorWithClusterBreakingPotential"))
    object["ignoreStoreReadErrorWithClusterBreakingPotential"] = true;
  if (!request.param("dryRun").empty()) object["dryRun"] = json::array{json::value(request.param("dryRun"))};
  // A negative time is one second, since 1.27.
  if (json::value* grace = object.if_contains("gracePeriodSeconds");
      grace && grace->is_int64() && grace->get_int64() < 0)
    *grace = 1;
  *refusal = check_options(options);
  return options;
}

// What the request's namespace and selectors select now; null or the Status that refuses.
json::value select(const RequestInfo& request, std::vector<ObjectRef>* out) {
  ListOptions options;
  if (json::value refusal = read_list_options(request, false, &options); !refusal.is_null()) return refusal;
  auto [it, end] = request.resource->objects->range(options.filter.ns);
  for (; it != end; ++it) out->push_back(it->second);
  if (!options.filter.selects_all())
    base::compute([&] {
      std::erase_if(*out, [&](const ObjectRef& object) { return !options.filter.matches(*object); });
    });
  return nullptr;
}

// Deletes a record that was set aside, without a look at it.
void remove_unread(ApiServer& server, const RequestPtr& request, const std::string& record) {
  const ResourceInfo& resource = request->resource->stored();
  Access access = access_of(*request);
  access.verb = "unsafe-delete-ignore-read-errors";
  std::string reason;
  if (!server.authorizer().allows(request->user, access, &reason))
    return request->reply_status(forbidden(request->user, access, reason));
  base::log::warning("store: record {} is deleted unread, as {} asks", shown_record(record),
                     request->user.name);
  server.registry().remove_record(record, [request, &resource](base::Status status) {
    if (!status.ok()) return request->reply_status(api::internal_error(status.error().message()));
    request->reply_status(
        api::make_success({{"name", request->name}, {"group", resource.group}, {"kind", resource.plural}}));
  });
}

}  // namespace

void serve_delete(ApiServer& server, RequestPtr request) {
  json::value refusal;
  json::value options = read_options(*request, &refusal);
  if (!refusal.is_null()) return request->reply_status(refusal);
  ResourceInfo& resource = *request->resource;
  std::string key = object_key(request->ns, request->name);
  if (base::as_bool(base::find(options, "ignoreStoreReadErrorWithClusterBreakingPotential")) &&
      server.registry().is_set_aside(record_key(resource, key)))
    return remove_unread(server, request, record_key(resource, key));
  server.registry().remove(request, std::move(key), std::move(options),
                           [request, &resource](Registry::Outcome outcome) {
                             if (!outcome.status.is_null()) return request->reply_status(outcome.status);
                             // As kube-apiserver: what is still there, and Pods, come back whole; the rest as
                             // a Status.
                             if (!outcome.deleted || resource.strategy->answers_deleted)
                               return reply_written(request, 200, outcome);
                             json::value object = parse_object(*outcome.object->text);
                             json::object details{{"name", outcome.object->name()},
                                                  {"kind", resource.plural},
                                                  {"uid", base::string_at(object, "metadata", "uid")}};
                             if (!resource.group.empty()) details["group"] = resource.group;
                             request->reply_status(api::make_success(std::move(details)));
                           });
}

void serve_delete_collection(ApiServer& server, RequestPtr request) {
  json::value refusal;
  json::value options = read_options(*request, &refusal);
  if (!refusal.is_null()) return request->reply_status(refusal);
  std::vector<ObjectRef> selected;
  if (refusal = select(*request, &selected); !refusal.is_null()) return request->reply_status(refusal);
  struct Progress {
    size_t left;
    std::vector<ObjectRef> objects;
    json::value failure;
  };
  auto progress = std::make_shared<Progress>();
  progress->left = selected.size() + 1;
  auto finish = [&server, request, progress] {
    if (--progress->left != 0) return;
    if (!progress->failure.is_null()) return request->reply_status(progress->failure);
    when_shown(request, progress->objects, [&server, request, progress] {
      reply_list(server.loop(), request, {}, std::move(progress->objects));
    });
  };
  for (const ObjectRef& object : selected) {
    server.registry().remove(request, object->key, options, [progress, finish](Registry::Outcome outcome) {
      // Gone meanwhile is what was asked for.
      if (!outcome.status.is_null() && base::as_int(base::find(outcome.status, "code")) != 404)
        progress->failure = outcome.status;
      if (outcome.object) progress->objects.push_back(std::move(outcome.object));
      finish();
    });
    base::give_way();
  }
  finish();
}

}  // namespace master
