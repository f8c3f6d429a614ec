// Removing many members of an object or items of a list at once: each stable_erase() or erase() moves
// all that stand behind, so that one erase a member costs the square of what a client sends.
#pragma once

#include <utility>
#include <vector>

#include "base/json.h"

namespace base {

// Removes the members for which `drop(member)` says so and keeps the others' order. `drop` sees every
// member once, in order, and may change its value.
template <typename Drop>
void erase_if(json::object& object, Drop drop) {
  constexpr size_t kFew = 16;
  if (object.size() <= kFew) {
    for (auto it = object.begin(); it != object.end();) it = drop(*it) ? object.stable_erase(it) : it + 1;
    return;
  }
  std::vector<bool> dropped(object.size());
  size_t count = 0, at = 0;
  for (auto& member : object) count += dropped[at++] = drop(member);
  if (count == 0) return;
  json::object kept(object.storage());
  kept.reserve(object.size() - count);
  at = 0;
  for (auto& member : object)
    if (!dropped[at++]) kept.emplace(member.key(), std::move(member.value()));
  object = std::move(kept);
}

}  // namespace base
