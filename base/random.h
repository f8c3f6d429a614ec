// Random bytes: the kernel's, fit for secrets; in a simulation (simulated.h) those of its seed.
#pragma once

#include <cstddef>

namespace base {

void random_bytes(void* bytes, size_t count);

}  // namespace base
