// What the registry does to an object of a kind besides the tables and api/validate: who owns
// status, what a new object starts with, how long a deletion waits. Pure.
#pragma once

#include <cstdint>
#include <span>

#include "base/clock.h"
#include "base/json.h"
#include "master/registry/resource.h"

namespace master {

class Registry;
struct AdmissionAttributes;

// What becomes of those that an object of this kind owns when a deletion does not say:
// rest.GarbageCollectionDeleteStrategy of each kind, in the versions that are served.
enum class Dependents { kDelete, kOrphan, kUnsupported };

// What the registry does to the objects of one kind beyond what it does to all. Rows: strategy.cc.
struct Strategy {
  using Object = base::json::value;
  bool counts_generation = false;    // metadata.generation: 1, then one more with each change of content
  const char* new_status = nullptr;  // JSON; null: {}
  void (*create)(Object& object) = nullptr;
  void (*update)(const Object& current, Object& updated) = nullptr;
  bool keeps_status = false;  // a create may bring one
  // What a write to /status leaves of metadata; most kinds take labels, annotations, finalizers and owners
  // there.
  std::span<const char* const> kept_by_status = {};
  Dependents dependents = Dependents::kDelete;

  // What came from the store at start.
  void (*loaded)(Registry& registry, const Object& object) = nullptr;
  // A new object as plugins left it, before it is validated.
  void (*admitted)(Object& object) = nullptr;
  // Last before a new object is stored, and first of an update that is no status; null or the Status that
  // refuses.
  Object (*take)(Registry& registry, AdmissionAttributes& attributes) = nullptr;
  Object (*retake)(Registry& registry, std::string_view name, const Object& current,
                   Object& updated) = nullptr;
  // What the write took is given back when it fails, and what it gives up when it succeeds: an update, or
  // (attributes.object null) a removal.
  void (*hold)(Registry& registry, AdmissionAttributes& attributes) = nullptr;
  // An object whose deletion begins; called again by each further deletion.
  void (*begin_deletion)(Object& object) = nullptr;
  // What a deletion waits for besides metadata.finalizers.
  bool (*waits)(const Object& object) = nullptr;
  bool answers_deleted = false;  // a deletion is answered with the object, not with a Status
  // Whether too large an object may be checked whole, since that costs no more than its text.
  bool checks_large = false;
};
// The row of a built-in kind; that of any other does nothing.
const Strategy& strategy_of(const ResourceInfo& resource);

// metadata that the registry owns; `object` has a name.
void stamp_new(base::json::object& metadata, base::Time now);
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
Dependents default_dependents(const ResourceInfo& resource);
// metadata.finalizers "orphan" and "foregroundDeletion" as a deletion with these DeleteOptions leaves them
// (registry/generic/registry, deletionFinalizersForGarbageCollection).
void set_deletion_finalizers(Dependents by_default, const base::json::value& options,
                             base::json::object& metadata);

// Seconds that a deletion of `object` waits for its agent; 0: gone at once. `asked` is
// DeleteOptions.gracePeriodSeconds or -1.
int64_t grace_seconds(const ResourceInfo& resource, const base::json::value& object, int64_t asked);

}  // namespace master
