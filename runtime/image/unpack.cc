#include "runtime/image/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <cerrno>
#include <unordered_set>

#include "base/sys.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
using base::Status;
using base::UniqueFd;
namespace sys = base::sys;

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr size_t kMaxPath = 4096;
constexpr uint64_t kInRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

struct Path {
  std::string parent;  // "" is the root
  std::string name;    // "" is the root itself
  std::string text() const { return parent.empty() ? name : parent + "/" + name; }
};

Status bad_entry(std::string_view path, std::string reason) {
  return make_error(Kind::kInvalid, "unpack", "'" + printable(path) + "'", std::move(reason),
                    "the layer is malformed or hostile: do not use this image");
}

class Unpacker {
 public:
  Unpacker(UniqueFd root, TarReader& reader) : root_(std::move(root)), reader_(reader) {}
  Status run(Unpacked* result);

 private:
  Status one(archive_entry* entry);
  base::Result<Path> split(const char* raw);
  base::Result<int> parent(const std::string& path);
  Status make_parents(const std::string& path);
  Status whiteout(const Path& path);
  Status clear_way(int dir, const Path& path, bool is_directory, bool* exists);
  Status regular(int dir, const Path& path, archive_entry* entry);
  Status hard_link(int dir, const Path& path, const char* target);
  Status other(int dir, const Path& path, archive_entry* entry);
  Status directory(int dir, const Path& path, archive_entry* entry);
  Status xattrs(const std::string& proc_path, archive_entry* entry, const Path& path);
  Status finish_directories();

  static std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }
  static void times(archive_entry* entry, timespec out[2]);

  UniqueFd root_;
  TarReader& reader_;
  std::string cached_parent_;
  UniqueFd cached_fd_;
  std::unordered_set<std::string> whiteouts_;  // of this layer: they hide lower layers only
  std::vector<std::pair<std::string, timespec>> directory_times_;
  uint64_t bytes_ = 0, entries_ = 0;
};

base::Result<Path> Unpacker::split(const char* raw) {
  std::string_view text = raw ? raw : "";
  if (text.empty()) return bad_entry("", "an entry without a readable name").error();
  if (text.size() > kMaxPath) return bad_entry(text, "the path is longer than 4096 bytes").error();
  std::vector<std::string_view> parts;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('/', at), text.size());
    std::string_view part = text.substr(at, end - at);
    if (part == "..") return bad_entry(text, "the path leads out of the layer").error();
    if (!part.empty() && part != ".") parts.push_back(part);
    at = end + 1;
  }
  Path path;
  if (parts.empty()) return path;
  path.name = parts.back();
  parts.pop_back();
  for (std::string_view part : parts) {
    if (!path.parent.empty()) path.parent += '/';
    path.parent += part;
  }
  return path;
}

// Directories that the archive does not list get what every distribution gives them.
Status Unpacker::make_parents(const std::string& path) {
  for (size_t end = path.find('/');; end = path.find('/', end + 1)) {
    std::string part = path.substr(0, end);
    if (!sys::openat2(root_.get(), part, O_PATH | O_DIRECTORY, 0, kInRoot).ok()) {
      size_t slash = part.rfind('/');
      std::string above = slash == std::string::npos ? "." : part.substr(0, slash);
      std::string name = slash == std::string::npos ? part : part.substr(slash + 1);
      UniqueFd dir = TRY(sys::openat2(root_.get(), above, O_PATH | O_DIRECTORY, 0, kInRoot));
      if (::mkdirat(dir.get(), name.c_str(), 0755) != 0) {
        if (errno != EEXIST) return sys::last_error("mkdir", printable(part));
        // It exists and is no directory; a whiteout alone may be replaced.
        if (!whiteouts_.contains(part))
          return bad_entry(part, "a parent directory is another kind of file or a dead symlink");
        bool exists = false;
        TRY(clear_way(dir.get(), Path{slash == std::string::npos ? "" : above, name}, false, &exists));
        if (::mkdirat(dir.get(), name.c_str(), 0755) != 0) return sys::last_error("mkdir", printable(part));
        std::string made = proc_path(dir.get()) + "/" + name;
        if (::lsetxattr(made.c_str(), "trusted.overlay.opaque", "y", 1, 0) != 0)
          return sys::last_error("set overlay xattr on", printable(part));
      }
      if (part == "tmp" || part == "var/tmp") ::fchmodat(dir.get(), name.c_str(), 01777, 0);
      if (part == "root") ::fchmodat(dir.get(), name.c_str(), 0700, 0);
    }
    if (end == std::string::npos) return {};
  }
}

