#include "runtime/launch/identity.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "runtime/launch/kernel.h"

namespace runtime {

int child_loopback() {
  int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP;
  int error = ::ioctl(fd, SIOCSIFFLAGS, &request) == 0 ? 0 : -errno;
  ::close(fd);
  return error;
}

int child_session() { return ::setsid() >= 0 || errno == EPERM ? 0 : -errno; }

namespace {
// The container's own null in place of the host's: that one could be written through, and criu can't
// save what lies outside. -1: there is none, or not the very node.
int own_null() {
  int fd = kernel::openat2(AT_FDCWD, "/dev/null", O_RDWR | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW, 0,
                           RESOLVE_NO_MAGICLINKS);
  struct stat info;
  if (fd < 0) return -1;
  if (::fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3) &&
      ::fcntl(fd, F_SETFL, O_RDWR) == 0)
    return fd;
  ::close(fd);
  return -1;
}
}  // namespace

int child_stdio(Child& child, const Step& step) {
  int null = -1;
  for (int i = 0; i < 3; ++i) {
    int fd = child.terminal >= 0 ? child.terminal : child.stdio[i];
    if (fd < 0) fd = i;
    // A pipe must belong to the user, or /dev/stdout, which opens it anew, is refused.
    struct stat info {};
    if (::fstat(fd, &info) == 0 && S_ISFIFO(info.st_mode) && info.st_uid != step.x &&
        ::fchown(fd, static_cast<uid_t>(step.x), static_cast<gid_t>(-1)) != 0 && !step.y)
      return -errno;
    if (S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3) && (null >= 0 || (null = own_null()) >= 0))
      fd = null;
    if (fd != i && ::dup2(fd, i) < 0) return -errno;
    // What the caller gave us is open across execve already; one of ours at that number must not be.
    if (fd == i && child.stdio[i] == i) ::fcntl(fd, F_SETFD, 0);
  }
  if (null > 2) ::close(null);
  if (child.terminal >= 0 && ::ioctl(0, TIOCSCTTY, 0) != 0) return -errno;
  return 0;
}

int child_rlimit(const Step& step) {
  rlimit limit{step.y, step.z};
  return ::prlimit(0, static_cast<__rlimit_resource>(step.x), &limit, nullptr) == 0 ? 0 : -errno;
}

int child_write_proc(Child& child, const char* path, const char* value) {
  if (child.proc < 0) {
    // No /proc in this container: a detached procfs of its pid namespace that nobody else sees.
    int fs = kernel::fsopen("proc");
    if (fs < 0) return fs;
    int error = kernel::fsconfig_create(fs);
    child.proc = error ? error : kernel::fsmount(fs, 0);
    ::close(fs);
    if (child.proc < 0) return child.proc;
  }
  // RESOLVE_NO_XDEV: whatever an image or a mount laid over a path below /proc is not followed.
  int fd = kernel::openat2(child.proc, path, O_WRONLY, 0,
                           RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
  if (fd < 0) return fd;
  struct statfs info;
  int error = 0;
  if (::fstatfs(fd, &info) != 0) error = -errno;
  else if (info.f_type != PROC_SUPER_MAGIC) error = -EXDEV;
  size_t length = std::strlen(value);
  if (!error && ::write(fd, value, length) != static_cast<ssize_t>(length)) error = -errno;
  ::close(fd);
  return error;
}

int child_user(const Step& step) {
  // Through syscall(2): glibc's wrappers would signal the parent's threads, which are not ours.
  if (!step.w && ::syscall(SYS_setgroups, step.gids.size(), step.gids.data()) != 0 &&
      !(step.z && step.gids.empty() && errno == EPERM))
    return -errno;
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return -errno;
  auto uid = static_cast<uid_t>(step.x);
  auto gid = static_cast<gid_t>(step.y);
  // setresuid(2): -1 leaves an id as it is, which is root's.
  constexpr auto kNone = static_cast<uid_t>(-1);
  if (step.x != uid || step.y != gid || uid == kNone || gid == kNone) return -EINVAL;
  for (uint32_t group : step.gids)
    if (group == kNone) return -EINVAL;
  if (::syscall(SYS_setresgid, gid, gid, gid) != 0) return -errno;
  if (::syscall(SYS_setresuid, uid, uid, uid) != 0) return -errno;
  return 0;
}

int child_seccomp(Child& child, const Step& step, size_t index) {
  uint64_t flags = child.seccomp_flags | (step.x ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0);
  long fd = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &child.seccomp);
  if (fd < 0) return -errno;
  if (!step.x) return 0;
  // The parent takes the listener out of us: passing it would be a call that the filter may stop,
  // with nobody there yet to answer. `write` is never handed to a listener (seccomp.h).
  Message message{Report::kListener, static_cast<uint32_t>(index), static_cast<int32_t>(fd)};
  if (::write(child.socket, &message, sizeof message) < 0) return -errno;
  char byte;
  ssize_t n;
  do n = ::read(child.socket, &byte, 1);
  while (n < 0 && errno == EINTR);
  if (n == 0) ::_exit(1);
  return n < 0 ? -errno : ::close(static_cast<int>(fd));
}

