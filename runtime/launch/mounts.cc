#include "runtime/launch/mounts.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/launch/kernel.h"

namespace runtime {

int attach(int mount, int target) {
  return kernel::move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}
int set_attributes(int mount, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive) {
  mount_attr attributes{};
  if (set || clear) {
    attributes.attr_set = set;
    attributes.attr_clr = clear;
    int error = kernel::mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes);
    if (error) return error;
  }
  if (propagation) {
    mount_attr other{};
    other.propagation = propagation & ~uint64_t{MS_REC};
    return kernel::mount_setattr(mount, "", AT_EMPTY_PATH | (propagation & MS_REC ? AT_RECURSIVE : 0),
                                 &other);
  }
  return 0;
}

int open_in_root(const Child& child, const char* path, uint64_t flags, uint64_t extra_resolve) {
  return kernel::openat2(child.root, path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | extra_resolve);
}

namespace {
constexpr int kMaxLinks = 40;  // as the kernel's MAXSYMLINKS

int make_last_directory(const Child& child, const char* above, const char* name) {
  int parent = open_in_root(child, above, O_PATH | O_DIRECTORY);
  if (parent < 0) return parent;
  int fd = ::mkdirat(parent, name, 0755) != 0 ? -errno
                                              : kernel::openat2(parent, name, O_PATH | O_DIRECTORY, 0,
                                                                RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
  ::close(parent);
  return fd;
}

// Makes the directories of `path` that are absent, following what symlinks exist (also dangling
// ones, as an image's /var/run) inside the root. Returns an O_PATH fd of the last one.
int make_directories(const Child& child, const char* path) {
  int fd = open_in_root(child, path, O_PATH | O_DIRECTORY);
  if (fd != -ENOENT) return fd;
  char buffer[PATH_MAX];
  if (std::strlen(path) >= sizeof buffer) return -ENAMETOOLONG;
  std::strcpy(buffer, path);
  // Most often only the last one is absent.
  if (char* slash = std::strrchr(buffer, '/'); slash != buffer) {
    *slash = 0;
    fd = make_last_directory(child, buffer, slash + 1);
    if (fd != -ENOENT && fd != -EEXIST) return fd;
    *slash = '/';
  }
  int links = 0;
  int parent = open_in_root(child, "/", O_PATH | O_DIRECTORY);
  for (char* at = buffer; parent >= 0;) {
    while (*at == '/') ++at;
    if (*at == 0) return parent;
    char* end = std::strchr(at, '/');
    if (end) *end = 0;
    // Resolved from the root again, so that ".." of a link can't leave it.
    int next = open_in_root(child, buffer, O_PATH | O_DIRECTORY);
    if (next == -ENOENT) {
      if (::mkdirat(parent, at, 0755) == 0) {
        next = kernel::openat2(parent, at, O_PATH | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
      } else if (errno == EEXIST) {
        char link[PATH_MAX], rest[PATH_MAX];
        ssize_t n = ::readlinkat(parent, at, link, sizeof link - 1);
        if (n < 0) next = -errno;
        else if (++links > kMaxLinks) next = -ELOOP;
        else {
          link[n] = 0;
          rest[0] = 0;
          if (end) std::strcpy(rest, end + 1);
          size_t before = link[0] == '/' ? 0 : static_cast<size_t>(at - buffer);
          if (before + static_cast<size_t>(n) + std::strlen(rest) + 2 > sizeof buffer) {
            next = -ENAMETOOLONG;
          } else {
            std::strcpy(buffer + before, link);
            std::strcat(buffer, "/");
            std::strcat(buffer, rest);
            ::close(parent);
            parent = open_in_root(child, "/", O_PATH | O_DIRECTORY);
            at = buffer;
            continue;
          }
        }
      } else {
        next = -errno;
      }
    }
    ::close(parent);
    parent = next;
    if (!end) return parent;
    *end = '/';
    at = end + 1;
  }
  return parent;
}
}  // namespace

int parent_in_root(const Child& child, const char* path, const char** name) {
  const char* slash = std::strrchr(path, '/');
  *name = slash + 1;
  char buffer[PATH_MAX];
  size_t length = static_cast<size_t>(slash - path);
  if (length >= sizeof buffer) return -ENAMETOOLONG;
  std::memcpy(buffer, path, length);
  buffer[length] = 0;
  return make_directories(child, length == 0 ? "/" : buffer);
}

int kept_parent_in_root(Child& child, const char* path, const char** name) {
  const char* slash = std::strrchr(path, '/');
  auto length = static_cast<size_t>(slash - path);
  *name = slash + 1;
  if (child.parent >= 0 && child.parent_length == length && std::memcmp(child.parent_path, path, length) == 0)
    return child.parent;
  drop_parent(child);
  child.parent = parent_in_root(child, path, name);
  child.parent_path = path;
  child.parent_length = length;
  return child.parent;
}
void drop_parent(Child& child) {
  if (child.parent >= 0) ::close(child.parent);
  child.parent = -1;
}

int make_in_root(const Child& child, const char* path, Make what) {
  if (what == Make::kDirectory) return make_directories(child, path);
  char buffer[PATH_MAX];
  if (std::strlen(path) >= sizeof buffer) return -ENAMETOOLONG;
  std::strcpy(buffer, path);
  for (int links = 0; links <= kMaxLinks; ++links) {
    int fd = open_in_root(child, buffer, O_PATH);
    if (fd != -ENOENT) return fd;
    const char* name;
    int parent = parent_in_root(child, buffer, &name);
    if (parent < 0) return parent;
    int made = ::openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (made >= 0) {
      ::close(made);
      fd = kernel::openat2(parent, name, O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
      ::close(parent);
      return fd;
    }
    int error = -errno;
    char link[PATH_MAX];
    ssize_t n = error == -EEXIST ? ::readlinkat(parent, name, link, sizeof link - 1) : -1;
    ::close(parent);
    if (n < 0) return error;
    // A dangling link (an image's /etc/resolv.conf): make what it points at, inside the root.
    link[n] = 0;
    size_t before = link[0] == '/' ? 0 : static_cast<size_t>(std::strrchr(buffer, '/') - buffer + 1);
    if (before + static_cast<size_t>(n) + 1 > sizeof buffer) return -ENAMETOOLONG;
    std::strcpy(buffer + before, link);
  }
  return -ELOOP;
}

int child_propagation(Child&, const Step& step) {
  if (::mount(nullptr, "/", nullptr, static_cast<unsigned long>(step.x), nullptr) != 0) return -errno;
  if ((step.x & MS_SHARED) == 0) return 0;
  // pivot_root(2) refuses a new root whose parent mount is shared: make that one private. The
  // nearest ancestor that is a mount point is it.
  char path[PATH_MAX];
  if (step.a.size() >= sizeof path) return -ENAMETOOLONG;
  std::strcpy(path, step.a.c_str());
  for (;;) {
    if (::mount(nullptr, path[0] ? path : "/", nullptr, MS_PRIVATE, nullptr) == 0) return 0;
    if (errno != EINVAL && errno != ENOENT) return -errno;
    char* slash = std::strrchr(path, '/');
    if (!slash) return -EINVAL;
    *slash = 0;
  }
}

namespace {
int mount_root(Child& child, int mount, const char* target) {
  int fd = kernel::openat2(AT_FDCWD, target, O_PATH | O_DIRECTORY, 0, 0);
  if (fd < 0) return fd;
  int error = attach(mount, fd);
  ::close(fd);
  if (error == 0) child.root = mount;
  return error;
}
}  // namespace

int child_root_overlay(Child& child, const Step& step) {
  if (!step.c.empty()) {
    // Before kernel 6.8 fsconfig takes at most 256 bytes of lowerdir; mount(2) takes a page.
    if (::mount("overlay", step.b.c_str(), "overlay", 0, step.c.c_str()) != 0) return -errno;
    child.root = kernel::openat2(AT_FDCWD, step.b.c_str(), O_PATH | O_DIRECTORY, 0, 0);
    return child.root < 0 ? child.root : 0;
  }
  int fs = kernel::fsopen("overlay");
  if (fs < 0) return fs;
  int error = kernel::fsconfig_string(fs, "source", "overlay");
  // One call per layer, highest first; no escaping and no limit of length together.
  for (size_t i = step.list.size() - 2; i-- > 0 && !error;)
    error = kernel::fsconfig_string(fs, "lowerdir+", step.list[i].c_str());
  if (!error) error = kernel::fsconfig_string(fs, "upperdir", step.list[step.list.size() - 2].c_str());
  if (!error) error = kernel::fsconfig_string(fs, "workdir", step.list[step.list.size() - 1].c_str());
  if (!error) error = kernel::fsconfig_create(fs);
  int mount = error ? error : kernel::fsmount(fs, 0);
  ::close(fs);
  return mount < 0 ? mount : mount_root(child, mount, step.b.c_str());
}

unsigned bind_source_flags(uint64_t flags) {
  return OPEN_TREE_CLONE | (flags & kBindRecursive ? unsigned{AT_RECURSIVE} : 0u) |
         (flags & (kSourceNoFollow | kCopyLink) ? unsigned{AT_SYMLINK_NOFOLLOW} : 0u);
}

int child_root_bind(Child& child, const Step& step) {
  int tree = step.z & kSourceFromParent
                 ? child.sources[child.sources_used++]
                 : kernel::open_tree(AT_FDCWD, step.a.c_str(), OPEN_TREE_CLONE | AT_RECURSIVE);
  return tree < 0 ? tree : mount_root(child, tree, step.z & kOnSlash ? "/" : step.a.c_str());
}

namespace {
// `mode`: of a tmpfs that names none; 0: the kernel's own, 1777.
int make_file_system(const Step& step, unsigned mode) {
  int fs = kernel::fsopen(step.a.c_str());
  if (fs < 0) return fs;
  int error = kernel::fsconfig_string(fs, "source", step.c.c_str());
  for (const std::string& option : step.list) {
    if (error) break;
    char key[256];
    size_t equals = option.find('=');
    if (equals == std::string::npos) {
      error = kernel::fsconfig_flag(fs, option.c_str());
    } else if (equals >= sizeof key) {
      error = -EINVAL;
    } else {
      std::memcpy(key, option.data(), equals);
      key[equals] = 0;
      error = kernel::fsconfig_string(fs, key, option.c_str() + equals + 1);
    }
  }
  if (mode != 0 && !error) {
    char text[16] = {};
    for (int i = 0, shift = 9; shift >= 0; ++i, shift -= 3)
      text[i] = static_cast<char>('0' + ((mode >> shift) & 7));
    error = kernel::fsconfig_string(fs, "mode", text);
  }
  if (!error) error = kernel::fsconfig_create(fs);
  // Read-only only once it was filled.
  uint64_t attributes = step.z & kCopyUp ? step.x & ~uint64_t{MOUNT_ATTR_RDONLY} : step.x;
  int mount = error ? error : kernel::fsmount(fs, attributes);
  ::close(fs);
  return mount;
}
}  // namespace

namespace {
// What is mounted over the root is what the container sees, and what comes after it is made in there.
int become_root(Child& child, int mount) {
  for (int* covered : {&child.root, &child.proc, &child.pts}) {
    if (*covered >= 0) ::close(*covered);
    *covered = -1;
  }
  child.root = mount;
  return 0;
}
}  // namespace

int child_mount(Child& child, const Step& step) {
  // procfs and sysfs over a symlink would put the real one elsewhere and leave masks and labels
  // applied to a decoy (CVE-2019-19921, CVE-2023-27561).
  bool proc = step.a == "proc";
  bool strict = proc || step.a == "sysfs";
  unsigned mode = 0;
  if (step.z & kInheritMode) {
    struct stat info;
    int before = open_in_root(child, step.b.c_str(), O_PATH | O_DIRECTORY);
    if (before >= 0 && ::fstatat(before, "", &info, AT_EMPTY_PATH) == 0) mode = info.st_mode & 07777;
    if (before >= 0) ::close(before);
  }
  int target = strict ? open_in_root(child, step.b.c_str(), O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS)
                      : make_in_root(child, step.b.c_str(), Make::kDirectory);
  if (strict && target == -ENOENT) target = make_in_root(child, step.b.c_str(), Make::kDirectory);
  if (target < 0) return target;
  int mount = make_file_system(step, mode);
  if (mount < 0) {
    ::close(target);
    return mount;
  }
  int error = step.w ? set_attributes(mount, 0, 0, step.w, false) : 0;
  if (!error && step.z & kCopyUp) error = child_copy_up(target, mount);
  if (!error && step.z & kCopyUp && step.x & MOUNT_ATTR_RDONLY)
    error = set_attributes(mount, MOUNT_ATTR_RDONLY, 0, 0, false);
  if (!error) error = attach(mount, target);
  ::close(target);
  if (error) {
    ::close(mount);
    return error;
  }
  if (step.b == "/") return become_root(child, mount);
  if (proc && child.proc < 0 && step.b == "/proc") {
    struct stat info;
    if (::fstatat(mount, "", &info, AT_EMPTY_PATH) != 0) return -errno;
    child.proc = mount;
    child.proc_device = info.st_dev;
  } else if (step.a == "devpts" && child.pts < 0 && step.b == "/dev/pts") child.pts = mount;
  else ::close(mount);
  return 0;
}

int child_remount(Child& child, const Step& step) {
  int target = open_in_root(child, step.b.c_str(), O_PATH);
  if (target < 0) return target;
  int error = set_attributes(target, step.x, step.y, step.w, step.z & kBindRecursiveAttributes);
  ::close(target);
  return error;
}

namespace {
int open_bind_source(Child& child, const Step& step) {
  unsigned flags = bind_source_flags(step.z);
  if (step.z & kSourceFromParent) return child.sources[child.sources_used++];
  if (!(step.z & kSourceInRoot)) return kernel::open_tree(AT_FDCWD, step.a.c_str(), flags);
  int source =
      open_in_root(child, step.a.c_str(), flags & AT_SYMLINK_NOFOLLOW ? O_PATH | O_NOFOLLOW : O_PATH);
  if (source < 0) return source;
  int tree = kernel::open_tree(source, "", flags | AT_EMPTY_PATH);
  ::close(source);
  return tree;
}
}  // namespace

namespace {
// The link that `tree` is, made anew at `path`; one that says the same is there already.
int copy_symlink(const Child& child, int tree, const char* path) {
  char wanted[PATH_MAX], found[PATH_MAX];
  ssize_t size = ::readlinkat(tree, "", wanted, sizeof wanted - 1);
  if (size < 0) return -errno;
  wanted[size] = 0;
  const char* name;
  int parent = parent_in_root(child, path, &name);
  if (parent < 0) return parent;
  int error = ::symlinkat(wanted, parent, name) == 0 ? 0 : -errno;
  if (error == -EEXIST) {
    ssize_t there = ::readlinkat(parent, name, found, sizeof found);
    if (there == size && std::memcmp(wanted, found, static_cast<size_t>(size)) == 0) error = 0;
  }
  ::close(parent);
  return error;
}
// What is to be there already, a link as well. Links of the kernel's own file systems are never covered:
// what we write to by name would go elsewhere.
int open_link_target(const Child& child, const char* path) {
  int fd = open_in_root(child, path, O_PATH | O_NOFOLLOW);
  if (fd < 0) return fd;
  struct statfs info;
  int error = ::fstatfs(fd, &info) == 0 ? 0 : -errno;
  if (!error &&
      (info.f_type == PROC_SUPER_MAGIC || info.f_type == SYSFS_MAGIC || info.f_type == DEVPTS_SUPER_MAGIC))
    error = -EPERM;
  if (!error) return fd;
  ::close(fd);
  return error;
}
}  // namespace

int child_bind(Child& child, const Step& step) {
  int tree = open_bind_source(child, step);
  if (tree < 0) return tree;
  struct stat info;
  int error = ::fstatat(tree, "", &info, AT_EMPTY_PATH) == 0 ? 0 : -errno;
  int target = error;
  if (!error) {
    if (step.z & kCopyLink && S_ISLNK(info.st_mode)) {
      error = copy_symlink(child, tree, step.b.c_str());
      ::close(tree);
      return error;
    }
    target = step.z & kTargetNoFollow ? open_link_target(child, step.b.c_str())
                                      : make_in_root(child, step.b.c_str(),
                                                     S_ISDIR(info.st_mode) ? Make::kDirectory : Make::kFile);
    if (target < 0) error = target;
  }
  if (!error) error = set_attributes(tree, step.x, step.y, step.w, step.z & kBindRecursiveAttributes);
  if (!error) error = attach(tree, target);
  if (target >= 0) ::close(target);
  if (!error && step.b == "/") return become_root(child, tree);
  ::close(tree);
  return error;
}

namespace {
int bind_hierarchy(int base, const char* source, const char* directory) {
  if (::mkdirat(base, directory, 0755) != 0) return -errno;
  int tree = kernel::open_tree(AT_FDCWD, source, OPEN_TREE_CLONE);
  if (tree < 0) return tree;
  // The last component is not followed if it is a link (no MOVE_MOUNT_T_SYMLINKS).
  int error = kernel::move_mount(tree, "", base, directory, MOVE_MOUNT_F_EMPTY_PATH);
  ::close(tree);
  return error;
}
}  // namespace

// A tmpfs at the target with one directory per hierarchy, and the hierarchies in them.
int child_cgroup_bind(Child& child, const Step& step) {
  int target = make_in_root(child, step.b.c_str(), Make::kDirectory);
  if (target < 0) return target;
  int fs = kernel::fsopen("tmpfs");
  int error = fs < 0 ? fs : kernel::fsconfig_string(fs, "mode", "755");
  if (!error) error = kernel::fsconfig_create(fs);
  int base = error ? error : kernel::fsmount(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  if (fs >= 0) ::close(fs);
  error = base < 0 ? base : attach(base, target);
  ::close(target);
  for (const std::string& entry : step.list) {
    if (error) break;
    const char* source = std::strchr(entry.c_str(), '=') + 1;
    char directory[NAME_MAX + 1];
    size_t length = static_cast<size_t>(source - 1 - entry.c_str());
    if (length >= sizeof directory) return -ENAMETOOLONG;
    std::memcpy(directory, entry.c_str(), length);
    directory[length] = 0;
    error = bind_hierarchy(base, source, directory);
  }
  // All in one call; the tmpfs itself is never writable.
  uint64_t attributes = step.x | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (!error) error = set_attributes(base, attributes, 0, 0, true);
  if (!error && !(attributes & MOUNT_ATTR_RDONLY))
    error = set_attributes(base, MOUNT_ATTR_RDONLY, 0, 0, false);
  if (base >= 0) ::close(base);
  return error;
}

int child_pivot(Child& child, const Step& step) {
  if (::fchdir(child.root) != 0) return -errno;
  if (step.z) {
    // The host's root stays below ours. While a procfs or sysfs without masks is in the mount
    // namespace, the kernel lets user namespaces mount another (mount_too_revealing).
    if (!step.y) {
      if (step.x && ::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0) return -errno;
      for (const std::string& path : step.list)
        if (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != EPERM &&
            errno != ENOENT)
          return -errno;
      // Onto "/", or no user namespace could be made inside (user_namespaces(7), chroot). It may be
      // there already.
      if (::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 && errno != EINVAL && errno != ELOOP)
        return -errno;
    }
    return ::syscall(SYS_chroot, ".") == 0 && ::chdir("/") == 0 ? 0 : -errno;
  }
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return -errno;
  // The old root now lies over the new one at "."; without this the unmount would travel to the
  // host through shared mounts.
  if (step.x && ::mount(nullptr, ".", nullptr, MS_SLAVE | MS_REC, nullptr) != 0) return -errno;
  if (::umount2(".", MNT_DETACH) != 0) return -errno;
  return ::chdir("/") == 0 ? 0 : -errno;
}

}  // namespace runtime
