// What /version tells about the build. Written by scripts/build_info.cmake.
#pragma once

namespace master {

extern const char* const kBuiltCommit;  // 40 hexadecimal digits, or "unknown"
extern const char* const kBuiltDate;    // of that commit, RFC 3339

}  // namespace master