base::Result<int> Unpacker::parent(const std::string& path) {
  if (path.empty()) return root_.get();
  if (cached_fd_.valid() && cached_parent_ == path) return cached_fd_.get();
  auto fd = sys::openat2(root_.get(), path, O_PATH | O_DIRECTORY, 0, kInRoot);
  if (!fd.ok()) {
    if (fd.error().errno_value != ENOENT && fd.error().errno_value != ENOTDIR)
      return base::wrap(fd.error(), "unpack into", "'" + printable(path) + "'");
    TRY(make_parents(path));
    fd = sys::openat2(root_.get(), path, O_PATH | O_DIRECTORY, 0, kInRoot);
    if (!fd.ok()) return base::wrap(fd.error(), "unpack into", "'" + printable(path) + "'");
  }
  cached_parent_ = path;
  cached_fd_ = std::move(*fd);
  return cached_fd_.get();
}

// Removes what is in the way of a new entry; a directory may stay for a directory.
Status Unpacker::clear_way(int dir, const Path& path, bool is_directory, bool* exists) {
  struct stat info;
  *exists = false;
  if (::fstatat(dir, path.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return sys::last_error("stat", "'" + printable(path.text()) + "'");
  }
  if (is_directory && S_ISDIR(info.st_mode)) {
    *exists = true;
    return {};
  }
  if (!S_ISDIR(info.st_mode)) {
    if (::unlinkat(dir, path.name.c_str(), 0) != 0)
      return sys::last_error("unlink", "'" + printable(path.text()) + "'");
    cached_fd_ = {};  // it may have been a symlink on the way to the cached directory
    return {};
  }
  std::string victim = proc_path(dir) + "/" + path.name;
  auto removed = sys::remove_all(victim);
  cached_fd_ = {};  // `dir` may be this very fd: the caller asks parent() again
  return removed;
}

Status Unpacker::whiteout(const Path& path) {
  if (path.name == kOpaque) {
    int dir = TRY(parent(path.parent));
    if (::setxattr(proc_path(dir).c_str(), "trusted.overlay.opaque", "y", 1, 0) != 0)
      return sys::last_error("set overlay xattr on", "'" + printable(path.parent) + "'");
    return {};
  }
  std::string name = path.name.substr(kWhiteout.size());
  if (name.starts_with(".wh.")) return {};  // aufs' own bookkeeping (.wh..wh.plnk, .wh..wh.aufs)
  if (name.empty() || name == "." || name == "..") return bad_entry(path.text(), "a whiteout of no file");
  Path target{path.parent, name};
  int dir = TRY(parent(path.parent));
  struct stat info;
  if (::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    // The layer has both: the whiteout is for the layers below, what is here stays.
    if (!S_ISDIR(info.st_mode)) return {};
    std::string at = proc_path(dir) + "/" + name;
    if (::lsetxattr(at.c_str(), "trusted.overlay.opaque", "y", 1, 0) != 0)
      return sys::last_error("set overlay xattr on", "'" + printable(target.text()) + "'");
    return {};
  }
  if (::mknodat(dir, name.c_str(), S_IFCHR | 0600, makedev(0, 0)) != 0)
    return sys::last_error("make whiteout", "'" + printable(target.text()) + "'");
  whiteouts_.insert(target.text());
  return {};
}

void Unpacker::times(archive_entry* entry, timespec out[2]) {
  timespec mtime{archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)};
  if (!archive_entry_mtime_is_set(entry)) mtime = {0, 0};
  out[0] = out[1] = mtime;
}

