// CVE-2019-5736 for an ordinary user, who may not clone mounts: a program that its owner could
// overwrite through a container's /proc runs from a sealed copy in memory.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "runtime/launch.h"

extern char** environ;

namespace runtime {

namespace sys = base::sys;

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
