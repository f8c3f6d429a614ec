// CREATE and UPDATE of an object: strategy -> defaults -> admission -> validation -> store.
#include <set>

#include "api/custom/custom.h"
#include "api/defaults.h"
#include "api/status.h"
#include "api/structural.h"
#include "api/validate/validate.h"
#include "api/validate/warnings.h"
#include "api/walk.h"
#include "base/fiber.h"
#include "base/json_lists.h"
#include "master/registry/conversion.h"
#include "master/registry/heavy_requests.h"
#include "master/registry/notices.h"
#include "master/registry/registry.h"
#include "master/registry/strategy.h"

namespace master {

namespace json = base::json;

namespace {

constexpr int kMaxTries = 16;
constexpr int kMaxGeneratedNames = 8;  // as kube-apiserver since 1.30

// The Status for a failed store write.
json::value store_refusal(std::string_view name, const base::Error& error) {
  if (error.reason == kTooLarge) return api::make_status(500, "", kTooLarge);
  if (error.kind == base::Kind::kExhausted)
    return api::make_status(507, "InsufficientStorage", error.message());
  if (error.kind == base::Kind::kInvalid) return api::bad_request(error.message());  // too deep
  return api::internal_error(std::string(name) + ": " + error.message());
}

// The Status for an object that is too large to be stored, null for others. It is so as a rule for its
// annotations (kubectl keeps a whole manifest in one) or its data, which upstream's validation names before
// the store is asked.
json::value too_large_refusal(const ResourceInfo& resource, std::string_view name,
                              const json::value& object) {
  if (!too_large(object)) return nullptr;
  api::FieldErrors errors;
  if (resource.strategy->checks_large) {
    json::value normal = object;
    api::normalize(resource.gvk(), normal);
    errors = api::validate_create(resource.gvk(), normal, resource.namespaced);
  } else {
    errors = api::validate_metadata(object, resource.namespaced, api::name_rule(resource.gvk()));
  }
  std::erase_if(errors,
                [](const api::FieldError& error) { return error.type != api::FieldError::Type::too_long; });
  return errors.empty() ? api::make_status(500, "", kTooLarge)
                        : api::invalid(resource.group, resource.kind, name, errors);
}

// The Status for a name that is taken; clients look for the words to know whether to wait.
json::value taken(const ResourceInfo& resource, const std::string& key, std::string_view name) {
  json::value status = api::already_exists(resource.named(), name);
  ObjectRef there = resource.objects->find(key);
  if (there && metadata_text(*there->text).find("\"deletionTimestamp\":") != std::string_view::npos)
    status.get_object()["message"] =
        "object is being deleted: " + std::string(base::string_at(status, "message"));
  return status;
}

// References that stand twice: one stays, and the client is told.
void drop_duplicate_owners(RequestInfo& request, json::object& metadata) {
  json::value* list = metadata.if_contains("ownerReferences");
  if (!list || !list->is_array() || list->get_array().size() < 2) return;
  std::set<std::string> seen, twice;
  json::array kept;
  for (json::value& one : list->get_array()) {
    if (seen.insert(base::to_json(one)).second) kept.push_back(std::move(one));
    else twice.emplace(base::string_at(one, "uid"));
  }
  *list = std::move(kept);
  std::string uids;
  for (const std::string& uid : twice) uids += (uids.empty() ? "" : ", ") + uid;
  if (!uids.empty())
    request.warnings.push_back(
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, "
        "and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) "
        "observed: " +
        uids);
}

// What a client is told about an object that is accepted. Subresources say nothing, as in kube-apiserver.
void add_warnings(const AdmissionAttributes& attributes) {
  if (!attributes.subresource.empty()) return;
  const ResourceInfo& resource = *attributes.resource;
  const json::value* before = attributes.old.is_null() ? nullptr : &attributes.old;
  std::vector<std::string>& said = attributes.request->warnings;
  std::set<std::string, std::less<>> known(said.begin(), said.end());
  auto say = [&](std::string text) {  // once: a write is tried again after a conflict
    if (known.insert(text).second) said.push_back(std::move(text));
  };
  for (std::string& text : resource.type->custom ? api::custom_warnings(attributes.object, before)
                                                 : api::warnings(resource.gvk(), attributes.object, before))
    say(std::move(text));
  if (std::string text = idle_notice(resource); !text.empty()) say(std::move(text));
}

// What the schema of a custom resource asks for, in the version that the request speaks.
void add_custom_errors(const AdmissionAttributes& attributes, api::FieldErrors& errors) {
  const api::Type& type = *attributes.request->resource->type;
  if (!type.custom) return;
  for (api::FieldError& error : api::validate_custom_object(
           type, attributes.object, attributes.old.is_null() ? nullptr : &attributes.old))
    errors.push_back(std::move(error));
}

json::value check_created(AdmissionAttributes& attributes) {
  const ResourceInfo& resource = *attributes.resource;
  if (resource.strategy->admitted) resource.strategy->admitted(attributes.object);
  api::FieldErrors errors = api::validate_create(resource.gvk(), attributes.object, resource.namespaced);
  add_custom_errors(attributes, errors);
  if (!errors.empty()) return api::invalid(resource.group, resource.kind, attributes.name, errors);
  add_warnings(attributes);
  return nullptr;
}

Registry::Outcome would_write(const ResourceInfo& resource, const std::string& key, const json::value& object,
                              int64_t revision) {
  auto text = to_storable_text(key, object);
  if (!text.ok()) return {nullptr, store_refusal(key, text.error()), false};
  return {make_object(resource, key, *text, revision), nullptr, false};
}

json::value validate_updated(const AdmissionAttributes& attributes) {
  const ResourceInfo& resource = *attributes.resource;
  if (base::find_path(attributes.old, "metadata", "deletionTimestamp")) {
    std::string added;  // what is going may only lose its finalizers
    std::set<std::string_view> had;
    for (const json::value& name : base::list_at(base::find_path(attributes.old, "metadata", "finalizers")))
      had.insert(base::as_string(&name));
    for (const json::value& name :
         base::list_at(base::find_path(attributes.object, "metadata", "finalizers")))
      if (!had.contains(base::as_string(&name))) added += (added.empty() ? "" : ", ") + base::to_json(name);
    if (!added.empty())
      return api::invalid(
          resource.group, resource.kind, attributes.name,
          {{api::FieldError::Type::forbidden, "metadata.finalizers", "",
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{" +
                added + "}"}});
  }
  if (attributes.subresource == "binding" || attributes.subresource == "finalize") return nullptr;
  api::FieldErrors errors = api::validate_subresource_update(
      resource.gvk(), attributes.subresource, attributes.object, attributes.old, resource.namespaced);
  add_custom_errors(attributes, errors);
  if (!errors.empty()) return api::invalid(resource.group, resource.kind, attributes.name, errors);
  add_warnings(attributes);
  return nullptr;
}

}  // namespace

// An update or patch changes neither name nor namespace.
json::value check_place(const RequestInfo& request, const json::object& metadata) {
  std::string_view name = base::as_string(metadata.if_contains("name")),
                   ns = base::as_string(metadata.if_contains("namespace"));
  if (request.resource->namespaced && !ns.empty() && ns != request.ns)
    return api::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request");
  if (!name.empty() && name != request.name)
    return api::bad_request("the name of the object (" + std::string(name) +
                            ") does not match the name on the URL (" + request.name + ")");
  return nullptr;
}

// A policy or a webhook may change what a client may: what the server says of an object is said once more.
static constexpr const char* kStamps[] = {"name", "namespace", "uid", "creationTimestamp"};
static void restore_kind(AdmissionAttributes& attributes) {
  const ResourceInfo& resource = attributes.request->resource->worked();
  json::object& root = attributes.object.get_object();
  root["kind"] = resource.kind;
  root["apiVersion"] = resource.group_version();
}
static void restore_created(AdmissionAttributes& attributes, const json::object& stamps) {
  if (!attributes.object.is_object() || attributes.body) return;
  restore_kind(attributes);
  json::object& metadata = base::object_at(attributes.object.get_object(), "metadata");
  for (const char* stamp : kStamps) base::copy_member(stamps, metadata, stamp);
  for (const char* later : {"deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "selfLink"})
    metadata.erase(later);
  prepare_create(attributes.request->resource->worked(), attributes.object);
}
static void restore_updated(AdmissionAttributes& attributes) {
  if (!attributes.object.is_object() || attributes.body || attributes.subresource == "binding" ||
      attributes.subresource == "finalize")
    return;
  restore_kind(attributes);
  prepare_update(attributes.request->resource->worked(), attributes.subresource, attributes.old,
                 attributes.object);
}

void Registry::create(RequestPtr request, json::value object, Written done) {
  create(std::move(request), std::move(object), std::move(done), 0);
}
void Registry::create(RequestPtr request, json::value object, Written done, int tries) {
  ResourceInfo& resource = request->resource->worked();
  json::object& metadata = base::object_at(object.get_object(), "metadata");
  drop_duplicate_owners(*request, metadata);
  auto refuse = [&](json::value status) { done({nullptr, std::move(status), false}); };
  bool heavy = is_heavy(*request);
  json::value large;
  if (heavy)
    base::compute(
        [&] { large = too_large_refusal(resource, base::as_string(metadata.if_contains("name")), object); });
  if (!large.is_null()) return refuse(std::move(large));
  if (resource.namespaced) {
    std::string ns(base::as_string(metadata.if_contains("namespace")));
    if (request->ns.empty()) request->ns = ns.empty() ? "default" : ns;
    if (!ns.empty() && ns != request->ns)
      return refuse(api::bad_request(
          "the namespace of the provided object does not match the namespace sent on the request"));
    metadata["namespace"] = request->ns;
  } else {
    metadata.erase("namespace");
  }
  if (!base::as_string(metadata.if_contains("resourceVersion")).empty())
    return refuse(api::make_status(500, "", "resourceVersion should not be set on objects to be created"));
  std::string name(base::as_string(metadata.if_contains("name")));
  if (name.empty()) {
    std::string prefix(base::as_string(metadata.if_contains("generateName")));
    if (!prefix.empty()) {
      // A name that is taken is nobody's fault: another one.
      auto again = std::make_shared<json::value>();
      base::compute([&] { *again = object; });
      done = [this, request, again, done = std::move(done), tries](Outcome outcome) {
        if (tries + 1 < kMaxGeneratedNames && base::string_at(outcome.status, "reason") == "AlreadyExists")
          return go_on(loop_, request, [this, request, again, done, tries] {
            create(request, std::move(*again), done, tries + 1);
          });
        done(std::move(outcome));
      };
      metadata["name"] = name = prefix.substr(0, 58) + random_suffix();
    }
  }
  stamp_new(metadata, base::wall_now());
  std::string gvk = resource.gvk();
  base::compute([&] {
    api::normalize(gvk, object);
    if (resource.type->custom) api::apply_defaults(*request->resource->type, object);
    else api::defaults(gvk, object);
    track_fields(*request, nullptr, object);
    prepare_create(resource, object);
    if (heavy) large = too_large_refusal(resource, name, object);
  });
  if (!large.is_null()) return refuse(std::move(large));
  AttributesPtr attributes = attributes_of(request, Operation::kCreate, request->subresource, name);
  attributes->object = std::move(object);
  json::object stamps;
  for (const char* stamp : kStamps)
    base::copy_member(attributes->object.at("metadata").get_object(), stamps, stamp);
  admission_.mutate(attributes, [this, attributes, stamps = std::move(stamps), done](json::value refusal) {
    if (!refusal.is_null()) return done({nullptr, std::move(refusal), false});
    go_on(loop_, attributes->request, [this, attributes, stamps, done] {
      const ResourceInfo& resource = *attributes->resource;
      json::value wrong;
      base::compute([&] {
        if (attributes->reinvoke) restore_created(*attributes, stamps);
        wrong = check_created(*attributes);
      });
      if (!wrong.is_null()) return done({nullptr, std::move(wrong), false});
      if (std::string key = object_key(attributes->ns, attributes->name); cache(resource).find(key))
        return done({nullptr, taken(resource, key, attributes->name), false});
      admission_.validate(attributes, [this, attributes, done](json::value refused) {
        if (!refused.is_null()) return done({nullptr, std::move(refused), false});
        go_on(loop_, attributes->request, [this, attributes, done] { commit_create(attributes, done); });
      });
    });
  });
}

void Registry::commit_create(AttributesPtr attributes, Written done) {
  ResourceInfo& resource = *attributes->resource;
  const std::string& name = attributes->name;
  json::value& object = attributes->object;
  if (resource.strategy->take)
    if (json::value refusal = resource.strategy->take(*this, *attributes); !refusal.is_null())
      return done({nullptr, std::move(refusal), false});
  std::string key = object_key(attributes->ns, name);
  if (attributes->dry_run) {
    Outcome outcome;
    base::compute([&] { outcome = would_write(resource, key, object, 0); });
    return done(std::move(outcome));
  }
  commit_worked(attributes, key, nullptr, done, [attributes, done](base::Result<ObjectRef> result) {
    attributes->end(result.ok());
    if (result.ok()) return done({std::move(*result), nullptr, false});
    if (result.error().kind == base::Kind::kConflict)
      return done(
          {nullptr,
           taken(*attributes->resource, object_key(attributes->ns, attributes->name), attributes->name),
           false});
    done({nullptr, store_refusal(attributes->name, result.error()), false});
  });
}

void Registry::commit_worked(AttributesPtr attributes, std::string key, ObjectRef current, Written refused,
                             Committed done) {
  ResourceInfo& stored = attributes->resource->stored();
  Conversion* conversion = attributes->resource->conversion.get();
  if (!conversion || attributes->object.is_null())
    return commit(stored, std::move(key), attributes->object, std::move(current), std::move(done));
  conversion->convert(
      stored, {attributes->object},
      [this, attributes, &stored, key = std::move(key), current = std::move(current),
       refused = std::move(refused), done = std::move(done)](base::Result<std::vector<json::value>> result) {
        if (!result.ok()) return refused({nullptr, Conversion::refusal(result.error()), false});
        auto converted = std::make_shared<json::value>(std::move(result->front()));
        go_on(loop_, attributes->request, [this, &stored, key, converted, current, done] {
          commit(stored, key, *converted, current, done);
        });
      });
}

json::value Registry::prepare(RequestInfo& request, const std::string& subresource,
                              const json::value& current, json::value* updated) {
  ResourceInfo& resource = request.resource->worked();
  std::string gvk = resource.gvk();
  const json::object& old_metadata = current.at("metadata").get_object();
  json::object& metadata = base::object_at(updated->get_object(), "metadata");
  std::string_view version = base::as_string(metadata.if_contains("resourceVersion"));
  if (version.empty() &&
      needs_version(resource))  // the value as Go prints an absent one, which clients look for
    return api::invalid(resource.group, resource.plural, request.name,
                        {{api::FieldError::Type::invalid, "metadata.resourceVersion", "0x0",
                          "must be specified for an update"}});
  if (!version.empty() && version != base::as_string(old_metadata.if_contains("resourceVersion")))
    return api::modified_conflict(resource.named(), request.name);
  if (std::string_view uid = base::as_string(metadata.if_contains("uid"));
      !uid.empty() && uid != base::as_string(old_metadata.if_contains("uid"))) {
    if (request.verb == "patch")  // who sends the whole object means one of that uid
      return api::invalid(resource.group, resource.kind, request.name,
                          {{api::FieldError::Type::invalid, "metadata.uid", base::to_json(json::value(uid)),
                            "field is immutable"}});
    return api::conflict(
        resource.named(), request.name,
        "Precondition failed: UID in precondition: " + std::string(uid) +
            ", UID in object meta: " + std::string(base::as_string(old_metadata.if_contains("uid"))));
  }
  if (json::value refusal = check_place(request, metadata); !refusal.is_null()) return refusal;
  drop_duplicate_owners(request, metadata);
  // What the server itself changes needs no defaults and no permission to change.
  if (subresource == "binding" || subresource == "finalize") return nullptr;
  updated->get_object()["kind"] = resource.kind;
  updated->get_object()["apiVersion"] = resource.group_version();
  if (subresource != "status") {
    base::compute([&] {
      api::normalize(gvk, *updated);
      if (resource.type->custom) api::apply_defaults(*request.resource->type, *updated);
      else api::defaults(gvk, *updated);
    });
    if (resource.strategy->retake)
      if (json::value refusal = resource.strategy->retake(*this, request.name, current, *updated);
          !refusal.is_null())
        return refusal;
  }
  base::compute([&] {
    master::prepare_update(resource, subresource, current, *updated);
    track_fields(request, current, *updated);
  });
  return nullptr;
}

AttributesPtr Registry::attributes_of(RequestPtr request, Operation operation, std::string subresource,
                                      std::string name) {
  auto attributes = std::make_shared<AdmissionAttributes>();
  attributes->operation = operation;
  bool worked = request->resource->conversion || !request->resource->stored_version;
  attributes->resource = worked ? request->resource : request->resource->stored_version;
  attributes->subresource = std::move(subresource);
  attributes->ns = request->ns;
  attributes->name = std::move(name);
  attributes->dry_run = request->dry_run();
  attributes->request = std::move(request);
  return attributes;
}

void Registry::update(RequestPtr request, std::string subresource, Mutate mutate, Written done) {
  update(std::move(request), std::move(subresource), std::move(mutate), std::move(done), 0);
}
void Registry::update(RequestPtr request, std::string subresource, Mutate mutate, Written done, int tries) {
  ResourceInfo& resource = request->resource->stored();
  ObjectRef current = cache(resource).find(object_key(request->ns, request->name));
  if (!current) return done({nullptr, absent(resource, object_key(request->ns, request->name)), false});
  Conversion* conversion = request->resource->conversion.get();
  if (!conversion)
    return update_current(std::move(request), std::move(subresource), std::move(current), std::move(mutate),
                          std::move(done), tries);
  conversion->show(request->resource, {current},
                   [this, request, subresource, current, mutate = std::move(mutate), done = std::move(done),
                    tries](json::value refusal) {
                     if (!refusal.is_null()) return done({nullptr, std::move(refusal), false});
                     go_on(loop_, request,
                           [=, this] { update_current(request, subresource, current, mutate, done, tries); });
                   });
}

void Registry::update_current(RequestPtr request, std::string subresource, ObjectRef current, Mutate mutate,
                              Written done, int tries) {
  AttributesPtr attributes = attributes_of(request, Operation::kUpdate, subresource, request->name);
  Bytes text = request->resource->conversion ? Conversion::text(*request->resource, *current) : current->text;
  json::value refusal;
  bool heavy = is_heavy(*request);
  base::compute([&] {
    attributes->old = parse_object(*text);
    refusal = mutate(attributes->old, &attributes->object);
    if (refusal.is_null() && heavy)
      refusal = too_large_refusal(*request->resource, attributes->name, attributes->object);
  });
  if (refusal.is_null()) refusal = prepare(*request, subresource, attributes->old, &attributes->object);
  if (!refusal.is_null()) return done({nullptr, std::move(refusal), false});
  if (auto hold = attributes->resource->strategy->hold) hold(*this, *attributes);
  Retry retry = [this, request, subresource, mutate = std::move(mutate), done, tries] {
    if (tries + 1 >= kMaxTries)
      return done({nullptr, api::modified_conflict(request->resource->named(), request->name), false});
    go_on(loop_, request, [=, this] { update(request, subresource, mutate, done, tries + 1); });
  };
  if (request->admitted) {
    json::value refused = validate_updated(*attributes);
    if (!refused.is_null()) return done({nullptr, std::move(refused), false});
    return commit_update(attributes, current, done, retry);
  }
  admission_.mutate(
      attributes, [this, attributes, current, done, retry = std::move(retry)](json::value refused) {
        if (!refused.is_null()) return done({nullptr, std::move(refused), false});
        go_on(loop_, attributes->request, [this, attributes, current, done, retry] {
          json::value wrong;
          base::compute([&] {
            if (attributes->reinvoke) restore_updated(*attributes);
            wrong = validate_updated(*attributes);
          });
          if (!wrong.is_null()) return done({nullptr, std::move(wrong), false});
          admission_.validate(attributes, [this, attributes, current, done, retry](json::value denied) {
            if (!denied.is_null()) return done({nullptr, std::move(denied), false});
            go_on(loop_, attributes->request, [this, attributes, current, done, retry] {
              commit_update(attributes, current, done, retry);
            });
          });
        });
      });
}

void Registry::commit_update(AttributesPtr attributes, ObjectRef current, Written done, Retry retry) {
  ResourceInfo& resource = *attributes->resource;
  const json::value &before = attributes->old, &updated = attributes->object;
  // A deletion that waited for finalizers ends with the last of them.
  const json::value* finalizers = base::find_path(updated, "metadata", "finalizers");
  bool has_finalizers = finalizers && finalizers->is_array() && !finalizers->get_array().empty();
  bool deleting = base::find_path(updated, "metadata", "deletionTimestamp") != nullptr;
  auto waits = resource.strategy->waits;
  has_finalizers |= waits && waits(updated);
  bool had_finalizers = base::find_path(before, "metadata", "finalizers") != nullptr || waits;
  bool removes = deleting && !has_finalizers && had_finalizers &&
                 (base::as_int(base::find_path(updated, "metadata", "deletionGracePeriodSeconds")) == 0);
  const ResourceInfo& asked = *attributes->request->resource;
  const Bytes was = asked.conversion ? Conversion::text(asked, *current) : current->text;
  std::string text, key = current->key;
  bool same = false;
  base::compute([&] {
    text = to_stored_text(updated);
    same = with_revision(text, current->revision) == *was;
  });
  if (!removes && same) return done({current, nullptr, false});  // no write, no event
  if (attributes->dry_run) return done(would_write(resource, key, updated, current->revision));
  if (removes) attributes->object = nullptr;
  commit_worked(attributes, key, current, done,
                [attributes, done, retry = std::move(retry), removes](base::Result<ObjectRef> result) {
                  attributes->end(result.ok());
                  if (result.ok()) return done({std::move(*result), nullptr, removes});
                  if (result.error().kind == base::Kind::kConflict) return retry();
                  done({nullptr, store_refusal(attributes->name, result.error()), false});
                });
}

}  // namespace master
