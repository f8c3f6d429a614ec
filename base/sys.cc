#include "base/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace base::sys {

Kind kind_of_errno(int errno_value) {
  switch (errno_value) {
    case ENOENT:
    case ESRCH:
    case ENXIO:
    case ENODEV: return Kind::kNotFound;
    case EEXIST:
    case ENOTEMPTY:
    case EADDRINUSE: return Kind::kExists;
    case EBUSY:
    case ETXTBSY: return Kind::kConflict;
    case EPERM:
    case EACCES:
    case EROFS: return Kind::kDenied;
    case ETIMEDOUT:
    case ETIME: return Kind::kTimeout;
    case EAGAIN:
    case EINTR:
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENOTCONN: return Kind::kUnavailable;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EFBIG:
    case ENOBUFS: return Kind::kExhausted;
    case ENOSYS:
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT: return Kind::kUnsupported;
    case ECANCELED: return Kind::kCanceled;
    case EBADMSG:
    case EIO:
    case EUCLEAN: return Kind::kCorrupt;
    case EINVAL:
    case E2BIG:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case EXDEV:
    case ERANGE:
    case EDOM:
    case ENOEXEC: return Kind::kInvalid;
    default: return Kind::kInternal;
  }
}

Error error_from_errno(int errno_value, std::string operation, std::string subject, std::string hint) {
  return Error{kind_of_errno(errno_value),
               errno_value,
               std::move(operation),
               std::move(subject),
               {},
               std::move(hint),
               nullptr};
}
Error last_error(std::string operation, std::string subject, std::string hint) {
  return error_from_errno(errno, std::move(operation), std::move(subject), std::move(hint));
}

Result<UniqueFd> open(const std::string& path, int flags, mode_t mode) {
  return openat(AT_FDCWD, path, flags, mode);
}
Result<UniqueFd> openat(int dirfd, const std::string& path, int flags, mode_t mode) {
  for (;;) {
    int fd = ::openat(dirfd, path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0) return UniqueFd(fd);
    if (errno != EINTR) return last_error("open", path);
  }
}
Result<UniqueFd> openat2(int dirfd, const std::string& path, uint64_t flags, uint64_t mode,
                         uint64_t resolve) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  for (;;) {
    long fd = ::syscall(SYS_openat2, dirfd, path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    // EAGAIN: a rename raced the walk (openat2(2)); the kernel asks to try again.
    if (errno != EINTR && errno != EAGAIN) return last_error("openat2", path);
  }
}

Result<std::string> read_all(int fd, size_t limit_bytes) {
  std::string out;
  for (;;) {
    size_t used = out.size();
    size_t room = std::max<size_t>(4096, used);
    out.resize(used + room);
    ssize_t n = ::read(fd, out.data() + used, room);
    if (n < 0) {
      out.resize(used);
      if (errno == EINTR) continue;
      return last_error("read");
    }
    out.resize(used + static_cast<size_t>(n));
    if (out.size() > limit_bytes)
      return make_error(Kind::kExhausted, "read", {}, "more than " + std::to_string(limit_bytes) + " bytes");
    if (n == 0) return out;
  }
}
Result<std::string> read_file_at(int dirfd, const std::string& path, size_t limit_bytes) {
  UniqueFd fd = TRY(openat(dirfd, path, O_RDONLY));
  return TRY_WRAP(read_all(fd.get(), limit_bytes), "read", path);
}
Result<std::string> read_file(const std::string& path, size_t limit_bytes) {
  return read_file_at(AT_FDCWD, path, limit_bytes);
}
Status write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return last_error("write");
    }
    data.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}
Status write_control(const std::string& path, std::string_view data) {
  UniqueFd fd = TRY(open(path, O_WRONLY));
  ssize_t n = ::write(fd.get(), data.data(), data.size());
  if (n != static_cast<ssize_t>(data.size())) {
    Error error = last_error("write", path);
    error.reason = "value '" + std::string(data.substr(0, 80)) + "' refused";
    return error;
  }
  return {};
}
Status replace_file(const std::string& path, std::string_view data, mode_t mode) {
  const std::string temporary = path + "~";
  UniqueFd fd = TRY(open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode));
  Status status = write_all(fd.get(), data);
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) status = last_error("rename", path);
  if (status.ok()) return {};
  ::unlink(temporary.c_str());
  return wrap(status.error(), "write", path);
}
Status write_file_atomic(const std::string& path, std::string_view data, mode_t mode) {
  std::string temporary = path + ".tmp" + std::to_string(::getpid());
  {
    UniqueFd fd = TRY(open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode));
    auto failed = [&](Error error) {
      ::unlink(temporary.c_str());
      return wrap(std::move(error), "write", path);
    };
    if (auto written = write_all(fd.get(), data); !written.ok()) return failed(written.error());
    if (::fsync(fd.get()) != 0) return failed(last_error("fsync", temporary));
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    Error error = last_error("rename", path);
    ::unlink(temporary.c_str());
    return error;
  }
  size_t slash = path.rfind('/');
  std::string dir = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  UniqueFd fd = TRY(open(dir, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return last_error("fsync", dir);
  return {};
}

Status mkdir_all(const std::string& path, mode_t mode) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return last_error("mkdir", part);
    if (end == std::string::npos) return {};
  }
}

