#include "kubelet/volumes/local_data.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <mutex>

#include "base/process.h"
#include "base/sys.h"
#include "kubelet/node/layout.h"

namespace kubelet {

namespace sys = base::sys;

namespace {

constexpr const char* kNew = ".new";
constexpr const char* kDeleted = ".deleted";

// Two Pods of a claim may start at once, on two threads.
std::mutex& one_at_a_time() {
  static std::mutex mutex;
  return mutex;
}

base::Status sync_directory(const std::string& path) {
  auto fd = TRY(sys::open(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return sys::last_error("fsync", path);
  return {};
}
base::Status move(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return sys::last_error("rename", from);
  return sync_directory(to.substr(0, to.rfind('/')));
}

base::Result<bool> has_mount(const std::string& path) {
  struct stat at {
  }, parent{};
  if (::lstat(path.c_str(), &at) != 0 || ::lstat((path + "/..").c_str(), &parent) != 0) {
    if (errno == ENOENT) return false;
    return sys::last_error("stat", path);
  }
  return at.st_dev != parent.st_dev;
}
base::Status unmount(const std::string& path) {
  for (int i = 0; i < 4 && TRY(has_mount(path)); ++i)
    if (::umount2(path.c_str(), UMOUNT_NOFOLLOW) != 0) return sys::last_error("umount", path);
  return {};
}

base::Status make_sparse(const std::string& path, int64_t size_bytes) {
  auto fd = TRY(sys::open(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
  if (::ftruncate(fd.get(), size_bytes) != 0) return sys::last_error("ftruncate", path);
  if (::fsync(fd.get()) != 0) return sys::last_error("fsync", path);
  return {};
}
base::Status make_image(const std::string& path, int64_t size_bytes) {
  TRY(make_sparse(path, size_bytes));
  auto made = TRY_WRAP(base::run_command({"mkfs.ext4", "-q", "-F", "-m", "0", "-E",
                                          "lazy_itable_init=1,root_owner=0:0", path}),
                       "make file system", path);
  if (made.status.code != 0)
    return base::make_error(base::Kind::kInvalid, "mkfs.ext4", path, made.err.empty() ? made.out : made.err);
  auto fd = TRY(sys::open(path, O_RDONLY));
  if (::fsync(fd.get()) != 0) return sys::last_error("fsync", path);
  return {};
}

struct LoopDevice {
  base::UniqueFd fd;  // while it is open the device keeps its file
  std::string path;   // empty: there is none
};
// The device that has this file already: it may be mounted where we don't see it (in the Pods' mount
// namespaces, after a restart), and two devices of one file would destroy the file system.
base::Result<LoopDevice> device_of(int image) {
  struct stat file {};
  if (::fstat(image, &file) != 0) return sys::last_error("stat", "image");
  for (const std::string& name : TRY(sys::list_dir("/sys/block"))) {
    if (!name.starts_with("loop") || !sys::exists("/sys/block/" + name + "/loop/backing_file")) continue;
    auto loop = TRY(sys::open("/dev/" + name, O_RDONLY));
    struct loop_info64 info {};
    if (::ioctl(loop.get(), LOOP_GET_STATUS64, &info) != 0) {
      if (errno == ENXIO) continue;  // let go meanwhile
      return sys::last_error("read loop device", name);
    }
    if (info.lo_inode == file.st_ino && info.lo_device == file.st_dev)
      return LoopDevice{std::move(loop), "/dev/" + name};
  }
  return LoopDevice();
}

// `flags` LO_FLAGS_AUTOCLEAR: it goes with its last user, and nothing of it is ours to remember.
base::Result<LoopDevice> attach_image(const std::string& image, uint32_t flags) {
  auto control = TRY(sys::open("/dev/loop-control", O_RDWR));
  auto file = TRY(sys::open(image, O_RDWR));
  if (LoopDevice found = TRY(device_of(file.get())); found.fd.valid()) return found;
  for (int attempt = 0; attempt < 16; ++attempt) {  // somebody may take the free one first
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return sys::last_error("find a free loop device", image);
    const std::string device = "/dev/loop" + std::to_string(number);
    auto loop = TRY(sys::open(device, O_RDWR));
    struct loop_config config {};
    config.fd = static_cast<uint32_t>(file.get());
    config.info.lo_flags = flags;
    if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) != 0) {
      if (errno == EBUSY) continue;
      return sys::last_error("set up loop device", device);
    }
    return LoopDevice{std::move(loop), device};
  }
  return base::make_error(base::Kind::kUnavailable, "find a free loop device", image,
                          "each was taken by somebody else");
}
// One that its last user would take along stays from now on, or the other way round.
base::Status set_autoclear(const LoopDevice& device, bool on) {
  struct loop_info64 info {};
  if (::ioctl(device.fd.get(), LOOP_GET_STATUS64, &info) != 0)
    return sys::last_error("read loop device", device.path);
  const uint32_t flags = on ? info.lo_flags | LO_FLAGS_AUTOCLEAR : info.lo_flags & ~LO_FLAGS_AUTOCLEAR;
  if (flags == info.lo_flags) return {};
  info.lo_flags = flags;
  if (::ioctl(device.fd.get(), LOOP_SET_STATUS64, &info) != 0)
    return sys::last_error("set up loop device", device.path);
  return {};
}
// When the last user closes it, which is at once when there is none.
base::Status detach_image(const std::string& image) {
  auto file = TRY(sys::open(image, O_RDONLY));
  const LoopDevice device = TRY(device_of(file.get()));
  return device.fd.valid() ? set_autoclear(device, true) : base::Status();
}
base::Status mount_image(const std::string& image, const std::string& target) {
  const LoopDevice device = TRY(attach_image(image, LO_FLAGS_AUTOCLEAR));
  if (::mount(device.path.c_str(), target.c_str(), "ext4", MS_NODEV | MS_NOSUID | MS_NOATIME, "") != 0)
    return sys::last_error("mount " + device.path, target);
  return {};
}

// As an emptyDir: anybody's, without what mkfs puts there. Before it has its name, so that a crash leaves
// nothing half done.
base::Status finish_file_system(const std::string& data) {
  if (::rmdir((data + "/lost+found").c_str()) != 0 && errno != ENOENT) return sys::last_error("rmdir", data);
  if (::chmod(data.c_str(), 0777) != 0) return sys::last_error("chmod", data);
  auto fd = TRY(sys::open(data, O_RDONLY | O_DIRECTORY));
  if (::syncfs(fd.get()) != 0) return sys::last_error("syncfs", data);
  return {};
}

// In use, which needs CAP_SYS_RESOURCE: kDenied without it.
base::Status grow_mounted(const std::string& data, int64_t size_bytes) {
  auto root = TRY(sys::open(data, O_RDONLY | O_DIRECTORY));
  struct statfs fs {};
  if (::fstatfs(root.get(), &fs) != 0) return sys::last_error("statfs", data);
  if (fs.f_type != EXT4_SUPER_MAGIC || fs.f_bsize <= 0)
    return base::make_error(base::Kind::kInvalid, "grow volume", data, "it is not mounted");
  constexpr unsigned long kResizeFs = _IOW('f', 16, uint64_t);  // EXT4_IOC_RESIZE_FS
  uint64_t blocks = static_cast<uint64_t>(size_bytes) / static_cast<uint64_t>(fs.f_bsize);
  if (::ioctl(root.get(), kResizeFs, &blocks) != 0) return sys::last_error("resize file system", data);
  if (::syncfs(root.get()) != 0) return sys::last_error("syncfs", data);
  return {};
}
base::Status grow_unmounted(const std::string& image) {
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"e2fsck", "-f", "-p", image}, {"resize2fs", image}}) {
    auto ran = TRY_WRAP(base::run_command(command), "grow file system", image);
    if (ran.status.code > (command[0] == "e2fsck" ? 1 : 0))  // 1: repaired
      return base::make_error(base::Kind::kInvalid, command[0], image, ran.err.empty() ? ran.out : ran.err);
  }
  return {};
}

// PLACE/resizing is there from before the first byte until all is done: whoever mounts it next goes on with
// it.
bool is_resizing(const std::string& place) { return sys::exists(place + "/resizing"); }

base::Status grow_place(const LocalVolume& volume, int64_t size_bytes) {
  const std::string place = volume.directory + "/" + volume.name;
  const std::string image = place + "/image", data = place + "/data";
  auto file = TRY(sys::open(image, O_RDWR));
  struct stat at {};
  if (::fstat(file.get(), &at) != 0) return sys::last_error("stat", image);
  if (at.st_size >= size_bytes && !is_resizing(place)) return {};
  TRY(sys::write_file_atomic(place + "/resizing", std::to_string(size_bytes)));
  if (at.st_size < size_bytes) {
    if (::ftruncate(file.get(), size_bytes) != 0) return sys::last_error("ftruncate", image);
    if (::fsync(file.get()) != 0) return sys::last_error("fsync", image);
  }
  const int64_t size = std::max<int64_t>(size_bytes, at.st_size);
  auto set_capacity = [&]() -> base::Status {
    const LoopDevice device = TRY(device_of(file.get()));
    if (device.fd.valid() && ::ioctl(device.fd.get(), LOOP_SET_CAPACITY, 0) != 0)
      return sys::last_error("set capacity of loop device", device.path);
    return {};
  };
  TRY(set_capacity());
  if (!volume.is_block) {
    base::Status grown = TRY(has_mount(data))
                             ? grow_mounted(data, size)
                             : base::make_error(base::Kind::kDenied, "grow", data, "unmounted");
    if (!grown.ok() && grown.error().kind != base::Kind::kDenied) return grown;
    if (!grown.ok()) {
      // A Pod with a link is about to bind what is mounted here; one that runs has a mount of its own, of the
      // same device.
      const bool in_use = is_linked(volume.directory, volume.name, volume.user) || !unmount(data).ok() ||
                          TRY(device_of(file.get())).fd.valid();
      if (!in_use) TRY(grow_unmounted(image));
      if (!TRY(has_mount(data))) TRY(mount_image(image, data));
      if (in_use)
        return base::make_error(
            base::Kind::kUnavailable, "grow volume", place,
            "without CAP_SYS_RESOURCE the kubelet can do so only while no Pod uses it: it is tried again");
    }
  }
  return sys::remove_all(place + "/resizing");
}

base::Status remove_place(const std::string& place) {
  TRY(unmount(place + "/data"));
  if (sys::exists(place + "/image")) TRY(detach_image(place + "/image"));
  return sys::remove_all(place);
}

base::Status own_data(const std::string& place, const std::string& uid) {
  if (auto its = sys::read_file(place + "/uid"); its.ok() && *its == uid) return {};
  return sys::write_file_atomic(place + "/uid", uid);
}

base::Status own_entry(int directory, const char* name, uint32_t group, int depth) {
  constexpr int kMaxDepth = 512;
  base::UniqueFd fd(::openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return errno == ENOENT ? base::Status() : sys::last_error("open", name);
  struct stat at {};
  if (::fstat(fd.get(), &at) != 0) return sys::last_error("stat", name);
  if (::fchownat(fd.get(), "", static_cast<uid_t>(-1), group, AT_EMPTY_PATH) != 0)
    return sys::last_error("chown", name);
  if (S_ISLNK(at.st_mode)) return {};
  const mode_t more = S_ISDIR(at.st_mode) ? 02070 : 0060;
  const std::string self = "/proc/self/fd/" + std::to_string(fd.get());
  if (::chmod(self.c_str(), (at.st_mode & 07777) | more) != 0) return sys::last_error("chmod", name);
  if (!S_ISDIR(at.st_mode)) return {};
  if (depth >= kMaxDepth)
    return base::make_error(base::Kind::kInvalid, "give volume to group", name,
                            "directories nest too deeply");
  for (const std::string& entry : TRY(sys::list_dir(self)))
    TRY(own_entry(fd.get(), entry.c_str(), group, depth + 1));
  return {};
}

}  // namespace

bool is_linked(const std::string& directory, const std::string& name, const std::string& except) {
  const Layout layout{directory.substr(0, directory.rfind('/')), ""};
  const std::string inside = directory + "/" + name + "/";
  if (!sys::exists(layout.pods())) return false;
  auto pods = sys::list_dir(layout.pods());
  if (!pods.ok()) return true;
  for (const auto& pod : *pods) {
    if (!sys::exists(layout.volumes(pod))) continue;
    auto volumes = sys::list_dir(layout.volumes(pod));
    if (!volumes.ok()) return true;
    for (const auto& volume : *volumes) {
      char target[PATH_MAX];
      const std::string link = layout.volume(pod, volume);
      const ssize_t size = ::readlink(link.c_str(), target, sizeof target);
      if (size > 0 && link != except &&
          std::string_view(target, static_cast<size_t>(size)).starts_with(inside))
        return true;
    }
  }
  return false;
}

Backing choose_backing(const HostStorage& host) {
  return host.has_loop_devices && host.has_mkfs ? Backing::kImage : Backing::kDirectory;
}
HostStorage probe_storage() {
  HostStorage out;
  if (auto control = sys::open("/dev/loop-control", O_RDWR); control.ok())
    out.has_loop_devices = ::ioctl(control->get(), LOOP_CTL_GET_FREE) >= 0;
  if (auto asked = base::run_command({"mkfs.ext4", "-V"}); asked.ok()) out.has_mkfs = asked->status.code == 0;
  return out;
}

namespace {
base::Result<LocalData> open_locked(const LocalVolume& volume, const HostStorage& host) {
  const std::string place = volume.directory + "/" + volume.name, data = place + "/data",
                    image = place + "/image";
  LocalData out{volume.is_block ? image : data, Backing::kDirectory, false};
  if (!sys::exists(place)) {
    if (volume.is_block && !host.has_loop_devices)
      return base::make_error(base::Kind::kUnavailable, "make block volume", volume.name,
                              "this node has no loop devices");
    TRY(sys::mkdir_all(volume.directory, 0711));
    const std::string fresh = place + kNew;
    TRY(unmount(fresh + "/data"));
    TRY(sys::remove_all(fresh));
    TRY(sys::mkdir_all(volume.is_block ? fresh : fresh + "/data", 0755));
    TRY(own_data(fresh, volume.uid));
    if (volume.is_block) {
      TRY(make_sparse(fresh + "/image", volume.size_bytes));
    } else if (choose_backing(host) == Backing::kImage) {
      TRY(make_image(fresh + "/image", volume.size_bytes));
      TRY(mount_image(fresh + "/image", fresh + "/data"));
      TRY(finish_file_system(fresh + "/data"));
    } else if (::chmod((fresh + "/data").c_str(), 0777) != 0) {
      return sys::last_error("chmod", fresh);
    }
    TRY(move(fresh, place));
    out.is_new = true;
  }
  TRY(own_data(place, volume.uid));
  if (!sys::exists(image)) return out;
  out.backing = Backing::kImage;
  if (volume.is_block) return out;
  if (is_resizing(place))
    base::ignore(grow_place(volume, 0), "it is as large as before, and grow_local_data() says why");
  if (!TRY(has_mount(data))) TRY(mount_image(image, data));
  return out;
}
}  // namespace

base::Result<LocalData> open_local_data(const LocalVolume& volume, const HostStorage& host) {
  std::lock_guard lock(one_at_a_time());
  return open_locked(volume, host);
}

base::Status grow_local_data(const LocalVolume& volume, const HostStorage& host) {
  std::lock_guard lock(one_at_a_time());
  // What was never mounted is made: else a Pod that starts now would make it as large as it was to be before.
  const LocalData data = TRY(open_locked(volume, host));
  if (data.backing == Backing::kDirectory) return {};
  return grow_place(volume, volume.size_bytes);
}

base::Result<std::string> block_device(const std::string& image) {
  std::lock_guard lock(one_at_a_time());
  const LoopDevice device = TRY(attach_image(image, 0));
  TRY(set_autoclear(device, false));
  return device.path;
}
base::Status release_block_device(const std::string& image, const std::function<bool()>& is_used) {
  std::lock_guard lock(one_at_a_time());
  if (is_used() || !sys::exists(image)) return {};
  return detach_image(image);
}

base::Status remove_local_data(const std::string& directory, const std::string& name,
                               const std::string& uid) {
  std::lock_guard lock(one_at_a_time());
  const std::string place = directory + "/" + name, doomed = place + kDeleted;
  if (auto its = sys::read_file(place + "/uid"); sys::exists(place) && (!its.ok() || *its == uid))
    TRY(move(place, doomed));
  // What a first mount that failed left half made.
  if (sys::exists(place + kNew)) TRY(remove_place(place + kNew));
  if (!sys::exists(doomed)) return {};
  TRY(remove_place(doomed));
  return {};
}

base::Status remove_unfinished_data(const std::string& directory) {
  std::lock_guard lock(one_at_a_time());
  if (!sys::exists(directory)) return {};
  for (const std::string& name : TRY(sys::list_dir(directory))) {
    if (!name.ends_with(kNew) && !name.ends_with(kDeleted)) continue;
    TRY(remove_place(directory + "/" + name));
  }
  return {};
}

base::Status give_to_group(const std::string& path, uint32_t group, bool on_mismatch) {
  struct stat at {};
  if (::stat(path.c_str(), &at) != 0) return sys::last_error("stat", path);
  if (on_mismatch && at.st_gid == group && (at.st_mode & 02070) == 02070) return {};
  // Without the last link: what is given away is the directory itself.
  auto fd = TRY(sys::open(path, O_PATH | O_DIRECTORY));
  for (const std::string& entry : TRY(sys::list_dir(path))) TRY(own_entry(fd.get(), entry.c_str(), group, 0));
  if (::chown(path.c_str(), static_cast<uid_t>(-1), group) != 0) return sys::last_error("chown", path);
  if (::chmod(path.c_str(), (at.st_mode & 07777) | 02070) != 0) return sys::last_error("chmod", path);
  return {};
}

}  // namespace kubelet
