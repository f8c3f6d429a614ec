// DELETE: grace for Pods, finalizers, propagation policies, preconditions.
#include <algorithm>
#include <charconv>

#include "api/protobuf.h"
#include "api/status.h"
#include "api/walk.h"
#include "master/custom_conversion.h"
#include "master/heavy_requests.h"
#include "master/server.h"
#include "master/strategy.h"

namespace master {

namespace json = base::json;

namespace {

void add_finalizer(json::object& metadata, std::string_view name) {
  json::value& list = metadata["finalizers"];
  if (!list.is_array()) list = json::array();
  for (const json::value& item : list.get_array())
    if (base::as_string(&item) == name) return;
  list.get_array().push_back(json::value(name));
}
constexpr size_t kLongestText = 256;  // of a uid, a resourceVersion, a policy

bool has_items(const json::value* list) { return list && list->is_array() && !list->get_array().empty(); }

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

// Of many that are deleted most are small: handing each over would cost more than its work.
void compute_if_large(const StoredObject& object, const std::function<void()>& work) {
  constexpr size_t kLarge = 64 << 10;
  if (object.text->size() > kLarge) return base::compute(work);
  work();
}

bool dry_run(const RequestInfo& request, const json::value& options) {
  const json::value* list = base::find(options, "dryRun");
  return request.dry_run() || has_items(list);
}

}  // namespace

void ApiServer::remove(RequestPtr request) {
  json::value refusal;
  json::value options = read_options(*request, &refusal);
  if (!refusal.is_null()) return request->reply_status(refusal);
  ResourceInfo& resource = *request->resource;
  std::string key = object_key(request->ns, request->name);
  if (base::as_bool(base::find(options, "ignoreStoreReadErrorWithClusterBreakingPotential")) &&
      set_aside_.contains(record_key(resource, key)))
    return remove_record(request, key);
  remove_object(request, std::move(key), std::move(options), [this, request, &resource](Outcome outcome) {
    if (!outcome.status.is_null()) return request->reply_status(outcome.status);
    // As kube-apiserver: what is still there, and Pods, come back whole; the rest as a Status.
    if (!outcome.deleted || resource.is("", "pods")) return reply_written(request, 200, outcome);
    json::value object = parse_object(*outcome.object->text);
    json::object details{{"name", outcome.object->name()},
                         {"kind", resource.plural},
                         {"uid", base::string_at(object, "metadata", "uid")}};
    if (!resource.group.empty()) details["group"] = resource.group;
    request->reply_status(api::make_success(std::move(details)));
  });
}

void ApiServer::remove_object(RequestPtr request, std::string key, json::value options, Written done,
                              int tries) {
  ResourceInfo& resource = request->resource->stored();
  ObjectRef current = cache(resource).find(key);
  if (!current) return done({nullptr, absent(resource, key), false});
  CustomConversion* conversion = request->resource->conversion.get();
  if (!conversion)
    return remove_current(std::move(request), std::move(current), std::move(options), std::move(done), tries);
  conversion->show(request->resource, {current},
                   [this, request, current, options = std::move(options), done = std::move(done),
                    tries](json::value refusal) {
                     if (!refusal.is_null()) return done({nullptr, std::move(refusal), false});
                     remove_current(request, current, options, done, tries);
                   });
}

void ApiServer::remove_current(RequestPtr request, ObjectRef current, json::value options, Written done,
                               int tries) {
  ResourceInfo& resource = request->resource->stored();
  std::string name(current->name());
  json::value before, updated;
  compute_if_large(*current, [&] { updated = before = parse_object(*current->text); });

  if (std::string_view uid = base::string_at(options, "preconditions", "uid");
      !uid.empty() && uid != base::string_at(before, "metadata", "uid"))
    return done({nullptr,
                 api::conflict(
                     resource.named(), name,
                     "Precondition failed: UID in precondition: " + std::string(uid) +
                         ", UID in object meta: " + std::string(base::string_at(before, "metadata", "uid"))),
                 false});
  if (std::string_view version = base::string_at(options, "preconditions", "resourceVersion");
      !version.empty() && version != base::string_at(before, "metadata", "resourceVersion"))
    return done({nullptr,
                 api::conflict(resource.named(), name,
                               "Precondition failed: ResourceVersion in precondition: " +
                                   std::string(version) + ", ResourceVersion in object meta: " +
                                   std::string(base::string_at(before, "metadata", "resourceVersion"))),
                 false});

  json::object& metadata = updated.at("metadata").get_object();
  set_deletion_finalizers(default_dependents(resource), options, metadata);
  int64_t asked = base::as_int(base::find(options, "gracePeriodSeconds"), -1);
  int64_t grace = grace_seconds(resource, updated, asked);
  bool is_namespace = resource.is("", "namespaces");
  if (resource.is("apiextensions.k8s.io", "customresourcedefinitions") &&
      !metadata.contains("deletionTimestamp"))
    add_finalizer(metadata, kCleanupFinalizer);  // until its instances are gone
  bool waits = has_items(metadata.if_contains("finalizers")) ||
               (is_namespace && has_items(base::find_path(updated, "spec", "finalizers")));
  bool deleting = metadata.contains("deletionTimestamp");
  if (deleting) {
    // A second deletion may only shorten the first one's grace.
    int64_t had = base::as_int(metadata.if_contains("deletionGracePeriodSeconds"));
    if (asked < 0 || grace > had) grace = had;
  }
  bool removes = grace == 0 && !waits;
  if (!removes) {
    if (!deleting || base::as_int(metadata.if_contains("deletionGracePeriodSeconds")) != grace) {
      // metav1: the time at which the object is to be gone.
      base::Time when = base::wall_now() + std::chrono::seconds(grace);
      metadata["deletionTimestamp"] = base::format_time(when);
      metadata["deletionGracePeriodSeconds"] = grace;
      if (const json::value* generation = metadata.if_contains("generation"); generation && !deleting)
        metadata["generation"] = base::as_int(generation) + 1;
    }
    if (is_namespace) base::object_at(updated.get_object(), "status")["phase"] = "Terminating";
    bool same = false;
    compute_if_large(*current, [&] { same = to_stored_text(updated) == to_stored_text(before); });
    if (same) return done({current, nullptr, false});
  }
  AttributesPtr attributes = attributes_of(request, Operation::kDelete, "", name);
  attributes->ns = current->ns();
  // Only metadata changes, so what is written needs no conversion; what plugins see does.
  attributes->old = request->resource->conversion
                        ? parse_object(*CustomConversion::text(*request->resource, *current))
                        : std::move(before);
  attributes->options = options;
  attributes->dry_run = dry_run(*request, options);
  admission_.mutate(attributes, [this, attributes, current, removes, tries, updated = std::move(updated),
                                 done = std::move(done)](json::value refused) mutable {
    if (!refused.is_null()) return done({nullptr, std::move(refused), false});
    admission_.validate(attributes, [this, attributes, current, removes, tries, updated = std::move(updated),
                                     done = std::move(done)](json::value denied) mutable {
      if (!denied.is_null()) return done({nullptr, std::move(denied), false});
      commit_removal(attributes, current, std::move(updated), removes, std::move(done), tries);
    });
  });
}

// `updated` is what is left while the deletion waits; with `removes` the object goes at once.
void ApiServer::commit_removal(AttributesPtr attributes, ObjectRef current, json::value updated, bool removes,
                               Written done, int tries) {
  ResourceInfo& resource = attributes->resource->stored();
  if (attributes->dry_run)
    return done(
        {removes ? current : make_object(resource, current->key, to_stored_text(updated), current->revision),
         nullptr, removes});
  if (removes) hold_addresses(*attributes);
  commit(resource, current->key, removes ? json::value(nullptr) : updated, current,
         [this, attributes, key = current->key, done = std::move(done), tries,
          removes](base::Result<ObjectRef> result) {
           attributes->end(result.ok());
           if (result.ok()) return done({std::move(*result), nullptr, removes});
           if (result.error().kind == base::Kind::kConflict && tries < 16)
             return go_on(loop_, attributes->request, [this, attributes, key, done, tries] {
               remove_object(attributes->request, key, attributes->options, done, tries + 1);
             });
           done({nullptr, api::internal_error(attributes->name + ": " + result.error().message()), false});
         });
}

void ApiServer::remove_collection(RequestPtr request) {
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
  auto finish = [this, request, progress] {
    if (--progress->left != 0) return;
    if (!progress->failure.is_null()) return request->reply_status(progress->failure);
    when_shown(request, progress->objects,
               [this, request, progress] { reply_list(request, {}, std::move(progress->objects)); });
  };
  for (const ObjectRef& object : selected) {
    remove_object(request, object->key, options, [progress, finish](Outcome outcome) {
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
