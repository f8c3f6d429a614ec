// Masked and read-only paths. Owns the check that what is laid over a path is the kernel's
// /dev/null (by device number) or an empty tmpfs of our own, and that a path below /proc is on the
// container's own procfs. Regressions: CVE-2025-31133, CVE-2023-27561.
#pragma once

#include "runtime/launch/child.h"

namespace runtime {

int child_mask(Child& child, const Step& step);
int child_readonly_path(Child& child, const Step& step);

}  // namespace runtime