namespace {
Status remove_tree_at(int dirfd, const std::string& name, dev_t device) {
  struct stat info;
  if (::fstatat(dirfd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? Status{} : Status{last_error("stat", name)};
  if (!S_ISDIR(info.st_mode)) {
    if (::unlinkat(dirfd, name.c_str(), 0) != 0 && errno != ENOENT) return last_error("unlink", name);
    return {};
  }
  if (device != 0 && info.st_dev != device)
    return make_error(Kind::kConflict, "remove", name, "still mounted", "unmount it first");
  UniqueFd dir = TRY(openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  DIR* stream = ::fdopendir(::fcntl(dir.get(), F_DUPFD_CLOEXEC, 0));
  if (!stream) return last_error("opendir", name);
  Status status;
  while (status.ok()) {
    dirent* entry = ::readdir(stream);
    if (!entry) break;
    std::string child = entry->d_name;
    if (child == "." || child == "..") continue;
    status = remove_tree_at(dir.get(), child, info.st_dev);
  }
  ::closedir(stream);
  if (!status.ok()) return status;
  if (::unlinkat(dirfd, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return last_error("rmdir", name);
  return {};
}
}  // namespace

Status remove_all(const std::string& path) { return remove_tree_at(AT_FDCWD, path, 0); }
Result<uint64_t> raise_open_files() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return last_error("getrlimit", "RLIMIT_NOFILE");
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return last_error("setrlimit", "RLIMIT_NOFILE");
  return limit.rlim_cur;
}
bool exists(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0;
}
Result<std::vector<std::string>> list_dir(const std::string& path) {
  DIR* stream = ::opendir(path.c_str());
  if (!stream) return last_error("opendir", path);
  std::vector<std::string> names;
  while (dirent* entry = ::readdir(stream)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  ::closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

Result<UniqueFd> pidfd_open(pid_t pid) {
  long fd = ::syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) return last_error("pidfd_open", std::to_string(pid));
  return UniqueFd(static_cast<int>(fd));
}
Status pidfd_send_signal(int pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) != 0)
    return last_error("pidfd_send_signal", std::to_string(signal));
  return {};
}

Result<Pipe> pipe(int flags) {
  int fds[2];
  if (::pipe2(fds, flags | O_CLOEXEC) != 0) return last_error("pipe2");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}
Result<Pipe> socketpair(int type) {
  int fds[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) return last_error("socketpair");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

namespace {
constexpr size_t kMaxFdsPerMessage = 16;
}

Status send_with_fds(int socket, std::string_view data, std::span<const int> fds) {
  if (fds.size() > kMaxFdsPerMessage) return make_error(Kind::kInvalid, "sendmsg", {}, "more than 16 fds");
  iovec part{const_cast<char*>(data.data()), data.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFdsPerMessage * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  ssize_t n;
  do n = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n < 0) return last_error("sendmsg");
  if (static_cast<size_t>(n) < data.size()) return write_all(socket, data.substr(static_cast<size_t>(n)));
  return {};
}

Result<Message> recv_with_fds(int socket, size_t limit_bytes) {
  Message result;
  result.data.resize(std::min<size_t>(limit_bytes, 64 << 10));
  iovec part{result.data.data(), result.data.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFdsPerMessage * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n;
  do n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0) return last_error("recvmsg");
  for (cmsghdr* h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h)) {
    if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof fd);
      result.fds.emplace_back(fd);
    }
  }
  if (message.msg_flags & MSG_CTRUNC)
    return make_error(Kind::kInvalid, "recvmsg", {}, "more than 16 fds in one message");
  result.data.resize(static_cast<size_t>(n));
  return result;
}

}  // namespace base::sys
