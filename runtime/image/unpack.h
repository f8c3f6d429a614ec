// Unpacks one layer into a directory. Every name is resolved beneath an fd of that directory
// (openat2 RESOLVE_IN_ROOT), so that no path, symlink or hard link of a hostile archive reaches
// outside. Whiteouts become overlayfs' own form. Needs root (owners, devices, trusted xattrs).
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/image/tar.h"

namespace runtime {

struct Unpacked {
  std::string diff_id;  // of the uncompressed stream, padding included
  uint64_t entries = 0;
  uint64_t bytes = 0;  // of regular files' contents
};
// `archive_fd` is read from its position to its end; `directory` is empty and stays where it is.
// On failure the directory holds a part: the caller throws it away.
base::Result<Unpacked> unpack_layer(int archive_fd, const std::string& name, const std::string& directory,
                                    TarLimits limits = {});

}  // namespace runtime
