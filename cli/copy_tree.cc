#include "cli/copy_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/sys.h"

namespace cli {

namespace sys = base::sys;

namespace {

constexpr int kMaxDepth = 256;

base::Status copy_tree(int from, const std::string& name, int to, const std::string& as,
                       const CopyOptions& options, int depth);

base::Status copy_bytes(int in, int out, const std::string& name) {
  for (;;) {
    ssize_t n = ::copy_file_range(in, nullptr, out, nullptr, 1 << 30, 0);
    if (n == 0) return {};
    if (n > 0 || errno == EINTR) continue;
    break;  // not between these two file systems
  }
  std::string buffer(128 << 10, '\0');
  for (;;) {
    ssize_t n = ::read(in, buffer.data(), buffer.size());
    if (n == 0) return {};
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys::last_error("read", name);
    TRY_WRAP(sys::write_all(out, std::string_view(buffer).substr(0, static_cast<size_t>(n))), "write", name);
  }
}

base::Status set_attributes(int to, const std::string& as, const struct stat& st,
                            const CopyOptions& options) {
  uid_t uid = options.keep_owner ? st.st_uid : 0;
  gid_t gid = options.keep_owner ? st.st_gid : 0;
  if (::fchownat(to, as.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) != 0) return sys::last_error("chown", as);
  // After the owner, which takes setuid away. A link has no mode.
  if (!S_ISLNK(st.st_mode)) {
    base::UniqueFd fd = TRY(sys::openat(to, as, O_PATH | O_NOFOLLOW));
    if (::chmod(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), st.st_mode & 07777) != 0)
      return sys::last_error("chmod", as);
  }
  timespec times[2] = {st.st_atim, st.st_mtim};
  if (::utimensat(to, as.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) return sys::last_error("set times", as);
  return {};
}

base::Result<std::vector<std::string>> names_in(int directory) {
  base::UniqueFd fd = TRY(sys::openat(directory, ".", O_RDONLY | O_DIRECTORY));
  DIR* open = ::fdopendir(fd.get());
  if (!open) return sys::last_error("read directory");
  (void)fd.release();
  std::vector<std::string> out;
  while (dirent* entry = ::readdir(open))
    if (std::string_view name = entry->d_name; name != "." && name != "..") out.emplace_back(name);
  ::closedir(open);
  return out;
}

base::Status copy_content(int from, int to, const CopyOptions& options, int depth) {
  if (depth > kMaxDepth)
    return base::make_error(base::Kind::kExhausted, "copy directory", "",
                            "directories are nested too deeply");
  for (const std::string& name : TRY(names_in(from))) TRY(copy_tree(from, name, to, name, options, depth));
  return {};
}

base::Status copy_directory(int from, const std::string& name, int to, const std::string& as,
                            const CopyOptions& options, int depth) {
  base::UniqueFd source = TRY(sys::openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (::mkdirat(to, as.c_str(), 0700) != 0 && errno != EEXIST) return sys::last_error("mkdir", as);
  base::UniqueFd target = TRY(sys::openat(to, as, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return copy_content(source.get(), target.get(), options, depth + 1);
}

base::Status copy_tree(int from, const std::string& name, int to, const std::string& as,
                       const CopyOptions& options, int depth) {
  struct stat st {
  }, there{};
  if (::fstatat(from, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return sys::last_error("copy", name);
  bool exists = ::fstatat(to, as.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0;
  if (S_ISSOCK(st.st_mode)) return {};  // means nothing without who listens
  if (exists && S_ISDIR(there.st_mode) != S_ISDIR(st.st_mode))
    return base::make_error(
        base::Kind::kExists, "copy", as,
        S_ISDIR(st.st_mode) ? "a directory would replace a file" : "a file would replace a directory");
  if (exists && !S_ISDIR(st.st_mode) && ::unlinkat(to, as.c_str(), 0) != 0)
    return sys::last_error("replace", as);
  if (S_ISDIR(st.st_mode)) {
    TRY(copy_directory(from, name, to, as, options, depth));
  } else if (S_ISREG(st.st_mode)) {
    base::UniqueFd in = TRY(sys::openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    base::UniqueFd out = TRY(sys::openat(to, as, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    TRY(copy_bytes(in.get(), out.get(), name));
  } else if (S_ISLNK(st.st_mode)) {
    std::string target(4096, '\0');
    ssize_t n = ::readlinkat(from, name.c_str(), target.data(), target.size());
    if (n < 0) return sys::last_error("read link", name);
    target.resize(static_cast<size_t>(n));
    if (::symlinkat(target.c_str(), to, as.c_str()) != 0) return sys::last_error("symlink", as);
  } else if (::mknodat(to, as.c_str(), st.st_mode & (S_IFMT | 07777), st.st_rdev) != 0) {
    return sys::last_error("mknod", as);
  }
  return set_attributes(to, as, st, options);
}

}  // namespace

base::Status copy_tree(int from, const std::string& name, int to, const std::string& as,
                       const CopyOptions& options) {
  return copy_tree(from, name, to, as, options, 0);
}
base::Status copy_content(int from, int to, const CopyOptions& options) {
  return copy_content(from, to, options, 0);
}

}  // namespace cli
