// The writing half of the image store. Everything is made under tmp/, verified, made durable and
// renamed into place; images.json names an image only when all of it is there. A crash at any
// point leaves the old store and garbage in tmp/, which the next writer or gc removes.
// Several writers may work at once (shared lock); gc and cleaning need the store alone.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/image/digest.h"
#include "runtime/image/store.h"
#include "runtime/image/unpack.h"

namespace runtime {

class StoreWriter {
 public:
  // Makes the directories if absent and takes the shared lock, waiting for a gc to end.
  static base::Result<StoreWriter> open(const std::string& image_root);
  const std::string& root() const { return root_; }

  bool has_blob(std::string_view digest) const;
  bool has_layer(std::string_view diff_id) const;
  base::Result<std::string> read_blob(std::string_view digest, size_t limit_bytes) const;

  // A file in tmp/, removed on destruction unless it was committed.
  class Blob {
   public:
    Blob() = default;
    Blob(Blob&&) noexcept;
    ~Blob();
    base::Status write(std::string_view data);
    uint64_t size() const { return size_; }
    const std::string& digest();  // ends the writing
    const std::string& path() const { return path_; }
    int fd() const { return fd_.get(); }

   private:
    friend class StoreWriter;
    std::string root_, path_, digest_;
    base::UniqueFd fd_;
    Sha256 hash_;
    uint64_t size_ = 0;
  };
  base::Result<Blob> new_blob();
  // Renames it to the name of its digest. kCorrupt when `expected` is given and another.
  base::Result<std::string> commit(Blob blob, std::string_view expected = {});
  base::Result<std::string> put(std::string_view data);
  // For files that others filled below tmp/ (downloads) and verified.
  base::Status adopt_blob(const std::string& path, int fd, std::string_view digest);
  std::string download_path(std::string_view digest) const;

  // Unpacks a blob of the store unless the layer is there. kCorrupt when the content's digest is
  // not `diff_id`. Two writers never unpack one layer at once: the second waits and finds it.
  base::Status unpack(std::string_view blob_digest, std::string_view diff_id, TarLimits limits = {});

  // Makes what was renamed durable, then lists the image under the name.
  base::Status set_image(const std::string& name, const IndexEntry& entry);
  base::Result<IndexEntry> remove_image(const std::string& name);  // kNotFound

 private:
  StoreWriter() = default;
  std::string temporary(std::string_view kind);
  base::Status update_index(const std::function<base::Status(ImageIndex&)>& change);

  std::string root_;
  base::UniqueFd lock_;
};

// Says where the space is missing and what frees some, when that is why `result` failed.
base::Error explain_disk_full(const std::string& image_root, base::Error error);
template <typename T>
base::Result<T> explain_disk_full(const std::string& image_root, base::Result<T> result) {
  if (result.ok()) return result;
  return explain_disk_full(image_root, std::move(result).error());
}

// What dead writers left in tmp/. The caller holds the store's lock alone.
base::Status clear_temporary(const std::string& image_root, bool downloads_too);

struct GcResult {
  std::vector<std::string> removed;  // paths below the root
  uint64_t freed_bytes = 0;
};
// Removes blobs and layers that no image, pin or mounted overlay needs, and what is left in tmp/.
// kConflict while an import is under way.
base::Result<GcResult> collect_garbage(const std::string& image_root, bool dry_run);

}  // namespace runtime
