// For whom a Pod asks its tokens to be good: what its projected volumes name, and what the CSI drivers of its
// volumes want tokens for, inline, by claim, or by what in-tree volumes became. Reads caches, changes
// nothing. Source: kubernetes.io, "Using Node Authorization" (the gate
// ServiceAccountNodeAudienceRestriction).
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "master/registry/object_cache.h"

namespace master {

struct AudienceCaches {
  const ObjectCache &claims, &volumes, &drivers;
};
// An error, kNotFound: the audience is none that was found, and one of the Pod's volumes could not be
// followed to its driver.
base::Result<bool> asks_for_audience(const base::json::value& pod, std::string_view audience,
                                     const AudienceCaches& caches);

}  // namespace master
