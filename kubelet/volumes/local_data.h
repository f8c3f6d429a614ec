// The data of local volumes on this node's disk: DIRECTORY/NAME/data, either a directory or, where the host
// has loop devices and mkfs.ext4, a file system in the sparse file DIRECTORY/NAME/image, so that a volume
// holds no more than its size. What is being made is called NAME.new, what is being removed NAME.deleted:
// whatever a crash left of these goes. Blocks; runs on background threads, as root.
#pragma once

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

struct LocalData {
  std::string path;  // of the data
  Backing backing = Backing::kDirectory;
  bool is_new = false;
};
// What is there stays as it is; it is mounted when it is not.
base::Result<LocalData> open_local_data(const std::string& directory, const std::string& name,
                                        int64_t size_bytes, const HostStorage& host);
base::Status remove_local_data(const std::string& directory, const std::string& name);
base::Status remove_unfinished_data(const std::string& directory);

// Gives all below `path` to the group, as upstream: group, its right to read and write, and setgid for
// directories. With `on_mismatch` only when `path` itself is not so.
base::Status give_to_group(const std::string& path, uint32_t group, bool on_mismatch);

}  // namespace kubelet
