// Directories, tmpfs and files of a Pod on the host. Must never follow a symlink that a container
// may have put into a volume, and never delete across a mount.
#include "kubelet/volumes/exec.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/clock.h"
#include "base/sys.h"
#include "kubelet/volumes/local_data.h"

namespace kubelet {

namespace sys = base::sys;

namespace {

base::Result<bool> is_mount_point(const std::string& path) {
  struct stat at {
  }, parent{};
  if (::lstat(path.c_str(), &at) != 0) {
    if (errno == ENOENT) return false;
    return sys::last_error("stat", path);
  }
  if (S_ISLNK(at.st_mode)) return false;  // to a claim's volume
  if (::lstat((path + "/..").c_str(), &parent) != 0) return sys::last_error("stat", path);
  return at.st_dev != parent.st_dev;
}

base::Status mount_tmpfs(const std::string& path, const std::string& options) {
  TRY(sys::mkdir_all(path, 0755));
  if (TRY(is_mount_point(path))) return {};
  if (::mount("tmpfs", path.c_str(), "tmpfs", MS_NODEV | MS_NOSUID, options.c_str()) != 0)
    return sys::last_error("mount tmpfs", path, "the kubelet must run as root in the host's mount namespace");
  return {};
}

base::Status own(const std::string& path, uint32_t mode, std::optional<uint32_t> group) {
  if (group && ::lchown(path.c_str(), 0, *group) != 0) return sys::last_error("chown", path);
  if (::chmod(path.c_str(), mode) != 0) return sys::last_error("chmod", path);
  return {};
}

// Not sys::write_file_atomic: what a reboot may lose is written without fsync.
base::Status put_file(const std::string& path, const std::string& data, uint32_t mode,
                      std::optional<uint32_t> group, std::optional<uint32_t> user = {}) {
  auto fd = TRY(sys::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  TRY_WRAP(sys::write_all(fd.get(), data), "write volume file", path);
  if ((group || user) && ::fchown(fd.get(), user.value_or(0), group.value_or(0)) != 0)
    return sys::last_error("chown", path);
  if (::fchmod(fd.get(), group ? mode | 0440 : mode) != 0) return sys::last_error("chmod", path);
  return {};
}

base::Status check_host_path(const std::string& path, const std::string& type) {
  struct stat at {};
  const bool there = ::stat(path.c_str(), &at) == 0;
  auto wrong = [&](const char* what) {
    return base::make_error(base::Kind::kInvalid, "check hostPath", path,
                            std::string("hostPath type check failed: ") + path + " is not " + what);
  };
  if (path.find('\0') != path.npos) return wrong("a path: it has a NUL in it");
  if (type == "DirectoryOrCreate" && !there) return sys::mkdir_all(path, 0755);
  if (type == "FileOrCreate" && !there) {
    TRY_WRAP(sys::open(path, O_WRONLY | O_CREAT, 0644), "create hostPath file", path);
    return {};
  }
  if (type.empty()) {
    // As the container runtimes behind Kubernetes do: a path nobody made becomes a directory.
    return there ? base::Status() : sys::mkdir_all(path, 0755);
  }
  const mode_t mode = there ? at.st_mode : 0;
  if (type.starts_with("Directory")) return S_ISDIR(mode) ? base::Status() : wrong("a directory");
  if (type.starts_with("File")) return S_ISREG(mode) ? base::Status() : wrong("a file");
  if (type == "Socket") return S_ISSOCK(mode) ? base::Status() : wrong("a socket file");
  if (type == "CharDevice") return S_ISCHR(mode) ? base::Status() : wrong("a character device");
  if (type == "BlockDevice") return S_ISBLK(mode) ? base::Status() : wrong("a block device");
  return wrong("of a known type");
}

bool same_files(const std::string& data_dir, const std::vector<VolumeFile>& files) {
  size_t found = 0;
  std::error_code error;
  for (auto it = std::filesystem::recursive_directory_iterator(data_dir, error);
       !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error))
    if (it->is_regular_file(error)) ++found;
  if (error || found != files.size()) return false;
  for (const auto& file : files) {
    auto text = sys::read_file(data_dir + "/" + file.path);
    if (!text.ok() || *text != file.data) return false;
  }
  return true;
}

std::string first_part(const std::string& path) { return path.substr(0, path.find('/')); }

}  // namespace

base::Status write_files(const std::string& directory, const std::vector<VolumeFile>& files,
                         std::optional<uint32_t> fs_group) {
  const std::string link = directory + "/..data";
  std::string old;
  char buffer[256];
  if (ssize_t n = ::readlink(link.c_str(), buffer, sizeof buffer);
      n > 0 && n < static_cast<ssize_t>(sizeof buffer))
    old.assign(buffer, static_cast<size_t>(n));
  if (!old.empty() && same_files(directory + "/" + old, files)) return {};

  std::string name = "..data_" + std::to_string(base::wall_now().time_since_epoch().count());
  const std::string fresh = directory + "/" + name;
  TRY(sys::mkdir_all(fresh, 0755));
  for (const auto& file : files) {
    const std::string path = fresh + "/" + file.path;
    if (size_t slash = file.path.rfind('/'); slash != std::string::npos)
      TRY(sys::mkdir_all(fresh + "/" + file.path.substr(0, slash), 0755));
    TRY(put_file(path, file.data, file.mode, fs_group, file.user));
  }
  const std::string temporary = directory + "/..data_tmp";
  ::unlink(temporary.c_str());
  if (::symlink(name.c_str(), temporary.c_str()) != 0) return sys::last_error("symlink", temporary);
  if (::rename(temporary.c_str(), link.c_str()) != 0) return sys::last_error("rename", link);

  std::vector<std::string> parts;
  for (const auto& file : files) parts.push_back(first_part(file.path));
  for (const auto& part : parts) {
    const std::string path = directory + "/" + part;
    if (::symlink(("..data/" + part).c_str(), path.c_str()) != 0 && errno != EEXIST)
      return sys::last_error("symlink", path);
  }
  for (const auto& entry : TRY(sys::list_dir(directory))) {
    if (entry == "..data" || entry == name) continue;
    // What is no link is a mount point: removed, it would take the mount in the containers along.
    struct stat at {};
    const bool link = ::lstat((directory + "/" + entry).c_str(), &at) == 0 && S_ISLNK(at.st_mode);
    const bool stale =
        entry.starts_with("..") || (link && std::find(parts.begin(), parts.end(), entry) == parts.end());
    if (stale)
      base::ignore(sys::remove_all(directory + "/" + entry), "stale files hurt nobody and go with the Pod");
  }
  return {};
}

base::Status make_volume(const std::string& path, const VolumeContent& v, std::optional<uint32_t> fs_group) {
  switch (v.kind) {
    case VolumeContent::Kind::kHost: return check_host_path(v.host_path, v.host_type);
    case VolumeContent::Kind::kClaimed: return link_claimed(path, v.claimed, fs_group, false);
    case VolumeContent::Kind::kEmpty:
      if (sys::exists(path)) return {};
      TRY(sys::mkdir_all(path, 0777));
      return own(path, fs_group ? 02777 : 0777, fs_group);
    case VolumeContent::Kind::kMemory: {
      if (TRY(is_mount_point(path))) return {};
      std::string options = "mode=1777";
      if (v.size_limit_bytes > 0) options += ",size=" + std::to_string(v.size_limit_bytes);
      TRY(mount_tmpfs(path, options));
      return own(path, fs_group ? 03777 : 01777, fs_group);
    }
    case VolumeContent::Kind::kFiles:
      if (v.in_memory) TRY(mount_tmpfs(path, "mode=0755"));
      else TRY(sys::mkdir_all(path, 0755));
      TRY(write_files(path, v.files, fs_group));
      return own(path, fs_group ? 02755 : 0755, fs_group);
  }
  return {};
}

base::Status link_claimed(const std::string& path, const ClaimedVolume& volume,
                          std::optional<uint32_t> fs_group, bool group_on_mismatch) {
  std::string target = volume.path;
  if (volume.is_local) target += volume.is_block ? "/image" : "/data";
  else if (volume.is_host_path) TRY(check_host_path(target, volume.host_type));
  else if (!sys::exists(target))
    return base::make_error(base::Kind::kNotFound, "mount local volume", target,
                            "path \"" + target + "\" does not exist");
  if (struct stat at{};
      volume.is_block && !volume.is_local && (::stat(target.c_str(), &at) != 0 || !S_ISBLK(at.st_mode)))
    return base::make_error(base::Kind::kInvalid, "map local volume", target, "it is not a block device");
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return sys::last_error("unlink", path);
  if (::symlink(target.c_str(), path.c_str()) != 0) return sys::last_error("symlink", path);
  if (volume.is_local) {
    const size_t slash = volume.path.rfind('/');
    TRY(open_local_data({volume.path.substr(0, slash), volume.path.substr(slash + 1), volume.uid,
                         volume.size_bytes, volume.is_block, path},
                        probe_storage()));
  }
  if (fs_group && volume.takes_group && !volume.is_block)
    TRY(give_to_group(target, *fs_group, group_on_mismatch));
  return {};
}

base::Status make_pod_directory(const Layout& layout, const std::string& uid, const PodDirectory& content) {
  const std::string dir = layout.pod(uid);
  TRY(sys::mkdir_all(layout.pods(), 0755));
  TRY(sys::mkdir_all(dir, 0755));
  // A bind of these files holds their inode: they are written over in place, never replaced.
  auto put = [&](const char* name, const std::string& text) -> base::Status {
    return put_file(dir + "/" + name, text, 0644, std::nullopt);
  };
  TRY(put("hosts", content.hosts));
  TRY(put("resolv.conf", content.resolv_conf));
  TRY(put("hostname", content.hostname + "\n"));
  if (content.shm) TRY(mount_tmpfs(dir + "/shm", "mode=1777,size=65536k"));
  return sys::mkdir_all(layout.volumes(uid), 0755);
}

base::Status make_pod_volume(const Layout& layout, const std::string& uid, const VolumeContent& v,
                             const VolumeGroup& group) {
  const std::string path = layout.volume(uid, v.name),
                    failed = "MountVolume.SetUp failed for volume \"" + v.name + "\"";
  if (v.kind == VolumeContent::Kind::kClaimed)
    TRY_WRAP(link_claimed(path, v.claimed, group.fs_group, group.on_mismatch), failed, "");
  else TRY_WRAP(make_volume(path, v, group.fs_group), failed, "");
  return {};
}

base::Status remove_pod_directory(const Layout& layout, const std::string& uid, bool logs_too) {
  const std::string dir = layout.pod(uid);
  if (!sys::exists(dir)) return {};
  if (sys::exists(layout.volumes(uid)))
    for (const auto& name : TRY(sys::list_dir(layout.volumes(uid)))) {
      const std::string link = layout.volume(uid, name), ours = layout.local_volumes() + "/";
      auto image = link_target(link);
      if (!image.ok() || !image->starts_with(ours) || !image->ends_with("/image")) continue;
      const std::string volume = image->substr(ours.size(), image->rfind('/') - ours.size());
      TRY(release_block_device(*image, [&] { return is_linked(layout.local_volumes(), volume, link); }));
    }
  std::vector<std::string> mounts{dir + "/shm"};
  if (sys::exists(layout.volumes(uid)))
    for (const auto& name : TRY(sys::list_dir(layout.volumes(uid))))
      mounts.push_back(layout.volume(uid, name));
  for (const auto& path : mounts)
    // Twice or more when a crash came between two mounts; bounded by what is mounted.
    for (int i = 0; i < 4; ++i) {
      auto mounted = is_mount_point(path);
      if (!mounted.ok() || !*mounted) break;
      if (::umount2(path.c_str(), UMOUNT_NOFOLLOW) != 0 &&
          ::umount2(path.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH) != 0)
        return sys::last_error("umount", path);
    }
  if (sys::exists(layout.sub_paths(uid)))
    for (const auto& name : TRY(sys::list_dir(layout.sub_paths(uid))))
      unbind_sub_path(layout.sub_paths(uid) + "/" + name);
  if (logs_too) return sys::remove_all(dir);
  TRY(sys::remove_all(layout.volumes(uid)));
  for (const char* name : {"/shm", "/hosts", "/hostname", "/resolv.conf"}) TRY(sys::remove_all(dir + name));
  return {};
}

base::Status make_mount_point(const MountPoint& point) {
  constexpr uint64_t kResolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  struct stat source {};
  if (::stat(point.source.c_str(), &source) != 0) return sys::last_error("stat", point.source);
  // Several slashes or a last one: as the mount's destination may be written.
  std::string path;
  for (size_t at = 0; at < point.relative.size();) {
    const size_t end = std::min(point.relative.find('/', at), point.relative.size());
    if (end > at) path += (path.empty() ? "" : "/") + point.relative.substr(at, end - at);
    at = end + 1;
  }
  if (path.empty()) return {};
  auto root = sys::open(point.volume, O_PATH | O_DIRECTORY);
  if (!root.ok()) return {};  // a subPath that is a file: the runtime says what is wrong with it
  if (sys::openat2(root->get(), path, O_PATH | O_CLOEXEC, 0, kResolve).ok()) return {};
  if (S_ISDIR(source.st_mode)) {
    TRY(open_sub_path(point.volume, path));
    return {};
  }
  const size_t slash = path.rfind('/');
  auto parent = TRY(open_sub_path(point.volume, slash == std::string::npos ? "" : path.substr(0, slash)));
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  base::UniqueFd file(
      ::openat(parent.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!file.valid() && errno != EEXIST) return sys::last_error("make mount point", point.volume + "/" + path);
  return {};
}

base::Result<std::string> device_path(const std::string& path) {
  const std::string target = TRY(link_target(path));
  struct stat at {};
  if (::stat(target.c_str(), &at) != 0) return sys::last_error("stat", target);
  return S_ISREG(at.st_mode) ? block_device(target) : base::Result<std::string>(target);
}

base::Result<std::string> link_target(const std::string& path) {
  char buffer[PATH_MAX];
  const ssize_t size = ::readlink(path.c_str(), buffer, sizeof buffer);
  if (size < 0) return sys::last_error("readlink", path);
  if (size == static_cast<ssize_t>(sizeof buffer))
    return base::make_error(base::Kind::kInvalid, "readlink", path, "its target is too long");
  return std::string(buffer, static_cast<size_t>(size));
}

base::Status bind_sub_path(int fd, const std::string& target) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return sys::last_error("stat", target);
  if (S_ISDIR(st.st_mode)) TRY(sys::mkdir_all(target, 0700));
  else TRY_WRAP(sys::open(target, O_WRONLY | O_CREAT, 0600), "make subPath mount point", target);
  base::UniqueFd tree(static_cast<int>(
      ::syscall(SYS_open_tree, fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE)));
  if (!tree.valid()) return sys::last_error("open_tree", target);
  if (::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return sys::last_error("move_mount", target);
  return {};
}

void unbind_sub_path(const std::string& target) {
  ::umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  if (::rmdir(target.c_str()) != 0) ::unlink(target.c_str());
}

base::Result<base::UniqueFd> open_sub_path(const std::string& volume, const std::string& sub_path) {
  constexpr uint64_t kResolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  auto root = TRY(sys::open(volume, O_PATH | O_DIRECTORY));
  if (sub_path.empty()) return root;
  auto found = sys::openat2(root.get(), sub_path, O_PATH | O_CLOEXEC, 0, kResolve);
  if (found.ok() || found.error().kind != base::Kind::kNotFound) {
    if (!found.ok()) return base::wrap(std::move(found).error(), "resolve subPath " + sub_path, volume);
    return found;
  }
  // Made part by part, each beneath the last one found.
  std::string done;
  size_t at = 0;
  base::UniqueFd last = TRY(sys::open(volume, O_PATH | O_DIRECTORY));
  struct stat owner {};
  if (::fstat(root.get(), &owner) != 0) return sys::last_error("stat", volume);
  while (at < sub_path.size()) {
    size_t end = std::min(sub_path.find('/', at), sub_path.size());
    const std::string part = sub_path.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..")
      return base::make_error(base::Kind::kInvalid, "resolve subPath", sub_path, "must not contain '..'");
    done += (done.empty() ? "" : "/") + part;
    auto next = sys::openat2(root.get(), done, O_PATH | O_CLOEXEC, 0, kResolve);
    if (!next.ok()) {
      if (next.error().kind != base::Kind::kNotFound)
        return base::wrap(std::move(next).error(), "resolve subPath " + sub_path, volume);
      if (::mkdirat(last.get(), part.c_str(), 0750) != 0 && errno != EEXIST)
        return sys::last_error("mkdir", volume + "/" + done);
      next = sys::openat2(root.get(), done, O_PATH | O_CLOEXEC, 0, kResolve);
      if (!next.ok()) return base::wrap(std::move(next).error(), "resolve subPath " + sub_path, volume);
      // As the volume itself: who may write there may write here.
      const std::string self = "/proc/self/fd/" + std::to_string(next->get());
      if (::chmod(self.c_str(), owner.st_mode & 07777) != 0 ||
          ::chown(self.c_str(), owner.st_uid, owner.st_gid) != 0)
        return sys::last_error("chmod", volume + "/" + done);
    }
    last = std::move(*next);
  }
  return last;
}

}  // namespace kubelet
