// CVE-2019-5736: a program that launches runs from a read-only mount of its own file, or, of an ordinary
// user, who may not clone mounts, from a sealed copy in memory.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/sys.h"
#include "runtime/launch/kernel.h"
#include "runtime/launch/launch.h"
#include "runtime/launch/mounts.h"

extern char** environ;

namespace runtime {

namespace sys = base::sys;

base::Status protect_own_program(char** argv) {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return sys::last_error("prctl", "PR_SET_DUMPABLE");
  // statfs asks the file system for its sizes: only where access(2) stops at the file's mode, as for
  // whom the owner's id is not mapped.
  struct statfs info;
  if (::access("/proc/self/exe", W_OK) != 0 &&
      (errno == EROFS ||
       (errno == EACCES && ::statfs("/proc/self/exe", &info) == 0 && info.f_flags & ST_RDONLY))) {
    // execveat by fd leaves a number as our name (before kernel 6.14).
    const char* slash = std::strrchr(argv[0], '/');
    ::prctl(PR_SET_NAME, slash ? slash + 1 : argv[0], 0, 0, 0);
    return {};
  }
  int tree = kernel::open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE);
  if (tree == -EPERM && ::geteuid() != 0) return protect_as_user(argv);
  if (tree < 0) return sys::error_from_errno(-tree, "clone mount of", "/proc/self/exe");
  int error = set_attributes(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, 0, false);
  if (error) return sys::error_from_errno(-error, "make read-only", "/proc/self/exe");
  ::syscall(SYS_execveat, tree, "", argv, environ, AT_EMPTY_PATH);
  return sys::last_error("execveat", "/proc/self/exe");
}

base::Status protect_as_user(char** argv) {
  base::UniqueFd self = TRY(sys::open("/proc/self/exe", O_RDONLY));
  if (::fcntl(self.get(), F_GET_SEALS) > 0) return {};  // we are the copy
  struct stat info;
  if (::fstat(self.get(), &info) != 0) return sys::last_error("stat", "/proc/self/exe");
  // The owner could also make it writable.
  if (info.st_uid != ::geteuid() && ::access("/proc/self/exe", W_OK) != 0) return {};
  base::UniqueFd copy(::memfd_create("sampan-oci", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy.valid()) return sys::last_error("memfd_create");
  for (off_t left = info.st_size; left > 0;) {
    ssize_t n = ::sendfile(copy.get(), self.get(), nullptr, static_cast<size_t>(left));
    if (n <= 0) return sys::last_error("copy", "/proc/self/exe");
    left -= n;
  }
  if (::fcntl(copy.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    return sys::last_error("seal", "/proc/self/exe");
  ::syscall(SYS_execveat, copy.get(), "", argv, environ, AT_EMPTY_PATH);
  return sys::last_error("execveat", "/proc/self/exe");
}

}  // namespace runtime
