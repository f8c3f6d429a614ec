#include "runtime/image/install.h"

#include <atomic>
#include <mutex>
#include <thread>

#include "runtime/image/image.h"
#include "runtime/image/reference.h"

namespace runtime {
namespace {
constexpr unsigned kUnpackThreads = 4;
}

base::Result<Config> read_config(const StoreWriter& writer, const ToInstall& image) {
  const std::string& digest = image.manifest.config.digest;
  std::string text = TRY(writer.read_blob(digest, kMaxConfigBytes));
  Config config = TRY(parse_config(text, digest));
  if (config.diff_ids.size() != image.manifest.layers.size())
    return base::make_error(base::Kind::kInvalid, "read image config", digest,
                            std::to_string(config.diff_ids.size()) + " diff ids for " +
                                std::to_string(image.manifest.layers.size()) + " layers",
                            "the image is broken: build and push it again");
  return config;
}

base::Status install_image(StoreWriter& writer, const ToInstall& image,
                           const std::vector<std::string>& names) {
  Config config = TRY(read_config(writer, image));
  std::atomic<size_t> next{0};
  std::mutex mutex;
  base::Status status;
  auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < config.diff_ids.size();) {
      auto done = writer.unpack(image.manifest.layers[i].digest, config.diff_ids[i]);
      if (done.ok()) continue;
      next = config.diff_ids.size();  // the others stop after their layer
      std::lock_guard hold(mutex);
      if (status.ok()) status = done;
    }
  };
  unsigned count = std::max(1u, std::min<unsigned>(kUnpackThreads, std::thread::hardware_concurrency()));
  count = std::min<unsigned>(count, static_cast<unsigned>(config.diff_ids.size()));
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < count; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  TRY(status);
  return list_image(writer, image, names);
}

base::Status list_image(StoreWriter& writer, const ToInstall& image, const std::vector<std::string>& names) {
  IndexEntry entry;
  entry.manifest = image.manifest_digest;
  entry.config = image.manifest.config.digest;
  entry.index = image.index_digest;
  entry.size_bytes = image.manifest_bytes + image.manifest.config.size;
  for (const Descriptor& layer : image.manifest.layers) entry.size_bytes += layer.size;
  for (const std::string& name : names) TRY(writer.set_image(name, entry));
  return {};
}

base::Result<StoredImage> remove_image(const std::string& image_root, std::string_view name) {
  std::string key = TRY(parse_image_reference(name)).text();
  StoreWriter writer = TRY(StoreWriter::open(image_root));
  IndexEntry entry = TRY(writer.remove_image(key));
  return StoredImage{key, entry.manifest};
}

}  // namespace runtime
