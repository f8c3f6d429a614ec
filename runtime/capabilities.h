// Capabilities by name, over libcap; applying them in the child. Never keeps an inheritable or
// ambient capability that was not asked for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/step.h"

namespace runtime {

int capability_number(std::string_view name);  // "CAP_KILL" -> 5; -1 unknown
std::string capability_name(int number);       // "CAP_KILL"
int last_capability();                         // of the running kernel
bool have_capability(int number);              // effective, in this process

// In the child; 0 or -errno.
int child_drop_bounding(const Step& step);
int child_set_capabilities(const Step& step);
int child_raise_ambient(const Step& step);

}  // namespace runtime
