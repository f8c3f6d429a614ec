// DELETE of an object: grace, finalizers, propagation, preconditions.
#include "api/status.h"
#include "base/fiber.h"
#include "master/registry/conversion.h"
#include "master/registry/heavy_requests.h"
#include "master/registry/registry.h"
#include "master/registry/strategy.h"

namespace master {

namespace json = base::json;

namespace {

bool has_items(const json::value* list) { return list && list->is_array() && !list->get_array().empty(); }

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

void Registry::remove(RequestPtr request, std::string key, json::value options, Written done) {
  remove(std::move(request), std::move(key), std::move(options), std::move(done), 0);
}
void Registry::remove(RequestPtr request, std::string key, json::value options, Written done, int tries) {
  ResourceInfo& resource = request->resource->stored();
  ObjectRef current = cache(resource).find(key);
  if (!current) return done({nullptr, absent(resource, key), false});
  Conversion* conversion = request->resource->conversion.get();
  if (!conversion)
    return remove_current(std::move(request), std::move(current), std::move(options), std::move(done), tries);
  conversion->show(request->resource, {current},
                   [this, request, current, options = std::move(options), done = std::move(done),
                    tries](json::value refusal) {
                     if (!refusal.is_null()) return done({nullptr, std::move(refusal), false});
                     remove_current(request, current, options, done, tries);
                   });
}

void Registry::remove_current(RequestPtr request, ObjectRef current, json::value options, Written done,
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

  const Strategy& own = *resource.strategy;
  if (own.begin_deletion) own.begin_deletion(updated);
  json::object& metadata = updated.at("metadata").get_object();
  set_deletion_finalizers(default_dependents(resource), options, metadata);
  int64_t asked = base::as_int(base::find(options, "gracePeriodSeconds"), -1);
  int64_t grace = grace_seconds(resource, updated, asked);
  bool waits = has_items(metadata.if_contains("finalizers")) || (own.waits && own.waits(updated));
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
    bool same = false;
    compute_if_large(*current, [&] { same = to_stored_text(updated) == to_stored_text(before); });
    if (same) return done({current, nullptr, false});
  }
  AttributesPtr attributes = attributes_of(request, Operation::kDelete, "", name);
  attributes->ns = current->ns();
  // Only metadata changes, so what is written needs no conversion; what plugins see does.
  attributes->old = request->resource->conversion
                        ? parse_object(*Conversion::text(*request->resource, *current))
                        : std::move(before);
  attributes->options = options;
  attributes->dry_run = dry_run(*request, options);
  if (request->admitted)
    return commit_removal(attributes, current, std::move(updated), removes, std::move(done), tries);
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
void Registry::commit_removal(AttributesPtr attributes, ObjectRef current, json::value updated, bool removes,
                              Written done, int tries) {
  ResourceInfo& resource = attributes->resource->stored();
  if (attributes->dry_run)
    return done(
        {removes ? current : make_object(resource, current->key, to_stored_text(updated), current->revision),
         nullptr, removes});
  if (removes && resource.strategy->hold) resource.strategy->hold(*this, *attributes);
  commit(resource, current->key, removes ? json::value(nullptr) : updated, current,
         [this, attributes, key = current->key, done = std::move(done), tries,
          removes](base::Result<ObjectRef> result) {
           attributes->end(result.ok());
           if (result.ok()) return done({std::move(*result), nullptr, removes});
           if (result.error().kind == base::Kind::kConflict && tries < 16)
             return go_on(loop_, attributes->request, [this, attributes, key, done, tries] {
               remove(attributes->request, key, attributes->options, done, tries + 1);
             });
           done({nullptr, api::internal_error(attributes->name + ": " + result.error().message()), false});
         });
}

}  // namespace master
