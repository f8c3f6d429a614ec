#include "master/controllers/deployment_scale.h"

#include <charconv>
#include <cmath>

namespace master::controllers {

static int resolve(const json::value& value, int desired, bool up, int fallback_percent) {
  const int64_t amount =
      scaled(value, desired, up)
          .value_or((fallback_percent * static_cast<int64_t>(desired) + (up ? 99 : 0)) / 100);
  return static_cast<int>(std::clamp<int64_t>(amount, 0, INT32_MAX));
}
Fences resolve_fences(const json::value& max_surge, const json::value& max_unavailable, int desired) {
  Fences fences{resolve(max_surge, desired, true, 25), resolve(max_unavailable, desired, false, 25)};
  if (fences.surge == 0 && fences.unavailable == 0) fences.unavailable = 1;
  return fences;
}

std::vector<WorkingSet*> Sizes::all() const {
  std::vector<WorkingSet*> out = old_sets;
  if (current) out.push_back(current);
  return out;
}
int Sizes::total() const {
  int sum = 0;
  for (const WorkingSet* set : all()) sum += set->replicas;
  return sum;
}
int Sizes::max_unavailable() const {
  if (!rolling || desired == 0) return 0;
  return std::min(fences.unavailable, desired);
}

int Sizes::new_size() const {
  if (!rolling) return desired;
  const int have = current ? current->replicas : 0, most = desired + fences.surge;
  // Kubernetes counts spec.replicas; a ReplicaSet that was told to shrink but still has its Pods
  // would then push the sum past the surge for a moment. Counting both never does.
  int occupied = 0;
  for (const WorkingSet* set : all()) occupied += std::max(set->replicas, set->current);
  if (occupied >= most) return have;
  return have + std::min(most - occupied, desired - have);
}
bool Sizes::grow_or_shrink_new() {
  if (!current || current->replicas == desired) return false;
  const int size = current->replicas > desired ? desired : new_size();
  if (size == current->replicas) return false;
  current->replicas = size;
  return true;
}
bool Sizes::stop_old() {
  bool changed = false;
  for (WorkingSet* set : old_sets)
    if (set->replicas > 0) {
      set->replicas = 0;
      changed = true;
    }
  return changed;
}
bool Sizes::shrink_old() {
  int old_total = 0, available = 0;
  for (const WorkingSet* set : old_sets) old_total += set->replicas;
  if (old_total == 0) return false;
  // What a ReplicaSet was already told to give up serves no longer, whatever its status still says.
  for (const WorkingSet* set : all()) available += std::min(set->available, set->rs->replicas);
  const int least = desired - max_unavailable();
  const int new_unavailable = current ? current->replicas - current->available : 0;
  const int may_go = total() - least - new_unavailable;
  if (may_go <= 0) return false;
  bool changed = false;
  // Pods that do not serve anyway go first: an earlier broken revision must not block this one.
  int gone = 0;
  for (WorkingSet* set : old_sets) {
    if (gone >= may_go) break;
    const int unhealthy = std::min(may_go - gone, set->replicas - set->available);
    if (set->replicas == 0 || unhealthy <= 0) continue;
    set->replicas -= unhealthy;
    gone += unhealthy;
    changed = true;
  }
  int spare = available - least;
  for (WorkingSet* set : old_sets) {
    if (spare <= 0) break;
    const int size = std::min(set->replicas, spare);
    if (size <= 0) continue;
    set->replicas -= size;
    spare -= size;
    changed = true;
  }
  return changed;
}

static int share(const WorkingSet& set, int desired, int surge, int to_add, int added) {
  if (set.replicas == 0 || to_add == 0 || to_add == added) return 0;
  int part = -set.replicas;
  if (desired != 0) {
    int before = annotation_number<int>(*set.rs, kMax, set.current);
    if (before <= 0) before = std::max(1, set.current);
    part = static_cast<int>(std::lround(static_cast<double>(set.replicas) * (desired + surge) / before)) -
           set.replicas;
  }
  return to_add > 0 ? std::min(part, to_add - added) : std::max(part, to_add - added);
}

void Sizes::scale() {
  std::vector<WorkingSet*> active;
  for (WorkingSet* set : all())
    if (set->replicas > 0) active.push_back(set);
  if (active.size() <= 1) {
    WorkingSet* only = !active.empty()    ? active[0]
                       : current          ? current
                       : old_sets.empty() ? nullptr
                                          : old_sets.back();
    if (only && only->replicas != desired) {
      only->replicas = desired;
      only->touch = true;
    }
    return;
  }
  const bool saturated = current && current->replicas == desired && current->available == desired &&
                         annotation_number<int>(*current->rs, kDesired, -1) == desired;
  if (saturated) {
    stop_old();
    return;
  }
  if (!rolling) return;
  const int surge = fences.surge, allowed = desired > 0 ? desired + surge : 0, to_add = allowed - total();
  // The largest takes the rounding; of equals the newer grows, the older shrinks.
  std::stable_sort(active.begin(), active.end(), [&](const WorkingSet* a, const WorkingSet* b) {
    if (a->replicas != b->replicas) return a->replicas > b->replicas;
    return to_add > 0 ? a->rs->meta.created > b->rs->meta.created : a->rs->meta.created < b->rs->meta.created;
  });
  int added = 0;
  std::vector<int> sizes;
  for (const WorkingSet* set : active) {
    const int part = share(*set, desired, surge, to_add, added);
    sizes.push_back(set->replicas + part);
    added += part;
  }
  if (to_add != 0) sizes[0] = std::max(0, sizes[0] + to_add - added);
  for (size_t i = 0; i < active.size(); ++i) {
    active[i]->replicas = sizes[i];
    active[i]->touch = true;
  }
}

}  // namespace master::controllers
