// What a Service takes of the cluster when it is written, and gives back: hooks of its Strategy
// (strategy.h) over the allocator. Loop thread only.
#pragma once

#include <string_view>

#include "base/json.h"

namespace master {

class Registry;
struct AdmissionAttributes;

void load_service_addresses(Registry& registry, const base::json::value& service);
base::json::value take_service_addresses(Registry& registry, AdmissionAttributes& attributes);
base::json::value retake_service_addresses(Registry& registry, std::string_view name,
                                           const base::json::value& current, base::json::value& updated);
void hold_service_addresses(Registry& registry, AdmissionAttributes& attributes);

}  // namespace master
