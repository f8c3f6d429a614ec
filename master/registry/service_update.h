// What an update of a Service keeps of what the server gave it, and drops of what its new type has no use
// for, so that a patch may name the type alone. Pure; nothing is allocated here (allocator.h). Source:
// kube-apiserver's Service registry, for every pair of types: a field is dropped only when its old type used
// it, the new one does not, and the client left it as it was. What it changed is left for validation to
// refuse.
#pragma once

#include "base/json.h"

namespace master {

// Both are whole Services with their defaults; `updated` is what the client asks for.
void settle_service_update(const base::json::value& current, base::json::value& updated);
// status.loadBalancer of what is no load balancer any more.
void clear_load_balancer(const base::json::value& current, base::json::value& updated);

}  // namespace master
