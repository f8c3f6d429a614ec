#include "master/admission/webhooks.h"

#include "api/defaults.h"
#include "api/patch/patch.h"
#include "api/status.h"
#include "api/validate/validate.h"
#include "api/walk.h"
#include "base/log.h"
#include "base/uuid.h"
#include "master/admission/input.h"
#include "master/admission/scope.h"
#include "master/registry/conversion.h"
#include "master/registry/registry.h"
#include "master/registry/strategy.h"

namespace master {

namespace json = base::json;

// Mutating webhooks run in order; those with reinvocationPolicy IfNeeded once more when a later one
// changed the object.
struct AdmissionWebhooks::Round {
  AttributesPtr attributes;
  Done done;
  std::vector<Call> calls;
  size_t at = 0, last_change = 0;  // last_change: index + 1 of the last call that changed something
  bool again = false;
};

AdmissionWebhooks::AdmissionWebhooks(Registry& registry, const Authorizer& authorizer,
                                     std::shared_ptr<WebhookClient> client, bool mutating)
    : registry_(registry), authorizer_(authorizer), client_(std::move(client)), mutating_(mutating) {
  ResourcePtr row = registry.resources().find_stored(
      "admissionregistration.k8s.io",
      mutating ? "mutatingwebhookconfigurations" : "validatingwebhookconfigurations");
  configurations_ = row->objects;
}

const std::vector<std::shared_ptr<const Webhook>>& AdmissionWebhooks::hooks() {
  if (read_at_ == configurations_->last_revision()) return hooks_;
  read_at_ = configurations_->last_revision();
  hooks_.clear();
  for (const auto& [key, object] : configurations_->objects())  // sorted by name, as they are called
    for (Webhook& hook : read_webhooks(parse_object(*object->text)))
      hooks_.push_back(std::make_shared<Webhook>(std::move(hook)));
  return hooks_;
}

std::vector<AdmissionWebhooks::Call> AdmissionWebhooks::select(const AdmissionAttributes& attributes) {
  std::vector<Call> out;
  if (hooks().empty()) return out;
  // A configuration must not keep itself from being repaired.
  if (attributes.resource->group == "admissionregistration.k8s.io") return out;
  if (attributes.subresource == "finalize") return out;
  WriteScope scope(registry_, attributes);
  for (const auto& hook : hooks())
    if (ResourcePtr shown = scope.shown(*hook)) out.push_back({hook, shown});
  return out;
}

void AdmissionWebhooks::ask(const Call& call, const AttributesPtr& attributes, Answered done) {
  if (attributes->dry_run && call.hook->has_side_effects)
    return done(dry_run_unsupported(call.hook->name), {}, nullptr);
  const auto& conversion = call.shown->conversion;
  if (!conversion || attributes->body || call.shown == attributes->resource) {
    auto shown = [&](const json::value& object) {
      return object.is_null() || attributes->body ? object : served_form(*call.shown, object);
    };
    return post(call, attributes, shown(attributes->object), shown(attributes->old), std::move(done));
  }
  std::vector<json::value> objects;
  for (const json::value* one : {&attributes->object, &attributes->old})
    if (!one->is_null()) objects.push_back(*one);
  conversion->convert(
      *call.shown, std::move(objects),
      [this, call, attributes, done = std::move(done)](base::Result<std::vector<json::value>> result) {
        if (!result.ok()) return done(Conversion::refusal(result.error()), {}, nullptr);
        json::value object, old;
        if (!attributes->old.is_null()) old = std::move(result->back());
        if (!attributes->object.is_null()) object = std::move(result->front());
        post(call, attributes, std::move(object), std::move(old), done);
      });
}

void AdmissionWebhooks::post(const Call& call, const AttributesPtr& attributes, json::value object,
                             json::value old, Answered done) {
  if (!call.hook->conditions.empty()) {
    ExpressionInput input(authorizer_, attributes, *call.shown, object, old, nullptr);
    std::string error;
    Match match = matches(call.hook->conditions, input.values(nullptr), &error);
    if (match == Match::kError && !call.hook->ignores_failure)
      return done(api::forbidden(attributes->request->resource->named(), attributes->name, error), {},
                  nullptr);
    if (match != Match::kYes) return done(nullptr, {true, nullptr, std::nullopt, {}, {}}, nullptr);
  }
  const std::string& version = call.hook->review_version;
  if (version.empty()) {
    if (call.hook->ignores_failure) return done(nullptr, {true, nullptr, std::nullopt, {}, {}}, nullptr);
    return done(webhook_failure(
                    call.hook->name, WebhookStep::kPrepare,
                    base::make_error(base::Kind::kInvalid, "", "",
                                     "webhook does not accept known AdmissionReview versions (v1, v1beta1)")),
                {}, nullptr);
  }
  std::string uid = base::new_uuid();
  json::value review = admission_review(*attributes, *call.shown, version, uid, object, std::move(old));
  client_->post(
      call.hook->client_config, base::to_json(review), std::chrono::seconds(call.hook->timeout_seconds),
      [hook = call.hook, uid, attributes, object = std::move(object),
       done = std::move(done)](base::Result<base::http::Response> result) mutable {
        auto answer = result.ok() ? read_review(hook->name, hook->review_version, uid, result->body)
                                  : base::Result<ReviewAnswer>(result.error());
        if (!answer.ok()) {
          base::log::warning("admission webhook {} of {}: {}", hook->name, hook->configuration,
                             answer.error().message());
          if (!hook->ignores_failure)
            return done(webhook_failure(hook->name, result.ok() ? WebhookStep::kRead : WebhookStep::kCall,
                                        answer.error()),
                        {}, nullptr);
          return done(nullptr, {true, nullptr, std::nullopt, {}, {}}, nullptr);
        }
        for (std::string& warning : answer->warnings)
          attributes->request->warnings.push_back(std::move(warning));
        for (auto& [key, value] : answer->audit_annotations)
          attributes->request->annotate(hook->name + "/" + key, std::move(value));
        json::value refusal = answer->allowed ? json::value() : answer->refusal;
        done(std::move(refusal), std::move(*answer), std::move(object));
      });
}

// `before` is the object as the webhook saw it.
void AdmissionWebhooks::take_patch(const Call& call, const AttributesPtr& attributes, json::value before,
                                   const json::value& patch, Taken done) {
  auto patched = api::json_patch(before, patch);
  auto refuse = [&](const std::string& why) {
    done(api::internal_error("admission webhook \"" + call.hook->name + "\": " + why), false);
  };
  if (!patched.ok()) return refuse(patched.error().message());
  if (*patched == before) return done(nullptr, false);
  const api::Type& type = attributes->body ? *type_of(*attributes->body) : *call.shown->type;
  if (auto status = api::check_types(type, *patched); !status.ok()) return refuse(status.error().message());
  api::prune(type, *patched);
  if (attributes->body) {
    attributes->object = std::move(*patched);
    return done(nullptr, true);
  }
  if (call.shown->type->custom) api::apply_defaults(*call.shown->type, *patched);
  else api::defaults(call.shown->gvk(), *patched);
  for (const char* name : {"name", "namespace"})
    if (base::string_at(*patched, "metadata", name) != base::string_at(attributes->object, "metadata", name))
      return refuse("the name and the namespace of an object cannot be changed");
  if (!call.shown->conversion) {
    attributes->object = stored_form(*call.shown, std::move(*patched));
    return done(nullptr, true);
  }
  call.shown->conversion->convert(
      *attributes->resource, {std::move(*patched)},
      [attributes, done = std::move(done)](base::Result<std::vector<json::value>> result) {
        if (!result.ok()) return done(Conversion::refusal(result.error()), false);
        attributes->object = std::move(result->front());
        done(nullptr, true);
      });
}

void AdmissionWebhooks::mutate(AttributesPtr attributes, Done done) {
  if (!mutating_) return done(nullptr);
  std::vector<Call> calls = select(*attributes);
  if (calls.empty()) return done(nullptr);
  auto round = std::make_shared<Round>();
  round->attributes = std::move(attributes);
  round->done = std::move(done);
  round->calls = std::move(calls);
  next(std::move(round));
}

void AdmissionWebhooks::next(std::shared_ptr<Round> round) {
  if (round->again)
    while (round->at < round->calls.size() &&
           !(round->calls[round->at].hook->reinvoked && round->at + 1 < round->last_change))
      ++round->at;
  if (round->at == round->calls.size()) {
    bool stale = false;
    for (size_t i = 0; i + 1 < round->last_change; ++i) stale |= round->calls[i].hook->reinvoked;
    if (round->again || !stale) return round->done(nullptr);
    round->again = true;
    round->at = 0;
    return next(std::move(round));
  }
  const Call& call = round->calls[round->at];
  Taken taken = [this, round](json::value refusal, bool changed) {
    if (!refusal.is_null()) return round->done(std::move(refusal));
    ++round->at;
    if (changed && !round->again) round->last_change = round->at;
    round->attributes->reinvoke |= changed;
    next(round);
  };
  ask(call, round->attributes,
      [this, round, &call, taken = std::move(taken)](json::value refusal, ReviewAnswer answer,
                                                     json::value seen) {
        if (!refusal.is_null() || !answer.patch || round->attributes->object.is_null())
          return taken(std::move(refusal), false);
        take_patch(call, round->attributes, std::move(seen), *answer.patch, taken);
      });
}

void AdmissionWebhooks::validate(AttributesPtr attributes, Done done) {
  if (mutating_) return done(nullptr);
  auto calls = std::make_shared<std::vector<Call>>(select(*attributes));
  if (calls->empty()) return done(nullptr);
  struct Progress {
    size_t left;
    json::value refusal;
    Done done;
  };
  auto progress = std::make_shared<Progress>(Progress{calls->size(), nullptr, std::move(done)});
  for (const Call& call : *calls)
    ask(call, attributes, [progress, calls](json::value refusal, ReviewAnswer, json::value) {
      if (progress->refusal.is_null()) progress->refusal = std::move(refusal);
      if (--progress->left == 0) progress->done(std::move(progress->refusal));
    });
}

}  // namespace master
