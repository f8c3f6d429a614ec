// Between the versions of built-in kinds that share a store: events.k8s.io/v1 Events are stored as
// core Events, autoscaling/v1 autoscalers as autoscaling/v2. Pure; apiVersion is set by the caller
// (stored_form, served_form). What the older form cannot say rides in annotations, as in Kubernetes
// (pkg/apis/autoscaling/annotations.go), so that nothing is lost on the way there and back.
#pragma once

#include "base/json.h"

namespace master {

base::json::value event_to_core(base::json::value event);
base::json::value event_from_core(base::json::value event);
base::json::value autoscaler_to_v2(base::json::value autoscaler);
base::json::value autoscaler_to_v1(base::json::value autoscaler);

}  // namespace master
