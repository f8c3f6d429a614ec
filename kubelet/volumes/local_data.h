// The data of local volumes on this node's disk: DIRECTORY/NAME/data, either a directory or, where the host
// has loop devices and mkfs.ext4, a file system in the sparse file DIRECTORY/NAME/image, so that a volume
// holds no more than its size. DIRECTORY/NAME/uid says whose it is, so that what removes a PersistentVolume's
// data never takes that of another one with its name. What is being made is called NAME.new, what is being
// removed NAME.deleted: whatever a crash left of these goes. Blocks; runs on background threads, as root.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"

namespace kubelet {

struct HostStorage {
  bool has_loop_devices = false, has_mkfs = false;
};
enum class Backing { kImage, kDirectory };
// kDirectory holds what its file system holds, whatever its size says: an Event tells.
Backing choose_backing(const HostStorage& host);
HostStorage probe_storage();

struct LocalVolume {
  std::string directory, name, uid;  // uid: the PersistentVolume's
  int64_t size_bytes = 0;
  bool is_block = false;
  // The Pod's link to it, made before it is opened: whoever sees one of another Pod leaves the mount alone.
  std::string user = {};
};
// Whether a Pod below DIRECTORY/../pods has a link to what is there, but for the link `except`.
bool is_linked(const std::string& directory, const std::string& name, const std::string& except);
struct LocalData {
  std::string path;  // of the data
  Backing backing = Backing::kDirectory;
  bool is_new = false;
};
// What is there stays as it is, and is from now on that of the PersistentVolume `uid`; it is mounted when it
// is not. A block volume is an image without a file system: its path is the image's, and it has no device
// yet.
base::Result<LocalData> open_local_data(const LocalVolume& volume, const HostStorage& host);
// As open_local_data(); then an image is as large as that, and so is its file system, which may be in use.
base::Status grow_local_data(const LocalVolume& volume, const HostStorage& host);
// The device of a block volume, "/dev/loop3", which it has until release_block_device(); then it goes with
// its last user.
base::Result<std::string> block_device(const std::string& image);
base::Status release_block_device(const std::string& image, const std::function<bool()>& is_used);
// Of another PersistentVolume than `uid` it stays.
base::Status remove_local_data(const std::string& directory, const std::string& name, const std::string& uid);
base::Status remove_unfinished_data(const std::string& directory);

// Gives all below `path` to the group, as upstream: group, its right to read and write, and setgid for
// directories. With `on_mismatch` only when `path` itself is not so.
base::Status give_to_group(const std::string& path, uint32_t group, bool on_mismatch);

}  // namespace kubelet
