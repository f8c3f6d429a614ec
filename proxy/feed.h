// API objects as the plain values of service_plan.h: pure. What is absent or of a wrong type reads
// as the API's default; what this proxy must not serve reads as nothing to do.
#pragma once

#include <optional>

#include "base/json.h"
#include "proxy/service_plan.h"

namespace proxy {

Service service_from(const base::json::value& object);
// nullopt for a slice of another address family or of names.
std::optional<EndpointSlice> slice_from(const base::json::value& object);
// nullopt for a Pod without host ports or without an address of its own, and for one that has ended.
std::optional<LocalPod> pod_from(const base::json::value& object);
Node node_from(const base::json::value& object);

}  // namespace proxy
