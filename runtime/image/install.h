// The last step of load and pull: from verified blobs in the store to an image that readers see.
// Internal to runtime/.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/image/manifest.h"
#include "runtime/image/writer.h"

namespace runtime {

struct ToInstall {
  std::string manifest_digest;  // its bytes and the config's are in the store
  std::string index_digest;     // may be empty
  Manifest manifest;
  uint64_t manifest_bytes = 0;
};
// The config, checked against the manifest: one diff id per layer.
base::Result<Config> read_config(const StoreWriter& writer, const ToInstall& image);
// Unpacks what is not unpacked yet, on a few threads, then lists the image under `names`.
base::Status install_image(StoreWriter& writer, const ToInstall& image,
                           const std::vector<std::string>& names);
// The last part alone, when all layers are unpacked.
base::Status list_image(StoreWriter& writer, const ToInstall& image, const std::vector<std::string>& names);

}  // namespace runtime
