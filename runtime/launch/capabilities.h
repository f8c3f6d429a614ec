// Applying capabilities in the child. Never keeps an inheritable or
// ambient capability that was not asked for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/launch/step.h"

namespace runtime {

bool have_capability(int number);  // effective, in this process

// In the child; 0 or -errno.
int child_drop_bounding(const Step& step);
int child_set_capabilities(const Step& step);
int child_raise_ambient(const Step& step);

}  // namespace runtime
