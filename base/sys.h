// Thin wrappers of system calls: the kernel's names, Result instead of -1, close-on-exec always.
// errno becomes a Kind here and nowhere else. No policy, no retries but EINTR.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace base::sys {

Kind kind_of_errno(int errno_value);
// An Error from an errno value; `operation` is the call, `subject` what it was made on.
Error error_from_errno(int errno_value, std::string operation, std::string subject = {},
                       std::string hint = {});
// The same from the current errno.
Error last_error(std::string operation, std::string subject = {}, std::string hint = {});

// O_CLOEXEC is always added.
Result<UniqueFd> open(const std::string& path, int flags, mode_t mode = 0);
Result<UniqueFd> openat(int dirfd, const std::string& path, int flags, mode_t mode = 0);
// openat2(2), kernel 5.6: resolve is RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS…
Result<UniqueFd> openat2(int dirfd, const std::string& path, uint64_t flags, uint64_t mode, uint64_t resolve);

// Whole files. read_file refuses more than `limit_bytes` (kExhausted).
Result<std::string> read_file(const std::string& path, size_t limit_bytes = 16u << 20);
Result<std::string> read_file_at(int dirfd, const std::string& path, size_t limit_bytes = 16u << 20);
Result<std::string> read_all(int fd, size_t limit_bytes = 16u << 20);
Status write_all(int fd, std::string_view data);
// One write(2) to an existing file (cgroup, procfs, sysfs): no create, no truncate, no retry.
Status write_control(const std::string& path, std::string_view data);
// Replacement by a rename: readers see the old bytes or the new ones, never a part, whoever is killed. Not
// safe from a power loss: for what dies with the machine's processes.
Status replace_file(const std::string& path, std::string_view data, mode_t mode = 0644);
// Crash-safe replacement: temporary file in the same directory, fsync, rename, fsync of the
// directory. Readers see the old bytes or the new ones, never a part.
Status write_file_atomic(const std::string& path, std::string_view data, mode_t mode = 0644);

Status mkdir_all(const std::string& path, mode_t mode = 0755);
Status remove_all(const std::string& path);  // never crosses into another mount; absent is fine
// Lets the process have as many open files as its hard limit allows; how many that is.
Result<uint64_t> raise_open_files();
bool exists(const std::string& path);
Result<std::vector<std::string>> list_dir(const std::string& path);  // names, sorted, no dots

Result<UniqueFd> pidfd_open(pid_t pid);
Status pidfd_send_signal(int pidfd, int signal);

struct Pipe {
  UniqueFd read, write;
};
Result<Pipe> pipe(int flags = 0);   // O_CLOEXEC added
Result<Pipe> socketpair(int type);  // AF_UNIX; SOCK_CLOEXEC added; either end is both

// Sends `data` with `fds` attached in one message (SCM_RIGHTS); at most 16 fds.
Status send_with_fds(int socket, std::string_view data, std::span<const int> fds);
struct Message {
  std::string data;  // empty: the peer closed
  std::vector<UniqueFd> fds;
};
Result<Message> recv_with_fds(int socket, size_t limit_bytes = 1u << 20);

}  // namespace base::sys
