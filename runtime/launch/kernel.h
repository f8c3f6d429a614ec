// System calls that the child makes and that glibc 2.36 does not wrap, or wraps with more than the
// call. They return a value or -errno; fds are close-on-exec. No allocation, no locks.
#pragma once

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace runtime::kernel {

inline int result(long value) { return value < 0 ? -errno : static_cast<int>(value); }

inline int openat2(int dir, const char* path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  for (int attempts = 0;; ++attempts) {
    int fd = result(::syscall(SYS_openat2, dir, path, &how, sizeof how));
    // EAGAIN: a rename raced the walk; an attacker may keep that up, so not for ever.
    if ((fd != -EAGAIN && fd != -EINTR) || attempts == 128) return fd;
  }
}
inline int fsopen(const char* type) { return result(::syscall(SYS_fsopen, type, 1 /*CLOEXEC*/)); }
inline int fsconfig_string(int fs, const char* key, const char* value) {
  return result(::syscall(SYS_fsconfig, fs, 1 /*SET_STRING*/, key, value, 0));
}
inline int fsconfig_flag(int fs, const char* key) {
  return result(::syscall(SYS_fsconfig, fs, 0 /*SET_FLAG*/, key, nullptr, 0));
}
inline int fsconfig_create(int fs) {
  return result(::syscall(SYS_fsconfig, fs, 6 /*CMD_CREATE*/, nullptr, nullptr, 0));
}
inline int fsmount(int fs, uint64_t attributes) {
  return result(::syscall(SYS_fsmount, fs, 1 /*CLOEXEC*/, static_cast<unsigned>(attributes)));
}
inline int open_tree(int dir, const char* path, unsigned flags) {
  return result(::syscall(SYS_open_tree, dir, path, flags | O_CLOEXEC));
}
inline int move_mount(int from, const char* from_path, int to, const char* to_path, unsigned flags) {
  return result(::syscall(SYS_move_mount, from, from_path, to, to_path, flags));
}
inline int mount_setattr(int dir, const char* path, unsigned flags, mount_attr* attributes) {
  return result(::syscall(SYS_mount_setattr, dir, path, flags, attributes, sizeof *attributes));
}

}  // namespace runtime::kernel
