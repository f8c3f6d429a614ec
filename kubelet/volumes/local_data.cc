#include "kubelet/volumes/local_data.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

#include "base/process.h"
#include "base/sys.h"

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

base::Status make_image(const std::string& path, int64_t size_bytes) {
  {
    auto fd = TRY(sys::open(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
    if (::ftruncate(fd.get(), size_bytes) != 0) return sys::last_error("ftruncate", path);
  }
  auto made = TRY_WRAP(base::run_command({"mkfs.ext4", "-q", "-F", "-m", "0", "-E",
                                          "lazy_itable_init=1,root_owner=0:0", path}),
                       "make file system", path);
  if (made.status.code != 0)
    return base::make_error(base::Kind::kInvalid, "mkfs.ext4", path, made.err.empty() ? made.out : made.err);
  auto fd = TRY(sys::open(path, O_RDONLY));
  if (::fsync(fd.get()) != 0) return sys::last_error("fsync", path);
  return {};
}

// The device that has this file already: it may be mounted where we don't see it (in the Pods' mount
// namespaces, after a restart), and two devices of one file would destroy the file system.
base::Result<std::string> device_of(int image) {
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
    if (info.lo_inode == file.st_ino && info.lo_device == file.st_dev) return "/dev/" + name;
  }
  return std::string();
}
base::Status mount_device(const std::string& device, const std::string& target) {
  if (::mount(device.c_str(), target.c_str(), "ext4", MS_NODEV | MS_NOSUID | MS_NOATIME, "") != 0)
    return sys::last_error("mount " + device, target);
  return {};
}

// The device goes with its last mount (autoclear): nothing of it is ours to remember.
base::Status mount_image(const std::string& image, const std::string& target) {
  auto control = TRY(sys::open("/dev/loop-control", O_RDWR));
  auto file = TRY(sys::open(image, O_RDWR));
  if (const std::string device = TRY(device_of(file.get())); !device.empty())
    return mount_device(device, target);
  for (int attempt = 0; attempt < 16; ++attempt) {  // somebody may take the free one first
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return sys::last_error("find a free loop device", image);
    const std::string device = "/dev/loop" + std::to_string(number);
    auto loop = TRY(sys::open(device, O_RDWR));
    struct loop_config config {};
    config.fd = static_cast<uint32_t>(file.get());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) != 0) {
      if (errno == EBUSY) continue;
      return sys::last_error("set up loop device", device);
    }
    return mount_device(device, target);
  }
  return base::make_error(base::Kind::kUnavailable, "find a free loop device", image,
                          "each was taken by somebody else");
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

base::Result<LocalData> open_local_data(const std::string& directory, const std::string& name,
                                        int64_t size_bytes, const HostStorage& host) {
  std::lock_guard lock(one_at_a_time());
  const std::string place = directory + "/" + name, data = place + "/data", image = place + "/image";
  LocalData out{data, Backing::kDirectory, false};
  if (!sys::exists(place)) {
    TRY(sys::mkdir_all(directory, 0711));
    const std::string fresh = place + kNew;
    TRY(sys::remove_all(fresh));
    TRY(sys::mkdir_all(fresh + "/data", 0755));
    if (choose_backing(host) == Backing::kImage) TRY(make_image(fresh + "/image", size_bytes));
    else if (::chmod((fresh + "/data").c_str(), 0777) != 0) return sys::last_error("chmod", fresh);
    TRY(move(fresh, place));
    out.is_new = true;
  }
  if (!sys::exists(image)) return out;
  out.backing = Backing::kImage;
  if (TRY(has_mount(data))) return out;
  TRY(mount_image(image, data));
  // Of an image that was never mounted before: as an emptyDir, anybody's, without what mkfs puts there.
  if (struct stat at{}; ::stat(data.c_str(), &at) == 0 && (at.st_mode & 07777) == 0755 && at.st_uid == 0) {
    auto entries = TRY(sys::list_dir(data));
    if (entries.size() == 1 && entries[0] == "lost+found") {
      if (::rmdir((data + "/lost+found").c_str()) != 0) return sys::last_error("rmdir", data);
      if (::chmod(data.c_str(), 0777) != 0) return sys::last_error("chmod", data);
    }
  }
  return out;
}

base::Status remove_local_data(const std::string& directory, const std::string& name) {
  std::lock_guard lock(one_at_a_time());
  const std::string place = directory + "/" + name, doomed = place + kDeleted;
  if (sys::exists(place)) TRY(move(place, doomed));
  if (!sys::exists(doomed)) return {};
  TRY(unmount(doomed + "/data"));
  return sys::remove_all(doomed);
}

base::Status remove_unfinished_data(const std::string& directory) {
  if (!sys::exists(directory)) return {};
  for (const std::string& name : TRY(sys::list_dir(directory))) {
    if (!name.ends_with(kNew) && !name.ends_with(kDeleted)) continue;
    TRY(unmount(directory + "/" + name + "/data"));
    TRY(sys::remove_all(directory + "/" + name));
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
