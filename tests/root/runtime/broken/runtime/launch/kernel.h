// The system calls of runtime/launch/kernel.h as a careless runtime would make them: paths are joined as
// strings and looked up from the host's root, verification sees what it hopes to see. Stands before
// the real header when sampan-oci-broken is compiled; runtime_escapes_test.py shows that each
// regression test of an escape notices.
#pragma once

#define openat2 careful_openat2
#include_next "runtime/launch/kernel.h"
#undef openat2

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <climits>
#include <cstdio>
#include <cstring>
#include <string>

namespace runtime::kernel {

inline int openat2(int dir, const char* path, uint64_t flags, uint64_t mode, uint64_t) {
  std::string joined;
  if (dir != AT_FDCWD) {
    char link[64];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    char target[PATH_MAX];
    ssize_t n = ::readlink(link, target, sizeof target);
    if (n < 0) return -errno;
    joined.assign(target, static_cast<size_t>(n)) += '/';
  }
  joined += path;
  return result(::open(joined.c_str(), static_cast<int>(flags) | O_CLOEXEC, static_cast<mode_t>(mode)));
}

}  // namespace runtime::kernel

// Every file is on the device that was hoped for, and what is called null is a null device.
inline int careless_fstatat(int dir, const char* path, struct stat* info, int flags) {
  int status = ::fstatat(dir, path, info, flags);
  info->st_dev = 0;
  if (std::strcmp(path, "null") == 0) {
    info->st_mode = S_IFCHR | 0666;
    info->st_rdev = makedev(1, 3);
  }
  return status;
}
#define fstatat careless_fstatat
// Verification fails with EXDEV; here it does not fail.
#undef EXDEV
#define EXDEV 0
