#include "runtime/launch/masks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/launch/kernel.h"
#include "runtime/launch/mounts.h"

namespace runtime {
namespace {

// Opens `path`, which must be a plain path: an image that makes /proc/kcore's parent a link gets
// nothing masked elsewhere. Absent paths are -ENOENT.
int open_verified(Child& child, const char* path, struct stat* info) {
  int fd = open_in_root(child, path, O_PATH | O_NOFOLLOW);
  if (fd < 0) return fd;
  if (::fstatat(fd, "", info, AT_EMPTY_PATH) != 0) {
    int error = -errno;
    ::close(fd);
    return error;
  }
  if (child.proc >= 0 && std::strncmp(path, "/proc/", 6) == 0) {
    if (child.proc_device != info->st_dev) {
      // Something is mounted over it already; a path that is masked twice is on our own trees.
      struct stat mask;
      for (int tree : {child.null_tree, child.empty_tree})
        if (tree >= 0 && ::fstatat(tree, "", &mask, AT_EMPTY_PATH) == 0 && mask.st_dev == info->st_dev &&
            mask.st_ino == info->st_ino)
          return fd;
      ::close(fd);
      return -EXDEV;
    }
  }
  return fd;
}

int null_mount(Child& child) {
  // The host's own node, looked at before use: one that an image brought is never laid over a path.
  if (child.null_tree >= 0) return kernel::open_tree(child.null_tree, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
  int tree = kernel::open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE);
  if (tree < 0) return tree;
  struct stat info;
  int error = -ENODEV;
  if (::fstatat(tree, "", &info, AT_EMPTY_PATH) == 0 && S_ISCHR(info.st_mode) &&
      info.st_rdev == makedev(1, 3))
    // Read-only: a chmod of the masked path would else reach the host's node.
    error = set_attributes(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0, 0, false);
  if (!error) return tree;
  ::close(tree);
  return error;
}

int empty_mount(Child& child) {
  if (child.empty_tree >= 0) return kernel::open_tree(child.empty_tree, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
  int fs = kernel::fsopen("tmpfs");
  if (fs < 0) return fs;
  int error = kernel::fsconfig_string(fs, "size", "0");
  if (!error) error = kernel::fsconfig_string(fs, "nr_inodes", "1");
  if (!error) error = kernel::fsconfig_create(fs);
  int mount = error ? error
                    : kernel::fsmount(
                          fs, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  ::close(fs);
  return mount;
}

}  // namespace

int child_mask(Child& child, const Step& step) {
  struct stat info;
  int target = open_verified(child, step.b.c_str(), &info);
  if (target == -ENOENT || target == -ENOTDIR) return 0;  // nothing there to hide
  if (target < 0) return target;
  bool directory = S_ISDIR(info.st_mode);
  int mount = directory ? empty_mount(child) : null_mount(child);
  int error = mount < 0 ? mount : attach(mount, target);
  ::close(target);
  if (error) return error;
  // Kept: once attached it can be cloned for the next path (detached ones can't before 6.15).
  int& kept = directory ? child.empty_tree : child.null_tree;
  if (kept < 0) kept = mount;
  else ::close(mount);
  return 0;
}

int child_readonly_path(Child& child, const Step& step) {
  if (step.b == "/") return set_attributes(child.root, MOUNT_ATTR_RDONLY, 0, 0, true);
  struct stat info;
  int target = open_verified(child, step.b.c_str(), &info);
  if (target == -ENOENT || target == -ENOTDIR) return 0;
  if (target < 0) return target;
  int tree = kernel::open_tree(target, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
  int error = tree < 0 ? tree : set_attributes(tree, MOUNT_ATTR_RDONLY, 0, 0, true);
  if (!error) error = attach(tree, target);
  if (tree >= 0) ::close(tree);
  ::close(target);
  return error;
}

}  // namespace runtime
