// Bringing images into the store, out of it and to an end: what `sampan image …` does. Blocking;
// links libcurl and libarchive, so no daemon includes this (the kubelet runs the command).
// Reading the store is runtime.h's part. Needs root.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/image/registry.h"
#include "runtime/image/writer.h"

namespace runtime {

struct StoredImage {
  std::string name, digest;  // the manifest's
};

// A docker-archive (docker save) or an OCI layout, as a tar file (plain, gzip, zstd) or as a
// directory. "-" is stdin. `name` replaces the archive's own names; needed when it has none.
base::Result<std::vector<StoredImage>> load_images(const std::string& image_root, const std::string& path,
                                                   std::string_view name);
// kArchive: one tar that is an OCI layout and that `docker load` takes as well; "-" is stdout.
// kDirectory: an OCI layout as a new directory. Written whole or not at all.
enum class SaveAs { kArchive, kDirectory };
base::Status save_images(const std::string& image_root, const std::vector<std::string>& names,
                         const std::string& path, SaveAs as = SaveAs::kArchive);

struct PullProgress {
  struct Layer {
    std::string digest;
    int64_t bytes_done = 0, bytes = 0;
    enum class Step { kWaits, kDownloads, kUnpacks, kDone } step = Step::kWaits;
  };
  std::vector<Layer> layer;  // in the manifest's order
  size_t layers_done = 0, layers = 0;
  int64_t bytes_done = 0, bytes = 0;
};
struct PullOptions {
  const Registries* registries = nullptr;             // required
  unsigned parallel = 3;                              // layers at once
  std::function<void(const PullProgress&)> progress;  // about five times a second, on the caller's thread
};
// By tag or digest; of an index, this machine's platform. Asks the registry even when the image is
// there (a tag may have moved), downloads only what is not. kNotFound: no such name, tag or
// platform; kDenied: 401, 403, certificate; kCorrupt: wrong digest; kExhausted: disk full;
// kUnavailable, kTimeout: not reached.
base::Result<StoredImage> pull_image(const std::string& image_root, std::string_view name,
                                     const PullOptions& options);

// Another name for an image that is there.
base::Result<StoredImage> tag_image(const std::string& image_root, std::string_view source,
                                    std::string_view name);
// The image's config, whole, as JSON text: history, labels and what else its maker wrote.
base::Result<std::string> image_config(const std::string& image_root, std::string_view name);
// Takes the name away; gc frees the space.
base::Result<StoredImage> remove_image(const std::string& image_root, std::string_view name);

}  // namespace runtime
