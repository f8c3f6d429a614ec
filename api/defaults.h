// What is filled in before an object is validated and stored. Pure; knows no store, no other object.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace api {

namespace json = base::json;

// Everything that is set when absent: apply_defaults() and the kind's own defaulting. Not here:
// what needs the registry (cluster IPs, node ports, uid, service account, priority).
void defaults(std::string_view gvk, json::value& object);

// What a kind does to an object before it is stored: Secret's stringData into data, Namespace's
// finalizers and name label. For create and update.
void normalize(std::string_view gvk, json::value& object);
// status.qosClass: "Guaranteed", "Burstable" or "BestEffort".
std::string qos_class(const json::value& pod);

}  // namespace api
