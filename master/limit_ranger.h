// LimitRanger: what a LimitRange of the namespace says about containers, Pods and claims: requests and
// limits where none are given, and bounds for those that are.
// Source: kubernetes.io, "Limit Ranges"; core/v1 LimitRange.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "master/admission.h"
#include "master/object_cache.h"

namespace master {

std::unique_ptr<AdmissionPlugin> make_limit_ranger(const ObjectCache& limit_ranges);

// Pure. `limit_range` is a whole LimitRange.
void set_container_defaults(const base::json::value& limit_range, base::json::value& pod);
std::vector<std::string> pod_violations(const base::json::value& limit_range, const base::json::value& pod);
std::vector<std::string> claim_violations(const base::json::value& limit_range, const base::json::value& claim);

}  // namespace master