int child_working_directory(Child& child, const Step& step) {
  if (!step.x && child.directory_done) return 0;
  if (::chdir(step.a.c_str()) != 0) return step.x && (errno == EACCES || errno == EPERM) ? 0 : -errno;
  // A directory outside the root, reached through a leaked fd, reads "(unreachable)/…".
  char path[PATH_MAX];
  long n = ::syscall(SYS_getcwd, path, sizeof path);
  if (n < 0) return -errno;
  if (path[0] != '/') return -EXDEV;
  child.directory_done = true;
  return 0;
}

int child_user_namespace_root(bool keep_groups) {
  // Without setgroups (denied, or none mapped) the groups stay, as nobody's.
  if (!keep_groups && ::syscall(SYS_setgroups, 0, nullptr) != 0 && errno != EPERM) return -errno;
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return -errno;
  if (::syscall(SYS_setresgid, 0, 0, 0) != 0) return -errno;
  return ::syscall(SYS_setresuid, 0, 0, 0) == 0 ? 0 : -errno;
}

int child_enter_time() {
  // unshare is for children only; a single thread may enter by itself.
  int fd = ::open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int error = ::setns(fd, CLONE_NEWTIME) == 0 ? 0 : -errno;
  ::close(fd);
  return error;
}

void child_home(Child& child, const Step& step) {
  *child.home_slot = child.home;
  static char text[64 << 10];
  // Left open: execve closes it. An image's link is followed, which stays in its root; one of /proc's, to
  // what we hold of the host's, is not.
  int fd =
      kernel::openat2(AT_FDCWD, "/etc/passwd", O_RDONLY | O_NOCTTY | O_NONBLOCK, 0, RESOLVE_NO_MAGICLINKS);
  struct stat info;
  bool regular = fd >= 0 && ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  ssize_t size = regular ? ::read(fd, text, sizeof text - 1) : 0;
  if (size <= 0) return;
  text[size] = 0;
  for (char *line = text, *next; line && *line; line = next) {
    next = std::strchr(line, '\n');
    if (next) *next++ = 0;
    // name:password:uid:gid:gecos:home:shell
    char* field[7] = {line};
    int count = 1;
    for (char* at = line; count < 7 && (at = std::strchr(at, ':')); ++count) {
      *at++ = 0;
      field[count] = at;
    }
    if (count < 6 || *field[2] == 0) continue;
    char* end;
    if (std::strtoull(field[2], &end, 10) != step.x || *end != 0) continue;
    size_t length = std::strlen(field[5]);
    if (length > 0 && length + 6 <= sizeof child.home) std::memcpy(child.home + 5, field[5], length + 1);
    return;
  }
}

int child_find_program(Child& child, const Step& step) {
  int error = -ENOENT;
  for (const std::string& candidate : step.list) {
    struct stat info;
    if (::stat(candidate.c_str(), &info) != 0) {
      if (errno == EACCES) error = -EACCES;
      continue;
    }
    bool runs = S_ISREG(info.st_mode) && (info.st_mode & 0111) != 0;
    // Any other error than EACCES is a seccomp profile's, older than the call: execve will tell.
    if (runs && ::syscall(SYS_faccessat2, AT_FDCWD, candidate.c_str(), X_OK, AT_EACCESS) != 0)
      runs = errno != EACCES;
    if (!runs) {
      error = -EACCES;
      continue;
    }
    child.program = candidate.c_str();
    return 0;
  }
  return error;
}

int child_hook(Child& child, const Step& step, const char* state, size_t state_size) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return -errno;
  long pid = ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (pid < 0) return -errno;
  if (pid == 0) {
    // Before the pivot: such a hook finds the new root where it is, as with runc.
    bool there = step.b != "createContainer" || ::fchdir(child.root) == 0;
    there = there && (child.hook_out < 0 || ::dup2(child.hook_out, 1) >= 0) &&
            (child.hook_err < 0 || ::dup2(child.hook_err, 2) >= 0);
    if (there && ::dup2(fds[0], 0) >= 0) ::execve(step.a.c_str(), child.argvs[step.x], child.envps[step.x]);
    ::_exit(127);
  }
  ::close(fds[0]);
  (void)!::write(fds[1], state, state_size);
  ::close(fds[1]);
  if (step.timeout_s > 0) {
    int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    pollfd wait{pidfd, POLLIN, 0};
    int n = ::poll(&wait, 1, step.timeout_s * 1000);
    ::close(pidfd);
    if (n == 0) {
      ::kill(static_cast<pid_t>(pid), SIGKILL);
      ::waitpid(static_cast<pid_t>(pid), nullptr, 0);
      return -ETIMEDOUT;
    }
  }
  int status = 0;
  if (::waitpid(static_cast<pid_t>(pid), &status, 0) < 0) return -errno;
  if (WIFSIGNALED(status)) return -(kHookSignal + WTERMSIG(status));
  return status == 0 ? 0 : -(kHookExit + WEXITSTATUS(status));
}

int child_exec(Child& child, const Step&) {
  ::execve(child.program, child.argvs[0], child.envps[0]);
  return -errno;
}

}  // namespace runtime
