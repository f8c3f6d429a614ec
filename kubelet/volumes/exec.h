// Makes and removes a Pod's directories, tmpfs mounts and files. Blocks; runs on background
// threads, as root. Idempotent: what is there is kept, data of emptyDir above all.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "kubelet/node/layout.h"
#include "kubelet/volumes/plan.h"

namespace kubelet {

struct PodDirectory {
  std::string hosts, resolv_conf, hostname;  // contents
  bool shm = true;                           // a tmpfs of its own for /dev/shm (not with hostIPC)
};
struct VolumeGroup {
  std::optional<uint32_t> fs_group;
  bool on_mismatch = false;  // fsGroupChangePolicy OnRootMismatch
};
// The Pod's directory, and then each of its volumes, whose errors name them.
base::Status make_pod_directory(const Layout& layout, const std::string& uid, const PodDirectory& content);
base::Status make_pod_volume(const Layout& layout, const std::string& uid, const VolumeContent& volume,
                             const VolumeGroup& group);
base::Status make_volume(const std::string& path, const VolumeContent& volume,
                         std::optional<uint32_t> fs_group);
// A claimed volume is a link to where its data lies, which is made and mounted if need be: it is found again
// after a restart, and goes with the Pod while the data stays.
base::Status link_claimed(const std::string& path, const ClaimedVolume& volume,
                          std::optional<uint32_t> fs_group, bool group_on_mismatch);
// Replaces all files at once behind the ..data symlink; nothing is written when nothing changed.
// A reader sees the old files or the new ones, never a mixture.
base::Status write_files(const std::string& directory, const std::vector<VolumeFile>& files,
                         std::optional<uint32_t> fs_group);
// Unmounts what we mounted below it and removes it; logs are kept unless `logs_too`.
base::Status remove_pod_directory(const Layout& layout, const std::string& uid, bool logs_too);

// Makes `point.relative` beneath `point.volume`, a directory or an empty file as its source is one. What
// is there stays; no symlink leads out of the volume.
base::Status make_mount_point(const MountPoint& point);

// `sub_path` beneath `volume`, made as a directory when absent; no symlink leads out of it.
base::Result<base::UniqueFd> open_sub_path(const std::string& volume, const std::string& sub_path);
// The host's device of a block volume of a Pod.
base::Result<std::string> device_path(const std::string& path);
// Where a claimed volume of a Pod lies.
base::Result<std::string> link_target(const std::string& path);
// Mounts what the fd holds at `target`, a path no container can reach: the source of the
// container's bind, which nobody can swap any more (CVE-2017-1002101, CVE-2021-25741).
base::Status bind_sub_path(int fd, const std::string& target);
void unbind_sub_path(const std::string& target);  // the container has its own by then

}  // namespace kubelet
