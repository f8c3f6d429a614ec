// CREATE, UPDATE and PATCH: body -> types -> defaults -> registry -> validation -> store.
#include <set>

#include "api/patch.h"
#include "api/protobuf.h"
#include "api/status.h"
#include "api/structural.h"
#include "api/validate.h"
#include "api/walk.h"
#include "api/warnings.h"
#include "api/yaml.h"
#include "base/json_limits.h"
#include "base/json_lists.h"
#include "master/authorizer.h"
#include "master/custom_conversion.h"
#include "master/heavy_requests.h"
#include "master/notices.h"
#include "master/patch_refusal.h"
#include "master/server.h"
#include "master/service_update.h"
#include "master/strategy.h"

namespace master {

namespace json = base::json;

namespace {

constexpr int kMaxTries = 16;
constexpr int kMaxGeneratedNames = 8;  // as kube-apiserver since 1.30

std::string_view media_type(const RequestInfo& request) {
  std::string_view type = request.http().headers.get("Content-Type");
  return type.substr(0, type.find(';'));
}

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
  if (resource.is("", "configmaps") ||
      resource.is("", "secrets")) {  // whose checks cost no more than their text
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

// The Status for a Service whose address or port can't be had: `error.subject` names the field, whose value
// is shown.
json::value service_refusal(std::string_view name, const json::value& service, const base::Error& error) {
  constexpr std::string_view kPorts = "spec.ports[";
  const json::value* value = base::find_path(service, "spec", "clusterIPs");
  if (std::string_view field = error.subject; field.starts_with(kPorts)) {
    const json::value* ports = base::find_path(service, "spec", "ports");
    size_t index = static_cast<size_t>(std::atoi(std::string(field.substr(kPorts.size())).c_str()));
    bool there = ports && ports->is_array() && index < ports->get_array().size();
    value = there ? base::find(ports->get_array()[index], "nodePort") : nullptr;
  }
  std::string shown =
      value ? base::to_json(*value)
            : "[" + base::to_json(json::value(base::string_at(service, "spec", "clusterIP"))) + "]";
  return api::invalid("", "Service", name,
                      {{api::FieldError::Type::invalid, error.subject, std::move(shown), error.reason}});
}

// CreateOptions, UpdateOptions or PatchOptions: the query of a write.
json::value check_write_options(const RequestInfo& request) {
  using Type = api::FieldError::Type;
  api::FieldErrors errors;
  if (std::string_view dry = request.param("dryRun"); !dry.empty() && dry != "All")
    errors.push_back(
        {Type::not_supported, "dryRun", "[\"" + std::string(dry) + "\"]", "supported values: \"All\""});
  if (std::string_view mode = request.param("fieldValidation");
      !mode.empty() && mode != "Strict" && mode != "Warn" && mode != "Ignore")
    errors.push_back({Type::not_supported, "fieldValidation", "\"" + std::string(mode) + "\"",
                      "supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""});
  std::string_view manager = request.param("fieldManager");
  if (manager.size() > kMaxManagerName)
    errors.push_back({Type::too_long, "fieldManager", "",
                      "may not be more than " + std::to_string(kMaxManagerName) + " bytes"});
  if (std::any_of(manager.begin(), manager.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    errors.push_back({Type::invalid, "fieldManager", "\"" + std::string(manager) + "\"",
                      "should only contain printable characters"});
  bool applies = request.http().headers.get("Content-Type").starts_with("application/apply-patch+");
  if (applies && manager.empty())
    errors.push_back({Type::required, "fieldManager", "", "is required for apply patch"});
  if (!applies && !request.param("force").empty())
    errors.push_back({Type::forbidden, "force", "", "may not be specified for non-apply patch"});
  const char* kind = request.verb == "create"   ? "CreateOptions"
                     : request.verb == "update" ? "UpdateOptions"
                                                : "PatchOptions";
  return errors.empty() ? json::value(nullptr) : api::invalid("meta.k8s.io", kind, "", errors);
}

// One object written as YAML (of which JSON is a part).
base::Result<json::value> one_from_yaml(std::string_view text, std::vector<std::string>* duplicates) {
  std::vector<json::value> documents = TRY(api::parse_yaml(text, duplicates));
  if (documents.size() != 1)
    return base::make_error(base::Kind::kInvalid, "parse YAML", "",
                            "expected one document, found " + std::to_string(documents.size()));
  return std::move(documents[0]);
}

// Types, then unknown and duplicate fields, as fieldValidation asks; what is wrong, "" if nothing.
std::string check_fields(RequestInfo& request, const api::Type& type, json::value& object,
                         const std::vector<std::string>& duplicates) {
  if (auto status = api::check_types(type, object); !status.ok()) return status.error().message();
  std::vector<std::string> unknown;
  api::prune(type, object, &unknown);
  std::string_view mode = request.param("fieldValidation");
  if (mode == "Ignore") return {};
  if (mode == "Strict" && (!unknown.empty() || !duplicates.empty()))
    return api::strict_decoding_text(unknown, duplicates);
  for (const std::string& field : unknown) request.warnings.push_back("unknown field \"" + field + "\"");
  for (const std::string& field : duplicates) request.warnings.push_back("duplicate field \"" + field + "\"");
  return {};
}

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
  // Of the resources that plugins and webhooks left it with.
  if (resource.is("", "pods"))
    base::object_at(attributes.object.get_object(), "status")["qosClass"] = api::qos_class(attributes.object);
  api::FieldErrors errors = api::validate_create(resource.gvk(), attributes.object, resource.namespaced);
  add_custom_errors(attributes, errors);
  if (!errors.empty()) return api::invalid(resource.group, resource.kind, attributes.name, errors);
  add_warnings(attributes);
  return nullptr;
}

}  // namespace

bool ApiServer::decode_body(RequestInfo& request, const api::Type& type, std::string_view kind,
                            json::value* out) {
  const ResourceInfo& resource = *request.resource;
  if (json::value refusal = check_write_options(request); !refusal.is_null()) {
    request.reply_status(refusal);
    return false;
  }
  std::string_view media = media_type(request);
  bool is_protobuf = media == api::kProtobufMediaType && !type.custom, is_yaml = media == "application/yaml";
  if (!media.empty() && media != "application/json" && !is_protobuf && !is_yaml) {
    request.reply_status(api::unsupported_media_type(
        type.custom ? "application/json, application/yaml"
                    : "application/json, application/yaml, application/vnd.kubernetes.protobuf"));
    return false;
  }
  std::string_view mode = request.param("fieldValidation");
  std::vector<std::string> duplicates;
  base::Result<json::value> parsed = json::value();
  base::compute([&] {
    std::string_view body = request.http().body;
    parsed = is_protobuf ? api::protobuf_to_json(type, body)
             : is_yaml   ? one_from_yaml(body, &duplicates)
                         : base::parse_json(body, mode == "Ignore" ? nullptr : &duplicates);
  });
  if (!parsed.ok() || !parsed->is_object()) {
    request.reply_status(
        api::cannot_decode(resource.group_version(), kind,
                           parsed.ok() ? "the body is not a JSON object" : parsed.error().message()));
    return false;
  }
  json::object& object = parsed->get_object();
  std::string_view sent_kind = base::string_at(*parsed, "kind"),
                   sent_version = base::string_at(*parsed, "apiVersion");
  // A subresource's body may be of another group: a Scale, a TokenRequest.
  std::string expected_version(resource.group_version());
  if (!request.subresource.empty())
    for (const Subresource& sub : subresources_of(resource))
      if (sub.name == request.subresource && sub.kind == kind)
        expected_version = (sub.group.empty() ? "" : std::string(sub.group) + "/") + std::string(sub.version);
  // Evictions of both versions are taken (kube-apiserver too, though it serves nothing else of v1beta1).
  if (kind == "Eviction" && sent_version == "policy/v1beta1") sent_version = expected_version;
  if ((!sent_kind.empty() && sent_kind != kind) ||
      (!sent_version.empty() && sent_version != expected_version)) {
    request.reply_status(api::bad_request(
        std::string(sent_kind) + " in version \"" + std::string(sent_version) + "\" cannot be handled as a " +
        std::string(kind) + ": the request is for " + expected_version + " " + std::string(kind)));
    return false;
  }
  object["kind"] = kind;
  object["apiVersion"] = expected_version;
  std::string why;
  base::compute([&] { why = check_fields(request, type, *parsed, duplicates); });
  if (!why.empty()) {
    request.reply_status(api::cannot_decode(expected_version, kind, why));
    return false;
  }
  *out = std::move(*parsed);
  return true;
}

void ApiServer::reply_written(RequestPtr request, int code, const Outcome& outcome) {
  if (!outcome.status.is_null()) return request->reply_status(outcome.status);
  auto reply = [this, request, code, object = outcome.object] {
    request->reply_bytes(code, {render(*request, *object, true)});
  };
  if (!request->resource->conversion) return reply();
  when_shown(request, {outcome.object}, reply);
}

// An update or apply that is going to create needs the permission for that as well.
json::value ApiServer::check_may_create(const RequestInfo& request) const {
  RequestInfo creating = request;
  creating.verb = "create";
  Access access = access_of(creating);
  std::string reason;
  return authorizer_->allows(creating.user, access, &reason) ? json::value(nullptr)
                                                             : forbidden(creating.user, access, reason);
}

void ApiServer::create(RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  json::value object;
  if (!decode_body(*request, *resource.type, resource.kind, &object)) return;
  base::compute([&] { object = stored_form(resource, std::move(object)); });
  create_object(request, std::move(object),
                [this, request](Outcome outcome) { reply_written(request, 201, outcome); });
}

void ApiServer::create_object(RequestPtr request, json::value object, Written done, int tries) {
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
            create_object(request, std::move(*again), done, tries + 1);
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
  admission_.mutate(attributes, [this, attributes, done](json::value refusal) {
    if (!refusal.is_null()) return done({nullptr, std::move(refusal), false});
    go_on(loop_, attributes->request, [this, attributes, done] {
      const ResourceInfo& resource = *attributes->resource;
      json::value wrong;
      base::compute([&] { wrong = check_created(*attributes); });
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

// Addresses and ports of a Service that is being written: what the write takes is free again when it
// fails, what it gives up when it succeeds. A null `object` is a Service that goes.
void ApiServer::hold_addresses(AdmissionAttributes& attributes) {
  if (!attributes.is("", "services")) return;
  attributes.on_end.push_back([this, &attributes](bool committed) {
    if (committed) allocator_.release_difference(attributes.old, attributes.object);
    else allocator_.release_difference(attributes.object, attributes.old);
  });
}

ApiServer::Outcome ApiServer::would_write(const ResourceInfo& resource, const std::string& key,
                                          const json::value& object, int64_t revision) {
  auto text = to_storable_text(key, object);
  if (!text.ok()) return {nullptr, store_refusal(key, text.error()), false};
  return {make_object(resource, key, *text, revision), nullptr, false};
}

void ApiServer::commit_create(AttributesPtr attributes, Written done) {
  ResourceInfo& resource = *attributes->resource;
  const std::string& name = attributes->name;
  json::value& object = attributes->object;
  if (resource.is("", "services")) {
    if (auto status = allocator_.allocate(object, nullptr); !status.ok()) {
      if (status.error().kind == base::Kind::kExhausted)
        return done({nullptr, api::internal_error(status.error().message()), false});
      return done({nullptr, service_refusal(name, object, status.error()), false});
    }
    hold_addresses(*attributes);
  }
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

void ApiServer::commit_worked(AttributesPtr attributes, std::string key, ObjectRef current, Written refused,
                              Committed done) {
  ResourceInfo& stored = attributes->resource->stored();
  CustomConversion* conversion = attributes->resource->conversion.get();
  if (!conversion || attributes->object.is_null())
    return commit(stored, std::move(key), attributes->object, std::move(current), std::move(done));
  conversion->convert(
      stored, {attributes->object},
      [this, attributes, &stored, key = std::move(key), current = std::move(current),
       refused = std::move(refused), done = std::move(done)](base::Result<std::vector<json::value>> result) {
        if (!result.ok()) return refused({nullptr, CustomConversion::refusal(result.error()), false});
        auto converted = std::make_shared<json::value>(std::move(result->front()));
        go_on(loop_, attributes->request, [this, &stored, key, converted, current, done] {
          commit(stored, key, *converted, current, done);
        });
      });
}

void ApiServer::update(RequestPtr request) {
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
      !cache(resource).find(object_key(request->ns, request->name))) {
    if (json::value refusal = check_may_create(*request); !refusal.is_null())
      return request->reply_status(refusal);
    base::object_at(object.get_object(), "metadata").erase("resourceVersion");
    return create_object(request, std::move(object),
                         [this, request](Outcome outcome) { reply_written(request, 201, outcome); });
  }
  auto sent = std::make_shared<json::value>(std::move(object));
  update_object(
      request, request->subresource,
      [sent](const json::value&, json::value* updated) {
        *updated = *sent;
        return json::value(nullptr);
      },
      [this, request](Outcome outcome) { reply_written(request, 200, outcome); });
}

void ApiServer::patch(RequestPtr request) {
  ResourceInfo& resource = *request->resource;
  std::string media(media_type(*request));
  if (json::value refusal = check_write_options(*request); !refusal.is_null())
    return request->reply_status(refusal);
  if (media.starts_with("application/apply-patch+")) return apply(std::move(request));
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
  Mutate mutate = [request, &resource, kind, body, duplicates, said = request->warnings.size()](
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
  update_object(request, request->subresource, std::move(mutate),
                [this, request](Outcome outcome) { reply_written(request, 200, outcome); });
}

json::value ApiServer::prepare_update(RequestInfo& request, const std::string& subresource,
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
    if (resource.is("", "services")) {
      settle_service_update(current, *updated);
      if (auto status = allocator_.allocate(*updated, current); !status.ok())
        return service_refusal(request.name, *updated, status.error());
    }
  }
  base::compute([&] {
    master::prepare_update(resource, subresource, current, *updated);
    track_fields(request, current, *updated);
  });
  return nullptr;
}

json::value ApiServer::validate_updated(const AdmissionAttributes& attributes) {
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

AttributesPtr ApiServer::attributes_of(RequestPtr request, Operation operation, std::string subresource,
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

void ApiServer::update_object(RequestPtr request, std::string subresource, Mutate mutate, Written done,
                              int tries) {
  ResourceInfo& resource = request->resource->stored();
  ObjectRef current = cache(resource).find(object_key(request->ns, request->name));
  if (!current) return done({nullptr, absent(resource, object_key(request->ns, request->name)), false});
  CustomConversion* conversion = request->resource->conversion.get();
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

void ApiServer::update_current(RequestPtr request, std::string subresource, ObjectRef current, Mutate mutate,
                               Written done, int tries) {
  AttributesPtr attributes = attributes_of(request, Operation::kUpdate, subresource, request->name);
  Bytes text =
      request->resource->conversion ? CustomConversion::text(*request->resource, *current) : current->text;
  json::value refusal;
  bool heavy = is_heavy(*request);
  base::compute([&] {
    attributes->old = parse_object(*text);
    refusal = mutate(attributes->old, &attributes->object);
    if (refusal.is_null() && heavy)
      refusal = too_large_refusal(*request->resource, attributes->name, attributes->object);
  });
  if (refusal.is_null())
    refusal = prepare_update(*request, subresource, attributes->old, &attributes->object);
  if (!refusal.is_null()) return done({nullptr, std::move(refusal), false});
  hold_addresses(*attributes);
  Retry retry = [this, request, subresource, mutate = std::move(mutate), done, tries] {
    if (tries + 1 >= kMaxTries)
      return done({nullptr, api::modified_conflict(request->resource->named(), request->name), false});
    go_on(loop_, request, [=, this] { update_object(request, subresource, mutate, done, tries + 1); });
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
          base::compute([&] { wrong = validate_updated(*attributes); });
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

void ApiServer::commit_update(AttributesPtr attributes, ObjectRef current, Written done, Retry retry) {
  ResourceInfo& resource = *attributes->resource;
  const json::value &before = attributes->old, &updated = attributes->object;
  // A deletion that waited for finalizers ends with the last of them.
  const json::value* finalizers = base::find_path(updated, "metadata", "finalizers");
  bool has_finalizers = finalizers && finalizers->is_array() && !finalizers->get_array().empty();
  bool deleting = base::find_path(updated, "metadata", "deletionTimestamp") != nullptr;
  const json::value* spec_finalizers = base::find_path(updated, "spec", "finalizers");
  bool is_namespace = resource.is("", "namespaces");
  if (is_namespace)
    has_finalizers |= spec_finalizers && spec_finalizers->is_array() && !spec_finalizers->get_array().empty();
  bool had_finalizers = base::find_path(before, "metadata", "finalizers") != nullptr || is_namespace;
  bool removes = deleting && !has_finalizers && had_finalizers &&
                 (base::as_int(base::find_path(updated, "metadata", "deletionGracePeriodSeconds")) == 0);
  const ResourceInfo& asked = *attributes->request->resource;
  const Bytes was = asked.conversion ? CustomConversion::text(asked, *current) : current->text;
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

// PUT namespaces/NAME/finalize: the namespace controller's last word.
void ApiServer::finalize_namespace(RequestPtr request) {
  json::value sent;
  if (!decode_body(*request, *request->resource->type, "Namespace", &sent)) return;
  auto finalizers = std::make_shared<json::array>(base::list_at(base::find_path(sent, "spec", "finalizers")));
  update_object(
      request, "finalize",
      [finalizers](const json::value& current, json::value* updated) {
        *updated = current;
        base::object_at(updated->get_object(), "spec")["finalizers"] = *finalizers;
        return json::value(nullptr);
      },
      [this, request](Outcome outcome) { reply_written(request, 200, outcome); });
}

}  // namespace master
