// Capabilities by name, over libcap. Pure but for the running kernel's last one, which is read once.
#pragma once

#include <string>
#include <string_view>

namespace runtime {

int capability_number(std::string_view name);  // "CAP_KILL" -> 5; -1 unknown
std::string capability_name(int number);       // "CAP_KILL"
int last_capability();                         // of the running kernel

}  // namespace runtime
