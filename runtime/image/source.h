// Where `load` takes files from: the members of a tar archive, or a directory. Internal to runtime/.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "runtime/image/writer.h"

namespace runtime {

class ImageSource {
 public:
  virtual ~ImageSource() = default;
  virtual bool has(const std::string& path) = 0;
  virtual base::Result<std::string> read(const std::string& path, size_t limit_bytes) = 0;
  struct Imported {
    std::string digest;
    uint64_t size = 0;
  };
  // Brings a file into the store's blobs; kCorrupt when its digest is not `expected` (if given).
  virtual base::Result<Imported> import(const std::string& path, std::string_view expected) = 0;
};
// A directory is used in place; anything else is read once as a tar stream into tmp/.
base::Result<std::unique_ptr<ImageSource>> open_image_source(StoreWriter& writer, const std::string& path);

}  // namespace runtime
