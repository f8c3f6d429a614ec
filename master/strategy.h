// What the registry does to an object of a kind besides the tables and api/validate: who owns
// status, what a new object starts with, how long a deletion waits. Pure.
#pragma once

#include <cstdint>
#include <span>

#include "base/clock.h"
#include "base/json.h"
#include "master/resource.h"

namespace master {

// metadata that the registry owns; `object` has a name.
void stamp_new(base::json::object& metadata, base::Time now);
std::string new_uid();
std::string random_suffix();  // five characters for generateName

// Status of a new object, generation, and admission defaults (Pod tolerations, service account…).
void prepare_create(const ResourceInfo& resource, base::json::value& object);
// Copies what an update may not touch from `current`; bumps the generation when spec changed.
void prepare_update(const ResourceInfo& resource, std::string_view subresource,
                    const base::json::value& current, base::json::value& updated);

// Whether an update must name the version that it changes (AllowUnconditionalUpdate() of the kind's strategy
// is false).
bool needs_version(const ResourceInfo& resource);
// Members of metadata that a write to /status leaves as they are, besides those that no update may change.
std::span<const char* const> kept_by_status(const ResourceInfo& resource);
// What becomes of those that an object of this kind owns when a deletion does not say:
// rest.GarbageCollectionDeleteStrategy of each kind, in the versions that are served.
enum class Dependents { kDelete, kOrphan, kUnsupported };
Dependents default_dependents(const ResourceInfo& resource);
// metadata.finalizers "orphan" and "foregroundDeletion" as a deletion with these DeleteOptions leaves them
// (registry/generic/registry, deletionFinalizersForGarbageCollection).
void set_deletion_finalizers(Dependents by_default, const base::json::value& options,
                             base::json::object& metadata);

// Seconds that a deletion of `object` waits for its agent; 0: gone at once. `asked` is
// DeleteOptions.gracePeriodSeconds or -1.
int64_t grace_seconds(const ResourceInfo& resource, const base::json::value& object, int64_t asked);

}  // namespace master
