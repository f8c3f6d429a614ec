#include "runtime/launch/devices.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "runtime/launch/kernel.h"
#include "runtime/launch/mounts.h"

namespace runtime {
namespace {
constexpr const char* kLinks[][2] = {{"/proc/self/fd", "/dev/fd"},
                                     {"/proc/self/fd/0", "/dev/stdin"},
                                     {"/proc/self/fd/1", "/dev/stdout"},
                                     {"/proc/self/fd/2", "/dev/stderr"},
                                     {"/proc/kcore", "/dev/core"}};
}  // namespace

void plan_devices(const Config& config, std::vector<Step>& steps) {
  bool own_pts = false;
  for (const Mount& mount : config.mounts) {
    // A host's /dev that is bound in stays as it is.
    if (clean_path(mount.destination) == "/dev" && mount.type != "tmpfs") return;
    own_pts |= clean_path(mount.destination) == "/dev/pts" && mount.type == "devpts";
  }
  auto given = [&](const char* path) {
    for (const DeviceNode& node : config.devices)
      if (clean_path(node.path) == path) return true;
    return false;
  };
  for (const StandardDevice& node : kStandardDevices)
    if (!given(node.path))
      steps.push_back(
          {.op = Op::kNode, .b = node.path, .x = S_IFCHR | 0666, .y = makedev(node.major, node.minor)});
  for (const DeviceNode& node : config.devices) {
    mode_t type = node.type == 'b' ? S_IFBLK : node.type == 'p' ? S_IFIFO : S_IFCHR;
    steps.push_back({.op = Op::kNode,
                     .b = clean_path(node.path),
                     .x = type | (node.mode & 07777),
                     .y = makedev(static_cast<unsigned>(node.major), static_cast<unsigned>(node.minor)),
                     .z = uint64_t{node.uid} << 32 | node.gid});
  }
  for (const auto& link : kLinks) steps.push_back({.op = Op::kSymlink, .a = link[0], .b = link[1]});
  if (own_pts) steps.push_back({.op = Op::kSymlink, .a = "pts/ptmx", .b = "/dev/ptmx"});
}

int child_node(Child& child, const Step& step) {
  const char* name;
  int parent = kept_parent_in_root(child, step.b.c_str(), &name);
  if (parent < 0) return parent;
  auto mode = static_cast<mode_t>(step.x);
  int error = 0;
  if (::mknodat(parent, name, mode, step.y) != 0) error = -errno;
  if (error == -EPERM) {
    // In a user namespace nodes can't be made: bind the host's in, good for nothing but reading and writing.
    int tree = kernel::open_tree(AT_FDCWD, step.b.c_str(), OPEN_TREE_CLONE);
    if (tree >= 0) {
      struct stat info;
      int target = ::fstatat(tree, "", &info, AT_EMPTY_PATH) == 0 && info.st_rdev == step.y
                       ? make_in_root(child, step.b.c_str(), Make::kFile)
                       : -EPERM;
      error = target < 0 ? target
                         : set_attributes(tree, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0, MS_PRIVATE, false);
      if (!error) error = attach(tree, target);
      if (target >= 0) ::close(target);
      ::close(tree);
    }
    return error;
  }
  if (error == -EEXIST) {
    // The image brought something by that name; it must be the very node.
    struct stat info;
    bool same = ::fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                (info.st_mode & S_IFMT) == (mode & S_IFMT) && info.st_rdev == step.y;
    if (!same)
      error = ::unlinkat(parent, name, 0) == 0 && ::mknodat(parent, name, mode, step.y) == 0 ? 0 : -errno;
    else error = 0;
  }
  if (!error && step.z != 0 &&
      ::fchownat(parent, name, static_cast<uid_t>(step.z >> 32), static_cast<gid_t>(step.z),
                 AT_SYMLINK_NOFOLLOW) != 0)
    error = -errno;
  return error;
}

int child_symlink(Child& child, const Step& step) {
  const char* name;
  int parent = kept_parent_in_root(child, step.b.c_str(), &name);
  if (parent < 0) return parent;
  return ::symlinkat(step.a.c_str(), parent, name) == 0 || errno == EEXIST ? 0 : -errno;
}

namespace {
// The slave as a mount, by fd: a path below the container's /dev/pts could have been swapped. A pty
// of the host's devpts was opened in the host's mount namespace, which can't be cloned from here:
// then our copy of that mount, looked at before use.
int slave_mount(const Child& child, int master, int slave) {
  int tree = kernel::open_tree(slave, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
  if (tree != -EINVAL || child.pts >= 0) return tree;
  int number;
  if (::ioctl(master, TIOCGPTN, &number) != 0) return -errno;
  char path[32];
  std::snprintf(path, sizeof path, "/dev/pts/%d", number);
  tree = kernel::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE);
  if (tree < 0) return tree;
  struct stat one, other;
  if (::fstatat(tree, "", &one, AT_EMPTY_PATH) == 0 && ::fstatat(slave, "", &other, AT_EMPTY_PATH) == 0 &&
      one.st_dev == other.st_dev && one.st_ino == other.st_ino && one.st_rdev == other.st_rdev)
    return tree;
  ::close(tree);
  return -ENODEV;
}
// exec: the devpts that the container has at /dev/pts, if it really is one.
int devpts_inside() {
  int pts = kernel::openat2(AT_FDCWD, "/dev/pts", O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
  struct statfs info;
  if (pts < 0 || (::fstatfs(pts, &info) == 0 && info.f_type == DEVPTS_SUPER_MAGIC)) return pts;
  ::close(pts);
  return -ENODEV;
}
}  // namespace

int child_console(Child& child, const Step& step) {
  int master = child.host_ptmx;
  if (step.b.empty()) child.pts = devpts_inside();
  if (child.pts >= 0)
    master = kernel::openat2(child.pts, "ptmx", O_RDWR | O_NOCTTY, 0,
                             RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
  if (master < 0) return child.pts >= 0 ? master : -ENODEV;
  int unlock = 0;
  if (::ioctl(master, TIOCSPTLCK, &unlock) != 0) return -errno;
  int slave = ::ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) return -errno;
  termios settings;
  if (child.plain_newlines && ::ioctl(slave, TCGETS, &settings) == 0) {
    settings.c_oflag &= ~static_cast<tcflag_t>(ONLCR);
    if (::ioctl(slave, TCSETS, &settings) != 0) return -errno;
  }
  if (step.x && step.y) {
    winsize size{static_cast<unsigned short>(step.x), static_cast<unsigned short>(step.y), 0, 0};
    if (::ioctl(master, TIOCSWINSZ, &size) != 0) return -errno;
  }
  if (::fchown(slave, static_cast<uid_t>(step.z), static_cast<gid_t>(-1)) != 0) return -errno;
  if (!step.b.empty()) {
    int target = make_in_root(child, step.b.c_str(), Make::kFile);
    if (target < 0) return target;
    int tree = slave_mount(child, master, slave);
    int error = tree < 0 ? tree : attach(tree, target);
    if (tree >= 0) ::close(tree);
    ::close(target);
    if (error) return error;
  }
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &master, sizeof master);
  if (::sendmsg(child.console_socket, &message, MSG_NOSIGNAL) < 0) return -errno;
  ::close(master);
  child.terminal = slave;
  return 0;
}

}  // namespace runtime
