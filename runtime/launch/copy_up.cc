// tmpcopyup: what an image has below a mount point, copied into the tmpfs that will cover it. Runs in
// the child, so without allocation; never follows a link, never leaves the two directories.
#include <dirent.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "runtime/launch/kernel.h"
#include "runtime/launch/mounts.h"

namespace runtime {
namespace {

constexpr int kMaxDepth = 64;

struct Entry {  // linux_dirent64
  ino64_t inode;
  off64_t offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

int copy_up_file(int from, int to, const char* name, const struct stat& info) {
  int in = ::openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (in < 0) return -errno;
  int out = ::openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  int error = out < 0 ? -errno : 0;
  for (ssize_t n = 1; !error && n > 0;) {
    n = ::sendfile(out, in, nullptr, 1 << 30);
    if (n < 0) error = -errno;
  }
  if (!error && ::fchown(out, info.st_uid, info.st_gid) != 0) error = -errno;
  if (!error && ::fchmod(out, info.st_mode & 07777) != 0) error = -errno;
  if (out >= 0) ::close(out);
  ::close(in);
  return error;
}
int copy_link(int from, int to, const char* name, const struct stat& info) {
  char target[PATH_MAX];
  ssize_t n = ::readlinkat(from, name, target, sizeof target - 1);
  if (n < 0) return -errno;
  target[n] = 0;
  if (::symlinkat(target, to, name) != 0) return -errno;
  return ::fchownat(to, name, info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

int copy_directory(int from, int to, int depth);

int copy_entry(int from, int to, const char* name, int depth) {
  struct stat info;
  if (::fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return -errno;
  if (S_ISREG(info.st_mode)) return copy_up_file(from, to, name, info);
  if (S_ISLNK(info.st_mode)) return copy_link(from, to, name, info);
  if (!S_ISDIR(info.st_mode)) {
    int error = ::mknodat(to, name, info.st_mode, info.st_rdev) == 0 ? 0 : -errno;
    return error                                                                      ? error
           : ::fchownat(to, name, info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) == 0 ? 0
                                                                                      : -errno;
  }
  if (depth == kMaxDepth) return -ELOOP;
  if (::mkdirat(to, name, 0700) != 0) return -errno;
  int in = ::openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int out = in < 0 ? -errno : ::openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int error = in < 0 || out < 0 ? -errno : copy_directory(in, out, depth + 1);
  if (in >= 0) ::close(in);
  if (out >= 0) ::close(out);
  return error;
}

int copy_directory(int from, int to, int depth) {
  alignas(Entry) char buffer[4096];
  for (;;) {
    long n = ::syscall(SYS_getdents64, from, buffer, sizeof buffer);
    if (n < 0) return -errno;
    if (n == 0) break;
    for (long at = 0; at < n;) {
      auto* entry = reinterpret_cast<Entry*>(buffer + at);
      at += entry->length;
      if (std::strcmp(entry->name, ".") == 0 || std::strcmp(entry->name, "..") == 0) continue;
      if (int error = copy_entry(from, to, entry->name, depth)) return error;
    }
  }
  struct stat info;
  if (::fstat(from, &info) != 0) return -errno;
  if (::fchown(to, info.st_uid, info.st_gid) != 0) return -errno;
  return ::fchmod(to, info.st_mode & 07777) == 0 ? 0 : -errno;
}

}  // namespace

int child_copy_up(int from, int to) {
  // The ones at hand are O_PATH: open what they stand for.
  int in = ::openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (in < 0) return -errno;
  int out = ::openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int error = out < 0 ? -errno : copy_directory(in, out, 0);
  if (out >= 0) ::close(out);
  ::close(in);
  return error;
}

}  // namespace runtime