// Kept: capabilities, ACLs and user attributes. Dropped: security labels of the host that built
// the image, and everything overlayfs itself reads (a redirect would reach other files).
Status Unpacker::xattrs(const std::string& proc_path, archive_entry* entry, const Path& path) {
  archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    std::string_view key = name ? name : "";
    bool capability = key == "security.capability";
    bool user = key.starts_with("user.") && !key.starts_with("user.overlay.");
    bool acl = key == "system.posix_acl_access" || key == "system.posix_acl_default";
    if (!capability && !user && !acl) continue;
    if (::lsetxattr(proc_path.c_str(), name, value, size, 0) == 0) continue;
    // User attributes are refused on symlinks and devices (xattr(7)); nobody can miss them there.
    if (user && (errno == EPERM || errno == EOPNOTSUPP)) continue;
    return sys::last_error("set xattr " + printable(key) + " on", "'" + printable(path.text()) + "'",
                           "keep the image root on a file system with extended attributes");
  }
  return {};
}

Status Unpacker::regular(int dir, const Path& path, archive_entry* entry) {
  auto failed = [&](const char* what) { return sys::last_error(what, "'" + printable(path.text()) + "'"); };
  UniqueFd file = TRY(sys::openat(dir, path.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  for (;;) {
    TarReader::Block block = TRY(reader_.next_block());
    if (block.data.empty()) break;
    bytes_ += block.data.size();
    int64_t offset = block.offset;
    while (!block.data.empty()) {
      ssize_t n = ::pwrite(file.get(), block.data.data(), block.data.size(), offset);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failed("write");
      block.data.remove_prefix(static_cast<size_t>(n));
      offset += n;
    }
  }
  if (::ftruncate(file.get(), archive_entry_size(entry)) != 0) return failed("ftruncate");
  // chown clears set-user-ID and capabilities, so the order is owner, mode, xattrs (chown(2)).
  if (::fchown(file.get(), archive_entry_uid(entry), archive_entry_gid(entry)) != 0) return failed("chown");
  if (::fchmod(file.get(), archive_entry_perm(entry) & 07777) != 0) return failed("chmod");
  TRY(xattrs(proc_path(dir) + "/" + path.name, entry, path));
  timespec stamps[2];
  times(entry, stamps);
  if (::futimens(file.get(), stamps) != 0) return failed("utimens");
  return {};
}

Status Unpacker::hard_link(int dir, const Path& path, const char* target_text) {
  Path target = TRY(split(target_text));
  auto source = sys::openat2(root_.get(), target.text(), O_PATH | O_NOFOLLOW, 0, kInRoot);
  if (!source.ok() && source.error().errno_value == ENOENT)
    return bad_entry(path.text(),
                     "a hard link to '" + printable(target.text()) + "', which is not in this layer");
  if (!source.ok()) return base::wrap(source.error(), "hard link", "'" + printable(path.text()) + "'");
  struct stat info;
  if (::fstat(source->get(), &info) != 0) return sys::last_error("stat", target.text());
  if (S_ISDIR(info.st_mode)) return bad_entry(path.text(), "a hard link to a directory");
  if (::linkat(source->get(), "", dir, path.name.c_str(), AT_EMPTY_PATH) != 0)
    return sys::last_error("link", "'" + printable(path.text()) + "'");
  return {};
}

Status Unpacker::other(int dir, const Path& path, archive_entry* entry) {
  auto failed = [&](const char* what) { return sys::last_error(what, "'" + printable(path.text()) + "'"); };
  mode_t type = archive_entry_filetype(entry);
  const char* name = path.name.c_str();
  if (type == AE_IFLNK) {
    const char* target = archive_entry_symlink(entry);
    if (!target || !*target) return bad_entry(path.text(), "a symlink without a target");
    if (::symlinkat(target, dir, name) != 0) return failed("symlink");
  } else if (type == AE_IFCHR || type == AE_IFBLK || type == AE_IFIFO) {
    dev_t device =
        type == AE_IFIFO ? 0 : makedev(archive_entry_rdevmajor(entry), archive_entry_rdevminor(entry));
    if (type == AE_IFCHR && device == 0)
      return bad_entry(path.text(), "a device 0:0, which overlayfs takes for a whiteout");
    if (::mknodat(dir, name, type | 0600, device) != 0) return failed("mknod");
  } else {
    return bad_entry(path.text(), "an unknown kind of file");
  }
  if (::fchownat(dir, name, archive_entry_uid(entry), archive_entry_gid(entry), AT_SYMLINK_NOFOLLOW) != 0)
    return failed("chown");
  // Made by us a moment ago in a directory nobody else sees: not a symlink.
  if (type != AE_IFLNK && ::fchmodat(dir, name, archive_entry_perm(entry) & 07777, 0) != 0)
    return failed("chmod");
  TRY(xattrs(proc_path(dir) + "/" + path.name, entry, path));
  timespec stamps[2];
  times(entry, stamps);
  if (::utimensat(dir, name, stamps, AT_SYMLINK_NOFOLLOW) != 0) return failed("utimens");
  return {};
}

Status Unpacker::directory(int dir, const Path& path, archive_entry* entry) {
  auto failed = [&](const char* what) { return sys::last_error(what, "'" + printable(path.text()) + "'"); };
  bool exists = path.name.empty();
  bool hides_lower = false;
  if (!exists) {
    hides_lower = whiteouts_.contains(path.text());
    TRY(clear_way(dir, path, true, &exists));
    dir = TRY(parent(path.parent));
    if (!exists && ::mkdirat(dir, path.name.c_str(), 0700) != 0) return failed("mkdir");
    hides_lower &= !exists;
  }
  UniqueFd self = path.name.empty() ? TRY(sys::openat(root_.get(), ".", O_RDONLY | O_DIRECTORY))
                                    : TRY(sys::openat(dir, path.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (::fchown(self.get(), archive_entry_uid(entry), archive_entry_gid(entry)) != 0) return failed("chown");
  if (::fchmod(self.get(), archive_entry_perm(entry) & 07777) != 0) return failed("chmod");
  TRY(xattrs(proc_path(self.get()) + "/.", entry, path));
  if (hides_lower && ::fsetxattr(self.get(), "trusted.overlay.opaque", "y", 1, 0) != 0)
    return failed("set overlay xattr on");
  timespec stamps[2];
  times(entry, stamps);
  directory_times_.emplace_back(path.name.empty() ? "." : path.text(), stamps[1]);
  return {};
}

Status Unpacker::one(archive_entry* entry) {
  Path path = TRY(split(archive_entry_pathname(entry)));
  int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
  if (uid < 0 || gid < 0 || uid >= UINT32_MAX || gid >= UINT32_MAX)
    return bad_entry(path.text(), "an owner that does not fit 32 bits");
  const char* link = archive_entry_hardlink(entry);
  bool is_directory = !link && archive_entry_filetype(entry) == AE_IFDIR;
  if (path.name.empty() && !is_directory) return bad_entry("/", "the root of the layer is no directory");
  if (path.name.starts_with(kWhiteout)) return whiteout(path);
  int dir = TRY(parent(path.parent));
  if (is_directory) return directory(dir, path, entry);
  // A second entry of one name replaces the first; a link to itself would lose the file.
  if (link && TRY(split(link)).text() == path.text()) return bad_entry(path.text(), "a hard link to itself");
  bool exists = false;
  TRY(clear_way(dir, path, false, &exists));
  dir = TRY(parent(path.parent));
  if (link) return hard_link(dir, path, link);
  if (archive_entry_filetype(entry) == AE_IFREG) return regular(dir, path, entry);
  return other(dir, path, entry);
}

// Last, because making their children changed them; deepest first is not needed for mtime.
Status Unpacker::finish_directories() {
  for (const auto& [path, mtime] : directory_times_) {
    auto fd = sys::openat2(root_.get(), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, kInRoot);
    if (!fd.ok()) continue;  // a later entry replaced it
    timespec stamps[2] = {mtime, mtime};
    if (::futimens(fd->get(), stamps) != 0) return sys::last_error("utimens", printable(path));
  }
  return {};
}

Status Unpacker::run(Unpacked* result) {
  for (;;) {
    archive_entry* entry = TRY(reader_.next());
    if (!entry) break;
    ++entries_;
    TRY(one(entry));
  }
  TRY(finish_directories());
  result->entries = entries_;
  result->bytes = bytes_;
  return {};
}

}  // namespace

base::Result<Unpacked> unpack_layer(int archive_fd, const std::string& name, const std::string& directory,
                                    TarLimits limits) {
  auto reader = TRY(TarReader::open(archive_fd, name, limits));
  UniqueFd root = TRY(sys::open(directory, O_RDONLY | O_DIRECTORY));
  Unpacked result;
  Unpacker unpacker(std::move(root), *reader);
  TRY_WRAP(unpacker.run(&result), "unpack layer", name);
  result.diff_id = TRY(reader->finish());
  return result;
}

}  // namespace runtime
